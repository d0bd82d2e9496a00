"""How much is sent when, behaviour by behaviour. Time is handed in."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable

import pytest

from pipecat_agenthuman.playout.pacing import (
    LEAST_RESERVE_SECS,
    LONGEST_JITTER_SECS,
    MIN_MESSAGE_SECS,
    SLACK_SECS,
    Pace,
    Reserve,
    distinct_size,
)
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.virtual_playout import VirtualPlayout, driver_due, pcm


def test_audio_in_a_burst_never_waits():
    stage = VirtualPlayout(Pace(), confirm_secs=0.3)
    stage.playout.open_utterance()
    stage.write(0.5)
    assert stage.send() == RATE // 2


def test_a_first_message_holds_what_a_confirmation_takes_and_one_frame_more():
    stage = VirtualPlayout(Pace(), confirm_secs=0.2)
    stage.playout.open_utterance()
    frames = 0
    while not stage.send():
        stage.now = frames * 0.02
        stage.write(0.02)
        frames += 1
    assert 0.2 + 0.02 <= len(stage.sent[0]) / 2 / RATE <= 0.2 + 0.02 + 0.04


@pytest.mark.parametrize(("confirm_secs", "least", "most"), [(0.0, 0.04, 0.06), (2.0, 0.5, 0.5)])
def test_a_first_message_has_limits(confirm_secs, least, most):
    stage = VirtualPlayout(Pace(), confirm_secs=confirm_secs)
    stage.playout.open_utterance()
    while not stage.send():
        stage.now += 0.02
        stage.write(0.02)
    assert least <= len(stage.sent[0]) / 2 / RATE <= most


def test_a_first_message_waits_no_longer_than_it_would_take_to_fill_it():
    stage = VirtualPlayout(Pace(), confirm_secs=0.2)
    stage.playout.open_utterance()
    stage.write(0.02)
    assert stage.send() == 0
    due = driver_due(stage.playout, 0.0)
    assert due is not None
    assert due <= 0.4
    stage.now = due
    assert stage.send() == 320


def test_the_reserve_of_a_first_message_follows_what_was_late():
    reserve = Reserve()
    assert reserve.secs == SLACK_SECS
    reserve.begin(0.02)
    for early_secs in (0.05, -0.03, 0.01):
        reserve.note(early_secs)
    reserve.begin(0.062)
    assert reserve.secs == pytest.approx(0.02 + 0.03 + LEAST_RESERVE_SECS)
    reserve.note(0.04)
    reserve.begin(0.05)
    assert reserve.secs == pytest.approx((0.062 + 0.022 + LEAST_RESERVE_SECS) / 2), "not at once"


def test_a_reserve_has_bounds_and_is_not_made_for_a_stall():
    reserve = Reserve()
    for _ in range(20):
        reserve.begin(0.02)
        reserve.note(3.0)
    assert reserve.secs == pytest.approx(LEAST_RESERVE_SECS, rel=0.01)
    reserve.note(-0.5)
    reserve.begin(0.02)
    assert reserve.secs < SLACK_SECS
    reserve.note(-0.09)
    reserve.begin(0.5)
    reserve.note(-0.09)
    reserve.begin(0.02)
    assert reserve.secs == LONGEST_JITTER_SECS


@pytest.mark.parametrize("confirm_secs", [0.05, 0.4])
def test_a_tts_service_that_is_not_punctual_tears_gaps_in_the_first_utterances_only(confirm_secs):
    chance = random.Random(7)
    stage = VirtualPlayout(Pace(), confirm_secs=confirm_secs)
    for _ in range(6):
        speak_at(
            1.0,
            2.0,
            confirm_secs=confirm_secs,
            late_secs=lambda: chance.uniform(0, 0.04),
            stage=stage,
        )
    moments = [at for at, cue in stage.cues if cue in ("started", "stopped")]
    spans = [last - first for first, last in zip(moments[::2], moments[1::2], strict=True)]
    assert spans[2:] == [pytest.approx(2.0, abs=0.001)] * 4


def test_a_first_message_of_a_punctual_tts_service_holds_little_more_than_the_round_trip():
    stage = VirtualPlayout(Pace(), confirm_secs=0.15)
    for _ in range(6):
        speak_at(1.0, 2.0, confirm_secs=0.15, stage=stage)
    stage.playout.open_utterance()
    frames = 0
    while not stage.send():
        stage.now += 0.02
        stage.write(0.02)
        frames += 1
    assert (frames - 1) * 0.02 <= 0.15 + 0.03, "from the first frame on"


def test_the_end_of_an_utterance_flushes_what_there_is():
    stage = VirtualPlayout(Pace(), confirm_secs=0.3)
    stage.playout.open_utterance()
    stage.write(0.02)
    assert stage.send() == 0
    stage.playout.close_utterance()
    assert stage.send() == 320


def test_large_pieces_do_not_wait_for_the_next_one():
    stage = VirtualPlayout(Pace(), confirm_secs=0.05)
    stage.playout.open_utterance()
    stage.write(0.3)
    due = driver_due(stage.playout, 0.0)
    assert due is not None
    assert due < 0.1


def test_audio_that_comes_too_late_to_be_seamless_is_a_first_message_again():
    """The queue still sounds for less than the latency: a gap is certain, a second is not."""
    stage = VirtualPlayout(Pace(), confirm_secs=0.3)
    stage.playout.open_utterance()
    stage.write(1.0)
    stage.send_all()
    stage.until(1.2)
    stage.write(0.02)
    assert stage.send() == 0


def test_the_end_of_one_utterance_does_not_hurry_the_next():
    stage = VirtualPlayout(Pace(), confirm_secs=0.3)
    stage.say(1.0, "one")
    stage.send_all()
    stage.until(1.2)
    stage.playout.open_utterance()
    stage.write(0.02)
    assert stage.send() == 0


def test_audio_joins_the_queue_at_once_when_little_is_in_reserve():
    stage = VirtualPlayout(Pace(), confirm_secs=0.3)
    stage.playout.open_utterance()
    stage.write(1.0)
    stage.send_all()
    stage.until(0.67)
    stage.write(0.02)
    assert stage.send() == 320


def test_audio_waits_for_more_while_the_server_has_more_in_reserve():
    stage = VirtualPlayout(Pace(), confirm_secs=0.1)
    stage.playout.open_utterance()
    stage.write(0.6)
    stage.send_all()
    stage.write(0.1)
    assert stage.send() == 0
    # The 0.6 s last until 1.1; what is sent 0.5 + 0.1 + 0.02 s before that is in time.
    assert driver_due(stage.playout, stage.now) == pytest.approx(0.48 - 0.1)
    stage.until(0.2)
    stage.write(0.1)
    stage.until(0.25)
    assert stage.send() == 0
    stage.until(0.281)
    assert stage.send() == 3200


def test_much_audio_waits_for_no_more_and_the_end_of_an_utterance_for_nothing():
    stage = VirtualPlayout(Pace(max_lead_secs=None), confirm_secs=0.1)
    stage.playout.open_utterance()
    stage.write(0.9)
    stage.send_all()
    stage.write(0.95)
    stage.send_all()
    stage.write(0.49)
    assert stage.send() == 0
    stage.write(0.02)
    assert stage.send() == round(0.51 * RATE)
    stage.playout.outgoing.confirmed(stage.now)
    stage.write(0.1)
    assert stage.send() == 0
    stage.playout.close_utterance()
    assert stage.send() == round(0.1 * RATE)


def test_audio_that_arrives_while_a_message_is_in_flight_travels_together():
    stage = VirtualPlayout(Pace(), confirm_secs=0.1)
    stage.playout.open_utterance()
    for _ in range(8):
        stage.write(0.02)
    assert stage.send() == 2560
    for _ in range(5):
        stage.write(0.02)
    stage.playout.outgoing.confirmed(0.1)
    stage.until(0.1)
    assert stage.send() == 1600


def speak_at(
    speed: float,
    secs: float,
    *,
    confirm_secs: float,
    late_secs: Callable[[], float] = lambda: 0.0,
    stage: VirtualPlayout | None = None,
) -> VirtualPlayout:
    """An utterance whose audio comes at a multiple of real time, over a network.

    Args:
        speed: The multiple.
        secs: How long it is.
        confirm_secs: What a confirmation takes.
        late_secs: How much later than it should a piece comes.
        stage: Where others were said before it.
    """
    stage = stage or VirtualPlayout(Pace(), confirm_secs=confirm_secs)
    begun = stage.now
    stage.playout.open_utterance()
    pieces = round(secs / 0.02)
    arrivals = sorted((begun + n * 0.02 / speed + late_secs(), n) for n in range(pieces))
    confirmed_at = math.inf
    while not stage.playout.finished(stage.now) or arrivals:
        sending = None if confirmed_at < math.inf else stage.playout.outgoing.sending_due(stage.now)
        times = [confirmed_at, arrivals[0][0] if arrivals else math.inf, sending or math.inf]
        stage.until(min(max(min(times), stage.now), stage.now + 5.0))
        if stage.now >= confirmed_at:
            stage.playout.outgoing.confirmed(stage.now)
            confirmed_at = math.inf
        while arrivals and arrivals[0][0] <= stage.now:
            arrivals.pop(0)
            stage.write(0.02)
            if not arrivals:
                stage.playout.close_utterance()
                stage.playout.hold("end", ends_speech=True)
        if confirmed_at == math.inf and stage.send():
            confirmed_at = stage.now + confirm_secs
    stage.until(stage.now + 1.0)
    return stage


@pytest.mark.parametrize("confirm_secs", [0.005, 0.05, 0.3])
def test_audio_that_comes_faster_than_speech_goes_in_few_messages_without_a_gap(confirm_secs):
    stage = speak_at(3.0, 30.0, confirm_secs=confirm_secs)
    assert len(stage.sent) <= 30.0 / 60 * 160
    assert [cue for _, cue in stage.cues if cue != "tick"] == ["started", "stopped", "end"]
    started, stopped = (at for at, cue in stage.cues if cue in ("started", "stopped"))
    assert stopped - started == pytest.approx(30.0, abs=0.001)


def test_a_confirmation_says_since_when_the_utterance_that_begins_in_it_had_audio():
    stage = VirtualPlayout(Pace(max_message_secs=0.6))
    begun = []
    for at, secs in ((5.0, 1.0), (7.0, 0.3)):
        stage.now = at
        stage.say(secs, "speech")
        stage.now += 0.5
        while stage.playout.outgoing.take_message(stage.now) is not None:
            begun.append(stage.playout.outgoing.confirmed(stage.now))
    assert begun == [5.0, None, 7.0]


def test_the_lead_is_bounded_and_refilled_in_time():
    stage = VirtualPlayout(Pace(max_lead_secs=3.0, max_message_secs=1.0))
    stage.say(30.0, "long")
    stage.send_all()
    assert 3 * RATE - 10 <= stage.sent_samples <= 3 * RATE
    due = driver_due(stage.playout, 0.0)
    assert due is not None
    while not stage.playout.finished(stage.now):
        due = driver_due(stage.playout, stage.now)
        assert due is not None
        stage.until(max(due, stage.now))
        stage.send_all()
        assert stage.sent_samples - len(stage.heard) // 2 <= 3 * RATE
    stage.until(60.0)
    assert stage.cues[-1] == (30.5, "long>")  # without a gap
    assert len(stage.sent) < 130


def test_a_lead_that_is_too_small_for_the_latency_is_raised():
    pace = Pace(max_lead_secs=0.2, avatar_latency_secs=2.0)
    assert pace.lead_limit_secs(0.3) > 2.3
    assert Pace(max_lead_secs=None).lead_limit_secs(0.3) == math.inf


def test_rejected_audio_that_fills_the_lead_does_not_stop_the_sending():
    stage = VirtualPlayout(Pace(max_lead_secs=1.0))
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.send_all()
    stage.write(0.5)
    refused = stage.send()
    assert stage.playout.outgoing.rejected(stage.now) == refused
    stage.until(0.5)
    # Half a second sounds, half a second was refused: the lead is used up, and runs out.
    stage.write(0.5)
    assert stage.send() >= RATE // 4


def test_a_new_pace_counts_from_the_next_utterance_on():
    stage = VirtualPlayout(Pace(max_message_secs=0.25, max_lead_secs=None))
    stage.playout.open_utterance()
    stage.write(0.5)
    stage.playout.pace = Pace(avatar_latency_secs=1.0, max_message_secs=2.0, max_lead_secs=None)
    stage.write(0.5)
    stage.playout.close_utterance()
    stage.playout.hold("one", ends_speech=True)
    stage.playout.open_utterance()
    stage.write(1.5)
    stage.playout.close_utterance()
    stage.playout.hold("two", ends_speech=True)
    sizes = []
    while samples := stage.send():
        sizes.append(samples)
        stage.playout.outgoing.confirmed(stage.now)
        if sum(sizes) == RATE:
            stage.until(9.0)
    assert max(sizes[:-1]) == RATE // 4
    assert sizes[-1] == RATE * 3 // 2
    stage.until(20.0)
    assert [time for time, name in stage.cues if name == "started"] == [0.5, 10.0]


def speak_in_real_time(stage: VirtualPlayout, pieces: int) -> list[int]:
    """An open utterance in equal pieces, each confirmed at once; returns the sizes sent."""
    sizes = []
    stage.playout.open_utterance()
    for number in range(pieces):
        stage.until(number * 0.04)
        stage.write(0.04)
        while size := stage.send():
            sizes.append(size)
            stage.playout.outgoing.confirmed(stage.now)
    return sizes


def test_speech_in_real_time_goes_in_no_crumbs():
    stage = VirtualPlayout()
    sizes = speak_in_real_time(stage, 100)
    assert all(one != other for one, other in itertools.pairwise(sizes))
    assert min(sizes) > round(0.03 * RATE)
    stage.playout.close_utterance()
    stage.send_all()
    assert stage.sent_samples == stage.written


def test_a_crumb_goes_before_silence_if_the_tts_service_stalls():
    stage = VirtualPlayout(Pace(), confirm_secs=0.03)
    pieces = 3
    while sum(speak_in_real_time(stage, pieces)) == stage.written:
        stage, pieces = VirtualPlayout(Pace(), confirm_secs=0.03), pieces + 1
    goes_at = driver_due(stage.playout, stage.now)
    assert goes_at > stage.now
    stage.until(goes_at)
    crumb = stage.send()
    assert 0 < crumb < round(MIN_MESSAGE_SECS * RATE)
    assert stage.sent_samples == stage.written
    stage.until(goes_at + 0.03)
    stage.playout.outgoing.confirmed(stage.now)
    stage.playout.close_utterance()
    stage.playout.hold("end", ends_speech=True)
    stage.until(9.0)
    started = next(at for at, cue in stage.cues if cue == "started")
    assert (started + stage.written / RATE, "stopped") in [
        (pytest.approx(at), cue) for at, cue in stage.cues
    ], "there is no gap before it"


def test_a_message_that_is_full_leaves_no_crumb():
    stage = VirtualPlayout(Pace(max_message_secs=0.5, max_lead_secs=None))
    stage.say(0.501, "hello")
    sizes = []
    while size := stage.send():
        sizes.append(size)
        stage.playout.outgoing.confirmed(stage.now)
    assert sizes == [round(0.491 * RATE), round(0.01 * RATE)]


def test_a_message_avoids_sizes_and_loses_nothing():
    stage = VirtualPlayout()
    stage.say(1.0, "hello")
    sizes = [stage.send(avoid={RATE, RATE - 1})]
    stage.playout.outgoing.confirmed(0.0)
    sizes.append(stage.send(avoid=set(sizes)))
    least = round(MIN_MESSAGE_SECS * RATE)
    assert sizes == [RATE - least, least]
    assert b"".join(stage.sent) == pcm(1.0)


def test_what_is_heard_counts_unless_the_latency_is_fixed():
    assert Pace(measures_latency=True).measured(1.1).avatar_latency_secs == 1.1
    assert Pace(avatar_latency_secs=0.3).measured(1.1).avatar_latency_secs == 0.3


def test_what_the_device_adds_is_waited_for_like_the_avatar():
    pace = Pace(max_lead_secs=0.2, avatar_latency_secs=1.5, listener_delay_secs=0.5)
    assert pace.latency_secs == 2.0
    slower = Pace(max_lead_secs=0.2, avatar_latency_secs=2.0)
    assert pace.lead_limit_secs(0.1) == slower.lead_limit_secs(0.1)


@pytest.mark.parametrize("is_rest", [True, False])
def test_a_distinct_size_is_the_largest_that_is_free(is_rest):
    assert distinct_size(100, {99, 98}, is_rest=is_rest) == 100
    assert distinct_size(100, {100, 99}, is_rest=is_rest) == 98
    assert distinct_size(100, {100, 1}, is_rest=is_rest) == (98 if is_rest else 99)
    assert distinct_size(2, {2}, is_rest=is_rest) == (2 if is_rest else 1)
    assert distinct_size(1, {1}, is_rest=is_rest) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        {"avatar_latency_secs": -0.1},
        {"avatar_latency_secs": math.nan},
        {"avatar_latency_secs": None},
        {"listener_delay_secs": -0.1},
        {"listener_delay_secs": 31.0},
        {"max_lead_secs": math.inf},
        {"max_lead_secs": "3"},
        {"min_first_message_secs": True},
        {"min_first_message_secs": 0.6},
        {"max_message_secs": 0.01},
        {"max_message_secs": 121.0},
    ],
)
def test_an_impossible_pace_is_refused_by_name(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Pace(**wrong)
