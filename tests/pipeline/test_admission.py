"""Which frames still count after an interruption."""

import pytest
from pipecat.frames.frames import (
    Frame,
    LLMFullResponseStartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from pipecat_agenthuman.pipeline.admission import Admission
from pipecat_agenthuman.pipeline.frame_traits import read
from tests.support.fuzz.parts import kept


@pytest.fixture
def admission() -> Admission:
    return Admission("the test")


def started(context_id: str | None) -> Frame:
    return TTSStartedFrame(context_id=context_id)


def speech(context_id: str | None) -> Frame:
    return TTSAudioRawFrame(bytes(320), 16_000, 1, context_id=context_id)


def stopped(context_id: str | None) -> Frame:
    return TTSStoppedFrame(context_id=context_id)


def word(context_id: str | None) -> Frame:
    return TTSTextFrame("word", "word", context_id=context_id)


def let_in(admission: Admission, *frames: Frame) -> None:
    for frame in frames:
        assert admission.admits(read(frame))


def test_all_contexts_that_are_said_in_turns_are_interrupted(admission: Admission):
    let_in(admission, started("a"), speech("a"), started("b"), speech("b"))
    admission.interrupt()
    admission.interrupted("b", announced=True)
    for context_id in "ab":
        assert not admission.admits(read(speech(context_id)))
        assert not admission.admits(read(stopped(context_id)))


def test_each_of_them_may_start_anew(admission: Admission):
    let_in(admission, started("a"), started("b"))
    admission.interrupt()
    admission.interrupted("b", announced=True)
    let_in(admission, started("a"), speech("a"), started("b"), speech("b"))


def test_a_context_that_has_its_end_is_not_interrupted(admission: Admission):
    let_in(admission, started("a"), started("b"), stopped("a"))
    admission.interrupt()
    let_in(admission, speech("a"))
    assert not admission.admits(read(speech("b")))


def test_no_interruption_stops_what_is_uninterruptible(admission: Admission):
    let_in(admission, kept(started("a")), started("b"))
    admission.interrupt()
    let_in(admission, kept(speech("a")))
    assert not admission.admits(read(speech("b")))


def test_what_goes_on_is_let_in_to_its_end_even_if_that_is_interruptible(admission: Admission):
    let_in(admission, started("a"), kept(speech("a")), started("b"), kept(speech("b")))
    admission.interrupt(kept="b")
    let_in(admission, kept(speech("b")), stopped("b"))
    assert not admission.admits(read(stopped("a")))


def test_speech_without_a_name_is_let_in_by_the_next_start(admission: Admission):
    let_in(admission, started(None), speech(None))
    admission.interrupted(None, announced=True)
    assert not admission.admits(read(speech(None)))
    let_in(admission, started(None), speech(None))


def test_late_words_of_speech_without_a_name_go_with_it(admission: Admission):
    let_in(admission, started(None), speech(None), word(None))
    admission.interrupted(None, announced=True)
    for late in (speech(None), word(None), stopped(None)):
        assert not admission.admits(read(late))
    let_in(admission, word("b"), started("b"), speech("b"))


@pytest.mark.parametrize("start", [LLMFullResponseStartFrame(), started(None)])
def test_what_has_no_name_is_new_behind_the_next_start(admission: Admission, start: Frame):
    """Of an answer, too: speech models tell words of it before its speech."""
    let_in(admission, started(None), speech(None))
    admission.interrupted(None, announced=True)
    let_in(admission, start, word(None), speech(None), stopped(None))


@pytest.mark.parametrize("context_id", ["a", None])
def test_a_start_lets_in_what_follows_it_even_if_only_that_is_interruptible(
    admission: Admission, context_id: str | None
):
    let_in(admission, started(context_id), speech(context_id))
    admission.interrupt()
    admission.interrupted(context_id, announced=True)
    start = kept(started(context_id))
    let_in(admission, start, speech(context_id), word(context_id), stopped(context_id))
