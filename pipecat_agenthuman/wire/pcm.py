"""The audio on the wire: its rate, its samples, and how long they last. Pure."""

from __future__ import annotations

from typing import Final

WIRE_SAMPLE_RATE: Final = 16_000
"""Samples per second of the audio on the wire; the service resamples everything to it."""

BYTES_PER_SAMPLE: Final = 2
"""16-bit signed little-endian PCM, mono."""


def to_secs(samples: int) -> float:
    """Duration of a number of samples."""
    return samples / WIRE_SAMPLE_RATE


def to_samples(secs: float) -> int:
    """Number of samples in a duration, rounded."""
    return round(secs * WIRE_SAMPLE_RATE)
