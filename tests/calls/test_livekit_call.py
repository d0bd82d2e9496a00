"""A call in a LiveKit room, with the real client: who speaks, the avatar or the transport.

What that proves is said in ``support/livekit_server.py``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")

import numpy as np
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.worker import PipelineWorker

from pipecat_agenthuman import AgentHumanVideoService, LiveKitRoom
from tests.support.livekit_avatars import AvatarsInTheRoom
from tests.support.livekit_bot import BOT, OWN, Bot, tones, transport_for
from tests.support.livekit_room import opened_room
from tests.support.livekit_server import API_KEY, API_SECRET, RATE
from tests.support.pipelines import running
from tests.support.waiting import until

SAID_SECS = 0.6


async def say(worker: PipelineWorker, bot: Bot) -> None:
    """Say a tone, and wait until the pipeline believes that it was heard."""
    turns = np.arange(round(16000 * SAID_SECS)) * OWN / 16000
    audio = (8000 * np.sin(2 * np.pi * turns)).astype(np.int16).tobytes()
    ended = len(bot.recorder.seen(BotStoppedSpeakingFrame))
    speech = [audio[at : at + 1280] for at in range(0, len(audio), 1280)]
    await worker.queue_frames(
        [
            TTSStartedFrame(),
            *(TTSAudioRawFrame(piece, 16000, 1) for piece in speech),
            TTSStoppedFrame(),
        ]
    )
    await bot.recorder.saw(BotStoppedSpeakingFrame, ended + 1)


def last_sound(bot: Bot) -> bytes:
    """What the room has heard of the bot of late: it comes a little after it was said."""
    return b"".join(part.tobytes() for part in bot.seat.heard[-25:])


async def test_the_transport_speaks_while_the_avatar_is_out_of_the_room():
    async with opened_room() as room:
        service = AvatarsInTheRoom(room, render_latency_secs=0.2)
        with service.sandbox as sandbox:
            place = await LiveKitRoom.mint(
                room.url,
                room_name="room",
                api_key=API_KEY,
                api_secret=API_SECRET,
                bot_identity=BOT,
            )
            transport = transport_for(room, avatar=place.identity)
            bot = Bot(transport, room)
            avatar = AgentHumanVideoService(
                api_key=sandbox.environment["AGENTHUMAN_API_KEY"],
                api_url=sandbox.environment["AGENTHUMAN_API_URL"],
                ws_url=sandbox.environment["AGENTHUMAN_WS_URL"],
                room=place,
                settings=AgentHumanVideoService.Settings(avatar="avat_1"),
            )
            async with running(
                transport.input(), avatar, bot.recorder, transport.output(), rate=16000
            ) as (worker, _):
                await say(worker, bot)
                await until(lambda: sandbox.heard().duration_secs > SAID_SECS - 0.1)
                assert not bot.heard_in_the_room()

                service.avatars[0].leave("PARTICIPANT_REMOVED")
                await until(lambda: "on_avatar_disconnected" in [name for name, _ in bot.events])
                await bot.settle()
                await say(worker, bot)
                await until(lambda: bot.heard_in_the_room() == {OWN})

                service.return_to_the_room()
                await until(lambda: bot.events[-1][0] == "on_avatar_connected")
                await bot.settle()
                await until(lambda: not tones(last_sound(bot), RATE))
                bot.seat.heard.clear()
                said_secs = sandbox.heard().duration_secs
                await say(worker, bot)
                enough_secs = said_secs + SAID_SECS - 0.1
                await until(lambda: sandbox.heard().duration_secs > enough_secs)
                assert not bot.heard_in_the_room()
