"""Waiting costs nothing and ends: whatever is held, whoever speaks beside the avatar."""

import asyncio
import time
from typing import Any

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    ServiceUpdateSettingsFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.pipeline import gate
from pipecat_agenthuman.pipeline.in_transit import THROUGH_SECS, URGENT_SECS
from pipecat_agenthuman.service import DRAIN_GRACE_SECS, TEARDOWN_SECS
from tests.support.calls import avatars, calling
from tests.support.faults import fault
from tests.support.inside import note_driver_steps
from tests.support.pipelines import SoundCard
from tests.support.sounds import RATE, numbered, once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


@virtually
async def test_waiting_for_a_session_or_the_last_word_does_not_keep_the_processor_busy(monkeypatch):
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=0.5))
        async with calling(sandbox, until_ready=False) as call:
            steps = note_driver_steps(monkeypatch, call.avatar)
            await sandbox.wait_for("connection.established")
            assert len(steps) < 50
            await call.say(1.0)
            await call.end()
            await call.until_over()
    # 25 a second, and some for each frame and each answer; a loop without rest makes thousands.
    assert len(steps) < 400


@pytest.mark.parametrize("words_first", [False, True])
@virtually
async def test_a_sound_in_the_middle_of_an_utterance_holds_nothing_up(words_first: bool):
    async with avatars() as sandbox, calling(sandbox) as call:
        call.said = RATE
        await call.feed(TTSStartedFrame(context_id="a"))
        await call.feed(TTSAudioRawFrame(numbered(range(RATE // 2)), RATE, 1, context_id="a"))
        await until(lambda: call.avatar.stats.sent_secs > 0)
        now_ns = call.avatar.get_clock().get_time()
        for number in range(4 if words_first else 0):
            word = TTSTextFrame(f"word {number}", "word", context_id="a")
            word.pts = now_ns + number * 250_000_000
            await call.feed(word)
        await call.feed(OutputAudioRawFrame(b"\1\0" * 1600, RATE, 1))
        rest = numbered(range(RATE // 2, RATE))
        await call.feed(TTSAudioRawFrame(rest, RATE, 1, context_id="a"))
        await call.feed(TTSStoppedFrame(context_id="a"))
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE))
    assert len(call.behind.of(TTSTextFrame)) == (4 if words_first else 0)


@virtually
async def test_more_words_than_may_be_held_do_not_lock_out_their_own_audio(monkeypatch):
    monkeypatch.setattr(gate, "HELD_FRAMES", 100)
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame(context_id="a"))
        await call.feed(TTSAudioRawFrame(numbered(range(RATE // 2)), RATE, 1, context_id="a"))
        now_ns = call.avatar.get_clock().get_time()
        for number in range(150):
            word = TTSTextFrame(f"word {number}", "word", context_id="a")
            word.pts = now_ns + 600_000_000 + number * 1_000_000
            await call.feed(word)
        rest = numbered(range(RATE // 2, RATE))
        await call.feed(TTSAudioRawFrame(rest, RATE, 1, context_id="a"))
        call.said = RATE
        # There is no room for a stop either.
        await call.feed(TTSStoppedFrame(context_id="a"))
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE))
    words = [frame.text for frame in call.behind.of(TTSTextFrame)]
    assert words == [f"word {number}" for number in range(len(words))]
    assert 95 <= len(words) <= 100
    assert [frame.code for frame in call.error_frames] == ["backlog_full"]
    assert not call.unpaired()


class HangingCard(SoundCard):
    """Sends urgent messages for ever, until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def send_message(self, frame: Any) -> None:
        if isinstance(frame, OutputTransportMessageUrgentFrame):
            await self.let_go.wait()
        await super().send_message(frame)


@virtually
async def test_a_transport_that_hangs_in_an_urgent_message_does_not_keep_a_session_open():
    card = HangingCard()
    async with avatars() as sandbox, calling(sandbox, transport=card) as call:
        await call.say(1.0)
        await sandbox.wait_until_heard(0.2)
        await call.feed(OutputTransportMessageUrgentFrame(message={}))
        await call.feed(TTSTextFrame("Said.", "word"))
        await call.end()
        since = time.monotonic()
        try:
            await until(lambda: not sandbox.live_sessions)
        finally:
            card.let_go.set()
        limits = [DRAIN_GRACE_SECS, DRAIN_GRACE_SECS, THROUGH_SECS, URGENT_SECS, TEARDOWN_SECS]
        assert time.monotonic() - since < 1.0 + sum(limits)
    assert all(record.end_requests for record in sandbox.sessions)


@virtually
async def test_who_speaks_at_another_destination_does_not_take_the_floor():
    async with avatars() as sandbox, calling(sandbox) as call:
        first = await call.say(1.0)
        await sandbox.wait_until_heard(0.1)
        for kind in (BotStartedSpeakingFrame, BotStoppedSpeakingFrame):
            frame = kind()
            frame.transport_destination = "interpreter"
            await call.transport.push_frame(frame, FrameDirection.UPSTREAM)
            second = await call.say(0.3)
        await call.end()
    assert not call.given_to_transport().any()
    assert once(call.heard_of_avatar(), first)
    assert once(call.heard_of_avatar(), second)


@virtually
async def test_unannounced_speech_after_an_interruption_is_said():
    async with avatars() as sandbox, calling(sandbox) as call:
        audio = TTSAudioRawFrame(numbered(range(RATE)), RATE, 1, context_id="a")
        await call.feed(TTSStartedFrame(context_id="a"), audio)
        await sandbox.wait_until_heard(0.1)
        await call.interrupt()
        late = TTSAudioRawFrame(numbered(range(RATE)), RATE, 1, context_id="a")
        recorded = TTSAudioRawFrame(numbered(range(RATE, RATE + 8000)), RATE, 1)
        await call.feed(late, recorded)
        call.said = RATE + 8000
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE, RATE + 8000))
    assert not call.heard_of_avatar()[RATE - 1600 : RATE].any()


@virtually
async def test_unannounced_speech_ends_and_the_avatar_can_be_changed():
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSAudioRawFrame(numbered(range(4000)), RATE, 1))
        call.said = 4000
        delta = AgentHumanVideoService.Settings(aspect_ratio="1:1")
        await call.feed(ServiceUpdateSettingsFrame(delta=delta, service=call.avatar))
        await call.until_ready(2)
        await call.feed(TTSAudioRawFrame(numbered(range(4000, 8000)), RATE, 1))
        call.said = 8000
        await until(lambda: call.avatar.stats.heard_secs > 0.45)
        await call.end()
    assert once(call.heard_of_avatar(), range(8000))
    assert not call.given_to_transport().any()
