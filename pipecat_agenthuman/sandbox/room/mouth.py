"""What lips do with a sound: a few spectral bands, a hundred times a second. Pure.

The sandbox knows a sound before it is heard, so the lips can close for a consonant and open
for the vowel behind it as people's do, and not after it as a meter's needle would.

A frame says how far the mouth is open, whether it is spread (as in "ee") or rounded ("oo"),
how much of the teeth shows (s, f, sh), and how firmly the lips are pressed together (m, b, p).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from pipecat_agenthuman.sandbox.sound import Samples, no_samples
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

MOUTH_RATE: Final = 100
"""Frames per second: lips do nothing that is faster."""

_HOP: Final = WIRE_SAMPLE_RATE // MOUTH_RATE
_WINDOW: Final = 400
"""25 ms: a period or more of every voice, and shorter than any sound of speech."""

_TRANSFORM: Final = 512
_BANDS_HZ: Final = ((90, 400), (400, 1000), (1000, 1800), (1800, 3200), (3500, 7500))
"""Voice with closed lips; open vowels; the middle; spread lips; hissing."""

_RANGE_DB: Final = 30.0
"""So far below the loudest the mouth is shut."""

_QUIET: Final = 0.02
"""Loudness (of full scale) below which nothing counts as the loudest: speech is far above it,
and noise between words must not open the mouth."""

_FORGETS_PER_SEC: Final = 0.75
"""What is left of the loudest, as an amplitude, after a second."""

_CLOSURE_FRAMES: Final = 12
"""A dip of the level no longer than this is lips (or a tongue) that close, not a pause."""

_REVISED_FRAMES: Final = 15
"""So much of the sound before is looked at again: a dip shows when it is over."""

_CONTEXT_FRAMES: Final = _REVISED_FRAMES + _CLOSURE_FRAMES + 4
"""So much of it is kept, for the lips before the first revised frame and for smoothing."""

_SMOOTHING: Final = np.array([1, 2, 3, 2, 1]) / 9
"""Lips are slower than spectra."""

_FOLLOWING_FRAMES: Final = 5
"""Frames behind the last sample, in which the mouth comes to rest."""

_HANN: Final = np.hanning(_WINDOW).astype(np.float32)
_FULL_SCALE: Final = 32768 * float(np.sum(_HANN)) / 2
"""Magnitude of a full-scale tone in the transform of a window."""

Frames = npt.NDArray[np.uint8]
"""Rows of open, wide, teeth and press. 0 to 255 stand for 0 to 1, of wide for -1 to 1."""

Curve = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Movement:
    """What a mouth does.

    Attributes:
        starts_after_secs: Time of the first frame, after the first sample that was read; below
            zero where it revises what was said of the sound before.
        frames: The frames, ``MOUTH_RATE`` per second.
    """

    starts_after_secs: float
    frames: Frames


class LipReader:
    """Reads the lips off a sound that arrives in pieces."""

    def __init__(self) -> None:
        self._kept = no_samples()
        self._read_samples = 0
        self._loudest = _QUIET

    def read(self, audio: Samples, *, continues: bool) -> Movement:
        """Read the next piece.

        Args:
            audio: 16-bit samples at 16 kHz.
            continues: Whether it follows the piece before without a break.

        Returns:
            The mouth's movement; it takes the place of what earlier pieces said about the same
            time.
        """
        if not continues:
            self._kept, self._read_samples = no_samples(), 0
        known = np.concatenate([self._kept, audio])
        end = self._read_samples + len(audio)
        first_kept = (end - len(known)) // _HOP  # the first known sample lies on the grid
        first = max(0, self._read_samples // _HOP - _REVISED_FRAMES)
        last = -(-end // _HOP) + _FOLLOWING_FRAMES
        bands = _bands(known, last - first_kept)
        moves = _shaped(bands, self._level(bands, len(audio)))[first - first_kept :]
        movement = Movement((first * _HOP - self._read_samples) / WIRE_SAMPLE_RATE, moves)
        keep_from = max(0, end // _HOP - _CONTEXT_FRAMES)
        self._kept = known[max(0, keep_from - first_kept) * _HOP :]
        self._read_samples = end
        return movement

    def _level(self, bands: Curve, new_samples: int) -> Curve:
        """Return how loud each frame is, 0 to 1, against the loudest of late."""
        total = bands.sum(axis=1)
        remembered = self._loudest * _FORGETS_PER_SEC ** (new_samples / WIRE_SAMPLE_RATE)
        self._loudest = max(float(np.sqrt(total.max())), remembered, _QUIET)
        decibels = 10 * np.log10(total / self._loudest**2 + 1e-12)
        return np.clip(1 + decibels / _RANGE_DB, 0.0, 1.0)


def _bands(known: Samples, count: int) -> Curve:
    """Return the energy in each band around each frame; 1 is a full-scale tone."""
    half = _WINDOW // 2
    padded = np.zeros((count - 1) * _HOP + _WINDOW, dtype=np.float32)
    fitting = known[: len(padded) - half]
    padded[half : half + len(fitting)] = fitting
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)[::_HOP]
    spectrum = np.abs(np.fft.rfft(windows * _HANN, _TRANSFORM, axis=1)) / _FULL_SCALE
    energy = spectrum**2
    edges = [[round(hz * _TRANSFORM / WIRE_SAMPLE_RATE) for hz in band] for band in _BANDS_HZ]
    return np.stack([energy[:, low:high].sum(axis=1) for low, high in edges], axis=1)


def _shaped(bands: Curve, level: Curve) -> Frames:
    """Make shapes of the energies and the level, 0 to 1, of each frame."""
    low, vowel, middle, spread, hiss = (bands[:, band] for band in range(len(_BANDS_HZ)))
    voiced = low + vowel + middle + spread + 1e-12
    hissing = np.clip(hiss / voiced, 0.0, 1.0)
    # A low first formant is a small opening: "oo" and "ee" are loud with little between the lips.
    opening = 0.35 + 0.65 * np.clip((vowel + 0.8 * middle + 0.35 * spread) / voiced * 1.6, 0, 1)
    press = np.maximum(_murmur(bands / voiced[:, None], level), _closures(level)) * (1 - hissing)
    open_ = level * opening * (1 - 0.6 * hissing) * (1 - press)
    wide = level * np.clip((spread - 0.6 * middle) / (0.3 * vowel + middle + spread + 1e-12), -1, 1)
    wide -= level * np.clip((vowel + low) / voiced - 0.9, 0, 0.1) * 5 * (1 - press)
    teeth = np.clip(2 * level, 0, 1) * hissing
    shape = np.stack([open_, (np.clip(wide, -1, 1) + 1) / 2, teeth, press], axis=1)
    rest = np.array([0, 0.5, 0, 0])
    smooth = np.stack(
        [
            np.convolve(shape[:, n] - rest[n], _SMOOTHING)[2:-2] + rest[n]
            for n in range(shape.shape[1])
        ],
        axis=1,
    )
    return np.rint(np.clip(smooth, 0, 1) * 255).astype(np.uint8)


def _murmur(shares: Curve, level: Curve) -> Curve:
    """Find the humming behind closed lips (m): little but the lowest band, and not loud."""
    low, vowel, _, spread, _ = shares.T
    return (
        _ramp(low, 0.72, 0.82)
        * _ramp(vowel, 0.10, 0.06)
        * _ramp(spread, 0.05, 0.02)
        * _ramp(level, 0.75, 0.65)
        * _ramp(level, 0.1, 0.3)
    )


def _ramp(curve: Curve, zero_at: float, one_at: float) -> Curve:
    """Rise from 0 to 1 between two values, the first of which may be the greater."""
    return np.clip((curve - zero_at) / (one_at - zero_at), 0.0, 1.0)


def _closures(level: Curve) -> Curve:
    """Mark the short dips between louder sounds: lips that close, and open again."""
    shut = level < 0.45
    edges = np.flatnonzero(np.diff(shut.astype(np.int8)))
    closures = np.zeros(len(level))
    for falls, rises in pairwise(edges):
        if shut[falls + 1] and rises - falls <= _CLOSURE_FRAMES:
            closures[falls + 1 : rises + 1] = 1
    return closures
