"""What a listener in the room has heard: sound, and where the silences were. Pure."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE

Samples = npt.NDArray[np.int16]
"""16-bit mono samples at 16 kHz."""


def no_samples() -> Samples:
    """Return an empty piece of sound."""
    return np.zeros(0, dtype=np.int16)


@dataclass(frozen=True)
class Segment:
    """A stretch of sound without a break; between two of them it was silent.

    Attributes:
        starts_at: When its first sample sounded, in seconds on the sandbox's clock.
        first_sample: Index of that sample in ``Heard.audio``.
        samples: Number of samples.
    """

    starts_at: float
    first_sample: int
    samples: int

    @property
    def duration_secs(self) -> float:
        """Length of the stretch in seconds."""
        return self.samples / WIRE_SAMPLE_RATE

    @property
    def ends_at(self) -> float:
        """When its last sample had sounded, in seconds on the sandbox's clock."""
        return self.starts_at + self.duration_secs


@dataclass(frozen=True)
class Gap:
    """A silence between two segments.

    Attributes:
        starts_at: When it began, in seconds on the sandbox's clock.
        duration_secs: How long it lasted.
    """

    starts_at: float
    duration_secs: float


@dataclass(frozen=True, eq=False)
class Heard:
    """What a listener in the room has heard until some moment, to the sample.

    Attributes:
        audio: The sound, 16-bit at 16 kHz, with the silences left out.
        segments: Where in time the sound was, in order.
    """

    audio: Samples = field(default_factory=no_samples, repr=False)
    segments: tuple[Segment, ...] = ()

    @property
    def samples(self) -> int:
        """Number of samples heard."""
        return len(self.audio)

    @property
    def duration_secs(self) -> float:
        """Seconds of sound, silences not counted."""
        return self.samples / WIRE_SAMPLE_RATE

    @property
    def pcm(self) -> bytes:
        """The sound as signed 16-bit little-endian bytes."""
        return self.audio.astype("<i2").tobytes()

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The silences between the segments; none before the first or after the last."""
        return tuple(
            Gap(before.ends_at, after.starts_at - before.ends_at)
            for before, after in zip(self.segments, self.segments[1:], strict=False)
        )

    def write_wav(self, path: str | Path, *, longest_gap_secs: float | None = None) -> None:
        """Write the sound as a WAV file, mono, 16 bit, 16 kHz.

        Args:
            path: The file; replaced if it exists.
            longest_gap_secs: Silences are kept up to this length in seconds; None keeps them
                as long as they were, 0 leaves them out.

        Raises:
            OSError: If the file cannot be written.
        """
        with Path(path).open("wb") as file:
            self._write(file, longest_gap_secs)

    def wav(self, *, longest_gap_secs: float | None = None) -> bytes:
        """Return the sound as the bytes of a WAV file; see ``write_wav``."""
        file = io.BytesIO()
        self._write(file, longest_gap_secs)
        return file.getvalue()

    def _write(self, target: BinaryIO, longest_gap_secs: float | None) -> None:
        with wave.open(target, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(BYTES_PER_SAMPLE)
            file.setframerate(WIRE_SAMPLE_RATE)
            for position, segment in enumerate(self.segments):
                if position:
                    file.writeframes(self._silence_before(position, longest_gap_secs))
                end = segment.first_sample + segment.samples
                file.writeframes(self.audio[segment.first_sample : end].astype("<i2").tobytes())

    def _silence_before(self, position: int, longest_gap_secs: float | None) -> bytes:
        gap_secs = self.segments[position].starts_at - self.segments[position - 1].ends_at
        if longest_gap_secs is not None:
            gap_secs = min(gap_secs, longest_gap_secs)
        # Sessions that sound at the same time follow each other here: no gap is negative.
        return bytes(BYTES_PER_SAMPLE * max(0, round(gap_secs * WIRE_SAMPLE_RATE)))


def joined(parts: Iterable[Heard]) -> Heard:
    """Put what was heard of several sessions one after the other.

    Args:
        parts: What was heard of each, in the wanted order.

    Returns:
        All of it, the segments' first samples counted through.
    """
    pieces: list[Samples] = []
    segments: list[Segment] = []
    offset = 0
    for part in parts:
        pieces.append(part.audio)
        segments += (
            Segment(segment.starts_at, segment.first_sample + offset, segment.samples)
            for segment in part.segments
        )
        offset += part.samples
    return Heard(np.concatenate(pieces) if pieces else no_samples(), tuple(segments))
