"""Waiting costs nothing and ends: whatever is held, whoever speaks beside the avatar."""

import asyncio
import time

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    OutputAudioRawFrame,
    ServiceUpdateSettingsFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.faults import (
    LATENCY_SECS,
    RATE,
    Call,
    calling,
    fault,
    once,
    quiet_log,
    sound,
    undisturbed,
)
from tests.support.faults import until as until_so


@pytest.fixture(autouse=True)
def _quiet():
    with undisturbed(), quiet_log():
        yield


def steps_of(call: Call, monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Every step of the driver's loop from now on."""
    steps: list[float] = []
    transmit = call.avatar._output._driver._transmit

    def noted() -> None:
        steps.append(time.monotonic())
        transmit()

    monkeypatch.setattr(call.avatar._output._driver, "_transmit", noted)
    return steps


async def test_waiting_for_a_session_or_the_last_word_does_not_keep_the_processor_busy(monkeypatch):
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=0.5))
        async with calling(sandbox, until_ready=False) as call:
            steps = steps_of(call, monkeypatch)
            await sandbox.wait_for("connection.established")
            assert len(steps) < 50
            await call.say(1.0)
            await call.end()
            await call.until_over()
    # 25 a second, and some for each frame and each answer; a loop without rest makes thousands.
    assert len(steps) < 400


@pytest.mark.parametrize("words_first", [False, True])
async def test_a_sound_in_the_middle_of_an_utterance_holds_nothing_up(words_first: bool):
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        call.said = RATE
        await call.feed(TTSStartedFrame(context_id="a"))
        await call.feed(TTSAudioRawFrame(sound(range(RATE // 2)), RATE, 1, context_id="a"))
        await until_so(lambda: call.avatar.stats.sent_secs > 0)
        now_ns = call.avatar.get_clock().get_time()
        for number in range(4 if words_first else 0):
            word = TTSTextFrame(f"word {number}", "word", context_id="a")
            word.pts = now_ns + number * 250_000_000
            await call.feed(word)
        await call.feed(OutputAudioRawFrame(b"\1\0" * 1600, RATE, 1))
        rest = sound(range(RATE // 2, RATE))
        await call.feed(TTSAudioRawFrame(rest, RATE, 1, context_id="a"))
        await call.feed(TTSStoppedFrame(context_id="a"))
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE))
    assert len(call.behind.of(TTSTextFrame)) == (4 if words_first else 0)


async def test_more_words_than_may_be_held_do_not_lock_out_their_own_audio():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame(context_id="a"))
        await call.feed(TTSAudioRawFrame(sound(range(RATE // 2)), RATE, 1, context_id="a"))
        now_ns = call.avatar.get_clock().get_time()
        for number in range(2001):
            word = TTSTextFrame("word", "word", context_id="a")
            word.pts = now_ns + 600_000_000 + number * 100_000
            await call.feed(word)
        rest = sound(range(RATE // 2, RATE))
        await call.feed(TTSAudioRawFrame(rest, RATE, 1, context_id="a"))
        await call.feed(TTSStoppedFrame(context_id="a"))
        call.said = RATE
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE))


async def test_who_speaks_at_another_destination_does_not_take_the_floor():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
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


async def test_unannounced_speech_after_an_interruption_is_said():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        audio = TTSAudioRawFrame(sound(range(RATE)), RATE, 1, context_id="a")
        await call.feed(TTSStartedFrame(context_id="a"), audio)
        await sandbox.wait_until_heard(0.1)
        await call.interrupt()
        late = TTSAudioRawFrame(sound(range(RATE)), RATE, 1, context_id="a")
        recorded = TTSAudioRawFrame(sound(range(RATE, RATE + 8000)), RATE, 1)
        await call.feed(late, recorded)
        call.said = RATE + 8000
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE, RATE + 8000))
    assert not call.heard_of_avatar()[RATE - 1600 : RATE].any()


async def test_unannounced_speech_ends_and_the_avatar_can_be_changed():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        await call.feed(TTSAudioRawFrame(sound(range(4000)), RATE, 1))
        call.said = 4000
        delta = AgentHumanVideoService.Settings(aspect_ratio="1:1")
        await call.feed(ServiceUpdateSettingsFrame(delta=delta, service=call.avatar))
        await call.until_ready(2)
        await call.feed(TTSAudioRawFrame(sound(range(4000, 8000)), RATE, 1))
        call.said = 8000
        await until_so(lambda: call.avatar.stats.heard_secs > 0.45)
        await call.end()
    assert once(call.heard_of_avatar(), range(8000))
    assert not call.given_to_transport().any()


def test_a_transport_that_plays_a_sound_first_begins_to_speak_later():
    now = [5.0]
    voice = TransportOutput(lambda: now[0])
    voice.note_sound(OutputAudioRawFrame(bytes(3 * 2 * RATE), RATE, 1))
    voice.adapt(TTSStartedFrame())
    voice.adapt(TTSAudioRawFrame(bytes(2 * 2 * RATE), RATE, 1))
    voice.adapt(TTSStoppedFrame())
    now[0] += 3.9
    assert voice.busy
    now[0] += 0.2
    assert not voice.busy


async def test_what_waits_for_a_state_is_told_in_time():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        driver, voice = call.avatar._output._driver, call.avatar._output
        assert not await driver.wait_until(lambda: False, 0.1)
        await call.say(0.3)
        async with asyncio.timeout(30):
            assert await driver.wait_until(lambda: call.avatar.stats.heard_secs > 0.2, None)
            assert await driver.wait_until(lambda: voice.idle, None)
        await call.end()
