"""A pipeline under way, and the processors that tests put around what they look at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from pipecat.frames.frames import Frame, OutputAudioRawFrame, StartFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.workers.runner import WorkerRunner

from tests.support.sounds import RATE
from tests.support.waiting import LIMIT_SECS

_IN_A_ROW_SECS = 0.1
"""Writes that follow each other like this are one sound, however late a busy machine wakes."""


class SoundCard(BaseOutputTransport):
    """An output transport that plays in real time: a write returns when its sound is over.

    Attributes:
        played: All the audio that it was given to play.
        sounded: From when to when each piece sounded that was no silence.
        messages: What it sent to its clients, each with the time at which that was out.
    """

    def __init__(
        self, *, audio_out_enabled: bool = True, message_secs: float = 0.0, **params: Any
    ) -> None:
        """Create a silent one.

        Args:
            audio_out_enabled: Whether it plays at all.
            message_secs: How long it takes to send a message.
            params: As for ``TransportParams``.
        """
        super().__init__(
            TransportParams(
                audio_out_enabled=audio_out_enabled, audio_out_end_silence_secs=0, **params
            )
        )
        self.played = b""
        self.sounded: list[tuple[float, float]] = []
        self.messages: list[tuple[float, Any]] = []
        self._message_secs = message_secs
        self._plays_until = 0.0
        self._returned_at = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        secs = len(frame.audio) / (2 * frame.num_channels * frame.sample_rate)
        now = time.monotonic()
        if now - self._returned_at > _IN_A_ROW_SECS:
            self._plays_until = max(self._plays_until, now)
        self._plays_until += secs
        self.played += frame.audio
        if any(frame.audio):
            self.sounded.append((self._plays_until - secs, self._plays_until))
        await asyncio.sleep(self._plays_until - now)
        self._returned_at = time.monotonic()
        return True

    async def send_message(self, frame: Any) -> None:
        if self._message_secs:
            await asyncio.sleep(self._message_secs)
        self.messages.append((time.monotonic(), frame.message))


class RoomCard(SoundCard):
    """A sound card that tells of the avatar in the room, as the package's transports do."""

    announces_avatar = True


@dataclass(frozen=True)
class Sighting:
    """A frame, when it came by, and in which direction."""

    frame: Any
    at: float
    upstream: bool

    @property
    def words(self) -> str:
        """The frame in a word, or a few if it carries text."""
        text = getattr(self.frame, "text", None)
        name = type(self.frame).__name__
        return name if text is None else f"{name} {text!r}"


class Recorder(FrameProcessor):
    """Keeps what comes by, for a test to look at or to wait for.

    Attributes:
        sightings: Everything, in order.
    """

    def __init__(self, name: str | None = None) -> None:
        super().__init__(name=name)
        self.sightings: list[Sighting] = []
        self._news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        upstream = direction is FrameDirection.UPSTREAM
        self.sightings.append(Sighting(frame, time.monotonic(), upstream))
        self._news.set()
        self._news = asyncio.Event()
        await self.push_frame(frame, direction)

    def seen(self, *kinds: type[Frame], upstream: bool | None = False) -> list[Sighting]:
        """What came by of some kinds; ``upstream=None`` means in either direction."""
        return [
            sighting
            for sighting in self.sightings
            if isinstance(sighting.frame, kinds) and upstream in (sighting.upstream, None)
        ]

    def of(self, *kinds: type[Frame], upstream: bool | None = False) -> list[Any]:
        """The frames of ``seen``."""
        return [sighting.frame for sighting in self.seen(*kinds, upstream=upstream)]

    async def saw(self, kind: type[Frame], nth: int = 1) -> Sighting:
        """Wait until a kind of frame came down, and return the nth of it."""
        await self.wait_for(lambda: len(self.seen(kind)) >= nth)
        return self.seen(kind)[nth - 1]

    async def wait_for(self, condition: Callable[[], object]) -> None:
        """Wait until something is true of what came by; asked with every frame."""
        async with asyncio.timeout(LIMIT_SECS):
            while not condition():
                await self._news.wait()


@asynccontextmanager
async def running(
    *processors: FrameProcessor, rate: int = RATE, **options: Any
) -> AsyncIterator[tuple[PipelineWorker, asyncio.Task[None]]]:
    """Run a pipeline as an application does; cancelled if it has not ended with the context.

    Args:
        processors: What it is made of.
        rate: Samples a second of its output.
        options: As for ``PipelineWorker``.

    Yields:
        Its worker, and the task that ends with it.
    """
    worker = PipelineWorker(
        Pipeline(list(processors)),
        params=PipelineParams(audio_out_sample_rate=rate, enable_metrics=True),
        cancel_on_idle_timeout=False,
        **({"enable_rtvi": False} | options),
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    task = asyncio.create_task(runner.run())
    try:
        yield worker, task
    finally:
        if not task.done():
            await worker.cancel()
        async with asyncio.timeout(LIMIT_SECS):
            await task
