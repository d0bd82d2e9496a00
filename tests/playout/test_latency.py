"""How sure and how exact the latency is that is heard: counted, over rooms of every kind."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from pipecat_agenthuman.playout.latency import (
    AGREEMENT_SECS,
    ASSUMED_LATENCY_SECS,
    LatencyEstimator,
    LatencySource,
    Reading,
)
from pipecat_agenthuman.playout.passages import Verdict
from tests.support.heard_room import WAYS, Talk, calls, judge_in
from tests.support.voices import NO_SPEECH, RATE, sayings, unrelated

MEDIAN_SECS = 0.010
P95_SECS = 0.030


def value_of(*secs: float) -> float:
    estimator = LatencyEstimator()
    for one in secs:
        estimator.add(Reading(one, 0.9, 0.0))
    return estimator.latency.secs


# --- the value -------------------------------------------------------------------------


def test_what_nobody_heard_is_assumed():
    latency = LatencyEstimator().latency
    assert (latency.secs, latency.source) == (ASSUMED_LATENCY_SECS, LatencySource.ASSUMED)
    assert (latency.quality, latency.readings) == (None, 0)


def test_the_first_reading_counts_at_once():
    estimator = LatencyEstimator()
    estimator.add(Reading(1.1, 0.8, 0.0))
    latency = estimator.latency
    assert (latency.secs, latency.source) == (1.1, LatencySource.HEARD)
    assert (latency.quality, latency.readings) == (0.8, 1)
    assert not estimator.settled


def test_the_value_is_the_median_of_the_last_five():
    assert value_of(0.50, 0.56, 0.44) == 0.50
    assert value_of(0.4, 0.4, 0.4, 0.4, 0.5, 0.5, 0.5) == 0.5


@pytest.mark.parametrize("wild", [0.0, 1.2, 2.4])
def test_one_wild_value_is_not_followed(wild):
    assert value_of(0.5, 0.5, 0.5, wild) == 0.5
    assert value_of(0.5, 0.5, 0.5, wild, 0.5, wild, 0.5) == 0.5


def test_wild_values_that_agree_in_nothing_are_not_followed():
    assert value_of(0.5, 0.5, 0.5, 1.2, 2.1, 1.6) == 0.5


def test_a_lasting_step_is_followed_with_its_second_reading():
    assert value_of(0.4, 0.4, 0.4, 0.4, 0.4, 1.1, 1.1) == 1.1


def test_a_small_step_is_followed_with_its_third_reading():
    assert value_of(0.4, 0.4, 0.4, 0.4, 0.4, 0.6, 0.6, 0.6) == 0.6


def test_a_wild_first_value_is_left_behind():
    assert value_of(2.2, 0.5, 0.5) == 0.5


def test_a_latency_that_varies_is_known_to_its_middle():
    chance = np.random.default_rng(5)
    values = [value_of(*(0.6 + chance.uniform(-0.1, 0.1, 8))) for _ in range(50)]
    assert AGREEMENT_SECS > 0.1
    assert np.abs(np.array(values) - 0.6).max() < 0.1
    assert abs(np.median(values) - 0.6) < 0.02


def test_three_that_agree_settle_it_and_one_that_does_not_unsettles_it():
    estimator = LatencyEstimator()
    settled = []
    for secs in (0.5, 0.5, 0.5, 1.2, 0.5, 1.2, 1.2, 1.2):
        estimator.add(Reading(secs, 0.9, 0.0))
        settled.append(estimator.settled)
    assert settled == [False, False, True, False, True, False, False, True]


# --- how exact it is -------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_where_it_is_sure_the_latency_is_exact(way):
    said = [one for call in calls(4, **WAYS[way]) for one in call]
    found = [one for one in said if one.error_secs is not None]
    errors = np.abs([one.error_secs for one in found])
    assert np.median(errors) <= MEDIAN_SECS
    assert np.percentile(errors, 95) <= P95_SECS
    assert len(found) >= (0.6 if "interrupts" in WAYS[way] else 1.0) * len(said)


def test_from_the_fourth_utterance_on_the_clock_counts_with_it():
    late = [one for call in calls(4) for one in call[3:]]
    assert all(abs(one.believed_secs - one.latency_secs) < 0.005 for one in late)


@pytest.mark.parametrize("to_secs", [0.2, 0.7, 1.1])
def test_a_step_in_mid_call_is_followed_within_three_utterances(to_secs):
    chance = np.random.default_rng(3)
    step = Talk(chance, lambda number: 0.4 if number < 5 else to_secs, utterances=10).run()
    believed = [one.believed_secs for one in step]
    assert believed[4] == pytest.approx(0.4, abs=0.005)
    assert believed[8:] == pytest.approx([to_secs] * 2, abs=0.005)


def test_a_single_utterance_that_comes_late_changes_nothing():
    chance = np.random.default_rng(4)
    wild = Talk(chance, lambda number: 1.4 if number == 4 else 0.4, utterances=8).run()
    assert wild[4].finding.reading.secs == pytest.approx(1.4, abs=0.005)
    assert [one.believed_secs for one in wild[3:]] == pytest.approx([0.4] * 5, abs=0.005)


def test_a_latency_that_varies_by_a_tenth_of_a_second_is_followed_to_its_middle():
    errors = []
    for seed in range(6):
        chance = np.random.default_rng(seed)
        varying = Talk(
            chance, lambda _, chance=chance: 0.6 + chance.uniform(-0.1, 0.1), utterances=8
        )
        errors += [one.believed_secs - 0.6 for one in varying.run()[3:]]
    assert np.abs(errors).max() <= 0.1
    assert abs(np.median(errors)) <= 0.03


# --- how sure it is --------------------------------------------------------------------


@pytest.mark.parametrize("other", ["speech", *NO_SPEECH])
def test_what_is_something_else_gives_no_answer(other):
    verdicts = Counter()
    for seed in range(200):
        chance = np.random.default_rng(seed)
        said, heard = unrelated(chance)
        if other != "speech":
            heard = NO_SPEECH[other](chance)
        verdicts[judge_in(said[: round(chance.choice([0.8, 1.2, 2.0, 3.0]) * RATE)], heard)] += 1
    assert verdicts[Verdict.MEASURED] == 0
    assert verdicts[Verdict.SILENT] == (200 if other == "silence" else 0)


def test_things_to_say_differ():
    assert len({saying.tobytes() for saying in sayings()}) == len(sayings())
