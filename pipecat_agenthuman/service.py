"""``AgentHumanVideoService``: a bot's speech, spoken by an avatar in the caller's room."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any, Final, Literal, cast

import aiohttp
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    CancelFrame,
    ClientConnectedFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    StartFrame,
    SystemFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessorSetup
from pipecat.services.ai_service import AIService
from pipecat.services.settings import ServiceSettings
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.types import NOT_GIVEN

from pipecat_agenthuman._arguments import (
    check_choice,
    check_count,
    check_kind,
    check_names,
    check_secs,
)
from pipecat_agenthuman._environment import WS_URL
from pipecat_agenthuman.client.connection import ConnectionLimits
from pipecat_agenthuman.client.retry import RenewalPolicy
from pipecat_agenthuman.client.sources import OwnSessions, SessionCredentials
from pipecat_agenthuman.errors import AgentHumanError
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanBotLeftFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.identity import AvatarIdentity
from pipecat_agenthuman.pipeline.announcer import EVENTS, Announcer
from pipecat_agenthuman.pipeline.availability import Availability
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.driver import PlayoutDriver
from pipecat_agenthuman.pipeline.error_reports import ErrorReport
from pipecat_agenthuman.pipeline.fallback import Fallback
from pipecat_agenthuman.pipeline.frame_traits import HandedOnFrame, Reading, Role, read
from pipecat_agenthuman.pipeline.gate import Gate
from pipecat_agenthuman.pipeline.listening import Listening
from pipecat_agenthuman.pipeline.metrics import Meter, ServiceStats
from pipecat_agenthuman.pipeline.readiness import Readiness
from pipecat_agenthuman.pipeline.supervisor import Supervisor, SupervisorOptions
from pipecat_agenthuman.pipeline.surroundings.branch import BranchEnd
from pipecat_agenthuman.pipeline.surroundings.placement import misplacement
from pipecat_agenthuman.pipeline.surroundings.switching import SwitchWatch
from pipecat_agenthuman.pipeline.tracing import CallTracer
from pipecat_agenthuman.pipeline.transport_output import output_transport
from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom
from pipecat_agenthuman.session_source import choose_looks, choose_source
from pipecat_agenthuman.settings import AgentHumanVideoSettings, changes_for

DRAIN_GRACE_SECS: Final = 5.0
"""What an ``EndFrame`` waits beyond the time that is still to be played."""

TEARDOWN_SECS: Final = 8.0
"""Closing the connection and ending the session, before it is left to the cleanup."""


class AgentHumanVideoService(AIService):
    """Speaks a bot's TTS audio through an Agent Human avatar.

    Place it after the TTS service and before ``transport.output()``. It consumes the speech,
    and to the rest of the pipeline it behaves as if the transport had played the audio
    itself: bot speaking frames, held text, interruptions, the end of the pipeline.

    Event handlers: ``on_connected(service, session_id)``,
    ``on_disconnected(service, reason, will_reconnect)``,
    ``on_speak_confirmed(service, audio_samples)``, ``on_interrupt_confirmed(service)``,
    ``on_avatar_error(service, error, code)``, ``on_avatar_ready(service)``,
    ``on_session_ending(service, left_secs)`` and ``on_minutes_low(service, minutes_left)``.

    Example::

        avatar = AgentHumanVideoService(
            room=DailyRoom(url, token),
            settings=AgentHumanVideoService.Settings(avatar="avat_..."),
        )
        pipeline = Pipeline([..., tts, avatar, transport.output(), ...])
    """

    Settings = AgentHumanVideoSettings
    _settings: AgentHumanVideoSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        # Which session
        api_key: str | None = None,
        room: DailyRoom | LiveKitRoom | None = None,
        credentials: SessionCredentials | None = None,
        api_url: str | None = None,
        ws_url: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        settings: AgentHumanVideoSettings | None = None,
        # Behaviour
        on_unavailable: Literal["passthrough", "drop"] = "passthrough",
        session_start: Literal["pipeline", "client_connected"] = "pipeline",
        renew_before_expiry: bool = True,
        pass_heard_audio: bool = False,
        # Limits
        max_unconfirmed: int = 1,
        avatar_wait_secs: float = 10.0,
        max_session_secs: float | None = None,
        drain_grace_secs: float = DRAIN_GRACE_SECS,
        limits: ConnectionLimits | None = None,
        renewal: RenewalPolicy | None = None,
        # Escape hatches
        aiohttp_session: aiohttp.ClientSession | None = None,
        **kwargs: Any,
    ) -> None:
        """Create the service. It owns its sessions, or it is given one.

        Args:
            api_key: Key of the Agent Human account; ``AGENTHUMAN_API_KEY`` if unset.
            room: Where the avatar joins. With it, the service makes, renews and ends its
                sessions.
            credentials: Instead of ``room``: one session made elsewhere. It cannot be renewed.
            api_url: REST base URL; ``AGENTHUMAN_API_URL``, or the hosted service.
            ws_url: WebSocket URL; ``AGENTHUMAN_WS_URL``, or the hosted service.
            metadata: A JSON object to keep with each session.
            settings: What can change meanwhile. With ``room``, ``avatar`` is needed.
            on_unavailable: What happens to speech while there is no avatar: the transport
                speaks it, or it is dropped.
            session_start: Bring the session up with the pipeline, or when the first person
                is in the room; with the first speech if no frame told of one.
            renew_before_expiry: Replace a session shortly before it expires.
            pass_heard_audio: Push speech downstream as it is heard, for a recorder between
                this service and an output with ``audio_out_enabled=False``.
            max_unconfirmed: Most ``agent.speak`` that wait for confirmation.
            avatar_wait_secs: How long the first words wait for the avatar to appear in the
                room, with a transport that tells. Then the transport speaks until it does.
            max_session_secs: How long the avatar may be there without a break. Then its session
                is ended and not replaced, until the room was empty and somebody comes;
                ``on_session_ending`` comes before.
            drain_grace_secs: What an ``EndFrame`` waits beyond the time still to be played.
            limits: How long the connection waits for what.
            renewal: How often and how long to try after a session was lost.
            aiohttp_session: Used for REST and not closed.
            **kwargs: As for ``AIService``.

        Raises:
            TypeError: If there is no such argument.
            ValueError: If an argument is missing, impossible or contradicts another.
        """
        check_names(type(self), kwargs, settings=[s.name for s in fields(AgentHumanVideoSettings)])
        check_kind("settings", settings, AgentHumanVideoSettings)
        check_kind("limits", limits, ConnectionLimits)
        check_kind("renewal", renewal, RenewalPolicy)
        check_kind("aiohttp_session", aiohttp_session, aiohttp.ClientSession)
        check_choice("on_unavailable", on_unavailable, ("passthrough", "drop"))
        check_choice("session_start", session_start, ("pipeline", "client_connected"))
        check_count("max_unconfirmed", max_unconfirmed)
        check_secs("avatar_wait_secs", avatar_wait_secs)
        check_secs("drain_grace_secs", drain_grace_secs)
        if max_session_secs is not None:
            check_secs("max_session_secs", max_session_secs, positive=True)
        complete = AgentHumanVideoSettings.defaults()
        if settings is not None:
            complete.apply_update(settings)
        super().__init__(settings=complete, **kwargs)
        transport_speaks = on_unavailable == "passthrough"
        self._pipeline_rate = 0
        self._starts_with_client = session_start == "client_connected"
        self._drain_grace_secs = drain_grace_secs
        socket_url = WS_URL.url(ws_url)
        self._source = choose_source(
            complete,
            room=room,
            credentials=credentials,
            api_key=api_key,
            api_url=api_url,
            metadata=metadata,
            aiohttp_session=aiohttp_session,
        )
        # The parts, each of which knows only those before it.
        self._meter = Meter(self)
        self._availability = Availability()
        self._output = AvatarOutput(
            self,
            availability=self._availability,
            meter=self._meter,
            pace=complete.pace(),
            pass_heard_audio=pass_heard_audio,
        )
        self._fallback = Fallback(
            self,
            availability=self._availability,
            output=self._output,
            meter=self._meter,
            transport_speaks=transport_speaks,
        )
        self._readiness = Readiness(self._availability, self._output.rounds)
        driver = PlayoutDriver(output=self._output, fallback=self._fallback)
        self._announcer = Announcer(
            self,
            meter=self._meter,
            notify=cast("Callable[..., Awaitable[None]]", self._call_event_handler),
            renewable=self._source.renewable,
            transport_speaks=transport_speaks,
        )
        self._listening = Listening(self, output=self._output, announcer=self._announcer)
        self._gate = Gate(
            output=self._output,
            fallback=self._fallback,
            announcer=self._announcer,
            meter=self._meter,
        )
        self._supervisor = Supervisor(
            self,
            source=self._source,
            availability=self._availability,
            output=self._output,
            fallback=self._fallback,
            driver=driver,
            announcer=self._announcer,
            readiness=self._readiness,
            listening=self._listening,
            meter=self._meter,
            options=SupervisorOptions(
                ws_url=socket_url,
                max_unconfirmed=max_unconfirmed,
                limits=limits,
                renewal=renewal,
                avatar_wait_secs=avatar_wait_secs,
                renew_before_expiry=renew_before_expiry,
                max_session_secs=max_session_secs,
            ),
        )
        self._switch_watch = SwitchWatch(self, on_interruption=self._interrupt)
        self._branch_end = BranchEnd(self, switch=self._switch_watch, finish=self._finish)
        self._room = room
        self._misplacement: AgentHumanError | None = None
        for event in EVENTS:
            self._register_event_handler(event)

    # --- looking -----------------------------------------------------------------------

    def can_generate_metrics(self) -> bool:
        """Metrics are generated: time to first byte, for this service to the first sound."""
        return True

    @property
    def settings(self) -> AgentHumanVideoSettings:
        """The current settings, for reading; change them with a ``ServiceUpdateSettingsFrame``."""
        return self._settings

    @property
    def identity(self) -> AvatarIdentity | None:
        """As whom the avatar joins its room; None if its session was made elsewhere."""
        return self._room.identity if self._room is not None else None

    @property
    def stats(self) -> ServiceStats:
        """A snapshot of everything that was counted."""
        self._output.note_heard()
        return self._meter.stats.snapshot()

    @property
    def ready(self) -> bool:
        """Whether the avatar may speak now: its session is up, and it is in the room."""
        return self._readiness.is_ready

    async def wait_until_ready(self, timeout_secs: float | None = None) -> None:
        """Wait until the avatar may speak, for example before the first words.

        The pipeline must be running, or about to: without it nothing brings a session up.

        Args:
            timeout_secs: How long to wait, in seconds; None for no limit.

        Raises:
            AvatarUnavailableError: If it will not come: its session cannot be made, or is over
                for good, or the pipeline has ended. The reason is its ``__cause__``.
            TimeoutError: If it did not come in time. It may yet.
            ValueError: If ``timeout_secs`` is not a number of seconds.
        """
        if timeout_secs is not None:
            check_secs("timeout_secs", timeout_secs)
        await self._readiness.wait(timeout_secs)

    # --- lifecycle ---------------------------------------------------------------------

    async def setup(self, setup: FrameProcessorSetup) -> None:
        """Set the service up, with spans if Pipecat's tracing is on."""
        await super().setup(setup)
        self._pipeline_rate = setup.audio_out_sample_rate
        if setup.enable_tracing:
            CallTracer(
                self,
                context=setup.tracing_context,
                stats=self._meter.stats,
                is_speaking=lambda: self._output.playout.speaking,
            )

    async def start(self, frame: StartFrame) -> None:
        """Begin to bring the session up; returns at once."""
        await super().start(frame)
        self._supervisor.start()
        self._fallback.look_for_transport(self._pipeline_rate)
        self._switch_watch.find()
        self._branch_end.find()
        self._listening.find(output_transport(self))
        self._output.heard_audio.set_rate(self._pipeline_rate)
        self._misplacement = misplacement(self, kind=AgentHumanVideoService, room=self._room)
        if self._misplacement is not None:
            await self._supervisor.stand_aside(self._misplacement)
        elif not self._starts_with_client:
            self._bring_up()

    async def stop(self, frame: EndFrame) -> None:
        """Wait until everything was heard, then close and end the session; bounded."""
        await super().stop(frame)
        await self._finish()
        await asyncio.sleep(self._output.may_sound_secs)
        await self._supervisor.close(TEARDOWN_SECS)

    async def cancel(self, frame: CancelFrame) -> None:
        """Close and end the session, without waiting for it: ``cleanup`` does."""
        await super().cancel(frame)
        self._supervisor.let_go()
        await self._fallback.clear()

    async def cleanup(self) -> None:
        """Leave nothing behind: no session, no task, no socket."""
        await super().cleanup()
        await self._supervisor.cleanup(TEARDOWN_SECS)

    # --- frames ------------------------------------------------------------------------

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Take a frame: speech is consumed, what belongs to it is held, the rest passes.

        Args:
            frame: The frame.
            direction: Where it goes. Everything going up passes at once; an interruption
                acts from both sides, as it does in Pipecat's output transport.
        """
        if isinstance(frame, InterruptionFrame):
            await self._interrupt(frame, direction)
            return
        await super().process_frame(frame, direction)
        if isinstance(frame, SystemFrame):
            self._note(frame)
        if direction is FrameDirection.UPSTREAM:
            await self.push_frame(frame, direction)
        else:
            await self._take(read(frame))
        if isinstance(frame, StartFrame) and self._misplacement is not None:
            await self._announcer.report_misplaced(self._misplacement)  # behind the StartFrame

    def _note(self, frame: SystemFrame) -> None:
        """Take note of what a frame tells, whichever way it goes."""
        if isinstance(frame, AgentHumanAvatarJoinedFrame | AgentHumanAvatarLeftFrame):
            self._supervisor.note_avatar(frame)
        elif isinstance(frame, AgentHumanBotLeftFrame):
            self._supervisor.note_bot_left(frame.reason)
        elif isinstance(frame, AgentHumanPersonsFrame):
            self._supervisor.note_persons(frame.persons)
        elif isinstance(frame, ClientConnectedFrame) and self._starts_with_client:
            self._bring_up()

    async def _take(self, reading: Reading) -> None:
        """Take a frame that goes down."""
        match reading.role:
            case Role.PASSER:
                await self.push_frame(reading.frame)
            case Role.HANDED_ON:
                self._output.intake.hand_on(cast("HandedOnFrame", reading.frame))
            case Role.SETTINGS if (delta := changes_for(self, reading.frame)) is not None:
                await self._update_settings(delta)
            case _:
                if self._starts_with_client and reading.role in (Role.START, Role.SPEECH):
                    self._bring_up()  # Who is spoken to is there, whether a frame said so or not.
                await self._gate.take(reading)

    async def _interrupt(
        self,
        frame: InterruptionFrame | None = None,
        direction: FrameDirection = FrameDirection.DOWNSTREAM,
    ) -> None:
        """Stop speaking, at once and whatever is believed to be heard.

        Args:
            frame: What is passed on; None if it goes another way.
            direction: Where it goes.
        """
        interruption = self._output.interrupt()
        async with self._output.lock:
            # Behind the avatar's: Pipecat's own part waits for a task that is cancelled, which
            # takes several turns of a busy event loop. With the lock: what stays comes after.
            if frame is not None:
                await super().process_frame(frame, direction)
            await self._output.pass_heard(self._output.now())
            if frame is not None:
                await self.push_frame(frame, direction)
            await self._output.transport.follow_interruption()
            if interruption.stopped:
                await self._output.push_speaking(BotStoppedSpeakingFrame)

    # --- inside ------------------------------------------------------------------------

    async def _finish(self) -> None:
        """Wait until everything was heard; bounded. No other avatar comes any more."""
        self._supervisor.wind_up()
        await self._fallback.drain(self._drain_grace_secs)

    def _bring_up(self) -> None:
        announces = bool(getattr(output_transport(self), "announces_avatar", False))
        choose_looks(self._source, self.settings, output_transport(self))
        self._supervisor.bring_up(avatar_is_announced=announces)

    # --- settings ----------------------------------------------------------------------

    async def _update_settings(self, delta: ServiceSettings) -> dict[str, Any]:
        """Change settings: the pace from the next utterance on, the avatar at the next pause."""
        wanted = self._settings.copy()
        wanted.apply_update(cast("AgentHumanVideoSettings", delta))
        try:
            wanted.check(needs_avatar=isinstance(self._source, OwnSessions))
            pace = wanted.pace()
        except ValueError as error:
            told = f"Settings not changed: {error}"
            await self._announcer.report(
                ErrorReport("bad_settings", str(error), told, ErrorCategory.APPLICATION)
            )
            return {}
        was_usable = self.is_usable
        changed = await super()._update_settings(delta)
        self._output.change_pace(pace)
        self._listening.look()
        self._warn_unhandled_updated_settings(set(changed) & {"model", *delta.extra})
        names_avatar = getattr(delta, "avatar", NOT_GIVEN) is not NOT_GIVEN
        wants_another = changed.keys() & {"avatar", "aspect_ratio"}
        if self._misplacement is None and (wants_another or (names_avatar and not was_usable)):
            choose_looks(self._source, wanted, output_transport(self))
            self._supervisor.renew_at_pause("the avatar changes")
        elif not was_usable:
            await self.set_usable(False)  # Nothing else brings a session.
        return changed
