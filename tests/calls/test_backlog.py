"""More than there is room for: it is dropped, counted and told of, and nothing waits for it."""

import time
from dataclasses import dataclass

import pytest
from pipecat.frames.frames import (
    DataFrame,
    Frame,
    HeartbeatFrame,
    LLMContextFrame,
    OutputImageRawFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from tests.support.calls import Call, avatars, calling
from tests.support.inside import set_limits
from tests.support.sounds import RATE, never, numbered, once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")

PIECE = 1600
"""Samples in each piece that the TTS service delivers."""


@dataclass
class Note(DataFrame):
    """Something of an application."""

    number: int = 0


def pieces(call: Call, secs: float) -> list[Frame]:
    """Numbered speech."""
    start, call.said = call.said, call.said + round(secs * RATE)
    return [
        TTSAudioRawFrame(numbered(range(n, n + PIECE)), RATE, 1)
        for n in range(start, call.said, PIECE)
    ]


@virtually
async def test_nothing_waits_for_room(monkeypatch):
    """Heartbeats, frames for others, pictures, and what goes up."""
    set_limits(monkeypatch, backlog_secs=0.5)
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame(), *pieces(call, 3.0), TTSTextFrame("words", "sentence"))
        elsewhere = Note()
        elsewhere.transport_destination = "interpreter"
        picture = OutputImageRawFrame(b"\0\0\0", (1, 1), "RGB")
        asked_at = time.monotonic()
        await call.feed(Note(1), elsewhere, picture, HeartbeatFrame(timestamp=0))
        await call.behind.push_frame(LLMContextFrame(context=call.context), FrameDirection.UPSTREAM)
        await call.above.wait_for(lambda: call.above.seen(LLMContextFrame, upstream=True))
        await call.behind.wait_for(lambda: call.behind.seen(HeartbeatFrame))
        await call.between.wait_for(lambda: elsewhere in call.between.of(Note))
        await call.between.wait_for(lambda: call.between.seen(OutputImageRawFrame))
        assert time.monotonic() - asked_at < 0.4
        assert [frame.number for frame in call.behind.of(Note)] in ([], [0]), "that one is held"
        await call.feed(TTSStoppedFrame())
        await call.end()
    assert [frame.number for frame in call.behind.of(Note)][-1] == 1
    assert not call.unpaired()


@virtually
async def test_speech_beyond_the_backlog_is_dropped_counted_and_told_of_once(monkeypatch, log):
    set_limits(monkeypatch, backlog_secs=0.5)
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame(), *pieces(call, 3.0), TTSStoppedFrame())
        await call.spoken()
        cut = call.said
        more = await call.say(0.3)
        await call.end()
    heard = call.heard_of_avatar()
    assert once(heard, range(RATE // 2))
    assert never(heard, range(cut - RATE, cut))
    assert once(heard, more), "there is room again"
    stats = call.avatar.stats
    assert stats.dropped_secs > 1.0
    assert stats.heard_secs + stats.dropped_secs == pytest.approx(stats.taken_secs, abs=0.05)
    assert [frame.code for frame in call.error_frames] == ["backlog_full"]
    (told,) = call.reported
    assert "wait to be said" in told.error


@virtually
async def test_frames_beyond_those_that_may_be_held_pass_and_words_are_dropped(monkeypatch):
    set_limits(monkeypatch, held_frames=10)
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame(), *pieces(call, 1.0))
        await until(lambda: call.avatar.stats.taken_secs == pytest.approx(1.0))
        await call.feed(*(Note(number) for number in range(40)))
        await call.feed(TTSTextFrame("words", "sentence"), TTSStoppedFrame())
        await call.behind.wait_for(lambda: call.behind.seen(TTSStoppedFrame))
        early = [frame.number for frame in call.behind.of(Note)]
        assert early == list(range(40 - len(early), 40)), "the latest, in order"
        assert 28 <= len(early) <= 31
        more = await call.say(0.3)
        await call.end()
    numbers = [frame.number for frame in call.behind.of(Note)]
    assert sorted(numbers) == list(range(40)), "none is lost"
    assert [frame.text for frame in call.behind.of(TTSTextFrame)] in ([], [f"words {more.start}"])
    assert once(call.heard_of_avatar(), range(RATE))
    assert once(call.heard_of_avatar(), more)
    assert not call.unpaired()
