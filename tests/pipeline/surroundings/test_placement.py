"""The place of the service in the pipeline: where it cannot speak, that is said at the start."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from pipecat.frames.frames import ErrorFrame, Frame, TTSTextFrame
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyManual
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import avatar_in, avatars
from tests.support.pipelines import Recorder, SoundCard, running
from tests.support.sounds import noise, utterance
from tests.support.waiting import LIMIT_SECS, until


class SilentTTS(TTSService):
    """A TTS service with nothing to say."""

    def __init__(self) -> None:
        super().__init__(settings=TTSSettings(model=None, voice=None, language=None))

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        yield None


class Elsewhere(SoundCard):
    """A transport that is in no room."""

    avatar_room = None


def avatars_of(sandbox: Sandbox, shape: Callable[..., list[FrameProcessor]]) -> Any:
    first, second = avatar_in(sandbox), avatar_in(sandbox)
    return first, second, shape(SilentTTS(), first, second, SoundCard())


WRONG = {
    "behind the output": (
        lambda tts, one, two, out: [tts, out, one],
        ["behind transport.output()", "between the TTS service and transport.output()"],
    ),
    "before the TTS service": (
        lambda tts, one, two, out: [one, tts, out],
        ["in front of the TTS service", "between the TTS service and transport.output()"],
    ),
    "within, before the TTS service": (
        lambda tts, one, two, out: [Pipeline([Recorder(), one]), Pipeline([tts]), out],
        ["in front of the TTS service"],
    ),
    "beside, before the TTS service": (
        lambda tts, one, two, out: [ParallelPipeline([one], [Recorder()]), tts, out],
        ["in front of the TTS service"],
    ),
}


@pytest.mark.parametrize("shape", WRONG)
async def test_a_service_in_the_wrong_place_says_so_once_and_lets_everything_pass(shape, log):
    build, words = WRONG[shape]
    async with avatars() as sandbox:
        avatar, _, parts = avatars_of(sandbox, build)
        above, behind = Recorder("above"), Recorder("behind")
        async with running(above, *parts, behind) as (worker, ending):
            await above.wait_for(lambda: above.of(ErrorFrame, upstream=True))
            (error,) = above.of(ErrorFrame, upstream=True)
            assert not avatar.is_usable
            await worker.queue_frames(utterance(noise(0.2)))
            await worker.stop_when_done()
            await ending
        assert len([line for line in log if line.startswith(f"ERROR {avatar} ")]) == 1
        assert not sandbox.sessions
        assert len(parts_card(parts).played) >= 0.2 * 2 * 16_000
    for word in (*words, "nothing is billed", "as if it were not there"):
        assert word in error.error


def parts_card(parts: list[FrameProcessor]) -> SoundCard:
    return next(part for part in parts if isinstance(part, SoundCard))


async def test_of_two_in_one_path_the_first_speaks_and_the_second_says_so(log):
    async with avatars(max_sessions=2) as sandbox:
        first, second, parts = avatars_of(sandbox, lambda tts, one, two, out: [tts, one, two, out])
        above = Recorder("above")
        async with running(above, *parts) as (worker, ending):
            await until(lambda: first.ready)
            (error,) = above.of(ErrorFrame, upstream=True)
            await worker.queue_frames(utterance(noise(0.2)))
            await worker.stop_when_done()
            await ending
        assert "behind another AgentHumanVideoService" in error.error
        assert first.is_usable
        assert not second.is_usable
        assert len(sandbox.sessions) == 1
        assert sandbox.heard().duration_secs == pytest.approx(0.2, abs=0.02)


async def test_a_service_behind_another_takes_nothing_away_with_drop_either(log):
    async with avatars(max_sessions=2) as sandbox:
        behind = Recorder("behind")
        second = avatar_in(sandbox, on_unavailable="drop")
        parts = [avatar_in(sandbox), second, SoundCard(), behind]
        async with running(*parts) as (worker, ending):
            await parts[0].wait_until_ready(LIMIT_SECS)
            await worker.queue_frames([*utterance(noise(0.2)), TTSTextFrame("so", "word")])
            await worker.stop_when_done()
            await ending
    assert [frame.text for frame in behind.of(TTSTextFrame)] == ["so"]


RIGHT = {
    "as documented": lambda tts, one, two, out: [tts, one, out],
    "without a TTS service": lambda tts, one, two, out: [one, out],
    "with a second output": lambda tts, one, two, out: [tts, SoundCard(), one, out],
    "in branches of their own": lambda tts, one, two, out: [
        tts,
        ParallelPipeline([one], [two]),
        out,
    ],
    "beside a TTS service": lambda tts, one, two, out: [ParallelPipeline([tts], [one]), out],
    "within": lambda tts, one, two, out: [tts, Pipeline([Pipeline([one])]), out],
    "without an output": lambda tts, one, two, out: [tts, one],
    "behind a TTS service of several": lambda tts, one, two, out: [
        ServiceSwitcher([tts, SilentTTS()], ServiceSwitcherStrategyManual),
        one,
        out,
    ],
    "one of several": lambda tts, one, two, out: [
        tts,
        ServiceSwitcher([one, two], ServiceSwitcherStrategyManual),
        out,
    ],
    "before somebody who listens in": lambda tts, one, two, out: [tts, one, Elsewhere(), out],
    "before somebody who records": lambda tts, one, two, out: [
        tts,
        one,
        ParallelPipeline([out], [Elsewhere()]),
    ],
}


@pytest.mark.parametrize("shape", RIGHT)
async def test_where_it_can_speak_nothing_is_said(shape, log):
    async with avatars(max_sessions=2) as sandbox:
        avatar, _, parts = avatars_of(sandbox, RIGHT[shape])
        async with running(*parts) as (worker, ending):
            await avatar.wait_until_ready(LIMIT_SECS)
            await worker.stop_when_done()
            await ending
    assert not [line for line in log if line.startswith("ERROR")]


async def test_where_none_of_several_outputs_is_with_the_avatar_that_is_said(log):
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox)
        split = ParallelPipeline([Elsewhere()], [Elsewhere()])
        async with running(avatar, split) as (worker, ending):
            await until(lambda: not avatar.is_usable)
            await worker.stop_when_done()
            await ending
        assert not sandbox.sessions
    assert len([line for line in log if line.startswith(f"ERROR {avatar} ")]) == 1
