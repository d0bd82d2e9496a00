"""A call in a LiveKit room, with the real client: who speaks, the avatar or the transport.

What that proves is said in ``support/livekit_server.py``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.pipeline.worker import PipelineWorker
from pipecat.transports.livekit.transport import LiveKitParams, LiveKitTransport

from pipecat_agenthuman import AgentHumanVideoService, LiveKitRoom
from pipecat_agenthuman.identity import AVATAR_USER_ID
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.tokens.livekit import PUBLISH_ON_BEHALF
from tests.support.calls import avatar_in
from tests.support.inside import set_limits
from tests.support.livekit_avatars import AvatarsInTheRoom
from tests.support.livekit_bot import (
    BOT,
    OWN,
    Bot,
    join_avatar,
    join_person,
    tones,
    transport_for,
)
from tests.support.livekit_room import Room, opened_room
from tests.support.livekit_server import API_KEY, API_SECRET, RATE
from tests.support.pipelines import running
from tests.support.waiting import LIMIT_SECS, until

SAID_SECS = 0.6


async def say(worker: PipelineWorker, bot: Bot) -> None:
    """Say a tone, and wait until the pipeline believes that it was heard."""
    turns = np.arange(round(16000 * SAID_SECS)) * OWN / 16000
    audio = (8000 * np.sin(2 * np.pi * turns)).astype(np.int16).tobytes()
    ended = len(bot.frames(BotStoppedSpeakingFrame))
    speech = [audio[at : at + 1280] for at in range(0, len(audio), 1280)]
    await worker.queue_frames(
        [
            TTSStartedFrame(),
            *(TTSAudioRawFrame(piece, 16000, 1) for piece in speech),
            TTSStoppedFrame(),
        ]
    )
    await bot.recorder.wait_for(lambda: len(bot.frames(BotStoppedSpeakingFrame)) > ended)


def last_sound(bot: Bot) -> bytes:
    """What the room has heard of the bot of late: it comes a little after it was said."""
    return b"".join(part.tobytes() for part in bot.seat.heard[-25:])


@pytest.fixture
async def room(log: list[str]) -> AsyncIterator[Room]:
    async with opened_room() as room:
        yield room


async def place_in(room: Room, name: str = "room") -> LiveKitRoom:
    """Make the avatar's token."""
    keys = {"api_key": API_KEY, "api_secret": API_SECRET}
    return await LiveKitRoom.mint(room.url, room_name=name, bot_identity=BOT, **keys)


@asynccontextmanager
async def calling(
    room: Room, sandbox: Sandbox, place: LiveKitRoom, transport: Any = None, **options: Any
) -> AsyncIterator[tuple[PipelineWorker, Bot, AgentHumanVideoService]]:
    """Run a bot whose avatar is to join the room."""
    bot = Bot(transport or transport_for(room, avatar=place.identity), room)
    avatar = avatar_in(sandbox, room=place, **options)
    parts = [bot.transport.input(), avatar, bot.recorder, bot.transport.output()]
    async with running(*parts, rate=16000) as (worker, _):
        yield worker, bot, avatar


async def is_said_by_the_avatar(worker: PipelineWorker, bot: Bot, sandbox: Sandbox) -> None:
    """Say something; the avatar is heard, and the bot is not."""
    await until(lambda: not tones(last_sound(bot), RATE))
    bot.seat.heard.clear()
    said_secs = sandbox.heard().duration_secs
    await say(worker, bot)
    await until(lambda: sandbox.heard().duration_secs > said_secs + SAID_SECS - 0.1)
    assert not bot.heard_in_the_room()


async def is_said_by_the_transport(worker: PipelineWorker, bot: Bot, sandbox: Sandbox) -> None:
    """Say something; the bot is heard, and the avatar is not."""
    said_secs = sandbox.heard().duration_secs
    await until(lambda: bot.room.seats and bot.seat.can_be_heard)
    await say(worker, bot)
    await until(lambda: bot.heard_in_the_room() == {OWN})
    assert sandbox.heard().duration_secs < said_secs + 0.1  # the end of what it said before


async def test_the_transport_speaks_while_the_avatar_is_out_of_the_room(room):
    service = AvatarsInTheRoom(room, render_latency_secs=0.2)
    with service.sandbox as sandbox:
        async with calling(room, sandbox, await place_in(room)) as (worker, bot, avatar):
            await avatar.wait_until_ready(LIMIT_SECS)
            await is_said_by_the_avatar(worker, bot, sandbox)

            service.avatars[0].leave("PARTICIPANT_REMOVED")
            await until(lambda: "on_avatar_disconnected" in [name for name, _ in bot.events])
            await bot.settle()
            await is_said_by_the_transport(worker, bot, sandbox)

            service.return_to_the_room()
            await until(lambda: bot.events[-1][0] == "on_avatar_connected")
            await bot.settle()
            await is_said_by_the_avatar(worker, bot, sandbox)


async def test_the_transport_speaks_until_the_avatar_appears_and_no_other_bots_counts(room):
    place = await place_in(room)
    with Sandbox(render_latency_secs=0.2) as sandbox:
        async with calling(room, sandbox, place, avatar_wait_secs=0.3) as (worker, bot, avatar):
            other = f"{AVATAR_USER_ID}-other"
            join_avatar(room, other, attributes={PUBLISH_ON_BEHALF: "other"})
            await is_said_by_the_transport(worker, bot, sandbox)
            assert not avatar.ready
            join_avatar(room, place.identity.user_id)
            await avatar.wait_until_ready(LIMIT_SECS)
            await is_said_by_the_avatar(worker, bot, sandbox)
        assert len(sandbox.sessions) == 1


async def test_a_renewed_avatar_takes_the_place_of_the_last_one(room):
    service = AvatarsInTheRoom(room, render_latency_secs=0.2)
    with service.sandbox as sandbox:
        async with calling(room, sandbox, await place_in(room)) as (worker, bot, avatar):
            await avatar.wait_until_ready(LIMIT_SECS)
            await sandbox.drop()
            await until(lambda: len(service.avatars) == 2)
            await avatar.wait_until_ready(LIMIT_SECS)
            await is_said_by_the_avatar(worker, bot, sandbox)


async def test_a_room_that_everybody_leaves_has_no_avatar_until_somebody_comes(room, monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.2)
    service = AvatarsInTheRoom(room, render_latency_secs=0.2)
    with service.sandbox as sandbox:
        async with calling(room, sandbox, await place_in(room)) as (worker, bot, avatar):
            ada, bob = join_person(room, "ada"), join_person(room, "bob")
            await avatar.wait_until_ready(LIMIT_SECS)
            ada.leave()
            bob.leave()
            await until(lambda: not sandbox.live_sessions and not avatar.ready)
            join_person(room, "ada")
            await avatar.wait_until_ready(LIMIT_SECS)
            await is_said_by_the_avatar(worker, bot, sandbox)
        assert len(sandbox.sessions) == 2
        assert sandbox.peak_live_sessions == 1


async def test_with_pipecats_own_transport_the_avatar_speaks_as_well(room):
    service = AvatarsInTheRoom(room, render_latency_secs=0.2)
    plain = LiveKitTransport(room.url, room.token(BOT), "a name for the log", LiveKitParams())
    with service.sandbox as sandbox:
        async with calling(room, sandbox, await place_in(room), plain) as (worker, bot, avatar):
            await avatar.wait_until_ready(LIMIT_SECS)
            await is_said_by_the_avatar(worker, bot, sandbox)


@pytest.mark.parametrize("kind", ["plain", "ours"])
async def test_a_bot_in_another_room_speaks_itself_and_nothing_is_billed(room, kind, log):
    params = LiveKitParams(audio_out_enabled=True)
    plain = LiveKitTransport(room.url, room.token(BOT), "kitchen", params)
    with Sandbox() as sandbox:
        kitchen = await place_in(room, "kitchen")
        transport = plain if kind == "plain" else None
        async with calling(room, sandbox, kitchen, transport) as (worker, bot, avatar):
            await is_said_by_the_transport(worker, bot, sandbox)
        assert not sandbox.sessions
    (error,) = [line for line in log if line.startswith(f"ERROR {avatar} ")]
    assert "'kitchen'" in error
    assert "nothing is billed" in error
