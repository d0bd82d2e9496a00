"""Who takes the speech, and when it sounds. In virtual time, against a transport that plays it."""

from __future__ import annotations

import math
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from pipecat_agenthuman.pipeline.frame_traits import StandInAudioFrame, is_interruptible
from pipecat_agenthuman.pipeline.sinks import (
    LEAD_SECS,
    PAD_AFTER_SECS,
    AvatarSink,
    SilentSink,
    TransportSink,
)
from pipecat_agenthuman.pipeline.transport_output import UNTOLD_SECS, TransportOutput
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.originals import Originals
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE
from tests.support.sounds import RATE, numbered
from tests.support.virtual_playout import next_due, poll

pytestmark = pytest.mark.usefixtures("log")

CHUNK_SECS = 0.04

TICK_SECS = 1e-6
"""No clock stands still."""


class Transport(BaseOutputTransport):
    """Shows its format; what it plays is the bench's affair."""

    def __init__(self, rate: int, channels: int) -> None:
        super().__init__(TransportParams(audio_out_enabled=True, audio_out_channels=channels))
        self._sample_rate = rate


class Bench:
    """A playout, a transport's sink, and a transport that plays one piece after the other.

    Attributes:
        now: The time.
        tells: Whether the transport tells what comes out.
        speed: How fast it plays; less than 1 if it lags behind.
        given: Each piece, with the time at which it was given.
        cues: What the playout put out, with times.
    """

    def __init__(self, *, rate: int = RATE, channels: int = 1) -> None:
        self.now = 100.0
        self.tells = True
        self.speed = 1.0
        self.given: list[tuple[float, StandInAudioFrame]] = []
        self.released: list[str] = []
        self.cues: list[tuple[float, Any]] = []
        self.secs = 0.0
        self.plays: list[tuple[float, StandInAudioFrame]] = []  # when each is over
        self.transport = Transport(rate, channels)
        neighbour = SimpleNamespace(next=self.transport, push_frame=self._push)
        self.playout: Playout[Any] = Playout()
        self.voice = TransportOutput(
            cast(FrameProcessor, neighbour),
            now=lambda: self.now,
            on_news=lambda: None,
            on_through=lambda: None,
            on_late=self.playout.outgoing.delayed,
        )
        self.voice.find(rate)
        self.originals = Originals()
        self.sink = TransportSink(
            self.playout.outgoing,
            originals=self.originals,
            transport=self.voice,
            release=self._release,
            meter=cast(Any, SimpleNamespace(fell_back=self._count)),
        )

    async def _push(self, frame: Frame) -> None:
        assert isinstance(frame, StandInAudioFrame)
        self.given.append((self.now, frame))
        over_at = max(self.plays[-1][0] if self.plays else self.now, self.now)
        self.plays.append((over_at + self.voice.format.secs / self.speed, frame))

    async def _release(self, release: Any, **_: Any) -> None:
        self.released.append(release.item)
        self.cues.append((round(self.now, 4), release.item))

    def _count(self, secs: float) -> None:
        self.secs += secs

    # --- in ---

    def write(self, audio: bytes, *, interruptible: bool = True) -> None:
        self.playout.write(audio, self.now, interruptible=interruptible)

    def say(self, audio: bytes, name: str = "end") -> None:
        """A whole utterance."""
        self.playout.open_utterance()
        self.write(audio)
        self.close(name)

    def close(self, name: str = "end") -> None:
        self.playout.close_utterance()
        self.playout.hold(name, ends_speech=True)

    def interrupt(self) -> None:
        """The transport plays on what it is playing, and what is uninterruptible."""
        interruption = self.playout.interrupt(self.now, plays_on=self.sink.plays_on)
        if interruption.send_interrupt:
            self.sink.interrupted(self.now)
        waiting = [play for play in self.plays[1:] if not is_interruptible(play[1])]
        self.plays = self.plays[:1]
        for _, frame in waiting:
            self.plays.append((self.plays[-1][0] + self.voice.format.secs, frame))

    # --- time ---

    async def until(self, time: float) -> None:
        """Let time pass, looking only when something is due."""
        for _ in range(10_000):
            while self.plays and self.tells and self.plays[0][0] <= self.now:
                _, frame = self.plays.pop(0)
                await self.transport._call_event_handler("on_after_push_frame", frame)
            while (cue := poll(self.playout, self.now)) is not None:
                name = getattr(cue, "item", type(cue).__name__)
                self.cues.append((round(self.now, 4), name))
            heard = self.playout.take_heard(self.now)
            self.sink.heard(len(heard) // 2)
            due = self.sink.due(self.now)
            if due is not None and due <= self.now and await self.sink.send(self.now):
                continue
            over_at = self.plays[0][0] if self.plays and self.tells else math.inf
            times = [due, next_due(self.playout), self.voice.next_change, over_at]
            following = min(t for t in [*times, math.inf] if t is not None)
            if following > time:
                self.now = time
                return
            self.now = max(following, self.now + TICK_SECS)
        raise AssertionError("it spins")

    @property
    def audio(self) -> bytes:
        """All that was given."""
        return b"".join(frame.audio for _, frame in self.given)

    def at(self, name: str) -> float:
        """When a cue came, from the beginning on."""
        return next(at for at, cue in self.cues if cue == name) - 100.0


def tone(secs: float, rate: int, channels: int = 1) -> bytes:
    """A low tone, alike in all channels."""
    wave = 8000 * np.sin(2 * np.pi * 220 * np.arange(round(secs * rate)) / rate)
    return np.repeat(wave.astype("<i2"), channels).tobytes()


# --- the transport ---------------------------------------------------------------------


async def test_pieces_are_given_just_in_time_and_sound_one_after_the_other():
    bench = Bench()
    said = numbered(range(2 * RATE))
    bench.say(said)
    await bench.until(110.0)
    assert bench.audio == said
    for number, (at, _) in enumerate(bench.given):
        sounds_at = 100.0 + number * CHUNK_SECS
        assert 0 <= sounds_at - at <= LEAD_SECS + 1e-6
    assert bench.at("Started") == 0
    assert bench.at("Stopped") == pytest.approx(2.0, abs=0.001)
    assert bench.secs == pytest.approx(2.0)


@pytest.mark.parametrize("samples", [1, 639, 640, 641, 16_000, 16_001])
async def test_the_last_piece_is_made_whole_with_silence(samples):
    bench = Bench()
    said = numbered(range(samples))
    bench.say(said)
    await bench.until(110.0)
    assert {len(frame.audio) for _, frame in bench.given} == {1280}
    assert bench.audio.startswith(said)
    assert not any(bench.audio[len(said) :])
    assert len(bench.audio) - len(said) < 1280
    assert bench.secs == pytest.approx(samples / RATE)


@pytest.mark.parametrize("samples", [1, 2, 3, 641, 1281])
async def test_what_is_too_little_for_a_sample_of_the_transport_keeps_nobody_waiting(samples):
    bench = Bench(rate=8000)
    bench.say(numbered(range(samples)))
    await bench.until(110.0)
    assert bench.at("end") == pytest.approx(samples / RATE, abs=0.05)
    assert bench.playout.finished(bench.now)
    assert bench.secs == pytest.approx(samples / RATE)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (22_050, 1), (24_000, 2), (48_000, 1)])
async def test_speech_is_converted_to_the_format_of_the_transport_with_its_tail(rate, channels):
    bench = Bench(rate=rate, channels=channels)
    for number in range(2):
        bench.say(tone(0.333, RATE), f"end {number}")
    await bench.until(110.0)
    size = bench.voice.format.size
    assert {len(frame.audio) for _, frame in bench.given} == {size}
    wanted = tone(0.333, rate, channels)
    pieces = math.ceil(len(wanted) / size)
    assert len(bench.given) == 2 * pieces
    for half in (bench.audio[: pieces * size], bench.audio[pieces * size :]):
        got = np.frombuffer(half[: len(wanted)], "<i2").astype(int)
        want = np.frombuffer(wanted, "<i2").astype(int)
        assert np.abs(got - want)[: -channels * 20].max() < 300
    assert bench.secs == pytest.approx(0.666, abs=1e-9)
    assert bench.at("end 1") - bench.at("end 0") >= 0.333


async def test_what_the_transport_says_from_its_first_word_on_keeps_its_own_sound():
    bench = Bench(rate=24_000, channels=2)
    original = tone(1.0, 24_000, 2)
    bench.playout.open_utterance()
    bench.originals.begin(bench.playout.end, 24_000, 2)
    bench.originals.write(original, 24_000, 2)
    bench.write(tone(1.0, WIRE_SAMPLE_RATE))
    bench.originals.end()
    bench.close()
    await bench.until(110.0)
    assert bench.audio == original
    assert bench.at("Stopped") == pytest.approx(1.0, abs=0.001)


async def test_speech_that_stalls_is_heard_to_its_last_sample_after_a_moment():
    bench = Bench()
    bench.playout.open_utterance()
    bench.write(numbered(range(1000)))
    await bench.until(102.0)
    assert len(bench.given) == 2
    at, piece = bench.given[-1]
    assert at == pytest.approx(100.0 + CHUNK_SECS + PAD_AFTER_SECS)
    assert piece.audio == numbered(range(640, 1000)) + bytes(2 * 280)
    assert bench.playout.unheard_secs(bench.now) == 0
    bench.write(numbered(range(1000, 2000)))
    bench.close()
    await bench.until(110.0)
    played = np.frombuffer(bench.audio, "<u2")
    assert played[played > 0].tolist() == list(range(1, 2001))
    assert [cue for _, cue in bench.cues if cue != "Speaking"] == ["Started", "Stopped", "end"]


@pytest.mark.parametrize("rate", [RATE, 24_000])
async def test_what_came_of_speech_that_stalls_is_heard_without_a_gap(rate):
    bench = Bench(rate=rate)
    bench.playout.open_utterance()
    bench.write(numbered(range(3200)))
    await bench.until(102.0)
    gaps = np.diff([at for at, _ in bench.given[:4]])
    assert gaps.max() <= CHUNK_SECS + 0.001
    assert bench.playout.unheard_secs(bench.now) == 0


async def test_speech_that_comes_in_small_pieces_in_time_has_no_gap():
    bench = Bench()
    bench.playout.open_utterance()
    bench.write(numbered(range(3200)))
    for start in range(3200, 32_000, 320):
        await bench.until(100.0 + (start - 3200) / RATE)
        bench.write(numbered(range(start, start + 320)))
    bench.close()
    await bench.until(110.0)
    assert bench.audio == numbered(range(32_000))


@pytest.mark.parametrize("speed", [0.5, 0.8])
async def test_a_slow_transport_is_not_given_more_than_it_plays(speed):
    bench = Bench()
    bench.speed = speed
    bench.playout.open_utterance()
    bench.playout.write(numbered(range(2 * RATE)), bench.now, origin_secs=0.0)
    bench.playout.hold_timed("word", 1.5)
    bench.close()
    most = round(LEAD_SECS / CHUNK_SECS) + 2
    while bench.now < 110.0:
        await bench.until(bench.now + 0.01)
        assert len(bench.plays) <= most
    assert bench.audio == numbered(range(2 * RATE))
    # What is believed to sound cannot run further ahead than one piece takes.
    for name, secs in (("word", 1.5), ("Stopped", 2.0)):
        assert -0.001 <= secs / speed - bench.at(name) <= CHUNK_SECS / speed


async def test_a_transport_that_does_not_tell_is_given_speech_all_the_same():
    bench = Bench()
    bench.tells = False
    bench.say(numbered(range(2 * RATE)))
    await bench.until(130.0)
    assert bench.audio == numbered(range(2 * RATE))
    assert bench.at("Stopped") < 2.0 + 2.0 * UNTOLD_SECS / LEAD_SECS


async def test_frames_go_before_the_piece_in_which_their_place_is():
    bench = Bench()
    bench.playout.open_utterance()
    for number in range(10):
        bench.write(numbered(range(number * 1000, (number + 1) * 1000)))
        bench.playout.hold(f"mark {number}")
    bench.close()
    await bench.until(110.0)
    for number in range(9):
        place = (number + 1) * 1000 / RATE
        given = max(at for at, _ in bench.given if at <= 100.0 + place)
        assert given - 100.0 - LEAD_SECS - CHUNK_SECS <= bench.at(f"mark {number}") <= place
    marks = [cue for _, cue in bench.cues if str(cue).startswith("mark")]
    assert marks == [f"mark {number}" for number in range(10)]
    assert bench.released == marks[: len(bench.released)]


async def speech_with_a_frame_amid() -> Bench:
    """The transport has as much as it is given of it before anybody is told that it began."""
    bench = Bench()
    bench.playout.open_utterance()
    bench.write(tone(0.1, RATE))
    bench.playout.hold("amid")
    bench.write(tone(0.4, RATE))
    bench.close()
    while await bench.sink.send(bench.now):
        pass
    return bench


async def test_a_frame_behind_a_beginning_that_was_not_told_yet_goes_before_its_piece():
    """What speech begins with comes before the frame, and the frame before what follows it."""
    bench = await speech_with_a_frame_amid()
    assert len(bench.given) == 2
    assert bench.sink.due(bench.now) == pytest.approx(100.08)
    await bench.until(100.0)
    assert [name for _, name in bench.cues if name != "Speaking"] == ["Started", "amid"]
    assert len(bench.given) == 5


async def test_speech_has_no_gap_where_nobody_tells_that_it_began():
    bench = await speech_with_a_frame_amid()
    assert len(bench.given) == 2
    bench.now = 100.081
    while await bench.sink.send(bench.now):
        pass
    assert len(bench.given) == 7
    assert not bench.released


async def test_uninterruptible_speech_is_never_in_one_piece_with_other_speech():
    bench = Bench()
    bench.playout.open_utterance()
    bench.write(numbered(range(1000)))
    bench.write(numbered(range(1000, 2000)), interruptible=False)
    bench.close()
    await bench.until(110.0)
    kinds = [is_interruptible(frame) for _, frame in bench.given]
    assert kinds == [True, True, False, False]
    played = np.frombuffer(bench.audio, "<u2")
    assert played[played > 0].tolist() == list(range(1, 2001))


@pytest.mark.parametrize("kept_first", [True, False])
async def test_uninterruptible_speech_that_the_transport_has_is_not_given_again(kept_first: bool):
    """An interruption leaves it there, and drops what is before and behind it."""
    bench = Bench()
    kept, cut = numbered(range(3200)), tone(0.05, RATE)
    bench.playout.open_utterance()
    bench.write(kept if kept_first else cut, interruptible=not kept_first)
    bench.playout.close_utterance()
    bench.playout.open_utterance()
    bench.write(cut if kept_first else kept, interruptible=kept_first)
    bench.playout.close_utterance()
    await bench.until(100.13 if kept_first else 100.01)
    bench.interrupt()
    begun = 100.0 if kept_first else 100.0 + CHUNK_SECS
    await bench.until(begun + 0.15)
    assert bench.playout.outgoing.sounds_until == pytest.approx(begun + 0.2, abs=0.001)
    await bench.until(110.0)
    pieces = [frame.audio for _, frame in bench.given if not is_interruptible(frame)]
    played = np.frombuffer(b"".join(pieces), "<u2")
    assert played[played > 0].tolist() == list(range(1, 3201))


@pytest.mark.parametrize("is_amid", [True, False])
async def test_uninterruptible_speech_that_was_taken_goes_on_without_a_click(is_amid: bool):
    """What is amid its conversion is not begun anew."""
    rate = 24_000
    bench = Bench(rate=rate)
    kept = tone(0.5, RATE)
    bench.playout.open_utterance()
    bench.write(tone(0.05, RATE))
    if not is_amid:
        bench.playout.open_utterance(interruptible=False)
    bench.write(kept, interruptible=False)
    bench.close()
    await bench.until(100.01)
    bench.interrupt()
    await bench.until(110.0)
    played = b"".join(frame.audio for _, frame in bench.given if not is_interruptible(frame))
    converter = SpeechConverter(rate)
    whole = converter.convert(kept, RATE, 1) + converter.flush()
    assert played.startswith(whole)
    assert not any(played[len(whole) :])


@pytest.mark.parametrize("seed", range(60))
async def test_whatever_is_cut_uninterruptible_speech_is_given_once_and_it_is_known_when_it_ends(
    seed: int,
):
    chance, bench, written, kept = Random(seed), Bench(), 0, []
    for _ in range(chance.randint(3, 9)):
        if chance.random() < 0.7:
            said = range(written, written + chance.choice([1, 100, 640, 1000, 1300, 3200, 6400]))
            is_kept = chance.random() < 0.5
            kept += said if is_kept else ()
            written = said.stop
            bench.playout.open_utterance(interruptible=not is_kept)
            bench.write(numbered(said), interruptible=not is_kept)
            if chance.random() < 0.8:
                bench.close()
        else:
            bench.interrupt()
            if bench.plays and not is_interruptible(bench.plays[-1][1]):
                silence_secs = bench.plays[-1][0] - bench.playout.outgoing.sounds_until
                assert -0.001 <= silence_secs <= CHUNK_SECS
        await bench.until(bench.now + chance.choice([0.0, 0.01, 0.03, 0.04, 0.06, 0.15, 0.5]))
    bench.playout.close_utterance()
    await bench.until(bench.now + 10.0)
    pieces = [frame.audio for _, frame in bench.given if not is_interruptible(frame)]
    played = np.frombuffer(b"".join(pieces), "<u2")
    assert (played[played > 0] - 1).tolist() == kept
    assert bench.playout.unheard_secs(bench.now) == 0


async def test_an_interruption_forgets_what_was_taken_and_speech_after_it_is_whole():
    bench = Bench(rate=24_000)
    bench.say(tone(3.0, RATE), "cut")
    await bench.until(100.5)
    bench.interrupt()
    count = len(bench.given)
    await bench.until(101.0)
    assert len(bench.given) == count
    bench.say(tone(0.4, RATE), "said")
    await bench.until(110.0)
    more = b"".join(frame.audio for _, frame in bench.given[count:])
    want = np.frombuffer(tone(0.4, 24_000), "<i2").astype(int)
    assert len(more) == 2 * len(want)
    assert np.abs(np.frombuffer(more, "<i2") - want)[:-20].max() < 300
    assert bench.at("said") == pytest.approx(1.4, abs=0.01)


async def test_it_goes_on_where_another_was_silenced():
    bench = Bench()
    bench.say(numbered(range(RATE)))
    message = bench.playout.outgoing.take_message(bench.now)
    assert message is not None
    bench.playout.outgoing.confirmed(bench.now)
    bench.now = 100.75
    latency_secs = bench.playout.pace.avatar_latency_secs
    bench.playout.outgoing.recall(bench.now)
    heard = round((0.75 - latency_secs) * RATE)
    bench.playout.take_heard(bench.now)
    await bench.until(110.0)
    played = np.frombuffer(bench.audio, "<u2")
    assert played[played > 0].tolist() == list(range(heard + 1, RATE + 1))


# --- nobody ----------------------------------------------------------------------------


async def test_what_nobody_says_is_gone_at_once_and_counted():
    playout: Playout[str] = Playout()
    dropped: list[float] = []
    sink = SilentSink(playout.outgoing, meter=cast(Any, SimpleNamespace(dropped=dropped.append)))
    assert sink.due(5.0) is None
    assert not await sink.send(5.0)
    playout.open_utterance()
    playout.write(numbered(range(RATE)), 5.0)
    assert sink.due(5.0) == 5.0
    assert await sink.send(5.0)
    assert dropped == [1.0]
    assert sink.due(5.0) is None
    playout.close_utterance()
    assert playout.finished(5.0)


# --- the avatar ------------------------------------------------------------------------


class Line:
    """A session with room for so many messages; keeps those that were sent."""

    confirm_secs = round_trip_secs = 0.05

    def __init__(self, room: int = 1) -> None:
        self.room = room
        self.sent: list[bytes] = []
        self.ambiguous_sizes: set[int] = set()

    @property
    def can_speak(self) -> bool:
        return self.room > 0

    def speak(self, audio: bytes) -> None:
        self.room -= 1
        self.sent.append(audio)

    def interrupt(self) -> bool:
        return True


def _ignore(*_: object, **__: object) -> None:
    pass


def avatar_with(playout: Playout[str], line: Line) -> AvatarSink:
    meter = SimpleNamespace(sent=_ignore, confirmed=_ignore, rejected=_ignore)
    sink = AvatarSink(playout.outgoing, meter=cast(Any, meter))
    sink.attach(line)
    return sink


async def test_the_avatar_takes_all_that_may_leave_and_nothing_else_is_due_of_that():
    playout: Playout[str] = Playout()
    sink = avatar_with(playout, line := Line(room=2))
    playout.write(numbered(range(3 * RATE)), 5.0)
    assert not await sink.send(5.0)
    assert len(line.sent) == 2


async def test_what_was_refused_is_passed_over_and_what_stands_behind_it_may_be_due():
    playout: Playout[str] = Playout()
    sink = avatar_with(playout, line := Line())
    playout.write(numbered(range(RATE)), 5.0)
    await sink.send(5.0)
    sink.confirmed(5.05, 5.05)
    line.room = 1
    playout.write(numbered(range(RATE)), 5.05)
    await sink.send(5.05)
    sink.rejected(5.1)
    playout.outgoing.recall(5.1)
    playout.close_utterance()
    sent = len(line.sent)
    looks: list[bool] = []
    for _ in range(4):  # Until all is sent again that was not refused.
        line.room = 1
        looks.append(await sink.send(5.2))
    assert looks.count(True) == 1
    refused = line.sent[1]
    assert sum(map(len, line.sent[sent:])) == 2 * 2 * RATE - len(refused)


async def test_speech_makes_no_difference_before_an_answer_or_while_the_avatar_has_plenty():
    playout: Playout[str] = Playout()
    sink = avatar_with(playout, line := Line())
    assert not sink.needs_none(5.0, math.inf)  # It has nothing.
    playout.write(numbered(range(RATE)), 5.0)
    await sink.send(5.0)
    assert sink.needs_none(5.01, math.inf)  # Its answer makes somebody look.
    sink.confirmed(5.05, 5.05)
    line.room = 1
    playout.write(numbered(range(RATE)), 5.05)
    await sink.send(5.05)
    sink.confirmed(5.1, 5.1)
    line.room = 1
    assert sink.needs_none(5.2, 6.0)
    assert not sink.needs_none(5.2, math.inf)  # Nobody looks in time.
    assert not sink.needs_none(6.3, 6.4)
    sink.detach()
    assert not sink.needs_none(5.2, 6.0)
