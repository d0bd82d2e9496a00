"""Between session and pipeline: the session's events as frames, handlers, numbers, errors."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.client.events import (
    ErrorReported,
    Established,
    PlaybackStopped,
    SessionEvent,
    SessionLost,
    SpeechConfirmed,
    Unexpected,
)
from pipecat_agenthuman.client.session import Session, SessionState
from pipecat_agenthuman.client.sources import SessionSource
from pipecat_agenthuman.errors import AvatarLeftError
from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from pipecat_agenthuman.pipeline.announcer import Announcer
from pipecat_agenthuman.pipeline.availability import Availability
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.driver import SpeechSink
from pipecat_agenthuman.pipeline.error_reports import ErrorReport
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.stats import ServiceStats
from pipecat_agenthuman.wire.pcm import to_secs

EXPIRY_MARGIN_SECS: Final = 30.0
"""How long before its expiration a session is replaced: a pause must come in that time. Of a
session that lives for less than two minutes it is a quarter."""

START_WAIT_SECS: Final = 15.0
"""How long the first words wait for a session; then the transport speaks until there is one."""

RETURN_WAIT_SECS: Final = 5.0
"""How long an avatar that left the room may take to come back before it is replaced."""

UNTOLD_EVENTS: Final = 256
"""Events that wait to be told. Beyond, what changes nothing is skipped: a server that floods
its client must not fill the memory."""


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """How a link behaves.

    Attributes:
        avatar_wait_secs: How long the first words wait for the avatar in the room.
        renew_before_expiry: Whether to replace a session shortly before it expires.
        transport_speaks: Whether the transport speaks while there is no avatar.
    """

    avatar_wait_secs: float = 10.0
    renew_before_expiry: bool = True
    transport_speaks: bool = True


class Supervisor:
    """The session as the pipeline sees it."""

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        make_session: Callable[[Callable[[SessionEvent], None]], Session],
        source: SessionSource,
        voice: AvatarOutput,
        stats: ServiceStats,
        meter: Meter,
        notify: Callable[..., Awaitable[None]],
        on_unavailable: Callable[[], Awaitable[None]],
        options: SupervisorOptions,
    ) -> None:
        """Create a link; ``start`` brings the session up.

        Args:
            processor: Pushes the frames and owns the tasks.
            make_session: Creates the session, given where its events go.
            source: Where its sessions come from; closed with the link.
            voice: Hears of confirmations.
            stats: Counts.
            meter: Takes times.
            notify: Calls an event handler: name, then arguments.
            on_unavailable: Called when the avatar cannot speak any more; idempotent.
            options: How to behave.
        """
        self._processor = processor
        self._session = make_session(self._take)
        self._source = source
        self._voice = voice
        self._stats = stats
        self._meter = meter
        self._notify = notify
        self._teller = Announcer(
            processor,
            stats=stats,
            notify=notify,
            renewable=source.renewable,
            transport_speaks=options.transport_speaks,
        )
        self._on_unavailable = on_unavailable
        self._options = options
        self._presence = Availability()
        self._events: asyncio.Queue[SessionEvent] = asyncio.Queue()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._starting_since: float | None = None
        self._may_wait = True  # speech, for the first avatar; never for a later one
        self._broken = False

    # --- looking -----------------------------------------------------------------------

    @property
    def may_come(self) -> bool:
        """Whether the avatar may take an utterance: it is there, or coming for the first time."""
        if self._presence.gone or self._broken:
            return False
        if self.ready and self._presence.may_speak:
            return True
        return self._may_wait and self._session.state in (
            SessionState.IDLE,
            SessionState.STARTING,
            SessionState.READY,
        )

    @property
    def ready(self) -> bool:
        """Whether the session is established."""
        return self._session.state is SessionState.READY

    def line(self) -> SpeechSink | None:
        """Where speech may go now: nowhere before the avatar is there to say it."""
        connection = self._session.connection
        return connection if connection is not None and self._presence.may_speak else None

    # --- living ------------------------------------------------------------------------

    def start(self, *, avatar_is_announced: bool) -> None:
        """Bring the session up, in the background. Idempotent.

        Args:
            avatar_is_announced: Whether a transport tells when the avatar joins.
        """
        if "session" in self._tasks:
            return
        self._presence.announced = avatar_is_announced
        self._spawn("events", self._tell_events())
        self._begin()

    def interrupt(self) -> None:
        """Tell the server to stop, if it is there."""
        connection = self._session.connection
        self._meter.forget_messages()
        if connection is not None and connection.interrupt():
            self._stats.interruptions += 1

    async def note(self, frame: AgentHumanAvatarJoinedFrame | AgentHumanAvatarLeftFrame) -> None:
        """Take note of who joined or left the room."""
        if isinstance(frame, AgentHumanAvatarLeftFrame):
            if self._presence.leave(frame.participant_id) and self.ready:
                await self._miss_avatar(frame.reason)
        elif self._presence.join(frame.participant_id) and self.ready:
            await self._avatar_is_ready()
        self._voice.driver.wake()

    async def tell_trouble(self, trouble: ErrorReport) -> None:
        """Count trouble, and report it unless it belongs to a burst that was reported."""
        await self._teller.tell_trouble(trouble)

    def renew_at_pause(self, why: str, *, expires: bool = False) -> None:
        """Replace the session when nothing is being said; at once if there is none any more.

        Args:
            why: For the log.
            expires: Whether it is to expire soon.
        """
        if not self._session.renewable:
            logger.warning(
                f"{self._processor}: {why}, but the session was made elsewhere and cannot be "
                "replaced. Use room= and api_key= for that."
            )
        elif "session" not in self._tasks:
            return
        elif self._tasks["session"].done():
            logger.info(f"{self._processor}: {why}; trying again to bring a session up.")
            self._begin()
        else:
            self._spawn("renewal", self._renew_when_idle(why, expires=expires))

    def let_go(self) -> None:
        """Close the connection and end the session, without waiting for it."""
        self._session.end()

    async def close(self, limit_secs: float) -> None:
        """Close the connection and end the session; what takes longer goes on meanwhile."""
        self.let_go()
        session = self._tasks.get("session")
        if session is not None:
            await asyncio.wait({session}, timeout=limit_secs)

    async def cleanup(self, limit_secs: float) -> None:
        """Close, and leave nothing behind. Idempotent."""
        await self.close(limit_secs)
        for name in tuple(self._tasks):
            await self._stop(name)
        self._teller.reporter.close()
        await self._source.close()

    async def guard(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work that must not raise: a mistake in it ends the session, and is reported.

        Args:
            name: What it is, for the report.
            work: What to run.
        """
        try:
            await work
        except Exception as error:  # noqa: BLE001 - nothing else would notice
            await self._give_up(name, error)

    # --- events ------------------------------------------------------------------------

    def _take(self, event: SessionEvent) -> None:
        """What the playout must know at once; the telling has time."""
        match event:
            case SpeechConfirmed():
                self._voice.playout.confirmed(event.at)
                self._meter.confirmed(self._voice.driver.now(), self._round_trip_secs())
            case ErrorReported(speech_rejected=True):
                samples = self._voice.playout.rejected(self._voice.driver.now())
                self._stats.rejected_secs += to_secs(samples)
                self._meter.rejected()
            case PlaybackStopped():
                self._meter.interrupted(event.took_secs)
            case Unexpected() | ErrorReported() if self._events.qsize() >= UNTOLD_EVENTS:
                self._teller.notice("too many at once", "some are skipped")
                return
            case _:
                pass
        self._voice.driver.wake()
        self._events.put_nowait(event)

    async def _tell_events(self) -> None:
        while True:
            event = await self._events.get()
            if isinstance(event, SessionLost):
                await self._fall_back(event)
            else:
                await self._teller.tell(event)
            if isinstance(event, Established):
                await self._welcome()
            await self._meter.push()

    async def _welcome(self) -> None:
        """A session is up; its avatar is there, or on its way."""
        await self._stop("start")
        self._spawn("expiration", self._watch_expiration(self._session.expires_in_secs))
        if self._presence.joined.is_set() or not self._presence.announced:
            await self._avatar_is_ready()
        else:
            self._spawn("avatar", self._await_avatar())

    async def _fall_back(self, event: SessionLost) -> None:
        """A session is gone: first the voice, then the telling."""
        self._may_wait = False
        self._presence.session_lost()
        self._meter.forget_messages()
        for name in ("start", "avatar", "expiration", "renewal"):
            await self._stop(name)
        await self._on_unavailable()
        if self._starting_since is None:
            self._starting_since = self._voice.driver.now()
        await self._teller.tell_lost(event)

    def _round_trip_secs(self) -> float:
        connection = self._session.connection
        return 0.0 if connection is None else connection.round_trip_secs

    # --- background --------------------------------------------------------------------

    def _begin(self) -> None:
        self._starting_since = self._voice.driver.now()
        self._spawn("session", self._session.run())
        if self._may_wait:
            self._spawn("start", self._limit_start())

    async def _limit_start(self) -> None:
        """Let the first words wait for a session, but not for ever."""
        playout = self._voice.playout
        await self._voice.driver.wait_until(lambda: playout.backlog_secs > 0, None)
        await asyncio.sleep(START_WAIT_SECS)
        fate = "the transport speaks them" if self._options.transport_speaks else "they are dropped"
        logger.warning(
            f"{self._processor}: no session after {START_WAIT_SECS:g} s with words waiting; "
            f"{fate}, and the avatar takes over when it is there."
        )
        self._may_wait = False
        await self._on_unavailable()

    async def _give_up(self, name: str, error: Exception) -> None:
        """A mistake of ours ended a task: no more avatar, but the call goes on."""
        logger.error(
            f"{self._processor}: {name} failed:\n{''.join(traceback.format_exception(error))}"
        )
        self._broken = True
        self._session.end()
        try:
            await self._on_unavailable()
        except Exception as second:  # noqa: BLE001 - the first one is what matters
            logger.error(f"{self._processor}: what was not heard is lost ({second!r}).")
        await self._teller.tell_bug(name, error)

    async def _avatar_is_ready(self) -> None:
        self._may_wait = False
        if self._starting_since is not None:
            self._meter.joined(self._voice.driver.now() - self._starting_since)
            self._starting_since = None
        self._voice.driver.wake()
        await self._processor.set_usable(True)
        await self._notify("on_avatar_ready")

    async def _miss_avatar(self, reason: str) -> None:
        """The avatar left the room although its session is up."""
        logger.warning(
            f"{self._processor}: the avatar left the room ({reason or 'no reason given'}). It is "
            f"replaced unless it comes back within {RETURN_WAIT_SECS:g} s."
        )
        await self._on_unavailable()
        self._spawn("avatar", self._await_return())

    async def _await_return(self) -> None:
        try:
            async with asyncio.timeout(RETURN_WAIT_SECS):
                await self._presence.joined.wait()
        except TimeoutError:
            self._session.renew(
                AvatarLeftError(
                    "The avatar left the room and did not come back.",
                    remedy="Look for what removes participants from the room.",
                )
            )

    async def _await_avatar(self) -> None:
        """Wait for the avatar to appear in the room, and no longer than is set."""
        try:
            async with asyncio.timeout(self._options.avatar_wait_secs):
                await self._presence.joined.wait()
        except TimeoutError:
            if self._presence.was_recognized:
                # It cannot be that the transport does not know it.
                self._session.renew(
                    AvatarLeftError(
                        "The avatar of the new session did not appear in the room within "
                        f"{self._options.avatar_wait_secs:g} s.",
                        remedy="Check that its token is still valid, and that the room has room.",
                    )
                )
                return
            logger.warning(
                f"{self._processor}: no avatar in the room after "
                f"{self._options.avatar_wait_secs:g} s; speech goes to it all the same. Check "
                "that its token belongs to the room and that the transport knows its identity."
            )
            self._presence.give_up_waiting()
            await self._avatar_is_ready()

    async def _watch_expiration(self, left_secs: float | None) -> None:
        if left_secs is None:
            return
        margin_secs = min(EXPIRY_MARGIN_SECS, left_secs / 4)
        await asyncio.sleep(max(left_secs - margin_secs, 0.0))
        if self._options.renew_before_expiry:
            self.renew_at_pause("the session expires soon", expires=True)
        else:
            logger.warning(
                f"{self._processor}: the session expires in {margin_secs:.0f} s and "
                "renew_before_expiry is off; the avatar will leave in the middle of the call."
            )

    async def _renew_when_idle(self, why: str, *, expires: bool) -> None:
        await self._voice.driver.wait_until(lambda: self._voice.idle, None)
        logger.info(f"{self._processor}: {why}; a new one takes over.")
        self._session.renew(expires=expires)

    def _spawn(self, name: str, work: Coroutine[Any, Any, None]) -> None:
        """Run work in the background; work of the same name before it is replaced."""
        former = self._tasks.get(name)
        if former is not None:
            former.cancel()
        self._tasks[name] = self._processor.create_task(self.guard(name, work), name)

    async def _stop(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None and not task.done():
            await self._processor.cancel_task(task)
