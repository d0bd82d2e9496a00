"""Text in, an avatar speaks: the smallest pipeline around AgentHumanVideoService.

It says two sentences, is interrupted in a third and says one more. What it prints is what
Pipecat's context holds after each of them: the words that a listener heard, and no others.

Without a key it speaks in a sandbox: its own, or one whose printed lines are exported.

    pip install "pipecat-agenthuman[demo] @ git+https://github.com/pipecat-agenthuman/pipecat-agenthuman"
    python examples/minimal.py

With AGENTHUMAN_API_KEY, AGENTHUMAN_AVATAR, DAILY_ROOM_URL and DAILY_API_KEY set, the avatar
joins that Daily room and speaks there; open the room in a browser first. Minutes are billed.
"""

import asyncio
import os
from contextlib import AsyncExitStack

from pipecat.frames.frames import EndFrame, InterruptionFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.runner import exit_without
from pipecat_agenthuman.sandbox import Sandbox


async def find_room(stack):
    if "AGENTHUMAN_API_KEY" not in os.environ:
        os.environ.update((await stack.enter_async_context(Sandbox())).environment)
    if "AGENTHUMAN_API_URL" in os.environ and "DAILY_ROOM_URL" not in os.environ:
        return DailyRoom("https://sandbox.daily.co/minimal", "a-sandbox-takes-any-token")
    exit_without("AGENTHUMAN_AVATAR", "DAILY_ROOM_URL", "DAILY_API_KEY")
    return await DailyRoom.mint(os.environ["DAILY_ROOM_URL"])


async def main():
    async with AsyncExitStack() as stack:
        # The avatar plays the sound in its room, so this pipeline needs no transport.
        tts = EspeakTTSService(word_timestamps=True)
        avatar = AgentHumanVideoService(room=await find_room(stack))
        assistant = LLMContextAggregatorPair(LLMContext()).assistant()
        worker = PipelineWorker(Pipeline([tts, avatar, assistant]))

        heard = asyncio.Queue()

        @assistant.event_handler("on_assistant_turn_stopped")
        async def on_assistant_turn_stopped(aggregator, turn):
            await heard.put(turn.content)

        async def talk():
            for text in ("Hello! I speak through an avatar.", "You can interrupt me at any time."):
                await worker.queue_frame(TTSSpeakFrame(text))
                print("heard:", await heard.get())
            await worker.queue_frame(TTSSpeakFrame("Just say something while I am talking on."))
            await asyncio.sleep(1.5)
            await worker.queue_frame(InterruptionFrame())
            print("heard:", await heard.get(), "-- interrupted")
            await worker.queue_frame(TTSSpeakFrame("See? Good bye!"))
            print("heard:", await heard.get())
            await worker.queue_frame(EndFrame())

        runner = WorkerRunner(handle_sigterm=True)
        await runner.add_workers(worker)
        talking = asyncio.create_task(talk())
        await runner.run()
        talking.cancel()


if __name__ == "__main__":
    asyncio.run(main())
