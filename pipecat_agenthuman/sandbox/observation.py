"""What a test asks of a sandbox: what was heard, what happened, and to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pipecat_agenthuman.sandbox.account import Account
from pipecat_agenthuman.sandbox.log import Entry, EventLog
from pipecat_agenthuman.sandbox.sessions import SandboxSession
from pipecat_agenthuman.sandbox.sound import Heard, Samples, joined
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

DEFAULT_WAIT_SECS: Final = 15.0
"""Limit of the waiting methods: far more than a busy machine needs."""

_POLL_SECS: Final = 0.005


class Observation:
    """Everything that can be looked at and waited for, from any thread and event loop."""

    def __init__(self, account: Account, log: EventLog, clock: Callable[[], float]) -> None:
        """Look at an account.

        Args:
            account: Whose sessions are looked at.
            log: What happened to them.
            clock: Seconds.
        """
        self._account = account
        self._log = log
        self._clock = clock

    # --- what happened ---

    def heard(self, session_id: str | None = None) -> Heard:
        """Return what a listener in the room has heard until now, to the sample.

        Of sessions that have ended, two hours of sound are kept.

        Args:
            session_id: A session; None for all of them, one after the other.

        Returns:
            The sound, and when it sounded on ``clock``.

        Raises:
            LookupError: If there is no such session.
        """
        return joined(self._account.heard(session_id, self._clock()))

    def heard_samples(self, session_id: str | None = None) -> int:
        """Count the samples of ``heard`` without putting them together; raises like it."""
        return self._account.heard_samples(session_id, self._clock())

    def between(self, session_id: str, first: float, last: float) -> Samples:
        """Return what a listener in the room heard between two moments, silence included.

        For whoever publishes it: ask for moments that have passed, since an interruption cuts what
        is still to come.

        Args:
            session_id: A session.
            first: The one moment, in seconds on ``clock``.
            last: The other.

        Returns:
            Samples at 16 kHz, as many as last from the one to the other.

        Raises:
            LookupError: If there is no such session.
        """
        return self._account.between(session_id, first, last)

    @property
    def sessions(self) -> list[SandboxSession]:
        """Every session ever created, oldest first, as it is now."""
        return self._account.snapshots()

    @property
    def live_sessions(self) -> list[SandboxSession]:
        """The sessions that have not ended."""
        return [session for session in self.sessions if session.status != "ended"]

    @property
    def peak_live_sessions(self) -> int:
        """Largest number of sessions that were live at the same time."""
        return self._account.peak

    @property
    def log(self) -> list[Entry]:
        """What happened, oldest first: the same entries as in the log file."""
        return self._log.entries()

    @property
    def started_at(self) -> float:
        """The time on ``clock`` from which the log's ``at_secs`` count."""
        return self._log.started_at

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call ``listener`` with every entry of the log from now on, in the sandbox's loop."""
        self._log.listen(listener)

    # --- waiting ---

    async def wait_for(
        self,
        what: str | Callable[[Entry], bool],
        *,
        after: int = 0,
        timeout_secs: float = DEFAULT_WAIT_SECS,
    ) -> Entry:
        """Wait for an entry of the log; one that is there already counts.

        Args:
            what: The entry's ``what``, or a predicate on entries.
            after: Only entries with a greater ``number`` count.
            timeout_secs: How long to wait at most.

        Returns:
            The first such entry.

        Raises:
            TimeoutError: If none came in time; the text shows the latest entries.
        """

        def is_it(entry: Entry) -> bool:
            return entry["what"] == what if isinstance(what, str) else what(entry)

        return await self._log.wait_for(is_it, after=after, timeout_secs=timeout_secs)

    async def wait_until_heard(
        self,
        duration_secs: float = 0.0,
        *,
        session_id: str | None = None,
        timeout_secs: float = DEFAULT_WAIT_SECS,
    ) -> Heard:
        """Wait until a listener has heard so much sound, at least one sample.

        Args:
            duration_secs: Seconds of sound, silences not counted.
            session_id: Of one session; None for all together.
            timeout_secs: How long to wait at most.

        Returns:
            What was heard by then.

        Raises:
            TimeoutError: If it was not heard in time.
            LookupError: If there is no such session.
        """
        wanted = max(1, round(duration_secs * WIRE_SAMPLE_RATE))
        await self._wait_until(
            lambda: self.heard_samples(session_id) >= wanted,
            f"{duration_secs:g} s of sound",
            timeout_secs,
        )
        return self.heard(session_id)

    async def wait_until_quiet(
        self, session_id: str | None = None, *, timeout_secs: float = DEFAULT_WAIT_SECS
    ) -> Heard:
        """Wait until all that was confirmed so far has sounded or been cut.

        Args:
            session_id: Of one session; None for all.
            timeout_secs: How long to wait at most.

        Returns:
            What was heard by then.

        Raises:
            TimeoutError: If the avatar still spoke after that time.
            LookupError: If there is no such session.
        """
        await self._wait_until(
            lambda: self._clock() >= self._account.quiet_at(session_id), "quiet", timeout_secs
        )
        return self.heard(session_id)

    async def wait_until_ended(self, *, timeout_secs: float = DEFAULT_WAIT_SECS) -> None:
        """Wait until no session is live.

        Args:
            timeout_secs: How long to wait at most.

        Raises:
            TimeoutError: If one still was after that time.
        """
        await self._wait_until(lambda: self._account.live == 0, "the end", timeout_secs)

    async def _wait_until(
        self, condition: Callable[[], bool], what: str, timeout_secs: float
    ) -> None:
        # Sound comes with time and without an event, and the clock may be a test's own.
        try:
            async with asyncio.timeout(timeout_secs):
                while not condition():  # noqa: ASYNC110
                    await asyncio.sleep(_POLL_SECS)
        except TimeoutError:
            raise TimeoutError(
                f"The sandbox did not come to {what} within {timeout_secs:g} s; "
                f"heard {self.heard().duration_secs:.3f} s. {self._log.latest()}"
            ) from None
