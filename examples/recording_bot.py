"""A conversation with a talking avatar in a Daily room, recorded to a WAV file.

What it shows: Pipecat's AudioBufferProcessor behind the avatar. The avatar plays the speech in
the room, so a recorder in the pipeline would get none; with pass_heard_audio the service hands
it on as it is heard, cut where an interruption cut it. The person is on the left channel, the
avatar on the right.

The price: the transport must not play what is handed on (audio_out_enabled=False), so it cannot
stand in for the avatar, and while there is no avatar the bot is silent.

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
    RECORDING_FILE       optional: where to write, recording.wav

How to run it:

    python recording_bot.py -t daily      # then open http://localhost:7860 and join
"""

import os
import wave
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
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor
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


transport_params = {"daily": lambda: DailyParams(audio_in_enabled=True, audio_out_enabled=False)}


def write_recording(audio: bytes, sample_rate: int, num_channels: int) -> None:
    path = os.getenv("RECORDING_FILE", "recording.wav")
    with wave.open(path, "wb") as file:
        file.setnchannels(num_channels)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(audio)
    logger.info(f"Wrote {path}.")


async def run_bot(transport: BaseTransport, room: DailyRoom, runner_args: RunnerArguments) -> None:
    """Hold one conversation."""
    avatar = AgentHumanVideoService(
        room=room,
        session_start="client_connected",
        pass_heard_audio=True,  # for the recorder
        on_unavailable="drop",  # the transport plays nothing, so it cannot stand in
    )
    recorder = AudioBufferProcessor(num_channels=2)

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
            avatar,  # hands the speech on as it is heard
            recorder,
            transport.output(),  # plays nothing
            assistant_aggregator,
        ]
    )
    worker = PipelineWorker(
        pipeline,
        params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        idle_timeout_secs=runner_args.pipeline_idle_timeout_secs,
    )
    # SIGTERM is what docker stop and Kubernetes send. Inside a server it is the server's.
    handles = runner_args.handle_sigint
    runner = WorkerRunner(handle_sigint=handles, handle_sigterm=handles)
    await runner.add_workers(worker)

    @recorder.event_handler("on_audio_data")
    async def on_audio_data(
        recorder: AudioBufferProcessor, audio: bytes, sample_rate: int, num_channels: int
    ) -> None:
        write_recording(audio, sample_rate, num_channels)

    # The transport reports people only: neither the bot nor the avatar is one.

    @transport.event_handler("on_client_connected")
    async def on_client_connected(transport: BaseTransport, client: Any) -> None:
        if not context.get_messages():  # the first of them
            await recorder.start_recording()
            context.add_message({"role": "developer", "content": GREETING})
            await worker.queue_frame(LLMRunFrame())

    @transport.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport: BaseTransport, client: Any) -> None:
        if not transport.persons().keys() - {client["id"]}:
            logger.info("The last person left; the conversation ends.")
            await recorder.stop_recording()
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
