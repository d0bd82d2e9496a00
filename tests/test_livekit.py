"""Who is who in a LiveKit room: the real client in a room on loopback.

What that proves is said in ``support/livekit_server.py``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")

from collections.abc import AsyncIterator

from pipecat.frames.frames import ClientConnectedFrame
from pipecat.transports.livekit.transport import (
    LiveKitParams,
    LiveKitTransport,
    LiveKitTransportClient,
)
from tenacity import wait_none

from pipecat_agenthuman import AvatarIdentity
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanBotLeftFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME
from pipecat_agenthuman.livekit import AgentHumanLiveKitTransport
from pipecat_agenthuman.tokens.livekit import PUBLISH_ON_BEHALF
from tests.support import pipelines
from tests.support.livekit_bot import (
    ADA,
    AVATAR,
    AVATAR_EVENTS,
    BOB,
    BOT,
    FIRST_JOINED,
    JOINED,
    LEFT,
    join_avatar,
    join_person,
    running,
    transport_for,
)
from tests.support.livekit_room import Room, opened_room
from tests.support.pipelines import Recorder
from tests.support.waiting import until

MIXES = "audio_in_user_tracks" in LiveKitParams.model_fields
"""Whether this Pipecat can mix the sound of the room."""


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with opened_room() as room:
        yield room


@pytest.fixture(params=[True, False], ids=["user tracks", "mixed audio"])
def params(request: pytest.FixtureRequest) -> LiveKitParams:
    """Both ways in which Pipecat receives the sound of a room, where it has both."""
    if not MIXES:
        if not request.param:
            pytest.skip("this Pipecat receives user tracks only")
        return LiveKitParams(audio_in_enabled=True)
    return LiveKitParams(audio_in_enabled=True, audio_in_user_tracks=request.param)


# --- joining and leaving, in every order ---------------------------------------------------


async def test_an_avatar_that_was_there_before_the_bot_is_nobodys_user(room, params):
    avatar = join_avatar(room)
    async with running(transport_for(room, params), room) as bot:
        assert bot.events == [("on_avatar_connected", avatar.identity)]
        ada = join_person(room, "ada", ADA)
        await bot.hears(ADA)

        assert bot.events_of(ada) == FIRST_JOINED
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert len(bot.frames(ClientConnectedFrame)) == 1
        await bot.unsubscribes(avatar)
        assert bot.heard() == {ADA}
        assert bot.seat.receives(ada) == {"audio"}


async def test_an_avatar_that_joins_after_a_person_is_nobodys_user(room, params):
    ada = join_person(room, "ada", ADA)
    async with running(transport_for(room, params), room) as bot:
        await bot.hears(ADA)
        avatar = join_avatar(room)
        bob = join_person(room, "bob", BOB)
        await bot.hears(BOB)

        assert bot.events_of(ada) == FIRST_JOINED
        assert bot.events_of(bob) == JOINED
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert bot.heard() == {ADA, BOB}
        await bot.unsubscribes(avatar)
        assert {who for name, who in bot.events if "track" in name} == {"ada", "bob"}


async def test_persons_who_were_there_before_the_bot_are_reported_once_each(room):
    ada, bob = join_person(room, "ada"), join_person(room, "bob")
    async with running(transport_for(room), room) as bot:
        ada.announce_again()
        await bot.settle()
        # LiveKit's client does not say who of them came first.
        both = sorted([bot.events_of(ada), bot.events_of(bob)], key=len)
        assert both == [JOINED, FIRST_JOINED]
        assert len(bot.frames(ClientConnectedFrame)) == 2
        assert [frame.persons for frame in bot.frames(AgentHumanPersonsFrame)] == [1, 2]
        assert bot.transport.persons().keys() == {"ada", "bob"}


async def test_an_avatar_alone_in_the_room_starts_no_conversation(room):
    async with running(transport_for(room), room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        assert bot.events == [("on_avatar_connected", avatar.identity)]
        assert not bot.frames(ClientConnectedFrame)
        assert not bot.frames(AgentHumanPersonsFrame)
        assert not bot.transport.persons()
        assert bot.transport.get_participants() == [avatar.identity]


async def test_a_person_who_leaves_ends_the_call_while_the_avatar_stays(room):
    avatar = join_avatar(room)
    ada = join_person(room, "ada")
    async with running(transport_for(room), room) as bot:
        ada.leave()
        await bot.settle()
        assert bot.events_of(ada) == [*FIRST_JOINED, *LEFT]
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert not bot.transport.persons()
        assert [frame.persons for frame in bot.frames(AgentHumanPersonsFrame)] == [1, 0]


async def test_a_person_who_returns_to_a_room_without_persons_is_the_first_again(room):
    """As with Pipecat's own transport, for which the room would not be empty: the avatar."""
    join_avatar(room)
    ada = join_person(room, "ada")
    async with running(transport_for(room), room) as bot:
        ada.leave()
        await bot.settle()
        join_person(room, "ada")
        await bot.settle()
        assert bot.events_of(ada) == [*FIRST_JOINED, *LEFT, *FIRST_JOINED]


async def test_the_service_is_told_of_each_avatar_by_its_sid(room):
    first = join_avatar(room)
    async with running(transport_for(room), room) as bot:
        first.leave("PARTICIPANT_REMOVED")
        second = join_avatar(room)
        await bot.settle()
        kinds = (AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame)
        told = bot.recorder.seen(*kinds, upstream=None)
        assert [(type(seen.frame), seen.frame.participant_id, seen.upstream) for seen in told] == [
            (AgentHumanAvatarJoinedFrame, first.sid, False),
            (AgentHumanAvatarLeftFrame, first.sid, False),
            (AgentHumanAvatarJoinedFrame, second.sid, False),
        ]
        assert bot.frames(AgentHumanAvatarLeftFrame)[0].reason == "participant_removed"
        assert bot.reasons == ["participant_removed"]


@pytest.mark.parametrize("told", [True, False], ids=["told", "not told"])
async def test_an_avatar_that_takes_the_place_of_the_last_one_is_a_new_one(room, told):
    """LiveKit puts out whoever has the same identity, as the avatar of every session may."""
    first = join_avatar(room)
    async with running(transport_for(room), room) as bot:
        second = join_avatar(room) if told else room.replace(first)
        await bot.settle()
        assert bot.events_of(second) == [*AVATAR_EVENTS, "on_avatar_connected"]
        joined = [frame.participant_id for frame in bot.frames(AgentHumanAvatarJoinedFrame)]
        left = [frame.participant_id for frame in bot.frames(AgentHumanAvatarLeftFrame)]
        assert (joined, left) == ([first.sid, second.sid], [first.sid])
        await bot.unsubscribes(second)


async def test_two_avatars_overlap_while_a_session_is_renewed(room):
    async with running(transport_for(room), room) as bot:
        old = join_avatar(room, identity=f"{AVATAR_USER_ID}-old")
        new = join_avatar(room, identity=f"{AVATAR_USER_ID}-new")
        old.leave()
        await bot.settle()
        assert bot.events == [
            ("on_avatar_connected", old.identity),
            ("on_avatar_connected", new.identity),
            ("on_avatar_disconnected", old.identity),
        ]


async def test_an_avatar_announced_twice_connects_once(room):
    async with running(transport_for(room), room) as bot:
        avatar = join_avatar(room)
        avatar.announce_again()
        await bot.settle()
        assert bot.events == [("on_avatar_connected", avatar.identity)]


async def test_the_service_is_told_upstream_where_the_pipeline_has_no_input(room):
    async with running(transport_for(room), room, with_input=False) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        avatar.leave()
        await bot.settle()
        assert [name for name, _ in bot.events] == list(AVATAR_EVENTS)
        kinds = (AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame)
        assert [type(frame) for frame in bot.recorder.of(*kinds, upstream=True)] == list(kinds)


# --- the bot itself ---------------------------------------------------------------------------


async def test_a_bot_that_is_put_out_says_so_once(room):
    async with running(transport_for(room), room) as bot:
        join_avatar(room)
        await bot.settle()
        bot.seat.put_out()
        await until(lambda: bot.frames(AgentHumanBotLeftFrame))
        (frame,) = bot.frames(AgentHumanBotLeftFrame)
        assert frame.reason == "it was put out"
    assert len(bot.frames(AgentHumanBotLeftFrame)) == 1


async def test_a_bot_that_cannot_join_says_so(room, monkeypatch):
    monkeypatch.setattr(LiveKitTransportClient.connect.retry, "wait", wait_none())
    recorder = Recorder()
    transport = AgentHumanLiveKitTransport("ws://127.0.0.1:9", room.token(BOT), "room")
    async with pipelines.running(transport.input(), recorder, transport.output()):
        await recorder.wait_for(lambda: recorder.of(AgentHumanBotLeftFrame, upstream=None))
    (frame,) = recorder.of(AgentHumanBotLeftFrame, upstream=None)
    assert frame.reason == "it could not join"


async def test_a_bot_that_leaves_by_itself_was_not_put_out(room):
    async with running(transport_for(room), room) as bot:
        join_avatar(room)
        await bot.settle()
    assert not bot.frames(AgentHumanBotLeftFrame)


def test_a_bot_with_the_avatars_token_is_warned(warnings):
    room = Room()
    AgentHumanLiveKitTransport(room.url, room.token(f"{AVATAR_USER_ID}-1"), "room")
    (warning,) = warnings
    assert "the token that was given to the transport is the avatar's" in warning
    assert "token of its own" in warning
    transport_for(room)
    assert len(warnings) == 1


# --- who the avatar is ----------------------------------------------------------------------


async def test_whoever_publishes_on_behalf_of_the_bot_is_the_avatar(room):
    async with running(transport_for(room), room) as bot:
        avatar = join_avatar(room, identity="agent-x")
        other = join_avatar(room, identity="agent-y", attributes={PUBLISH_ON_BEHALF: "other"})
        await bot.settle()
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert bot.events_of(other) == FIRST_JOINED
        assert bot.transport.persons().keys() == {"agent-y"}


async def test_an_identity_decides_alone_where_the_token_has_no_attribute(room):
    mine = AvatarIdentity(f"{AVATAR_USER_ID}-mine")
    async with running(transport_for(room, avatar=mine), room) as bot:
        avatar = join_avatar(room, identity=f"{AVATAR_USER_ID}-mine", attributes={})
        others = join_avatar(room, identity=f"{AVATAR_USER_ID}-other", attributes={})
        await bot.settle()
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert bot.events_of(others) == FIRST_JOINED


async def test_a_person_named_like_the_avatar_is_a_person(room):
    async with running(transport_for(room), room) as bot:
        eve = join_person(room, "eve", name=AVATAR_USER_NAME)
        await bot.settle()
        assert bot.events_of(eve) == FIRST_JOINED


async def test_an_avatar_can_be_known_by_name_alone_and_stays_what_it_joined_as(room):
    by_name = AvatarIdentity(user_id=None, user_name="Eve")
    async with running(transport_for(room, avatar=by_name), room) as bot:
        eve, ada = join_person(room, "eve", name="Eve"), join_person(room, "ada", name="Ada")
        await bot.settle()
        eve.rename("Ada")
        ada.rename("Eve")
        await bot.settle()
        eve.leave()
        ada.leave()
        await bot.settle()
        assert bot.events_of(eve) == list(AVATAR_EVENTS)
        assert bot.events_of(ada) == [*FIRST_JOINED, *LEFT]


async def test_a_plain_transport_takes_the_avatar_for_a_person(room, params):
    """The control: what the tests above would find without the subclass."""
    plain = LiveKitTransport(room.url, room.token(BOT), "room", params)
    avatar = join_avatar(room)
    async with running(plain, room) as bot:
        await bot.hears(AVATAR)
        ada = join_person(room, "ada")
        await bot.settle()
        ada.leave()
        avatar.leave()
        await bot.settle()
        assert "on_first_participant_joined" in bot.events_of(avatar)
        assert "on_client_disconnected" in bot.events_of(avatar)
        assert "on_first_participant_joined" not in bot.events_of(ada)
