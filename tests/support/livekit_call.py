"""A call in a LiveKit room of another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pipecat.transports.livekit.transport import LiveKitParams

from pipecat_agenthuman import AgentHumanLiveKitTransport, AgentHumanVideoService, LiveKitRoom
from tests.support.heard_speech import HeardSpeech
from tests.support.livekit_bot import BOT
from tests.support.livekit_process import Place
from tests.support.pipelines import Recorder, running
from tests.support.sounds import RATE
from tests.support.waiting import LIMIT_SECS


@asynccontextmanager
async def livekit_call(
    place: Place, setting: float | str
) -> AsyncIterator[tuple[HeardSpeech, AgentHumanVideoService]]:
    """Run a bot in a room; ``setting`` is ``avatar_latency_secs``."""
    room = await LiveKitRoom.mint(place.url, room_name="room", bot_identity=BOT, **place.keys)
    transport = AgentHumanLiveKitTransport(
        place.url, place.tokens["bot"], "room", LiveKitParams(audio_in_enabled=True)
    )
    recorder = Recorder()
    avatar = AgentHumanVideoService(
        room=room,
        **place.service,
        settings=AgentHumanVideoService.Settings(avatar="avat_demo", avatar_latency_secs=setting),
    )
    parts = (transport.input(), avatar, recorder, transport.output())
    async with running(*parts, rate=RATE) as (worker, _):
        await avatar.wait_until_ready(LIMIT_SECS)
        yield HeardSpeech(lambda *frames: worker.queue_frames(frames), recorder), avatar
