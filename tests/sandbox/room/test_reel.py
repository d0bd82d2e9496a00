from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.sandbox.room.reel import RECENT_SECS, Reel
from tests.support.room_client import read_speech
from tests.support.sandbox_client import tone

RATE = 16_000


def reel(started_at: float = 100.0) -> Reel:
    return Reel("sess_0123456789", started_at=started_at)


def test_what_follows_without_a_break_goes_in_one_message():
    made = reel()
    made.add(tone(160), 101.0, 100.5)
    made.add(tone(160, 161), 101.0 + 160 / RATE, 100.6)
    made.add(tone(160, 500), 103.0, 100.7)
    first, second = [read_speech(content) for content in made.unsent(100.8)]
    assert (first.session_id, first.number, first.continues) == ("sess_0123456789", 1, False)
    assert first.audio.tolist() == tone(320).tolist()
    assert (first.starts_at_secs, first.mouth_at_secs) == (1.0, 1.0)
    assert (second.starts_at_secs, second.number, second.continues) == (3.0, 2, False)
    assert made.unsent(100.9) == []


def test_a_message_revises_the_lips_of_the_one_before():
    made = reel()
    made.add(tone(8000), 101.0, 100.5)
    made.unsent(100.5)
    made.add(tone(8000), 101.5, 100.6)
    (message,) = [read_speech(content) for content in made.unsent(100.6)]
    assert message.continues
    assert message.starts_at_secs == 1.5
    assert 1.3 <= message.mouth_at_secs < 1.5
    assert len(message.mouth) == round((2.0 - message.mouth_at_secs) * 100) + 5


def test_who_comes_late_gets_the_same_messages_until_they_were_heard():
    made = reel()
    made.add(tone(RATE), 101.0, 100.5)
    sent = made.unsent(100.5)
    made.add(tone(RATE), 102.0, 101.5)
    sent += made.unsent(101.5)
    assert made.still_to_sound(101.5) == sent
    assert made.still_to_sound(102.0 + RECENT_SECS + 0.2) == sent[1:]
    assert made.still_to_sound(103.0 + RECENT_SECS + 0.2) == []


def test_what_nobody_asked_for_in_time_is_forgotten_unread():
    made = reel()
    for second in range(60):
        made.add(tone(RATE), 101.0 + second, 100.0 + second)
    messages = [read_speech(content) for content in made.unsent(160.0)]
    assert messages[0].starts_at_secs == pytest.approx(60.0 - RECENT_SECS - 1, abs=1)
    assert not messages[0].continues
    assert sum(len(message.audio) for message in messages) <= 4 * RATE


def test_a_cut_forgets_everything_and_counts_on():
    made = reel()
    made.add(tone(RATE), 101.0, 100.5)
    made.unsent(100.5)
    made.add(tone(RATE), 102.0, 100.6)
    made.cut()
    assert (made.unsent(100.7), made.still_to_sound(100.7), made.starts_at) == ([], [], None)
    made.add(tone(160), 102.0, 100.8)
    (message,) = [read_speech(content) for content in made.unsent(100.8)]
    assert (message.number, message.continues, message.mouth_at_secs) == (2, False, 2.0)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(1, 40_000), st.booleans()), min_size=1, max_size=20))
def test_every_sample_goes_out_once_at_its_time(pieces):
    made, at, said = reel(0.0), 10.0, []
    got: dict[int, int] = {}
    for count, flushes in pieces:
        audio = tone(count, len(said) + 1)
        made.add(audio, at, 0.0)
        said += audio.tolist()
        at += count / RATE
        if flushes:
            collect(got, made.unsent(0.0))
    collect(got, made.unsent(0.0))
    assert [got[position] for position in sorted(got)] == said
    assert sorted(got) == list(range(len(said)))


def collect(got: dict[int, int], messages: list[bytes]) -> None:
    for message in map(read_speech, messages):
        first = round((message.starts_at_secs - 10.0) * RATE)
        for offset, sample in enumerate(np.asarray(message.audio).tolist()):
            assert first + offset not in got
            got[first + offset] = sample
