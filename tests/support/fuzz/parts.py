"""The parts of a call's pipeline around the service: what speaks, what watches, what plays."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.frames import frames as pipecat_frames
from pipecat.frames.frames import (
    CancelFrame,
    DataFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    OutputAudioRawFrame,
    StartFrame,
    StopFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from tests.support.fuzz import tones
from tests.support.fuzz.script import (
    Say,
    Setup,
    Step,
)


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
        has_begun_other = await self._deliver(say, by_word=by_word)
        if say.texts == "sentence":
            await self._put_sentence(say)
        if has_begun_other:
            await self._put(TTSStoppedFrame(context_id=say.other), say)
        if say.stopped:
            stopped = TTSStoppedFrame(context_id=say.context)
            if by_word:
                stopped.pts = self._last_pts
            await self._put(stopped, say)
        if say.texts == "sentence last":
            await self._put_sentence(say)
        if say.turn:
            end = LLMFullResponseEndFrame()
            if by_word:
                end.pts = self._last_pts
            await self._put(end, say, is_speech=False)

    async def _put_sentence(self, say: Say) -> None:
        text = " ".join(f"w{number}" for number, _ in say.words)
        if text:
            await self._put(TTSTextFrame(text, "sentence", context_id=say.context), say)

    async def _deliver(self, say: Say, *, by_word: bool) -> bool:
        """Deliver the speech; returns whether its other context has begun."""
        if not say.words:
            return False
        audio = sound_of(say)
        size = round(say.rate * say.frame_ms / 1000)
        frame_secs = say.frame_ms / 1000
        origin = max(self._last_pts, self.get_clock().get_time())
        self._interruptions_before = self._interruptions
        begins = onsets_in(say)
        words = list(begins) if by_word else []
        is_other_open = False
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
            sounding = [number for at, number in begins if at <= position * frame_secs][-1]
            context = context_of(say, sounding)
            if say.other is not None and context == say.other and not is_other_open:
                if not say.kept and self._interruptions > self._interruptions_before:
                    continue  # Also who does not heed an interruption begins nothing after it.
                is_other_open = True
                await self._put(TTSStartedFrame(context_id=context), say)
            await self._put(TTSAudioRawFrame(pcm, say.rate, say.channels, context_id=context), say)
            if say.delivery == "real time":
                await asyncio.sleep(frame_secs)
            elif say.delivery == "slow":
                await asyncio.sleep(1.3 * frame_secs)
        while words:
            await self._put_word(*words.pop(0), origin, say)
        return is_other_open

    async def _put_word(self, at_secs: float, number: int, origin: int, say: Say) -> None:
        frame = TTSTextFrame(f"w{number}", "word", context_id=context_of(say, number))
        frame.pts = origin + round(at_secs * 1e9)
        if say.kept or self._interruptions == self._interruptions_before:
            self._last_pts = frame.pts
        now = self.get_clock().get_time()
        frame.metadata["due"] = time.monotonic() + (frame.pts - now) / 1e9
        if say.kept:
            self._last_kept_pts = frame.pts
        await self._put(frame, say)


def onsets_in(say: Say) -> list[tuple[float, int]]:
    """When each word begins, in seconds of the audio, and its number."""
    found: list[tuple[float, int]] = []
    offset = 0.0
    for number, cells in say.words:
        found.append((offset, number))
        offset += cells * tones.CELL_SECS
    return found


def context_of(say: Say, number: int) -> str | None:
    """To which context a word belongs: with two of them they take turns."""
    if say.other is None or (number - say.words[0][0]) % 2 == 0:
        return say.context
    return say.other


def sound_of(say: Say) -> tones.Samples:
    """All that is said."""
    audio = speech(say.words, say.rate)
    return audio if say.cut_ms is None else audio[: round(say.rate * say.cut_ms / 1000)]


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
    """Notes what comes by.

    Attributes:
        keeps_stops: Whether it lets no ``StopFrame`` get to the worker, which would end.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.keeps_stops = False
        self.seen: list[Seen] = []
        self.started = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        self.seen.append(Seen(time.monotonic(), frame, direction is FrameDirection.UPSTREAM))
        if isinstance(frame, StartFrame):
            self.started.set()
        if not (self.keeps_stops and isinstance(frame, StopFrame)):
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

    def __init__(self, setup: Setup, *, is_loud: bool = True) -> None:
        params = TransportParams(
            audio_out_enabled=is_loud,
            audio_out_sample_rate=setup.out_rate,
            audio_out_10ms_chunks=setup.chunks,
            audio_out_end_silence_secs=0,
            audio_out_mixer=Background() if setup.mixer else None,
        )
        super().__init__(params)
        self.announces_avatar = setup.announced
        self.played: list[tuple[float, tones.Samples, bool]] = []
        self.busy_with: list[tuple[Step, float, float]] = []
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
        await self._be_busy(frame.metadata["step"], frame.message["secs"])

    async def write_transport_frame(self, frame: Frame) -> None:
        if isinstance(frame, MarkFrame):
            await self._be_busy(frame.metadata["step"], frame.secs)

    async def _be_busy(self, step: Step, secs: float) -> None:
        at = time.monotonic()
        try:
            await asyncio.sleep(secs)
        finally:  # An interruption ends it before, in older transports.
            self.busy_with.append((step, at, time.monotonic()))
