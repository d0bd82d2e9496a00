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

from pipecat_agenthuman.client.retry import RenewalPolicy
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.side_by_side import LATENCY_SECS, Stage, avatar_in, staged, undisturbed

REFUSED = Fault(on="agent.speak", kind="error", text="No audio data provided")


@pytest.fixture(autouse=True)
def _undisturbed():
    with undisturbed():
        yield


@asynccontextmanager
async def pausing(
    *faults: Fault, until_ready: bool = True, word_timestamps: bool = False, **options: Any
) -> AsyncIterator[Stage]:
    """A bot whose TTS service pauses until what it said was heard."""
    tts = EspeakTTSService(pause_frame_processing=True, word_timestamps=word_timestamps)
    async with Sandbox(render_latency_secs=LATENCY_SECS, faults=faults) as sandbox:
        avatar = avatar_in(sandbox, **options)
        async with staged(tts, avatar=avatar, until_ready=until_ready) as stage:
            yield stage


def remembered(stage: Stage) -> str:
    return " ".join(str(message["content"]) for message in stage.context.messages)


def pairs(stage: Stage) -> tuple[int, int]:
    return (
        len(stage.behind.of(BotStartedSpeakingFrame)),
        len(stage.behind.of(BotStoppedSpeakingFrame)),
    )


@pytest.mark.parametrize("word_timestamps", [False, True], ids=["by the sentence", "by the word"])
async def test_refused_speech_ends_and_is_not_remembered(word_timestamps: bool):
    whole = {"min_first_message_secs": 5.0, "max_first_message_secs": 5.0, "max_message_secs": 9.0}
    async with pausing(REFUSED, word_timestamps=word_timestamps, settings=whole) as stage:
        await stage.turn("One is lost.")
        await stage.stopped()
        await stage.turn("Two is heard.")
        await stage.stopped(2)
        await stage.end()
    assert pairs(stage) == (2, 2)
    assert stage.avatar.stats.rejected_secs > 0.5
    assert "Two is heard." in remembered(stage)
    assert "lost" not in remembered(stage)


async def test_swallowed_speech_ends_and_is_not_remembered():
    refused = Fault(on="create", kind="refuse", status=401)
    options = {
        "on_unavailable": "drop",
        "renewal": RenewalPolicy(max_attempts=1),
        "until_ready": False,
    }
    async with pausing(refused, **options) as stage:
        await stage.turn("One is lost.")
        await stage.stopped()
        await stage.turn("Two is lost.")
        await stage.stopped(2)
        await stage.end()
    assert pairs(stage) == (2, 2)
    assert "lost" not in remembered(stage)
    stats = stage.avatar.stats
    assert stats.dropped_secs == pytest.approx(stats.taken_secs)


async def test_speech_of_an_impossible_format_ends():
    async with (
        Sandbox(render_latency_secs=LATENCY_SECS) as sandbox,
        staged(avatar=avatar_in(sandbox)) as stage,
    ):
        bad = TTSAudioRawFrame(bytes(360), 16_000, 9)
        await stage.feed(TTSStartedFrame(), bad, TTSTextFrame("x", "sentence"), TTSStoppedFrame())
        await stage.stopped()
        await stage.end()
    assert pairs(stage) == (1, 1)
    assert not stage.behind.of(TTSTextFrame)


async def test_speech_without_audio_neither_starts_nor_stops():
    async with (
        Sandbox(render_latency_secs=LATENCY_SECS) as sandbox,
        staged(avatar=avatar_in(sandbox)) as stage,
    ):
        await stage.feed(TTSStartedFrame(), TTSStoppedFrame())
        await stage.behind.saw(TTSStoppedFrame)
        await stage.end()
    assert pairs(stage) == (0, 0)


async def test_silence_is_not_the_first_sound_of_what_comes_after_it():
    async with pausing(REFUSED) as stage:
        await stage.feed(TTSStartedFrame(), TTSStoppedFrame())
        await stage.feed(TTSSpeakFrame("Hello there."))
        await stage.stopped()
        await stage.end()
    assert stage.avatar.stats.ttfb_secs == pytest.approx(LATENCY_SECS, abs=1.0)
