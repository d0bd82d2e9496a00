"""The life of a session: create, connect, renew after a loss, end. One at a time.

Losing the WebSocket ends a session at once and there is no resume, so the only way on is a
new one. Every session that was created here is ended here, on every path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from pipecat_agenthuman.client.connection import Connection, ConnectionLimits
from pipecat_agenthuman.client.events import ConnectionEvent, Established, LossKind
from pipecat_agenthuman.client.renewal import (
    RENEWAL_POLICY,
    Attempts,
    LostConnectionError,
    ShortLivedError,
)
from pipecat_agenthuman.client.retry import RetryPolicy, Timing
from pipecat_agenthuman.client.sources import OpenedSession, SessionSource
from pipecat_agenthuman.errors import AgentHumanError

PLANNED_REASON: Final = "renewal as planned"
"""Why a session went with which nothing was wrong."""

# --- what a session tells --------------------------------------------------------------


@dataclass(frozen=True)
class SessionLost:
    """The session is gone, or could not be brought up.

    Attributes:
        reason: Why, in a sentence.
        error: What to report; None for a planned renewal.
        will_renew: Whether another one is being brought up.
        was_ready: Whether audio could be sent before.
    """

    reason: str
    error: AgentHumanError | None
    will_renew: bool
    was_ready: bool


SessionEvent = ConnectionEvent | SessionLost


@dataclass(frozen=True, slots=True)
class _Replacement:
    """The session is to be given up for another one.

    Attributes:
        error: What is wrong with it; None for a planned renewal.
        expires: Whether it is to expire soon.
    """

    error: AgentHumanError | None = None
    expires: bool = False


class SessionState(StrEnum):
    """Where a session stands."""

    IDLE = "idle"
    STARTING = "starting"
    READY = "ready"
    RENEWING = "renewing"
    ENDED = "ended"


class Session:
    """Keeps one session up until it is ended or there is no hope."""

    def __init__(
        self,
        source: SessionSource,
        *,
        ws_url: str,
        on_event: Callable[[SessionEvent], None],
        max_unconfirmed: int = 1,
        limits: ConnectionLimits | None = None,
        renewal: RetryPolicy | None = None,
        timing: Timing | None = None,
    ) -> None:
        """Create a session; ``run`` brings it up.

        Args:
            source: Where sessions come from. The caller closes it.
            ws_url: WebSocket URL of the service.
            on_event: Called with each event, in order; must return at once.
            max_unconfirmed: Most ``agent.speak`` that wait for confirmation.
            limits: How long to wait for what.
            renewal: How often and how long to try after a failure.
            timing: Clock, sleep and jitter.
        """
        self._source = source
        self._ws_url = ws_url
        self._on_event = on_event
        self._max_unconfirmed = max_unconfirmed
        self._limits = limits
        self._timing = timing or Timing()
        self._attempts = Attempts(renewal or RENEWAL_POLICY, self._timing)
        self._state = SessionState.IDLE
        self._connection: Connection | None = None
        self._opened: OpenedSession | None = None
        self._opened_at = 0.0
        self._ready_since: float | None = None
        self._replacement: _Replacement | None = None
        self._ending = asyncio.Event()

    # --- looking -----------------------------------------------------------------------

    @property
    def state(self) -> SessionState:
        """Where the session stands."""
        return self._state

    @property
    def connection(self) -> Connection | None:
        """The connection, while it stands and the server has accepted the session."""
        connection = self._connection
        return connection if connection is not None and connection.established else None

    @property
    def session_id(self) -> str | None:
        """Identifier of the session that is up."""
        return self._opened.init.session_id if self._opened is not None else None

    @property
    def expires_in_secs(self) -> float | None:
        """Seconds until the service ends the session that is up; None if it does not."""
        if self._opened is None or self._opened.life_secs is None:
            return None
        return self._opened.life_secs - (self._timing.monotonic() - self._opened_at)

    @property
    def renewable(self) -> bool:
        """Whether a lost session can be replaced."""
        return self._source.renewable

    # --- living ------------------------------------------------------------------------

    async def run(self) -> None:
        """Bring the session up, and up again, until ``end`` or until there is no hope.

        May be called again after there was none.
        """
        self._state = SessionState.STARTING
        self._attempts.begin()
        try:
            while not self._ending.is_set():
                pause_secs = await self._live()
                if pause_secs is None:
                    return
                await self._pause(pause_secs)
        finally:
            self._state = SessionState.ENDED

    def renew(self, error: AgentHumanError | None = None, *, expires: bool = False) -> None:
        """Replace the session by a new one; the old one is ended first.

        Args:
            error: What is wrong with it: then it counts as lost. None for a planned renewal.
            expires: Whether that is because it is to expire soon.
        """
        self._replacement = _Replacement(error, expires)
        if self._connection is not None:
            self._connection.leave()

    def end(self) -> None:
        """Let go: ``run`` closes the connection, ends the session and returns."""
        self._ending.set()
        if self._connection is not None:
            self._connection.leave()

    async def _live(self) -> float | None:
        """Bring one session up, stay until it is gone, and end it.

        Returns:
            Seconds until the next attempt, or None if there is to be none.
        """
        self._replacement = None
        self._ready_since = None
        try:
            error = await self._talk()
            return self._settle(error)
        except AgentHumanError as error:
            return self._settle(error)
        finally:
            self._connection = None
            await _finish(self._source.end)
            self._opened = None

    async def _talk(self) -> AgentHumanError | None:
        """Open a session and carry its connection; None if it ended as wanted."""
        # Its life counts from its start at the service, which is before the answer.
        self._opened_at = self._timing.monotonic()
        self._opened = await self._open_unless_ended()
        if self._opened is None:
            return None
        if self._replacement is None and not self._ending.is_set():
            self._connection = Connection(
                self._ws_url,
                self._opened.init,
                on_event=self._take,
                max_unconfirmed=self._max_unconfirmed,
                limits=self._limits,
                redacted=self._source.redacted,
            )
            loss = await self._connection.run()
            if loss.kind is not LossKind.LEFT:
                return LostConnectionError(loss)
        return self._replacement.error if self._replacement is not None else None

    async def _open_unless_ended(self) -> OpenedSession | None:
        """Open a session, giving up as soon as ``end`` is called.

        The source remembers what it opened, so that a session which comes up at the very
        moment of giving up is ended like any other.
        """
        opening = asyncio.create_task(self._source.open())
        ending = asyncio.create_task(self._ending.wait())
        try:
            await asyncio.wait({opening, ending}, return_when=asyncio.FIRST_COMPLETED)
            return opening.result() if opening.done() else None
        finally:
            for task in (opening, ending):
                task.cancel()
            await asyncio.gather(opening, ending, return_exceptions=True)

    def _take(self, event: ConnectionEvent) -> None:
        if isinstance(event, Established):
            self._state = SessionState.READY
            self._ready_since = self._timing.monotonic()
        self._on_event(event)

    def _settle(self, error: AgentHumanError | None) -> float | None:
        """Decide how it goes on, and tell."""
        was_ready = self._state is SessionState.READY
        if self._ending.is_set():
            return None
        if error is None:
            expires = self._replacement is not None and self._replacement.expires
            pause_secs = self._attempts.planned_pause_secs(
                ready_since=self._ready_since, expires=expires
            )
            if pause_secs is None:
                error = ShortLivedError(
                    "Each session expired shortly after it was made.",
                    remedy="Check how long the account's plan lets a session live.",
                )
        else:
            pause_secs = self._attempts.pause_secs(
                error, renewable=self.renewable, ready_since=self._ready_since
            )
        # Before anybody hears of it: speech must not wait for what is not coming.
        self._state = SessionState.ENDED if pause_secs is None else SessionState.RENEWING
        self._on_event(
            SessionLost(
                reason=PLANNED_REASON if error is None else error.message,
                error=error,
                will_renew=pause_secs is not None,
                was_ready=was_ready,
            )
        )
        return pause_secs

    async def _pause(self, secs: float) -> None:
        """Wait, unless the session is ended meanwhile."""
        ending = asyncio.create_task(self._ending.wait())
        pausing = asyncio.ensure_future(self._timing.sleep(secs))
        try:
            await asyncio.wait({ending, pausing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (ending, pausing):
                task.cancel()
            await asyncio.gather(ending, pausing, return_exceptions=True)


async def _finish(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Carry bounded work to its end, even if this task is cancelled meanwhile.

    An event loop that is being closed cancels every task, this work's too: then it is done
    again, because the loop still waits for this task.
    """
    cancelled = False
    for _ in range(2):
        task = asyncio.create_task(work())
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                cancelled = True
        if not task.cancelled():
            break
    if cancelled:
        raise asyncio.CancelledError
