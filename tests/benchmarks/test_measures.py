"""Every measurement runs, and moves when something is broken on purpose.

In virtual time, so that it takes no real seconds and the machine's business does not matter; how
fast anything is, is for `python -m benchmarks` to say.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measures.catalogue import MEASURES
from benchmarks.measures.in_no_time import virtually
from benchmarks.measures.measure import PEERS, Measure, Samples
from benchmarks.stage.bot import stage_of
from benchmarks.stage.far_end import far_end_here
from benchmarks.stage.subjects import IDENTITY, OURS, SUBJECTS
from tests.support import virtual_time
from tests.support.waiting import quiet_log, undisturbed

LITTLE: dict[str, dict[str, Any]] = {
    "interrupt": {"times": 1},
    "leftover": {"times": 1},
    "accuracy": {"secs": 1.0, "times": 1},
    "burst": {"times": 1},
    "paced": {"secs": 0.5, "times": 1},
    "gaps": {"secs": 1.5, "utterances": 2},
    "cost": {"secs": 1.0},
    "fast": {"secs": 4.0},
    "resampling": {"tones": 2},
    "capacity": {"calls": 2, "secs": 1.0},
}
"""Options of each that is run here, so small that it is over soon."""

ELSEWHERE = {"import", "memory", "counts"}
"""Those that start a process. What they do there is tested here."""


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with undisturbed(), quiet_log(level="WARNING"):
        yield


def measured(measure: Measure, subject: str, *, broken: bool = False) -> Samples:
    """Run a measurement once, in no time."""
    options = measure.course(measure.check.course).options | LITTLE[measure.name]

    async def main() -> Samples:
        async with far_end_here() as port:
            stage = stage_of(subject, port, measure.check.broken if broken else None)
            return await measure.once(stage, options)

    return virtual_time.run(main)


def test_each_measurement_is_looked_at_here() -> None:
    assert set(LITTLE) | ELSEWHERE == set(MEASURES)
    assert not set(LITTLE) & ELSEWHERE


@pytest.mark.parametrize("name", LITTLE)
def test_what_is_broken_on_purpose_moves_the_figure(name: str) -> None:
    measure = MEASURES[name]
    check = measure.check
    row = next(row for row in measure.rows if row.key == check.row)
    values: list[float] = []
    for broken in (False, True):
        samples = measured(measure, OURS, broken=broken)
        assert {row.key for row in measure.rows} >= set(samples)
        values.append((min if row.more_is_better else max)(samples[check.row]))
    as_it_is, broken_value = values
    by = as_it_is - broken_value if row.more_is_better else broken_value - as_it_is
    # In so short a run a bot is as busy for a shorter time, and messages are fewer.
    share = 0.2 if name in ("cost", "fast", "capacity") else 1.0
    assert by >= check.by * share, f"{as_it_is} became {broken_value}: {check.broken.says}"


@pytest.mark.parametrize("name", ["interrupt", "paced"])
@pytest.mark.parametrize("subject", PEERS)
def test_peers_speak_and_are_interrupted(subject: str, name: str) -> None:
    if not SUBJECTS[subject].is_here:
        pytest.skip("the dependency group peers is not installed")
    assert measured(MEASURES[name], subject)["ms"]


def test_without_an_avatar_there_is_something_to_compare_with() -> None:
    found = measured(MEASURES["cost"], IDENTITY)
    assert found["messages"] == [0.0]
    assert found["cpu"][0] > 0


# --- counted: the same on every machine ------------------------------------------------------

MOST = {
    "real": {"messages": 125, "turns": 6500, "frames": 1600},
    "fast": {"messages": 20, "turns": 2800, "frames": 1100},
}
"""What an utterance of six seconds may take."""


@pytest.mark.parametrize("course", MOST)
def test_an_utterance_takes_no_more_messages_turns_and_frames_than_before(course: str) -> None:
    options = MEASURES["counts"].course(course).options
    found = virtually("counts", OURS, None, options)
    over = {name: found[name][0] for name, most in MOST[course].items() if found[name][0] > most}
    assert over == {}
    assert found["messages"][0] > 0


@pytest.mark.parametrize("course", MOST)
def test_the_page_tells_how_many_messages_an_utterance_takes(course: str) -> None:
    measure = MEASURES["counts"]
    found = virtually("counts", OURS, None, measure.course(course).options)
    page = (Path(__file__).parents[2] / "docs/performance.md").read_text(encoding="utf-8")
    section = page.partition(f"### {measure.title}\n")[2].partition("\n### ")[0]
    table = [[cell.strip() for cell in row.split("|")] for row in section.splitlines()]
    ours = next(row for row in table if SUBJECTS[OURS].title in row).index(SUBJECTS[OURS].title)
    name = f"{measure.course(course).title}: messages"
    told = next(row[ours] for row in table if name in row)
    assert float(told) == found["messages"][0], "python -m benchmarks --markdown tells it anew"


def test_messages_that_are_cut_small_are_counted() -> None:
    check = MEASURES["counts"].check
    options = MEASURES["counts"].course(check.course).options
    few, many = (virtually("counts", OURS, broken, options) for broken in (None, check.broken))
    assert many["messages"][0] >= 1.5 * few["messages"][0]


def test_a_long_call_can_be_measured() -> None:
    found = virtually("memory", OURS, None, {"hours": 0.01})
    assert set(found) == {"objects", "mb"}
