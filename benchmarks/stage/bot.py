"""A bot around a subject: somebody who speaks, the subject, a transport that plays, and an ear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from benchmarks.stage.breakage import Breakage
from benchmarks.stage.far_end import Place, opened_place
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import SUBJECTS, Subject, broken_subject
from benchmarks.stage.wire import Wire
from tests.support.pipelines import running

RATE: Final = 24_000
"""Of the speech, as most TTS services deliver it."""

WORD_SECS: Final = 0.3

_LIMIT_SECS: Final = 60.0
_EAR_HEARS: Final = (BotStartedSpeakingFrame, BotStoppedSpeakingFrame, TTSTextFrame)


class Loudspeaker(BaseOutputTransport):
    """A transport that plays in real time, for nobody."""

    def __init__(self) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_end_silence_secs=0))
        self._plays_until = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        now = time.monotonic()
        secs = len(frame.audio) / (2 * frame.num_channels * frame.sample_rate)
        self._plays_until = max(self._plays_until, now) + secs
        await asyncio.sleep(self._plays_until - now)
        return True


class Ear(FrameProcessor):
    """Notes behind the transport what the bot believes of its speech."""

    def __init__(self) -> None:
        super().__init__()
        self.ready = asyncio.Event()
        self.heard: list[tuple[float, Frame]] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, _EAR_HEARS) and direction is FrameDirection.DOWNSTREAM:
            self.heard.append((time.monotonic(), frame))
        elif isinstance(frame, StartFrame):
            self.ready.set()
        await self.push_frame(frame, direction)

    def of(self, kind: type[Frame]) -> list[float]:
        """When frames of a kind came."""
        return [at for at, frame in self.heard if isinstance(frame, kind)]


@dataclass
class Bot:
    """A call under way.

    Attributes:
        subject: Who speaks.
        place: To whom; None if to nobody.
        wire: What it sends; that of all bots in the process.
        ear: What it believes.
        speech_at: When each frame of speech entered the subject.
        cut_at: When each interruption was given to the pipeline.
        overslept_secs: By how much the latest utterance was delivered late, at worst: that is the
            machine's doing.
    """

    subject: Subject
    place: Place | None
    wire: Wire
    ear: Ear
    worker: PipelineWorker
    speech_at: list[float] = field(default_factory=list)
    cut_at: list[float] = field(default_factory=list)
    overslept_secs: float = 0.0
    _entered: asyncio.Event = field(default_factory=asyncio.Event)

    async def feed(self, *frames: Frame) -> None:
        await self.worker.queue_frames(frames)

    async def say(
        self,
        pieces: Sequence[TTSAudioRawFrame],
        *,
        speed: float | None,
        context_id: str = "context",
        words: bool = False,
        late_secs: Callable[[], float] = lambda: 0.0,
    ) -> float:
        """Say an utterance.

        Args:
            pieces: Its speech.
            speed: How much faster than it sounds it is delivered; None for all at once.
            context_id: Its name.
            words: Whether words go with it, each with its time.
            late_secs: By how much the next piece is late.

        Returns:
            When its delivery began.
        """
        begun = due = time.monotonic()
        self.overslept_secs = 0.0
        await self.feed(TTSStartedFrame(context_id=context_id))
        clock_ns = self.ear.get_clock().get_time() if words else 0
        said_secs, next_word = 0.0, 0.0
        for piece in pieces:
            if speed is not None:
                wanted_at = due + late_secs()
                await asyncio.sleep(wanted_at - time.monotonic())
                self.overslept_secs = max(self.overslept_secs, time.monotonic() - wanted_at)
            frames: list[Frame] = [
                TTSAudioRawFrame(piece.audio, piece.sample_rate, 1, context_id=context_id)
            ]
            secs = len(piece.audio) / (2 * piece.sample_rate)
            while words and next_word < said_secs + secs:
                word = TTSTextFrame(f"word{next_word:.1f}", "word", context_id=context_id)
                word.pts = clock_ns + round(next_word * 1e9)
                frames.insert(0, word)
                next_word += WORD_SECS
            await self.feed(*frames)
            said_secs += secs
            due += 0.0 if speed is None else secs / speed
        await self.feed(TTSStoppedFrame(context_id=context_id))
        return begun

    async def took(self, count: int) -> None:
        """Wait until so many frames of speech have entered the subject."""
        async with asyncio.timeout(_LIMIT_SECS):
            while len(self.speech_at) < count:
                self._entered.clear()
                await self._entered.wait()

    async def interrupt(self) -> None:
        """Interrupt, as a turn of the user's does it."""
        self.cut_at.append(time.monotonic())
        if self.subject.interruption is not InterruptionFrame:
            await self.feed(self.subject.interruption())
        await self.feed(InterruptionFrame())

    def watch(self, processor: FrameProcessor) -> None:
        """Note when frames enter the subject."""
        process = processor.process_frame

        async def noting(frame: Frame, direction: FrameDirection) -> None:
            if isinstance(frame, TTSAudioRawFrame):
                self.speech_at.append(time.monotonic())
                self._entered.set()
            await process(frame, direction)

        processor.process_frame = noting  # type: ignore[method-assign]


@dataclass(frozen=True)
class Stage:
    """Where bots of one subject come up.

    Attributes:
        subject: Whose.
        control_port: Of the far end.
        wire: Of this process.
        broken: What is broken on purpose: put before the subject, or done to it.
    """

    subject: Subject
    control_port: int
    wire: Wire
    broken: Breakage | None = None

    @asynccontextmanager
    async def place(
        self, network: Network, *, sessions: int = 1, forgets: bool = False
    ) -> AsyncIterator[Any]:
        """Open the service's place; None for a subject that speaks to nobody."""
        dialect = self.subject.dialect
        if dialect is None:
            yield None
            return
        async with opened_place(
            self.control_port, dialect, network, sessions=sessions, forgets=forgets
        ) as place:
            yield place

    def _broken_parts(self) -> list[FrameProcessor]:
        if self.broken is None or self.broken.before is None:
            return []
        return [self.broken.before()]

    @asynccontextmanager
    async def bot(self, network: Network) -> AsyncIterator[Bot]:
        """A bot that is ready to speak, to a place of its own."""
        async with self.place(network) as place, self.bot_at(place) as bot:
            yield bot

    @asynccontextmanager
    async def bot_at(self, place: Any) -> AsyncIterator[Bot]:
        """A bot that is ready to speak to a place."""
        async with self.subject.made(place) as processor:
            ear = Ear()
            silent_user = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
            memory = LLMContextAggregatorPair(LLMContext(), user_params=silent_user).assistant()
            ready = asyncio.Event()
            if hasattr(processor, "wait_until_ready"):

                async def on_avatar_ready(*_: object) -> None:
                    ready.set()

                processor.add_event_handler("on_avatar_ready", on_avatar_ready)
            else:
                ready.set()
            before = self._broken_parts()
            chain = (*before, processor, Loudspeaker(), ear, memory)
            async with running(*chain, rate=RATE) as (worker, ending):
                bot = Bot(self.subject, place, self.wire, ear, worker)
                bot.watch(processor)
                async with asyncio.timeout(_LIMIT_SECS):
                    await ear.ready.wait()
                    await ready.wait()
                yield bot
                await worker.queue_frames([EndFrame()])
                async with asyncio.timeout(_LIMIT_SECS):
                    await asyncio.shield(ending)


def stage_of(name: str, control_port: int, broken: Breakage | None = None) -> Stage:
    """A stage for a subject.

    Args:
        name: The subject's.
        control_port: Of the far end.
        broken: What is broken on purpose.
    """
    subject = SUBJECTS[name]
    wire = Wire(subject.dialect or "agenthuman")
    if broken is not None:
        subject = broken_subject(subject, broken)
        wire.before = broken.sending
    return Stage(subject, control_port, wire, broken)
