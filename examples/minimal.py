"""Text in, an avatar speaks: the smallest pipeline around AgentHumanVideoService.

It says two sentences, is interrupted in a third and says one more. What it prints is what
Pipecat's context holds after each of them: the words that a listener heard, and no others.

Without a key it speaks in a sandbox on this machine:

    pip install 'pipecat-agenthuman[demo]'
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
from pipecat_agenthuman.sandbox import Sandbox


async def main():
    async with AsyncExitStack() as stack:
        if os.environ.get("AGENTHUMAN_API_KEY"):
            room = await DailyRoom.mint(os.environ["DAILY_ROOM_URL"])
        else:
            sandbox = await stack.enter_async_context(Sandbox())
            os.environ.update(sandbox.environment)
            room = DailyRoom("https://sandbox.daily.co/minimal", "any-token-will-do")

        # The avatar plays the sound in its room, so this pipeline needs no transport.
        tts = EspeakTTSService(word_timestamps=True)
        avatar = AgentHumanVideoService(room=room)
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
