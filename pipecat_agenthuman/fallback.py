"""The transport speaks while there is no avatar."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman._compat import is_interruptible, speech_frame
from pipecat_agenthuman.audio import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from pipecat_agenthuman.protocol import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE
from pipecat_agenthuman.voice import Unheard

_SILENCE_SECS: Final = 0.2
"""After the estimated end: the transport starts to play a little later than it is given."""


def output_transport(processor: FrameProcessor) -> BaseOutputTransport | None:
    """The output transport behind a processor, if the pipeline shows one."""
    behind = processor.next
    while behind is not None and not isinstance(behind, BaseOutputTransport):
        behind = behind.next
    return behind


def plays_audio(transport: BaseOutputTransport) -> bool:
    """Whether an output transport plays the audio that it is given."""
    params: object = getattr(transport, "_params", None)
    return bool(getattr(params, "audio_out_enabled", True))


def duration_secs(frame: Frame) -> float:
    """Seconds of speech in a frame; 0 if it carries none."""
    if not isinstance(frame, TTSAudioRawFrame):
        return 0.0
    samples = len(frame.audio) // (BYTES_PER_SAMPLE * max(frame.num_channels, 1))
    return samples / max(frame.sample_rate, 1)


@dataclass(slots=True)
class _Passed:
    """Speech that the transport was given: until when it plays, as far as can be known."""

    until: float
    secs: float
    interruptible: bool

    def left_secs(self, now: float) -> float:
        return max(min(self.until - now, self.secs), 0.0)


class TransportVoice:
    """Speech that was passed on, and whether the transport is still playing it.

    The avatar must not speak into it, so it takes over only when the transport is done.

    Attributes:
        is_open: Whether the TTS service is delivering an utterance that is being passed.
    """

    def __init__(self) -> None:
        """Create a silent transport voice."""
        self.is_open = False
        self._sample_rate = WIRE_SAMPLE_RATE
        self._playing = False
        self._passed: deque[_Passed] = deque()
        self._interruptible = True
        self._shift_ns = 0

    @property
    def busy(self) -> bool:
        """Whether passed speech is playing, or has not begun to."""
        return self._playing or time.monotonic() < self._busy_until

    @property
    def _busy_until(self) -> float:
        return self._passed[-1].until + _SILENCE_SECS if self._passed else 0.0

    def note_format(self, frame: TTSAudioRawFrame) -> None:
        """Note at which rate the TTS service delivers, whoever speaks.

        What the avatar leaves unsaid is passed at this rate: the resampler of Pipecat's output
        transport takes one input rate and raises an error at another.
        """
        if MIN_SAMPLE_RATE <= frame.sample_rate <= MAX_SAMPLE_RATE:
            self._sample_rate = frame.sample_rate

    def take_over(self, unheard: Unheard) -> list[Frame]:
        """Continue what the avatar began.

        Args:
            unheard: What it did not say.

        Returns:
            Its frames, to be passed now; then call ``go_on``.
        """
        self._shift_ns = 0
        return _resampled(unheard.frames, self._sample_rate)

    def go_on(self, unheard: Unheard) -> None:
        """The rest of what the avatar began comes from the TTS service."""
        self.is_open = unheard.is_open
        self._shift_ns = unheard.timestamp_shift_ns if unheard.is_open else 0

    def adapt(self, frame: Frame) -> None:
        """Note a frame that is being passed, and correct its timestamp."""
        if isinstance(frame, TTSAudioRawFrame):
            self._interruptible = is_interruptible(frame)
            self._note_passed(time.monotonic(), duration_secs(frame))
        elif isinstance(frame, TTSStartedFrame):
            self._interruptible = is_interruptible(frame)
            self.is_open, self._shift_ns = True, 0
        elif isinstance(frame, TTSStoppedFrame):
            self.is_open = False
        elif frame.pts:
            frame.pts += self._shift_ns

    def hear(self, frame: Frame) -> None:
        """Note what the transport itself says about its playing."""
        if isinstance(frame, BotStartedSpeakingFrame):
            self._playing = True
        elif isinstance(frame, BotStoppedSpeakingFrame):
            self._playing = False
            if self._busy_until - time.monotonic() < 2 * _SILENCE_SECS:
                # That was the last of it. Otherwise an utterance waits that has yet to begin.
                self._passed.clear()

    def stop(self) -> None:
        """An interruption made the transport silent, but for uninterruptible speech."""
        now = time.monotonic()
        kept_secs = sum(part.left_secs(now) for part in self._passed if not part.interruptible)
        self._passed.clear()
        if kept_secs:
            self._passed.append(_Passed(now + kept_secs, kept_secs, interruptible=False))
        self._playing = False
        self.is_open = self.is_open and not self._interruptible

    def _note_passed(self, now: float, secs: float) -> None:
        while self._passed and self._passed[0].until <= now:
            self._passed.popleft()
        last = self._passed[-1] if self._passed else None
        until = (now if last is None else last.until) + secs
        if last is not None and last.interruptible is self._interruptible:
            last.until, last.secs = until, last.secs + secs
        else:
            self._passed.append(_Passed(until, secs, self._interruptible))


def _resampled(frames: list[Frame], sample_rate: int) -> list[Frame]:
    """The same frames, with all audio as one stream of another rate."""
    audible = [frame for frame in frames if isinstance(frame, TTSAudioRawFrame)]
    if sample_rate == WIRE_SAMPLE_RATE or not audible:
        return frames
    stream = soxr.ResampleStream(WIRE_SAMPLE_RATE, sample_rate, 1, dtype="int16")
    result: list[Frame] = []
    for frame in frames:
        if isinstance(frame, TTSAudioRawFrame):
            samples = np.frombuffer(frame.audio, dtype="<i2").astype(np.int16, copy=False)
            samples = stream.resample_chunk(samples, last=frame is audible[-1])
            audio = samples.astype("<i2", copy=False).tobytes()
            interruptible = is_interruptible(frame)
            result.append(speech_frame(audio, sample_rate, interruptible=interruptible))
        else:
            result.append(frame)
    return result
