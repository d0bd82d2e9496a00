"""Pipelines of other shapes, and frames that are meant for somebody else."""

import asyncio
import time
from collections.abc import Callable

import pytest
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    ServiceUpdateSettingsFrame,
    SpeechOutputAudioRawFrame,
    StartFrame,
    StopFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyManual
from pipecat.processors.filters.function_filter import FunctionFilter
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman import AgentHumanErrorFrame, AgentHumanVideoService
from pipecat_agenthuman.pipeline.frame_traits import PassedMark
from pipecat_agenthuman.pipeline.transport_output import output_transport
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.calls import avatar_in, avatars, staged
from tests.support.faults import fault
from tests.support.pipelines import Recorder, SoundCard, running
from tests.support.scenes import assert_time
from tests.support.sounds import RATE, noise, utterance
from tests.support.virtual_time import virtually
from tests.support.waiting import LIMIT_SECS

pytestmark = pytest.mark.usefixtures("log")


@pytest.mark.parametrize(
    "around",
    [lambda avatar: Pipeline([avatar]), lambda avatar: ParallelPipeline([avatar])],
    ids=["a pipeline in a pipeline", "a parallel pipeline"],
)
@virtually
async def test_the_transport_is_found_from_within(
    around: Callable[[FrameProcessor], FrameProcessor],
):
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox)
        async with staged(around(avatar)) as call:
            assert output_transport(avatar) is call.transport
            await call.end()


@virtually
async def test_of_several_transports_none_is_the_one():
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox)
        split = ParallelPipeline([avatar], [SoundCard()])
        async with staged(split) as call:
            assert output_transport(avatar) is None
            await call.end()


def to_interpreter(frame: Frame) -> Frame:
    frame.transport_destination = "interpreter"
    return frame


@virtually
async def test_speech_for_another_destination_is_not_the_avatars():
    async with (
        avatars() as sandbox,
        staged(avatar=avatar_in(sandbox)) as call,
    ):
        await call.feed(*map(to_interpreter, utterance(noise(0.5))), *utterance(noise(0.3)))
        await call.stopped()
        await call.end()
    assert call.avatar.stats.taken_secs == pytest.approx(0.3)
    assert sandbox.heard().duration_secs == pytest.approx(0.3, abs=0.02)


@virtually
async def test_a_session_that_waits_for_a_client_comes_with_the_first_words_at_the_latest():
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox, session_start="client_connected")
        async with staged(avatar=avatar, until_ready=False) as call:
            assert not sandbox.sessions
            await call.feed(*utterance(noise(0.3)))
            await call.stopped()
            await call.end()
        assert sandbox.heard().duration_secs == pytest.approx(0.3, abs=0.02)


@virtually
async def test_speech_as_a_stream_goes_to_the_transport_and_that_is_said_once(log):
    async with (
        avatars() as sandbox,
        staged(avatar=avatar_in(sandbox)) as call,
    ):
        for _ in range(10):
            await call.feed(SpeechOutputAudioRawFrame(b"\1\1" * 480, 24_000, 1))
        await call.end()
    assert len(call.transport.played) >= 10 * 960
    warnings = [line for line in log if line.startswith("WARNING")]
    assert len([line for line in warnings if "SpeechOutputAudioRawFrame" in line]) == 1


@virtually
async def test_new_settings_do_not_make_a_service_usable_that_has_no_session():
    async with Sandbox(faults=[Fault(on="create", kind="refuse", status=401)]) as sandbox:
        avatar = avatar_in(sandbox)
        async with staged(avatar=avatar, until_ready=False) as call:
            await call.behind.saw(AgentHumanErrorFrame)
            assert not avatar.is_usable
            delta = AgentHumanVideoService.Settings(avatar_latency_secs=0.7)
            await call.feed(ServiceUpdateSettingsFrame(delta=delta, service=avatar))
            await call.feed(*utterance(noise(0.1)))
            await call.behind.saw(TTSStoppedFrame)
            assert avatar.settings.avatar_latency_secs == 0.7
            assert not avatar.is_usable
            await call.end()


@virtually
async def test_after_a_stop_frame_the_same_processors_run_again():
    async with avatars() as sandbox:
        before = asyncio.all_tasks()
        avatar, transport, behind = avatar_in(sandbox), SoundCard(), Recorder("behind")
        for last in (StopFrame, None):
            async with running(avatar, transport, behind) as (worker, ending):
                await worker.queue_frames(utterance(noise(0.2)))
                if last is None:
                    await worker.stop_when_done()
                else:
                    await worker.queue_frame(last())
                async with asyncio.timeout(LIMIT_SECS):
                    await ending
        assert sandbox.heard().duration_secs == pytest.approx(0.4, abs=0.02)
        assert len(sandbox.sessions) == 1
        assert not sandbox.live_sessions
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not [task for task in left if "driver" in task.get_name()]


def beside_another(avatar: FrameProcessor) -> FrameProcessor:
    return ParallelPipeline([avatar], [Nobody()])


def nested(avatar: FrameProcessor) -> FrameProcessor:
    return ParallelPipeline([ParallelPipeline([avatar], [Nobody()])], [Nobody()])


def switched_to(avatar: FrameProcessor) -> FrameProcessor:
    return ServiceSwitcher([avatar, Recorder()], ServiceSwitcherStrategyManual)


def switched_away_from(avatar: FrameProcessor) -> FrameProcessor:
    return ServiceSwitcher([Recorder(), avatar], ServiceSwitcherStrategyManual)


def behind_one_who_keeps_marks(avatar: FrameProcessor) -> FrameProcessor:
    return ParallelPipeline([FunctionFilter(no_mark), avatar])


async def no_mark(frame: Frame) -> bool:
    return not isinstance(frame, PassedMark)


class Nobody(FrameProcessor):
    """Lets nothing through but what a pipeline lives by."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame | EndFrame | CancelFrame):
            await self.push_frame(frame, direction)


branched = pytest.mark.parametrize("branch", [beside_another, nested, switched_to])


@pytest.mark.parametrize("has_avatar", [True, False], ids=["the avatar", "the transport"])
@branched
@virtually
async def test_last_words_in_a_branch_are_said_and_told_of_before_the_end(
    branch: Callable[[FrameProcessor], FrameProcessor], has_avatar: bool
):
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox)
        if not has_avatar:
            sandbox.inject(fault("create", "refuse", status=401, times=None))
        async with staged(branch(avatar), until_ready=False, rate=RATE) as call:
            await asyncio.sleep(1.0)
            fed_at = time.monotonic()
            await call.say(2.0)
            await call.end()
            await call.until_over()
            assert time.monotonic() - fed_at < 2.6
        [(started, stopped)] = call.bot_speech()
        assert_time(started, fed_at, 0.2, "the start")
        assert_time(stopped - started, 2.0, 0.1, "the end")
        assert sandbox.heard().duration_secs == pytest.approx(2.0 if has_avatar else 0.0)
        assert not call.unpaired()
        assert not sandbox.live_sessions


@pytest.mark.parametrize("ends_them", [InterruptionFrame, CancelFrame])
@branched
@virtually
async def test_last_words_in_a_branch_can_be_cut(
    branch: Callable[[FrameProcessor], FrameProcessor], ends_them: type[Frame]
):
    async with avatars() as sandbox:
        async with staged(branch(avatar_in(sandbox)), until_ready=False, rate=RATE) as call:
            await asyncio.sleep(1.0)
            await call.say(4.0)
            await call.end()
            await call.heard_for(0.5)
            await call.above.push_frame(ends_them())
            cut_at = time.monotonic()
            await call.until_over()
            assert time.monotonic() - cut_at < 0.5
        assert sandbox.heard().duration_secs < 0.7
        if ends_them is InterruptionFrame:
            assert not call.unpaired()
        assert not sandbox.live_sessions


@pytest.mark.parametrize(
    ("branch", "most_secs"), [(switched_away_from, 0.3), (behind_one_who_keeps_marks, 2.3)]
)
@virtually
async def test_a_branch_that_says_nothing_ends_soon(
    branch: Callable[[FrameProcessor], FrameProcessor], most_secs: float
):
    async with (
        avatars() as sandbox,
        staged(branch(avatar_in(sandbox)), until_ready=False, rate=RATE) as call,
    ):
        await asyncio.sleep(1.0)
        ends_at = time.monotonic()
        await call.end()
        await call.until_over()
        assert time.monotonic() - ends_at < most_secs
    assert not sandbox.live_sessions
