"""The life of a session: create, connect, renew after a loss, end. One at a time.

Losing the WebSocket ends a session at once and there is no resume, so the only way on is a
new one. Every session that was created here is ended here, on every path.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from pipecat_agenthuman.client.connection import Connection, ConnectionLimits
from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    Established,
    SessionEvent,
    SessionLost,
)
from pipecat_agenthuman.client.renewal import Attempts
from pipecat_agenthuman.client.retry import RenewalPolicy, Timing, is_permanent
from pipecat_agenthuman.client.servers import server_url
from pipecat_agenthuman.client.sources import OpenedSession, SessionSource
from pipecat_agenthuman.client.waiting import finish, unless
from pipecat_agenthuman.errors import AgentHumanError, ConnectError, LossKind, ShortLivedError


@dataclass(frozen=True, slots=True)
class _Replacement:
    """The session is to be given up, for another one or for none.

    Attributes:
        error: What is wrong with it; None if that is planned.
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
    RESTING = "resting"
    """There is none, and none is wanted for the time being."""
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
        renewal: RenewalPolicy | None = None,
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
        self._renewal = renewal or RenewalPolicy()
        self._attempts = Attempts(self._renewal, self._timing)
        self._state = SessionState.IDLE
        self._connection: Connection | None = None
        self._opened: OpenedSession | None = None
        self._opened_at = 0.0
        self._ready_since: float | None = None
        self._replacement: _Replacement | None = None
        self._ending = asyncio.Event()
        self._wanted = asyncio.Event()
        self._wanted.set()
        self._why_not = ""  # another one is wanted

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
    def minutes_left(self) -> float | None:
        """What the account had left when the session that is up was made; None if unknown."""
        return self._opened and self._opened.minutes_left

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
        self._attempts = Attempts(self._renewal, self._timing)
        try:
            while not self._ending.is_set():
                pause_secs = await self._live()
                if pause_secs is None:
                    return
                await unless(self._ending, self._timing.sleep(pause_secs))
                if not self._wanted.is_set():
                    if self.state is not SessionState.RESTING:
                        # Another one was promised, and is not wanted any more.
                        self._rest(was_ready=False)
                    await unless(self._ending, self._wanted.wait())
                    self._attempts.wanted_again()
                    self._state = SessionState.RENEWING
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

    def hold(self, why: str) -> None:
        """Make no other session until ``resume``; the one that is up goes on.

        Args:
            why: In words, for whoever is told when it ends.
        """
        self._why_not = why
        self._wanted.clear()

    def rest(self, why: str) -> None:
        """End the session that is up, if any, and make no other until ``resume``.

        Args:
            why: In words, for whoever is told.
        """
        self.hold(why)
        self.renew()

    def resume(self) -> bool:
        """A session is wanted again, after ``hold`` or ``rest``.

        Returns:
            Whether another one is being brought up now.
        """
        self._wanted.set()
        return self._state is SessionState.RESTING

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
            await finish(self._source.end)
            self._opened = None

    async def _talk(self) -> AgentHumanError | None:
        """Open a session and carry its connection; None if it ended as wanted."""
        # Its life counts from its start at the service, which is before the answer.
        self._opened_at = self._timing.monotonic()
        # The source remembers what it opened: what comes up at the very moment of giving up is
        # ended like any other session.
        self._opened = await unless(self._ending, self._source.open())
        if self._opened is None:
            return None
        if self._replacement is None and not self._ending.is_set():
            self._connection = Connection(
                server_url(self._opened.ws_url, configured=self._ws_url),
                self._opened.init,
                on_event=self._take,
                max_unconfirmed=self._max_unconfirmed,
                limits=self._limits,
                redacted=self._source.redacted,
            )
            loss = await self._connection.run()
            if loss.kind is not LossKind.LEFT:
                return loss.as_error()
        return self._replacement.error if self._replacement is not None else None

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
        may_rest = error is None or (isinstance(error, ConnectError) and not is_permanent(error))
        if may_rest and not self._wanted.is_set():
            # The service, too, ends the session of a room that everybody has left.
            self._rest(was_ready=was_ready)
            return 0.0 if self.renewable else None
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
        self._on_event(SessionLost(error, pause_secs is not None, was_ready))
        return pause_secs

    def _rest(self, *, was_ready: bool) -> None:
        """Take note, and tell, that no other one is wanted now."""
        self._state = SessionState.RESTING if self.renewable else SessionState.ENDED
        self._on_event(SessionLost(None, False, was_ready, self._why_not))
