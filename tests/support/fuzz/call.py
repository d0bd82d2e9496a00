"""Plays a script: the real pipeline, the real service, the sandbox, in virtual time."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import sys
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from loguru import logger
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    ServiceUpdateSettingsFrame,
    StopFrame,
    TTSAudioRawFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import (
    AgentHumanVideoService,
    DailyRoom,
)
from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from pipecat_agenthuman.sandbox import Fault, Sandbox, SandboxSession
from tests.support import virtual_time
from tests.support.fuzz import tones
from tests.support.fuzz.parts import (
    Card,
    MarkFrame,
    PasserFrame,
    SayFrame,
    Seen,
    Tap,
    Tts,
    UpFrame,
    kept,
)
from tests.support.fuzz.script import (
    Break,
    End,
    Expire,
    Halt,
    Interrupt,
    Leave,
    Lose,
    Mark,
    Message,
    Passer,
    Return,
    Say,
    Script,
    Sound,
    Step,
    Tone,
    Update,
)
from tests.support.waiting import add_sink

READY_SECS = 3.0
"""How long a script that awaits the avatar does so; then it begins without."""

SANDBOX_SERVER_LOGGER = "pipecat_agenthuman.sandbox.server"
"""Logs a connection that was lost amid a request, which a fault does."""

HANG_SECS = 150.0
"""Beyond all that a script says: a call that has not ended by then never will."""

_AFTER_END_SECS = 5.0
_HEARTBEAT_SECS = 1.0
_WIRE_RATE = 16_000
_ROOM = DailyRoom("https://example.daily.co/room", "room-token")


# --- what a call leaves behind -----------------------------------------------------------------


@dataclass
class Call:
    """Everything that was heard, seen and left behind.

    Attributes:
        script: What was played.
        plain: Whether the transport played everything itself, and there was no avatar.
        begun_at: The time from which the script counts.
        fed: When each step happened.
        gate: What came by in front of the service.
        behind: What came by behind the transport.
        passed: Speech that the service passed on.
        avatar: What was read in the avatar's sound.
        transport: What was read in the transport's sound.
        avatar_pcm, transport_pcm: The sound itself, with its times.
        busy: When the transport was busy with something else: tones and messages.
        messages: Of that, messages.
        busy_with: When the transport was busy with each message, and with each frame that has
            its place in the speech.
        context: Words in the context.
        ended_at: When the pipeline had ended; None if it never did.
        sessions: All sessions of the sandbox.
        most_sessions: How many were live at a time.
        tasks: Tasks that were left.
        complaints: What should not be in a log.
        stats: The service's own numbers.
    """

    script: Script
    plain: bool
    begun_at: float = 0.0
    fed: dict[Step, float] = field(default_factory=dict)
    gate: list[Seen] = field(default_factory=list)
    behind: list[Seen] = field(default_factory=list)
    passed: list[tuple[float, TTSAudioRawFrame]] = field(default_factory=list)
    avatar: list[tones.Sighted] = field(default_factory=list)
    transport: list[tones.Sighted] = field(default_factory=list)
    avatar_pcm: list[tuple[float, tones.Samples]] = field(default_factory=list)
    transport_pcm: list[tuple[float, tones.Samples]] = field(default_factory=list)
    busy: list[tuple[float, float]] = field(default_factory=list)
    messages: list[tuple[float, float]] = field(default_factory=list)
    busy_with: dict[Step, tuple[float, float]] = field(default_factory=dict)
    context: list[str] = field(default_factory=list)
    ended_at: float | None = None
    sessions: list[SandboxSession] = field(default_factory=list)
    most_sessions: int = 0
    tasks: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    stats: Any = None
    sandbox_log: list[dict[str, Any]] = field(default_factory=list)
    sandbox_started_at: float = 0.0


def play(script: Script, *, plain: bool = False) -> Call:
    """Play a script.

    Args:
        script: What happens.
        plain: Let the transport play everything itself, without an avatar.
    """
    call = Call(script, plain)
    with _watching(call):
        virtual_time.run(lambda: _Player(call).run(), seed=script.seed)
    return call


class _Player:
    def __init__(self, call: Call) -> None:
        self.call, self.script, self.setup = call, call.script, call.script.setup
        self.card = Card(self.setup, is_loud=call.plain or not self.setup.recorded)
        self.gate, self.passed, self.behind = Tap("gate"), Tap("passed"), Tap("behind")
        self.behind.keeps_stops = True
        self.tts = Tts()
        self.sandbox: Sandbox | None = None
        self.service: AgentHumanVideoService | None = None
        self.ready = asyncio.Event()
        self.joinings: dict[str, int] = {}

    async def run(self) -> None:
        asyncio.get_running_loop().set_exception_handler(self._complain)
        if self.call.plain:
            await self._converse()
            return
        setup = self.setup
        self.sandbox = Sandbox(
            clock=time.monotonic,
            render_latency_secs=setup.latency_secs,
            round_trip_secs=setup.round_trip_secs,
            join_delay_secs=setup.join_secs,
            session_secs=setup.session_secs or None,
            before_join="lost",
            on_avatar_joined=self._joined,
            on_avatar_left=self._left,
        )
        async with self.sandbox:
            for step in self.script.steps:
                if isinstance(step, Break) and step.at <= 0:
                    self._break(step)
            self.service = self._make_service(self.sandbox)
            await self._converse()
            await asyncio.sleep(_AFTER_END_SECS)
            heard = self.sandbox.heard()
            self.call.sessions = self.sandbox.sessions
            self.call.most_sessions = self.sandbox.peak_live_sessions
            self.call.sandbox_log = self.sandbox.log
            self.call.sandbox_started_at = self.sandbox.started_at
        await asyncio.sleep(1.0)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        self.call.tasks = sorted(f"{task.get_name()}: {task.get_coro()}" for task in others)
        self.call.stats = self.service.stats
        self.call.avatar_pcm = [
            (
                segment.starts_at,
                heard.audio[segment.first_sample : segment.first_sample + segment.samples],
            )
            for segment in heard.segments
        ]
        self.call.avatar = tones.read(self.call.avatar_pcm, _WIRE_RATE)

    def _complain(self, loop: Any, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.call.complaints.append(f"{context.get('message')} {error!r}")

    def _make_service(self, sandbox: Sandbox) -> AgentHumanVideoService:
        setup = self.setup
        service = AgentHumanVideoService(
            api_key=sandbox.api_key,
            api_url=sandbox.api_url,
            ws_url=sandbox.ws_url,
            room=_ROOM,
            on_unavailable="drop" if setup.drop else "passthrough",
            max_unconfirmed=setup.max_unconfirmed,
            pass_heard_audio=setup.recorded,
            settings=AgentHumanVideoService.Settings(
                avatar="avat_demo", avatar_latency_secs=setup.latency_secs
            ),
        )

        async def slow(*_: Any) -> None:
            await asyncio.sleep(setup.slow_handlers_secs)

        async def ready(_: Any) -> None:
            self.ready.set()

        service.add_event_handler("on_avatar_ready", ready)
        if setup.slow_handlers_secs:
            for event in ("on_connected", "on_disconnected", "on_avatar_error", "on_error"):
                service.add_event_handler(event, slow)
        return service

    async def _joined(self, session: SandboxSession) -> None:
        if self.setup.announced:
            self.joinings[session.id] = self.joinings.get(session.id, 0) + 1
            frame = AgentHumanAvatarJoinedFrame(event={}, participant_id=self._joined_as(session))
            await self.card.push_frame(frame, FrameDirection.UPSTREAM)

    async def _left(self, session: SandboxSession) -> None:
        if self.setup.announced:
            frame = AgentHumanAvatarLeftFrame(
                event={}, participant_id=self._joined_as(session), reason="left"
            )
            await self.card.push_frame(frame, FrameDirection.UPSTREAM)

    def _joined_as(self, session: SandboxSession) -> str:
        """Who joins again is another participant."""
        return f"{session.id} {self.joinings.get(session.id, 0)}"

    # --- the pipeline ---

    async def _converse(self) -> None:
        call = self.call
        context = LLMContext()
        silent_user = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
        assistant = LLMContextAggregatorPair(context, user_params=silent_user).assistant()
        service: list[FrameProcessor] = [] if self.service is None else [self.service]
        if service and self.setup.recorded:
            service.append(self.passed)
        worker = PipelineWorker(
            Pipeline([self.tts, self.gate, *service, self.card, self.behind, assistant]),
            params=PipelineParams(
                enable_heartbeats=True,
                heartbeats_period_secs=_HEARTBEAT_SECS,
                enable_metrics=True,
                audio_out_sample_rate=self.setup.out_rate if self.setup.recorded else 24_000,
            ),
            cancel_on_idle_timeout=False,
            idle_timeout_secs=None,
            enable_turn_tracking=False,
            enable_rtvi=False,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())
        acting = asyncio.create_task(self._act(worker))
        said_secs = sum(_most_secs(step) for step in self.script.steps)
        last_at = max((step.at for step in self.script.steps), default=0.0)
        done, _ = await asyncio.wait({running}, timeout=HANG_SECS + last_at + said_secs)
        if done:
            call.ended_at = time.monotonic()
            if not acting.done():
                acting.cancel()
            await asyncio.wait({acting})
        else:
            call.log.append("THE PIPELINE HANGS")
            acting.cancel()
            await worker.cancel()
            done, _ = await asyncio.wait({running}, timeout=30)
            if not done:
                running.cancel()
                await asyncio.wait({running}, timeout=30)
        for task in (running, acting):
            if task.done() and not task.cancelled() and task.exception():
                call.complaints.append(f"{task.get_name()}: {task.exception()!r}")
        call.gate, call.behind = self.gate.seen, self.behind.seen
        call.passed = [
            (seen.at, seen.frame)
            for seen in self.passed.seen
            if isinstance(seen.frame, TTSAudioRawFrame)
        ]
        call.transport_pcm = _joined(
            [(at, samples) for at, samples, is_tone in self.card.played if not is_tone],
            self.setup.out_rate,
        )
        call.transport = tones.read(call.transport_pcm, self.setup.out_rate)
        call.busy_with = {step: (at, until) for step, at, until in self.card.busy_with}
        call.messages = [span for step, span in call.busy_with.items() if isinstance(step, Message)]
        call.busy = call.messages + [
            (at, at + len(samples) / self.setup.out_rate)
            for at, samples, is_tone in self.card.played
            if is_tone
        ]
        for message in context.get_messages():
            if message["role"] == "assistant":
                call.context += str(message["content"]).split()

    async def _act(self, worker: PipelineWorker) -> None:
        await self.behind.started.wait()
        if self.service is not None and self.setup.await_ready:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(READY_SECS):
                    await self.ready.wait()
        self.call.begun_at = time.monotonic()
        for step in self.script.steps:
            await asyncio.sleep(max(self.call.begun_at + step.at - time.monotonic(), 0.0))
            self.call.fed[step] = time.monotonic()
            await self._do(step, worker)

    async def _do(self, step: Step, worker: PipelineWorker) -> None:
        frame = self._frame_of(step)
        if isinstance(step, Passer) and step.user is not None and step.up:
            kind = UserStartedSpeakingFrame if step.user else UserStoppedSpeakingFrame
            await self.behind.broadcast_frame(kind)
        elif isinstance(step, Passer) and step.up and frame is not None:
            await self.behind.push_frame(frame, FrameDirection.UPSTREAM)
        elif isinstance(step, Halt) and frame is not None:
            # The worker would end with it: as if another one went on with the pipeline.
            await self.tts.queue_frame(frame)
        elif frame is not None and getattr(step, "amid", False):
            await self.tts.push_frame(frame)
        elif frame is not None:
            await worker.queue_frame(frame)
        elif isinstance(step, Interrupt):  # from the end, in both directions
            await self.behind.broadcast_frame(InterruptionFrame)
        sandbox = self.sandbox
        if sandbox is None:
            return
        with contextlib.suppress(LookupError):
            match step:
                case Lose(code=code, abort=abort):
                    await sandbox.drop(code=code, abort=abort)
                case Expire():
                    await sandbox.end_session()
                case Leave():
                    await sandbox.remove_avatar()
                case Return():
                    await sandbox.return_avatar()
                case Break(at=at) if at > 0:
                    self._break(step)
                case _:
                    pass

    def _frame_of(self, step: Step) -> Frame | None:
        frame: Frame
        match step:
            case Say():
                frame = SayFrame(say=step)
            case Sound(word=(number, cells), rate=rate):
                pcm = tones.word(number, cells, rate).astype("<i2").tobytes()
                frame = OutputAudioRawFrame(pcm, rate, 1)
            case Tone():
                frame = OutputDTMFFrame(button=KeypadEntry.FIVE)
            case Message(secs=secs, urgent=True):
                frame = OutputTransportMessageUrgentFrame(message={"secs": secs})
            case Message(secs=secs):
                frame = OutputTransportMessageFrame(message={"secs": secs})
            case Mark(secs=secs):
                frame = MarkFrame(secs=secs)
            case Passer(up=False, user=True):
                frame = UserStartedSpeakingFrame()
            case Passer(up=False, user=False):
                frame = UserStoppedSpeakingFrame()
            case Passer(up=up):
                frame = UpFrame() if up else PasserFrame()
            case Halt():
                frame = StopFrame()
            case Interrupt(up=False):
                frame = InterruptionFrame()
            case Update() if self.service is not None:
                frame = ServiceUpdateSettingsFrame(
                    delta=AgentHumanVideoService.Settings(
                        **({} if step.avatar is None else {"avatar": step.avatar}),
                        **(
                            {}
                            if step.max_lead_secs is None
                            else {"max_lead_secs": step.max_lead_secs}
                        ),
                    ),
                    service=self.service,
                )
            case End(cancel=cancel):
                frame = CancelFrame() if cancel else EndFrame()
            case _:
                return None
        frame.metadata["step"] = step
        return kept(frame) if getattr(step, "kept", False) else frame

    def _break(self, step: Break) -> None:
        assert self.sandbox is not None
        self.sandbox.inject(
            Fault(
                on=step.on,
                kind=step.kind,
                nth=step.nth,
                times=step.times,
                status=step.status,
                delay_secs=step.delay_secs,
                text=step.text,
            )
        )


def _most_secs(step: Step) -> float:
    """The longest that a step can take of the pipeline."""
    match step:
        case Say():
            return 2 * step.secs + 4.0
        case Sound() | Tone() | Message() | Mark():
            return 1.0
        case _:
            return 0.0


def _joined(
    written: list[tuple[float, tones.Samples]], rate: int
) -> list[tuple[float, tones.Samples]]:
    """Put writes together that follow each other without a break."""
    stretches: list[tuple[float, list[tones.Samples], float]] = []
    for at, samples in written:
        until = at + len(samples) / rate
        if stretches and abs(at - stretches[-1][2]) < 1e-6:
            begun, pieces, _ = stretches[-1]
            pieces.append(samples)
            stretches[-1] = (begun, pieces, until)
        else:
            stretches.append((at, [samples], until))
    return [(at, np.concatenate(pieces)) for at, pieces, _ in stretches]


# --- around it -----------------------------------------------------------------------------------


@contextlib.contextmanager
def _watching(call: Call) -> Iterator[None]:
    """Keep what is logged; the collector would find cycles in the middle of a call."""

    def sink(message: Any) -> None:
        record = message.record
        elapsed = time.monotonic() - call.begun_at if call.begun_at else 0.0
        line = f"{elapsed:8.3f} {record['level'].name:7} {record['message']}"
        call.log.append(line)
        if record["exception"] is not None or record["level"].no >= 50:
            call.complaints.append(f"{record['message']} {record['exception']!r}")
        elif "ncaught exception" in record["message"] or "Traceback" in record["message"]:
            call.complaints.append(record["message"])

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            call.log.append(f"{record.name}: {record.getMessage()} {record.exc_info!r}")
            if record.exc_info and record.name != SANDBOX_SERVER_LOGGER:
                call.complaints.append(f"{record.name}: {record.getMessage()}")

    handler = Handler(logging.WARNING)
    logger.remove()
    add_sink(sink, level="WARNING", format="{message}")
    logging.getLogger().addHandler(handler)
    hook = sys.unraisablehook
    sys.unraisablehook = lambda raised: call.complaints.append(
        f"unraisable: {raised.exc_value!r} {raised.object!r}"
    )
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("ignore")
        warnings.filterwarnings("always", message=".*never awaited.*")
        patch.setattr("pipecat.pipeline.worker.warm_deferred_imports", lambda: None, raising=False)
        gc.disable()
        try:
            yield
        finally:
            gc.enable()
            logging.getLogger().removeHandler(handler)
            sys.unraisablehook = hook
            logger.remove()
            add_sink(sys.stderr)
    call.complaints += [str(warning.message) for warning in warned]
