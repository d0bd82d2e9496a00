"""Words as sound that can be read again, by whoever it was played and at whatever rate.

A word is made of cells of 20 ms. Every cell is a chord of three tones: one tells which cell of
the word it is, two tell which word. All of them are multiples of 100 Hz and below 3.6 kHz, so
that any 10 ms within a cell show them clearly, also after resampling to 8 kHz.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

CELL_SECS = 0.02
MOST_CELLS = 11
MOST_WORDS = 121

_WINDOW_SECS = 0.01
_HOP_SECS = 0.005
_LOWEST, _GROUP = 3, 11
"""Each of the three tones is one of 11 multiples of 100 Hz, the lowest of which is 300 Hz."""

_AMPLITUDE = 3000.0
_FAINTEST = 0.35
"""Of the amplitude; what is fainter is an edge or an echo of a resampler."""

_PUREST = 0.9
"""Of all sound in a window, what a chord must make up to be read: within a cell it is all of it,
at whatever rate; what two cells share can look like a third by up to 0.83."""

Samples = npt.NDArray[np.int16]


@dataclass(frozen=True, order=True)
class Cell:
    """Twenty milliseconds of a word."""

    word: int
    index: int


@dataclass(frozen=True)
class Sighted:
    """A stretch of sound in which one cell was read.

    Attributes:
        at: When it began to sound.
        until: When it ended; both to some 5 ms.
        cell: What was read.
    """

    at: float
    until: float
    cell: Cell


@cache
def word(number: int, cells: int, rate: int) -> Samples:
    """The sound of a word.

    Args:
        number: Which word, below ``MOST_WORDS``.
        cells: How long it is.
        rate: Samples per second.

    Returns:
        Samples, none of which is 0: so it can be told from silence.
    """
    return np.concatenate([_chord(number, index, rate) for index in range(cells)])


@cache
def _chord(number: int, index: int, rate: int) -> Samples:
    size = round(rate * CELL_SECS)
    times = np.arange(size) / rate
    high, low = divmod(number, _GROUP)
    bins = (index, _GROUP + low, 2 * _GROUP + high)
    sound = sum(np.sin(2 * np.pi * 100 * (_LOWEST + tone) * times) for tone in bins)
    samples = np.rint(_AMPLITUDE * sound).astype(np.int16)
    samples[samples == 0] = 1
    return samples


def read(stretches: Iterable[tuple[float, Samples]], rate: int) -> list[Sighted]:
    """Read the words in a sound.

    Args:
        stretches: When each stretch of unbroken sound began, and its samples.
        rate: Samples per second.

    Returns:
        What was read, in the order of the stretches.
    """
    sighted: list[Sighted] = []
    for at, samples in stretches:
        sighted += _read(at, samples, rate)
    return sighted


def _read(at: float, samples: Samples, rate: int) -> list[Sighted]:
    size, hop = round(rate * _WINDOW_SECS), round(rate * _HOP_SECS)
    if len(samples) < size:
        return []
    offsets = np.arange(0, len(samples) - size + 1, hop)
    if offsets[-1] < len(samples) - size:
        # Also its very end: of a cell in which it breaks off, one of both parts can be read.
        offsets = np.append(offsets, len(samples) - size)
    windows = np.lib.stride_tricks.sliding_window_view(samples, size)[offsets]
    level = np.abs(np.fft.rfft(windows, axis=1)[:, : _LOWEST + 3 * _GROUP]) * (2 / size)
    groups = level[:, _LOWEST:].reshape(len(windows), 3, _GROUP)
    tones = groups.argmax(axis=2)
    loud = groups.max(axis=2)
    power = (level**2).sum(axis=1)
    clear = loud.min(axis=1) > _FAINTEST * _AMPLITUDE
    clear &= (loud**2).sum(axis=1) > _PUREST * power
    codes = np.where(clear, (tones[:, 2] * _GROUP + tones[:, 1]) * _GROUP + tones[:, 0], -1)
    starts = np.flatnonzero(np.diff(codes, prepend=-2))
    ends = np.append(starts[1:], len(codes))
    return [
        Sighted(
            at + float(offsets[first]) / rate,
            at + float(offsets[last - 1]) / rate + _WINDOW_SECS,
            Cell(*divmod(int(codes[first]), _GROUP)),
        )
        for first, last in zip(starts, ends, strict=True)
        if codes[first] >= 0
    ]
