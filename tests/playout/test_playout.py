"""The playout, behaviour by behaviour. Time is handed in."""

from __future__ import annotations

import math

import pytest

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.cues import Release
from pipecat_agenthuman.playout.marks import Bar
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.results import Held, Interruption, Speech
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.virtual_playout import LATENCY, VirtualPlayout, pcm, speech_of

# --- the model ------------------------------------------------------------------------------


def test_a_confirmed_message_sounds_after_the_latency_and_lasts_as_long_as_its_samples(stage):
    stage.say(1.0, "hello")
    stage.send()
    stage.now = 0.2
    stage.playout.outgoing.confirmed(0.1)
    assert stage.until(9.0) == [
        (0.2, "<hello"),
        (0.1 + LATENCY, "started"),
        (1.1 + LATENCY, "hello"),
        (1.1 + LATENCY, "stopped"),
        (1.1 + LATENCY, "hello>"),
    ]
    assert stage.heard == pcm(1.0)


def test_a_message_sounds_when_what_was_confirmed_before_it_has_ended(stage):
    stage.playout.open_utterance()
    for at, secs in ((0.0, 1.0), (0.3, 1.2)):
        stage.now = at
        stage.write(secs)
        stage.playout.hold(f"said at {at}")
        stage.send_all()
    assert stage.until(2.8) == [
        (0.5, "started"),
        (1.5, "said at 0.0"),
        (2.7, "said at 0.3"),
    ]


def test_what_is_not_confirmed_is_not_on_the_clock(stage):
    stage.say(1.0, "hello")
    stage.send()
    assert stage.until(60.0) == [(0.0, "<hello")]
    assert stage.playout.unheard_secs(60.0) == 1.0


def test_a_slow_tts_service_stalls_the_clock_and_it_resumes(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    assert stage.until(2.0) == [(0.5, "started")]
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    assert stage.until(9.0) == [(3.0, "stopped"), (3.0, "end")]
    assert stage.heard == pcm(1.0)


def test_what_sounds_later_than_was_told_moves_the_rest_and_takes_nothing_back():
    clock = PlayoutClock()
    clock.confirm(1600, 10.0)
    clock.skip(3200, 10.0)
    clock.confirm(4800, 10.0)
    clock.delay(10.05, 1.0)
    assert clock.heard(10.05) == clock.heard(11.05) == 800
    assert [clock.start_time(at) for at in (799, 800, 3200)] == pytest.approx(
        [10.0 + 799 / RATE, 11.05, 11.1]
    )
    assert clock.ends_at == clock.silent_from == pytest.approx(11.2)
    clock.confirm(6400, 0.0)
    assert clock.ends_at == pytest.approx(11.3)
    clock.delay(11.3, 1.0)
    assert clock.ends_at == pytest.approx(11.3), "nothing is left that could sound later"
    assert clock.heard(11.3) == 6400


def test_a_longer_latency_counts_for_the_speech_that_is_followed_too():
    """What is believed to be over goes on, by as much as it is later than was known."""
    clock = PlayoutClock()
    clock.confirm(RATE, 10.0, 0.5)
    clock.confirm(2 * RATE, 10.1, 1.1)  # the queue is played without a break
    clock.confirm(3 * RATE, 10.2, 1.1)
    clock.confirm(4 * RATE, 20.0, 1.1)
    starts = [clock.start_time(number * RATE) for number in range(4)]
    assert starts == pytest.approx([10.5, 12.1, 13.1, 21.1])
    assert clock.end_time(3 * RATE) == pytest.approx(14.1)


def test_a_shorter_latency_counts_from_the_next_silence_on():
    """Two sounds do not overlap."""
    clock = PlayoutClock()
    clock.confirm(RATE, 10.0, 1.1)
    clock.confirm(2 * RATE, 10.1, 0.5)
    clock.confirm(3 * RATE, 12.3, 0.5)
    starts = [clock.start_time(number * RATE) for number in range(3)]
    assert starts == pytest.approx([11.1, 12.1, 13.1])
    clock.confirm(4 * RATE, 14.0, 0.5)
    assert clock.start_time(3 * RATE) == pytest.approx(14.5)


def test_what_follows_at_once_leaves_no_gap_however_numbers_are_rounded():
    clock = PlayoutClock()
    for number in range(1, 2000):
        clock.confirm(777 * number, 1_700_000_000.123, 0.3)
        assert clock.end_time(777 * number) == clock.ends_at
    for number in range(1, 1999):
        assert clock.end_time(777 * number) == clock.start_time(777 * number)


def test_a_clock_that_starts_anywhere_counts_the_same():
    schedule = PlayoutClock()
    schedule.confirm(16_000, 1_700_000_000.123)
    for position in (1, 3, 7_777, 15_999, 16_000):
        assert schedule.heard(schedule.end_time(position)) == position


def test_nothing_was_heard_at_a_time_before_everything():
    clock = PlayoutClock()
    clock.confirm(RATE, 10.0)
    clock.skip(2 * RATE, 10.0)
    assert clock.heard(-math.inf) == 0
    clock.forget(RATE)
    assert clock.heard(-math.inf) == RATE


# --- rejected audio -------------------------------------------------------------------------


@pytest.mark.parametrize("rejected", [{0}, {1}, {2}, {0, 2}, {0, 1}, {1, 2}])
def test_rejected_audio_takes_no_time_and_holds_nothing_up(stage, rejected):
    lengths_secs = [0.5, 0.4, 0.3]
    stage.playout.open_utterance()
    for number, secs in enumerate(lengths_secs):
        stage.write(secs)
        stage.playout.hold(f"part {number}")
        assert stage.send() == round(secs * RATE)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    for number, secs in enumerate(lengths_secs):
        if number in rejected:
            assert stage.playout.outgoing.rejected(stage.now) == round(secs * RATE)
        else:
            stage.playout.outgoing.confirmed(stage.now)
    cues = stage.until(9.0)
    names = [name for _, name in cues if name not in ("started", "stopped")]
    nothing_until = [set(range(number + 1)) <= rejected for number in range(3)]
    told = [f"part {n} (unheard)" if nothing_until[n] else f"part {n}" for n in range(3)]
    assert names == [*told, "end"]
    sounding = [number for number in range(3) if number not in rejected]
    length_secs = sum(lengths_secs[number] for number in sounding)
    assert [time for time, name in cues if name == "started"] == [0.5]
    assert [time for time, name in cues if name == "stopped"] == [pytest.approx(0.5 + length_secs)]
    firsts = [0, RATE // 2, RATE * 9 // 10]
    assert stage.heard == b"".join(pcm(lengths_secs[n], firsts[n]) for n in sounding)


@pytest.mark.parametrize(("heard_secs", "told"), [(0.005, " (unheard)"), (0.02, "")])
def test_a_sentence_of_which_milliseconds_sound_is_unheard(stage, heard_secs, told):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send()
    stage.write(heard_secs)
    stage.playout.hold("text")
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.playout.outgoing.rejected(stage.now)
    stage.send_all()
    names = [name for _, name in stage.until(9.0)]
    assert names == ["started", f"text{told}", "stopped", f"end{told}"]


def test_an_utterance_that_is_rejected_as_a_whole_starts_and_stops_in_silence(stage):
    """Paused TTS services, idle timers and more wait for the stop of what was to be said."""
    stage.say(0.5, "bad")
    stage.send()
    stage.playout.outgoing.rejected(0.1)
    stage.now = 0.1
    assert [name for _, name in stage.until(9.0)] == [
        "<bad",
        "bad (unheard)",
        "started in silence",
        "stopped",
        "bad> (unheard)",
    ]
    assert stage.playout.finished(0.1)
    stage.say(0.5, "good")
    stage.send_all()
    assert [name for _, name in stage.until(20.0)][1] == "started"


def test_words_are_unheard_whose_audio_was_rejected(stage):
    stage.playout.open_utterance()
    stage.write(1.0, origin=10.0)
    for number in range(4):
        stage.playout.hold_timed(f"word {number}", 10.0 + number / 4)
    stage.playout.hold("sentence")
    stage.playout.close_utterance()
    first = stage.send()
    stage.playout.outgoing.confirmed(0.0)
    assert first == RATE
    stage.playout.open_utterance()
    stage.write(0.5, origin=20.0)
    stage.playout.hold_timed("late", 20.25)
    stage.playout.hold("both")
    stage.send()
    stage.playout.outgoing.rejected(0.1)
    speaking = ("started", "tick", "stopped")
    assert [name for _, name in stage.until(9.0) if name not in speaking] == [
        "word 0",
        "word 1",
        "word 2",
        "word 3",
        "sentence",
        "late (unheard)",
        "both (unheard)",
    ]


def test_a_word_of_which_the_first_millisecond_was_rejected_is_heard(stage):
    stage.playout.open_utterance()
    stage.write(0.501, origin=10.0)
    stage.playout.hold_timed("word", 10.5)
    stage.send()
    stage.playout.outgoing.rejected(0.0)
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.send_all()
    names = [name for _, name in stage.until(9.0)]
    assert "word" in names, "a word is what follows its beginning"


def test_a_word_whose_rest_was_refused_waits_for_no_other_speech(stage):
    """The refusal comes behind the confirmation of what follows: both are known at once."""
    stage.playout.open_utterance()
    stage.write(0.505, origin=10.0)
    stage.playout.hold_timed("word", 10.5)
    stage.send_all()
    stage.until(2.0)
    stage.write(0.5)
    stage.playout.hold_timed("later", 11.5, follows_sound=False)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send()
    stage.say(0.7, "more")
    stage.send()
    stage.playout.outgoing.confirmed(stage.now, overtook=1)
    stage.playout.outgoing.rejected(stage.now)
    assert stage.until(9.0) == [
        (2.0, "word (unheard)"),
        (2.0, "stopped"),
        (2.0, "end"),
        (2.0, "<more"),
        (2.0 + LATENCY, "started"),
        (2.7 + LATENCY, "more"),
        (2.7 + LATENCY, "stopped"),
        (2.7 + LATENCY, "more>"),
        (pytest.approx(2.7 + LATENCY + 0.495), "later"),
    ]


def test_a_word_of_which_hardly_anything_came_before_a_stall_waits_for_its_rest(stage):
    stage.playout.open_utterance()
    stage.write(0.504, origin=10.0)
    stage.playout.hold_timed("word", 10.5)
    stage.send_all()
    assert "word" not in [name for _, name in stage.until(6.0)], "it would come behind the stop"
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.send_all()
    goes_on_at = 6.0 + LATENCY
    times = {name: at for at, name in stage.until(9.0)}
    assert times["word"] == pytest.approx(goes_on_at, abs=0.011)


@pytest.mark.parametrize("begun_secs", [0.005, 0.01])
def test_what_stands_behind_the_beginning_of_a_word_waits_for_no_more_of_the_word(
    stage, begun_secs
):
    stage.playout.open_utterance()
    stage.write(0.5 + begun_secs, origin=10.0)
    stage.playout.hold_timed("word", 10.5)
    stage.playout.hold("behind")
    stage.send_all()
    times = {name: at for at, name in stage.until(2.0)}
    assert times["behind"] == pytest.approx(LATENCY + 0.5 + begun_secs)
    assert "word" not in times, "it is what follows its beginning"
    stage.write(0.5)
    stage.send_all()
    assert stage.until(9.0)[0] == (2.0 + LATENCY, "word")


def test_what_stands_behind_the_beginning_of_a_word_waits_for_no_pause_in_it(stage):
    """The rest of the word stands on the clock already, and sounds late."""
    stage.playout.open_utterance()
    stage.write(0.505, origin=10.0)
    stage.playout.hold_timed("word", 10.5)
    stage.playout.hold("behind")
    stage.send_all()
    stage.until(0.8)
    stage.write(0.5)
    stage.send_all()
    times = {name: at for at, name in stage.until(9.0)}
    assert times["behind"] == pytest.approx(LATENCY + 0.505)
    assert times["word"] == pytest.approx(0.8 + LATENCY, abs=0.011)


def test_a_sound_behind_the_beginning_of_a_word_waits_for_no_more_of_the_word(stage):
    stage.playout.open_utterance()
    stage.write(0.5, origin=10.0)
    stage.playout.hold_timed("word", 10.495)
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    stage.write(0.5)
    stage.send_all()
    times = {name: at for at, name in stage.until(2.0)}
    assert times["sound"] == pytest.approx(LATENCY + 0.5)
    assert "word" not in times, "it is what follows its beginning"
    stage.send_all()
    assert stage.until(9.0)[0] == (2.0 + LATENCY, "word")


def test_what_has_the_place_of_a_word_that_let_a_sound_pass_stays_behind_the_word(stage):
    """The end of an answer is timed as its last word."""
    stage.playout.open_utterance()
    stage.write(0.5, origin=10.0)
    stage.playout.hold_timed("word", 10.495)
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    stage.send_all()
    assert [name for _, name in stage.until(2.0)] == ["started", "sound"]
    stage.playout.hold_timed("end", 10.495)
    stage.playout.close_utterance()
    assert [name for _, name in stage.until(3.0)] == ["word", "end"]


def test_a_word_comes_with_what_there_is_of_it_if_a_sound_stands_at_its_end(stage):
    stage.playout.open_utterance()
    stage.write(0.5, origin=10.0)
    stage.playout.hold_timed("word", 10.495)
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    stage.playout.close_utterance()
    stage.send_all()
    times = {name: at for at, name in stage.until(2.0)}
    assert times["word"] == pytest.approx(LATENCY + 0.495)
    assert times["sound"] == pytest.approx(LATENCY + 0.5)


def test_what_turns_out_to_stand_at_the_end_of_an_utterance_bars_the_next(stage):
    stage.playout.open_utterance()
    stage.write(0.1)
    stage.playout.hold("amid", bar=Bar.BETWEEN)
    stage.write(0.1)
    stage.playout.hold("at the end", bar=Bar.BETWEEN)
    stage.playout.close_utterance()
    stage.playout.open_utterance()
    stage.write(0.1)
    stage.send_all()
    assert stage.sent_samples == round(0.2 * RATE)
    assert [name for _, name in stage.until(2.0)][-1] == "at the end"
    stage.send_all()
    assert stage.sent_samples == round(0.3 * RATE)


def test_no_word_is_earlier_than_its_speech(stage):
    stage.playout.open_utterance()
    stage.write(0.2, origin=12.0)  # as words of interrupted speech made it seem
    stage.playout.begin_timestamps(10.0)
    stage.playout.hold_timed("first", 10.0)
    stage.playout.hold_timed("second", 10.1)
    stage.playout.close_utterance()
    stage.send_all()
    times = {name: at for at, name in stage.until(2.0)}
    assert times["second"] - times["first"] == pytest.approx(0.1)


def test_an_utterance_is_heard_if_a_part_of_it_was(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send()
    stage.write(0.5)
    stage.playout.hold("text")
    stage.playout.close_utterance()
    stage.playout.outgoing.confirmed(0.0)
    stage.send()
    stage.playout.outgoing.rejected(0.1)
    assert "text" in [name for _, name in stage.until(9.0)]


def test_an_utterance_of_which_nothing_could_be_written_starts_and_stops_in_silence(stage):
    stage.playout.open_utterance()
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True, unsaid=True)
    assert [name for _, name in stage.until(1.0)] == ["started in silence", "stopped", "end"]


def test_silence_that_follows_a_long_silence_starts_and_stops_once(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.send()
    stage.now = 20.0
    stage.playout.outgoing.rejected(20.0)
    stage.playout.hold("end", ends_speech=True, unsaid=True)
    assert [name for _, name in stage.until(30.0)] == [
        "started in silence",
        "stopped",
        "end (unheard)",
    ]


def test_after_an_interruption_an_utterance_without_audio_is_none(stage):
    stage.say(1.0, "cut")
    stage.send_all()
    stage.until(0.5)
    stage.interrupt()
    stage.playout.hold("end", ends_speech=True)
    assert [name for _, name in stage.until(5.0)] == ["end"]


@pytest.mark.parametrize("interruptible", [True, False])
def test_rejected_audio_is_neither_dropped_nor_said_again(stage, interruptible):
    stage.say(0.5, "good")
    stage.send_all()
    stage.say(0.5, "bad", interruptible=interruptible)
    stage.send()
    assert stage.playout.outgoing.rejected(stage.now) == RATE // 2
    stage.say(0.5, "unsent")
    assert stage.interrupt().dropped_samples == RATE
    assert stage.send() == 0


def test_rejected_audio_is_not_handed_over(stage):
    stage.say(0.5, "good")
    stage.send_all()
    stage.say(0.5, "bad")
    stage.send()
    stage.playout.outgoing.rejected(stage.now)
    stage.say(0.5, "unsent")
    assert speech_of(stage.playout.hand_over(stage.now)) == pcm(0.5) + pcm(0.5, RATE)


def test_an_answer_to_nothing_changes_nothing(stage):
    stage.playout.outgoing.confirmed(0.0)
    assert stage.playout.outgoing.rejected(0.0) == 0
    assert stage.until(9.0) == []


# --- interruption ---------------------------------------------------------------------------


def test_an_interruption_cuts_at_the_sample_and_forgets_everything_behind_it(stage):
    stage.say(1.0, "one")
    stage.say(1.0, "two")
    stage.send_all()
    stage.until(0.9)
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert interruption.stopped
    assert interruption.dropped_samples == 2 * RATE - round(0.4 * RATE)
    assert stage.heard == pcm(0.4)
    assert stage.until(60.0) == []
    assert stage.playout.finished(60.0)
    assert stage.send() == 0


def test_an_interruption_before_the_first_sound_stops_nothing_that_was_not_started(stage):
    stage.say(1.0, "one")
    stage.send_all()
    stage.until(0.4)
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert not interruption.stopped
    assert interruption.dropped_samples == RATE
    assert [name for _, name in stage.until(60.0)] == []


@pytest.mark.parametrize("sent", [True, False])
def test_an_interruption_while_nothing_is_confirmed_forgets_what_is_under_way(stage, sent):
    stage.say(1.0, "one")
    if sent:
        stage.send()
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert not interruption.stopped
    assert interruption.dropped_samples == RATE
    stage.playout.outgoing.confirmed(0.3)  # should it be reported all the same
    assert stage.until(60.0) == []


def test_an_open_utterance_is_interrupted_before_any_audio(stage):
    stage.playout.hold("start")
    stage.playout.open_utterance()
    stage.playout.hold_timed("word", 100.0)
    stage.playout.hold_timed("kept word", 100.0, interruptible=False)
    stage.playout.hold("kept", interruptible=False)
    assert stage.interrupt().dropped_samples == 0
    assert sorted(name for _, name in stage.until(0.0)) == ["kept", "kept word"]


def test_an_interruption_of_silence_is_sent_all_the_same(stage):
    assert stage.interrupt().send_interrupt
    stage.say(1.0, "one")
    stage.send_all()
    stage.until(9.0)
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert not interruption.stopped


def test_speech_after_an_interruption_is_on_the_clock_at_once(stage):
    stage.say(5.0, "one")
    stage.send_all()
    stage.until(1.0)
    stage.interrupt()
    stage.say(1.0, "two")
    stage.send_all()
    assert stage.until(9.0) == [
        (1.0, "<two"),
        (1.5, "started"),
        (2.5, "two"),
        (2.5, "stopped"),
        (2.5, "two>"),
    ]


def test_two_interruptions_in_a_row_stop_once(stage):
    stage.say(5.0, "one")
    stage.send_all()
    stage.until(1.0)
    assert stage.interrupt().stopped
    second = stage.interrupt()
    assert second.send_interrupt
    assert not second.stopped
    assert second.dropped_samples == 0


def test_the_last_word_that_began_to_sound_is_out_and_the_next_is_not(stage):
    stage.playout.open_utterance()
    stage.write(2.0, origin=100.0)
    for number in range(4):
        stage.playout.hold_timed(f"word {number}", 100.0 + number / 2)
    stage.send_all()
    assert [name for _, name in stage.until(1.501)] == ["started", "word 0", "word 1", "word 2"]
    stage.interrupt()
    assert stage.until(60.0) == []


def test_uninterruptible_items_stay_and_pass_in_order(stage):
    stage.playout.open_utterance()
    stage.write(1.0)
    stage.playout.hold("a", interruptible=False)
    stage.playout.hold("lost")
    stage.write(1.0)
    stage.playout.hold("b", interruptible=False)
    stage.send_all()
    stage.until(1.0)
    stage.interrupt()
    assert stage.until(1.0) == [(1.0, "a"), (1.0, "b")]


# --- uninterruptible speech -----------------------------------------------------------------


def test_uninterruptible_speech_plays_on_and_no_interrupt_is_sent(stage):
    stage.say(1.0, "important", interruptible=False)
    stage.send_all()
    stage.until(1.0)
    interruption = stage.interrupt()
    assert interruption == Interruption(False, False, b"", 0)
    assert stage.until(9.0) == [(1.5, "important"), (1.5, "stopped"), (1.5, "important>")]
    assert stage.heard == pcm(1.0)
    assert len(stage.sent) == 1


def test_uninterruptible_speech_under_way_is_waited_for(stage):
    stage.say(1.0, "important", interruptible=False)
    stage.send()
    assert not stage.interrupt().send_interrupt
    stage.playout.outgoing.confirmed(0.2)
    assert stage.until(9.0)[-1] == (1.7, "important>")


def test_uninterruptible_speech_is_sent_again_from_the_sample_where_it_stopped(stage):
    stage.say(1.0, "important", interruptible=False)
    stage.say(1.0, "chatter")
    stage.send_all()
    stage.until(0.9)
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert not interruption.stopped  # it speaks on
    assert interruption.dropped_samples == RATE
    assert stage.send() == round(0.6 * RATE)
    assert stage.sent[-1] == pcm(0.6, round(0.4 * RATE))
    stage.playout.outgoing.confirmed(1.0)
    assert stage.until(9.0) == [(2.1, "important"), (2.1, "stopped"), (2.1, "important>")]
    assert stage.heard == pcm(1.0)


def test_uninterruptible_speech_behind_interrupted_speech_is_said_next(stage):
    stage.say(1.0, "chatter")
    stage.say(0.5, "important", interruptible=False)
    stage.send_all()
    stage.until(1.0)
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert interruption.dropped_samples == RATE // 2
    assert stage.send() == RATE // 2
    stage.playout.outgoing.confirmed(1.0)
    assert stage.until(9.0) == [
        (1.0, "<important"),
        (2.0, "important"),
        (2.0, "stopped"),
        (2.0, "important>"),
    ]
    assert stage.heard == pcm(0.5) + pcm(0.5, RATE)


def test_the_rest_of_uninterruptible_speech_goes_out_at_once_although_it_is_short():
    stage = VirtualPlayout(confirm_secs=0.3)
    stage.say(1.0, "important", interruptible=False)
    stage.say(1.0, "chatter")
    stage.send_all()
    stage.until(1.4)
    assert stage.interrupt().send_interrupt
    assert stage.send() == round(0.1 * RATE)


def test_unsent_uninterruptible_speech_alone_needs_no_interrupt(stage):
    stage.say(1.0, "important", interruptible=False)
    interruption = stage.interrupt()
    assert not interruption.send_interrupt
    assert interruption.dropped_samples == 0
    assert stage.send() == RATE


def test_unsent_speech_of_both_kinds_is_interrupted(stage):
    stage.say(1.0, "chatter")
    stage.say(1.0, "important", interruptible=False)
    interruption = stage.interrupt()
    assert interruption.send_interrupt
    assert interruption.dropped_samples == RATE
    assert stage.send() == RATE
    assert stage.sent == [pcm(1.0, RATE)]


def test_unsent_chatter_is_dropped_while_the_server_speaks_on():
    stage = VirtualPlayout(Pace(max_lead_secs=1.0, max_message_secs=1.0))
    stage.say(1.0, "important", interruptible=False)
    stage.say(1.0, "chatter")
    assert stage.send() == RATE
    stage.playout.outgoing.confirmed(0.0)
    stage.until(0.7)
    interruption = stage.interrupt()
    assert not interruption.send_interrupt
    assert interruption.dropped_samples == RATE
    assert stage.until(9.0)[-1] == (1.5, "important>")


def test_uninterruptible_speech_that_is_still_coming_goes_on(stage):
    stage.playout.open_utterance(interruptible=False)
    stage.write(1.0, interruptible=False, origin=100.0)
    stage.send_all()
    stage.until(1.0)
    assert not stage.interrupt().send_interrupt
    stage.write(1.0, interruptible=False)
    stage.playout.hold_timed("word", 101.25, interruptible=False)
    stage.playout.close_utterance()
    stage.playout.hold("end", interruptible=False, ends_speech=True)
    stage.send_all()
    assert stage.until(9.0) == [(1.75, "word"), (2.5, "stopped"), (2.5, "end")]


def test_late_timestamps_still_find_uninterruptible_speech_that_plays_on(stage):
    stage.playout.open_utterance(interruptible=False)
    stage.write(1.0, interruptible=False, origin=100.0)
    stage.playout.close_utterance()
    stage.send_all()
    stage.until(0.75)
    assert not stage.interrupt().send_interrupt
    stage.playout.hold_timed("word", 100.5, interruptible=False)
    assert stage.until(1.2) == [(1.0, "word")]


def test_a_kept_item_whose_sound_was_dropped_waits_for_no_other_sound(stage):
    stage.say(1.0, "important", interruptible=False)
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.0)
    stage.playout.hold_timed("kept", 100.5, interruptible=False)
    stage.playout.open_utterance(interruptible=False)
    stage.send_all()
    stage.until(0.5)
    assert stage.interrupt().send_interrupt
    stage.send_all()
    assert (2.0, "kept") in stage.until(9.0)


@pytest.mark.parametrize("heard_secs", [0.0, 0.3, 0.75])
def test_timestamps_follow_uninterruptible_speech_that_is_sent_again(stage, heard_secs):
    stage.playout.open_utterance(interruptible=False)
    stage.write(2.0, interruptible=False, origin=100.0)
    stage.playout.hold_timed("early", 100.5, interruptible=False)
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.send_all()
    stage.until(LATENCY + heard_secs)
    assert stage.interrupt().send_interrupt
    stage.playout.hold_timed("late", 101.0, interruptible=False)
    stage.now = 3.0
    stage.send_all()
    stage.until(9.0)
    resumed = 3.0 + LATENCY - heard_secs
    early = LATENCY + 0.5 if heard_secs > 0.5 else resumed + 0.5
    words = [(time, name) for time, name in stage.cues if name in ("early", "late")]
    assert words == [(early, "early"), (resumed + 1.0, "late")]
    assert stage.heard == pcm(2.0)


def test_what_was_held_for_audio_that_never_comes_is_released_after_an_interruption(stage):
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.0)
    stage.playout.hold_timed("a", 109.0, interruptible=False)
    stage.send_all()
    stage.until(1.0)
    stage.interrupt()
    assert stage.until(1.0) == [(1.0, "a")]
    assert stage.playout.finished(1.0)


# --- recall ---------------------------------------------------------------------------------


@pytest.mark.parametrize("others", ["give_all", "send_all"])
@pytest.mark.parametrize("heard_secs", [-0.1, 0.0, 0.25, 0.6, 1.2])
def test_somebody_else_goes_on_at_the_very_sample(stage, others, heard_secs):
    stage.say(1.0, "one")
    stage.say(1.0, "two")
    stage.send_all()
    stage.until(LATENCY + heard_secs)
    heard = round(max(heard_secs, 0.0) * RATE)
    assert stage.playout.outgoing.recall(stage.now) == 2 * RATE - heard
    assert not stage.playout.outgoing.untold_samples
    stage.sent.clear()
    getattr(stage, others)()
    assert b"".join(stage.sent).startswith(pcm(0.2, heard))
    while not stage.playout.finished(stage.now):
        stage.until(stage.now + 0.1)
        getattr(stage, others)()
    assert b"".join(stage.sent) == pcm(2.0)[2 * heard :]
    assert stage.heard == pcm(2.0)
    assert [name for _, name in stage.cues if name != "tick"] == [
        *("<one", "started", "one", "stopped", "one>"),
        *("<two", "started", "two", "stopped", "two>"),
    ]


def test_what_is_recalled_counts_as_unsent_and_old_answers_mean_nothing():
    stage = VirtualPlayout(Pace(max_message_secs=0.5))
    stage.say(2.0, "hello")
    stage.send()
    stage.send()
    stage.playout.outgoing.confirmed(0.0)
    stage.until(0.6)
    assert stage.playout.outgoing.recall(0.6) == stage.sent_samples - 1600
    assert stage.playout.outgoing.backlog_secs == pytest.approx(1.9)
    assert stage.playout.speaking
    stage.playout.outgoing.confirmed(0.7)  # the old connection's answer
    assert stage.playout.outgoing.rejected(0.7) == 0
    assert stage.until(2.0) == []
    assert stage.playout.unheard_secs(2.0) == pytest.approx(1.9)


def test_a_recall_of_nothing_changes_nothing(stage):
    assert stage.playout.outgoing.recall(0.0) == 0
    stage.say(0.5, "hello")
    assert stage.playout.outgoing.recall(0.0) == 0
    stage.send_all()
    stage.until(9.0)
    assert stage.playout.outgoing.recall(9.0) == 0
    assert stage.heard == pcm(0.5)
    assert [name for _, name in stage.cues][-1] == "hello>"


def test_words_move_with_their_sound_across_a_recall(stage):
    stage.playout.open_utterance()
    stage.write(2.0, origin=100.0)
    for number in range(4):
        stage.playout.hold_timed(f"word {number}", 100.0 + number / 2)
    stage.playout.close_utterance()
    stage.send_all()
    stage.until(LATENCY + 0.75)
    stage.playout.outgoing.recall(stage.now)
    stage.until(3.0)
    stage.give_all()
    stage.until(9.0)
    words = [cue for cue in stage.cues if cue[1].startswith("word")]
    assert words == [(0.5, "word 0"), (1.0, "word 1"), (3.25, "word 2"), (3.75, "word 3")]


def test_refused_audio_is_not_said_by_anybody_after_a_recall():
    stage, sizes = three_messages()
    stage.playout.outgoing.confirmed(0.0)
    assert stage.playout.outgoing.rejected(0.1) == sizes[1]
    assert stage.playout.outgoing.recall(0.2) == sizes[0] + sizes[2]
    stage.send_all()
    stage.until(0.2)
    assert stage.playout.outgoing.recall(0.2) == sizes[0] + sizes[2]
    stage.give_all()
    stage.until(9.0)
    assert stage.heard == without_second(sizes)


def test_sending_is_due_where_refused_audio_comes_next():
    """A driver asks that before it takes a message."""
    stage, sizes = three_messages()
    stage.playout.outgoing.confirmed(0.0)
    stage.playout.outgoing.rejected(0.1)
    stage.playout.outgoing.recall(0.2)
    assert stage.send() == sizes[0]
    assert stage.playout.outgoing.sending_due(0.2) == 0.2
    assert stage.playout.outgoing.can_take
    assert stage.send() == sizes[2]
    assert stage.sent[-1] == pcm(1.5)[-2 * sizes[2] :]


# --- answers out of order -------------------------------------------------------------------


def three_messages() -> tuple[VirtualPlayout, list[int]]:
    """An utterance of 1.5 s on its way in three messages; returns their sizes, too."""
    stage = VirtualPlayout(Pace(max_lead_secs=None, max_message_secs=0.6))
    stage.say(1.5, "hello")
    sizes = [stage.send() for _ in range(3)]
    assert sum(sizes) == stage.written
    return stage, sizes


def without_second(sizes: list[int]) -> bytes:
    return pcm(1.5)[: 2 * sizes[0]] + pcm(1.5)[-2 * sizes[2] :]


def test_a_confirmation_that_overtakes_waits_for_those_before_it():
    stage, _ = three_messages()
    stage.playout.outgoing.confirmed(0.1, overtook=2)
    stage.playout.outgoing.confirmed(0.2, overtook=1)
    assert stage.until(5.0) == [(0.0, "<hello")]
    stage.playout.outgoing.confirmed(5.0)
    assert stage.until(9.0)[0] == (5.5, "started")
    assert stage.heard == pcm(1.5)


def test_a_refusal_that_overtakes_strikes_its_own_message():
    stage, sizes = three_messages()
    assert stage.playout.outgoing.rejected(0.1, overtook=1) == sizes[1]
    stage.playout.outgoing.confirmed(0.2)
    stage.playout.outgoing.confirmed(0.3)
    stage.until(9.0)
    assert stage.heard == without_second(sizes)


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_refusal_that_overtakes_is_in_the_books_at_once(interrupted):
    """What is counted as refused must not be dropped, or said, as well."""
    stage, sizes = three_messages()
    assert stage.playout.outgoing.rejected(0.1, overtook=1) == sizes[1]
    if interrupted:
        assert stage.interrupt().dropped_samples == sizes[0] + sizes[2]
    else:
        assert stage.playout.outgoing.recall(0.1) == sizes[0] + sizes[2]
        stage.give_all()
        stage.until(9.0)
        assert stage.heard == without_second(sizes)


def test_an_answer_that_overtakes_more_than_there_are_means_nothing():
    stage, _ = three_messages()
    assert stage.playout.outgoing.confirmed(0.1, overtook=3) is None
    assert stage.playout.outgoing.rejected(0.1, overtook=3) == 0


# --- giving, just in time -------------------------------------------------------------------


def test_a_portion_is_of_one_utterance_and_of_one_kind(stage):
    stage.say(0.3, "one")
    stage.playout.open_utterance(interruptible=False)
    stage.write(0.3, interruptible=False)
    stage.write(0.3, interruptible=True)
    taken = []
    for _ in range(4):
        portion = stage.give()
        if portion is None:
            stage.until(stage.now + 1.0)
        else:
            taken.append((portion.start, portion.samples, portion.interruptible, portion.is_last))
    assert taken == [
        (0, round(0.3 * RATE), True, True),
        (round(0.3 * RATE), round(0.3 * RATE), False, False),
        (round(0.6 * RATE), round(0.3 * RATE), True, False),
    ]


def test_the_next_utterance_is_not_given_before_the_stop_of_the_one_before_is_out(stage):
    stage.say(0.5, "one")
    stage.say(0.5, "two")
    stage.give()
    assert not stage.playout.outgoing.can_take
    assert stage.playout.outgoing.at_run_end
    assert stage.give() is None
    assert [name for _, name in stage.until(0.5)] == [
        *("<one", "started", "one", "stopped", "one>", "<two"),
    ]
    assert stage.playout.outgoing.can_take
    portion = stage.give()
    assert portion is not None
    assert portion.audio == pcm(0.5, RATE // 2)


def test_a_portion_is_no_longer_than_was_asked_for_and_sounds_when_that_was_told(stage):
    stage.say(1.0, "hello")
    portion = stage.playout.outgoing.take_portion(0.0, 1000)
    assert portion is not None
    assert portion.audio == pcm(1.0)[:2000]
    assert stage.playout.outgoing.untold_samples
    stage.playout.outgoing.sounds(400, 3.0)
    assert stage.playout.outgoing.untold_samples
    stage.playout.outgoing.sounds(10_000, 3.025)  # more than was taken: padding, which is no speech
    assert not stage.playout.outgoing.untold_samples
    assert stage.until(3.0) == [(0.0, "<hello"), (3.0, "started")]
    stage.until(9.0)
    assert stage.heard == portion.audio


@pytest.mark.parametrize(
    ("is_open", "given_secs", "at_end"),
    [(True, 0.2, False), (True, 0.5, False), (False, 0.2, False), (False, 0.5, True)],
)
def test_what_was_taken_is_complete_when_its_utterance_is(stage, is_open, given_secs, at_end):
    stage.playout.open_utterance()
    stage.write(0.5)
    if not is_open:
        stage.playout.close_utterance()
    stage.give(given_secs)
    assert stage.playout.outgoing.at_run_end is at_end


def test_what_was_taken_is_complete_where_another_kind_or_a_sound_follows(stage):
    stage.playout.open_utterance()
    stage.write(0.2)
    stage.give()
    assert not stage.playout.outgoing.at_run_end
    stage.write(0.2, interruptible=False)
    assert stage.playout.outgoing.at_run_end
    stage.give()
    assert not stage.playout.outgoing.at_run_end
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    assert stage.playout.outgoing.at_run_end


def test_items_in_the_next_samples_are_taken_in_front_of_them_in_order(stage):
    stage.playout.open_utterance()
    stage.playout.hold("first")
    stage.write(0.1, origin=100.0)
    stage.playout.hold("second")
    stage.playout.hold_timed("word", 100.0)
    stage.write(0.1)
    stage.playout.hold("third")
    stage.playout.close_utterance()
    stage.playout.hold("stop", ends_speech=True)
    stage.playout.hold("behind")

    def before(secs: float) -> list[str]:
        return [release.item for release in stage.playout.outgoing.take_before(round(secs * RATE))]

    assert before(0.0) == []
    assert before(0.1) == ["first"]
    assert before(0.11) == ["second"]
    stage.give(0.1)
    stage.until(0.0)  # it begins
    assert before(0.1) == []
    assert before(9.0) == ["third"], "what ends speech stays, and what stands behind it"


def test_the_word_of_speech_of_milliseconds_is_taken_in_front_of_the_speech_behind_it(stage):
    """Else the next would begin before the word, which comes with its sound."""
    stage.playout.open_utterance()
    stage.write(0.1, origin=100.0)
    stage.playout.hold_timed("word", 100.0)
    stage.playout.hold("in it")
    stage.playout.open_utterance()
    stage.write(0.01, origin=101.0)
    stage.playout.hold_timed("crumb", 101.0)
    stage.playout.hold_timed("its end", 101.0)
    stage.playout.close_utterance()
    stage.playout.hold("<next")
    stage.playout.open_utterance()
    stage.write(0.5, origin=102.0)
    stage.playout.hold_timed("next", 102.0)

    def before(secs: float) -> list[str]:
        return [release.item for release in stage.playout.outgoing.take_before(round(secs * RATE))]

    assert before(0.04) == []
    stage.give(0.04)
    assert stage.until(0.0) == [(0.0, "started"), (0.0, "word")]
    assert before(0.065) == ["in it"]
    stage.give(0.06)
    assert before(0.04) == ["crumb", "its end", "<next"]


def test_a_sound_is_taken_when_what_comes_before_it_was_given_whole(stage):
    stage.playout.open_utterance()
    stage.write(0.1)
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    stage.playout.hold("behind")
    stage.write(0.1)
    assert stage.playout.outgoing.take_before(RATE) == []
    portion = stage.give()
    assert portion is not None
    assert portion.audio == pcm(0.1)
    assert stage.give() is None
    stage.until(0.0)  # it begins
    assert [release.item for release in stage.playout.outgoing.take_before(RATE)] == ["sound"]
    assert stage.give() is not None
    assert stage.until(1.0)[-1][1] == "behind"


def test_an_avatar_too_is_sent_nothing_behind_a_sound_that_is_not_out(stage):
    stage.playout.open_utterance()
    stage.write(0.1)
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    stage.write(0.1)
    assert stage.send() == RATE // 10
    assert stage.send() == 0
    assert stage.playout.outgoing.sending_due(stage.now) is None
    stage.playout.outgoing.confirmed(0.0)
    assert stage.until(0.6)[-1] == (0.6, "sound")
    stage.playout.close_utterance()
    assert stage.send() == RATE // 10


# --- nobody ---------------------------------------------------------------------------------


def test_what_nobody_says_is_gone_at_once_and_starts_and_stops_in_silence(stage):
    stage.say(1.0, "one")
    stage.say(0.5, "two")
    assert stage.playout.outgoing.can_drop
    assert stage.playout.outgoing.drop_backlog(0.0) == round(1.5 * RATE)
    assert not stage.playout.outgoing.can_drop
    assert stage.until(0.0) == [
        (0.0, "<one"),
        *((0.0, name) for name in ("one (unheard)", "started in silence", "stopped")),
        (0.0, "one> (unheard)"),
        (0.0, "<two (unheard)"),
        *((0.0, name) for name in ("two (unheard)", "started in silence", "stopped")),
        (0.0, "two> (unheard)"),
    ]
    assert stage.playout.finished(0.0)
    assert stage.heard == b""


def test_the_rest_of_half_heard_speech_that_nobody_says_ends_it(stage):
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.0)
    for number in range(4):
        stage.playout.hold_timed(f"word {number}", 100.0 + number / 4)
    stage.playout.hold("sentence")
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    stage.until(LATENCY + 0.4)
    stage.playout.outgoing.recall(stage.now)
    assert stage.playout.outgoing.drop_backlog(stage.now) == round(0.6 * RATE)
    assert [name for _, name in stage.until(stage.now)] == [
        *("word 2 (unheard)", "word 3 (unheard)", "sentence", "stopped", "end"),
    ]


def test_what_stands_behind_a_sound_is_dropped_when_that_is_out(stage):
    stage.say(0.5, "one")
    stage.playout.hold("sound", bar=Bar.ALWAYS)
    stage.say(0.5, "two")
    assert stage.playout.outgoing.drop_backlog(0.0) == RATE // 2
    assert not stage.playout.outgoing.can_drop
    assert [name for _, name in stage.until(0.0)][-2:] == ["sound (unheard)", "<two (unheard)"]
    assert stage.playout.outgoing.drop_backlog(0.0) == RATE // 2


# --- moments --------------------------------------------------------------------------------


def test_an_item_for_a_moment_waits_for_no_sound(stage):
    stage.playout.hold_until("late", 2.0)
    stage.playout.hold_until("early", 1.0)
    stage.say(3.0, "hello")
    assert stage.until(1.5) == [(0.0, "<hello"), (1.0, "early")]
    stage.send_all()
    assert sorted(stage.until(2.5)) == [(2.0, "late"), (2.0, "started")]


def test_an_interruption_drops_items_for_a_moment_that_it_may_drop(stage):
    stage.playout.hold_until("lost", 1.0)
    stage.playout.hold_until("kept", 1.0, interruptible=False)
    assert stage.playout.held_items == 2
    stage.interrupt()
    assert stage.until(2.0) == [(1.0, "kept")]


def test_what_is_no_word_waits_beyond_the_end_of_the_speech_until_its_timestamp(stage):
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.playout.hold_timed("inside", 100.25, follows_sound=False)
    stage.playout.hold_timed("word", 102.0)
    stage.playout.hold_timed("beyond", 102.0, follows_sound=False)
    stage.playout.close_utterance()
    stage.playout.hold("stop", ends_speech=True)
    stage.playout.hold_timed("too late", 101.0, follows_sound=False)
    stage.send_all()
    assert stage.until(9.0) == [
        (0.5, "started"),
        (0.75, "inside"),
        (1.0, "word"),
        (1.0, "stopped"),
        (1.0, "stop"),
        (1.5, "too late"),
        (2.5, "beyond"),
    ]


def test_the_beginning_and_the_end_of_speech_are_told_from_what_is_between(stage):
    """The frames that say so overtake others, which must be through before."""
    stage.say(0.5, "one")
    stage.send_all()
    assert stage.until(0.4) == [(0.0, "<one")]
    start = stage.playout.next_cue()
    assert (start.at, start.is_sign) == (0.5, True)
    assert stage.until(0.6) == [(0.5, "started")]
    stage.until(0.99)
    word = stage.playout.next_cue()
    assert (word.at, word.is_sign, word.take()) == (1.0, False, Release("one"))
    assert stage.playout.next_cue().is_sign
    assert stage.playout.speaking
    assert stage.until(1.1) == [(1.0, "stopped"), (1.0, "one>")]


# --- handing over ---------------------------------------------------------------------------


def test_what_nobody_heard_is_handed_over_with_the_items_in_their_places(stage):
    stage.playout.open_utterance()
    stage.write(1.0)
    stage.playout.hold("a")
    stage.write(1.0)
    stage.playout.hold("b")
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    stage.until(0.75)
    assert stage.playout.end_speech()
    assert stage.playout.hand_over(0.75) == [
        Speech(pcm(0.75, RATE // 4), interruptible=True),
        Held("a"),
        Speech(pcm(1.0, RATE), interruptible=True),
        Held("b"),
        Held("end"),
    ]
    assert stage.playout.finished(0.75)
    assert not stage.playout.end_speech()
    assert stage.until(60.0) == []


def test_what_is_under_way_and_what_is_unsent_is_handed_over_in_the_middle_of_a_message():
    stage = VirtualPlayout(Pace(max_message_secs=0.5))
    stage.say(2.0, "hello")
    stage.send()
    stage.playout.outgoing.confirmed(0.0)
    stage.send()
    stage.until(0.6)
    assert speech_of(stage.playout.hand_over(0.6)) == pcm(1.9, 1600)
    stage.playout.outgoing.confirmed(0.7)  # the old connection's answer
    assert stage.playout.finished(9.0)


def test_speech_is_handed_over_as_uninterruptible_as_it_was_written(stage):
    stage.say(0.5, "one")
    stage.say(0.5, "two", interruptible=False)
    stage.playout.hold("mark")
    stage.write(0.5, interruptible=False)
    stage.write(0.5)
    stage.send_all()
    speech = [part for part in stage.playout.hand_over(0.5) if isinstance(part, Speech)]
    assert [(part.samples, part.interruptible) for part in speech] == [
        (RATE // 2, True),
        (RATE // 2, False),
        (RATE // 2, False),
        (RATE // 2, True),
    ]


def test_items_with_a_moment_of_their_own_are_handed_over_too(stage):
    stage.playout.hold_until("alone", 9.0)
    stage.say(0.5, "one")
    stage.send_all()
    rest = stage.playout.hand_over(0.0)
    assert sorted(part.item for part in rest if isinstance(part, Held)) == [
        "<one",
        "alone",
        "one",
        "one>",
    ]


def test_speech_after_everything_was_handed_over_is_on_the_clock(stage):
    stage.say(1.0, "one")
    stage.send_all()
    stage.until(0.75)
    stage.playout.end_speech()
    stage.playout.hand_over(0.75)
    stage.now = 2.0
    stage.say(1.0, "two")
    stage.send_all()
    assert [cue for cue in stage.until(9.0) if cue[1] == "started"] == [(2.5, "started")]


# --- the end --------------------------------------------------------------------------------


def test_remaining_time_covers_what_is_scheduled_under_way_and_unsent():
    stage = VirtualPlayout(Pace(max_message_secs=1.0), confirm_secs=0.2)
    assert stage.playout.remaining_secs(0.0) == 0.0
    stage.say(3.0, "hello")
    assert stage.playout.remaining_secs(0.0) == pytest.approx(0.2 + LATENCY + 3.0)
    stage.send()
    stage.playout.outgoing.confirmed(0.1)
    assert stage.playout.remaining_secs(0.2) == pytest.approx(1.4 + 2.0)
    stage.now = 0.2
    stage.send_all()
    assert stage.playout.remaining_secs(0.2) == pytest.approx(3.4)
    assert stage.playout.remaining_secs(9.0) == 0.0


def test_it_is_finished_when_all_was_heard_and_every_item_released(stage):
    assert stage.playout.finished(0.0)
    stage.say(1.0, "hello")
    assert not stage.playout.finished(0.0)
    stage.send_all()
    stage.until(1.499)
    assert not stage.playout.finished(stage.now)
    stage.now = 1.5
    assert not stage.playout.finished(1.5)  # heard, but the items are still held
    stage.until(1.5)
    assert stage.playout.finished(1.5)


def test_heard_audio_is_forgotten_and_handed_out_once(stage):
    stage.say(1.0, "hello")
    stage.send_all()
    assert stage.playout.take_heard(0.5) == b""
    assert stage.playout.take_heard(0.75) == pcm(0.25)
    assert stage.playout.take_heard(0.75) == b""
    assert stage.playout.take_heard(1.0) == pcm(0.25, RATE // 4)
    assert stage.playout.unheard_secs(1.0) == 0.5


def test_what_was_heard_has_its_place_and_what_was_refused_none(stage):
    stage.playout.open_utterance()
    for secs, answer in ((0.25, "confirmed"), (0.5, "rejected"), (0.75, "confirmed")):
        stage.write(secs)
        stage.send()
        getattr(stage.playout.outgoing, answer)(0.0)
    now = LATENCY + 0.5
    pieces = list(stage.playout.heard_pieces(now))
    assert [piece.start for piece in pieces] == [0, RATE * 3 // 4]
    assert [piece.audio for piece in pieces] == [pcm(0.25), pcm(0.25, RATE * 3 // 4)]
    assert stage.playout.heard(now) == RATE
    assert stage.playout.take_heard(now) == b"".join(piece.audio for piece in pieces)
    assert list(stage.playout.heard_pieces(now)) == []
    assert pieces[0].cut(RATE // 4) == (pieces[0], None)
    before, behind = pieces[1].cut(RATE - 100)
    assert behind is not None
    assert (before.start, behind.start) == (RATE * 3 // 4, RATE - 100)
    assert before.audio + behind.audio == pieces[1].audio


def test_timestamps_behind_speech_that_was_heard_before_it_ended_mean_no_positions(stage):
    """Its stop comes when all of it was heard: what comes then is of speech to come."""
    stage.playout.open_utterance()
    stage.write(0.5, origin=100.0)
    stage.send_all()
    stage.until(0.9)
    assert stage.playout.has_timeline(0.9)
    stage.now = 1.5
    assert stage.playout.has_timeline(1.5), "more of it may come"
    stage.playout.close_utterance()
    assert not stage.playout.has_timeline(1.5)
    assert stage.playout.has_timeline(0.9)
