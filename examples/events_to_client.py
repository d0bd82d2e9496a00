"""What the avatar is doing, told to the web client.

What it shows: AgentHumanRTVI, which tells a web page what it shows beside the video: that the
avatar is on its way, that it speaks, that for a moment there is only the voice. The rest is
daily_bot.py in short.

The client gets, each time something changes and once when it reports that it is ready:

    {"type": "avatar-state", "state": "absent" | "joining" | "ready" | "speaking"
                                      | "lost" | "returning",
     "reason": "<one sentence for people>", "avatar": "<user_id of the avatar in the room>",
     "service": "<name of the service, where there are two>"}

With Pipecat's JavaScript client:

    client.on(RTVIEvent.ServerMessage, (message) => {
        if (message.type === "avatar-state") showState(message.state, message.reason);
    });

A whole page that does so is in the folder web.

What it needs: the packages

    pip install "pipecat-agenthuman @ git+https://github.com/pipecat-agenthuman/pipecat-agenthuman"
    pip install "pipecat-ai[runner,deepgram,openai,cartesia,silero]"

and, in the environment or in a file .env beside this one:

    AGENTHUMAN_API_KEY   key of your Agent Human account
    AGENTHUMAN_AVATAR    the avatar, avat_...
    DAILY_API_KEY        key of your Daily domain, for the rooms and for the avatar's token
    DAILY_ROOM_URL       optional: a room that exists; otherwise one is created for each call
    DEEPGRAM_API_KEY, OPENAI_API_KEY, CARTESIA_API_KEY
    CARTESIA_VOICE_ID    optional: another voice

How to run it:

    python events_to_client.py -t daily   # then connect your client to http://localhost:7860
"""

import os
from typing import Any

from dotenv import load_dotenv
from loguru import logger
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
from pipecat.runner.types import RunnerArguments
from pipecat.transports.base_transport import BaseTransport
from pipecat.transports.daily.transport import DailyParams
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanRTVI, AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.runner import create_transport, exit_without, require_variables

load_dotenv(override=True)

KEYS = (
    "AGENTHUMAN_API_KEY",
    "AGENTHUMAN_AVATAR",
    "DAILY_API_KEY",
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


transport_params = {"daily": lambda: DailyParams(audio_in_enabled=True)}


async def run_bot(transport: BaseTransport, room: DailyRoom, runner_args: RunnerArguments) -> None:
    """Hold one conversation."""
    context = LLMContext()
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(
        context,
        user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer()),
    )
    # Minutes run from the first person on: a page may be left before it has joined.
    avatar = AgentHumanVideoService(room=room, session_start="client_connected")
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
        observers=[AgentHumanRTVI(avatar)],  # tells the client
        idle_timeout_secs=runner_args.pipeline_idle_timeout_secs,
    )
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
