"""A bot in the shape of Pipecat's examples, for a call on this machine."""

from __future__ import annotations

from typing import Any

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanVideoService, DailyRoom
from tests.support.conversation import make_tts


async def run_bot(
    transport: BaseTransport,
    room: DailyRoom,
    stt: FrameProcessor,
    llm: FrameProcessor,
    avatar: AgentHumanVideoService | None = None,
    seen: list[str] | None = None,
    **options: Any,
) -> None:
    """Greet whoever comes, answer, and end when the last one leaves."""
    user, assistant = LLMContextAggregatorPair(
        LLMContext(), user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    avatar = avatar or AgentHumanVideoService(room=room, **options)
    before = [transport.input(), stt, user, llm, make_tts()]
    worker = PipelineWorker(Pipeline([*before, avatar, transport.output(), assistant]))
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    seen = [] if seen is None else seen

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport: BaseTransport, client: Any) -> None:
        seen.append(f"{client['info']['userName']} came")
        await worker.queue_frame(LLMRunFrame())

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport: Any, client: Any) -> None:
        seen.append(f"{client['info']['userName']} went")
        if not transport.persons():
            await runner.cancel()

    for event in ("on_first_participant_joined", "on_avatar_connected"):

        async def note(transport: Any, participant: Any, event: str = event) -> None:
            seen.append(event)

        transport.add_event_handler(event, note)
    await runner.run()
