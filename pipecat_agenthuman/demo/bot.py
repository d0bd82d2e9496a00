"""The bot that one talks to in the demo's room: a whole Pipecat bot, its avatar in the sandbox.

microphone -> STT -> user aggregator -> LLM -> EspeakTTSService -> AgentHumanVideoService
-> output -> assistant aggregator
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Final, Protocol

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import (
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMMessagesAppendFrame,
    ServiceUpdateSettingsFrame,
    TTSSpeakFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext, LLMContextMessage
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman.demo.memory import Memory
from pipecat_agenthuman.demo.microphone import MICROPHONE_SAMPLE_RATE, MicrophoneInput
from pipecat_agenthuman.demo.own_voice import OwnVoice
from pipecat_agenthuman.demo.recorder import Tap
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.errors import AvatarUnavailableError
from pipecat_agenthuman.rooms import DailyRoom
from pipecat_agenthuman.sandbox import MemoryMessage, Sandbox
from pipecat_agenthuman.service import AgentHumanVideoService
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

INTERRUPTION_LIMIT_SECS: Final = 1.0
"""An interruption overtakes everything, and is through the pipeline in milliseconds."""


class Audience(Protocol):
    """Whoever is told what happens in the bot. Called in its event loop; returns at once."""

    def saw_input(self, frame: Frame) -> None:
        """Take note of a frame behind the speech recognition."""
        ...

    def saw_turn(self, frame: Frame) -> None:
        """Take note of a frame in front of whoever answers."""
        ...

    def saw_outcome(self, frame: Frame) -> None:
        """Take note of a frame when what stands before it was heard."""
        ...

    def saw_error(self, error: str) -> None:
        """Take note of an error."""
        ...

    def saw_memory(self, memory: Sequence[MemoryMessage]) -> None:
        """Take note of what the bot remembers now."""
        ...


class Bot:
    """A bot in the sandbox's room, and what a person can do to it."""

    def __init__(
        self, sandbox: Sandbox, *, stt: FrameProcessor, llm: FrameProcessor, audience: Audience
    ) -> None:
        """Build the bot.

        Args:
            sandbox: Where its avatar comes from.
            stt: Makes transcriptions of a person's voice.
            llm: Answers contexts.
            audience: Is told what happens.
        """
        context = LLMContext()
        # Turn detection is Pipecat's default: Silero's VAD, and its model of when one is done.
        aggregators = LLMContextAggregatorPair(
            context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
        )
        Memory(context, aggregators, audience.saw_memory)
        self._interruption_over = asyncio.Event()
        aggregators.assistant().add_event_handler("on_after_process_frame", self._after_frame)
        self._microphone = MicrophoneInput()
        self._avatar_id = sandbox.environment["AGENTHUMAN_AVATAR"]
        self._avatar = AgentHumanVideoService(
            api_key=sandbox.api_key,
            api_url=sandbox.api_url,
            ws_url=sandbox.ws_url,
            room=DailyRoom("https://sandbox.daily.co/demo", "any-token-will-do"),
            settings=AgentHumanVideoService.Settings(avatar=self._avatar_id),
        )
        pipeline = Pipeline(
            [
                self._microphone,
                stt,
                Tap(audience.saw_input, name="input"),
                aggregators.user(),
                Tap(audience.saw_turn, name="turn"),
                llm,
                EspeakTTSService(word_timestamps=True),
                self._avatar,
                OwnVoice(sandbox.talk.play, sandbox.talk.fall_silent),
                Tap(audience.saw_outcome, name="outcome"),
                aggregators.assistant(),
            ]
        )
        params = PipelineParams(
            audio_in_sample_rate=MICROPHONE_SAMPLE_RATE, audio_out_sample_rate=WIRE_SAMPLE_RATE
        )
        self._worker = PipelineWorker(
            pipeline, params=params, enable_rtvi=False, cancel_on_idle_timeout=False
        )

        async def on_pipeline_error(_: PipelineWorker, frame: ErrorFrame) -> None:
            audience.saw_error(frame.error)

        self._worker.add_event_handler("on_pipeline_error", on_pipeline_error)

    async def run(self) -> None:
        """Live until ``leave``, or until the task is cancelled; the session is ended either way."""
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(self._worker)
        await runner.run()

    async def leave(self) -> None:
        """End at once."""
        await self._worker.cancel()

    # --- what a person does --------------------------------------------------------------

    async def take(self, text: str) -> None:
        """Take what a person typed for what the person says, and answer.

        Args:
            text: The text.
        """
        await self._bring_avatar_back()
        message: LLMContextMessage = {"role": "user", "content": text}
        await self._worker.queue_frame(LLMMessagesAppendFrame([message], run_llm=True))

    async def say(self, text: str) -> None:
        """Say a text, behind what is being said.

        Args:
            text: The text.
        """
        await self._bring_avatar_back()
        await self._worker.queue_frame(TTSSpeakFrame(text))

    async def interrupt(self) -> None:
        """Fall silent; returns when the memory ends with what was heard."""
        self._interruption_over.clear()
        await self._worker.queue_frame(InterruptionFrame())
        with suppress(TimeoutError):
            async with asyncio.timeout(INTERRUPTION_LIMIT_SECS):
                await self._interruption_over.wait()

    async def hear(self, pcm: bytes) -> None:
        """Hear a piece of what a microphone captured.

        Args:
            pcm: 16-bit mono PCM at ``MICROPHONE_SAMPLE_RATE``.
        """
        await self._microphone.hear(pcm)

    async def _after_frame(self, aggregator: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, InterruptionFrame):
            self._interruption_over.set()

    async def _bring_avatar_back(self) -> None:
        """Try again where the avatar was given up: in this room, somebody may have mended it."""
        try:
            await self._avatar.wait_until_ready(0)
        except TimeoutError:
            pass  # it is on its way
        except AvatarUnavailableError:
            again = AgentHumanVideoService.Settings(avatar=self._avatar_id)
            await self._worker.queue_frame(ServiceUpdateSettingsFrame(delta=again))
