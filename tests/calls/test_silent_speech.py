"""What was to be said and is not heard: it ends all the same, and is not remembered as said.

Pipecat's TTS services that pause until the bot has stopped, idle timers and deferred actions
wait for the end of speech. Up to Pipecat 1.12 a pause ends in no other way.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from pipecat_agenthuman import RenewalPolicy
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.sandbox import Fault
from tests.support.calls import LATENCY_SECS, Call, avatar_in, avatars, staged
from tests.support.sounds import noise, utterance
from tests.support.virtual_time import virtually

pytestmark = pytest.mark.usefixtures("log")


REFUSED = Fault(on="agent.speak", kind="error", text="No audio data provided")


@asynccontextmanager
async def pausing(
    *faults: Fault, until_ready: bool = True, word_timestamps: bool = False, **options: Any
) -> AsyncIterator[Call]:
    """A bot whose TTS service pauses until what it said was heard."""
    tts = EspeakTTSService(pause_frame_processing=True, word_timestamps=word_timestamps)
    async with avatars(faults=faults) as sandbox:
        avatar = avatar_in(sandbox, **options)
        async with staged(tts, avatar=avatar, until_ready=until_ready) as call:
            yield call


def remembered(call: Call) -> str:
    return " ".join(str(message["content"]) for message in call.context.messages)


def pairs(call: Call) -> tuple[int, int]:
    return (
        len(call.behind.of(BotStartedSpeakingFrame)),
        len(call.behind.of(BotStoppedSpeakingFrame)),
    )


@pytest.mark.parametrize("word_timestamps", [False, True], ids=["by the sentence", "by the word"])
@virtually
async def test_refused_speech_ends_and_is_not_remembered(word_timestamps: bool):
    whole = {"min_first_message_secs": 5.0, "max_first_message_secs": 5.0, "max_message_secs": 9.0}
    async with pausing(REFUSED, word_timestamps=word_timestamps, settings=whole) as call:
        await call.turn("One is lost.")
        await call.stopped()
        await call.turn("Two is heard.")
        await call.stopped(2)
        await call.end()
    assert pairs(call) == (2, 2)
    assert call.avatar.stats.rejected_secs > 0.5
    assert "Two is heard." in remembered(call)
    assert "lost" not in remembered(call)


@virtually
async def test_swallowed_speech_ends_and_is_not_remembered():
    refused = Fault(on="create", kind="refuse", status=401)
    options = {
        "on_unavailable": "drop",
        "renewal": RenewalPolicy(max_short_sessions=1),
        "until_ready": False,
    }
    async with pausing(refused, **options) as call:
        await call.turn("One is lost.")
        await call.stopped()
        await call.turn("Two is lost.")
        await call.stopped(2)
        await call.end()
    assert pairs(call) == (2, 2)
    assert "lost" not in remembered(call)
    stats = call.avatar.stats
    # What is dropped is counted on the playout's clock: a sample of 16 kHz for each utterance.
    assert stats.dropped_secs == pytest.approx(stats.taken_secs, abs=2 / 16_000)


@virtually
async def test_speech_of_an_impossible_format_ends():
    async with (
        avatars() as sandbox,
        staged(avatar=avatar_in(sandbox)) as call,
    ):
        bad = TTSAudioRawFrame(bytes(360), 16_000, 9)
        await call.feed(TTSStartedFrame(), bad, TTSTextFrame("x", "sentence"), TTSStoppedFrame())
        await call.stopped()
        await call.end()
    assert pairs(call) == (1, 1)
    assert not call.behind.of(TTSTextFrame)


@virtually
async def test_speech_without_audio_neither_starts_nor_stops():
    async with (
        avatars() as sandbox,
        staged(avatar=avatar_in(sandbox)) as call,
    ):
        await call.feed(TTSStartedFrame(), TTSStoppedFrame())
        await call.behind.saw(TTSStoppedFrame)
        await call.end()
    assert pairs(call) == (0, 0)


@virtually
async def test_silence_is_not_the_first_sound_of_what_comes_after_it():
    async with pausing(REFUSED) as call:
        await call.feed(TTSStartedFrame(), TTSStoppedFrame())
        await call.feed(TTSSpeakFrame("Hello there."))
        await call.stopped()
        await call.end()
    assert call.avatar.stats.ttfb_secs == pytest.approx(LATENCY_SECS, abs=1.0)


@virtually
async def test_text_that_comes_before_speech_of_another_name_is_not_lost_with_refused_speech():
    """No start announces it, so that only its name tells to which speech it belongs."""
    async with avatars(faults=[REFUSED]) as sandbox, staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(1.0, context_id="a"), context_id="a"))
        await call.feed(TTSTextFrame("Said.", "sentence", context_id="b"))
        await call.feed(*noise(0.5, context_id="b"), TTSStoppedFrame(context_id="b"))
        await call.end()
    assert [frame.text for frame in call.behind.of(TTSTextFrame)] == ["Said."]
    assert call.avatar.stats.rejected_secs == pytest.approx(1.0), "one message"
