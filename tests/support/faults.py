"""The rig for everything that goes wrong: a real pipeline, the sandbox, and who heard which sample.

Speech is made of samples that tell their place: sample number *n* of a call has the value
*n* + 1, and silence is 0. So it can be counted, to the sample, what the listener in the room
heard of the avatar and what the transport was given to play in its stead.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from loguru import logger
from numpy.typing import NDArray
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline import worker as pipecat_worker
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanErrorFrame, AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.client.connection import ConnectionLimits
from pipecat_agenthuman.client.retry import RenewalPolicy
from pipecat_agenthuman.pipeline.frame_traits import speech_frame
from pipecat_agenthuman.sandbox import Fault, Sandbox

RATE = 16_000

LIMIT_SECS = 60.0
"""No wait takes a tenth of it; it turns a hang into a failure."""

LATENCY_SECS = 0.05
"""From a confirmation to its sound, in the sandbox and in the service's settings."""

END_SECS = 0.1
"""How far the end of a call may lie before the last sound, on a busy machine."""

PIECE_SECS = 0.04
"""In which a TTS service that delivers in real time hands over its speech."""

ROOM_TOKEN = "room-token-that-nobody-may-see"
ROOM = DailyRoom("https://example.daily.co/room", ROOM_TOKEN)

SHORT_LIMITS = ConnectionLimits(
    connect_timeout_secs=3.0,
    establish_timeout_secs=3.0,
    confirm_timeout_secs=1.5,
    close_timeout_secs=0.5,
    ping_interval_secs=0.5,
    ping_timeout_secs=2.5,
)
QUICK_RENEWAL = RenewalPolicy(
    max_attempts=4, max_total_secs=20, first_pause_secs=0.05, max_pause_secs=0.2
)

Samples = NDArray[np.int16]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Pipecat from loading libraries in the background of every pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(pipecat_worker, "warm_deferred_imports"):
            patch.setattr(pipecat_worker, "warm_deferred_imports", lambda: None)
        yield


@contextmanager
def quiet_log(*, level: str = "TRACE") -> Iterator[list[str]]:
    """Keep what is logged in a list instead of printing it."""
    lines: list[str] = []
    logger.remove()
    sink = logger.add(lines.append, level=level, format="{level} {message}")
    try:
        yield lines
    finally:
        logger.remove(sink)


async def until(condition: Callable[[], bool], limit_secs: float = LIMIT_SECS) -> None:
    """Wait for something that no event tells of."""
    async with asyncio.timeout(limit_secs):
        while not condition():  # noqa: ASYNC110 - there is none to wait for
            await asyncio.sleep(0.005)


# --- the parts of a pipeline -----------------------------------------------------------


class SoundCard(BaseOutputTransport):
    """An output transport that plays in real time: a write returns when its sound is over."""

    def __init__(self, *, audio_out_enabled: bool = True, sample_rate: int = RATE) -> None:
        super().__init__(
            TransportParams(
                audio_out_enabled=audio_out_enabled,
                audio_out_sample_rate=sample_rate,
                audio_out_end_silence_secs=0,
            )
        )
        self.played = b""
        self._plays_until = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        secs = len(frame.audio) / (2 * frame.num_channels * frame.sample_rate)
        self._plays_until = max(self._plays_until, time.monotonic()) + secs
        self.played += frame.audio
        await asyncio.sleep(self._plays_until - time.monotonic())
        return True


class Recorder(FrameProcessor):
    """Keeps what comes by: with the time, and whether it went up."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.seen: list[tuple[Frame, float, bool]] = []

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.seen.append((frame, time.monotonic(), direction is FrameDirection.UPSTREAM))
        await self.push_frame(frame, direction)

    def of(self, *kinds: type[Frame], upstream: bool = False) -> list[Any]:
        return [frame for frame, _, up in self.seen if isinstance(frame, kinds) and up is upstream]


# --- a call ----------------------------------------------------------------------------


def avatar_in(sandbox: Sandbox, **options: Any) -> AgentHumanVideoService:
    """A service whose avatar speaks in a sandbox; ``settings`` may hold more of them."""
    settings = {"avatar": "avat_demo", "avatar_latency_secs": LATENCY_SECS}
    settings |= options.pop("settings", {})
    if "credentials" not in options:
        options = {"room": ROOM, "api_key": sandbox.api_key, "api_url": sandbox.api_url} | options
    return AgentHumanVideoService(
        settings=AgentHumanVideoService.Settings(**settings),
        **({"ws_url": sandbox.ws_url, "limits": SHORT_LIMITS, "renewal": QUICK_RENEWAL} | options),
    )


@dataclass
class Call:
    """A pipeline under way: recorder, avatar, recorder, transport, recorder."""

    sandbox: Sandbox
    avatar: AgentHumanVideoService
    transport: SoundCard
    above: Recorder
    between: Recorder
    behind: Recorder
    worker: PipelineWorker
    running: asyncio.Task[None]
    ready: int = 0
    said: int = 0
    news: list[str] = field(default_factory=list)

    # --- doing ---

    async def feed(self, *frames: Frame) -> None:
        await self.worker.queue_frames(frames)

    async def say(
        self, secs: float, *, real_time: bool = False, interruptible: bool = True
    ) -> range:
        """Say an utterance; returns the numbers of its samples."""
        said = range(self.said, self.said + round(secs * RATE))
        self.said = said.stop
        await self.feed(TTSStartedFrame())
        for start in range(said.start, said.stop, round(PIECE_SECS * RATE)):
            numbers = range(start, min(start + round(PIECE_SECS * RATE), said.stop))
            await self.feed(speech_frame(sound(numbers), RATE, interruptible=interruptible))
            if real_time:
                await asyncio.sleep(PIECE_SECS)
        await self.feed(TTSTextFrame(f"words {said.start}", "sentence"), TTSStoppedFrame())
        return said

    async def interrupt(self) -> None:
        await self.feed(InterruptionFrame())

    async def end(self) -> None:
        await self.feed(EndFrame())

    async def until_ready(self, nth: int = 1) -> None:
        await until(lambda: self.ready >= nth)

    async def until_over(self) -> None:
        async with asyncio.timeout(LIMIT_SECS):
            await asyncio.shield(self.running)

    # --- looking ---

    def heard_of_avatar(self) -> NDArray[np.int64]:
        """How often each sample that was said was heard of the avatar."""
        return counted(self.sandbox.heard().audio, self.said)

    def given_to_transport(self) -> NDArray[np.int64]:
        """How often each sample that was said was given to the transport."""
        frames = self.between.of(TTSAudioRawFrame)
        audio = np.frombuffer(b"".join(frame.audio for frame in frames), dtype="<i2")
        return counted(audio, self.said)

    @property
    def error_frames(self) -> list[AgentHumanErrorFrame]:
        return self.between.of(AgentHumanErrorFrame)

    @property
    def reported(self) -> list[ErrorFrame]:
        """What went upstream as an error."""
        return self.above.of(ErrorFrame, upstream=True)

    def speaking(self, recorder: Recorder, *, upstream: bool) -> list[str]:
        """The beginnings and ends of speech that came by, as "start" and "stop"."""
        frames = recorder.of(BotStartedSpeakingFrame, BotStoppedSpeakingFrame, upstream=upstream)
        return ["start" if isinstance(f, BotStartedSpeakingFrame) else "stop" for f in frames]

    def unpaired(self) -> bool:
        """Whether starts and stops of speech do not alternate, seen from either end."""
        views = (
            self.speaking(self.above, upstream=True),
            self.speaking(self.behind, upstream=False),
        )
        return any(seen != ["start", "stop"] * (len(seen) // 2) or len(seen) % 2 for seen in views)


def sound(numbers: range) -> bytes:
    """The samples with these numbers, as PCM."""
    assert numbers.stop < 1 << 16, "sample numbers repeat"
    return (np.arange(numbers.start, numbers.stop) + 1).astype("<u2").tobytes()


def counted(audio: Samples, said: int) -> NDArray[np.int64]:
    """How often each number of a sample occurs in a sound."""
    numbers = audio.astype("<i2").view("<u2").astype(np.int64)
    return np.bincount(numbers, minlength=said + 1)[1 : said + 1]


def once(counts: NDArray[np.int64], said: range) -> bool:
    """Whether an utterance was heard, and no sample of it twice.

    Its end is given a little: at the end of a call the avatar leaves when the service believes
    that the last sample was heard, and on a busy machine it knows that to some milliseconds.
    """
    surely = counts[said.start : said.stop - round(END_SECS * RATE)]
    return bool((surely == 1).all() and (counts[said.start : said.stop] <= 1).all())


@asynccontextmanager
async def calling(
    sandbox: Sandbox,
    *,
    audio_out_enabled: bool = True,
    until_ready: bool = True,
    avatar: AgentHumanVideoService | None = None,
    **options: Any,
) -> AsyncIterator[Call]:
    """Run a call while the context lasts; it must have ended by then, or it is cancelled."""
    avatar = avatar or avatar_in(sandbox, **options)
    transport = SoundCard(audio_out_enabled=audio_out_enabled)
    above, between, behind = Recorder("above"), Recorder("between"), Recorder("behind")
    worker = PipelineWorker(
        Pipeline([above, avatar, between, transport, behind]),
        params=PipelineParams(audio_out_sample_rate=RATE, enable_metrics=True),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    call = Call(sandbox, avatar, transport, above, between, behind, worker, running)
    watch(call)
    try:
        await until(lambda: bool(behind.of(StartFrame)))
        if until_ready:
            await call.until_ready()
        yield call
        await call.until_over()
    finally:
        if not running.done():
            await worker.cancel()
            async with asyncio.timeout(LIMIT_SECS):
                await running


def watch(call: Call) -> None:
    """Note what the avatar's event handlers are told."""

    def note(name: str) -> None:
        async def handler(_: object, *arguments: object) -> None:
            call.news.append(" ".join([name, *map(str, arguments)]))
            call.ready += name == "on_avatar_ready"

        call.avatar.add_event_handler(name, handler)

    for name in ("on_connected", "on_disconnected", "on_avatar_error", "on_avatar_ready"):
        note(name)


def fault(on: str, kind: str, **details: Any) -> Fault:
    """A fault to inject."""
    return Fault.model_validate({"on": on, "kind": kind, **details})
