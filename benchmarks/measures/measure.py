"""What a measurement is made of."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.stage.bot import Stage
from benchmarks.stage.breakage import Breakage
from benchmarks.stage.subjects import OURS

Samples = dict[str, list[float]]
"""What a run has found, by the name of the row."""

PEERS: Final = ("heygen", "tavus", "simli")


@dataclass(frozen=True)
class Row:
    """A figure.

    Attributes:
        key: As it is called in what a run has found.
        title: As it is called in tables.
        unit: Its unit.
        more_is_better: Whether that is so.
        shows: What stands for all samples: the median, or the worst.
    """

    key: str
    title: str
    unit: str
    more_is_better: bool = False
    shows: str = "median"


@dataclass(frozen=True)
class Course:
    """One way in which something is measured.

    Attributes:
        key: As it is called in figures.
        title: As it is called in tables.
        options: Of the run.
        quick: What is another option where there is little time.
        in_quick: Whether it is run there at all.
        aims: What a row of ours should reach, by its key: a number, or ``identity`` or a peer
            by a factor, for example ``("heygen", 1.0)``.
    """

    key: str
    title: str
    options: dict[str, Any] = field(default_factory=dict)
    quick: dict[str, Any] = field(default_factory=dict)
    in_quick: bool = True
    aims: dict[str, float | tuple[str, float]] = field(default_factory=dict)

    def chosen(self, *, quick: bool) -> dict[str, Any]:
        """The options of a run."""
        return self.options | (self.quick if quick else {})


@dataclass(frozen=True)
class Check:
    """That a measurement can fail: something is broken, and it must move.

    Attributes:
        broken: What.
        course: In which course, by its key.
        row: Which row moves.
        by: At least by how much, in its unit.
    """

    broken: Breakage
    course: str
    row: str
    by: float


@dataclass(frozen=True)
class Measure:
    """A measurement.

    Attributes:
        name: As it is called on the command line.
        title: As it is called in tables.
        explains: What is measured, from where to where.
        run: Runs it once: of a stage, with the options of a course.
        rows: What it finds.
        courses: In which ways it is measured.
        check: That it can fail.
        subjects: Of whom.
        rounds: How often, each subject in turn.
        together: Whether all subjects run at the same moment, each in its own process: where
            a few milliseconds of the machine's do not matter, or hit all alike.
    """

    name: str
    title: str
    explains: str
    run: Callable[..., Awaitable[Samples]]
    rows: tuple[Row, ...]
    courses: tuple[Course, ...]
    check: Check
    subjects: tuple[str, ...] = (OURS, *PEERS)
    rounds: int = 3
    together: bool = False

    def course(self, key: str) -> Course:
        return next(course for course in self.courses if course.key == key)

    async def once(self, stage: Stage, options: dict[str, Any]) -> Samples:
        return await self.run(stage, **options)
