"""Tables: on the terminal, and in Markdown for ``docs/performance.md``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.figures import Figures, Key
from benchmarks.measures.measure import Course, Measure, Row
from benchmarks.stage.subjects import OURS, SUBJECTS

NOTHING = "-"


@dataclass(frozen=True)
class Line:
    """A line of a measure's table.

    Attributes:
        name: What was measured.
        cells: What was found, by subject.
        aim: What ours should reach, and whether it does.
    """

    name: str
    cells: tuple[str, ...]
    aim: str


def number(value: float) -> str:
    """A figure with as many digits as it deserves."""
    if abs(value) >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if abs(value) >= 10 or value == 0 else f"{value:.2g}"


def subjects_of(figures: Figures, measure: Measure) -> list[str]:
    """Those of whom anything was found."""
    found = {key[3] for key in figures.samples if key[0] == measure.name}
    return [name for name in measure.subjects if name in found]


def lines(figures: Figures, measure: Measure) -> Iterator[Line]:
    """The table of a measure, line by line."""
    for course in measure.courses:
        for row in measure.rows:
            keys = [
                (measure.name, course.key, row.key, name) for name in subjects_of(figures, measure)
            ]
            cells = tuple(_cell(figures, key, row) for key in keys)
            if any(cell != NOTHING for cell in cells):
                unit = f", {row.unit}" if row.unit else ""
                name = f"{course.title}: {row.title}{unit}"
                yield Line(name, cells, _aim(figures, measure, course, row))


def _cell(figures: Figures, key: Key, row: Row) -> str:
    value = figures.shown(key, row.shows, more_is_better=row.more_is_better)
    if value is None:
        return NOTHING
    text = number(value)
    if row.shows == "median" and len(figures.samples[key]) > 1:
        least, most = figures.spread(key)
        text += f" ({number(least)} to {number(most)})"
    ours = figures.shown((*key[:3], OURS), row.shows, more_is_better=row.more_is_better)
    if key[3] != OURS and ours and value:
        text += f" [{value / ours:.2g}x]"
    return text


def _aim(figures: Figures, measure: Measure, course: Course, row: Row) -> str:
    wanted = course.aims.get(row.key)
    if wanted is None:
        return ""
    key = (measure.name, course.key, row.key)
    found = figures.shown((*key, OURS), row.shows, more_is_better=row.more_is_better)
    if isinstance(wanted, tuple):
        beside, factor = wanted
        other = figures.shown((*key, beside), row.shows, more_is_better=row.more_is_better)
        title = SUBJECTS[beside].title
        text = f"{factor:g} times {title}" if factor != 1 else f"as {title}"
        limit = None if other is None else other * factor
    else:
        limit, text = wanted, f"{'≥' if row.more_is_better else '≤'} {number(wanted)}"
    if found is None or limit is None:
        return text
    met = found >= limit if row.more_is_better else found <= limit
    return f"{text}: {'reached' if met else 'missed'}"


def print_tables(figures: Figures, measures: Iterable[Measure]) -> None:
    """Print all that was found."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    for measure in measures:
        subjects = subjects_of(figures, measure)
        if not subjects:
            continue
        table = Table(title=measure.title, caption=measure.explains, title_justify="left")
        table.add_column("")
        for name in subjects:
            table.add_column(SUBJECTS[name].title, justify="right")
        table.add_column("aim")
        for line in lines(figures, measure):
            table.add_row(line.name, *line.cells, line.aim)
        console.print(table)
    for (measure_name, subject), why in figures.missing.items():
        console.print(f"{measure_name}, {SUBJECTS[subject].title}: not measured: {why}")


def markdown(figures: Figures, measures: Iterable[Measure]) -> str:
    """All that was found, as sections of a page."""
    parts = [_surroundings(figures)]
    for measure in measures:
        subjects = subjects_of(figures, measure)
        if not subjects:
            continue
        titles = [SUBJECTS[name].title for name in subjects]
        parts.append(f"### {measure.title}\n\n{measure.explains}\n")
        parts.append(_row(["", *titles, "aim"]) + _row(["---", *["---:" for _ in titles], "---"]))
        parts[-1] += "".join(
            _row([line.name, *line.cells, line.aim]) for line in lines(figures, measure)
        )
    parts.append(_included(figures))
    if figures.missing:
        gone = [
            f"* `{measure}`, {SUBJECTS[subject].title}: {why}"
            for (measure, subject), why in figures.missing.items()
        ]
        parts.append("Not measured:\n\n" + "\n".join(gone) + "\n")
    return "\n".join(parts)


def _surroundings(figures: Figures) -> str:
    told = [f"{name}: {value}" for name, value in figures.surroundings.items()]
    return "; ".join(told) + ".\n"


def _included(figures: Figures) -> str:
    found = {key[3] for key in figures.samples}
    told = [
        f"* **{subject.title}**: {subject.included}"
        for subject in SUBJECTS.values()
        if subject.name in found
    ]
    return "### What is included of each\n\n" + "\n".join(told) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def print_changes(before: Figures, now: Figures, measures: Iterable[Measure]) -> None:
    """Print what is another than it was: where the ranges of all samples do not even touch."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"Against {before.surroundings.get('commit', 'before')}")
    for name in ("", "who", "before", "now", "ratio", ""):
        table.add_column(name)
    for measure in measures:
        for course in measure.courses:
            for row in measure.rows:
                for name in measure.subjects:
                    key = (measure.name, course.key, row.key, name)
                    if key in before.samples and key in now.samples:
                        title = f"{course.title}: {row.title}"
                        table.add_row(title, SUBJECTS[name].title, *_change(before, now, key, row))
    Console().print(table)


def _change(before: Figures, now: Figures, key: Key, row: Row) -> list[str]:
    was = before.shown(key, row.shows, more_is_better=row.more_is_better) or 0.0
    is_ = now.shown(key, row.shows, more_is_better=row.more_is_better) or 0.0
    (least, most), (least_now, most_now) = before.spread(key), now.spread(key)
    apart = least_now > most or most_now < least
    better = (is_ > was) == row.more_is_better
    verdict = "" if not apart else ("better" if better else "WORSE")
    ratio = f"{is_ / was:.2f}" if was else NOTHING
    return [number(was), number(is_), ratio, verdict]


BEGINS = "<!-- measured: python -m benchmarks --markdown docs/performance.md -->"
ENDS = "<!-- end of what was measured -->"


def put_into(page: Path, tables: str) -> None:
    """Replace what was measured before in a page.

    Raises:
        ValueError: If the page has no place for it.
    """
    text = page.read_text(encoding="utf-8")
    before, begins, rest = text.partition(BEGINS)
    _, ends, after = rest.partition(ENDS)
    if not begins or not ends:
        raise ValueError(f"{page} has no lines {BEGINS!r} and {ENDS!r} to put the tables between.")
    page.write_text(f"{before}{BEGINS}\n\n{tables}\n{ENDS}{after}", encoding="utf-8")
