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
from functools import cache
from typing import Any

import numpy as np
import pytest
from loguru import logger
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.frames import frames as pipecat_frames
from pipecat.frames.frames import (
    CancelFrame,
    DataFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    ServiceUpdateSettingsFrame,
    StartFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
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
from tests.support.fuzz.script import (
    Break,
    End,
    Expire,
    Interrupt,
    Leave,
    Lose,
    Mark,
    Message,
    Passer,
    Say,
    Script,
    Setup,
    Sound,
    Step,
    Tone,
    Update,
)

READY_SECS = 3.0
"""How long a script that awaits the avatar does so; then it begins without."""

HANG_SECS = 150.0
"""Beyond all that a script says: a call that has not ended by then never will."""

_AFTER_END_SECS = 5.0
_HEARTBEAT_SECS = 1.0
_WIRE_RATE = 16_000
_ROOM = DailyRoom("https://example.daily.co/room", "room-token")


# --- frames of the script's own --------------------------------------------------------------


@dataclass
class SayFrame(DataFrame):
    """Tells the TTS service to say something."""

    say: Say = field(default_factory=lambda: Say(0.0))


@dataclass
class MarkFrame(DataFrame):
    """Has its place in the speech."""

    secs: float = 0.0


@dataclass
class PasserFrame(SystemFrame):
    """Goes down and waits for nothing."""


@dataclass
class UpFrame(DataFrame):
    """Goes up, past whatever goes down."""


_HAS_ATTRIBUTE = "interruptible" in Frame.__dataclass_fields__


def kept(frame: Frame) -> Frame:
    """Make a frame one that no interruption drops."""
    if _HAS_ATTRIBUTE:
        frame.interruptible = False
    else:
        frame.__class__ = _kept_class(type(frame))
    return frame


@cache
def _kept_class(kind: type[Frame]) -> type[Frame]:
    marker = pipecat_frames.UninterruptibleFrame
    return type(f"Kept{kind.__name__}", (kind, marker), {})


# --- the parts of the pipeline -----------------------------------------------------------------


class Tts(FrameProcessor):
    """A TTS service: says what it is told, in every way in which they do."""

    def __init__(self) -> None:
        super().__init__(name="tts")
        self._last_pts = self._last_kept_pts = 0
        self._interruptions = self._interruptions_before = 0
        self._unheeding: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame):
            self._last_pts = self._last_kept_pts
            self._interruptions += 1
        if isinstance(frame, CancelFrame) and self._unheeding is not None:
            await self.cancel_task(self._unheeding)
        if not isinstance(frame, SystemFrame) and direction is FrameDirection.DOWNSTREAM:
            await self._until_said()
        if isinstance(frame, SayFrame) and frame.say.deaf:
            self._unheeding = self.create_task(self._say(frame.say))
        elif isinstance(frame, SayFrame):
            await self._say(frame.say)
        else:
            await self.push_frame(frame, direction)

    async def _until_said(self) -> None:
        """Whatever comes, comes behind what is being said, also if that was interrupted."""
        if self._unheeding is not None and not self._unheeding.done():
            await asyncio.wait({self._unheeding})

    async def _put(self, frame: Frame, say: Say, *, is_speech: bool = True) -> None:
        frame.metadata["step"] = say
        await self.push_frame(kept(frame) if say.kept and is_speech else frame)

    async def _say(self, say: Say) -> None:
        by_word = say.texts.startswith("words") and bool(say.words)
        if say.turn:
            await self._put(LLMFullResponseStartFrame(), say, is_speech=False)
        if say.started:
            await self._put(TTSStartedFrame(context_id=say.context), say)
        if say.texts == "sentence first":
            await self._put_sentence(say)
        await self._deliver(say, by_word=by_word)
        if say.texts == "sentence":
            await self._put_sentence(say)
        if say.stopped:
            stopped = TTSStoppedFrame(context_id=say.context)
            if by_word:
                stopped.pts = self._last_pts
            await self._put(stopped, say)
        if say.turn:
            end = LLMFullResponseEndFrame()
            if by_word:
                end.pts = self._last_pts
            await self._put(end, say, is_speech=False)

    async def _put_sentence(self, say: Say) -> None:
        text = " ".join(f"w{number}" for number, _ in say.words)
        if text:
            await self._put(TTSTextFrame(text, "sentence", context_id=say.context), say)

    async def _deliver(self, say: Say, *, by_word: bool) -> None:
        if not say.words:
            return
        audio = speech(say.words, say.rate)
        size = round(say.rate * say.frame_ms / 1000)
        frame_secs = say.frame_ms / 1000
        origin = max(self._last_pts, self.get_clock().get_time())
        self._interruptions_before = self._interruptions
        words: list[tuple[float, int]] = []
        offset = 0.0
        for number, cells in say.words:
            words.append((offset, number))
            offset += cells * tones.CELL_SECS
        if not by_word:
            words = []
        pieces = [audio[first : first + size] for first in range(0, len(audio), size)]
        stall_after = len(pieces) // 2
        for position, piece in enumerate(pieces):
            if words and say.texts == "words ahead":
                while words:
                    await self._put_word(*words.pop(0), origin, say)
            if say.texts == "words":
                while words and words[0][0] < (position + 1) * frame_secs:
                    await self._put_word(*words.pop(0), origin, say)
            if say.delivery == "stalled" and position == stall_after:
                await asyncio.sleep(3.5 if len(say.words) % 3 == 0 else 1.0)
            pcm = np.repeat(piece, say.channels).astype("<i2").tobytes()
            await self._put(
                TTSAudioRawFrame(pcm, say.rate, say.channels, context_id=say.context), say
            )
            if say.delivery == "real time":
                await asyncio.sleep(frame_secs)
            elif say.delivery == "slow":
                await asyncio.sleep(1.3 * frame_secs)
        while words:
            await self._put_word(*words.pop(0), origin, say)

    async def _put_word(self, at_secs: float, number: int, origin: int, say: Say) -> None:
        frame = TTSTextFrame(f"w{number}", "word", context_id=say.context)
        frame.pts = origin + round(at_secs * 1e9)
        if say.kept or self._interruptions == self._interruptions_before:
            self._last_pts = frame.pts
        now = self.get_clock().get_time()
        frame.metadata["due"] = time.monotonic() + (frame.pts - now) / 1e9
        if say.kept:
            self._last_kept_pts = frame.pts
        await self._put(frame, say)


def speech(words: tuple[tuple[int, int], ...], rate: int) -> tones.Samples:
    """The sound of several words."""
    return np.concatenate([tones.word(number, cells, rate) for number, cells in words])


@dataclass(frozen=True)
class Seen:
    """A frame that came by."""

    at: float
    frame: Frame
    up: bool


class Tap(FrameProcessor):
    """Keeps what comes by, but for sound."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.seen: list[Seen] = []
        self.started = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.seen.append(Seen(time.monotonic(), frame, direction is FrameDirection.UPSTREAM))
        if isinstance(frame, StartFrame):
            self.started.set()
        await self.push_frame(frame, direction)


class Background(BaseAudioMixer):
    """Something always sounds: silence, so that it can be told from speech."""

    async def start(self, sample_rate: int) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def process_frame(self, frame: Any) -> None:
        pass

    async def mix(self, audio: bytes) -> bytes:
        return audio


class Card(BaseOutputTransport):
    """A transport that plays in real time: a write returns when its sound is over."""

    def __init__(self, setup: Setup) -> None:
        params = TransportParams(
            audio_out_enabled=True,
            audio_out_sample_rate=setup.out_rate,
            audio_out_10ms_chunks=setup.chunks,
            audio_out_end_silence_secs=0,
            audio_out_mixer=Background() if setup.mixer else None,
        )
        super().__init__(params)
        self.announces_avatar = setup.announced
        self.played: list[tuple[float, tones.Samples, bool]] = []
        self.sent: list[tuple[Step, float, float]] = []
        self._until = 0.0
        self._plays_tone = False

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        samples = np.frombuffer(frame.audio, dtype="<i2")[:: frame.num_channels]
        now = time.monotonic()
        starts_at = max(self._until, now) if now - self._until < 0.02 else now
        self._until = starts_at + len(samples) / frame.sample_rate
        self.played.append((starts_at, samples, self._plays_tone))
        await asyncio.sleep(self._until - now)
        return True

    async def write_dtmf(self, frame: Any) -> None:
        self._plays_tone = True
        try:
            await super().write_dtmf(frame)
        finally:
            self._plays_tone = False

    async def send_message(self, frame: Any) -> None:
        at = time.monotonic()
        await asyncio.sleep(frame.message["secs"])
        self.sent.append((frame.metadata["step"], at, time.monotonic()))

    async def write_transport_frame(self, frame: Frame) -> None:
        if isinstance(frame, MarkFrame) and frame.secs:
            await asyncio.sleep(frame.secs)


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
        avatar: What was read in the avatar's sound.
        transport: What was read in the transport's sound.
        avatar_pcm, transport_pcm: The sound itself, with its times.
        busy: When the transport was busy with something else: tones and messages.
        messages: Of that, messages.
        sent_of: When each message was sent.
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
    avatar: list[tones.Sighted] = field(default_factory=list)
    transport: list[tones.Sighted] = field(default_factory=list)
    avatar_pcm: list[tuple[float, tones.Samples]] = field(default_factory=list)
    transport_pcm: list[tuple[float, tones.Samples]] = field(default_factory=list)
    busy: list[tuple[float, float]] = field(default_factory=list)
    messages: list[tuple[float, float]] = field(default_factory=list)
    sent_of: dict[Step, float] = field(default_factory=dict)
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
        self.card = Card(self.setup)
        self.gate, self.behind = Tap("gate"), Tap("behind")
        self.sandbox: Sandbox | None = None
        self.service: AgentHumanVideoService | None = None
        self.ready = asyncio.Event()

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
            frame = AgentHumanAvatarJoinedFrame(event={}, participant_id=session.id)
            await self.card.push_frame(frame, FrameDirection.UPSTREAM)

    async def _left(self, session: SandboxSession) -> None:
        if self.setup.announced:
            frame = AgentHumanAvatarLeftFrame(event={}, participant_id=session.id, reason="left")
            await self.card.push_frame(frame, FrameDirection.UPSTREAM)

    # --- the pipeline ---

    async def _converse(self) -> None:
        call = self.call
        context = LLMContext()
        silent_user = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
        assistant = LLMContextAggregatorPair(context, user_params=silent_user).assistant()
        service = [] if self.service is None else [self.service]
        worker = PipelineWorker(
            Pipeline([Tts(), self.gate, *service, self.card, self.behind, assistant]),
            params=PipelineParams(
                enable_heartbeats=True,
                heartbeats_period_secs=_HEARTBEAT_SECS,
                enable_metrics=True,
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
        call.transport_pcm = _joined(
            [(at, samples) for at, samples, is_tone in self.card.played if not is_tone],
            self.setup.out_rate,
        )
        call.transport = tones.read(call.transport_pcm, self.setup.out_rate)
        call.sent_of = {step: until for step, _, until in self.card.sent}
        call.messages = [(at, until) for _, at, until in self.card.sent]
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
        if frame is not None:
            if isinstance(step, Passer) and step.up:
                await self.behind.push_frame(frame, FrameDirection.UPSTREAM)
            else:
                await worker.queue_frame(frame)
            return
        if isinstance(step, Interrupt):  # from the end, in both directions
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
            case Passer(up=up):
                frame = UpFrame() if up else PasserFrame()
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
            if record.exc_info and record.name != "aiohttp.server":
                call.complaints.append(f"{record.name}: {record.getMessage()}")

    handler = Handler(logging.WARNING)
    logger.remove()
    logger.add(sink, level="WARNING", format="{message}")
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
            logger.add(sys.stderr)
    call.complaints += [str(warning.message) for warning in warned]
