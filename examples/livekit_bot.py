"""A conversation with a talking avatar in a LiveKit room.

What it shows: speech recognition, a language model, speech synthesis and the avatar in one
pipeline. The bot greets the first person who joins, can be interrupted while the avatar
speaks, and ends when the last person has left.

What it needs: the packages

    pip install "pipecat-agenthuman[livekit] @ git+https://github.com/pipecat-agenthuman/pipecat-agenthuman"
    pip install "pipecat-ai[runner,deepgram,openai,cartesia,silero]"

and, in the environment or in a file .env beside this one:

    AGENTHUMAN_API_KEY   key of your Agent Human account
    AGENTHUMAN_AVATAR    the avatar, avat_...
    LIVEKIT_URL          your LiveKit server, wss://...; Agent Human must be able to reach it
    LIVEKIT_API_KEY, LIVEKIT_API_SECRET
                         key and secret of that server, for the tokens of everybody
    LIVEKIT_ROOM_NAME    optional: one room for all calls; otherwise each call has its own
    DEEPGRAM_API_KEY, OPENAI_API_KEY, CARTESIA_API_KEY
    CARTESIA_VOICE_ID    optional: another voice

How to run it:

    python livekit_bot.py -t livekit      # then open http://localhost:7860 and join
"""

import os
from typing import Any

from dotenv import load_dotenv
from loguru import logger
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.transports.base_transport import BaseTransport
from pipecat.transports.livekit.transport import LiveKitParams
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanRTVI, AgentHumanVideoService, LiveKitRoom
from pipecat_agenthuman.runner import create_transport, exit_without, require_variables

load_dotenv(override=True)

KEYS = (
    "AGENTHUMAN_API_KEY",
    "AGENTHUMAN_AVATAR",
    "LIVEKIT_URL",
    "LIVEKIT_API_KEY",
    "LIVEKIT_API_SECRET",
    "DEEPGRAM_API_KEY",
    "OPENAI_API_KEY",
    "CARTESIA_API_KEY",
)
INSTRUCTION = (
    "You are a friendly assistant in a video call, and everything you write is spoken aloud. "
    "Answer in one to three short sentences, without lists, emojis or special characters."
)
GREETING = "Greet the person who has just joined, in one short sentence."
VOICE_ID = "71a7ad14-091c-4e8e-a314-022ece01c121"  # Cartesia's British Reading Lady


# Any other service of Pipecat goes here as well. Speech synthesis with word timestamps, as
# Cartesia's, lets the context keep an interrupted answer exactly up to the word that was heard.


def make_stt() -> FrameProcessor:
    from pipecat.services.deepgram.stt import DeepgramSTTService

    return DeepgramSTTService(api_key=os.environ["DEEPGRAM_API_KEY"])


def make_llm() -> FrameProcessor:
    from pipecat.services.openai.llm import OpenAILLMService

    return OpenAILLMService(
        api_key=os.environ["OPENAI_API_KEY"],
        settings=OpenAILLMService.Settings(system_instruction=INSTRUCTION),
    )


def make_tts() -> FrameProcessor:
    from pipecat.services.cartesia.tts import CartesiaTTSService

    return CartesiaTTSService(
        api_key=os.environ["CARTESIA_API_KEY"],
        settings=CartesiaTTSService.Settings(voice=os.getenv("CARTESIA_VOICE_ID", VOICE_ID)),
    )


transport_params = {"livekit": lambda: LiveKitParams(audio_in_enabled=True)}


async def run_bot(
    transport: BaseTransport, room: LiveKitRoom, runner_args: RunnerArguments
) -> None:
    """Hold one conversation."""
    # Minutes run from the session's creation. With "client_connected" they run only when
    # somebody is there to listen; the default, "pipeline", lets the avatar join while the
    # person is still on the way, which makes the greeting come a little sooner.
    avatar = AgentHumanVideoService(room=room, session_start="client_connected")

    context = LLMContext()
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(
        context,
        # Turn detection is Pipecat's default, so is that a person who speaks interrupts.
        user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer()),
    )

    pipeline = Pipeline(
        [
            transport.input(),
            make_stt(),
            user_aggregator,
            make_llm(),
            make_tts(),
            avatar,  # takes the speech, and tells everyone else when it was heard
            transport.output(),  # speaks itself only while there is no avatar
            assistant_aggregator,
        ]
    )
    worker = PipelineWorker(
        pipeline,
        observers=[AgentHumanRTVI(avatar)],  # a web page shows what the avatar is doing
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        idle_timeout_secs=runner_args.pipeline_idle_timeout_secs,
    )
    # SIGTERM is what docker stop and Kubernetes send. Inside a server it is the server's.
    handles = runner_args.handle_sigint
    runner = WorkerRunner(handle_sigint=handles, handle_sigterm=handles)
    await runner.add_workers(worker)

    # The transport reports people only: neither the bot nor the avatar is one.

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport: BaseTransport, client: Any) -> None:
        if not context.get_messages():  # the first of them
            context.add_message({"role": "developer", "content": GREETING})
            await worker.queue_frame(LLMRunFrame())

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport: BaseTransport, client: Any) -> None:
        if not transport.persons().keys() - {client["id"]}:
            logger.info("The last person left; the conversation ends.")
            await runner.cancel()

    await runner.run()


async def bot(runner_args: RunnerArguments) -> None:
    """Pipecat's runner calls this for each call, locally and in Pipecat Cloud."""
    require_variables(*KEYS)
    transport, room = await create_transport(runner_args, transport_params)
    await run_bot(transport, room, runner_args)


if __name__ == "__main__":
    exit_without(*KEYS)
    from pipecat.runner.run import main

    main()
