"""Who is who in a Daily room: several avatars, tokens in the wrong hands, and who is gone."""

from __future__ import annotations

from typing import Any

import pytest
from pipecat.frames.frames import StartFrame
from pipecat.transports.daily.transport import DailyParams, DailyTransport

from pipecat_agenthuman.daily import AgentHumanDailyTransport, is_avatar
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanBotLeftFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.identity import AVATAR_USER_NAME, AvatarIdentity, fresh_avatar_id
from tests.support.daily_bot import (
    ADA,
    AVATAR,
    AVATAR_EVENTS,
    FIRST_JOINED,
    JOINED,
    LEFT,
    join_avatar,
    running,
    transport_for,
    voice,
)
from tests.support.daily_room import Participant, Room
from tests.support.web_tokens import web_token


def join_with(room: Room, identity: AvatarIdentity) -> Participant:
    return room.join(AVATAR_USER_NAME, user_id=identity.user_id)


@pytest.fixture(params=[True, False], ids=["user tracks", "mixed audio"])
def params(request: pytest.FixtureRequest) -> DailyParams:
    return DailyParams(audio_in_enabled=True, audio_in_user_tracks=request.param)


# --- several avatars ------------------------------------------------------------------------


async def test_the_avatar_of_another_bot_is_a_person_to_a_bot_that_knows_its_own(room, params):
    mine, other = AvatarIdentity(fresh_avatar_id()), AvatarIdentity(fresh_avatar_id())
    first = join_with(room, other)
    async with running(transport_for(room, params, avatar=mine), room) as bot:
        own = join_with(room, mine)
        last = join_with(room, other)
        first.leave()
        await bot.settle()
        assert bot.events_of(first) == [*FIRST_JOINED, *LEFT]
        assert bot.events_of(own) == ["on_avatar_connected"]
        assert bot.events_of(last) == JOINED
        assert set(bot.transport.persons()) == {last.id}
        assert not bot.received(own)
        assert "microphone" in bot.received(last)
        told = bot.frames(AgentHumanAvatarJoinedFrame)
        assert [frame.participant_id for frame in told] == [own.id]


async def test_the_leaving_of_another_bots_avatar_says_nothing_about_ones_own(room):
    mine, other = AvatarIdentity(fresh_avatar_id()), AvatarIdentity(fresh_avatar_id())
    async with running(transport_for(room, avatar=mine), room) as bot:
        own, foreign = join_with(room, mine), join_with(room, other)
        foreign.leave()
        await bot.settle()
        assert not bot.frames(AgentHumanAvatarLeftFrame)
        own.leave()
        await bot.settle()
        assert [frame.participant_id for frame in bot.frames(AgentHumanAvatarLeftFrame)] == [own.id]


async def test_a_bot_that_was_told_of_no_identity_knows_every_avatar_that_was_minted(room):
    async with running(transport_for(room), room) as bot:
        avatars = [join_with(room, AvatarIdentity(fresh_avatar_id())) for _ in range(2)]
        await bot.settle()
        for avatar in avatars:
            assert bot.events_of(avatar) == ["on_avatar_connected"]
            assert not bot.received(avatar)


def test_a_plain_transports_handlers_tell_one_avatar_or_all_of_them() -> None:
    mine = AvatarIdentity(fresh_avatar_id())
    participant = {"id": "1", "info": {"userId": mine.user_id, "userName": "renamed"}}
    other = {"id": "2", "info": {"userId": fresh_avatar_id(), "userName": AVATAR_USER_NAME}}
    assert [is_avatar(one, mine) for one in (participant, other)] == [True, False]
    assert [is_avatar(one) for one in (participant, other)] == [True, True]


# --- tokens in the wrong hands --------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False])
def test_a_bot_with_its_avatars_token_is_told(room, warnings, known):
    identity = AvatarIdentity(fresh_avatar_id())
    token = web_token({"ud": identity.user_id, "u": "Bot"})
    avatar = identity if known else None
    AgentHumanDailyTransport(room.url, token, "Bot", avatar=avatar)
    (warning,) = warnings
    assert "is the avatar's" in warning
    assert "a token of its own" in warning
    assert token not in warning


@pytest.mark.parametrize("token", [None, "opaque", web_token({"o": True}), web_token({"ud": "b"})])
def test_a_bot_with_a_token_of_its_own_is_told_nothing(room, warnings, token):
    AgentHumanDailyTransport(room.url, token, "Bot")
    AgentHumanDailyTransport(room.url, token, "Bot", avatar=AvatarIdentity("ava"))
    assert warnings == []


# --- who subscribes to everybody ------------------------------------------------------------


async def test_a_bot_that_subscribes_to_everybody_does_not_hear_its_avatar(room, params, warnings):
    async with running(transport_for(room, params), room) as bot:
        avatar, ada = join_avatar(room), room.join("Ada")
        await bot.settle()
        everything = {"media": {"microphone": "subscribed", "camera": "subscribed"}}
        everybody = dict.fromkeys((avatar.id, ada.id), everything)
        assert await bot.transport.update_subscriptions(participant_settings=everybody) is None
        avatar.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)
        assert bot.heard() == {ADA}
        assert not bot.received(avatar)
        assert bot.received(ada) >= {"microphone", "camera"}
        (warning,) = warnings
        assert f"microphone, camera of {avatar.id}" in warning
        assert "persons()" in warning
        assert everybody[avatar.id] == everything, "what the caller has is left alone"


@pytest.mark.parametrize(
    "asked",
    [
        {"media": {"microphone": "unsubscribed"}},
        {"media": {"microphone": {"subscriptionState": "unsubscribed"}}},
        {"profile": "base"},
        {},
    ],
)
async def test_what_subscribes_to_no_avatar_is_no_fault(room, warnings, asked):
    async with running(transport_for(room), room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        assert await bot.transport.update_subscriptions({avatar.id: asked}) is None
        await bot.transport.update_subscriptions(
            profile_settings={"base": {"microphone": "subscribed"}}
        )
        assert not bot.received(avatar)
        assert warnings == []


async def test_the_video_of_an_avatar_that_is_kept_can_be_subscribed_to(room, warnings):
    async with running(transport_for(room, keep_avatar_video=True), room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        seen = {"subscriptionState": "subscribed", "settings": {}}
        await bot.transport.update_subscriptions({avatar.id: {"media": {"camera": seen}}})
        assert bot.received(avatar) >= {"camera"}
        assert "microphone" not in bot.received(avatar)
        assert warnings == []


async def test_an_error_of_daily_comes_back(room):
    async with running(transport_for(room), room) as bot:
        assert "not valid" in await bot.transport.update_subscriptions({"no id": {}})


# --- who is gone ----------------------------------------------------------------------------


async def test_an_avatar_whose_leaving_was_never_told_does_not_hide_the_next_ones(room):
    async with running(transport_for(room), room) as bot:
        silent, second = join_avatar(room), join_avatar(room)
        await bot.settle()
        room.lose(silent)
        second.leave("leftCall")
        await bot.settle()
        left = bot.frames(AgentHumanAvatarLeftFrame)
        assert [(frame.participant_id, frame.reason) for frame in left] == [
            (second.id, "leftCall"),
            (silent.id, "not in the room any more"),
        ]
        assert bot.events_of(silent) == list(AVATAR_EVENTS)
        # Told after all, it is no news.
        room.tell_others(silent, "on_participant_left", "leftCall")
        await bot.settle()
        assert bot.events_of(silent) == list(AVATAR_EVENTS)


async def test_a_person_whose_leaving_was_never_told_is_not_counted_for_ever(room):
    async with running(transport_for(room), room) as bot:
        ada, bob = room.join("Ada"), room.join("Bob")
        await bot.settle()
        room.lose(ada)
        bob.leave()
        await bot.settle()
        assert bot.frames(AgentHumanPersonsFrame)[-1].persons == 0
        assert bot.events_of(bob) == [*JOINED, *LEFT]


async def test_a_bot_that_was_put_out_of_the_room_tells_the_service_once(room):
    states: list[str] = []
    transport = transport_for(room)

    @transport.event_handler("on_call_state_updated")
    async def on_call_state_updated(transport: Any, state: str) -> None:
        states.append(state)

    async with running(transport, room) as bot:
        join_avatar(room)
        await bot.settle()
        client = bot.client
        room.eject(client)
        await bot.until_any(AgentHumanBotLeftFrame)
        (frame,) = bot.frames(AgentHumanBotLeftFrame)
        assert frame.reason == "it was put out"
        client.be_out()
    assert len(bot.frames(AgentHumanBotLeftFrame)) == 1
    assert "left" in states


async def test_a_bot_that_leaves_by_itself_tells_nothing(room):
    async with running(transport_for(room), room) as bot:
        join_avatar(room)
        await bot.settle()
    assert not room.clients
    assert not bot.frames(AgentHumanBotLeftFrame)


async def test_a_bot_that_is_not_let_in_tells_the_service_when_the_pipeline_runs(room):
    room.refusal = "the room is full"
    async with running(transport_for(room), room, with_input=False) as bot:
        await bot.until_any(AgentHumanBotLeftFrame)
        (frame,) = bot.frames(AgentHumanBotLeftFrame)
        assert frame.reason == "it could not join"
        assert bot.frames(StartFrame)


async def test_a_plain_transport_is_put_out_as_ever(room):
    plain = DailyTransport(room.url, None, "Bot", DailyParams(audio_in_enabled=True))
    async with running(plain, room) as bot:
        room.eject(bot.client)
    assert not bot.frames(AgentHumanBotLeftFrame)
