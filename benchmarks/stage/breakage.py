"""Things that are broken on purpose: a measurement that they do not move measures nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor


@dataclass(frozen=True)
class Breakage:
    """Something broken.

    Attributes:
        says: What, in a few words.
        before: Makes a processor to stand before the subject.
        sending: Awaited before each message is given to its socket.
        options: Other arguments of the service.
        burns_secs: CPU time that is spent besides.
    """

    says: str
    before: Callable[[], FrameProcessor] | None = None
    sending: Callable[[], Awaitable[None]] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    burns_secs: float = 0.0


def burn(secs: float) -> None:
    """Keep the core busy."""
    until = time.process_time() + secs
    while time.process_time() < until:
        pass


class _Between(FrameProcessor):
    """Hands on everything, after it has seen it."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        for one in self.instead_of(frame):
            await self.push_frame(one, direction)

    def instead_of(self, frame: Frame) -> list[Frame]:
        return [frame]


class _Busy(_Between):
    def instead_of(self, frame: Frame) -> list[Frame]:
        burn(0.001)
        return [frame]


class _Unflushed(_Between):
    """Keeps the last speech of the utterance that was cut, and says it with the next one."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[TTSAudioRawFrame] = []
        self._cut = False

    def instead_of(self, frame: Frame) -> list[Frame]:
        if isinstance(frame, InterruptionFrame):
            self._cut = True
        elif isinstance(frame, TTSStartedFrame) and self._cut:
            late = [
                TTSAudioRawFrame(one.audio, one.sample_rate, 1, context_id=frame.context_id)
                for one in self._kept
            ]
            self._kept, self._cut = [], False
            return [frame, *late]
        elif isinstance(frame, TTSAudioRawFrame) and not self._cut:
            self._kept = [*self._kept[-4:], frame]
        return [frame]


class _Interpolating(_Between):
    """Resamples to 16 kHz by drawing straight lines."""

    def instead_of(self, frame: Frame) -> list[Frame]:
        if not isinstance(frame, TTSAudioRawFrame) or frame.sample_rate == 16_000:
            return [frame]
        samples = np.frombuffer(frame.audio, "<i2")
        at = np.arange(0, len(samples), frame.sample_rate / 16_000)
        drawn = np.interp(at, np.arange(len(samples)), samples).astype("<i2")
        return [TTSAudioRawFrame(drawn.tobytes(), 16_000, 1, context_id=frame.context_id)]


class _Leaking(_Between):
    """Never forgets a frame."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[bytes] = []

    def instead_of(self, frame: Frame) -> list[Frame]:
        if isinstance(frame, TTSAudioRawFrame):
            self._kept.append(bytes(len(frame.audio)))
        return [frame]


async def _slowly() -> None:
    await asyncio.sleep(0.03)


async def _with_stalls() -> None:
    await asyncio.sleep(0.4)


SLOW_SENDING: Final = Breakage("30 ms of sleep before each message", sending=_slowly)
STALLED_SENDING: Final = Breakage("0.4 s of sleep before each message", sending=_with_stalls)
BUSY: Final = Breakage("1 ms of work for each frame", before=_Busy)
UNFLUSHED: Final = Breakage("a buffer that an interruption does not empty", before=_Unflushed)
INTERPOLATING: Final = Breakage("straight lines between samples", before=_Interpolating)
LEAKING: Final = Breakage("a list that keeps all speech", before=_Leaking)
CHATTY: Final = Breakage(
    "messages of at most 20 ms", options={"settings": {"max_message_secs": 0.02}}
)
BELATED: Final = Breakage(
    "a latency that is 150 ms too long", options={"settings": {"avatar_latency_secs": 0.25}}
)
HEAVY: Final = Breakage("0.5 s of work at import", burns_secs=0.5)
