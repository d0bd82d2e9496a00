"""What the output transport was given, and what came out of it. Time is handed in.

Beside a real transport of Pipecat that is not started: it shows its format, and tells what a test
lets it tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.frames.frames import (
    DataFrame,
    Frame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from pipecat_agenthuman.pipeline.frame_traits import (
    PassedMark,
    StandInAudioFrame,
    is_interruptible,
)
from pipecat_agenthuman.pipeline.in_transit import THROUGH_SECS, URGENT_SECS
from pipecat_agenthuman.pipeline.transport_output import UNTOLD_SECS, TransportOutput
from tests.support.pipelines import SoundCard
from tests.support.sounds import HAS_UNINTERRUPTIBLE_SPEECH, RATE, keep

CHUNK_SECS = 0.04


@dataclass
class Note(DataFrame):
    """Something of an application."""


class Bench:
    """A transport output, what it pushed, and a transport that tells on command."""

    def __init__(self, transport: BaseOutputTransport | None, *, rate: int = RATE) -> None:
        self.now = 100.0
        self.pushed: list[Any] = []
        self.news = 0
        self.late: list[tuple[float, float]] = []
        self.transport = transport
        worker = SimpleNamespace(pipeline=SimpleNamespace(processors=[]))
        neighbour = SimpleNamespace(next=transport, pipeline_worker=worker, push_frame=self._push)
        self.voice = TransportOutput(
            cast(FrameProcessor, neighbour),
            now=lambda: self.now,
            on_news=self._note,
            on_through=self._note,
            on_late=lambda *late: self.late.append(late),
        )
        assert self.voice.find(rate) is transport

    async def _push(self, frame: Frame) -> None:
        self.pushed.append(frame)

    def _note(self) -> None:
        self.news += 1

    async def comes_out(self, frame: Frame | None = None) -> None:
        """The transport is done with a frame: the first one if none is named."""
        frame = frame or self.pushed.pop(0)
        await self.transport._call_event_handler("on_after_push_frame", frame)

    async def is_taken(self, frame: Frame) -> None:
        """The transport took a frame, and may keep it."""
        await self.transport._call_event_handler("on_after_process_frame", frame)

    async def play(self, chunks: int, **options: Any) -> list[float]:
        """Let it play; returns when each piece begins."""
        audio = bytes(range(1, 256)) * 6
        size = self.voice.format.size
        options = {"interruptible": True} | options
        return [await self.voice.play(audio[:size], **options) for _ in range(chunks)]


@pytest.fixture
async def bench(log: object) -> Bench:
    return Bench(SoundCard())


def sound(secs: float) -> OutputAudioRawFrame:
    return OutputAudioRawFrame(bytes(2 * round(secs * RATE)), RATE, 1)


def timed(frame: Frame) -> Frame:
    frame.pts = 1
    return frame


def tones(number: int) -> OutputDTMFFrame:
    return OutputDTMFFrame(buttons=[KeypadEntry.ONE] * number)


# --- its format ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("params", "samples", "size"),
    [
        ({}, 960, 1920),
        ({"audio_out_channels": 2}, 960, 3840),
        ({"audio_out_10ms_chunks": 1}, 240, 480),
    ],
)
async def test_speech_goes_in_the_pieces_in_which_the_transport_plays(params, samples, size):
    bench = Bench(BaseOutputTransport(TransportParams(**params)), rate=24_000)
    chunk = bench.voice.format
    assert (chunk.sample_rate, chunk.samples, chunk.size) == (24_000, samples, size)
    assert chunk.secs == samples / 24_000
    await bench.voice.play(bytes(size), interruptible=True)
    (frame,) = bench.pushed
    assert type(frame) is StandInAudioFrame
    assert (frame.sample_rate, len(frame.audio)) == (24_000, size)
    assert frame.num_channels == params.get("audio_out_channels", 1)


async def test_speech_is_as_uninterruptible_as_it_was(bench):
    await bench.play(1, interruptible=False)
    await bench.play(1, interruptible=True)
    assert [is_interruptible(frame) for frame in bench.pushed] == [False, True]
    assert all(isinstance(frame, StandInAudioFrame) for frame in bench.pushed)


# --- its time --------------------------------------------------------------------------


async def test_a_piece_sounds_now_or_behind_those_before_it(bench):
    assert await bench.play(3) == pytest.approx([100.0, 100.04, 100.08])
    assert bench.voice.free_at == pytest.approx(100.12)
    assert bench.voice.unplayed_secs == pytest.approx(0.12)
    bench.now = 103.0
    assert bench.voice.unplayed_secs == 0
    assert await bench.play(1) == [103.0]


async def test_pieces_that_have_not_come_out_are_counted(bench):
    await bench.play(3)
    assert bench.voice.is_behind(3)
    assert not bench.voice.is_behind(4)
    bench.now += CHUNK_SECS
    await bench.comes_out()
    assert bench.news == 1
    assert not bench.voice.is_behind(3)
    assert bench.voice.free_at == pytest.approx(100.12), "in time"
    assert not bench.late


async def test_a_transport_that_plays_late_is_believed(bench):
    """It cannot have played what has not come out."""
    await bench.play(3)
    bench.now += 1.0
    await bench.comes_out()
    assert bench.voice.free_at == pytest.approx(101.0 + 2 * CHUNK_SECS)
    seemed_to_sound_at = pytest.approx(100.0 + CHUNK_SECS)
    assert bench.late == [(seemed_to_sound_at, pytest.approx(1.0 - CHUNK_SECS))], "that is told"
    assert await bench.play(1) == pytest.approx([101.0 + 2 * CHUNK_SECS])


async def test_what_sounds_is_known_piece_by_piece(bench):
    assert bench.voice.known_until == math.inf
    await bench.play(2)
    assert bench.voice.known_until == pytest.approx(100.0 + CHUNK_SECS, abs=0.002)
    bench.now += 0.3
    assert bench.voice.known_until == pytest.approx(100.0 + CHUNK_SECS, abs=0.002), "it hangs"
    await bench.comes_out()
    assert bench.voice.known_until == pytest.approx(bench.now + CHUNK_SECS, abs=0.002)
    await bench.comes_out()
    assert bench.voice.known_until == math.inf


async def test_behind_a_frame_nothing_sounds_before_that_came_out(bench):
    await bench.play(1)
    await bench.voice.give(note := Note())
    await bench.voice.give(word := timed(TTSTextFrame("one", "word")))
    await bench.play(2)
    bench.now += CHUNK_SECS
    await bench.comes_out()
    assert bench.voice.known_until <= bench.now, "the transport is busy with the frame"
    bench.now += 0.3
    await bench.comes_out(word)
    assert bench.voice.known_until < bench.now, "which goes its own way"
    assert not bench.late
    await bench.comes_out(note)
    assert bench.late == [(pytest.approx(100.0 + CHUNK_SECS), pytest.approx(0.3))]
    assert bench.voice.known_until == pytest.approx(bench.now + CHUNK_SECS, abs=0.002)
    assert bench.voice.free_at == pytest.approx(bench.now + 2 * CHUNK_SECS)


async def test_a_frame_that_somebody_keeps_holds_up_no_more_than_one_piece(bench):
    await bench.voice.give(Note())
    await bench.play(2)
    bench.now += CHUNK_SECS
    await bench.comes_out(bench.pushed[1])
    assert bench.voice.known_until == pytest.approx(bench.now + CHUNK_SECS, abs=0.002)


async def test_a_transport_that_does_not_tell_is_not_waited_for(bench):
    await bench.play(2)
    bench.now = 100.04 + UNTOLD_SECS - 0.001
    assert bench.voice.is_behind(2)
    due = bench.voice.next_change
    assert due == pytest.approx(100.04 + UNTOLD_SECS)
    bench.now = due + 0.001
    assert not bench.voice.is_behind(2)
    assert bench.voice.is_behind(1)
    bench.now += CHUNK_SECS
    assert not bench.voice.is_behind(1)
    assert bench.voice.idle


async def test_it_is_idle_when_everything_came_out(bench):
    assert bench.voice.idle
    assert bench.voice.next_change is None
    await bench.play(1)
    bench.now += CHUNK_SECS
    assert not bench.voice.idle
    await bench.comes_out()
    assert bench.voice.idle


# --- frames on their way ---------------------------------------------------------------


async def test_it_is_settled_when_every_frame_came_out(bench):
    first, second = TTSTextFrame("one", "word"), Note()
    await bench.voice.give(first)
    await bench.voice.give(second)
    assert bench.pushed == [first, second]
    assert not bench.voice.settled
    await bench.comes_out(first)
    assert not bench.voice.settled
    await bench.comes_out(second)
    assert bench.voice.settled
    assert bench.news == 2


async def test_a_frame_that_is_given_ahead_of_its_turn_holds_up_nothing_before(bench):
    await bench.voice.give(Note(), since=100.2)
    assert bench.voice.settled
    assert not bench.voice.idle
    assert bench.voice.next_change == 100.2
    bench.now = 100.201
    assert not bench.voice.settled


async def test_what_somebody_in_between_keeps_is_waited_for_once(bench):
    await bench.voice.give(Note())
    bench.now += THROUGH_SECS - 0.001
    assert not bench.voice.settled
    due = bench.voice.next_change
    assert due == pytest.approx(100.0 + THROUGH_SECS)
    bench.now = due + 0.001
    assert bench.voice.settled
    await bench.voice.give(Note())
    assert bench.voice.settled, "that kind does not come out"
    await bench.voice.give(TTSTextFrame("one", "word"))
    assert not bench.voice.settled, "but others do"


async def test_a_queue_of_slow_frames_is_waited_for_while_the_transport_gets_on(bench):
    """Each takes longer than the one before left it, but it is their turn that they wait for."""
    messages = [OutputTransportMessageFrame(message={"number": n}) for n in range(20)]
    for message in messages:
        await bench.voice.give(message)
    for message in messages:
        bench.now += THROUGH_SECS - 0.1
        assert not bench.voice.settled
        await bench.comes_out(message)
    assert bench.voice.settled
    await bench.voice.give(OutputTransportMessageFrame(message={}))
    bench.now += THROUGH_SECS + 0.001
    assert bench.voice.settled, "and no longer than that for one that does not come out"


async def test_what_was_overtaken_is_kept_by_somebody(bench):
    kept = Note()
    await bench.voice.give(kept)
    for _ in range(4):
        later = OutputTransportMessageFrame(message={})
        await bench.voice.give(later)
        bench.now += THROUGH_SECS / 4 + 0.01
        await bench.comes_out(later)
    assert bench.voice.settled


async def test_a_frame_with_a_timestamp_overtakes_nobody(bench):
    """The transport has another queue for it."""
    message, next_message = (OutputTransportMessageFrame(message={}) for _ in range(2))
    timed = TTSTextFrame("one", "word")
    timed.pts = 1
    await bench.voice.give(message)
    await bench.voice.give(next_message)
    await bench.voice.give(timed)
    bench.now += THROUGH_SECS - 0.1
    await bench.comes_out(message)
    await bench.comes_out(timed)
    bench.now += THROUGH_SECS - 0.1
    assert not bench.voice.settled
    await bench.comes_out(next_message)
    assert bench.voice.settled


async def test_urgent_messages_that_go_before_a_frame_cost_it_no_time(bench):
    """A transport takes system frames first; each may take as long as sending a message does."""
    await bench.voice.give(Note())
    for _ in range(5):
        urgent = OutputTransportMessageUrgentFrame(message={})
        await bench.transport._call_event_handler("on_before_process_frame", urgent)
        bench.now += THROUGH_SECS - 0.1
        assert not bench.voice.settled, "while it is being sent"
        await bench.is_taken(urgent)
    bench.now += THROUGH_SECS - 0.001
    assert not bench.voice.settled
    bench.now += 0.002
    assert bench.voice.settled


async def test_an_urgent_message_that_never_ends_is_not_waited_for_for_ever(bench):
    urgent, note = OutputTransportMessageUrgentFrame(message={}), Note()
    await bench.transport._call_event_handler("on_before_process_frame", urgent)
    await bench.voice.give(note)
    bench.now += THROUGH_SECS + URGENT_SECS - 0.001
    assert not bench.voice.settled
    bench.now += 0.002
    assert bench.voice.settled
    await bench.is_taken(urgent)
    await bench.voice.give(Note())
    assert not bench.voice.settled, "nobody kept the first one"


async def test_what_waits_behind_speech_is_given_the_time_of_that(bench):
    await bench.play(100)
    await bench.voice.give(Note())
    bench.now += 100 * CHUNK_SECS + THROUGH_SECS - 0.1
    assert not bench.voice.settled


async def test_what_the_transport_keeps_needs_only_to_get_there(bench):
    kept = sound(0.04)
    await bench.voice.give(kept, is_kept=True)
    assert not bench.voice.settled
    await bench.is_taken(kept)
    assert bench.voice.settled
    other = Note()
    await bench.voice.give(other)
    await bench.is_taken(other)
    assert not bench.voice.settled


# --- sounds ----------------------------------------------------------------------------


@pytest.mark.parametrize("frame", [sound(0.4), tones(3)], ids=["a sound", "tones"])
async def test_speech_waits_until_the_mark_behind_a_sound_comes_out(bench, frame):
    await bench.voice.give_sound(frame)
    given, mark = bench.pushed
    assert given is frame
    assert isinstance(mark, PassedMark)
    assert not is_interruptible(mark)
    assert bench.voice.bars_speech
    bench.now += 0.4
    await bench.comes_out(frame)
    assert bench.voice.bars_speech
    await bench.comes_out(mark)
    assert not bench.voice.bars_speech


async def test_a_sound_that_never_ends_is_not_waited_for_for_ever(bench):
    await bench.voice.give_sound(sound(0.4))
    bench.now += 0.4 + THROUGH_SECS - 0.001
    assert bench.voice.bars_speech
    bench.now += 0.002
    assert not bench.voice.bars_speech
    assert bench.voice.idle
    await bench.voice.give_sound(sound(0.4))
    assert bench.voice.bars_speech, "the next one is waited for again"


async def test_sounds_in_a_row_are_waited_for_one_behind_the_other(bench):
    for _ in range(10):
        await bench.voice.give_sound(sound(1.0))
    bench.now += 10.0
    assert bench.voice.bars_speech


async def test_a_sound_has_the_rate_of_the_transport_and_its_end_is_heard(bench):
    """What the transport's own resampler and buffer keep would be heard behind later speech."""
    await bench.voice.give_sound(OutputAudioRawFrame(b"\1\1" * 2205, 22_050, 1))
    assert await bench.voice.finish_sound()
    assert not await bench.voice.finish_sound()
    sounds = [frame for frame in bench.pushed if isinstance(frame, OutputAudioRawFrame)]
    assert {frame.sample_rate for frame in sounds} == {RATE}
    samples = sum(len(frame.audio) for frame in sounds) // 2
    assert samples % bench.voice.format.samples == 0
    assert 0.1 <= samples / RATE < 0.1 + CHUNK_SECS + 0.01
    assert bench.voice.bars_speech


async def test_a_sound_of_whole_pieces_needs_no_end(bench):
    await bench.voice.give_sound(sound(0.4))
    assert not await bench.voice.finish_sound()


async def test_a_transport_that_plays_no_audio_makes_no_sound(log):
    bench = Bench(SoundCard(audio_out_enabled=False))
    await bench.voice.give_sound(sound(3.0))
    assert not bench.voice.bars_speech
    await bench.voice.give_sound(tones(1))
    assert bench.voice.bars_speech, "but it may press keys"


def test_messages_and_what_a_transport_handles_itself_take_time(log):
    class Sender(SoundCard):
        async def write_transport_frame(self, frame: Frame) -> None:
            """Whatever that is."""

    message = OutputTransportMessageFrame(message={})
    plain, sender = Bench(SoundCard()).voice, Bench(Sender()).voice
    assert plain.takes_time(message)
    assert plain.takes_time(sound(0.1))
    assert plain.takes_time(tones(1))
    assert not plain.takes_time(Note())
    assert not plain.takes_time(TTSTextFrame("one", "word"))
    assert sender.takes_time(Note())
    assert not sender.takes_time(TTSTextFrame("one", "word"))


async def test_speech_waits_for_a_message_until_that_is_out(bench):
    message = OutputTransportMessageFrame(message={})
    await bench.voice.give(message)
    assert bench.voice.bars_speech
    await bench.comes_out(message)
    assert not bench.voice.bars_speech


# --- interruptions ---------------------------------------------------------------------


async def test_an_interruption_takes_back_all_but_the_piece_that_plays(bench):
    await bench.play(5)
    bench.voice.interrupted(bench.now)
    assert not bench.voice.is_behind(1)
    assert bench.voice.free_at == pytest.approx(100.0 + CHUNK_SECS)
    bench.now += CHUNK_SECS
    assert bench.voice.idle


@pytest.mark.parametrize("pieces", [0, 2])
async def test_what_an_interruption_leaves_does_not_come_behind_speech_that_it_drops(bench, pieces):
    await bench.play(pieces, interruptible=False)
    await bench.play(5)
    await bench.voice.give(Note(), since=bench.voice.free_at)
    bench.voice.interrupted(bench.now)
    assert bench.voice.settled
    bench.now = bench.voice.free_at
    assert not bench.voice.settled, "its turn has come"


async def test_what_an_interruption_drops_is_not_waited_for(bench):
    await bench.voice.give(Note())
    await bench.voice.give_sound(sound(3.0))
    bench.voice.forget_interruptible()
    # Only the marks are left: no interruption drops those.
    kept = [frame for frame in bench.pushed if not is_interruptible(frame)]
    assert kept
    assert all(isinstance(frame, PassedMark) for frame in kept)
    await bench.comes_out(bench.pushed[-1])
    assert bench.voice.settled
    assert not bench.voice.bars_speech


async def test_what_the_transport_is_just_doing_it_does_to_its_end(bench):
    """A message that is being sent, a tone that sounds: no interruption stops them."""
    await bench.voice.give(OutputTransportMessageFrame(message={}))
    bench.voice.forget_interruptible()
    await bench.voice.follow_interruption()
    mark = bench.pushed[-1]
    assert isinstance(mark, PassedMark)
    assert bench.voice.bars_speech
    await bench.comes_out(mark)
    assert not bench.voice.bars_speech
    before = len(bench.pushed)
    await bench.voice.follow_interruption()
    assert len(bench.pushed) == before, "there was nothing to wait for"


@pytest.mark.skipif(not HAS_UNINTERRUPTIBLE_SPEECH, reason="no interruption leaves a sound alone")
async def test_an_uninterruptible_sound_is_waited_for_through_an_interruption(bench):
    await bench.voice.give_sound(keep(sound(3.0)))
    bench.voice.forget_interruptible()
    await bench.voice.follow_interruption()
    bench.now += 3.0
    assert bench.voice.bars_speech
    for frame in bench.pushed:
        await bench.comes_out(frame)
    assert not bench.voice.bars_speech


# --- no transport in sight -------------------------------------------------------------


@pytest.fixture
def blind(log: object) -> Bench:
    return Bench(None)


async def test_without_a_transport_durations_count(blind):
    await blind.play(2)
    assert not blind.voice.is_behind(1)
    assert not blind.voice.idle
    blind.now += 2 * CHUNK_SECS + 0.001
    assert blind.voice.idle
    await blind.voice.give_sound(sound(0.5))
    assert len(blind.pushed) == 3, "a mark would never come out"
    blind.now += 0.499
    assert blind.voice.bars_speech
    blind.now += 0.002
    assert not blind.voice.bars_speech


async def test_without_a_transport_nothing_is_waited_for(blind):
    await blind.voice.give(Note())
    await blind.voice.give(OutputTransportMessageFrame(message={}))
    assert blind.voice.settled
    assert not blind.voice.bars_speech
    assert blind.voice.format.sample_rate == RATE
