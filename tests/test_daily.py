"""The avatar is nobody's user, whoever joins when.

The real ``DailyTransport`` of the installed Pipecat runs in a real pipeline; only daily-python is
replaced, by the room of ``daily_room.py``.
"""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pipecat.frames.frames import ClientConnectedFrame, TranscriptionFrame
from pipecat.transports.daily.transport import DailyParams, DailyTransport

from pipecat_agenthuman.daily import AvatarIdentity, is_avatar
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME
from tests.support.daily_bot import (
    ADA,
    AVATAR,
    AVATAR_EVENTS,
    BOB,
    FIRST_JOINED,
    JOINED,
    LEFT,
    join_avatar,
    running,
    transport_for,
    voice,
)
from tests.support.daily_room import Participant, Room, installed_daily


@pytest.fixture(params=[True, False], ids=["user tracks", "mixed audio"])
def params(request: pytest.FixtureRequest) -> DailyParams:
    """Both ways in which Pipecat receives the sound of a room."""
    return DailyParams(audio_in_enabled=True, audio_in_user_tracks=request.param)


# --- joining and leaving, in every order ---------------------------------------------------


async def test_an_avatar_that_was_there_before_the_bot_is_nobodys_user(room, params):
    avatar = join_avatar(room)
    async with running(transport_for(room, params), room) as bot:
        assert bot.events == [("on_avatar_connected", avatar.id)]
        assert not bot.received(avatar)
        ada = room.join("Ada")
        await bot.settle()
        avatar.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)

        assert bot.events_of(ada) == FIRST_JOINED
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert len(bot.frames(ClientConnectedFrame)) == 1
        assert bot.heard() == {ADA}
        assert "microphone" in bot.received(ada)


async def test_an_avatar_that_was_there_first_is_unsubscribed_before_anything_is_read(room, params):
    avatar = join_avatar(room)
    transport = transport_for(room, params)
    received: list[set[str]] = []

    @transport.event_handler("on_joined")
    async def on_joined(transport, data):
        received.append(room.clients[0].subscribed_media(avatar.id))

    async with running(transport, room):
        assert received == [set()]


async def test_an_avatar_that_joins_after_a_person_is_nobodys_user(room, params):
    ada = room.join("Ada")
    async with running(transport_for(room, params), room) as bot:
        assert bot.events_of(ada) == FIRST_JOINED
        avatar = join_avatar(room)
        await bot.settle()
        avatar.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)

        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert not bot.received(avatar)
        assert len(bot.frames(ClientConnectedFrame)) == 1
        assert bot.heard() == {ADA}


async def test_an_avatar_alone_in_the_room_starts_no_conversation(room, params):
    async with running(transport_for(room, params), room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        avatar.speak(voice(AVATAR))
        await bot.settle()

        assert bot.events == [("on_avatar_connected", avatar.id)]
        assert not bot.frames(ClientConnectedFrame)
        assert not bot.received(avatar)
        assert not bot.client.rendered_media(avatar.id)
        assert not bot.heard()


async def test_an_avatar_that_leaves_and_returns_is_known_again(room, params):
    ada = room.join("Ada")
    async with running(transport_for(room, params), room) as bot:
        first = join_avatar(room)
        await bot.settle()
        first.leave("hidden")
        second = join_avatar(room)
        await bot.settle()
        second.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)

        assert bot.events[3:] == [
            ("on_avatar_connected", first.id),
            ("on_avatar_disconnected", first.id),
            ("on_avatar_connected", second.id),
        ]
        assert bot.reasons == ["hidden"]
        assert not bot.received(second)
        assert bot.heard() == {ADA}


async def test_the_service_is_told_of_the_avatar_downstream_in_order(room):
    async with running(transport_for(room), room) as bot:
        first = join_avatar(room)
        first.leave("leftCall")
        second = join_avatar(room)
        await bot.settle()

        kinds = (AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame)
        told = bot.recorder.seen(*kinds, upstream=None)
        assert [(type(seen.frame), seen.frame.participant_id, seen.upstream) for seen in told] == [
            (AgentHumanAvatarJoinedFrame, first.id, False),
            (AgentHumanAvatarLeftFrame, first.id, False),
            (AgentHumanAvatarJoinedFrame, second.id, False),
        ]
        assert bot.frames(AgentHumanAvatarLeftFrame)[0].reason == "leftCall"


async def test_the_service_is_told_of_an_avatar_that_was_there_before_the_bot(room):
    avatar = join_avatar(room)
    async with running(transport_for(room), room) as bot:
        (frame,) = bot.frames(AgentHumanAvatarJoinedFrame)
        assert frame.participant_id == avatar.id


async def test_the_service_is_told_how_many_persons_are_there(room):
    ada = room.join("Ada")
    async with running(transport_for(room), room) as bot:
        join_avatar(room)
        bob = room.join("Bob")
        ada.leave()
        bob.leave()
        await bot.settle()
        assert [frame.persons for frame in bot.frames(AgentHumanPersonsFrame)] == [1, 2, 1, 0]


async def test_a_person_is_counted_before_anybody_hears_of_the_joining(room):
    async with running(transport_for(room), room) as bot:
        room.join("Ada")
        await bot.settle()
        told = bot.recorder.of(AgentHumanPersonsFrame, ClientConnectedFrame)
        assert [type(frame) for frame in told] == [AgentHumanPersonsFrame, ClientConnectedFrame]


async def test_a_person_who_takes_the_avatars_name_and_is_announced_again_stays_one(room):
    transport = transport_for(room, avatar=AvatarIdentity(user_id=None, user_name="Eve"))
    async with running(transport, room) as bot:
        ada = room.join("Ada")
        await bot.settle()
        ada.rename("Eve")
        ada.announce_again()
        ada.leave()
        await bot.settle()
        assert bot.events_of(ada) == [*FIRST_JOINED, *JOINED, *LEFT]
        assert [frame.persons for frame in bot.frames(AgentHumanPersonsFrame)] == [1, 0]


async def test_the_service_is_told_upstream_where_the_pipeline_has_no_input(room):
    async with running(transport_for(room), room, with_input=False) as bot:
        avatar = join_avatar(room)
        await bot.until_any(AgentHumanAvatarJoinedFrame)
        avatar.leave()
        await bot.until_any(AgentHumanAvatarLeftFrame)
        assert [name for name, _ in bot.events] == list(AVATAR_EVENTS)


async def test_a_person_who_leaves_ends_the_call_while_the_avatar_stays(room, params):
    avatar = join_avatar(room)
    ada = room.join("Ada")
    async with running(transport_for(room, params), room) as bot:
        ada.leave("leftCall")
        await bot.settle()
        assert bot.events_of(ada) == [*FIRST_JOINED, *LEFT]
        assert bot.events_of(avatar) == ["on_avatar_connected"]
        assert bot.reasons == ["leftCall"]
        assert not bot.transport.persons()


async def test_two_persons_are_both_heard_and_only_the_first_is_the_first(room, params):
    ada = room.join("Ada")
    async with running(transport_for(room, params), room) as bot:
        avatar = join_avatar(room)
        bob = room.join("Bob", user_id="user-bob")
        await bot.settle()
        for who, value in ((avatar, AVATAR), (bob, BOB), (avatar, AVATAR), (ada, ADA)):
            who.speak(voice(value))
        if params.audio_in_user_tracks:
            await bot.hears(ADA)
            assert bot.heard() == {ADA, BOB}
        else:
            await bot.hears(ADA + BOB)
            assert bot.heard() <= {ADA, BOB, ADA + BOB}
        assert bot.events_of(ada) == FIRST_JOINED
        assert bot.events_of(bob) == JOINED
        assert len(bot.frames(ClientConnectedFrame)) == 2
        assert set(bot.transport.persons()) == {ada.id, bob.id}


async def test_two_avatars_overlap_while_a_session_is_renewed(room):
    async with running(transport_for(room), room) as bot:
        old = join_avatar(room)
        new = join_avatar(room)
        old.leave()
        await bot.settle()
        assert bot.events == [
            ("on_avatar_connected", old.id),
            ("on_avatar_connected", new.id),
            ("on_avatar_disconnected", old.id),
        ]
        assert not bot.received(new)


async def test_an_avatar_announced_twice_connects_once(room):
    async with running(transport_for(room), room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        avatar.announce_again()
        await bot.settle()
        assert bot.events == [("on_avatar_connected", avatar.id)]
        assert len(bot.frames(AgentHumanAvatarJoinedFrame)) == 1


async def test_an_avatar_that_was_lost_and_found_again_is_connected_again(room):
    """After a lost connection Daily may report the same participant leaving and joining."""
    async with running(transport_for(room), room) as bot:
        avatar = join_avatar(room)
        avatar.leave("hidden")
        room.tell_others(avatar, "on_participant_left", "leftCall")
        avatar.announce_again()
        await bot.settle()
        assert bot.events_of(avatar) == [*AVATAR_EVENTS, "on_avatar_connected"]
        assert not bot.received(avatar)


@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(st.sampled_from(["ada", "bob", "avatar", "bot"]), max_size=12))
def test_whatever_the_order_persons_and_avatar_are_told_apart(steps):
    """Each step lets someone join, or leave again; the bot joins at its step, or at the end."""
    before, after = steps, []
    if "bot" in steps:
        start = steps.index("bot")
        before, after = steps[:start], [step for step in steps[start:] if step != "bot"]
    with pytest.MonkeyPatch.context() as monkeypatch, installed_daily(monkeypatch) as daily:
        asyncio.run(_check_order(daily.room(), before, after))


async def _check_order(room: Room, before: list[str], after: list[str]) -> None:
    present: dict[str, Participant] = {}
    everyone: list[tuple[str, Participant]] = []

    def step(name: str) -> None:
        if name in present:
            present.pop(name).leave()
        else:
            present[name] = join_avatar(room) if name == "avatar" else room.join(name)
            everyone.append((name, present[name]))

    for name in before:
        step(name)
    everyone = list(present.items())
    async with running(transport_for(room), room) as bot:
        for name in after:
            step(name)
        await bot.settle()
        persons = [someone for name, someone in everyone if name != "avatar"]
        for name, someone in everyone:
            gone = present.get(name) is not someone
            if name == "avatar":
                assert bot.events_of(someone) == list(AVATAR_EVENTS)[: 1 + gone]
                assert not bot.client.rendered_media(someone.id)
                assert gone or not bot.received(someone)
            else:
                joined = FIRST_JOINED if someone is persons[0] else JOINED
                assert bot.events_of(someone) == joined + LEFT * gone
        assert len(bot.frames(ClientConnectedFrame)) == len(persons)
        assert set(bot.transport.persons()) == {
            someone.id for name, someone in present.items() if name != "avatar"
        }


# --- who the avatar is ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("info", "avatar", "expected"),
    [
        ({"userId": AVATAR_USER_ID}, AvatarIdentity(), True),
        ({"userId": AVATAR_USER_ID, "userName": "renamed"}, AvatarIdentity(), True),
        ({"userId": "user-ada", "userName": AVATAR_USER_NAME}, AvatarIdentity(), False),
        ({"userName": AVATAR_USER_NAME}, AvatarIdentity(), False),
        ({"userId": AVATAR_USER_ID, "isLocal": True}, AvatarIdentity(), False),
        ({"userId": "mine"}, AvatarIdentity(user_id="mine"), True),
        ({"userId": AVATAR_USER_ID}, AvatarIdentity(user_id="mine"), False),
        ({"userName": AVATAR_USER_NAME}, AvatarIdentity(user_id=None), True),
        ({"userId": "x", "userName": "Eve"}, AvatarIdentity(None, "Eve"), True),
        ({"userId": "x", "userName": "eve"}, AvatarIdentity(None, "Eve"), False),
        ({"userId": None, "userName": None}, AvatarIdentity(None, None), False),
        ({"userId": "", "userName": ""}, AvatarIdentity("", ""), False),
        ({}, AvatarIdentity(), False),
        (None, AvatarIdentity(), False),
    ],
)
def test_the_user_id_decides_and_the_name_only_without_one(info, avatar, expected):
    assert is_avatar({"id": "1", "info": info}, avatar) is expected


async def test_a_person_named_like_the_avatar_is_a_person(room, params):
    async with running(transport_for(room, params), room) as bot:
        eve = room.join(AVATAR_USER_NAME)
        await bot.settle()
        eve.speak(voice(ADA))
        await bot.hears(ADA)
        assert bot.events_of(eve) == FIRST_JOINED
        assert set(bot.transport.persons()) == {eve.id}


async def test_an_avatar_can_be_known_by_name_alone(room):
    transport = transport_for(room, avatar=AvatarIdentity(user_id=None, user_name="Eve"))
    async with running(transport, room) as bot:
        eve, ada = room.join("Eve"), room.join("Ada")
        await bot.settle()
        assert bot.events_of(eve) == ["on_avatar_connected"]
        assert bot.events_of(ada) == FIRST_JOINED
        # What someone is called later changes nothing.
        eve.rename("Ada")
        eve.announce_again()
        ada.rename("Eve")
        ada.leave()
        eve.leave()
        await bot.settle()
        assert bot.events_of(eve) == list(AVATAR_EVENTS)
        assert bot.events_of(ada) == [*FIRST_JOINED, *LEFT]


async def test_an_avatar_with_neither_id_nor_name_is_a_person_after_one_warning(room, warnings):
    transport = transport_for(room, avatar=AvatarIdentity(user_id=None, user_name=None))
    async with running(transport, room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        avatar.speak(voice(AVATAR))
        await bot.hears(AVATAR)
        avatar.leave()
        await bot.settle()
        assert bot.events_of(avatar) == [*FIRST_JOINED, *LEFT]
        (warning,) = warnings
        assert "AvatarIdentity(user_id=" in warning


async def test_a_plain_transport_has_every_fault_and_is_avatar_tells(room, params):
    """The control: what the tests above would find without the subclass."""
    plain = DailyTransport(room.url, None, "Bot", params)
    told: list[bool] = []

    @plain.event_handler("on_client_disconnected")
    async def on_client_disconnected(transport, participant):
        told.append(is_avatar(participant))

    avatar = join_avatar(room)
    async with running(plain, room) as bot:
        avatar.speak(voice(AVATAR))
        await bot.hears(AVATAR)
        avatar.be_transcribed("I hear myself")
        avatar.leave()
        await bot.settle()
        ada = room.join("Ada")
        await bot.settle()
        ada.leave()
        await bot.settle()
        assert bot.events_of(avatar) == [*FIRST_JOINED, *LEFT]
        assert bot.events_of(ada) == [*JOINED, *LEFT]
        assert [frame.text for frame in bot.frames(TranscriptionFrame)] == ["I hear myself"]
        assert told == [True, False]


async def test_a_plain_transport_can_unsubscribe_whom_is_avatar_recognises(room, params):
    plain = DailyTransport(room.url, None, "Bot", params)

    @plain.event_handler("on_participant_joined")
    async def on_participant_joined(transport, participant):
        if is_avatar(participant):
            silence = {"media": {"microphone": "unsubscribed"}}
            await transport.update_subscriptions({participant["id"]: silence})

    async with running(plain, room) as bot:
        avatar, ada = join_avatar(room), room.join("Ada")
        await bot.settle()
        while "microphone" in bot.received(avatar):
            await bot.settle()
        avatar.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)
        assert bot.heard() == {ADA}
