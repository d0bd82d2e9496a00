from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.sandbox.utterances import (
    KEPT_UTTERANCES,
    PAUSE_SECS,
    Stutter,
    Utterance,
    Utterances,
    UtteranceState,
    describe_utterance,
)
from tests.support.sandbox_client import INTERRUPT, ask, established, speak, tone

RATE = 16_000


class Listener:
    """A session of which everything is heard until it is cut, unless it is told otherwise."""

    def __init__(self) -> None:
        self.told: list[Utterance] = []
        self.present = True
        self.utterances = Utterances(heard_samples=self.count, changed=self.told.append)

    def count(self, session_id: str, since: float, until: float) -> int:
        sent = self.told[-1].sent_samples
        return min(sent, round((until - since) * RATE)) if self.present else 0

    def say(self, starts_at: float, secs: float = 1.0, *, lead_secs: float = 0.0) -> None:
        now = starts_at - 0.5
        samples = round(secs * RATE)
        self.utterances.queued("sess_a", samples, starts_at, now=now, lead_secs=lead_secs)

    @property
    def over(self) -> list[Utterance]:
        return [utterance for utterance in self.told if utterance.is_over]


def test_what_sounds_without_a_pause_is_one_utterance():
    listener = Listener()
    listener.say(10.0)
    listener.say(11.0, lead_secs=0.7)
    listener.say(12.0, lead_secs=0.3)
    assert listener.utterances.settle(13.0 + PAUSE_SECS - 0.01) == 13.0 + PAUSE_SECS
    assert listener.over == []
    assert listener.utterances.settle(13.0 + PAUSE_SECS) is None
    (utterance,) = listener.over
    assert (utterance.starts_at, utterance.ends_at, utterance.messages) == (10.0, 13.0, 3)
    assert (utterance.state, utterance.lead_min_secs) == (UtteranceState.HEARD, 0.3)
    assert (utterance.first_sent_at, utterance.summary) == (9.5, "3.0 s heard")


def test_after_a_pause_the_next_one_begins():
    listener = Listener()
    listener.say(10.0)
    listener.say(11.0 + PAUSE_SECS + 0.01)
    assert [utterance.number for utterance in listener.utterances.latest()] == [1, 2]
    assert [utterance.number for utterance in listener.over] == [1]


def test_a_shorter_silence_is_a_gap_in_it():
    listener = Listener()
    listener.say(10.0)
    listener.say(11.25)
    listener.utterances.settle(20.0)
    (utterance,) = listener.over
    assert utterance.gaps == (Stutter(11.0, 0.25),)
    assert utterance.summary == "2.0 s heard, with a gap of 250 ms"


def test_an_interrupt_says_how_much_was_heard():
    listener = Listener()
    listener.say(10.0, 6.9)
    listener.utterances.cut("sess_b", 12.0)
    listener.utterances.cut("sess_a", 15.2)
    (utterance,) = listener.over
    assert (utterance.state, utterance.ends_at) == (UtteranceState.INTERRUPTED, 15.2)
    assert utterance.summary == "5.2 s heard of 6.9 s, interrupted"
    assert describe_utterance(utterance, 5.0) == {
        "session_id": "sess_a",
        "number": 1,
        "state": "interrupted",
        "starts_at_secs": 5.0,
        "ends_at_secs": 10.2,
        "first_sent_at_secs": 4.5,
        "messages": 1,
        "sent_secs": 6.9,
        "heard_secs": 5.2,
        "dropped_secs": pytest.approx(1.7),
        "lead_min_secs": None,
        "gaps": [],
        "summary": utterance.summary,
    }


def test_one_that_is_cut_before_it_sounds_has_no_length():
    listener = Listener()
    listener.say(10.0)
    listener.utterances.cut("sess_a", 9.8)
    (utterance,) = listener.over
    assert (utterance.starts_at, utterance.ends_at) == (10.0, 10.0)
    assert utterance.summary == "0.0 s heard of 1.0 s, interrupted"


def test_an_interrupt_behind_it_does_not_interrupt_it():
    listener = Listener()
    listener.say(10.0)
    listener.utterances.cut("sess_a", 11.2)
    assert [utterance.summary for utterance in listener.over] == ["1.0 s heard"]


def test_what_nobody_heard_is_lost():
    listener = Listener()
    listener.present = False
    listener.say(10.0)
    listener.utterances.settle(20.0)
    (utterance,) = listener.over
    assert utterance.state is UtteranceState.LOST
    assert utterance.summary == "0.0 s heard of 1.0 s, while the avatar was not in the room"


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.floats(0, 2), st.floats(0.01, 3), st.booleans()), max_size=60))
def test_every_sample_belongs_to_one_utterance(pieces):
    listener, at, sent = Listener(), 10.0, 0
    for silence, secs, is_cut in pieces:
        at += silence
        listener.say(at, secs)
        sent += round(secs * RATE)
        at += round(secs * RATE) / RATE
        if is_cut:
            listener.utterances.cut("sess_a", at - secs / 2)
    listener.utterances.settle(at + 10)
    numbers = [utterance.number for utterance in listener.over]
    assert numbers == list(range(1, len(numbers) + 1))
    assert sum(utterance.sent_samples for utterance in listener.over) == sent


def test_old_ones_are_forgotten():
    listener = Listener()
    for second in range(0, 3 * (KEPT_UTTERANCES + 10), 3):
        listener.say(float(second))
    assert len(listener.utterances.latest()) == KEPT_UTTERANCES + 1


async def test_the_log_tells_of_each_when_it_is_over():
    async with Sandbox(render_latency_secs=0.0) as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(1600)))
        heard = await sandbox.wait_for("utterance")
        await ask(socket, speak(tone(160_000)))
        await sandbox.wait_until_heard(0.2)
        await ask(socket, INTERRUPT)
        cut = await sandbox.wait_for("utterance", after=heard["number"])
        assert (heard["summary"], heard["state"]) == ("0.1 s heard", "heard")
        assert heard["heard_samples"] == 1600
        assert cut["heard_samples"] == sandbox.heard_samples() - 1600
        assert cut["sent_samples"] == 160_000
        assert cut["state"] == "interrupted"


async def test_speech_while_the_avatar_is_away_is_told_as_lost():
    async with Sandbox(render_latency_secs=0.0) as sandbox, established(sandbox) as socket:
        await sandbox.remove_avatar()
        await ask(socket, speak(tone(1600)))
        entry = await sandbox.wait_for("utterance")
        assert (entry["state"], entry["heard_samples"]) == ("lost", 0)
