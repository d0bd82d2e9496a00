"""Speech of any PCM16 format, converted to mono of one rate: of the wire, or of a transport.

Pure: no event loop, no clock, no Pipecat. The resampler is ``soxr``, which Pipecat's own
stream resampler wraps; it is used directly because Pipecat's cannot hand over the tail of an
utterance in every supported release, and is tied to one input rate.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE

MIN_SAMPLE_RATE: Final = 4_000
MAX_SAMPLE_RATE: Final = 192_000
MAX_CHANNELS: Final = 8

_QUALITY: Final = "HQ"
"""HQ holds back 11 ms of 24 kHz speech and 28 ms of 22.05 kHz speech; Pipecat's default, VHQ,
19 and 46 ms. Both are far better than 16-bit speech needs, and the delay is heard."""

_Samples = NDArray[np.float32]
"""Whole numbers in, fractions after resampling: rounding comes last, and only once. Given
16-bit samples, ``soxr`` would add dither, which is noise in silence, and different each time."""

_LOUDEST: Final = 32_767


class SpeechConverter:
    """Converts one utterance at a time to mono 16-bit little-endian PCM of one rate.

    Sample-exact: N seconds in give N times the rate samples out, to one sample for an utterance,
    however it is cut into pieces and even if its format changes on the way.
    """

    def __init__(self, target_rate: int = WIRE_SAMPLE_RATE) -> None:
        """Create a converter at the beginning of an utterance.

        Args:
            target_rate: Samples per second of what comes out.
        """
        self._target_rate = target_rate
        self._sample_rate = target_rate
        self._num_channels = 1
        self._stream: soxr.ResampleStream | None = None
        self._odd_bytes = b""
        self._expected = Fraction(0)
        self._produced = 0

    def convert(self, audio: bytes, sample_rate: int, num_channels: int) -> bytes:
        """Convert a piece of the utterance.

        Bytes that do not complete a sample of every channel wait for the next piece.

        Args:
            audio: Interleaved 16-bit signed little-endian PCM of any length.
            sample_rate: Samples per second and channel, 4000 to 192000.
            num_channels: Number of interleaved channels, 1 to 8; they are averaged.

        Returns:
            Mono PCM of the target rate; may be empty while the resampler fills.

        Raises:
            ValueError: If the rate or the number of channels is impossible.
        """
        _check_format(sample_rate, num_channels)
        output = b""
        if num_channels != self._num_channels:
            self._num_channels, self._odd_bytes = num_channels, b""
        if sample_rate != self._sample_rate:
            output = self._finish_stream()
            self._sample_rate = sample_rate
            if sample_rate != self._target_rate:
                self._stream = soxr.ResampleStream(
                    sample_rate, self._target_rate, 1, dtype="float32", quality=_QUALITY
                )
        mono = self._downmix(audio)
        self._expected += Fraction(len(mono) * self._target_rate, sample_rate)
        if self._stream is not None and len(mono):
            mono = self._stream.resample_chunk(mono)
        self._produced += len(mono)
        return output + _to_bytes(mono)

    def flush(self) -> bytes:
        """End the utterance: hand over what the resampler holds and start clean.

        Returns:
            The tail, mono PCM of the target rate. A trailing incomplete sample is dropped.
        """
        tail = self._finish_stream()
        self.reset()
        return tail

    def reset(self) -> None:
        """Abandon the utterance: drop what the resampler holds and start clean."""
        self.__init__(self._target_rate)

    def _downmix(self, audio: bytes) -> _Samples:
        audio = self._odd_bytes + audio
        whole = len(audio) - len(audio) % (BYTES_PER_SAMPLE * self._num_channels)
        self._odd_bytes = audio[whole:]
        samples = np.frombuffer(audio[:whole], dtype="<i2").astype(np.float32)
        return samples.reshape(-1, self._num_channels).mean(axis=1, dtype=np.float32)

    def _finish_stream(self) -> bytes:
        """End the current format, keeping the count exact: rounding must not add up."""
        self._odd_bytes = b""
        if self._stream is None:
            return b""
        tail = self._stream.resample_chunk(np.empty(0, dtype=np.float32), last=True)
        self._stream = None
        wanted = max(round(self._expected) - self._produced, 0)
        if len(tail) < wanted:
            tail = np.concatenate([tail, np.zeros(wanted - len(tail), dtype=np.float32)])
        self._produced += wanted
        return _to_bytes(tail[:wanted])


def spread(audio: bytes, num_channels: int) -> bytes:
    """The same mono sound in every channel, interleaved.

    Args:
        audio: Mono 16-bit PCM.
        num_channels: Number of channels that are wanted.
    """
    if num_channels == 1:
        return audio
    return np.repeat(np.frombuffer(audio, dtype="<i2"), num_channels).tobytes()


def _check_format(sample_rate: int, num_channels: int) -> None:
    if not MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE:
        raise ValueError(
            f"Speech audio has a sample rate of {sample_rate} Hz; it must be between "
            f"{MIN_SAMPLE_RATE} and {MAX_SAMPLE_RATE} Hz. Check the TTS service's settings."
        )
    if not 1 <= num_channels <= MAX_CHANNELS:
        raise ValueError(
            f"Speech audio has {num_channels} channels; it must have 1 to {MAX_CHANNELS}. "
            "Check the TTS service's settings."
        )


def _to_bytes(samples: _Samples) -> bytes:
    return np.rint(samples).clip(-_LOUDEST - 1, _LOUDEST).astype("<i2").tobytes()
