"""Brings the session and the speech together, and keeps both alive.

What the session tells goes up by one path. What the playout must know, and who speaks, is
settled at once, synchronously, before anything else can happen. Telling comes last, and has its
own time: a slow event handler must not hold up the voice.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

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
from pipecat_agenthuman.errors import AgentHumanError, AvatarLeftError, BotRemovedError
from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from pipecat_agenthuman.pipeline.announcer import Announcer, AvatarReady
from pipecat_agenthuman.pipeline.availability import Availability
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.driver import PlayoutDriver
from pipecat_agenthuman.pipeline.fallback import Fallback
from pipecat_agenthuman.pipeline.metrics import Meter

EXPIRY_MARGIN_SECS: Final = 30.0
"""How long before its expiration a session is replaced: a pause must come in that time. Of a
session that lives for less than two minutes it is a quarter."""

START_WAIT_SECS: Final = 15.0
"""How long the first words wait for a session; then the transport speaks until there is one."""

RETURN_WAIT_SECS: Final = 5.0
"""How long an avatar that left the room may take to come back before it is replaced."""

_OF_ONE_SESSION: Final = ("start", "avatar", "expiration", "renewal")
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
    """

    ws_url: str
    max_unconfirmed: int = 1
    limits: ConnectionLimits | None = None
    renewal: RenewalPolicy | None = None
    avatar_wait_secs: float = 10.0
    renew_before_expiry: bool = True


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
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._winding_up = False

    # --- living ------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to speak what there is to say, with whatever session. Idempotent."""
        if "driver" not in self._tasks:
            self._spawn("driver", self._driver.run)
            self._spawn("announcer", self._announcer.run)

    def bring_up(self, *, avatar_is_announced: bool) -> None:
        """Bring a session up, in the background. Idempotent.

        Args:
            avatar_is_announced: Whether a transport tells when the avatar joins.
        """
        if "session" not in self._tasks and not self._winding_up:
            self._availability.announced = avatar_is_announced
            self._begin()

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
        error = BotRemovedError(
            f"The bot is not in the room ({reason}): it neither hears nor reaches anybody, so the "
            "avatar's session is ended.",
            remedy="Check whether the bot's token or the room has expired, whether the room was "
            "full, and who may remove participants.",
        )
        if self._session.state in (SessionState.STARTING, SessionState.READY):
            self._session.renew(error)  # a loss after which there is no other: it is told of
        else:
            logger.error(f"{self._processor}: {error}")
            self.let_go()
            self._fallback.fall_back()  # no speech waits for an avatar that never comes

    def wind_up(self) -> None:
        """The call ends: bring up no session any more, and replace none."""
        self._winding_up = True

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
        elif "session" not in self._tasks or self._winding_up:
            return
        elif self._tasks["session"].done():
            logger.info(f"{self._processor}: {why}; trying again to bring a session up.")
            self._begin()
        else:
            self._spawn("renewal", partial(self._renew_when_idle, why, expires=expires))

    def let_go(self) -> None:
        """Close the connection and end the session, without waiting for it."""
        self._output.avatar.detach()
        self._availability.session_lost()
        self._session.end()

    async def close(self, limit_secs: float) -> None:
        """Close the connection and end the session; what takes longer goes on meanwhile."""
        self.let_go()
        session = self._tasks.get("session")
        if session is not None:
            await asyncio.wait({session}, timeout=limit_secs)

    async def cleanup(self, limit_secs: float) -> None:
        """Close, and leave nothing behind. Idempotent."""
        await self._ended("driver")
        await self.close(limit_secs)
        for name in tuple(self._tasks):
            await self._ended(name)
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
                now = self._output.now()
                self._output.avatar.confirmed(event.at, now, overtook=event.overtook)
            case ErrorReported(speech_rejected=True):
                self._output.avatar.rejected(self._output.now(), overtook=event.overtook)
            case PlaybackStopped():
                self._meter.interrupt_confirmed(event.took_secs)
            case _:
                pass
        self._output.rounds.wake()
        self._announcer.take(event)
        if isinstance(event, Established) and self._availability.is_there:
            self._welcome_avatar()

    def _welcome(self) -> None:
        """A session is up; its avatar is there, or on its way."""
        self._meter.established()
        self._stop("start")
        connection = self._session.connection
        if connection is not None:
            self._output.avatar.attach(connection)
        self._availability.session_established()
        self._spawn("expiration", partial(self._watch_expiration, self._session.expires_in_secs))
        if not self._availability.is_there:
            self._spawn("avatar", self._await_avatar)

    def _mourn(self, event: SessionLost) -> None:
        """A session is gone."""
        for name in _OF_ONE_SESSION:
            self._stop(name)
        self._output.avatar.detach()
        self._availability.session_lost()
        self._fallback.fall_back()
        if event.will_renew:
            self._meter.bringing_up(self._output.now())
        else:
            self._meter.gave_up()
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
        self._spawn("avatar", self._await_return)

    # --- background --------------------------------------------------------------------

    def _begin(self) -> None:
        self._meter.bringing_up(self._output.now())
        self._spawn("session", self._session.run)
        if self._availability.is_awaited:
            self._spawn("start", self._limit_start)

    async def _limit_start(self) -> None:
        """Let the first words wait for a session, but not for ever."""
        await self._output.rounds.wait_until(lambda: self._output.playout.outgoing.backlog_secs > 0)
        await asyncio.sleep(START_WAIT_SECS)
        logger.warning(
            f"{self._processor}: no session after {START_WAIT_SECS:g} s with words waiting; "
            f"{self._fallback.fate}, and the avatar takes over when it is there."
        )
        self._availability.start_timed_out()
        self._fallback.fall_back()

    async def _await_return(self) -> None:
        try:
            async with asyncio.timeout(RETURN_WAIT_SECS):
                await self._availability.until_joined()
        except TimeoutError:
            self._replace(
                AvatarLeftError(
                    "The avatar left the room and did not come back.",
                    remedy="Look for what removes participants from the room.",
                )
            )

    async def _await_avatar(self) -> None:
        """Wait for the avatar to appear in the room, and no longer than is set."""
        wait_secs = self._options.avatar_wait_secs
        try:
            async with asyncio.timeout(wait_secs):
                await self._availability.until_joined()
        except TimeoutError:
            if self._availability.was_recognized:
                # It cannot be that the transport does not know it.
                self._replace(
                    AvatarLeftError(
                        "The avatar of the new session did not appear in the room within "
                        f"{wait_secs:g} s.",
                        remedy="Check that its token is still valid, and that the room has room.",
                    )
                )
                return
            logger.warning(
                f"{self._processor}: no avatar in the room after {wait_secs:g} s; speech goes to "
                "it all the same. Check that its token belongs to the room and that the "
                "transport knows its identity."
            )
            self._availability.wait_timed_out()
            self._welcome_avatar()

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
        await self._output.rounds.wait_until(lambda: self._output.idle)
        if not self._winding_up:
            logger.info(f"{self._processor}: {why}; a new one takes over.")
        self._replace(expires=expires)

    def _replace(self, error: AgentHumanError | None = None, *, expires: bool = False) -> None:
        """Give the session up for another one, unless the call ends."""
        if not self._winding_up:
            self._session.renew(error, expires=expires)

    # --- tasks -------------------------------------------------------------------------

    def _spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run work in the background; work of the same name before it is replaced.

        The work is begun by its task: one that is cancelled before leaves nothing behind.
        """
        former = self._tasks.get(name)
        if former is not None:
            former.cancel()
        self._tasks[name] = self._processor.create_task(self._guard(name, work), name)

    def _stop(self, name: str) -> None:
        """Let background work end."""
        task = self._tasks.pop(name, None)
        if task is not None:
            task.cancel()

    async def _ended(self, name: str) -> None:
        """Let background work end, and wait for that."""
        task = self._tasks.pop(name, None)
        if task is not None and not task.done():
            await self._processor.cancel_task(task)

    async def _guard(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run work that must not raise: a mistake in it ends the session, and is reported."""
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nothing else would notice
            await self._give_up(name, error)

    async def _give_up(self, name: str, error: Exception) -> None:
        """A mistake of ours ended a task: no more avatar, but the call goes on."""
        logger.error(
            f"{self._processor}: {name} failed:\n{''.join(traceback.format_exception(error))}"
        )
        self._availability.failed()
        self._session.end()
        try:
            self._fallback.fall_back()
            if name == "driver":
                await self._fallback.bypass()
        except Exception as second:  # noqa: BLE001 - the first one is what matters
            logger.error(f"{self._processor}: what was not heard is lost ({second!r}).")
        await self._announcer.report_bug(name, error)
