"""How loud a sound is, over time and in a few bands, and where on the clock it lies. Pure.

Two sounds that are to be compared need not be alike: one was coded, lost packets, was stretched
by a jitter buffer and lies under noise. What survives all that is the rise and fall of the
voice, and in each band it is another. So levels are compared, in steps of ``HOP_SECS``.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy import fft  # loaded with this module, not in the middle of a call
from numpy.typing import NDArray

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE

HOP_SECS: Final = 0.01
"""The step in which levels are taken: what is found is exact to a fraction of it."""

BANDS_HZ: Final = ((100.0, 500.0), (500.0, 1000.0), (1000.0, 2000.0), (2000.0, 3700.0))
"""Where a voice tells most; all of it is there at 8 kHz."""

FLOOR_DB: Final = -80.0
"""Less is silence."""

_WINDOW_SECS: Final = 0.02
"""What one level is taken of; long enough to tell the bands apart."""

_HOLE_SECS: Final = 0.015
"""How much later than expected a piece must have begun, so that there was a hole before it."""

_LATEST_SECS: Final = 2.0
"""How late a piece may come that others place. No more is looked at, for clocks drift."""

Samples = NDArray[np.int16]
Levels = NDArray[np.float32]
"""Levels in dB below full scale, one row for each step and one column for each band."""


def to_levels(samples: Samples, sample_rate: int) -> Levels:
    """The levels of a sound; the first row begins with the first sample.

    Args:
        samples: Mono PCM.
        sample_rate: Its rate, at least 8000.
    """
    window = round(_WINDOW_SECS * sample_rate)
    rows = int((len(samples) - window) / (HOP_SECS * sample_rate)) + 1
    rows = rows if len(samples) >= window else 0
    starts = _starts(rows, sample_rate)
    pieces = samples[starts[:, None] + np.arange(window)].astype(np.float32) / 32768.0
    spectrum = fft.rfft(pieces * np.hanning(window).astype(np.float32), axis=1)
    power = (spectrum.real**2 + spectrum.imag**2) * (2.0 / window**2)
    frequencies = fft.rfftfreq(window, 1.0 / sample_rate)
    levels = np.empty((rows, len(BANDS_HZ)), np.float32)
    for band, (low, high) in enumerate(BANDS_HZ):
        inside = (frequencies >= low) & (frequencies < high)
        levels[:, band] = power[:, inside].sum(axis=1)
    return np.maximum(10.0 * np.log10(levels + 1e-12), FLOOR_DB)


def quantile(levels: Levels, share: float) -> Levels:
    """The level below which a share of the rows is, for each band; there must be a row."""
    return np.sort(levels, axis=0)[round(share * (len(levels) - 1))]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A part of a sound.

    Attributes:
        levels: How loud it was.
        known: For each row, whether it is known how loud it was.
    """

    levels: Levels
    known: NDArray[np.bool_]

    @property
    def known_share(self) -> float:
        """How much of it is known, from 0 to 1."""
        return float(self.known.mean()) if len(self.known) else 0.0

    def part(self, start_secs: float) -> Envelope:
        """What begins so long after its beginning."""
        row = round(start_secs / HOP_SECS)
        return Envelope(self.levels[row:], self.known[row:])

    def known_between(self, start_secs: float, end_secs: float) -> Envelope:
        """The same, but nothing is known of what lies outside of a span, from its beginning."""
        secs = np.arange(len(self.levels)) * HOP_SECS
        inside = (secs >= start_secs) & (secs + _WINDOW_SECS <= end_secs)
        return Envelope(self.levels, self.known & inside)


class LaidSound:
    """Sound that lies on the clock where it was put: what was to sound."""

    def __init__(self) -> None:
        """Nothing was to sound yet."""
        self._pieces: deque[tuple[float, Samples]] = deque()

    def lay(self, audio: bytes, at: float) -> None:
        """Put a sound behind those before it.

        Args:
            audio: PCM at 16 kHz, mono.
            at: When its first sample was to sound.
        """
        self._pieces.append((at, np.frombuffer(audio, np.int16)))

    def forget(self, before: float) -> None:
        """Drop what was over before a time."""
        while self._pieces and _ends_at(*self._pieces[0]) < before:
            self._pieces.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()

    def cut(self, at: float) -> LaidSound:
        """Take back what was to sound from a time on.

        Returns:
            What was to sound before that.
        """
        before = LaidSound()
        before._pieces.extend(self._pieces)
        self._pieces = deque(
            (start, piece[: max(round((at - start) * WIRE_SAMPLE_RATE), 0)])
            for start, piece in self._pieces
            if start < at
        )
        return before

    def envelope(self, start: float, end: float) -> Envelope:
        """What was to sound between two times; where nothing was laid it was to be silent."""
        samples = np.zeros(round((end - start) * WIRE_SAMPLE_RATE), np.int16)
        for at, piece in self._pieces:
            _paste(samples, round((at - start) * WIRE_SAMPLE_RATE), piece)
        levels = to_levels(samples, WIRE_SAMPLE_RATE)
        return Envelope(levels, np.ones(len(levels), np.bool_))


class HeardSound:
    """Sound that arrived piece by piece: what is heard.

    A piece can arrive late, when something else was busy, but not early. So no piece began
    later than the ones after it let expect, and that places it better than its own arrival.
    """

    def __init__(self, kept_secs: float) -> None:
        """Nothing was heard yet.

        Args:
            kept_secs: How much is remembered.
        """
        self._kept_secs = kept_secs
        self._pieces: deque[tuple[float, Samples]] = deque()
        self._sample_rate = WIRE_SAMPLE_RATE

    def hear(self, audio: bytes, sample_rate: int, at: float) -> None:
        """Take a piece.

        Args:
            audio: Mono PCM.
            sample_rate: Its rate.
            at: When its last sample arrived, or later.
        """
        if sample_rate != self._sample_rate:
            self._pieces.clear()
            self._sample_rate = sample_rate
        piece = np.frombuffer(audio[: len(audio) // BYTES_PER_SAMPLE * BYTES_PER_SAMPLE], np.int16)
        self._pieces.append((at, piece))
        while self._pieces[0][0] < at - self._kept_secs:
            self._pieces.popleft()

    def clear(self) -> None:
        """Forget everything."""
        self._pieces.clear()

    def envelope(self, start: float, end: float) -> Envelope:
        """What was heard between two times."""
        rate = self._sample_rate
        samples = np.zeros(round((end - start) * rate), np.int16)
        known = np.zeros(len(samples), np.bool_)
        for at, piece in self._placed(start, end):
            first = round((at - start) * rate)
            _paste(samples, first, piece)
            known[max(first, 0) : max(first + len(piece), 0)] = True
        levels = to_levels(samples, rate)
        starts = _starts(len(levels), rate)
        window = round(_WINDOW_SECS * rate)
        return Envelope(levels, known[starts] & known[starts + window - 1])

    def _placed(self, start: float, end: float) -> list[tuple[float, Samples]]:
        """The pieces around a span of time, and when each began.

        What follows one another without a hole is placed by the earliest of its arrivals.
        """
        rate = self._sample_rate
        latest: list[tuple[float, Samples]] = []  # when each began at the latest
        next_at = math.inf
        for at, piece in reversed(self._pieces):
            if at < start:
                break
            if at - len(piece) / rate < end + _LATEST_SECS:
                next_at = min(at, next_at) - len(piece) / rate
                latest.append((next_at, piece))
        placed: list[tuple[float, Samples]] = []
        follows_at = -math.inf
        for at, piece in reversed(latest):
            begins_at = follows_at if at - follows_at < _HOLE_SECS else at
            follows_at = begins_at + len(piece) / rate
            if begins_at < end:
                placed.append((begins_at, piece))
        return placed


def _starts(rows: int, sample_rate: int) -> NDArray[np.intp]:
    """The first sample of each row."""
    return np.round(np.arange(rows) * (HOP_SECS * sample_rate)).astype(np.intp)


def _ends_at(at: float, piece: Samples) -> float:
    return at + len(piece) / WIRE_SAMPLE_RATE


def _paste(samples: Samples, first: int, piece: Samples) -> None:
    """Put a piece where it belongs, as far as that is inside."""
    low, high = max(first, 0), min(first + len(piece), len(samples))
    if low < high:
        samples[low:high] = piece[low - first : high - first]
