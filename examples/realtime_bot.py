"""A talking avatar in a Daily room, driven by a speech-to-speech model.

What it shows: OpenAI Realtime hears the person and answers with speech, and the avatar speaks
it. There is no separate speech recognition or synthesis, and the model itself decides when
the person has finished or interrupts.

What it needs: the packages

    pip install "pipecat-agenthuman @ git+https://github.com/pipecat-agenthuman/pipecat-agenthuman"
    pip install "pipecat-ai[runner,openai]"

and, in the environment or in a file .env beside this one:

    AGENTHUMAN_API_KEY   key of your Agent Human account
    AGENTHUMAN_AVATAR    the avatar, avat_...
    DAILY_API_KEY        key of your Daily domain, for the rooms and for the avatar's token
    DAILY_ROOM_URL       optional: a room that exists; otherwise one is created for each call
    OPENAI_API_KEY

How to run it:

    python realtime_bot.py -t daily   # then open http://localhost:7860 and join
    python realtime_bot.py -d         # joins DAILY_ROOM_URL at once, without a web server

What to know: the model sends its transcript without the times of the words, and ahead of the
speech, so the context may hold more of an interrupted answer than was heard. The model's own
memory is cut at the time since its first audio, which is too late by the avatar's latency, some
0.5 s. Where it matters, daily_bot.py keeps it to the word.
"""

import os
from typing import Any

from dotenv import load_dotenv
from loguru import logger
from pipecat.frames.frames import LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.runner.types import RunnerArguments
from pipecat.transports.base_transport import BaseTransport
from pipecat.transports.daily.transport import DailyParams
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.runner import create_transport, exit_without, require_variables

load_dotenv(override=True)

KEYS = (
    "AGENTHUMAN_API_KEY",
    "AGENTHUMAN_AVATAR",
    "DAILY_API_KEY",
    "OPENAI_API_KEY",
)
INSTRUCTION = (
    "You are a friendly assistant in a video call. Answer in one to three short sentences."
)
GREETING = "Greet the person who has just joined, in one short sentence."


def make_llm() -> FrameProcessor:
    from pipecat.services.openai.realtime import events
    from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

    return OpenAIRealtimeLLMService(
        api_key=os.environ["OPENAI_API_KEY"],
        settings=OpenAIRealtimeLLMService.Settings(
            system_instruction=INSTRUCTION,
            session_properties=events.SessionProperties(
                audio=events.AudioConfiguration(
                    input=events.AudioInput(
                        transcription=events.InputAudioTranscription(),
                        turn_detection=events.SemanticTurnDetection(),
                    )
                )
            ),
        ),
    )


transport_params = {"daily": lambda: DailyParams(audio_in_enabled=True)}


async def run_bot(transport: BaseTransport, room: DailyRoom, runner_args: RunnerArguments) -> None:
    """Hold one conversation."""
    # The session starts with the pipeline, so the avatar is usually there before the person.
    # See daily_bot.py for the other way.
    avatar = AgentHumanVideoService(room=room)

    context = LLMContext()
    user_aggregator, assistant_aggregator = LLMContextAggregatorPair(context)

    pipeline = Pipeline(
        [
            transport.input(),
            user_aggregator,
            make_llm(),
            avatar,  # takes the speech, and tells everyone else when it was heard
            transport.output(),  # speaks itself only while there is no avatar
            assistant_aggregator,
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
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
