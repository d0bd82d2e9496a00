"""The account: its limits, its minutes, and the coming and going of its sessions."""

from __future__ import annotations

import asyncio
import math
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, Protocol, get_args

from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.playback import BeforeJoin, Playback
from pipecat_agenthuman.sandbox.sessions import Ending, LiveSession, SandboxSession, SessionWish
from pipecat_agenthuman.sandbox.sound import Heard, Samples
from pipecat_agenthuman.wire.pcm import to_secs

_KEPT_SOUND_SECS: Final = 7200
"""So much sound of ended sessions is kept (some 230 MB); that of the oldest goes first."""


@dataclass(frozen=True)
class AccountTerms:
    """The limits of an account and of its sessions.

    Attributes:
        max_sessions: Sessions at a time.
        minutes: Minutes to spend in all.
        session_secs: Life of a session in seconds, None for no limit.
        orphan_secs: A session without a client is ended after so many seconds.
        join_delay_secs: From a session's creation to the avatar's joining the room; None: it
            never joins.
        render_latency_secs: From a confirmation to its sound in the room.
        before_join: What becomes of words that are due before the avatar is in the room.
        assigns_servers: Whether each session is known to a server of its own, and to no other.
    """

    max_sessions: int
    minutes: float
    session_secs: float | None
    orphan_secs: float
    join_delay_secs: float | None
    render_latency_secs: float
    before_join: BeforeJoin
    assigns_servers: bool = False

    def __post_init__(self) -> None:
        """Check the ranges; raises ValueError."""
        if self.max_sessions < 0:
            raise ValueError(f"max_sessions must not be negative, got {self.max_sessions}.")
        if self.before_join not in get_args(BeforeJoin):
            raise ValueError(f'before_join must be "lost" or "held", got {self.before_join!r}.')
        check_secs(
            session_secs=self.session_secs,
            orphan_secs=self.orphan_secs,
            join_delay_secs=self.join_delay_secs,
            render_latency_secs=self.render_latency_secs,
        )


def check_secs(**durations: float | None) -> None:
    """Check that durations are possible ones.

    Args:
        **durations: Seconds by the name of their argument; None passes.

    Raises:
        ValueError: If one is negative or infinite, naming it.
    """
    for name, secs in durations.items():
        if secs is not None and not 0 <= secs < math.inf:
            raise ValueError(f"{name} must be a number of seconds, 0 or more, got {secs!r}.")


class TooManySessions(Exception):  # noqa: N818 - a refusal, not an error of the sandbox
    """The account's concurrent sessions are used up."""


class OutOfMinutes(Exception):  # noqa: N818 - a refusal, not an error of the sandbox
    """The account's minutes are used up."""


class SessionObserver(Protocol):
    """What the rest of the sandbox does when sessions come and go."""

    def avatar_joined(self, session: LiveSession) -> None:
        """The avatar has joined the caller's room."""
        ...

    def avatar_left(self, session: LiveSession) -> None:
        """The avatar has left the caller's room."""
        ...

    def session_ended(self, session: LiveSession) -> None:
        """The session has ended."""
        ...


class Audience(Protocol):
    """Who watches and listens in the room; told in the sandbox's event loop, at once."""

    def session_changed(self, session: LiveSession) -> None:
        """A session was created, connected or ended, or its avatar came or left."""
        ...

    def speech_queued(
        self, session: LiveSession, audio: Samples, starts_at: float, lead_secs: float
    ) -> None:
        """Speech will sound from ``starts_at`` on; it came ``lead_secs`` before it had to."""
        ...

    def speech_cut(self, session: LiveSession, at: float, dropped_samples: int) -> None:
        """Nothing that was to sound after ``at`` will."""
        ...


class Account:
    """The sessions of one API key, within its limits.

    Methods that change something belong to the sandbox's event loop; those that only read
    may be called from any thread.
    """

    def __init__(
        self,
        terms: AccountTerms,
        *,
        clock: Callable[[], float],
        log: EventLog,
    ) -> None:
        """Open an account.

        Args:
            terms: Its limits.
            clock: Seconds; everything that is recorded or heard is timed with it.
            log: Where comings and goings are noted.
        """
        self.terms = terms
        self._clock = clock
        self._log = log
        self.observer: SessionObserver | None = None
        self._audience: list[Audience] = []
        self._sessions: dict[str, LiveSession] = {}
        self._peak = 0
        self._lock = threading.RLock()

    # --- reading, from any thread ---

    def find(self, session_id: str) -> LiveSession | None:
        """Find a session by its identifier."""
        with self._lock:
            return self._sessions.get(session_id)

    def all(self) -> list[LiveSession]:
        """Return all sessions ever created, in order."""
        with self._lock:
            return list(self._sessions.values())

    def snapshots(self) -> list[SandboxSession]:
        """Return all sessions ever created, in order, as they are now."""
        with self._lock:
            return [session.snapshot() for session in self._sessions.values()]

    @property
    def live(self) -> int:
        """Number of sessions that have not ended."""
        with self._lock:
            return sum(session.is_live for session in self._sessions.values())

    @property
    def peak(self) -> int:
        """Largest number of sessions that were live at the same time."""
        return self._peak

    def minutes_left(self) -> float:
        """Return the minutes not yet spent, never below zero."""
        with self._lock:
            now = self._clock()
            spent = sum(session.minutes(now) for session in self._sessions.values())
            return max(0, self.terms.minutes - spent)

    def heard(self, session_id: str | None, now: float) -> list[Heard]:
        """Return what was heard of one session, or of each in order.

        Raises:
            LookupError: If there is no such session.
        """
        with self._lock:
            return [session.playback.heard(now) for session in self._chosen(session_id)]

    def between(self, session_id: str, first: float, last: float) -> Samples:
        """Return what is heard of a session between two moments; raises like ``heard``."""
        with self._lock:
            (session,) = self._chosen(session_id)
            return session.playback.between(first, last)

    def heard_samples(self, session_id: str | None, now: float) -> int:
        """Count what was heard of one session, or of all; raises like ``heard``."""
        with self._lock:
            return sum(s.playback.heard_samples(now) for s in self._chosen(session_id))

    def quiet_at(self, session_id: str | None) -> float:
        """Return when all that is queued will have sounded; raises like ``heard``."""
        with self._lock:
            return max(
                (session.playback.quiet_at for session in self._chosen(session_id)),
                default=-math.inf,
            )

    def live_session(self, session_id: str | None) -> LiveSession:
        """Return a live session, or the newest of them.

        Raises:
            LookupError: If no session is live.
        """
        with self._lock:
            for session in reversed(self._chosen(session_id)):
                if session.is_live:
                    return session
        raise LookupError(f"No session {session_id or '(any)'} is live.")

    def _chosen(self, session_id: str | None) -> list[LiveSession]:
        if session_id is None:
            return list(self._sessions.values())
        if session_id not in self._sessions:
            raise LookupError(f"There is no session {session_id!r}.")
        return [self._sessions[session_id]]

    def speaking(self, now: float) -> list[str]:
        """Return the sessions whose avatar has something to say, or says it."""
        with self._lock:
            return [one.id for one in self._sessions.values() if one.playback.quiet_at > now]

    def heard_between(self, session_id: str, since: float, until: float) -> int:
        """Count the samples heard of a session in a stretch of time."""
        with self._lock:
            return self._sessions[session_id].playback.heard_samples(until, since)

    # --- changing, in the sandbox's event loop ---

    def admit(self, listener: Audience) -> None:
        """Let somebody into the audience, for ever."""
        self._audience.append(listener)

    def _tell_change(self, session: LiveSession) -> None:
        for listener in self._audience:
            listener.session_changed(session)

    def create(self, wish: SessionWish) -> LiveSession:
        """Create and start a session.

        Args:
            wish: What the caller asks for.

        Returns:
            The session.

        Raises:
            TooManySessions: If as many as allowed are live.
            OutOfMinutes: If the minutes are spent.
        """
        if self.live >= self.terms.max_sessions:
            raise TooManySessions
        if self.minutes_left() <= 0:
            raise OutOfMinutes
        session = self._new_session(wish)
        self._log.hide(session.token, wish.room.token)
        with self._lock:
            self._sessions[session.id] = session
            self._peak = max(self._peak, self.live)
        self._log.add(
            "sandbox",
            "session.created",
            session.id,
            avatar=wish.avatar[:80],
            aspect_ratio=wish.aspect_ratio,
            platform=wish.room.platform,
        )
        self._tell_change(session)
        self._set_timers(session)
        return session

    def _new_session(self, wish: SessionWish) -> LiveSession:
        now, delay_secs = self._clock(), self.terms.join_delay_secs
        joins_at = math.inf if delay_secs is None else now + delay_secs
        playback = Playback(
            render_latency_secs=self.terms.render_latency_secs,
            joins_at=joins_at,
            before_join=self.terms.before_join,
        )
        server = secrets.token_hex(4) if self.terms.assigns_servers else None
        life_secs = self.terms.session_secs
        return LiveSession(
            wish,
            playback,
            created_at=now,
            joins_at=joins_at,
            expires_at=None if life_secs is None else now + life_secs,
            server=server,
        )

    def _set_timers(self, session: LiveSession) -> None:
        loop, terms = asyncio.get_running_loop(), self.terms
        orphaned = loop.call_later(terms.orphan_secs, self._sweep, session)
        session.timers.append(orphaned)
        if terms.session_secs is not None:
            expires = loop.call_later(terms.session_secs, self.end, session, Ending.EXPIRED)
            session.timers.append(expires)
        if terms.join_delay_secs == 0:
            self._join(session)
        elif terms.join_delay_secs is not None:
            session.timers.append(loop.call_later(terms.join_delay_secs, self._join, session))

    def _sweep(self, session: LiveSession) -> None:
        if session.connected_at is None:
            self.end(session, Ending.NEVER_CONNECTED)

    def _join(self, session: LiveSession) -> None:
        session.avatar_in_room = True
        self._log.add("room", "avatar.joined", session.id)
        self._tell_change(session)
        if self.observer is not None:
            self.observer.avatar_joined(session)

    def connect(self, session: LiveSession) -> None:
        """Note that a socket has taken the session."""
        session.connected_at = self._clock()
        self._tell_change(session)

    def orphan(self, session: LiveSession) -> None:
        """Note that a session has no client any more and does not know; it will be swept."""
        if session.is_live:
            loop, secs = asyncio.get_running_loop(), self.terms.orphan_secs
            session.timers.append(loop.call_later(secs, self.end, session, Ending.SWEPT))

    def speak(self, session: LiveSession, audio: Samples) -> None:
        """Queue audio that is being confirmed, 16-bit samples at 16 kHz."""
        now = self._clock()
        with self._lock:
            starts_at = session.playback.confirm(audio, now)
        self._log.add(
            "room",
            "speech.queued",
            session.id,
            samples=len(audio),
            sounds_at_secs=round(starts_at - self._log.started_at, 6),
        )
        lead_secs = session.playback.lead_secs(starts_at, now)
        for listener in self._audience:
            listener.speech_queued(session, audio, starts_at, lead_secs)

    def change_render_latency(self, secs: float) -> None:
        """Change how late what is confirmed from now on sounds; raises ValueError."""
        self.terms = replace(self.terms, render_latency_secs=secs)
        with self._lock:
            for session in self._sessions.values():
                session.playback.render_latency_secs = secs

    def interrupt(self, session: LiveSession) -> None:
        """Silence the avatar at once."""
        now = self._clock()
        with self._lock:
            dropped = session.playback.interrupt(now)
        self._log.add("room", "speech.cut", session.id, dropped_samples=dropped)
        self._tell_cut(session, now, dropped)

    def _tell_cut(self, session: LiveSession, at: float, dropped: int) -> None:
        for listener in self._audience:
            listener.speech_cut(session, at, dropped)

    def leave(self, session: LiveSession) -> None:
        """Take the avatar out of the room while the session goes on."""
        if not session.avatar_in_room:
            return
        session.avatar_in_room = False
        with self._lock:
            session.playback.leave(self._clock())
        self._log.add("room", "avatar.left", session.id)
        self._tell_change(session)
        if self.observer is not None:
            self.observer.avatar_left(session)

    def come_back(self, session: LiveSession) -> None:
        """Let an avatar that left into the room again."""
        if session.avatar_in_room or session.playback.joins_at > self._clock():
            return
        with self._lock:
            session.playback.come_back(self._clock())
        self._join(session)

    def end(self, session: LiveSession, by: Ending) -> None:
        """End a session; does nothing if it has ended.

        Args:
            session: The session.
            by: Why it ends.
        """
        if not session.is_live:
            return
        for timer in session.timers:
            timer.cancel()
        with self._lock:
            session.ended_at = self._clock()
            session.ended_by = by
            dropped = session.playback.interrupt(session.ended_at)
            self._forget_old_sound()
        self._log.add(
            "sandbox", "session.ended", session.id, reason=str(by), dropped_samples=dropped
        )
        self._tell_cut(session, session.ended_at, dropped)
        self._tell_change(session)
        self.leave(session)
        if self.observer is not None:
            self.observer.session_ended(session)

    def _forget_old_sound(self) -> None:
        """Let go of the oldest sound, so that a sandbox that runs for days does not grow."""
        kept = 0
        for session in reversed(self._sessions.values()):
            if not session.is_live:
                kept += session.playback.samples
                if to_secs(kept) > _KEPT_SOUND_SECS:
                    session.playback.forget()

    def end_all(self) -> None:
        """End every live session because the sandbox closes."""
        with self._lock:
            live = [session for session in self._sessions.values() if session.is_live]
        for session in live:
            self.end(session, Ending.SANDBOX_CLOSED)
