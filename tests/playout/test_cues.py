"""What comes out when: bot speaking, held frames, frames with timestamps. Time is handed in."""

from __future__ import annotations

import pytest

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.virtual_playout import pcm

# --- bot speaking ---------------------------------------------------------------------------


def test_speaking_comes_every_200_ms_while_audio_sounds(stage):
    stage.say(0.95, "hello")
    stage.send_all()
    ticks = [time for time, name in stage.all_until(9.0) if name == "tick"]
    assert ticks == pytest.approx([0.5, 0.7, 0.9, 1.1, 1.3])


def test_speaking_pauses_while_nothing_sounds(stage):
    stage.playout.open_utterance()
    stage.write(0.35)
    stage.send_all()
    stage.until(2.0)
    stage.write(0.35)
    stage.send_all()
    ticks = [time for time, name in stage.all_until(4.0) if name == "tick"]
    assert ticks == pytest.approx([2.5, 2.7])


def test_two_utterances_without_a_gap_are_two_starts_and_two_stops(stage):
    stage.say(0.4, "one")
    stage.say(0.4, "two")
    stage.send_all()
    assert stage.until(9.0) == [
        (0.0, "<one"),
        (0.5, "started"),
        (0.9, "one"),
        (0.9, "stopped"),
        (0.9, "one>"),
        (0.9, "<two"),
        (0.9, "started"),
        (1.3, "two"),
        (1.3, "stopped"),
        (1.3, "two>"),
    ]


def test_speech_that_has_sounded_before_anybody_looked_begins_and_ends_all_the_same(stage):
    """A busy machine stands still for longer than it lasts."""
    stage.say(0.4, "one")
    stage.say(0.4, "two")
    stage.send_all()
    stage.playout.take_heard(9.0)
    stage.now = 9.0
    assert [name for _, name in stage.until(9.0)] == [
        *("<one", "started", "one", "stopped", "one>"),
        *("<two", "started", "two", "stopped", "two>"),
    ]


def test_what_stands_behind_the_beginning_of_speech_is_not_given_before_that_is_told(stage):
    stage.say(0.4, "one")
    (first,) = stage.playout.outgoing.take_before(1)
    assert first.item == "<one"
    stage.give(0.2)
    stage.give(0.2)
    assert stage.playout.outgoing.take_before(1) == []
    assert stage.playout.outgoing.awaits_beginning(1)
    assert stage.until(0.0) == [(0.0, "started")]
    assert not stage.playout.outgoing.awaits_beginning(1)
    (text,) = stage.playout.outgoing.take_before(1)
    assert text.item == "one"


def test_a_stall_of_three_seconds_is_a_stop(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    assert stage.until(9.0) == [(0.5, "started"), (4.0, "stopped")]


def test_a_shorter_stall_is_none(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    assert stage.until(3.4) == [(0.5, "started")]
    stage.write(0.5)
    stage.send_all()
    assert stage.until(4.3) == []
    assert stage.playout.speaking


def test_speech_that_resumes_after_a_stop_starts_again(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    stage.until(9.0)
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    assert stage.until(20.0) == [(9.5, "started"), (10.0, "stopped"), (10.0, "end")]


def test_the_tail_of_speech_that_has_stopped_does_not_start_it_again(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    stage.until(9.0)
    stage.playout.write(pcm(0.01, stage.written), stage.now, is_tail=True)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    assert stage.until(20.0) == [(9.51, "end")]
    assert bytes(stage.heard) == pcm(0.51), "it is heard all the same"


def test_a_tail_with_speech_that_came_after_the_stop_starts_it_again(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    stage.until(9.0)
    stage.playout.write(b"", stage.now)
    stage.playout.write(pcm(0.1, stage.written), stage.now, is_tail=True)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    assert stage.until(20.0) == [(9.5, "started"), (9.6, "stopped"), (9.6, "end")]


def test_the_tail_of_an_utterance_of_which_nothing_else_came_is_speech(stage):
    stage.say(0.5, "one")
    stage.send_all()
    stage.until(9.0)
    stage.playout.open_utterance()
    stage.playout.write(pcm(0.01, stage.written), stage.now, is_tail=True)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    assert stage.until(20.0) == [(9.5, "started"), (9.51, "stopped"), (9.51, "end")]


def test_rejected_audio_does_not_put_off_the_stop_of_a_stall(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    for _ in range(5):
        stage.now += 0.6
        stage.write(0.5)
        stage.send()
        stage.playout.outgoing.rejected(stage.now)
    assert stage.until(9.0)[-1] == (4.0, "stopped")


def test_speech_without_a_tts_stop_is_stopped_by_the_stall_limit(stage):
    stage.write(0.5)
    stage.playout.hold("text")
    stage.send_all()
    assert stage.until(9.0) == [(0.5, "started"), (1.0, "text"), (4.0, "stopped")]


# --- held frames ----------------------------------------------------------------------------


def test_what_is_held_while_nothing_is_unheard_passes_at_once(stage):
    stage.playout.hold("a")
    stage.playout.hold("b")
    assert stage.until(0.0) == [(0.0, "a"), (0.0, "b")]


def test_items_wait_behind_the_audio_before_them_in_order(stage):
    stage.playout.open_utterance()
    stage.write(0.25)
    stage.playout.hold("a")
    stage.playout.hold("b")
    stage.write(0.25)
    stage.playout.hold("c")
    stage.send_all()
    assert stage.until(2.0) == [(0.5, "started"), (0.75, "a"), (0.75, "b"), (1.0, "c")]


def test_an_item_is_released_at_its_sample_although_a_message_spans_it(stage):
    stage.playout.open_utterance()
    stage.write(0.3)
    stage.playout.hold("early")
    stage.write(0.7)
    assert stage.send() == RATE
    stage.playout.outgoing.confirmed(0.0)
    assert stage.until(2.0) == [(0.5, "started"), (0.8, "early")]


def test_an_utterance_without_audio_passes_at_once(stage):
    stage.playout.hold("start")
    stage.playout.open_utterance()
    stage.playout.write(b"", 0.0, origin_secs=100.0)
    stage.playout.hold("text")
    stage.playout.close_utterance()
    stage.playout.hold("stop", ends_speech=True)
    assert stage.until(0.0) == [(0.0, "start"), (0.0, "text"), (0.0, "stop")]
    assert stage.playout.finished(0.0)


def test_an_utterance_without_audio_holds_nothing_up_behind_one_that_is_not_sent(stage):
    stage.say(0.5, "one")
    stage.say(0.0, "nothing")
    stage.say(0.5, "two")
    stage.send_all()
    assert [name for _, name in stage.until(9.0)] == [
        *("<one", "started", "one", "stopped", "one>"),
        *("<nothing", "nothing", "nothing>"),
        *("<two", "started", "two", "stopped", "two>"),
    ]
    assert stage.heard == pcm(1.0)


# --- timed frames ---------------------------------------------------------------------------


def test_a_timed_item_is_released_with_the_sample_to_which_it_points(stage):
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.0)
    stage.playout.hold_timed("zero", 100.0)
    stage.playout.hold_timed("half", 100.5)
    stage.send_all()
    assert stage.until(2.0) == [(0.5, "started"), (0.5, "zero"), (1.0, "half")]


def test_a_timed_item_that_points_to_audio_to_come_waits_for_it(stage):
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.playout.hold_timed("late", 100.75)
    stage.send_all()
    assert stage.until(3.0) == [(0.5, "started")]
    stage.write(0.5, origin=103.0)
    stage.send_all()
    assert stage.until(5.0) == [(3.75, "late")]


def test_a_timed_item_at_the_sample_after_a_stall_waits_until_that_sounds(stage):
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.playout.hold("text behind")
    stage.playout.hold_timed("word", 100.5)
    stage.send_all()
    assert stage.until(2.0) == [(0.5, "started"), (1.0, "text behind")]
    stage.write(0.5)
    stage.send_all()
    assert stage.until(3.0) == [(2.5, "word")]


def test_timed_items_behind_the_end_of_an_utterance_are_released_at_its_end(stage):
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.playout.hold_timed("at the end", 100.5)
    stage.playout.hold_timed("far behind", 107.0)
    stage.playout.close_utterance()
    stage.playout.hold("stop", ends_speech=True)
    stage.playout.hold_timed("too late", 100.9)
    stage.send_all()
    assert stage.until(9.0) == [
        (0.5, "started"),
        (1.0, "at the end"),
        (1.0, "far behind"),
        (1.0, "stopped"),
        (1.0, "stop"),
        (1.0, "too late"),
    ]


def test_timed_items_that_come_before_the_audio_wait_for_it(stage):
    """As when words are known before their first audio."""
    stage.playout.open_utterance()
    stage.playout.hold_timed("zero", 100.0)
    stage.playout.hold_timed("half", 100.5)
    assert stage.until(1.0) == []
    stage.write(1.0, origin=100.0)
    stage.send_all()
    assert stage.until(9.0)[:3] == [(1.5, "started"), (1.5, "zero"), (2.0, "half")]


def test_timed_items_without_any_audio_pass_at_the_end_of_their_utterance(stage):
    stage.playout.open_utterance()
    stage.playout.hold_timed("word", 100.5)
    assert stage.until(1.0) == []
    stage.playout.close_utterance()
    assert stage.until(1.0) == [(1.0, "word")]


def test_a_timed_item_without_any_speech_passes_at_once(stage):
    stage.playout.hold_timed("word", 100.5)
    assert stage.until(0.0) == [(0.0, "word")]


def test_a_timed_item_a_little_before_its_audio_belongs_to_the_utterance_that_is_open(stage):
    """The first word's timestamp is taken a moment before the first audio arrives here."""
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.0)
    stage.playout.close_utterance()
    stage.send_all()
    stage.until(1.0)
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.2)
    stage.playout.hold_timed("first word", 100.19)
    stage.send_all()
    assert stage.until(3.0) == [(1.5, "first word")]


def test_words_of_queued_utterances_are_released_with_their_own_audio(stage):
    for number in range(3):
        stage.playout.open_utterance()
        stage.write(1.0, origin=100.0 + number / 100)
        stage.playout.hold_timed(f"word {number}", 100.25 + number / 100)
        stage.playout.close_utterance()
    stage.send_all()
    assert stage.until(9.0)[:4] == [
        (0.5, "started"),
        (0.75, "word 0"),
        (1.75, "word 1"),
        (2.75, "word 2"),
    ]


@pytest.mark.parametrize("give", [True, False])
def test_a_word_at_the_very_end_of_an_utterance_does_not_wait_for_the_next_one(stage, give):
    """Whoever plays just in time is not given the next one before the stop of this."""
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.playout.hold_timed("last", 100.495)
    stage.playout.close_utterance()
    stage.playout.hold("stop", ends_speech=True)
    if give:
        stage.say(0.5, "two")
        assert stage.give() is not None
    else:
        stage.now = -0.5
        stage.send_all()
        stage.say(0.5, "two")
    assert stage.until(1.0)[-5:] == [
        (0.0, "started"),
        (0.495, "last"),
        (0.5, "stopped"),
        (0.5, "stop"),
        (0.5, "<two"),
    ]


def test_a_word_whose_sound_has_hardly_come_waits_for_more_of_it(stage):
    """Where a word begins is known to some milliseconds only."""
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.playout.hold_timed("word", 100.495)
    stage.send_all()
    assert stage.until(2.0) == [(0.5, "started")]
    stage.write(0.5)
    stage.send_all()
    assert [name for _, name in stage.until(3.0)] == ["word"]


def test_a_word_that_hardly_began_before_a_pause_comes_when_it_is_known_to_go_on(stage):
    """A player may be busy with something else first."""
    stage.playout.open_utterance()
    stage.write(0.505, origin=100.0)
    stage.playout.hold_timed("word", 100.5)
    stage.give()
    stage.until(2.0)
    stage.write(0.5)
    stage.give()
    assert stage.playout.next_cue(known_until=2.0) is None
    stage.playout.outgoing.delayed(2.0, 0.3)
    assert stage.until(3.0) == [(2.3, "word")]


def test_a_word_of_speech_of_milliseconds_does_not_wait_for_the_speech_behind_it(stage):
    """A pause behind it is none in it."""
    stage.playout.open_utterance()
    stage.write(0.01, origin=100.0)
    stage.playout.hold_timed("crumb", 100.0)
    stage.playout.hold_timed("its end", 100.0)
    stage.playout.open_utterance()
    stage.write(0.5, origin=101.0)
    stage.playout.hold_timed("word", 101.0)
    stage.playout.outgoing.take_portion(stage.now, RATE // 100)
    stage.playout.outgoing.sounds(RATE // 100, 0.0)
    stage.playout.outgoing.take_portion(stage.now, RATE // 2)
    stage.playout.outgoing.sounds(RATE // 2, 0.04)
    assert stage.until(0.3) == [
        (0.0, "started"),
        (0.0, "crumb"),
        (0.0, "its end"),
        (0.04, "word"),
    ]


@pytest.mark.parametrize("refused", ["crumb", "word"])
def test_a_word_of_speech_of_milliseconds_is_unheard_if_that_was_refused(stage, refused):
    stage.playout.open_utterance()
    stage.write(0.01, origin=100.0)
    stage.playout.hold_timed("crumb", 100.0)
    stage.playout.close_utterance()
    stage.send()
    stage.playout.open_utterance()
    stage.write(0.5, origin=101.0)
    stage.playout.hold_timed("word", 101.0)
    stage.playout.close_utterance()
    stage.send()
    for item in ("crumb", "word"):
        if item == refused:
            stage.playout.outgoing.rejected(0.0)
        else:
            stage.playout.outgoing.confirmed(0.0)
    names = [name for _, name in stage.until(2.0) if "started" not in name and name != "stopped"]
    assert names == [f"{one} (unheard)" if one == refused else one for one in ("crumb", "word")]
