"""A whole conversation with an avatar, and no key at all.

What it shows: a bot in the shape of all others, of which nothing leaves the machine. Its avatar
is the sandbox's, eSpeak gives it a voice, and a small script answers what is typed. Of what is
said aloud it knows only how long it was. Put services of yours in their places one by one.

What it needs: Pipecat 1.13 or newer, and the packages

    pip install "pipecat-agenthuman[demo] @ git+https://github.com/pipecat-agenthuman/pipecat-agenthuman"
    pip install "pipecat-ai[runner,cli]"

How to run it: start the bot, and in another terminal have Pipecat hold a conversation with it. It
types, reads what the avatar has said, and interrupts it once.

    python keyless_bot.py
    pipecat eval run keyless_conversation.yaml --verbose

The bot logs what of each answer was heard, and the address of a page on which you see and hear
the avatar meanwhile.
"""

from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.runner.utils import create_transport
from pipecat.transports.base_transport import BaseTransport, TransportParams
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.demo.ears import WordlessSTTService
from pipecat_agenthuman.demo.scripted_llm import ScriptedLLM
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.testing import sandbox_avatar

ROOM = DailyRoom("https://sandbox.daily.co/keyless", "a-sandbox-takes-any-token")
GREETING = "Hello! I speak through an avatar."


def make_stt() -> FrameProcessor:
    return WordlessSTTService()


def make_llm() -> FrameProcessor:
    return ScriptedLLM()


def make_tts() -> FrameProcessor:
    return EspeakTTSService(word_timestamps=True)


def eval_params() -> TransportParams:
    from pipecat.evals.transport import EvalTransportParams

    return EvalTransportParams(audio_in_enabled=True, audio_out_enabled=True)


transport_params = {"eval": eval_params}


async def run_bot(
    transport: BaseTransport, avatar: AgentHumanVideoService, runner_args: RunnerArguments
) -> None:
    """Hold one conversation."""
    context = LLMContext()
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(
        context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
    )
    pipeline = Pipeline(
        [
            transport.input(),
            make_stt(),
            user_aggregator,
            make_llm(),
            make_tts(),
            avatar,
            transport.output(),
            assistant_aggregator,
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        idle_timeout_secs=runner_args.pipeline_idle_timeout_secs,
    )
    runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
    await runner.add_workers(worker)

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport, client):
        await worker.queue_frame(TTSSpeakFrame(GREETING))

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport, client):
        await runner.cancel()

    @assistant_aggregator.event_handler("on_assistant_turn_stopped")
    async def on_assistant_turn_stopped(aggregator, turn):
        logger.info(f"heard: {turn.content}")

    await runner.run()


async def bot(runner_args: RunnerArguments) -> None:
    """Pipecat's runner calls this for each conversation."""
    transport = await create_transport(runner_args, transport_params)
    async with Sandbox() as sandbox:
        logger.info(f"See and hear the avatar: {sandbox.room_url}")
        # Whoever is at the other end of this transport is with the avatar by that page.
        transport.output().avatar_room = ROOM
        await run_bot(transport, sandbox_avatar(sandbox, room=ROOM), runner_args)


if __name__ == "__main__":
    from pipecat.runner.run import main

    main()
