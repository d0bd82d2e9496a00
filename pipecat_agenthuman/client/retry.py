"""May it be repeated, how often, and how long? For REST requests and for whole sessions.

What must hold is that no second session is started: a create is repeated only where it
certainly did nothing, or after the service has swept what it may have started.

The policies are values and the pauses are pure functions; the loop takes its clock, its sleep
and its jitter as arguments, so that no test waits for real seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from loguru import logger

from pipecat_agenthuman._arguments import check_count, check_secs
from pipecat_agenthuman.errors import (
    AgentHumanError,
    ApiError,
    BotRemovedError,
    ConnectError,
    LostConnectionError,
    PermanentTransportError,
    RateLimitedError,
    ServerFailureError,
    SessionLingersError,
    TransportError,
)
from pipecat_agenthuman.wire.protocol import UNRECOGNIZED_ERROR

_SERVICE_UNAVAILABLE: Final = 503

T = TypeVar("T")

# --- which errors ----------------------------------------------------------------------


def may_pass(error: ApiError) -> bool:
    """Whether a request that is safe to repeat may fare better the next time.

    Args:
        error: What became of it.

    Returns:
        False for refusals and for what needs somebody to change the configuration.
    """
    if isinstance(error, TransportError):
        return not isinstance(error, PermanentTransportError)
    if isinstance(error, ServerFailureError):
        return not _is_redirect(error)
    return isinstance(error, RateLimitedError)


def never_took_effect(error: ApiError) -> bool:
    """Whether a request certainly did nothing, and repeating it is not in vain.

    Args:
        error: What became of it.

    Returns:
        True if repeating can neither start a second session nor make a second avatar.
    """
    if isinstance(error, TransportError):
        return error.never_sent and not isinstance(error, PermanentTransportError)
    return isinstance(error, RateLimitedError) or error.status == _SERVICE_UNAVAILABLE


def may_have_created(error: AgentHumanError) -> bool:
    """Whether a create that failed may have started a session all the same."""
    if isinstance(error, TransportError):
        return not (error.never_sent or isinstance(error, PermanentTransportError))
    if isinstance(error, ServerFailureError):
        return not _is_redirect(error) and error.status != _SERVICE_UNAVAILABLE
    return False


def may_have_cost(error: AgentHumanError) -> bool:
    """Whether an attempt at a session that failed so may have started one, which is billed."""
    return isinstance(error, ConnectError) or may_have_created(error)


def is_permanent(error: AgentHumanError) -> bool:
    """Whether another session, too, would certainly fail, or be lost, in the same way."""
    if isinstance(error, SessionLingersError):
        return False
    if isinstance(error, BotRemovedError):
        return True
    if isinstance(error, ApiError):
        return not (never_took_effect(error) or may_have_created(error))
    if not isinstance(error, LostConnectionError):
        return False
    if error.error is None:
        return error.final
    entry = error.error.entry
    return error.final or (entry is not UNRECOGNIZED_ERROR and not entry.new_session_helps)


def _is_redirect(error: ServerFailureError) -> bool:
    return error.status is not None and 300 <= error.status < 400


# --- how often, how long ---------------------------------------------------------------


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on repeating one request.

    Attributes:
        max_attempts: Most times the request is sent, the first included.
        max_total_secs: No attempt starts later than this many seconds after the first. A wait
            that the server asks for and that does not fit is not begun.
        first_pause_secs: Seconds before the second attempt; each further pause is twice as
            long.
        max_pause_secs: Longest pause in seconds that is not asked for by the server.
    """

    max_attempts: int = 5
    max_total_secs: float = 30.0
    first_pause_secs: float = 0.5
    max_pause_secs: float = 8.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If one cannot be right.
        """
        check_count("max_attempts", self.max_attempts)
        _check_times(self)


@dataclass(frozen=True)
class RenewalPolicy:
    """Limits on bringing up another session after one was lost or could not be made.

    What costs a session is limited by number, and what costs nothing by time only: an attempt
    that is refused, or reaches nobody, is one request, and its caller may talk on for long after
    the service is well again.

    Attributes:
        max_short_sessions: Most sessions in a row that live for less than a minute: each is
            billed one. A create that may have started a session counts as one, too.
        max_total_secs: Most seconds without a session that the attempts may take together. Half
            an hour is longer than most calls; whoever has not ended a call by then is not
            waiting for a face.
        first_pause_secs: Seconds before the first attempt after a failed create; a lost
            connection is replaced at once. Each further pause is twice as long.
        max_pause_secs: Longest pause in seconds that is not asked for by the server. With 30 s
            the 20 calls of the largest plan ask less than 60 times a minute, all together, which
            is what an older page of the service allows.
    """

    max_short_sessions: int = 6
    max_total_secs: float = 1800.0
    first_pause_secs: float = 0.5
    max_pause_secs: float = 30.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If one cannot be right.
        """
        check_count("max_short_sessions", self.max_short_sessions)
        _check_times(self)


def _check_times(policy: RetryPolicy | RenewalPolicy) -> None:
    for name in ("max_total_secs", "first_pause_secs", "max_pause_secs"):
        check_secs(name, getattr(policy, name))


NO_RETRY: Final = RetryPolicy(max_attempts=1)
"""One attempt and no more."""


def backoff_secs(
    policy: RetryPolicy | RenewalPolicy, failures: int, error: AgentHumanError, *, jitter: float
) -> float:
    """Compute how long to wait before the next attempt.

    Args:
        policy: The limits.
        failures: How many attempts have failed, at least 1.
        error: What became of the latest: a server can ask for a wait.
        jitter: A number from 0 to 1. It spreads clients that failed at the same moment.

    Returns:
        Seconds: half to all of the grown pause, and never less than was asked for: up to a
        quarter more. A rate limit names one moment to all whom it refuses, and if they all came
        then, it would refuse them again.
    """
    # The exponent is bounded because 2.0**1024 overflows.
    grown = min(policy.first_pause_secs * 2.0 ** min(failures - 1, 64), policy.max_pause_secs)
    asked_secs = error.retry_after_secs if isinstance(error, RateLimitedError) else None
    kept = 0.0
    if asked_secs is not None:
        kept = asked_secs + jitter * min(asked_secs / 4, policy.max_pause_secs)
    return max(kept, grown * (0.5 + 0.5 * jitter))


# --- doing it --------------------------------------------------------------------------


@dataclass(frozen=True)
class Timing:
    """Where the time comes from; replaced in tests.

    Attributes:
        monotonic: Seconds that never run backwards.
        wall: Seconds since 1970, to read the points in time that a server names.
        sleep: Waits for a number of seconds.
        jitter: A random number from 0 to 1.
    """

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    jitter: Callable[[], float] = random.random


async def repeat(
    attempt: Callable[[], Awaitable[T]],
    *,
    policy: RetryPolicy,
    may_repeat: Callable[[ApiError], bool],
    timing: Timing,
) -> T:
    """Run a request until it succeeds, must not be repeated, or the policy's limits are reached.

    Args:
        attempt: Sends the request once.
        policy: The limits.
        may_repeat: Whether repeating after this error is safe and has a chance.
        timing: Clock, sleep and jitter.

    Returns:
        What the successful attempt returned.

    Raises:
        ApiError: That of the last attempt.
    """
    started_secs = timing.monotonic()
    attempts = 0
    while True:
        attempts += 1
        try:
            return await attempt()
        except ApiError as error:
            if attempts >= policy.max_attempts or not may_repeat(error):
                raise
            wait_secs = backoff_secs(policy, attempts, error, jitter=timing.jitter())
            if timing.monotonic() - started_secs + wait_secs > policy.max_total_secs:
                raise
            logger.warning(
                f"{error} That was attempt {attempts} of {policy.max_attempts}; "
                f"again in {wait_secs:.1f} s."
            )
        await timing.sleep(wait_secs)
