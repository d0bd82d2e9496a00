"""Ten thousand calls: with fewer, and in no time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from benchmarks.fleet import CREATE_SECS, Scene, simulate
from pipecat_agenthuman import RenewalPolicy
from tests.support.waiting import quiet_log

CALLS = 300


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with quiet_log(level="ERROR"):
        yield


def test_all_are_back_at_once_where_the_service_is_well() -> None:
    outcome = simulate(Scene("well"), CALLS)
    assert outcome.given_up == 0
    assert sum(outcome.creates.values()) == CALLS


def test_those_whom_a_rate_limit_sent_away_do_not_come_back_in_one_wave() -> None:
    outcome = simulate(Scene("limited", creates_a_minute=CALLS // 2), CALLS)
    refused = CALLS // 2
    assert outcome.given_up == 0
    assert outcome.worst_second_later <= refused / 4


def test_after_an_outage_they_do_not_come_back_in_one_second() -> None:
    outcome = simulate(Scene("down", down_secs=10.0), CALLS)
    assert outcome.given_up == 0
    assert outcome.worst_second_later < CALLS


def test_an_outage_of_minutes_leaves_nobody_without_and_is_asked_about_seldom() -> None:
    outcome = simulate(Scene("down", down_secs=300.0), CALLS)
    assert outcome.given_up == 0
    assert max(outcome.back_at) <= 300 + RenewalPolicy().max_pause_secs + CREATE_SECS
    asked = sum(outcome.creates[second] for second in range(100, 300))
    assert asked / CALLS <= 200 / (RenewalPolicy().max_pause_secs / 2)
