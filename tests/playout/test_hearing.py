"""What was to sound beside what is heard: when it is listened to, and what that tells."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from pipecat_agenthuman.playout.cues import Started
from pipecat_agenthuman.playout.hearing import (
    RARELY,
    STOP_HEARD_SECS,
    Finding,
    Hearing,
    Obeyed,
    WentOn,
)
from pipecat_agenthuman.playout.latency import LatencySource
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.passages import STOP_SECS, Verdict
from pipecat_agenthuman.playout.playout import Playout
from tests.support.virtual_playout import next_due, poll
from tests.support.voices import EAR_RATE, RATE, Sound, noise, sayings, to_ear, to_pcm

LATENCY_SECS = 0.7
PIECE_SECS = 0.04


def part(number: int, secs: float, start: float = 0.0) -> Sound:
    """Some of what there is to say."""
    return sayings()[number][round(start * RATE) :][: round(secs * RATE)]


class Room:
    """An avatar that says what it is told, and an ear."""

    def __init__(self, *, is_open: bool = True, latency_secs: float = LATENCY_SECS) -> None:
        self.hearing = Hearing()
        self.latency_secs = latency_secs
        self.now = 10.0
        self.is_mute = False
        self.stops = True
        self.sound = np.zeros(300 * RATE, np.float32)  # in the room, from 0 s on
        self.findings: list[Finding | WentOn | Obeyed] = []
        self._ends_at = 0.0
        if is_open:
            self.hearing.open(self.now)

    def say(self, sound: Sound, *, begins: bool = True) -> None:
        """Let a message be confirmed."""
        self.hearing.confirmed(to_pcm(sound), self.now, begins=begins)
        starts_at = max(self.now + self.latency_secs, self._ends_at)
        self._ends_at = starts_at + len(sound) / RATE
        if not self.is_mute:
            first = round(starts_at * RATE)
            self.sound[first : first + len(sound)] = sound

    def interrupt(self) -> None:
        """Tell the avatar to stop; it confirms that."""
        self.hearing.cut(self.now)
        if self.stops:
            self.sound[round(self.now * RATE) :] = 0.0
            self._ends_at = 0.0
        self.listen(0.08)
        self.hearing.stopped(self.now)

    def listen(self, secs: float) -> None:
        """Let time pass."""
        for _ in range(round(secs / PIECE_SECS)):
            since, self.now = self.now, self.now + PIECE_SECS
            heard = self.sound[round(since * RATE) : round(self.now * RATE)]
            self.hearing.hear(to_ear(heard), EAR_RATE, self.now)
            while (finding := self.hearing.poll(self.now)) is not None:
                self.findings.append(finding)

    def utterance(self, number: int, secs: float = 3.0, pause_secs: float = 3.5) -> None:
        self.say(part(number, secs))
        self.listen(secs + pause_secs)

    @property
    def verdicts(self) -> list[Verdict]:
        return [one.verdict for one in self.findings if isinstance(one, Finding)]


# --- what it tells ---------------------------------------------------------------------


def test_an_utterance_that_is_heard_tells_the_latency():
    room = Room()
    began_at = room.now
    room.utterance(0)
    (finding,) = room.findings
    assert (finding.at, finding.verdict, finding.changed) == (began_at, Verdict.MEASURED, True)
    assert finding.reading.secs == pytest.approx(LATENCY_SECS, abs=0.005)
    assert finding.reading.at == began_at
    assert finding.heard_after_secs == pytest.approx(LATENCY_SECS, abs=0.15)
    latency = room.hearing.latency
    assert (latency.secs, latency.source) == (finding.reading.secs, LatencySource.HEARD)
    assert 0.9 < latency.quality <= 1.0


@pytest.mark.parametrize("latency_secs", [0.0, 0.03, 2.4])
def test_the_quickest_and_the_slowest_avatar_are_measured(latency_secs):
    room = Room(latency_secs=latency_secs)
    room.utterance(1)
    assert room.hearing.latency.secs == pytest.approx(latency_secs, abs=0.01)


def test_messages_that_follow_one_another_are_one_utterance():
    room = Room()
    for start in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5):
        room.say(part(0, 0.5, start), begins=start == 0.0)
        room.listen(0.4)
    room.listen(5.0)
    assert room.verdicts == [Verdict.MEASURED]
    assert room.hearing.latency.secs == pytest.approx(LATENCY_SECS, abs=0.005)


def test_short_utterances_that_follow_one_another_are_heard_together():
    room = Room()
    for number in range(3):
        room.say(part(number, 0.6))
        room.listen(1.0)
    room.listen(5.0)
    assert room.verdicts == [Verdict.MEASURED]


def test_one_that_is_too_short_tells_nothing():
    room = Room()
    room.utterance(0, secs=0.5)
    assert room.verdicts == [Verdict.UNJUDGED]
    assert room.hearing.latency.source is LatencySource.ASSUMED


def test_something_else_that_is_heard_tells_only_when():
    room = Room()
    room.is_mute = True
    room.say(part(0, 3.0))
    other = part(1, 3.0)
    room.sound[round((room.now + 1.0) * RATE) :][: len(other)] = other
    room.listen(6.5)
    (finding,) = room.findings
    assert (finding.verdict, finding.reading) == (Verdict.UNSURE, None)
    assert finding.heard_after_secs == pytest.approx(1.0, abs=0.15)


def test_what_was_confirmed_and_never_heard_is_counted_in_a_row():
    room = Room()
    room.utterance(0)
    room.is_mute = True
    room.utterance(1)
    room.utterance(2)
    room.is_mute = False
    room.utterance(3)
    assert room.verdicts == [Verdict.MEASURED, *[Verdict.SILENT] * 2, Verdict.MEASURED]
    assert [finding.silent_in_a_row for finding in room.findings] == [0, 1, 2, 0]
    assert room.findings[1].heard_after_secs is None


def test_an_avatar_slower_than_is_looked_for_is_not_taken_for_a_silent_one():
    room = Room(latency_secs=5.0)
    for number in range(4):
        room.utterance(number, secs=1.5, pause_secs=6.0)
    assert Verdict.MEASURED not in room.verdicts
    assert [finding.silent_in_a_row for finding in room.findings] == [1] * 4


def test_faint_noise_is_silence_too():
    room = Room()
    room.is_mute = True
    room.sound += noise(np.random.default_rng(1), 300.0, 0.0002)
    room.utterance(0)
    assert room.verdicts == [Verdict.SILENT]


def test_silence_that_nobody_heard_is_none():
    """No piece arrives: perhaps only the ear is deaf."""
    room = Room()
    room.say(part(0, 3.0))
    room.now += 10.0
    finding = room.hearing.poll(room.now)
    assert finding is not None
    assert finding.verdict is Verdict.UNJUDGED
    assert finding.silent_in_a_row == 0


def test_speech_that_cannot_be_heard_is_not_missed():
    room = Room()
    room.say(np.zeros(3 * RATE, np.float32))
    room.listen(6.5)
    assert room.verdicts == [Verdict.UNJUDGED]


def test_an_interrupted_utterance_tells_what_was_heard_of_it():
    room = Room()
    room.say(part(0, 6.0))
    room.listen(2.6)
    room.interrupt()
    room.utterance(1)
    assert room.verdicts == [Verdict.MEASURED] * 2
    assert room.hearing.latency.secs == pytest.approx(LATENCY_SECS, abs=0.005)


def test_one_that_is_interrupted_before_it_sounds_tells_nothing_and_is_not_silent():
    room = Room()
    room.say(part(0, 6.0))
    room.listen(0.4)
    room.interrupt()
    room.listen(8.0)
    assert room.verdicts == [Verdict.UNJUDGED]


def test_speech_that_stops_when_it_is_told_to_is_told_as_obeyed():
    room = Room()
    room.utterance(0)
    room.say(part(1, 6.0))
    room.listen(2.0)
    room.interrupt()
    confirmed_at = room.now
    room.listen(8.0)
    stops = [finding for finding in room.findings if not isinstance(finding, Finding)]
    assert stops == [Obeyed(confirmed_at)]


def test_speech_that_goes_on_after_a_confirmed_interrupt_is_news():
    room = Room()
    room.utterance(0)
    room.stops = False
    room.say(part(1, 6.0))
    room.listen(2.0)
    room.interrupt()
    confirmed_at = room.now
    room.listen(8.0)
    went_on = [finding for finding in room.findings if isinstance(finding, WentOn)]
    assert went_on == [WentOn(confirmed_at)]
    assert room.hearing.next_due is None


def test_a_story_that_goes_on_is_news_long_before_it_would_be_over():
    room = Room()
    room.utterance(0)
    room.stops = False
    room.say(np.concatenate([part(number % 3, 3.0) for number in range(30)]))
    room.listen(2.0)
    room.interrupt()
    room.listen(STOP_HEARD_SECS + 2.0)
    assert any(isinstance(finding, WentOn) for finding in room.findings)
    assert room.hearing.next_due is None


def test_the_answer_behind_an_interruption_is_not_taken_for_the_speech_before_it():
    room = Room()
    room.utterance(0)
    room.say(part(1, 6.0))
    room.listen(2.0)
    room.interrupt()
    room.listen(0.4)
    room.utterance(2)
    room.listen(4.0)
    assert room.verdicts == [Verdict.MEASURED] * 3
    assert all(isinstance(finding, Finding) for finding in room.findings)  # nothing is certain


def test_speech_ends_a_moment_after_it_was_told_to():
    room = Room()
    room.utterance(0)
    room.stops = False
    room.say(part(1, 2.0 + STOP_SECS))
    room.listen(2.0)
    room.interrupt()
    room.listen(8.0)
    assert not any(isinstance(finding, WentOn) for finding in room.findings)


def test_an_interrupt_that_nobody_confirmed_was_perhaps_lost():
    room = Room()
    room.utterance(0)
    room.say(part(1, 6.0))
    room.listen(2.0)
    room.hearing.cut(room.now)
    room.listen(8.0)
    assert not any(isinstance(finding, WentOn) for finding in room.findings)


# --- when it listens -------------------------------------------------------------------


def test_an_ear_is_wanted_until_the_latency_is_settled_and_once_in_twenty_afterwards():
    room = Room(is_open=False)
    listened: list[int] = []
    for number in range(2 * RARELY + 5):
        if room.hearing.wants_ear:
            room.hearing.open(room.now)
            listened.append(number)
        else:
            room.hearing.close()
        room.utterance(number % 20, secs=2.0)
    assert listened == [0, 1, 2, RARELY + 2, 2 * RARELY + 2]
    assert room.verdicts == [Verdict.MEASURED] * 5


def test_a_reading_that_contradicts_keeps_the_ear_open():
    room = Room()
    for number in range(3):
        room.utterance(number)
    assert not room.hearing.wants_ear
    room.latency_secs = 1.4
    room.hearing.begin_anew()  # as one utterance in twenty
    room.utterance(4)
    assert room.hearing.wants_ear
    assert room.hearing.latency.secs == pytest.approx(LATENCY_SECS, abs=0.005)
    room.utterance(5)
    assert room.hearing.latency.secs == pytest.approx(1.4, abs=0.005)


def test_utterances_that_follow_soon_do_not_keep_the_ear_open():
    room = Room()
    for number in range(8):
        room.utterance(number, secs=2.0, pause_secs=1.2)
    room.listen(4.0)
    assert not room.hearing.wants_ear
    # When the third was judged, the fourth had begun.
    assert room.verdicts == [Verdict.MEASURED] * 4
    assert room.hearing._passed_by == 4


def test_an_ear_stays_open_while_something_is_to_be_judged():
    room = Room()
    for number in range(3):
        room.utterance(number)
    room.hearing.begin_anew()
    room.say(part(4, 3.0))
    room.listen(3.0)
    assert room.hearing.wants_ear
    assert room.hearing.next_due is not None
    room.listen(4.0)
    assert not room.hearing.wants_ear
    assert room.hearing.next_due is None


@pytest.mark.parametrize("is_mute", [True, False])
def test_speech_that_did_not_sound_is_listened_for_again(is_mute):
    room = Room()
    for number in range(3):
        room.utterance(number)
    room.is_mute = is_mute
    room.hearing.begin_anew()
    room.utterance(4)
    assert room.hearing.wants_ear == is_mute


def test_another_avatar_is_listened_to():
    room = Room()
    for number in range(3):
        room.utterance(number)
    room.hearing.close()
    room.hearing.begin_anew()
    assert room.hearing.wants_ear
    assert room.hearing.latency.secs == pytest.approx(LATENCY_SECS, abs=0.005)
    room.hearing.open(room.now)
    room.utterance(4)
    assert not room.hearing.wants_ear


def test_without_an_ear_nothing_is_kept_and_nothing_told():
    room = Room(is_open=False)
    for number in range(5):
        room.utterance(number)
    hearing = room.hearing
    assert room.findings == []
    assert hearing.next_due is None
    assert hearing.latency.source is LatencySource.ASSUMED
    assert not hearing._expected._pieces
    assert not hearing._heard._pieces


def test_an_utterance_that_began_before_the_ear_opened_is_not_judged():
    room = Room(is_open=False)
    room.say(part(0, 1.0))
    room.listen(0.5)
    room.hearing.open(room.now)
    room.say(part(0, 3.0, 1.0), begins=False)
    room.listen(8.0)
    assert room.findings == []
    room.utterance(1)
    assert room.verdicts == [Verdict.MEASURED]


def test_an_utterance_behind_one_to_which_nobody_listened_is_found():
    room = Room(is_open=False)
    room.say(part(0, 2.0))
    room.listen(0.5)
    room.hearing.open(room.now)
    room.say(part(1, 3.0))  # follows at once
    room.listen(8.0)
    assert room.verdicts == [Verdict.MEASURED]
    assert room.hearing.latency.secs == pytest.approx(LATENCY_SECS, abs=0.005)


def test_an_ear_that_closes_in_between_leaves_nothing_to_judge():
    room = Room()
    room.say(part(0, 3.0))
    room.listen(1.0)
    room.hearing.close()
    room.hearing.close()
    room.listen(8.0)
    assert room.findings == []
    assert room.hearing.wants_ear


def test_an_avatar_that_is_gone_is_not_expected_to_sound():
    room = Room()
    room.say(part(0, 3.0))
    room.listen(1.0)
    room.hearing.forget()
    room.listen(8.0)
    assert room.findings == []
    room._ends_at = 0.0
    room.utterance(1)
    assert room.verdicts == [Verdict.MEASURED]


def test_who_looks_late_is_told_the_same():
    room = Room()
    room.say(part(0, 3.0))
    for _ in range(round(12.0 / PIECE_SECS)):
        since, room.now = room.now, room.now + PIECE_SECS
        heard = room.sound[round(since * RATE) : round(room.now * RATE)]
        room.hearing.hear(to_ear(heard), EAR_RATE, room.now)
    finding = room.hearing.poll(room.now)
    assert isinstance(finding, Finding)
    assert finding.verdict is Verdict.MEASURED
    assert room.hearing.poll(room.now) is None


def test_memory_is_bounded_in_a_speech_without_end():
    room = Room()
    room.say(part(0, 1.0))
    for second in range(100):
        room.say(part(second % 20, 1.0), begins=False)
        room.listen(1.0)
    assert len(room.hearing._expected._pieces) <= 25
    assert len(room.hearing._heard._pieces) <= 20.0 / PIECE_SECS + 2
    assert room.verdicts == [Verdict.MEASURED]


def test_listening_loads_no_module_in_the_middle_of_a_call():
    """It would hold up the event loop for a tenth of a second."""
    code = """
import sys
import numpy as np
from pipecat_agenthuman.playout.hearing import Hearing
pcm = (np.random.default_rng(1).normal(0, 3000, 16000) * np.hanning(16000)).astype("<i2").tobytes()
hearing, before = Hearing(), set(sys.modules)
hearing.open(0.0)
hearing.confirmed(pcm + pcm, 1.0, begins=True)
hearing.hear(bytes(2 * 12000) + pcm + pcm + bytes(2 * 40000), 8000, 10.0)
assert hearing.poll(10.0).heard_after_secs is not None
print(*(set(sys.modules) - before))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


# --- the clock takes it ----------------------------------------------------------------


def play(playout: Playout[str], room: Room, sound: Sound) -> float:
    """Have an utterance said through a playout; returns how much later it began."""
    playout.open_utterance()
    playout.write(to_pcm(sound), room.now)
    playout.close_utterance()
    playout.hold("stop", ends_speech=True)
    began_at = float("nan")
    confirmed_at = room.now
    while (message := playout.outgoing.take_message(room.now)) is not None:
        playout.outgoing.confirmed(confirmed_at)
        first = round(max(confirmed_at + room.latency_secs, room._ends_at) * RATE)
        pcm = np.frombuffer(message.audio, "<i2").astype(np.float32) / 32768.0
        room.sound[first : first + len(pcm)] = pcm
        room._ends_at = (first + len(pcm)) / RATE
    until = room.now + len(sound) / RATE + 4.0
    while room.now < until:
        room.listen(PIECE_SECS)
        while (cue := poll(playout, room.now)) is not None:
            if isinstance(cue, Started):
                began_at = room.now
        playout.take_heard(room.now)
    return began_at - confirmed_at


def a_playout(**pace) -> tuple[Playout[str], Room]:
    playout: Playout[str] = Playout(Pace(max_lead_secs=None, max_message_secs=100.0, **pace))
    room = Room(is_open=False, latency_secs=1.1)
    room.hearing = playout.hearing
    room.hearing.open(room.now)
    return playout, room


def test_a_playout_that_hears_its_avatar_is_right_from_the_next_utterance_on():
    playout, room = a_playout(measures_latency=True)
    assert play(playout, room, part(0, 3.0)) == pytest.approx(0.5, abs=PIECE_SECS)
    playout.adopt_latency()
    assert play(playout, room, part(1, 3.0)) == pytest.approx(1.1, abs=PIECE_SECS + 0.01)


def test_a_number_stays_whatever_is_heard():
    playout, room = a_playout(avatar_latency_secs=0.3)
    for number in range(2):
        assert play(playout, room, part(number, 3.0)) == pytest.approx(0.3, abs=PIECE_SECS)
        playout.adopt_latency()


@pytest.mark.parametrize("pace", [{"measures_latency": True}, {"avatar_latency_secs": 1.1}])
def test_what_the_device_adds_counts_on_top(pace):
    playout, room = a_playout(listener_delay_secs=0.2, **pace)
    play(playout, room, part(0, 3.0))
    playout.adopt_latency()
    assert play(playout, room, part(1, 3.0)) == pytest.approx(1.3, abs=PIECE_SECS + 0.01)


def test_an_utterance_that_is_open_keeps_its_latency():
    playout, room = a_playout(measures_latency=True)
    play(playout, room, part(0, 3.0))
    playout.open_utterance()
    playout.adopt_latency()
    playout.write(to_pcm(part(1, 1.0)), room.now)
    assert playout.outgoing.take_message(room.now) is not None
    playout.outgoing.confirmed(room.now)
    assert next_due(playout) == pytest.approx(room.now + 0.5, abs=1e-6)


def test_a_new_pace_does_not_forget_what_was_heard():
    playout, room = a_playout(measures_latency=True)
    play(playout, room, part(0, 3.0))
    playout.pace = Pace(measures_latency=True, max_lead_secs=1.0)
    assert playout.pace.latency_secs == pytest.approx(1.1, abs=0.005)
    playout.pace = Pace(avatar_latency_secs=0.2)
    assert playout.pace.latency_secs == 0.2


def test_an_interruption_and_a_loss_reach_the_ear():
    playout, room = a_playout(measures_latency=True)
    play(playout, room, part(0, 3.0))
    playout.write(to_pcm(part(1, 6.0)), room.now)
    assert playout.outgoing.take_message(room.now) is not None
    playout.outgoing.confirmed(room.now)
    room.listen(2.0)
    assert playout.interrupt(room.now).send_interrupt
    room.listen(0.4)
    assert len(room.verdicts) == 2
    playout.open_utterance()
    playout.write(to_pcm(part(2, 6.0)), room.now)
    assert playout.outgoing.take_message(room.now) is not None
    playout.outgoing.confirmed(room.now)
    assert playout.hearing.next_due is not None
    playout.outgoing.recall(room.now)
    assert playout.hearing.next_due is None
