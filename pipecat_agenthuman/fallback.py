"""The transport speaks while there is no avatar."""

from __future__ import annotations

import time
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
        self._busy_until = 0.0
        self._shift_ns = 0

    @property
    def busy(self) -> bool:
        """Whether passed speech is playing, or has not begun to."""
        return self._playing or time.monotonic() < self._busy_until

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
            begins = max(time.monotonic(), self._busy_until - _SILENCE_SECS)
            self._busy_until = begins + duration_secs(frame) + _SILENCE_SECS
        elif isinstance(frame, TTSStartedFrame):
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
                self._busy_until = 0.0

    def stop(self) -> None:
        """An interruption made the transport silent."""
        self._playing = False
        self._busy_until = 0.0
        self.is_open = False


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
            result.append(TTSAudioRawFrame(audio, sample_rate, 1))
        else:
            result.append(frame)
    return result
