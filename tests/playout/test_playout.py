"""The playout, behaviour by behaviour. Time is handed in."""

from __future__ import annotations

import pytest

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.results import Held, Interruption, Speech
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.virtual_playout import LATENCY, VirtualPlayout, pcm, unheard

# --- the model ------------------------------------------------------------------------------


def test_a_confirmed_message_sounds_after_the_latency_and_lasts_as_long_as_its_samples(stage):
    stage.say(1.0, "hello")
    stage.send()
    stage.now = 0.2
    stage.playout.confirmed(0.1)
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


def test_a_clock_that_starts_anywhere_counts_the_same():
    schedule = PlayoutClock()
    schedule.confirm(16_000, 1_700_000_000.123)
    for position in (1, 3, 7_777, 15_999, 16_000):
        assert schedule.heard(schedule.end_time(position)) == position


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
            assert stage.playout.rejected(stage.now) == round(secs * RATE)
        else:
            stage.playout.confirmed(stage.now)
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


def test_an_utterance_that_is_rejected_as_a_whole_starts_and_stops_in_silence(stage):
    """Paused TTS services, idle timers and more wait for the stop of what was to be said."""
    stage.say(0.5, "bad")
    stage.send()
    stage.playout.rejected(0.1)
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
    stage.playout.confirmed(0.0)
    assert first == RATE
    stage.playout.open_utterance()
    stage.write(0.5, origin=20.0)
    stage.playout.hold_timed("late", 20.25)
    stage.playout.hold("both")
    stage.send()
    stage.playout.rejected(0.1)
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


def test_an_utterance_is_heard_if_a_part_of_it_was(stage):
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send()
    stage.write(0.5)
    stage.playout.hold("text")
    stage.playout.close_utterance()
    stage.playout.confirmed(0.0)
    stage.send()
    stage.playout.rejected(0.1)
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
    stage.playout.rejected(20.0)
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
    assert stage.playout.rejected(stage.now) == RATE // 2
    stage.say(0.5, "unsent")
    assert stage.interrupt().dropped_samples == RATE
    assert stage.send() == 0


def test_rejected_audio_is_not_handed_over(stage):
    stage.say(0.5, "good")
    stage.send_all()
    stage.say(0.5, "bad")
    stage.send()
    stage.playout.rejected(stage.now)
    stage.say(0.5, "unsent")
    surrender = stage.playout.surrender(stage.now)
    assert unheard(surrender) == pcm(0.5) + pcm(0.5, RATE)
    assert surrender.sent_samples == RATE // 2


def test_an_answer_to_nothing_changes_nothing(stage):
    stage.playout.confirmed(0.0)
    assert stage.playout.rejected(0.0) == 0
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
    stage.playout.confirmed(0.3)  # should it be reported all the same
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
    stage.playout.confirmed(0.2)
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
    stage.playout.confirmed(1.0)
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
    stage.playout.confirmed(1.0)
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
    stage.playout.confirmed(0.0)
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


# --- surrender ------------------------------------------------------------------------------


def test_surrender_hands_over_what_nobody_heard_with_the_items_in_their_places(stage):
    stage.playout.open_utterance()
    stage.write(1.0)
    stage.playout.hold("a")
    stage.write(1.0)
    stage.playout.hold("b")
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.send_all()
    stage.until(0.75)
    rest = stage.playout.surrender(0.75).rest
    assert rest == [
        Speech(pcm(0.75, RATE // 4), interruptible=True),
        Held("a"),
        Speech(pcm(1.0, RATE), interruptible=True),
        Held("b"),
        Held("end"),
    ]
    assert stage.playout.finished(0.75)
    assert not stage.playout.speaking
    assert stage.until(60.0) == []


def test_surrender_in_the_middle_of_a_message_keeps_what_is_under_way_and_unsent():
    stage = VirtualPlayout(Pace(max_message_secs=0.5))
    stage.say(2.0, "hello")
    stage.send()
    stage.playout.confirmed(0.0)
    stage.send()
    stage.until(0.6)
    surrender = stage.playout.surrender(0.6)
    assert unheard(surrender) == pcm(1.9, 1600)
    assert surrender.sent_samples == stage.sent_samples - 1600
    stage.playout.confirmed(0.7)  # the old connection's answer
    assert stage.playout.finished(9.0)


def test_surrender_tells_what_was_heard_since_that_was_asked_last(stage):
    stage.say(1.0, "one")
    stage.send_all()
    stage.until(0.75)
    surrender = stage.playout.surrender(1.25)
    assert bytes(stage.heard) + surrender.heard == pcm(0.75)
    assert unheard(surrender) == pcm(0.25, round(0.75 * RATE))
    assert surrender.was_speaking


def test_surrendered_speech_is_as_uninterruptible_as_it_was_written(stage):
    stage.say(0.5, "one")
    stage.say(0.5, "two", interruptible=False)
    stage.playout.hold("mark")
    stage.write(0.5, interruptible=False)
    stage.write(0.5)
    stage.send_all()
    speech = [part for part in stage.playout.surrender(0.5).rest if isinstance(part, Speech)]
    assert [(part.samples, part.interruptible) for part in speech] == [
        (RATE // 2, True),
        (RATE // 2, False),
        (RATE // 2, False),
        (RATE // 2, True),
    ]


def test_speech_after_a_surrender_is_on_the_clock(stage):
    stage.say(1.0, "one")
    stage.send_all()
    stage.until(0.75)
    stage.playout.surrender(0.75)
    stage.now = 2.0
    stage.say(1.0, "two")
    stage.send_all()
    assert [cue for cue in stage.until(9.0) if cue[1] == "started"] == [(2.5, "started")]


def test_the_rest_of_an_open_utterance_can_be_timed_elsewhere(stage):
    stage.playout.open_utterance()
    stage.write(1.0, origin=100.0)
    stage.send_all()
    stage.until(0.75)
    # A quarter of a second was heard; played on at 103.0, the word at 100.25 sounds at once.
    assert stage.playout.timestamp_shift_secs(0.75, 103.0) == pytest.approx(2.75)


# --- the end --------------------------------------------------------------------------------


def test_remaining_time_covers_what_is_scheduled_under_way_and_unsent():
    stage = VirtualPlayout(Pace(max_message_secs=1.0), confirm_secs=0.2)
    assert stage.playout.remaining_secs(0.0) == 0.0
    stage.say(3.0, "hello")
    assert stage.playout.remaining_secs(0.0) == pytest.approx(0.2 + LATENCY + 3.0)
    stage.send()
    stage.playout.confirmed(0.1)
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
