"""The latency is heard in a Daily and in a LiveKit room, as far as both can be had here.

Over LiveKit everything is real: Opus over RTP to the client of LiveKit (``livekit_server.py``).
Over Daily the sound is put into the stand-in's renderer, with the faults of a network. How exact it
is, ``test_listening.py`` tells, and over real media ``benchmarks/heard_latency.py``: here the
machine may be busy.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from pipecat.frames.frames import InputAudioRawFrame
from pipecat.transports.daily.transport import DailyParams

from pipecat_agenthuman import AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import avatar_in
from tests.support.daily_avatars import DailyAvatars
from tests.support.daily_bot import ADA, transport_for, voice
from tests.support.daily_room import Room
from tests.support.heard_speech import HeardSpeech
from tests.support.network import Network
from tests.support.pipelines import Recorder, running
from tests.support.sounds import RATE
from tests.support.waiting import LIMIT_SECS, quiet_log, until

BAD = Network(delay_secs=0.08, late_secs=0.04, loss=0.05, noise=20)

MEASURED = {"avatar_latency_secs": "measured"}

UTTERANCES = 30
"""The second is enough, unless the machine is very busy: sound that stutters is not judged."""


@pytest.fixture
def log():
    with quiet_log() as lines:
        yield lines


@asynccontextmanager
async def daily_call(
    room: Room, sandbox: Sandbox, params: DailyParams
) -> AsyncIterator[tuple[HeardSpeech, AgentHumanVideoService, Recorder]]:
    transport, recorder, users = transport_for(room, params), Recorder(), Recorder()
    avatar = avatar_in(sandbox, room=DailyRoom(room.url, "token"), settings=MEASURED)
    parts = (transport.input(), users, avatar, recorder, transport.output())
    async with running(*parts, rate=RATE) as (worker, _):
        await avatar.wait_until_ready(LIMIT_SECS)
        yield HeardSpeech(lambda *frames: worker.queue_frames(frames), recorder), avatar, users


async def until_heard(speech: HeardSpeech, avatar: AgentHumanVideoService) -> None:
    """Speak until it was heard how late that is."""
    for number in range(UTTERANCES):
        await speech.say(number)
        if avatar.stats.avatar_latency_source == "heard":
            return


async def test_over_daily_the_latency_is_heard_and_the_recognition_hears_persons_only(room, log):
    ada = room.join("Ada")
    service = DailyAvatars(room, BAD, render_latency_secs=1.1)
    with service.sandbox as sandbox:
        params = DailyParams(audio_in_enabled=True)
        async with daily_call(room, sandbox, params) as (speech, avatar, users):
            await until(lambda: room.clients[0].subscribed_media(service.participants[0].id))
            await until_heard(speech, avatar)
            ada.speak(voice(ADA))
            await users.wait_for(lambda: users.of(InputAudioRawFrame))
            stats = avatar.stats
    assert stats.avatar_latency_source == "heard"
    assert stats.avatar_latency_secs == pytest.approx(1.1 + BAD.delay_secs, abs=0.3)
    assert {frame.user_id for frame in users.of(InputAudioRawFrame)} == {ada.id}
    assert not [line for line in log if "RawFrame" in line and service.participants[0].id in line]


async def test_over_daily_nothing_is_heard_where_the_room_is_mixed(room, log):
    service = DailyAvatars(room, Network(), render_latency_secs=0.2)
    with service.sandbox as sandbox:
        params = DailyParams(audio_in_enabled=True, audio_in_user_tracks=False)
        async with daily_call(room, sandbox, params) as (speech, avatar, users):
            await speech.say(0)
            assert not room.clients[0].subscribed_media(service.participants[0].id)
            assert avatar.stats.avatar_latency_source == "assumed"
    assert not any(any(frame.audio) for frame in users.of(InputAudioRawFrame))


async def test_over_livekit_the_latency_is_heard_and_the_recognition_hears_nothing(log):
    pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
    pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")
    from pipecat_agenthuman import LiveKitRoom
    from tests.support import livekit_bot
    from tests.support.livekit_avatars import AvatarsInTheRoom
    from tests.support.livekit_room import opened_room
    from tests.support.livekit_server import API_KEY, API_SECRET

    async with opened_room() as room:
        service = AvatarsInTheRoom(room, publishes=True, render_latency_secs=1.1)
        keys = {"room_name": "room", "api_key": API_KEY, "api_secret": API_SECRET}
        place = await LiveKitRoom.mint(room.url, bot_identity=livekit_bot.BOT, **keys)
        bot = livekit_bot.Bot(livekit_bot.transport_for(room, avatar=place.identity), room)
        with service.sandbox as sandbox:
            avatar = avatar_in(sandbox, room=place, settings=MEASURED)
            parts = (bot.transport.input(), avatar, bot.recorder, bot.transport.output())
            async with running(*parts, rate=RATE) as (worker, _):
                await avatar.wait_until_ready(LIMIT_SECS)
                speech = HeardSpeech(lambda *frames: worker.queue_frames(frames), bot.recorder)
                await until_heard(speech, avatar)
                # Never sooner than it sounds, and later by what the network of the room takes: a
                # busy machine makes a bad one.
                assert 1.1 < avatar.stats.avatar_latency_secs < 2.5
            assert not bot.frames(InputAudioRawFrame)
