"""Nobody speaks into a void: an avatar that is not there, or not where the caller is."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import ServiceUpdateSettingsFrame, StartFrame
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman import AvatarUnavailableError, RenewalPolicy, SessionCredentials
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanBotLeftFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import ROOM, avatar_in, avatars, calling, staged
from tests.support.faults import QUICK_RENEWAL, SHORT_LIMITS, fault
from tests.support.inside import set_limits, transport_is_busy
from tests.support.pipelines import RoomCard, SoundCard
from tests.support.sandbox_client import create
from tests.support.sounds import RATE, never, once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


def errors_in(log: list[str]) -> list[str]:
    """What this package logged as an error."""
    return [line for line in log if line.startswith("ERROR AgentHumanVideoService")]


@pytest.mark.parametrize("kind", ["missing", "silent", "cut"])
@virtually
async def test_no_word_is_lost_at_a_server_that_does_not_answer_any_more(kind: str):
    """It is not waited for a closing handshake that would silence the avatar."""
    async with avatars() as sandbox:
        options = {"limits": SHORT_LIMITS, "renewal": QUICK_RENEWAL}
        sandbox.inject(fault("agent.speak", kind, nth=4))
        async with staged(avatar_in(sandbox, **options), sandbox=sandbox, rate=RATE) as call:
            said = await call.say(4.0)
            await call.stopped()
            await call.end()
    heard = call.heard_of_avatar() + call.given_to_transport()
    assert np.count_nonzero(heard[said.start : said.stop] == 0) < 0.01 * RATE


# --- an avatar that never appears --------------------------------------------------------


@virtually
async def test_the_transport_speaks_when_no_avatar_appears_until_it_does(log):
    async with avatars() as sandbox:
        options = {"transport": RoomCard(), "until_ready": False, "avatar_wait_secs": 0.3}
        async with calling(sandbox, **options) as call:
            first = await call.say(0.5)
            await call.spoken()
            assert not call.avatar.ready
            assert not call.ready
            second = await call.say(0.3)
            await call.spoken(2)
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await call.until_ready()
            await until(lambda: not transport_is_busy(call.avatar))
            third = await call.say(0.3)
            await call.end()
        assert len(sandbox.sessions) == 1
    for words in (first, second):
        assert once(call.given_to_transport(), words)
        assert never(call.heard_of_avatar(), words)
    assert once(call.heard_of_avatar(), third)
    assert call.avatar.stats.fallback_secs == pytest.approx(0.8, abs=0.05)
    assert [frame.code for frame in call.error_frames] == ["avatar_absent"]
    (line,) = errors_in(log)
    for words in ("within 0.3 s", "the transport speaks", "minutes", "token", "free place"):
        assert words in line


@virtually
async def test_an_avatar_that_appears_in_the_middle_of_an_utterance_begins_with_the_next():
    async with avatars() as sandbox:
        options = {"transport": RoomCard(), "until_ready": False, "avatar_wait_secs": 0.1}
        async with calling(sandbox, **options) as call:
            first = await call.say(1.0)
            await call.started()
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await call.until_ready()
            second = await call.say(0.3)
            await call.end()
    assert once(call.given_to_transport(), first)
    assert once(call.heard_of_avatar(), second)


@virtually
async def test_with_drop_nobody_says_what_no_avatar_is_there_for(log):
    async with avatars() as sandbox:
        options = {"transport": RoomCard(), "until_ready": False, "avatar_wait_secs": 0.1}
        async with calling(sandbox, on_unavailable="drop", **options) as call:
            words = await call.say(0.3)
            await call.spoken()
            await call.end()
    assert never(call.heard_of_avatar() + call.given_to_transport(), words)
    assert "the bot is mute" in errors_in(log)[0]


@virtually
async def test_where_no_transport_tells_the_word_of_the_session_is_enough():
    async with avatars() as sandbox, calling(sandbox, avatar_wait_secs=0.0) as call:
        words = await call.say(0.3)
        await call.end()
    assert once(call.heard_of_avatar(), words)
    assert not call.error_frames


# --- a bot that is out of the room -------------------------------------------------------


@pytest.mark.parametrize("when", ["before a session", "between two", "in an empty room"])
@virtually
async def test_a_bot_that_is_out_of_the_room_says_so_to_everybody_without_a_session_too(
    log, monkeypatch, when: str
):
    set_limits(monkeypatch, empty_room_secs=0.0)
    options = {"session_start": "client_connected"} if when == "before a session" else {}
    async with avatars() as sandbox:
        async with calling(sandbox, until_ready=not options, **options) as call:
            if when == "between two":
                sandbox.inject(fault("create", "refuse", status=503, times=None))
                await sandbox.drop()
                await until(lambda: "server_failure" in call.avatar.stats.errors)
            elif when == "in an empty room":
                for number in (1, 0):
                    await call.feed(AgentHumanPersonsFrame(persons=number))
                await until(lambda: not sandbox.live_sessions)
            made = len(sandbox.sessions)
            sandbox.clear_faults()
            await call.feed(AgentHumanBotLeftFrame(reason="it was put out"))
            await until(lambda: "bot_removed" in [frame.code for frame in call.error_frames])
            await until(lambda: not call.avatar.is_usable)
            with pytest.raises(AvatarUnavailableError, match="bot is not in the room"):
                await call.avatar.wait_until_ready(60)
            words = await call.say(0.3)
            await call.spoken()
            await call.end()
        assert len(sandbox.sessions) == made
    assert once(call.given_to_transport(), words)
    gone = call.between.of(AgentHumanDisconnectedFrame)[-1]
    assert "bot is not in the room" in gone.reason
    assert not gone.will_reconnect
    (line,) = [line for line in errors_in(log) if "bot is not in the room" in line]
    assert "conversation is over" in line


# --- a transport that is elsewhere -------------------------------------------------------


def elsewhere(**options: Any) -> SoundCard:
    """A sound card in the shape of Pipecat's transport over a WebSocket."""
    kind = type("Output", (BaseOutputTransport,), {"__module__": "pipecat.transports.websocket.x"})
    return type("WebsocketOutput", (SoundCard, kind), {})(**options)


@pytest.mark.parametrize("session_start", ["pipeline", "client_connected"])
@virtually
async def test_a_transport_that_is_elsewhere_speaks_from_the_first_word(log, session_start: str):
    async with avatars() as sandbox:
        transport = elsewhere()
        options = {"until_ready": False, "session_start": session_start}
        async with calling(sandbox, transport=transport, **options) as call:
            first = await call.say(0.3)
            await call.spoken()
            await call.interrupt()
            second = await call.say(0.3)
            await call.spoken(2)
            await call.end()
        assert not sandbox.sessions
        assert not [e for e in sandbox.log if e["direction"] == "in"]
    assert once(call.given_to_transport(), first)
    assert once(call.given_to_transport(), second)
    assert [frame.code for frame in call.error_frames] == ["wrong_room"]
    assert not call.avatar.is_usable
    (line,) = errors_in(log)
    for words in ("a WebSocket", ROOM.url, "nothing is billed", "AgentHumanDailyTransport"):
        assert words in line
    names = [type(sighting.frame) for sighting in call.behind.sightings]
    assert names[0] is StartFrame


@virtually
async def test_what_is_elsewhere_behaves_as_if_the_service_were_not_there():
    async with avatars() as sandbox:
        with_service, without = [], []
        for avatar, found in ((avatar_in(sandbox), with_service), (None, without)):
            async with staged(avatar=avatar, transport=elsewhere(), until_ready=False) as call:
                await call.say(0.3)
                await call.stopped()
                await call.end()
            found += [
                type(frame).__name__
                for frame in (sighting.frame for sighting in call.behind.sightings)
                if not type(frame).__name__.startswith(("AgentHuman", "Metrics"))
                and type(frame).__name__ != "BotSpeakingFrame"
            ]
    assert with_service == without


@virtually
async def test_a_session_made_elsewhere_is_not_compared(log):
    async with Sandbox() as sandbox:
        made = await create(sandbox)
        credentials = SessionCredentials(made["session_id"], made["session_token"])
        avatar = avatar_in(sandbox, credentials=credentials)
        async with staged(avatar=avatar, transport=elsewhere()) as call:
            await call.end()
    assert not errors_in(log)


@virtually
async def test_new_settings_bring_no_session_up_where_the_avatar_cannot_speak():
    async with avatars() as sandbox:
        async with calling(sandbox, transport=elsewhere(), until_ready=False) as call:
            delta = call.avatar.Settings(avatar="avat_other")
            await call.feed(ServiceUpdateSettingsFrame(delta=delta, service=call.avatar))
            await call.say(0.2)
            await call.spoken()
            assert not call.avatar.is_usable
            await call.end()
        assert not sandbox.sessions


@virtually
async def test_waiting_for_an_avatar_that_cannot_speak_here_says_why():
    shape = {"transport": elsewhere(), "until_ready": False}
    async with avatars() as sandbox, calling(sandbox, **shape) as call:
        with pytest.raises(AvatarUnavailableError, match="not with the avatar") as caught:
            await call.avatar.wait_until_ready(60)
        assert "AgentHumanDailyTransport" in str(caught.value)
        await call.end()


# --- a service that is down --------------------------------------------------------------


@virtually
async def test_the_avatar_is_back_soon_after_an_outage_of_minutes():
    async with avatars() as sandbox, calling(sandbox, renewal=RenewalPolicy()) as call:
        sandbox.inject(fault("create", "refuse", status=503, times=None))
        await sandbox.drop()
        await call.between.saw(AgentHumanDisconnectedFrame)
        await asyncio.sleep(120)
        words = await call.say(0.3)
        await call.spoken()
        sandbox.clear_faults()
        await asyncio.sleep(RenewalPolicy().max_pause_secs + 1)
        assert call.ready == 2
        more = await call.say(0.3)
        await call.end()
    assert once(call.given_to_transport(), words)
    assert once(call.heard_of_avatar(), more)
    assert len(sandbox.sessions) == 2
    (gone,) = call.between.of(AgentHumanDisconnectedFrame)
    assert gone.will_reconnect
