"""Runs in turn: every subject in every round, so that a busy moment hits all alike."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from benchmarks.figures import Figures
from benchmarks.measures.measure import Course, Measure
from benchmarks.stage.far_end import far_end_process
from benchmarks.stage.subjects import OURS, SUBJECTS

QUICK_ROUNDS = 1


class Worker:
    """The process of one subject."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, measure: str, options: dict[str, Any], *, broken: bool = False) -> None:
        assert self._process.stdin is not None
        wish = {"measure": measure, "options": options, "broken": broken}
        with contextlib.suppress(BrokenPipeError):  # There will be no answer, then.
            self._process.stdin.write(json.dumps(wish) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        return json.loads(line) if line else {"error": "the process died"}


class Workers:
    """One process for each subject, started when it is first asked."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._control_port = stack.enter_context(far_end_process())
        self._started: dict[str, Worker] = {}

    def of(self, subject: str) -> Worker:
        if subject not in self._started:
            process = self._stack.enter_context(_worker_process(subject, self._control_port))
            self._started[subject] = Worker(process)
        return self._started[subject]


@contextmanager
def _worker_process(subject: str, control_port: int) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.worker", subject, str(control_port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"LOGURU_LEVEL": "WARNING"},
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def run(
    measures: Iterable[Measure],
    figures: Figures,
    *,
    quick: bool,
    tell: Callable[[str], None],
    rounds: int | None,
) -> Iterator[Measure]:
    """Run measurements.

    Args:
        measures: Which.
        figures: Takes what is found.
        quick: Whether there is little time.
        tell: Called with what is going on.
        rounds: How often each; None for what is usual.

    Yields:
        Each that is done.
    """
    with ExitStack() as stack:
        workers = Workers(stack)
        for measure in measures:
            subjects = [name for name in measure.subjects if _is_here(figures, measure, name)]
            for course in measure.courses:
                if quick and not course.in_quick:
                    continue
                options = course.chosen(quick=quick)
                for number in range(rounds or (QUICK_ROUNDS if quick else measure.rounds)):
                    tell(f"{measure.title}: {course.title} ({number + 1})")
                    turn = _turned(subjects, number)
                    _one_round(figures, workers, measure, course, options, turn)
            yield measure


def _one_round(
    figures: Figures, workers: Workers, measure: Measure, course: Course,
    options: dict[str, Any], subjects: list[str],
) -> None:  # fmt: skip
    batches = [subjects] if measure.together else [[name] for name in subjects]
    for batch in batches:
        for name in batch:
            workers.of(name).ask(measure.name, options)
        for name in batch:
            told = workers.of(name).answer()
            if "error" in told:
                figures.missing[measure.name, name] = told["error"]
            else:
                figures.add(measure.name, course.key, name, told["found"])


def _turned(subjects: list[str], number: int) -> list[str]:
    """The same in another order in each round."""
    by = number % max(len(subjects), 1)
    return subjects[by:] + subjects[:by]


def _is_here(figures: Figures, measure: Measure, name: str) -> bool:
    if SUBJECTS[name].is_here:
        return True
    figures.missing[measure.name, name] = "not installed (group `peers`)"
    return False


def checks(measures: Iterable[Measure], *, tell: Callable[[str], None]) -> list[tuple[str, bool]]:
    """Break something for each measurement, and tell whether it moved.

    Args:
        measures: Which.
        tell: Called with what is going on.

    Returns:
        For each a line, and whether it moved as far as it must.
    """
    outcome: list[tuple[str, bool]] = []
    with ExitStack() as stack:
        worker = Workers(stack).of(OURS)
        for measure in measures:
            check = measure.check
            course = measure.course(check.course)
            row = next(row for row in measure.rows if row.key == check.row)
            shown: list[float] = []
            for broken in (False, True):
                tell(f"{measure.title}: {check.broken.says if broken else 'as it is'}")
                worker.ask(measure.name, course.chosen(quick=True), broken=broken)
                figures = Figures()
                told = worker.answer()
                figures.add(measure.name, course.key, OURS, told.get("found", {}))
                key = (measure.name, course.key, row.key, OURS)
                value = figures.shown(key, row.shows, more_is_better=row.more_is_better)
                shown.append(float("nan") if value is None else value)
            moved = (shown[0] - shown[1]) if row.more_is_better else (shown[1] - shown[0])
            line = (
                f"{measure.title}: {check.broken.says}: {shown[0]:.4g} → {shown[1]:.4g} "
                f"{row.unit}, must move by {check.by:g}"
            )
            outcome.append((line, moved >= check.by))
    return outcome
