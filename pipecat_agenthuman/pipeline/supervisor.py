"""Brings the session and the speech together, and keeps both alive.

What the session tells goes up by one path. What the playout must know, and who speaks, is
settled at once, synchronously, before anything else can happen. Telling comes last, and has its
own time: a slow event handler must not hold up the voice.
"""

from __future__ import annotations

import asyncio
import traceback
from dataclasses import dataclass
from functools import partial
from typing import Final

from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.client.connection import ConnectionLimits
from pipecat_agenthuman.client.events import (
    ErrorReported,
    Established,
    PlaybackStopped,
    SessionEvent,
    SessionLost,
    SpeechConfirmed,
)
from pipecat_agenthuman.client.retry import RenewalPolicy
from pipecat_agenthuman.client.session import Session, SessionState
from pipecat_agenthuman.client.sources import SessionSource
from pipecat_agenthuman.errors import AgentHumanError, AvatarUnavailableError, WrongPlaceError
from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from pipecat_agenthuman.pipeline.announcer import (
    Announcer,
    AvatarAbsent,
    AvatarReady,
    SessionEnding,
)
from pipecat_agenthuman.pipeline.availability import Availability
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.background import Background
from pipecat_agenthuman.pipeline.driver import PlayoutDriver
from pipecat_agenthuman.pipeline.error_reports import avatar_absent, avatar_left, bot_removed
from pipecat_agenthuman.pipeline.fallback import Fallback
from pipecat_agenthuman.pipeline.lifetime import EMPTY_ROOM_SECS, EndKind, Stay, life_end
from pipecat_agenthuman.pipeline.listening import Listening
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.minutes import watch_minutes
from pipecat_agenthuman.pipeline.readiness import Readiness

START_WAIT_SECS: Final = 15.0
"""How long the first words wait for a session; then the transport speaks until there is one."""

RETURN_WAIT_SECS: Final = 5.0
"""How long an avatar that left the room may take to come back before it is replaced."""

_EMPTY_ROOM: Final = "everybody has left the room"
_CAPPED: Final = "max_session_secs is over"

_OF_ONE_SESSION: Final = ("start", "avatar", "life", "minutes", "renewal")
"""Background work that ends with the session for which it was begun."""


@dataclass(frozen=True, slots=True)
class SupervisorOptions:
    """How sessions are kept.

    Attributes:
        ws_url: WebSocket URL of the service.
        max_unconfirmed: Most ``agent.speak`` that wait for confirmation.
        limits: How long a connection waits for what.
        renewal: How often and how long to try after a session was lost.
        avatar_wait_secs: How long the first words wait for the avatar in the room.
        renew_before_expiry: Whether to replace a session shortly before it expires.
        max_session_secs: How long the avatar may be there without a break, replacements
            included; None for no limit.
    """

    ws_url: str
    max_unconfirmed: int = 1
    limits: ConnectionLimits | None = None
    renewal: RenewalPolicy | None = None
    avatar_wait_secs: float = 10.0
    renew_before_expiry: bool = True
    max_session_secs: float | None = None


class Supervisor:
    """Keeps a session up, lets the avatar speak while there is one, and has it told."""

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        source: SessionSource,
        availability: Availability,
        output: AvatarOutput,
        fallback: Fallback,
        driver: PlayoutDriver,
        announcer: Announcer,
        readiness: Readiness,
        listening: Listening,
        meter: Meter,
        options: SupervisorOptions,
    ) -> None:
        """Create a supervisor; ``start`` sets it to work, ``bring_up`` begins a session.

        Args:
            processor: Owns the tasks.
            source: Where sessions come from; closed in the end.
            availability: Is told what happens to session and avatar.
            output: Gets the connection while there is one.
            fallback: Lets somebody else speak when the avatar cannot.
            driver: Runs the speech against the clock.
            announcer: Tells of everything.
            readiness: Is told whether the avatar may come.
            listening: Hears what the avatar says in the room.
            meter: Counts.
            options: How to keep sessions.
        """
        self._processor = processor
        self._source = source
        self._availability = availability
        self._output = output
        self._fallback = fallback
        self._driver = driver
        self._announcer = announcer
        self._readiness = readiness
        self._listening = listening
        self._meter = meter
        self._options = options
        self._session = Session(
            source,
            ws_url=options.ws_url,
            on_event=self._take,
            max_unconfirmed=options.max_unconfirmed,
            limits=options.limits,
            renewal=options.renewal,
        )
        self._background = Background(processor, on_bug=self._give_up)
        self._winding_up = False
        self._persons: int | None = None  # in the room, as far as a transport tells
        self._stay = Stay(options.max_session_secs)

    # --- living ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to speak what there is to say, with whatever session. Idempotent."""
        if not self._background.began("driver"):
            self._background.spawn("driver", self._driver.run)
            self._background.spawn("announcer", self._announcer.run)
            replace = self._replace if self._session.renewable else None
            self._background.spawn("listening", partial(self._listening.run, replace))

    def bring_up(self, *, avatar_is_announced: bool) -> None:
        """Bring a session up, in the background. Idempotent.

        Args:
            avatar_is_announced: Whether a transport tells when the avatar joins.
        """
        may_begin = not (self._winding_up or self._readiness.is_hopeless)
        if may_begin and not self._background.began("session"):
            self._availability.announced = avatar_is_announced
            self._begin()

    async def stand_aside(self, error: AgentHumanError) -> None:
        """Bring no session up, ever: the avatar cannot speak from here. Frames just pass.

        Args:
            error: Why.
        """
        self._readiness.failed(error)
        await self._fallback.bypass(passes_all=isinstance(error, WrongPlaceError))

    def note_avatar(self, frame: AgentHumanAvatarJoinedFrame | AgentHumanAvatarLeftFrame) -> None:
        """Take note of who joined or left the room."""
        is_up = self._availability.session_up
        if isinstance(frame, AgentHumanAvatarLeftFrame):
            if self._availability.left(frame.participant_id) and is_up:
                self._miss_avatar(frame.reason)
        elif self._availability.joined(frame.participant_id) and is_up:
            self._welcome_avatar()
        self._output.rounds.wake()

    def note_bot_left(self, reason: str) -> None:
        """Take note that the bot itself is out of the room: its avatar must not stay there."""
        self.wind_up()
        error = bot_removed(reason)
        if self._session.state in (SessionState.STARTING, SessionState.READY):
            self._session.renew(error)  # a loss after which there is no other
        else:
            self._session.end()
            self._take(SessionLost(error, will_renew=False, was_ready=False))

    def wind_up(self) -> None:
        """The call ends: bring up no session any more, and replace none."""
        self._winding_up = True
        self._background.stop("vacancy")

    def note_persons(self, persons: int) -> None:
        """Take note of how many persons are in the room: for none of them no minutes are spent.

        Args:
            persons: How many there are now.
        """
        was_empty, self._persons = not self._persons, persons
        if persons:
            self._background.stop("vacancy")
            if was_empty and not self._winding_up and self._session.resume():
                self._expect_anew()
        elif not (was_empty or self._winding_up) and self._session.renewable:
            self._session.hold(_EMPTY_ROOM)
            self._background.spawn("vacancy", self._await_person)

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
        elif not self._background.began("session") or self._winding_up:
            return
        elif self._background.is_done("session"):
            logger.info(f"{self._processor}: {why}; trying again to bring a session up.")
            self._begin()
        else:
            self._background.spawn("renewal", partial(self._renew_when_idle, why, expires=expires))

    def let_go(self) -> None:
        """Close the connection and end the session, without waiting for it."""
        self._output.avatar.detach()
        self._availability.session_lost()
        self._session.end()
        self._readiness.failed(AvatarUnavailableError("The pipeline has ended."))

    async def close(self, limit_secs: float) -> None:
        """Close the connection and end the session; what takes longer goes on meanwhile."""
        self.let_go()
        await self._background.wait("session", limit_secs)

    async def cleanup(self, limit_secs: float) -> None:
        """Close, and leave nothing behind. Idempotent."""
        await self._background.ended("driver")
        await self.close(limit_secs)
        for name in self._background.names:
            await self._background.ended(name)
        self._announcer.close()
        await self._source.close()

    # --- events ------------------------------------------------------------------------

    def _take(self, event: SessionEvent) -> None:
        """What the playout must know, who speaks, and last the telling. Waits for nothing."""
        match event:
            case Established():
                self._welcome()
            case SessionLost():
                self._mourn(event)
            case SpeechConfirmed():
                self._output.avatar.confirmed(event.at, self._output.now(), overtook=event.overtook)
            case ErrorReported(speech_rejected=True):
                self._output.avatar.rejected(self._output.now(), overtook=event.overtook)
            case PlaybackStopped():
                self._output.playout.hearing.stopped(self._output.now())
                self._meter.interrupt_confirmed(event.took_secs)
            case _:
                pass
        self._output.rounds.wake()
        self._listening.look()
        self._announcer.take(event)
        if isinstance(event, Established) and self._availability.is_there:
            self._welcome_avatar()

    def _welcome(self) -> None:
        """A session is up; its avatar is there, or on its way."""
        self._meter.established()
        self._listening.expect_another()
        self._background.stop("start")
        connection = self._session.connection
        if connection is not None:
            self._output.avatar.attach(connection)
        self._availability.session_established()
        self._background.spawn("life", self._watch_life)
        left = self._session.minutes_left
        self._background.spawn("minutes", partial(watch_minutes, left, self._announcer.take))
        if not self._availability.is_there:
            self._background.spawn("avatar", self._await_avatar)

    def _mourn(self, event: SessionLost) -> None:
        """A session is gone."""
        self._background.stop(*_OF_ONE_SESSION)
        self._output.avatar.detach()
        self._availability.session_lost()
        self._fallback.fall_back()
        if event.will_renew:
            self._meter.bringing_up(self._output.now())
            self._background.spawn("life", self._await_cap)
        else:
            self._meter.gave_up()
            if event.error is not None or not self._session.renewable:
                over = AvatarUnavailableError(f"Its session is over: {event.reason}.")
                self._readiness.failed(event.error or over)
        if event.was_ready and event.error is not None:
            self._meter.lost()

    def _welcome_avatar(self) -> None:
        """The avatar may speak."""
        self._meter.joined(self._output.now())
        self._output.rounds.wake()
        self._announcer.take(AvatarReady())

    def _miss_avatar(self, reason: str) -> None:
        """The avatar left the room although its session is up."""
        self._fallback.fall_back()
        if self._winding_up:
            return
        logger.warning(
            f"{self._processor}: the avatar left the room ({reason or 'no reason given'}). It is "
            f"replaced unless it comes back within {RETURN_WAIT_SECS:g} s."
        )
        self._background.spawn("avatar", self._await_return)

    # --- background --------------------------------------------------------------------

    def _begin(self) -> None:
        self._readiness.expected()
        self._meter.bringing_up(self._output.now())
        self._background.spawn("session", self._session.run)
        if self._availability.is_awaited:
            self._background.spawn("start", self._limit_start)

    def _expect_anew(self) -> None:
        """Somebody came while there was no session: it is as at the start."""
        logger.info(f"{self._processor}: somebody is in the room again; a session is coming.")
        self._stay.end()
        self._readiness.expected()
        self._availability.expected_anew()
        self._meter.bringing_up(self._output.now())
        self._background.spawn("start", self._limit_start)

    async def _await_person(self) -> None:
        """Let a session go on for a while when everybody has left the room, but not for ever."""
        await asyncio.sleep(EMPTY_ROOM_SECS)
        logger.info(
            f"{self._processor}: {_EMPTY_ROOM}, so the session ends; another one comes with the "
            "next person."
        )
        self._session.rest(_EMPTY_ROOM)

    async def _limit_start(self) -> None:
        """Let the first words wait for a session, but not for ever."""
        await self._output.rounds.wait_until(lambda: self._output.playout.outgoing.backlog_secs > 0)
        await asyncio.sleep(START_WAIT_SECS)
        logger.warning(
            f"{self._processor}: no session after {START_WAIT_SECS:g} s with words waiting; "
            f"{self._fallback.fate}, and the avatar takes over when it is there."
        )
        self._availability.waited_enough()
        self._fallback.fall_back()

    async def _await_return(self) -> None:
        if not await self._availability.joins_within(RETURN_WAIT_SECS):
            self._replace(avatar_left())

    async def _await_avatar(self) -> None:
        """Wait for the avatar to appear in the room, and no longer than is set."""
        wait_secs = self._options.avatar_wait_secs
        if await self._availability.joins_within(wait_secs):
            return
        error = avatar_absent(wait_secs)
        if self._availability.was_recognized:
            # It cannot be that the transport does not know it.
            self._replace(error)
            return
        self._availability.waited_enough()
        self._fallback.fall_back()
        self._announcer.take(AvatarAbsent(error))

    async def _watch_life(self) -> None:
        """Do what is to be done before a session's end, and at it."""
        now = self._output.now()
        self._stay.begin(now)
        end = life_end(
            expires_in_secs=self._session.expires_in_secs,
            capped_in_secs=self._stay.left_secs(now),
            replaces=self._options.renew_before_expiry,
        )
        if end is None:
            return
        await asyncio.sleep(end.in_secs - end.notice_secs)
        if end.kind is EndKind.REPLACED:
            self.renew_at_pause("the session expires soon", expires=True)
            return
        self._announcer.take(SessionEnding(end.notice_secs))
        if end.kind is EndKind.EXPIRED:
            logger.warning(
                f"{self._processor}: the session expires in {end.notice_secs:.0f} s and "
                "renew_before_expiry is off; the avatar will leave in the middle of the call."
            )
            return
        await asyncio.sleep(end.notice_secs)
        self._cap()

    async def _await_cap(self) -> None:
        """Make no other session when the time of the one that was lost is over."""
        left_secs = self._stay.left_secs(self._output.now())
        if left_secs is not None:
            await asyncio.sleep(left_secs)
            self._cap()

    def _cap(self) -> None:
        """The avatar was there long enough."""
        logger.info(f"{self._processor}: {_CAPPED}, so the session ends.")
        self._session.rest(_CAPPED)
        self._readiness.failed(AvatarUnavailableError(f"Its session is over: {_CAPPED}."))

    async def _renew_when_idle(self, why: str, *, expires: bool) -> None:
        await self._output.wait_until_over()
        if not self._winding_up:
            logger.info(f"{self._processor}: {why}; a new one takes over.")
        self._replace(expires=expires)

    def _replace(self, error: AgentHumanError | None = None, *, expires: bool = False) -> None:
        """Give the session up for another one, unless the call ends."""
        if not self._winding_up:
            self._session.renew(error, expires=expires)

    async def _give_up(self, name: str, error: Exception) -> None:
        """A mistake of ours ended a task: no more avatar, but the call goes on."""
        logger.error(
            f"{self._processor}: {name} failed:\n{''.join(traceback.format_exception(error))}"
        )
        self._availability.failed()
        self._readiness.failed(AvatarUnavailableError(f"A bug of pipecat-agenthuman in {name}."))
        self._session.end()
        try:
            self._fallback.fall_back()
            if name == "driver":
                await self._fallback.bypass()
        except Exception as second:  # noqa: BLE001 - the first one is what matters
            logger.error(f"{self._processor}: what was not heard is lost ({second!r}).")
        await self._announcer.report_bug(name, error)
