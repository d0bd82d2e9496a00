"""How often and how long a refused request is repeated.

The policy is a value and the pauses are a pure function; the loop takes its clock, its sleep
and its jitter as arguments, so that no test waits for real seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from loguru import logger

from pipecat_agenthuman._arguments import check_count, check_secs
from pipecat_agenthuman.errors import ApiError, RateLimitedError

T = TypeVar("T")


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on repeating one request.

    Attributes:
        max_attempts: Most times the request is sent, the first included. For the renewal of
            sessions: most attempts after the first failure.
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
        check_count("max_attempts", self.max_attempts)
        for name in ("max_total_secs", "first_pause_secs", "max_pause_secs"):
            check_secs(name, getattr(self, name))

    def pause_secs(self, attempts: int, *, asked_secs: float | None, jitter: float) -> float:
        """Compute how long to wait before the next attempt.

        Args:
            attempts: How many attempts have failed, at least 1.
            asked_secs: Seconds that the server asked to wait, if it did.
            jitter: A number from 0 to 1. It spreads clients that failed at the same moment.

        Returns:
            Seconds: half to all of the grown pause, and never less than ``asked_secs``.
        """
        # The exponent is bounded because 2.0**1024 overflows.
        grown = min(self.first_pause_secs * 2.0 ** min(attempts - 1, 64), self.max_pause_secs)
        spread = grown * (0.5 + 0.5 * jitter)
        return spread if asked_secs is None else max(asked_secs, spread)


NO_RETRY = RetryPolicy(max_attempts=1)
"""One attempt and no more."""


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
            asked_secs = error.retry_after_secs if isinstance(error, RateLimitedError) else None
            pause_secs = policy.pause_secs(attempts, asked_secs=asked_secs, jitter=timing.jitter())
            if timing.monotonic() - started_secs + pause_secs > policy.max_total_secs:
                raise
            logger.warning(
                f"{error} That was attempt {attempts} of {policy.max_attempts}; "
                f"again in {pause_secs:.1f} s."
            )
        await timing.sleep(pause_secs)
