"""By how much a sound that is heard lies behind the sound that was to be heard. Pure.

The rise and fall of the one, in every band, is laid over that of the other at each shift there
may be. Where they fit best, and far better than anywhere else, that shift is the answer. There
is none if nothing fits well enough: no number is better than a wrong one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from pipecat_agenthuman.playout.envelopes import HOP_SECS, Envelope, Levels, quantile

Rows = NDArray[np.float64]

LEAST_OVERLAP_SECS: Final = 0.5
"""How much must lie over each other of which something is audible."""

SPAN_DB: Final = 30.0
"""How far below its loudest a voice tells anything."""

LEAST_SPAN_DB: Final = 6.0
"""How far a voice must stand out of the noise."""

LEAST_QUALITY: Final = 0.55
LEAST_MARGIN: Final = 0.35
"""What the right place reaches under noise, loss and music, and no place in another sound does:
``benchmarks.latency`` counts both."""

_CHANCE_SECS: Final = 0.25
"""The less there is, the better it fits anywhere: by this, divided by what there is."""

_AUDIBLE: Final = 0.3
"""Above which part of its span a voice is audible."""

_PEAK_SECS: Final = 0.12
"""How wide the best fit is: what lies beside it is no rival of it."""


@dataclass(frozen=True, slots=True)
class Match:
    """Where two sounds fit best.

    Attributes:
        shift_secs: By how much the one lies behind the other.
        quality: How well they fit, at most 1.
        surely: The same, less what so little may fit by chance.
        margin: How much better than anywhere else.
    """

    shift_secs: float
    quality: float
    surely: float
    margin: float

    @property
    def is_sure(self) -> bool:
        """Whether it is the same sound."""
        return self.surely >= LEAST_QUALITY and self.margin >= LEAST_MARGIN


def match(expected: Envelope, heard: Envelope) -> Match | None:
    """Find where a sound fits into a longer one.

    Args:
        expected: What is looked for.
        heard: Where it is looked for: its rows begin where shift 0 is.

    Returns:
        The best fit, good or bad; None if there is nothing to compare.
    """
    shifts = len(heard.levels) - len(expected.levels) + 1
    if shifts < 1 or not len(expected.levels):
        return None
    weight_a = expected.known.astype(np.float64)
    weight_b = heard.known.astype(np.float64)
    overlap = _slide(weight_b, weight_a)
    covariance, spread_a, spread_b = np.zeros(shifts), np.zeros(shifts), np.zeros(shifts)
    audible = np.zeros(len(expected.levels))
    safe = np.maximum(overlap, 1.0)
    for band in range(expected.levels.shape[1]):
        pair = _above_noise(expected, heard, band)
        if pair is None:
            continue
        a, b = pair
        audible = np.maximum(audible, a)
        a_sum, b_sum = _slide(weight_b, a), _slide(b, weight_a)
        covariance += _slide(b, a) - a_sum * b_sum / safe
        spread_a += _slide(weight_b, a * a) - a_sum * a_sum / safe
        spread_b += _slide(b * b, weight_a) - b_sum * b_sum / safe
    spoken = _slide(weight_b, (audible > _AUDIBLE).astype(np.float64)) * HOP_SECS
    counts = spoken >= LEAST_OVERLAP_SECS
    if not counts.any():
        return None
    fits = covariance / np.sqrt(np.maximum(spread_a * spread_b, 1e-6))
    surely = np.where(counts, fits - _CHANCE_SECS / np.maximum(spoken, LEAST_OVERLAP_SECS), -1.0)
    best = int(np.argmax(surely))
    beside = round(_PEAK_SECS / HOP_SECS)
    rivals = np.concatenate([surely[: max(best - beside, 0)], surely[best + beside + 1 :]])
    return Match(
        (best + _vertex(fits, best)) * HOP_SECS,
        quality=float(fits[best]),
        surely=float(surely[best]),
        margin=float(surely[best] - rivals.max(initial=-1.0)),
    )


def _above_noise(expected: Envelope, heard: Envelope, band: int) -> tuple[Rows, Rows] | None:
    """Two sounds in one band, from 0 at the noise to 1 at their loudest.

    What the noise hides of the one is hidden in the other, too.
    """
    a, b = expected.levels[:, band], heard.levels[:, band]
    sure_a, sure_b = a[expected.known], b[heard.known]
    if not len(sure_a) or not len(sure_b):
        return None
    top_a, top_b = float(quantile(sure_a, 0.95)), float(quantile(sure_b, 0.95))
    span = min(SPAN_DB, top_a - _noise(sure_a), top_b - _noise(sure_b))
    if span < LEAST_SPAN_DB:
        return None
    return (
        np.where(expected.known, np.clip((a - top_a) / span + 1.0, 0.0, 1.0), 0.0),
        np.where(heard.known, np.clip((b - top_b) / span + 1.0, 0.0, 1.0), 0.0),
    )


def _noise(levels: Levels) -> float:
    """Above which level there is more than noise."""
    return float(quantile(levels, 0.1)) + LEAST_SPAN_DB / 2


def _slide(long: Rows, short: Rows) -> Rows:
    """The product of the two at each shift."""
    return np.correlate(long, short, mode="valid")


def _vertex(fits: Rows, best: int) -> float:
    """How far beside the best step the peak is, in steps."""
    if not 0 < best < len(fits) - 1:
        return 0.0
    bend = float(fits[best - 1] - 2.0 * fits[best] + fits[best + 1])
    if bend >= 0.0:
        return 0.0
    aside = 0.5 * float(fits[best - 1] - fits[best + 1]) / bend
    return aside if abs(aside) < 1.0 else 0.0  # else it is no peak, but the edge of one
