"""The playout against a model that knows every single sample, under random treatment.

The model is as plain as can be: an array with the time at which each sample sounds. It knows
nothing of positions that move, of stretches, or of heaps.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field, replace

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.playout.cues import (
    ONSET_SAMPLES,
    STALL_LIMIT_SECS,
    Release,
    Speaking,
    Started,
    Stopped,
)
from pipecat_agenthuman.playout.marks import Bar
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.virtual_playout import next_due, poll

EPSILON_SECS = 1e-6  # a sixtieth of a sample
ROUNDING_SECS = 1e-9  # all times here are whole samples; sums of them are not quite
CLOCK_OFFSET_SECS = 1000.0  # timestamps have a clock of their own

LEAD_SECS = 0.2
"""How far ahead of its sound audio is given to somebody who plays it just in time."""

CHUNK_SAMPLES = 640

PENDING, DROPPED, REJECTED = range(3)
NO_SAMPLES = np.zeros(0, dtype=int)


@dataclass
class Item:
    """Something that was held; ``behind`` is the number of samples before it.

    A timed one waits, too, until the sample after them begins ``with_sound``.
    """

    number: int
    behind: int
    interruptible: bool
    timed: bool = False
    with_sound: bool = False
    ends_speech: bool = False
    bar: Bar = Bar.NEVER
    released: bool = False
    dropped: bool = False


@dataclass
class Message:
    """What was sent and is not settled: all messages before it, and it, must be answered."""

    numbers: np.ndarray
    latency_secs: float = 0.0
    is_refused: bool = False
    confirmed_at: float | None = None

    @property
    def is_answered(self) -> bool:
        return self.is_refused or self.confirmed_at is not None


@dataclass
class Spoken:
    """An utterance; timestamps count from ``origin``, the time of its first audio."""

    first: int
    interruptible: bool
    latency_secs: float
    origin: float | None = None
    is_open: bool = True
    early: list[tuple[Item, float]] = field(default_factory=list)

    def target(self, at_secs: float) -> int:
        assert self.origin is not None
        return self.first + max(round((at_secs - self.origin) * RATE), 0)


class Model:
    """What must be heard when, sample by sample."""

    def __init__(self) -> None:
        self.state = np.zeros(0, dtype=np.int8)
        self.interruptible = np.zeros(0, dtype=bool)
        self.sounds_at = np.zeros(0)
        self.unsent = NO_SAMPLES
        self.in_flight: list[Message] = []
        self.queued = NO_SAMPLES  # confirmed and not heard, in order
        self.ends_at = -math.inf
        self.played_until = -math.inf  # by the server, which knows of no latency
        self.silent_from = -math.inf
        self.settled = 0  # samples before this number were heard, or never will be

    def write(self, samples: int, *, interruptible: bool) -> np.ndarray:
        first = len(self.state)
        self.state = np.append(self.state, np.full(samples, PENDING, dtype=np.int8))
        self.interruptible = np.append(self.interruptible, np.full(samples, interruptible))
        self.sounds_at = np.append(self.sounds_at, np.full(samples, np.inf))
        numbers = np.arange(first, first + samples)
        self.unsent = np.append(self.unsent, numbers)
        return numbers

    @property
    def unanswered(self) -> list[Message]:
        return [message for message in self.in_flight if not message.is_answered]

    def send(self, samples: int, latency_secs: float) -> np.ndarray:
        numbers, self.unsent = self.unsent[:samples], self.unsent[samples:]
        self.in_flight.append(Message(numbers, latency_secs))
        return numbers

    def confirm(self, at: float, overtook: int) -> None:
        self.unanswered[overtook].confirmed_at = at
        self._settle(at)

    def reject(self, now: float, overtook: int) -> int:
        message = self.unanswered[overtook]
        message.is_refused = True
        self.state[message.numbers] = REJECTED
        self._settle(now)
        return len(message.numbers)

    def pass_refused(self, now: float) -> None:
        """What was refused before a recall is passed over: nobody says it."""
        refused = self.state[self.unsent] == REJECTED
        count = len(refused) if refused.all() else int(np.argmin(refused))
        if count:
            numbers, self.unsent = self.unsent[:count], self.unsent[count:]
            self.in_flight.append(Message(numbers, is_refused=True))
            self._settle(now)

    def play(self, samples: int, at: float) -> np.ndarray:
        """Somebody plays what comes next, from a moment on."""
        numbers, self.unsent = self.unsent[:samples], self.unsent[samples:]
        self._sound(numbers, at, 0.0)
        return numbers

    def recall(self, now: float) -> int:
        """What was sent and not heard is unsent again; returns how much of it is to be said."""
        waiting = self.settled + np.flatnonzero(self._waits(now))
        back = waiting[~np.isin(waiting, self.unsent)]
        self.sounds_at[back] = np.inf
        self.unsent = np.append(back, self.unsent)
        self.queued = NO_SAMPLES
        self.in_flight.clear()
        self.ends_at = self.silent_from = min(self.ends_at, now)
        self.played_until = -math.inf
        return np.count_nonzero(self.state[back] == PENDING)

    def _settle(self, now: float) -> None:
        while self.in_flight and self.in_flight[0].is_answered:
            message = self.in_flight.pop(0)
            if message.is_refused:
                self.ends_at = max(self.ends_at, now)
                self.sounds_at[message.numbers] = self.ends_at
            else:
                self._sound(message.numbers, message.confirmed_at, message.latency_secs)

    def _sound(self, numbers: np.ndarray, at: float, latency_secs: float) -> None:
        at = max(at, self.played_until)
        self.played_until = at + len(numbers) / RATE
        start = max(at + latency_secs, self.ends_at)
        self.sounds_at[numbers] = start + np.arange(len(numbers)) / RATE
        self.ends_at = self.silent_from = start + len(numbers) / RATE
        self.queued = np.append(self.queued, numbers)

    def listen(self, now: float) -> np.ndarray:
        """The samples that were heard since the last time."""
        over = self._over(self.queued, now)
        heard, self.queued = self.queued[over], self.queued[~over]
        waits = self._waits(now)
        self.settled += int(np.argmax(waits)) if waits.any() else len(waits)
        return heard

    def is_over(self, number: int) -> bool:
        """Whether all samples before a number were heard, or never will be."""
        return number <= self.settled

    def has_begun(self, number: int, now: float) -> bool:
        return number < len(self.state) and bool(self.sounds_at[number] <= now + EPSILON_SECS)

    def known_behind(self, number: int) -> np.ndarray:
        """The samples from a number on that stand on the clock."""
        known = np.isfinite(self.sounds_at[number:]) & (self.state[number:] != DROPPED)
        return number + np.flatnonzero(known)

    def is_dropped(self, number: int) -> bool:
        return number < len(self.state) and bool(self.state[number] == DROPPED)

    def sounding(self, now: float) -> bool:
        return len(self.queued) > 0 and self.has_begun(self.queued[0], now - 2 * EPSILON_SECS)

    def unheard(self, now: float) -> int:
        """Samples that were not heard and may still have to be said."""
        return np.count_nonzero(self._waits(now))

    def interrupt(self, now: float) -> tuple[bool, int]:
        """Returns whether the server is told, and how many samples are dropped."""
        waiting = self.settled + np.flatnonzero(self._waits(now))
        sent = waiting[~np.isin(waiting, self.unsent)]
        refused = waiting[self.state[waiting] == REJECTED]
        waiting = waiting[self.state[waiting] != REJECTED]
        decisive = sent[self.state[sent] != REJECTED] if len(sent) else waiting
        tell = bool(self.interruptible[decisive].any() or not len(decisive))
        doomed = waiting if tell else self.unsent[self.state[self.unsent] == PENDING]
        doomed = doomed[self.interruptible[doomed]]
        self.state[doomed] = DROPPED
        if tell:
            # The server forgets everything; what it had refused is not tried again.
            self.state[refused] = DROPPED
            kept = waiting[~self.interruptible[waiting]]
            self.state[kept], self.sounds_at[kept] = PENDING, np.inf
            self.unsent, self.queued = kept, NO_SAMPLES
            self.in_flight.clear()
            self.ends_at = self.silent_from = now
            self.played_until = -math.inf
        else:
            self.state[self.unsent[self.state[self.unsent] == REJECTED]] = DROPPED
            self.unsent = self.unsent[self.state[self.unsent] == PENDING]
        return tell, len(doomed)

    def _waits(self, now: float) -> np.ndarray:
        """Which samples were not heard and are not dropped, of those that are not settled."""
        rest = slice(self.settled, None)
        return (self.state[rest] != DROPPED) & ~self._over(rest, now)

    def _over(self, numbers: np.ndarray | slice, now: float) -> np.ndarray:
        lasts = np.where(self.state[numbers] == REJECTED, 0, 1 / RATE)
        return self.sounds_at[numbers] + lasts <= now + EPSILON_SECS


class Bench:
    """A playout and its model, treated alike."""

    def __init__(
        self,
        pace: Pace,
        confirm_secs: float,
        max_unconfirmed: int,
        answers: list[tuple[int, str]],
        *,
        in_order: bool = True,
    ) -> None:
        self.playout: Playout[Item] = Playout(pace)
        self.playout.outgoing.confirm_secs = confirm_secs
        self.pace = pace
        self.max_unconfirmed = max_unconfirmed
        self.model = Model()
        self.latency_secs = self.longest_latency_secs = pace.avatar_latency_secs
        self.now = 50.0
        self.items: list[Item] = []
        self.spoken: list[Spoken] = []
        self.tapped: list[np.ndarray] = []
        self.sent: list[np.ndarray] = []
        self.sizes: list[int] = []
        self.speaking = False
        self._heard = NO_SAMPLES  # and not handed out yet
        self.undisturbed = True
        self._answers = itertools.cycle(answers)
        self._under_way: list[tuple[float, str]] = []  # of each unanswered message, in order
        self._in_order = in_order
        self._is_given = False  # to somebody who plays it just in time
        self._free_at = -math.inf  # who plays

    # --- what may happen ---

    def open(self, interruptible: bool) -> None:
        self.close(ends=False)
        self.hold(interruptible)
        self.playout.open_utterance(interruptible=interruptible)
        self.spoken.append(Spoken(len(self.model.state), interruptible, self.latency_secs))

    def change_latency(self, secs: float) -> None:
        """Another latency is heard: it counts for the utterances that open from now on."""
        self.latency_secs = secs
        self.longest_latency_secs = max(self.longest_latency_secs, secs)
        self.playout.pace = replace(self.pace, avatar_latency_secs=secs)

    def write(self, samples: int, interruptible: bool) -> None:
        numbers = self.model.write(samples, interruptible=interruptible)
        clock = self.now + CLOCK_OFFSET_SECS
        if not (self.spoken and self.spoken[-1].is_open):
            first = len(self.model.state) - samples
            self.spoken.append(Spoken(first, interruptible, self.latency_secs))
        spoken = self.spoken[-1]
        spoken.interruptible = interruptible
        if spoken.origin is None:
            spoken.origin = clock
            for item, at_secs in spoken.early:
                item.behind = spoken.target(at_secs)
        audio = numbers.astype(np.int16).astype("<i2").tobytes()
        self.playout.write(audio, self.now, interruptible=interruptible, origin_secs=clock)

    def close(self, ends: bool = True) -> None:
        self.playout.close_utterance()
        self._end_utterance()
        if ends:
            self.hold(True, ends_speech=True)

    def hold(self, interruptible: bool, ends_speech: bool = False, bar: Bar = Bar.NEVER):
        number, behind = len(self.items), len(self.model.state)
        item = Item(number, behind, interruptible, ends_speech=ends_speech, bar=bar)
        self.items.append(item)
        self.playout.hold(item, interruptible=interruptible, ends_speech=ends_speech, bar=bar)

    def hold_timed(self, offset_secs: float, interruptible: bool) -> None:
        """Only inside an open utterance: elsewhere a timestamp has no plain meaning."""
        if not (self.spoken and self.spoken[-1].is_open):
            return
        spoken = self.spoken[-1]
        item = Item(len(self.items), spoken.first, interruptible, timed=True, with_sound=True)
        self.items.append(item)
        if spoken.origin is None:
            at_secs = self.now + CLOCK_OFFSET_SECS + offset_secs
            spoken.early.append((item, at_secs))
        else:
            at_secs = spoken.origin + offset_secs
            item.behind = spoken.target(at_secs)
        self.playout.hold_timed(item, at_secs, interruptible=interruptible)

    def interrupt(self) -> None:
        self.undisturbed = False
        self._compare(self.playout.take_heard(self.now))
        tell, dropped = self.model.interrupt(self.now)
        if tell:
            self._under_way.clear()
            self._free_at = self.now
        result = self.playout.interrupt(self.now)
        assert result.send_interrupt == tell
        assert result.dropped_samples == dropped
        assert result.heard == b""
        if result.stopped:
            assert self.speaking
            self.speaking = False
        for item in self.items:
            item.dropped |= item.interruptible and not item.released
        if self.spoken and self.spoken[-1].is_open and self.spoken[-1].interruptible:
            self._end_utterance()

    def recall(self) -> None:
        """Who speaks cannot go on; another one does."""
        self.undisturbed = False
        self._compare(self.playout.take_heard(self.now))
        assert self.playout.outgoing.recall(self.now) == self.model.recall(self.now)
        assert self.playout.take_heard(self.now) == b""
        self._under_way.clear()
        self._is_given, self._free_at = not self._is_given, self.now

    def _end_utterance(self) -> None:
        """No more audio comes to which an item could belong."""
        if self.spoken:
            self.spoken[-1].is_open = False
        for item in self.items:
            if item.behind == len(self.model.state) and item.bar is Bar.BETWEEN:
                item.bar = Bar.ALWAYS
            if item.behind >= len(self.model.state):
                item.behind, item.with_sound = len(self.model.state), False

    # --- what the driver does ---

    def drive(self, until: float) -> None:
        """Let time pass up to a moment, looking only when the playout says so."""
        for _ in range(20_000):
            self.deliver()
            if self._send():
                continue
            times = [next_due(self.playout), self._sending_due()]
            due = min((time for time in times if time is not None), default=math.inf)
            answered = min((time for time, _ in self._under_way), default=math.inf)
            time = min(answered, due)
            if time > until:
                self.now = until
                return
            self.now = max(self.now, time)
            if answered <= self.now:
                self._answer()
        raise AssertionError("the playout spins")

    def _answer(self) -> None:
        overtook = min(range(len(self._under_way)), key=lambda n: self._under_way[n][0])
        _, answer = self._under_way.pop(overtook)
        if answer == "reject":
            self.undisturbed = False
            lost = self.playout.outgoing.rejected(self.now, overtook=overtook)
            assert lost == self.model.reject(self.now, overtook)
        else:
            self.model.confirm(self.now - 0.001, overtook)
            self.playout.outgoing.confirmed(self.now - 0.001, overtook=overtook)

    def _sending_due(self) -> float | None:
        if self._is_given:
            return self._free_at - LEAD_SECS if self.playout.outgoing.can_take else None
        can_send = len(self.model.unanswered) < self.max_unconfirmed
        return self.playout.outgoing.sending_due(self.now) if can_send else None

    def _send(self) -> bool:
        """Send, or give, what comes next; returns whether there was anything."""
        due = self._sending_due()
        if due is None or due > self.now:
            return False
        return self._give_portion() if self._is_given else self._send_message()

    def _send_message(self) -> bool:
        avoid = set(self.sizes[-2:])
        self.model.pass_refused(self.now)
        message = self.playout.outgoing.take_message(self.now, avoid=avoid)
        if message is None:
            return False
        self.sizes.append(message.samples)
        delay, answer = next(self._answers)
        answered = self.now + delay / 1000
        if self._in_order and self._under_way:
            answered = max(answered, self._under_way[-1][0])
        self._under_way.append((answered, answer))
        assert 0 < message.samples <= round(self.pace.max_message_secs * RATE)
        assert message.samples not in avoid or message.samples <= 3
        first, last = self.model.unsent[0], self.model.unsent[message.samples - 1]
        latency_secs = self._latency_at(first)
        assert self._latency_at(last) == latency_secs
        self._check_sent(message.audio, self.model.send(message.samples, latency_secs))
        self._check_lead()
        return True

    def _latency_at(self, number: int) -> float:
        """The latency that counted when the utterance of a sample opened."""
        return [s.latency_secs for s in self.spoken if s.first <= number][-1]

    def _give_portion(self) -> bool:
        releases = self.playout.outgoing.take_before(CHUNK_SAMPLES)
        for release in releases:
            self._release(release.item, chunk=CHUNK_SAMPLES)
        if releases:
            return True
        self.model.pass_refused(self.now)
        portion = self.playout.outgoing.take_portion(self.now, CHUNK_SAMPLES)
        if portion is None:
            return False
        assert 0 < portion.samples <= CHUNK_SAMPLES
        starts_at = max(self._free_at, self.now)
        self._free_at = starts_at + portion.samples / RATE
        numbers = self.model.play(portion.samples, starts_at)
        self._check_sent(portion.audio, numbers)
        assert set(self.model.interruptible[numbers]) == {portion.interruptible}
        self.playout.outgoing.sounds(portion.samples, starts_at)
        return True

    def _check_sent(self, audio: bytes, numbers: np.ndarray) -> None:
        samples = np.frombuffer(audio, dtype="<i2")
        assert np.array_equal(samples, numbers.astype(np.int16))
        assert (self.model.state[numbers] == PENDING).all()
        self.sent.append(samples)
        for item in self.items:
            if item.bar is Bar.ALWAYS and not (item.released or item.dropped):
                assert numbers[-1] < item.behind

    def _check_lead(self) -> None:
        if not self.undisturbed:
            return
        slowest = replace(self.pace, avatar_latency_secs=self.longest_latency_secs)
        limit_secs = slowest.lead_limit_secs(self.playout.outgoing.confirm_secs)
        lead = self.model.unheard(self.now) - len(self.model.unsent)
        assert lead <= limit_secs * RATE + 1

    def deliver(self) -> None:
        heard = self.model.listen(self.now)
        self._heard = np.append(self._heard, heard)
        while (cue := poll(self.playout, self.now + ROUNDING_SECS)) is not None:
            match cue:
                case Started(silent=True):
                    assert not self.speaking
                    self.speaking = True
                case Started():
                    assert not self.speaking
                    assert self.model.has_begun(self._next_sound(), self.now)
                    self.speaking = True
                case Stopped():
                    assert self.speaking
                    self.speaking = False
                case Speaking():
                    assert self.speaking
                case Release(item):
                    self._release(item)
        self._compare(self.playout.take_heard(self.now))
        self._check_state()

    def _release(self, item: Item, *, chunk: int = 0) -> None:
        """What is given to somebody who keeps its order may stand amid the next chunk."""
        assert not item.released
        assert not item.dropped
        item.released = True
        if chunk:
            assert np.count_nonzero(self.model.unsent < item.behind) < chunk
            assert not item.timed or self._is_over_in(chunk, item)
            assert not item.ends_speech
        else:
            assert self._is_due(item)
        if item.ends_speech:
            assert not self.speaking
        if not item.timed:
            earlier = self.items[: item.number]
            assert all(other.released or other.dropped or other.timed for other in earlier)

    def _is_over_in(self, chunk: int, item: Item) -> bool:
        """Whether a word and the end of its speech stand in the next chunk: its order counts."""
        ends = [spoken.first for spoken in self.spoken[1:]]
        if self.spoken and not self.spoken[-1].is_open:
            ends.append(len(self.model.state))
        end = next((end for end in ends if end > item.behind), None)
        if end is None or not item.with_sound:
            return False
        return np.count_nonzero(self.model.unsent < end) < chunk

    def _next_sound(self) -> int:
        """The sample that sounded since the last stop, or is the next to sound."""
        return int(np.append(self._heard, self.model.queued)[0])

    def _compare(self, audio: bytes) -> None:
        """What is handed out is what sounded, to the sample; nothing that sounded is unsaid."""
        heard = np.append(self._heard, self.model.listen(self.now))
        assert np.array_equal(np.frombuffer(audio, dtype="<i2"), heard.astype(np.int16))
        self.tapped.append(heard)
        self._heard = NO_SAMPLES

    def _check_state(self) -> None:
        assert self.playout.speaking == self.speaking
        if self.model.sounding(self.now):
            assert self.speaking
        elif self.speaking:
            assert self.now <= self.model.silent_from + STALL_LIMIT_SECS + EPSILON_SECS
        # No item is late, and none but what is to come is remembered.
        held = [item for item in self.items if not (item.released or item.dropped)]
        assert self.playout.held_items == len(held)
        assert all(self._may_wait(item) for item in held if self._is_due(item))
        # Memory: the audio that nobody heard yet, and no more.
        unheard = self.model.unheard(self.now)
        tape = self.playout._tape
        assert tape.end - tape.start == unheard
        assert len(tape._audio) == 2 * unheard

    def _is_due(self, item: Item) -> bool:
        """What came with a sound that is gone comes as soon as what was before it is over."""
        if not self.model.is_over(item.behind):
            return False
        waits = item.with_sound and not self.model.is_dropped(item.behind)
        return not waits or self.model.has_begun(item.behind, self.now)

    def _may_wait(self, item: Item) -> bool:
        """Whether the sound of what is due has just begun, and more of it is to come."""
        if not item.with_sound or self.model.is_dropped(item.behind):
            return False
        known = self.model.known_behind(item.behind)
        if len(known) <= ONSET_SAMPLES and self._goes_on():
            return True
        return not self.model.has_begun(known[: ONSET_SAMPLES + 1][-1], self.now)

    def _goes_on(self) -> bool:
        """Whether more is to sound of an utterance that has begun."""
        ends = [*(spoken.first for spoken in self.spoken[1:]), len(self.model.state)]
        for spoken, end in zip(self.spoken, ends, strict=True):
            numbers = np.arange(spoken.first, end)
            numbers = numbers[self.model.state[numbers] != DROPPED]
            known = np.isfinite(self.model.sounds_at[numbers])
            if known.any() and (spoken.is_open or not known.all()):
                return True
        return False

    def finish(self) -> None:
        """Let everything come to its end, in time."""
        self.close()
        while self.model.in_flight or len(self.model.unsent):
            before = len(self.model.unsent), len(self.model.in_flight)
            self.drive(self.now + 60.0)
            assert (len(self.model.unsent), len(self.model.in_flight)) != before, "it is stuck"
        remaining_secs = self.playout.remaining_secs(self.now)
        self.drive(self.now + remaining_secs + EPSILON_SECS)
        assert self.playout.finished(self.now)
        assert not self.playout._utterances._utterances
        assert all(item.released or item.dropped for item in self.items)
        self.drive(self.now + STALL_LIMIT_SECS + EPSILON_SECS)
        assert not self.speaking
        pending = np.flatnonzero(self.model.state == PENDING)
        assert np.array_equal(np.sort(np.concatenate(self.tapped)), pending)
        if self.undisturbed and self.sent:
            written = np.arange(len(self.model.state))
            assert np.array_equal(np.concatenate(self.sent), written.astype(np.int16))
            assert np.array_equal(np.concatenate(self.tapped), written)


samples = st.sampled_from([0, 1, 77, 320, 320, 320, 640, 1600, 5000, 16_000])
waits = st.sampled_from([0, 1, 5, 20, 20, 60, 250, 250, 700, 3500])
offsets = st.sampled_from([-20, 0, 10, 100, 400, 1000])


def steps(*more: str) -> st.SearchStrategy[list[tuple[str, int]]]:
    """Scripts: most of what happens is that audio comes and time goes."""
    audio = st.tuples(st.just("write"), samples)
    time = st.tuples(st.just("wait"), waits)
    timed = st.tuples(st.sampled_from(["word", "kept word"]), offsets)
    plain = st.tuples(st.sampled_from(["open", "close", "hold", "keep", *more]), st.just(0))
    return st.lists(st.one_of(audio, audio, time, time, timed, plain, plain), min_size=25)


paces = st.builds(
    Pace,
    avatar_latency_secs=st.sampled_from([0.0, 0.1, 0.5]),
    max_lead_secs=st.sampled_from([None, 0.2, 1.5]),
    min_first_message_secs=st.just(0.04),
    max_first_message_secs=st.sampled_from([0.04, 0.4]),
    max_message_secs=st.sampled_from([0.05, 0.3, 1.0]),
)
delays = st.sampled_from([0, 5, 50, 300])
confirmations = st.lists(st.tuples(delays, st.just("confirm")), min_size=1)
some_rejections = st.lists(
    st.tuples(delays, st.sampled_from(["confirm", "confirm", "confirm", "reject"])), min_size=1
)


def perform(bench: Bench, script: list[tuple[str, int]], uninterruptible: set[int]) -> None:
    """Do what a script says; utterances have numbers, and some may not be interrupted."""
    utterance = 0
    for step, value in script:
        interruptible = utterance not in uninterruptible
        match step:
            case "write":
                bench.write(value, interruptible)
            case "wait":
                bench.drive(bench.now + value / 1000)
            case "open":
                utterance += 1
                bench.open(utterance not in uninterruptible)
            case "close":
                bench.close()
                utterance += 1
            case "hold" | "keep":
                bench.hold(step == "hold")
            case "message":
                is_amid = bool(bench.spoken) and bench.spoken[-1].is_open
                bench.hold(True, bar=Bar.BETWEEN if is_amid else Bar.ALWAYS)
            case "sound":
                bench.hold(True, bar=Bar.ALWAYS)
            case "recall":
                bench.recall()
            case "fast" | "slow":
                bench.change_latency(0.2 if step == "fast" else 1.1)
            case "word" | "kept word":
                bench.hold_timed(value / 1000, interruptible and step == "word")
            case "interrupt":
                bench.interrupt()
                if interruptible:
                    utterance += 1
    bench.finish()


def bounded(max_examples: int) -> settings:
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(
        max_examples=max_examples, deadline=None, derandomize=True, suppress_health_check=checks
    )


@bounded(100)
@given(
    pace=paces,
    confirm_secs=st.sampled_from([0.0, 0.05, 0.3]),
    max_unconfirmed=st.sampled_from([1, 2]),
    answers=some_rejections,
    script=steps("interrupt"),
    uninterruptible=st.sets(st.integers(0, 6), max_size=5),
)
def test_every_sample_and_every_item_has_its_moment(
    pace, confirm_secs, max_unconfirmed, answers, script, uninterruptible
):
    perform(Bench(pace, confirm_secs, max_unconfirmed, answers), script, uninterruptible)


@bounded(150)
@given(
    pace=paces,
    confirm_secs=st.sampled_from([0.0, 0.05, 0.3]),
    max_unconfirmed=st.sampled_from([1, 2, 4]),
    answers=some_rejections,
    script=steps("interrupt", "recall", "recall", "sound", "message"),
    uninterruptible=st.sets(st.integers(0, 6), max_size=5),
)
def test_every_sample_and_every_item_has_its_moment_whoever_speaks(
    pace, confirm_secs, max_unconfirmed, answers, script, uninterruptible
):
    bench = Bench(pace, confirm_secs, max_unconfirmed, answers, in_order=False)
    perform(bench, script, uninterruptible)


@bounded(100)
@given(
    pace=paces,
    confirm_secs=st.sampled_from([0.0, 0.05, 0.3]),
    max_unconfirmed=st.sampled_from([1, 2]),
    answers=some_rejections,
    script=steps("interrupt", "recall", "fast", "slow", "slow"),
    uninterruptible=st.sets(st.integers(0, 6), max_size=5),
)
def test_another_latency_counts_for_whole_utterances(
    pace, confirm_secs, max_unconfirmed, answers, script, uninterruptible
):
    """No sample moves on the clock, and none within an utterance comes at another latency."""
    bench = Bench(pace, confirm_secs, max_unconfirmed, answers)
    perform(bench, script, uninterruptible)


@bounded(40)
@given(pace=paces, confirm_secs=st.sampled_from([0.0, 0.3]), answers=confirmations, script=steps())
def test_undisturbed_speech_is_sent_and_heard_as_a_whole_in_order(
    pace, confirm_secs, answers, script
):
    bench = Bench(pace, confirm_secs, 1, answers)
    perform(bench, script, set())
    assert bench.undisturbed
