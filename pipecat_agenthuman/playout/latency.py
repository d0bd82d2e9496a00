"""From a confirmation to the sound in the room: a value that can be relied on. Pure.

Each reading is one utterance whose sound was found in the room. The value follows what several
of them agree on: one that contradicts the others is held back until the next one tells whether
it was wild, or the latency is another now.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from statistics import median
from typing import Final

ASSUMED_LATENCY_SECS: Final = 0.5
"""What counts until something was heard. An older page of the service claims about that."""

LONGEST_HEARD_LATENCY_SECS: Final = 2.5
"""Up to where a sound is looked for."""

AGREEMENT_SECS: Final = 0.25
"""How far readings of one latency lie apart: it varies from utterance to utterance."""

ENOUGH_READINGS: Final = 3
"""How many that agree are enough to listen to a few utterances only."""

_REMEMBERED_READINGS: Final = 5


class LatencySource(StrEnum):
    """Where a latency comes from."""

    HEARD = "heard"
    """From the room."""

    ASSUMED = "assumed"
    """Nothing was heard yet, or nobody can listen."""

    SET = "set"
    """From the user, who fixed it."""


@dataclass(frozen=True, slots=True)
class Latency:
    """From a confirmation to the sound in the room.

    Attributes:
        secs: How long that takes.
        source: Where the number comes from.
        quality: If it was heard: how well what was heard fits what was to sound, from 0 to 1.
        readings: On how many utterances it rests.
    """

    secs: float
    source: LatencySource
    quality: float | None = None
    readings: int = 0


@dataclass(frozen=True, slots=True)
class Reading:
    """One utterance that was found in the room.

    Attributes:
        secs: How long after its confirmation it sounded.
        quality: How well it fits, from 0 to 1.
        at: When it was confirmed.
    """

    secs: float
    quality: float
    at: float


class LatencyEstimator:
    """The value that several readings agree on: their median."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self._agreed: deque[Reading] = deque(maxlen=_REMEMBERED_READINGS)
        self._contradiction: Reading | None = None

    @property
    def latency(self) -> Latency:
        """The present value."""
        if not self._agreed:
            return Latency(ASSUMED_LATENCY_SECS, LatencySource.ASSUMED)
        return Latency(
            median(reading.secs for reading in self._agreed),
            LatencySource.HEARD,
            median(reading.quality for reading in self._agreed),
            len(self._agreed),
        )

    @property
    def settled(self) -> bool:
        """Whether enough readings agree, and the last one does not contradict them."""
        return self._contradiction is None and len(self._agreed) >= ENOUGH_READINGS

    def add(self, reading: Reading) -> None:
        """Take a reading."""
        contradiction, self._contradiction = self._contradiction, None
        if not self._agreed or abs(reading.secs - self.latency.secs) <= AGREEMENT_SECS:
            self._agreed.append(reading)
        elif contradiction and abs(reading.secs - contradiction.secs) <= AGREEMENT_SECS:
            # Twice the same: the latency is another now, or the first readings were wild.
            self._agreed.clear()
            self._agreed.extend((contradiction, reading))
        else:
            self._contradiction = reading
