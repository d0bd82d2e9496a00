"""All measurements, in the order in which they are run and shown."""

from __future__ import annotations

from typing import Final

from benchmarks.measures.accuracy import ACCURACY
from benchmarks.measures.capacity import CAPACITY
from benchmarks.measures.cost import COST, FAST_COST
from benchmarks.measures.first_sound import BURST, PACED
from benchmarks.measures.gaps import GAPS
from benchmarks.measures.importing import IMPORTING
from benchmarks.measures.in_no_time import COUNTS, MEMORY
from benchmarks.measures.interruption import LEFTOVER, TO_WIRE
from benchmarks.measures.measure import Measure
from benchmarks.measures.resampling import RESAMPLING

MEASURES: Final[dict[str, Measure]] = {
    measure.name: measure
    for measure in (
        TO_WIRE, LEFTOVER, ACCURACY, BURST, PACED, GAPS, COST, FAST_COST, COUNTS, RESAMPLING,
        IMPORTING, MEMORY, CAPACITY,
    )
}  # fmt: skip
