"""The playout clock against what the sandbox's avatar really plays, in virtual time.

A network with jitter lies between them, and an event loop that is never quite on time. The
playout is driven as ``PlayoutDriver`` drives it, and the answers are matched as ``Connection``
matches them; only the clock is not real.
"""

from __future__ import annotations

import heapq
import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import numpy as np
import pytest

from pipecat_agenthuman.client.commands import AnswerTime, CommandLedger
from pipecat_agenthuman.playout.cues import Release, Speaking, Started, Stopped
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.sandbox.playback import Playback
from pipecat_agenthuman.sandbox.sound import Heard
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.virtual_playout import driver_due, poll

FRAME_SECS = 0.02
TTS_DELAY_SECS = 0.3  # from the end of one utterance's sound to the next one's first audio


@dataclass
class Network:
    """Half the round trip each way and up to a fifth of it more; nothing overtakes."""

    round_trip_secs: float
    jitter_secs: float
    random: Random
    _last_arrival: float = -math.inf

    def arrival(self, now: float) -> float:
        delay = self.round_trip_secs / 2 + self.random.uniform(0, self.jitter_secs)
        self._last_arrival = max(self._last_arrival, now + delay)
        return self._last_arrival


@dataclass
class Spoken:
    """One utterance: its place in all that was said, and when the clock said it was heard."""

    first: int
    samples: int
    started: float = math.nan
    stopped: float = math.nan


@dataclass
class World:
    """A client, a network, an avatar."""

    round_trip_secs: float
    pace: Pace = field(default_factory=Pace)
    jitter_secs: float = 0.0
    lateness_secs: float = 0.003
    max_unconfirmed: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        self.random = Random(self.seed)
        self.now = 1000.0
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self.out = Network(self.round_trip_secs, self.jitter_secs, self.random)
        self.back = Network(self.round_trip_secs, self.jitter_secs, self.random)
        self.playout: Playout[Spoken] = Playout(self.pace)
        self.ledger = CommandLedger(max_unconfirmed=self.max_unconfirmed, confirm_timeout_secs=5)
        self.answer_time = AnswerTime()
        # The ping when connecting.
        self.ping_secs = self.round_trip_secs + self.random.uniform(0, 2 * self.jitter_secs)
        self.answer_time.observe(self.ping_secs)
        self.playback = Playback(render_latency_secs=self.pace.avatar_latency_secs)
        self.written: list[np.ndarray] = []
        self.written_samples = 0
        self.spoken: list[Spoken] = []
        self.tapped = bytearray()
        self.message_samples: list[int] = []
        self.sent_samples = 0
        self.largest_lead = 0
        self.turns = 0
        self.interruptions = 0
        self._alarm: float | None = None

    # --- time ---

    def at(self, time: float, happens: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (time, next(self._order), happens))

    def run(self) -> None:
        while self._agenda:
            time, _, happens = heapq.heappop(self._agenda)
            self.now = max(self.now, time)
            happens()

    def late(self, time: float) -> float:
        return time + self.random.uniform(0, self.lateness_secs)

    # --- what the driver and the connection do ---

    def wake(self) -> None:
        self.at(self.late(self.now), self.drive)

    def drive(self) -> None:
        self.turns += 1
        self.playout.outgoing.confirm_secs = self.answer_time.expected_secs
        while self.ledger.can_speak:
            avoid = self.ledger.ambiguous_sizes(self.now)
            message = self.playout.outgoing.take_message(self.now, avoid=avoid)
            if message is None:
                break
            self.send(message.audio)
        while (cue := poll(self.playout, self.now)) is not None:
            self.deliver(cue)
        self.tapped += self.playout.take_heard(self.now)
        due = driver_due(self.playout, self.now, can_send=self.ledger.can_speak)
        if due is not None and due != self._alarm:
            self._alarm = due
            self.at(self.late(max(due, self.now)), self.drive)

    def deliver(self, cue: object) -> None:
        match cue:
            case Started():
                waiting = [spoken for spoken in self.spoken if math.isnan(spoken.started)]
                waiting[0].started = self.now
            case Stopped():
                running = [s for s in self.spoken if not math.isnan(s.started)]
                running[-1].stopped = self.now
            case Release(item):
                assert item.stopped <= self.now
            case Speaking():
                pass

    def send(self, audio: bytes) -> None:
        samples = np.frombuffer(audio, dtype="<i2")
        self.message_samples.append(len(samples))
        self.ledger.speak(len(samples), self.now)
        heard = self.playback.heard_samples(self.now)
        self.sent_samples += len(samples)
        self.largest_lead = max(self.largest_lead, self.sent_samples - heard)
        self.at(self.out.arrival(self.now), lambda: self.receive(samples))

    def interrupt(self) -> None:
        self.interruptions += 1
        interruption = self.playout.interrupt(self.now)
        self.tapped += interruption.heard
        if interruption.stopped:
            self.spoken[-1].stopped = self.now
        self.ledger.interrupt(self.now)
        self.at(self.out.arrival(self.now), self.silence)

    def silence(self) -> None:
        self.playback.interrupt(self.now)
        self.at(self.late(self.back.arrival(self.now)), self.confirm_interrupt)

    def confirm_interrupt(self) -> None:
        assert self.ledger.confirm_interrupt() is not None
        self.wake()

    def receive(self, samples: np.ndarray) -> None:
        self.playback.confirm(samples, self.now)
        self.at(self.late(self.back.arrival(self.now)), lambda: self.confirm(len(samples)))

    def confirm(self, samples: int) -> None:
        command = self.ledger.confirm_speak(samples, self.now)
        if command is None:
            assert self.interruptions, "only interrupted speech has no claim to its answer"
            return
        took_secs = self.now - command.sent_at
        self.answer_time.observe(took_secs)
        self.playout.outgoing.confirmed(self.now - min(self.ping_secs, took_secs) / 2)
        self.wake()

    # --- what the TTS service does ---

    def open(self) -> None:
        self.playout.open_utterance()
        self.spoken.append(Spoken(self.written_samples, 0))

    def write(self, samples: int) -> None:
        first, self.written_samples = self.written_samples, self.written_samples + samples
        piece = np.arange(first, self.written_samples).astype(np.int16)
        self.written.append(piece)
        self.spoken[-1].samples += samples
        self.playout.write(piece.astype("<i2").tobytes(), self.now)
        self.wake()

    def close(self) -> None:
        self.playout.close_utterance()
        self.playout.hold(self.spoken[-1], ends_speech=True)
        self.wake()

    def say(self, start: float, samples: int, pieces: list[tuple[float, int]]) -> float:
        """Speak an utterance; returns when its last piece comes."""
        assert sum(count for _, count in pieces) == samples
        self.at(start, self.open)
        for after, count in pieces:
            self.at(start + after, lambda count=count: self.write(count))
        end = start + pieces[-1][0]
        self.at(end + 1e-6, self.close)
        return end

    # --- what came of it ---

    def heard(self) -> Heard:
        return self.playback.heard(math.inf)

    def sound_times(self, spoken: Spoken) -> tuple[float, float]:
        """When an utterance's first sample began to sound, and its last one ended."""
        heard = self.heard()
        first, last = spoken.first, spoken.first + spoken.samples - 1
        return _time_of(heard, first), _time_of(heard, last) + 1 / RATE

    def errors(self) -> list[float]:
        found = []
        for spoken in self.spoken:
            began, ended = self.sound_times(spoken)
            found += [spoken.started - began, spoken.stopped - ended]
        return found

    def gaps_within(self, spoken: Spoken) -> list[float]:
        began, ended = self.sound_times(spoken)
        gaps = self.heard().gaps
        return [gap.duration_secs for gap in gaps if began < gap.starts_at < ended - 0.5 / RATE]


def _time_of(heard: Heard, sample: int) -> float:
    segment = next(
        s for s in heard.segments if s.first_sample <= sample < s.first_sample + s.samples
    )
    return segment.starts_at + (sample - segment.first_sample) / RATE


# --- ways in which TTS services deliver -----------------------------------------------------


def burst(samples: int, random: Random) -> list[tuple[float, int]]:
    """Ten times faster than speech, in pieces of 100 ms."""
    return _pieces(samples, 1600, 0.01)


def at_once(samples: int, random: Random) -> list[tuple[float, int]]:
    return [(0.0, samples)]


def trickle(samples: int, random: Random) -> list[tuple[float, int]]:
    """In real time, in frames of 20 ms."""
    return _pieces(samples, 320, FRAME_SECS)


def stalling(samples: int, random: Random) -> list[tuple[float, int]]:
    """In real time, with pauses of up to two seconds now and then."""
    pieces, late = [], 0.0
    for after, count in trickle(samples, random):
        if random.random() < 0.02:
            late += random.uniform(0.1, 2.0)
        pieces.append((after + late, count))
    return pieces


def _pieces(samples: int, size: int, period_secs: float) -> list[tuple[float, int]]:
    sizes = [size] * (samples // size) + ([samples % size] if samples % size else [])
    return [(number * period_secs, size) for number, size in enumerate(sizes)]


Delivery = Callable[[int, Random], list[tuple[float, int]]]
DELIVERIES: list[Delivery] = [burst, at_once, trickle, stalling]
ROUND_TRIPS = [0.005, 0.02, 0.05, 0.15, 0.3]
LENGTHS_SECS = [0.1, 0.35, 1.0, 3.3, 0.1, 7.0, 30.0]


def converse(world: World, delivery: Delivery, lengths_secs: Sequence[float]) -> None:
    """Say an utterance of every length, each when the one before has been heard."""
    start = world.now
    for length_secs in lengths_secs:
        samples = round(length_secs * RATE)
        pieces = delivery(samples, world.random)
        end = world.say(start, samples, pieces)
        start = max(end, start + length_secs) + 3.5 + TTS_DELAY_SECS
    world.run()


@pytest.mark.parametrize("delivery", DELIVERIES, ids=lambda delivery: delivery.__name__)
@pytest.mark.parametrize("round_trip_secs", ROUND_TRIPS)
def test_bot_speaking_cues_agree_with_what_is_heard(round_trip_secs, delivery):
    world = World(round_trip_secs, jitter_secs=round_trip_secs / 10, seed=1)
    converse(world, delivery, LENGTHS_SECS)

    errors = [abs(error) for error in world.errors()]
    assert len(errors) == 2 * len(LENGTHS_SECS)
    assert max(errors) < 0.06
    assert statistics.median(errors) < 0.02
    written = np.concatenate(world.written)
    assert np.array_equal(world.heard().audio, written)
    assert world.tapped == written.astype("<i2").tobytes()
    assert world.playout.finished(world.now)
    assert world.turns < 120 * (world.now - 1000)  # TTS frames, answers and ticks, no spinning


@pytest.mark.parametrize("latency_secs", [0.0, 0.5, 1.5])
@pytest.mark.parametrize("max_unconfirmed", [1, 2])
@pytest.mark.parametrize(
    "limits",
    [{}, {"max_lead_secs": 0.2}, {"max_lead_secs": None}, {"max_message_secs": 0.4}],
    ids=lambda limits: ", ".join(f"{name}={value}" for name, value in limits.items()) or "default",
)
def test_speech_in_real_time_has_no_gap_at_a_round_trip_of_300_ms(
    limits, max_unconfirmed, latency_secs
):
    pace = Pace(avatar_latency_secs=latency_secs, **limits)
    for jitter_secs, seed in [(0.0, 1), (0.02, 2)]:
        world = World(
            0.3, pace, jitter_secs=jitter_secs, max_unconfirmed=max_unconfirmed, seed=seed
        )
        converse(world, trickle, [0.1, 1.0, 6.0])
        assert len(world.heard().segments) == 3


@pytest.mark.parametrize("round_trip_secs", ROUND_TRIPS)
@pytest.mark.parametrize("delivery", [burst, at_once, trickle], ids=lambda d: d.__name__)
def test_a_small_lead_is_kept_without_a_gap(delivery, round_trip_secs):
    pace = Pace(max_lead_secs=0.2)
    world = World(round_trip_secs, pace, jitter_secs=round_trip_secs / 10, seed=4)
    converse(world, delivery, [0.1, 6.0])
    assert len(world.heard().segments) == 2
    limit_secs = pace.lead_limit_secs(world.answer_time.expected_secs + 0.1)
    # The sandbox counts what was heard half a round trip before the client can know of it.
    assert world.largest_lead <= (limit_secs + round_trip_secs) * RATE


@pytest.mark.parametrize("round_trip_secs", ROUND_TRIPS)
def test_no_more_than_the_lead_is_ever_unheard_at_the_server(round_trip_secs):
    world = World(round_trip_secs, seed=5)
    converse(world, at_once, [0.1, 10.0])
    assert world.largest_lead <= 3.0 * RATE
    assert max(world.message_samples) <= RATE


@pytest.mark.parametrize("queued_secs", [0.45, 0.2, 0.03, 0.0])
def test_speech_that_resumes_after_a_stall_is_interrupted_once_only(queued_secs):
    """However much is still queued: less than a round trip cannot bridge one."""
    world = World(0.3, jitter_secs=0.008, seed=6)
    spoken_secs = 1.0
    # The first second sounds until 0.32 + 0.15 + 0.5 + 1.0 s after it began to come.
    resumes_secs = 0.32 + 0.15 + 0.5 + spoken_secs - queued_secs
    pieces = trickle(round(spoken_secs * RATE), world.random)
    pieces += [(resumes_secs + after, count) for after, count in trickle(RATE, world.random)]
    world.say(world.now, 2 * RATE, pieces)
    world.run()
    assert len(world.gaps_within(world.spoken[0])) == 1


@pytest.mark.parametrize("round_trip_secs", ROUND_TRIPS)
def test_utterances_that_are_queued_together_sound_without_a_gap(round_trip_secs):
    world = World(round_trip_secs, jitter_secs=round_trip_secs / 10, seed=7)
    start = world.now
    for samples in (1600, 800, 16_000, 1600):
        start = world.say(start, samples, at_once(samples, world.random)) + 2e-6
    world.run()
    assert len(world.heard().segments) == 1
    assert max(abs(error) for error in world.errors()) < 0.06


def test_the_same_short_word_again_and_again_is_never_torn():
    """Not even though a message must not have the size of one whose answer may come twice."""
    world = World(0.3, seed=8)
    for number in range(5):
        world.say(world.now + 4 * number, 1600, trickle(1600, world.random))
    world.run()
    assert world.message_samples == [1600] * 5
    assert len(world.heard().segments) == 5


def test_messages_grow_with_the_round_trip():
    world = World(0.3, seed=9)
    world.at(world.now + 3, lambda: setattr(world.out, "round_trip_secs", 0.5))
    world.say(world.now, 10 * RATE, trickle(10 * RATE, world.random))
    world.run()
    assert statistics.median(world.message_samples[-6:-1]) >= 0.4 * RATE
    # Nobody could know; what is lost is little more than the tenth of a second it takes longer.
    assert sum(gap.duration_secs for gap in world.heard().gaps) < 0.2


# Before anything is confirmed, before it sounds, while it sounds.
@pytest.mark.parametrize("cut_secs", [0.1, 0.45, 0.7, 1.3])
@pytest.mark.parametrize("round_trip_secs", ROUND_TRIPS)
@pytest.mark.parametrize("delivery", [burst, trickle], ids=lambda delivery: delivery.__name__)
def test_after_an_interruption_the_clock_is_right_again_at_once(
    delivery, round_trip_secs, cut_secs
):
    world = World(round_trip_secs, jitter_secs=round_trip_secs / 30, seed=10)
    start, samples = world.now, 2 * RATE
    world.at(start, world.open)
    for after, count in delivery(samples, world.random):
        if after < cut_secs:
            world.at(start + after, lambda count=count: world.write(count))
    world.at(start + cut_secs, world.interrupt)
    world.at(start + cut_secs, world.spoken.clear)
    world.say(start + cut_secs + 0.2, samples, delivery(samples, world.random))
    world.run()

    heard, known = world.heard(), len(world.tapped) // 2
    # What sounds until the interrupt arrives cannot be known, nor taken back.
    late_samples = (round_trip_secs + 0.06) * RATE
    assert known - 0.06 * RATE <= heard.samples <= known + late_samples
    second = np.concatenate(world.written)[-samples:]
    assert np.array_equal(heard.audio[-samples:], second)
    assert world.tapped[-2 * samples :] == second.astype("<i2").tobytes()
    spoken, segment = world.spoken[0], heard.segments[-1]
    assert segment.samples == samples
    assert spoken.started == pytest.approx(segment.starts_at, abs=0.06)
    assert spoken.stopped == pytest.approx(segment.ends_at, abs=0.06)
