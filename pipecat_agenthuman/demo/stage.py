"""Runs the demo: a real pipeline, the avatar service, and the sandbox, in one process.

script -> EspeakTTSService -> AgentHumanVideoService -> output -> assistant aggregator
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, cast

from pipecat.frames.frames import EndFrame, ErrorFrame, InterruptionFrame, StartFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman.demo.performance import Lane, Milestone, Performance, Take
from pipecat_agenthuman.demo.recorder import DemoError, Recorder, Tap, Tell
from pipecat_agenthuman.demo.script import ScriptLine
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.rooms import DailyRoom
from pipecat_agenthuman.sandbox import Heard, Sandbox
from pipecat_agenthuman.service import AgentHumanVideoService
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

START_LIMIT_SECS: Final = 20.0
"""Until something begins: far more than a busy machine needs."""

GRACE_SECS: Final = 15.0
"""Until something ends, beyond its own length."""

INTO_THE_WORD_SECS: Final = 0.15
"""The interruption comes in the middle of a word, as people do it."""


class SilentOutput(BaseOutputTransport):
    """The end of a pipeline whose sound somebody else plays: Pipecat's own, without a device."""

    async def start(self, frame: StartFrame) -> None:
        """Be ready at once.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)


async def perform(script: Sequence[ScriptLine], tell: Tell) -> Performance:
    """Run the demo.

    Args:
        script: What to say.
        tell: Is called with everything that happens, while it happens.

    Returns:
        What was said and heard. A failure ends the demo early and is in there too.

    Raises:
        EspeakError: If the speech synthesiser is missing or does not load.
    """
    recorder = Recorder(tell)
    context = LLMContext()
    async with Sandbox() as sandbox:
        sandbox.listen(lambda entry: recorder.take_entry(entry, sandbox.started_at))
        worker = _build_worker(sandbox, recorder, context)
        try:
            await _run(worker, _direct(script, worker, recorder, sandbox))
        except DemoError as error:
            recorder.fail(error.message)
        heard, live_sessions = sandbox.heard(), len(sandbox.live_sessions)
    return Performance(
        takes=recorder.takes,
        heard=heard,
        context=_spoken(context),
        failure=recorder.failure,
        live_sessions=live_sessions,
    )


def _build_worker(sandbox: Sandbox, recorder: Recorder, context: LLMContext) -> PipelineWorker:
    avatar = AgentHumanVideoService(
        api_key=sandbox.api_key,
        api_url=sandbox.api_url,
        ws_url=sandbox.ws_url,
        room=DailyRoom("https://sandbox.daily.co/demo", "any-token-will-do"),
        settings=AgentHumanVideoService.Settings(avatar=sandbox.environment["AGENTHUMAN_AVATAR"]),
        on_unavailable="drop",
    )
    # Nobody talks to this bot, so the default strategy's model of turns need not be loaded.
    silence = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    aggregators = LLMContextAggregatorPair(context, user_params=silence)
    pipeline = Pipeline(
        [
            EspeakTTSService(word_timestamps=True),
            Tap(recorder.take_speech, name="speech"),
            avatar,
            SilentOutput(TransportParams(audio_out_end_silence_secs=0)),
            Tap(recorder.take_outcome, name="outcome"),
            aggregators.assistant(),
        ]
    )
    # Synthesised at the wire's own rate, so that what was heard can be compared to the sample.
    params = PipelineParams(audio_out_sample_rate=WIRE_SAMPLE_RATE)
    worker = PipelineWorker(
        pipeline, params=params, enable_rtvi=False, cancel_on_idle_timeout=False
    )

    async def on_pipeline_error(_: PipelineWorker, frame: ErrorFrame) -> None:
        recorder.fail(frame.error)

    worker.add_event_handler("on_pipeline_error", on_pipeline_error)
    return worker


async def _run(worker: PipelineWorker, directing: Any) -> None:
    """Run the pipeline until its director is done, and end it on every path."""
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    director = asyncio.create_task(directing)
    try:
        await asyncio.wait({running, director}, return_when=asyncio.FIRST_COMPLETED)
        if not director.done():
            raise DemoError("The pipeline ended before it should have.")
        director.result()
        await worker.queue_frame(EndFrame())
        async with asyncio.timeout(GRACE_SECS):
            await asyncio.shield(running)
    except TimeoutError:
        raise DemoError(f"The pipeline did not end within {GRACE_SECS:.0f} s.") from None
    finally:
        director.cancel()
        if not running.done():
            await worker.cancel()
        await asyncio.gather(director, running, return_exceptions=True)


async def _direct(
    script: Sequence[ScriptLine], worker: PipelineWorker, recorder: Recorder, sandbox: Sandbox
) -> None:
    """Have the lines said, one after the other."""
    await recorder.until(lambda: recorder.is_connected, "the session", START_LIMIT_SECS)
    for line in script:
        before = sandbox.heard()
        take = recorder.begin(line)
        await worker.queue_frame(TTSSpeakFrame(line.text))
        await _until(recorder, {Milestone.STARTED}, "the first sound", START_LIMIT_SECS)
        if line.interrupted:
            await _interrupt(take, worker, recorder)
        else:
            await _until(
                recorder,
                {Milestone.STOPPED, Milestone.SYNTHESISED},
                "the end of a text",
                take.synthesised_secs + GRACE_SECS,
            )
        _note_heard(before, await sandbox.wait_until_quiet(), recorder)


async def _interrupt(take: Take, worker: PipelineWorker, recorder: Recorder) -> None:
    """Interrupt a take when half of its words have begun to be heard."""
    half = max(1, len(take.line.text.split()) // 2)
    await recorder.until(
        lambda: len(take.single_words) >= half,
        "the middle of a text",
        take.synthesised_secs + GRACE_SECS,
    )
    await asyncio.sleep(INTO_THE_WORD_SECS)
    recorder.interrupt()
    await worker.queue_frame(InterruptionFrame())
    milestones = {Milestone.STOPPED, Milestone.INTERRUPT_CONFIRMED}
    await _until(recorder, milestones, "the interrupt", GRACE_SECS)


async def _until(
    recorder: Recorder, milestones: set[Milestone], what: str, limit_secs: float
) -> None:
    """Wait until the take that is going on has come to all of the milestones."""
    take = recorder.takes[-1]
    await recorder.until(lambda: milestones <= take.milestones.keys(), what, limit_secs)


def _note_heard(before: Heard, after: Heard, recorder: Recorder) -> None:
    """Take note of what was heard of the take that has just ended."""
    take = recorder.takes[-1]
    take.heard = after.pcm[len(before.pcm) :]
    if segments := after.segments[len(before.segments) :]:
        recorder.note(Milestone.FIRST_SOUND, segments[0].starts_at)
        recorder.note(Milestone.LAST_SOUND, segments[-1].ends_at)
    heard_secs = after.duration_secs - before.duration_secs
    recorder.tell(Lane.ROOM, f"{heard_secs:.2f} s of {take.synthesised_secs:.2f} s were heard")


def _spoken(context: LLMContext) -> list[str]:
    """The assistant's words in a context."""
    spoken: list[str] = []
    for message in context.get_messages():
        content = cast("dict[str, object]", message).get("content")
        spoken.append(content if isinstance(content, str) else str(content))
    return spoken
