"""What is taken in while it makes no difference yet: it comes later, and to the sample the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from pipecat.frames.frames import (
    AggregatedTextFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from pipecat_agenthuman.pipeline.availability import AvatarState
from pipecat_agenthuman.pipeline.frame_traits import read
from pipecat_agenthuman.pipeline.intake import Intake
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.cues import Release
from pipecat_agenthuman.playout.originals import Originals
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE, to_samples

PIECE_SECS = 0.02


def tone(secs: float, rate: int) -> bytes:
    times = np.arange(round(secs * rate)) / rate
    return (9000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()


class Bench:
    """An intake whose avatar needs speech, or none.

    Attributes:
        now: The time.
        needs_none: Whether speech makes no difference yet.
        told: When the driver was told of speech.
    """

    def __init__(self) -> None:
        self.now = 10.0
        self.needs_none = False
        self.told: list[float] = []
        self.playout: Playout[Frame] = Playout()
        self.originals = Originals()
        clock = SimpleNamespace(get_time=lambda: round(self.now * 1e9))
        self.intake = Intake(
            cast(Any, SimpleNamespace(get_clock=lambda: clock)),
            availability=cast(Any, SimpleNamespace(state=AvatarState.READY)),
            playout=self.playout,
            originals=self.originals,
            transport=cast(Any, SimpleNamespace(takes_time=lambda _: False)),
            meter=cast(Any, SimpleNamespace(announced=lambda _: None)),
            now=lambda: self.now,
            on_news=lambda: None,
            on_speech=self.told.append,
            needs_none=lambda _: self.needs_none,
        )

    def say(
        self, secs: float, *, rate: int = WIRE_SAMPLE_RATE, interruptible: bool = True
    ) -> bytes:
        """Speech in pieces, in real time; returns it."""
        audio = tone(secs, rate)
        size = 2 * round(PIECE_SECS * rate)
        for start in range(0, len(audio), size):
            piece = TTSAudioRawFrame(audio[start : start + size], rate, 1)
            self.intake.say(piece, interruptible=interruptible)
            self.now += PIECE_SECS
        return audio

    @property
    def written_secs(self) -> float:
        return self.playout.outgoing.backlog_secs

    def written(self) -> bytes:
        return b"".join(part.audio for part in cast(Any, self.playout.hand_over(self.now)))


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_speech_that_makes_no_difference_is_collected_until_it_is_wanted(bench: Bench):
    bench.say(PIECE_SECS)
    bench.needs_none = True
    bench.say(0.1)
    assert bench.written_secs == pytest.approx(PIECE_SECS)
    bench.intake.settle()
    assert bench.written_secs == pytest.approx(PIECE_SECS + 0.1)


def test_the_first_of_an_utterance_is_not_collected(bench: Bench):
    bench.needs_none = True
    bench.intake.start(TTSStartedFrame(), interruptible=True)
    bench.say(PIECE_SECS)
    assert bench.written_secs == pytest.approx(PIECE_SECS)


def test_not_more_is_collected_than_is_good_for_anything_and_the_driver_is_told(bench: Bench):
    bench.say(PIECE_SECS)
    bench.needs_none = True
    bench.told.clear()
    bench.say(1.0)
    assert bench.written_secs > 0.75
    assert 3 <= len(bench.told) <= 6


@pytest.mark.parametrize("rate", [8_000, 16_000, 22_050, 24_000, 44_100])
def test_collected_or_not_it_is_the_same_sound(bench: Bench, rate: int):
    converter = SpeechConverter()
    bench.say(PIECE_SECS, rate=rate)
    bench.needs_none = True
    said = tone(PIECE_SECS, rate) + bench.say(0.33, rate=rate)
    bench.intake.finish()
    whole = converter.convert(said, rate, 1) + converter.flush()
    parts = [np.frombuffer(audio, "<i2").astype(int) for audio in (bench.written(), whole)]
    assert len(parts[0]) == len(parts[1])
    assert np.abs(parts[0] - parts[1]).max() <= 1


def test_another_format_comes_behind_what_was_collected(bench: Bench):
    bench.say(PIECE_SECS)
    bench.needs_none = True
    bench.say(0.1)
    bench.say(PIECE_SECS, rate=8_000)
    bench.intake.finish()
    assert bench.written_secs == pytest.approx(0.1 + 2 * PIECE_SECS)


def test_a_frame_is_held_behind_what_was_collected(bench: Bench):
    bench.say(PIECE_SECS)
    bench.needs_none = True
    bench.say(0.1)
    bench.intake.hold(frame := TTSStoppedFrame(), interruptible=True)
    parts = bench.playout.hand_over(bench.now)
    assert getattr(parts[-1], "item", None) is frame
    assert len(cast(Any, parts[0]).audio) == 2 * to_samples(PIECE_SECS + 0.1)


def test_an_interruption_drops_what_was_collected_and_counts_it(bench: Bench):
    bench.say(PIECE_SECS)
    bench.needs_none = True
    bench.say(0.1)
    bench.intake.interrupt()
    dropped = bench.playout.interrupt(bench.now).dropped_samples
    assert dropped == to_samples(PIECE_SECS + 0.1)
    bench.intake.settle()
    assert not bench.written_secs


def test_an_interruption_keeps_what_was_collected_of_uninterruptible_speech(bench: Bench):
    bench.say(PIECE_SECS, interruptible=False)
    bench.needs_none = True
    bench.say(0.1, interruptible=False)
    bench.intake.interrupt()
    assert not bench.playout.interrupt(bench.now).dropped_samples
    assert bench.written_secs == pytest.approx(PIECE_SECS + 0.1)


def test_pieces_that_were_collected_count_as_what_they_were(bench: Bench):
    """Else the first message of the next utterance would wait for a longer one."""
    together, alone = bench, Bench()
    for each in (together, alone):
        each.say(PIECE_SECS)
        each.needs_none = each is together
        each.say(0.1)
        each.intake.settle()
    sizes = [one.playout.outgoing._piece_secs for one in (together, alone)]
    assert sizes[0] == pytest.approx(sizes[1])


def test_the_end_of_what_an_interruption_keeps_is_let_in(bench: Bench):
    admission = bench.intake.admission
    start, stop = TTSStartedFrame(context_id="a"), TTSStoppedFrame(context_id="a")
    assert admission.admits(read(start))
    bench.intake.start(start, interruptible=True)
    bench.say(PIECE_SECS, interruptible=False)
    bench.intake.interrupt()
    assert bench.intake.is_open
    assert admission.admits(read(stop))


def test_a_word_of_speech_that_nobody_announced_is_none_of_the_speech_before(bench: Bench):
    """That may never be said, and the word is heard all the same."""
    bench.intake.start(TTSStartedFrame(context_id="a"), interruptible=True)
    bench.say(PIECE_SECS)
    bench.intake.stop(TTSStoppedFrame(context_id="a"), interruptible=True)
    for context_id in "ab":
        word = TTSTextFrame(context_id, "word", context_id=context_id)
        word.pts = round((bench.now + 1.0) * 1e9)
        bench.intake.hold(word, interruptible=True)
    bench.playout.outgoing.drop_backlog(bench.now)
    told: dict[str, bool] = {}
    while (due := bench.playout.next_cue()) is not None:
        cue = due.take()
        if isinstance(cue, Release) and isinstance(cue.item, TTSTextFrame):
            told[cue.item.text] = cue.unheard
    assert told == {"a": True, "b": False}


# --- what announces text ----------------------------------------------------------------


def text(words: str, at_secs: float) -> TTSTextFrame:
    word = TTSTextFrame(words, "word")
    word.pts = round(at_secs * 1e9)
    return word


def announcement(at_secs: float) -> AggregatedTextFrame:
    """What a TTS service will say; its time is that of the word before, or the present."""
    frame = AggregatedTextFrame("announced", "sentence")
    frame.pts = round(at_secs * 1e9)
    return frame


def in_order(bench: Bench) -> list[str]:
    """The texts that are held, in the order in which they will come."""
    items = [getattr(part, "item", None) for part in bench.playout.hand_over(bench.now)]
    return [item.text for item in items if isinstance(item, AggregatedTextFrame)]


def test_what_announces_words_comes_before_them_also_if_they_have_sounded(bench: Bench):
    """A TTS service that is given word by word knows its sentence last."""
    bench.intake.start(TTSStartedFrame(), interruptible=True)
    began = bench.now
    bench.say(0.4)
    for frame in (announcement(bench.now), text("a", began), text("b", began + 0.2)):
        bench.intake.hold(frame, interruptible=True)
    assert in_order(bench) == ["announced", "a", "b"]


def test_what_announces_words_comes_behind_the_words_before_it(bench: Bench):
    bench.intake.start(TTSStartedFrame(), interruptible=True)
    began = bench.now
    bench.say(0.4)
    for frame in (text("a", began), announcement(bench.now), text("b", began + 0.2)):
        bench.intake.hold(frame, interruptible=True)
    assert in_order(bench) == ["a", "announced", "b"]


def test_what_announces_words_waits_for_the_word_before_it(bench: Bench):
    bench.intake.start(TTSStartedFrame(), interruptible=True)
    began = bench.now
    bench.say(PIECE_SECS)
    said = (text("a", began + 0.5), announcement(began + 0.5), text("b", began + 0.2))
    for frame in said:
        bench.intake.hold(frame, interruptible=True)
    assert in_order(bench) == ["b", "a", "announced"]


@pytest.mark.parametrize("ahead_secs", [0.0, 2.0])
def test_what_announces_words_does_not_come_before_their_speech_is_announced(
    bench: Bench, ahead_secs: float
):
    """What sounds before it is heard later than it was delivered, and maybe delivered faster."""
    bench.intake.start(TTSStartedFrame(), interruptible=True)
    bench.say(0.4)
    last = bench.now + ahead_secs
    bench.intake.hold(text("last", last), interruptible=True)
    bench.intake.stop(TTSStoppedFrame(), interruptible=True)
    bench.intake.start(TTSStartedFrame(), interruptible=True)
    bench.intake.hold(announcement(last), interruptible=True)
    released: list[Any] = []
    while (due := bench.playout.next_cue()) is not None:
        released.append(getattr(due.take(), "item", None))
    assert [type(item) for item in released] == [TTSStartedFrame], "nothing has sounded yet"
    items = [getattr(part, "item", None) for part in bench.playout.hand_over(bench.now)]
    kinds = [type(item) for item in items if item is not None]
    assert kinds == [TTSTextFrame, TTSStoppedFrame, TTSStartedFrame, AggregatedTextFrame]


def test_what_announces_words_comes_behind_words_that_an_interruption_left(bench: Bench):
    bench.intake.start(TTSStartedFrame(), interruptible=False)
    began = bench.now
    bench.say(0.4, interruptible=False)
    for frame in (text("a", began), text("b", began + 0.2)):
        bench.intake.hold(frame, interruptible=False)
    bench.intake.interrupt()
    bench.playout.interrupt(bench.now)
    bench.intake.hold(announcement(bench.now), interruptible=False)
    assert in_order(bench) == ["a", "b", "announced"]
