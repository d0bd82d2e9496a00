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
"""HQ holds back 22 ms of 24 kHz speech on average; Pipecat's default, VHQ, twice that. Both are
far better than 16-bit speech needs, and the delay is heard."""

_DETOUR_RATE: Final = 48_000
_DETOUR_QUALITY: Final = "LQ"
"""Between rates of no small ratio (22.05 or 44.1 and 16 kHz) ``soxr`` is flat to 0.004 dB only,
whatever the quality: 67 dB at 6.5 kHz. On the way up to 48 kHz that falls where there is no
speech, and from there on the ratio is 3. All of that is left is what 16 bits allow, and the first
sound comes 20 ms earlier. LQ keeps what 16 kHz can hold, of rates from 22 kHz on."""
_DETOUR_FROM: Final = 22_000

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
        self._stream: _Resampler | None = None
        self._odd_bytes = b""
        self._taken = 0  # samples of this format
        self._due_before = Fraction(0)  # samples of the target rate, for all formats before
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
                self._stream = _Resampler(sample_rate, self._target_rate)
        audio = self._whole_samples(audio)
        if not audio:
            return output
        self._taken += len(audio) // (BYTES_PER_SAMPLE * num_channels)
        if self._stream is not None:
            audio = _to_bytes(self._stream.resample(_mono(audio, num_channels)))
        elif num_channels > 1:
            audio = _to_bytes(_mono(audio, num_channels))
        self._produced += len(audio) // BYTES_PER_SAMPLE
        return output + audio

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

    def _whole_samples(self, audio: bytes) -> bytes:
        """Audio from the beginning of a sample to the end of one."""
        if self._odd_bytes:
            audio, self._odd_bytes = self._odd_bytes + audio, b""
        odd = len(audio) % (BYTES_PER_SAMPLE * self._num_channels)
        if odd:
            audio, self._odd_bytes = audio[:-odd], audio[-odd:]
        return audio

    def _finish_stream(self) -> bytes:
        """End the current format, keeping the count exact: rounding must not add up."""
        self._odd_bytes = b""
        self._due_before += Fraction(self._taken * self._target_rate, self._sample_rate)
        self._taken = 0
        if self._stream is None:
            return b""
        tail = self._stream.resample(np.empty(0, dtype=np.float32), last=True)
        self._stream = None
        wanted = max(round(self._due_before) - self._produced, 0)
        if len(tail) < wanted:
            tail = np.concatenate([tail, np.zeros(wanted - len(tail), dtype=np.float32)])
        self._produced += wanted
        return _to_bytes(tail[:wanted])


class _Resampler:
    """From one rate to another, directly or by a detour."""

    def __init__(self, sample_rate: int, target_rate: int) -> None:
        self._steps: list[soxr.ResampleStream] = []
        if _makes_detour(sample_rate, target_rate):
            self._add(sample_rate, _DETOUR_RATE, _DETOUR_QUALITY)
            sample_rate = _DETOUR_RATE
        self._add(sample_rate, target_rate, _QUALITY)

    def _add(self, sample_rate: int, target_rate: int, quality: str) -> None:
        step = soxr.ResampleStream(sample_rate, target_rate, 1, dtype="float32", quality=quality)
        self._steps.append(step)

    def resample(self, samples: _Samples, *, last: bool = False) -> _Samples:
        for step in self._steps:
            samples = step.resample_chunk(samples, last=last)
        return samples


def _makes_detour(sample_rate: int, target_rate: int) -> bool:
    has_small_ratio = sample_rate % target_rate == 0 or _DETOUR_RATE % sample_rate == 0
    fits = _DETOUR_FROM <= sample_rate < _DETOUR_RATE
    return target_rate == WIRE_SAMPLE_RATE and fits and not has_small_ratio


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


def _mono(audio: bytes, num_channels: int) -> _Samples:
    """Whole samples as floats, channels averaged."""
    samples = np.frombuffer(audio, dtype="<i2").astype(np.float32)
    if num_channels == 1:
        return samples
    return samples.reshape(-1, num_channels).mean(axis=1, dtype=np.float32)


def _to_bytes(samples: _Samples) -> bytes:
    """Rounded to 16 bits, in place."""
    np.rint(samples, out=samples)
    np.minimum(samples, _LOUDEST, out=samples)
    np.maximum(samples, -_LOUDEST - 1, out=samples)
    return samples.astype("<i2").tobytes()
