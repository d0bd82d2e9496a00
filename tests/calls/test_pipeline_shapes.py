"""Pipelines of other shapes, and frames that are meant for somebody else."""

import asyncio
from collections.abc import Callable

import pytest
from loguru import logger
from pipecat.frames.frames import (
    Frame,
    ServiceUpdateSettingsFrame,
    SpeechOutputAudioRawFrame,
    StopFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanErrorFrame, AgentHumanVideoService
from pipecat_agenthuman.pipeline.transport_output import output_transport
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.side_by_side import (
    LATENCY_SECS,
    LIMIT_SECS,
    Recorder,
    SoundCard,
    avatar_in,
    staged,
    undisturbed,
)

RATE = 16_000


@pytest.fixture(autouse=True)
def _undisturbed():
    with undisturbed():
        yield


def speech(secs: float, *, destination: str | None = None) -> list[Frame]:
    audio = TTSAudioRawFrame(b"\1\0" * round(secs * RATE), RATE, 1)
    frames = [TTSStartedFrame(), audio, TTSStoppedFrame()]
    for frame in frames:
        frame.transport_destination = destination
    return frames


@pytest.mark.parametrize(
    "around",
    [lambda avatar: Pipeline([avatar]), lambda avatar: ParallelPipeline([avatar])],
    ids=["a pipeline in a pipeline", "a parallel pipeline"],
)
async def test_the_transport_is_found_from_within(
    around: Callable[[FrameProcessor], FrameProcessor],
):
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        avatar = avatar_in(sandbox)
        async with staged(around(avatar)) as stage:
            assert output_transport(avatar) is stage.output
            await stage.end()


async def test_of_several_transports_none_is_the_one():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        avatar = avatar_in(sandbox)
        split = ParallelPipeline([avatar], [SoundCard()])
        async with staged(split) as stage:
            assert output_transport(avatar) is None
            await stage.end()


async def test_speech_for_another_destination_is_not_the_avatars():
    async with (
        Sandbox(render_latency_secs=LATENCY_SECS) as sandbox,
        staged(avatar=avatar_in(sandbox)) as stage,
    ):
        await stage.feed(*speech(0.5, destination="interpreter"), *speech(0.3))
        await stage.stopped()
        await stage.end()
    assert stage.avatar.stats.taken_secs == pytest.approx(0.3)
    assert sandbox.heard().duration_secs == pytest.approx(0.3, abs=0.02)


async def test_a_session_that_waits_for_a_client_comes_with_the_first_words_at_the_latest():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        avatar = avatar_in(sandbox, session_start="client_connected")
        async with staged(avatar=avatar, until_ready=False) as stage:
            assert not sandbox.sessions
            await stage.feed(*speech(0.3))
            await stage.stopped()
            await stage.end()
        assert sandbox.heard().duration_secs == pytest.approx(0.3, abs=0.02)


async def test_speech_as_a_stream_goes_to_the_transport_and_that_is_said_once():
    warnings: list[str] = []
    sink = logger.add(warnings.append, level="WARNING", format="{message}")
    async with (
        Sandbox(render_latency_secs=LATENCY_SECS) as sandbox,
        staged(avatar=avatar_in(sandbox)) as stage,
    ):
        for _ in range(10):
            await stage.feed(SpeechOutputAudioRawFrame(b"\1\1" * 480, 24_000, 1))
        await stage.end()
    logger.remove(sink)
    assert len(stage.output.audio) >= 10 * 960
    assert len([line for line in warnings if "SpeechOutputAudioRawFrame" in line]) == 1


async def test_new_settings_do_not_make_a_service_usable_that_has_no_session():
    async with Sandbox(faults=[Fault(on="create", kind="refuse", status=401)]) as sandbox:
        avatar = avatar_in(sandbox)
        async with staged(avatar=avatar, until_ready=False) as stage:
            await stage.behind.saw(AgentHumanErrorFrame)
            assert not avatar.is_usable
            delta = AgentHumanVideoService.Settings(avatar_latency_secs=0.7)
            await stage.feed(ServiceUpdateSettingsFrame(delta=delta, service=avatar))
            await stage.feed(*speech(0.1))
            await stage.behind.saw(TTSStoppedFrame)
            assert avatar.settings.avatar_latency_secs == 0.7
            assert not avatar.is_usable
            await stage.end()


async def test_after_a_stop_frame_the_same_processors_run_again():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        before = asyncio.all_tasks()
        avatar, output, behind = avatar_in(sandbox), SoundCard(), Recorder("behind")
        for last in (StopFrame, None):
            worker = PipelineWorker(
                Pipeline([avatar, output, behind]),
                params=PipelineParams(audio_out_sample_rate=RATE),
                cancel_on_idle_timeout=False,
                enable_rtvi=False,
            )
            runner = WorkerRunner(handle_sigint=False)
            await runner.add_workers(worker)
            running = asyncio.create_task(runner.run())
            await worker.queue_frames(speech(0.2))
            async with asyncio.timeout(LIMIT_SECS):
                if last is None:
                    await worker.stop_when_done()
                else:
                    await worker.queue_frame(last())
                await running
        assert sandbox.heard().duration_secs == pytest.approx(0.4, abs=0.02)
        assert len(sandbox.sessions) == 1
        assert not sandbox.live_sessions
        left = {task for task in asyncio.all_tasks() - before if not task.done()}
    assert not [task for task in left if "driver" in task.get_name()]
