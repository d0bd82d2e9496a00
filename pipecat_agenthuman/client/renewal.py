"""Whether, and when, to try again after a session was lost or could not be made. Pure."""

from __future__ import annotations

from typing import Final

from pipecat_agenthuman.client.retry import (
    RenewalPolicy,
    Timing,
    backoff_secs,
    is_permanent,
    may_have_cost,
    may_have_created,
)
from pipecat_agenthuman.errors import (
    AgentHumanError,
    ApiError,
    SessionLingersError,
    ShortLivedError,
)

ORPHAN_SWEEP_SECS: Final = 180.0
"""The service ends a session that nobody uses within 3 minutes (documented)."""

QUICK_FAILURE_SECS: Final = 60.0
"""A session that lives shorter than this does not count as a recovery. Sessions are billed by
the minute begun, so a server that drops each of them must not be asked for ever."""


class Attempts:
    """Counts failures in a row, and what they cost, and decides whether there is another attempt.

    Time without a session counts from the creation of this count on.
    """

    def __init__(self, policy: RenewalPolicy, timing: Timing) -> None:
        """Create a count of zero.

        Args:
            policy: The limits.
            timing: Clock and jitter.
        """
        self._policy = policy
        self._timing = timing
        self._failures = 0
        self._short_sessions = 0
        self._waited_secs = 0.0
        self._without_since = timing.monotonic()

    def pause_secs(
        self, error: AgentHumanError, *, renewable: bool, ready_since: float | None
    ) -> float | None:
        """Take note of a failure.

        Args:
            error: What failed.
            renewable: Whether there can be another session at all.
            ready_since: When the session that failed was established, or None if it never was.

        Returns:
            Seconds until the next attempt; None if there should be none.
        """
        now = self._timing.monotonic()
        self._note_failure(error, now, ready_since)
        if not renewable or is_permanent(error):
            return None
        if self._short_sessions >= self._policy.max_short_sessions:
            return None
        lingers = isinstance(error, SessionLingersError)
        if lingers and not error.asking_helps:
            return self._sweep(now, error.gone_in_secs)
        pause = self._backoff_secs(error)
        if lingers:
            pause = min(pause, error.gone_in_secs)
        has_time = self._waited_secs + pause <= self._policy.max_total_secs
        # What may have been created is looked for, however long the answer was waited for.
        if has_time or may_have_created(error):
            return pause
        # Asking is of no use any more, but time is: then there is one attempt left.
        return self._sweep(now, error.gone_in_secs) if lingers else None

    def planned_pause_secs(self, *, ready_since: float | None, expires: bool) -> float | None:
        """Take note of a session that was given up as planned.

        Args:
            ready_since: When it was established, or None if it never was.
            expires: Whether it was to expire. If it was that young, that counts as a failure:
                sessions that expire at once must not be made for ever.

        Returns:
            Seconds until the next attempt; None if there should be none.
        """
        now = self._timing.monotonic()
        if expires and (ready_since is None or now - ready_since < QUICK_FAILURE_SECS):
            error = ShortLivedError("The session was to expire.")
            return self.pause_secs(error, renewable=True, ready_since=ready_since)
        self._without_since = now
        return 0.0

    def wanted_again(self) -> None:
        """Nobody wanted a session until now: that time does not count."""
        self._without_since = self._timing.monotonic()

    def _sweep(self, now: float, secs: float) -> float:
        """Wait until the service has ended a session by itself: no attempt, so not counted."""
        self._without_since = now + secs
        return secs

    def _note_failure(self, error: AgentHumanError, now: float, ready_since: float | None) -> None:
        if ready_since is not None and now - ready_since >= QUICK_FAILURE_SECS:
            self._failures, self._short_sessions, self._waited_secs = 0, 0, 0.0
        else:
            self._short_sessions += may_have_cost(error)
            self._waited_secs += (now if ready_since is None else ready_since) - self._without_since
        self._without_since = now
        self._failures += 1

    def _backoff_secs(self, error: AgentHumanError) -> float:
        if self._failures == 1 and not isinstance(error, ApiError):
            return 0.0
        return backoff_secs(self._policy, self._failures, error, jitter=self._timing.jitter())
