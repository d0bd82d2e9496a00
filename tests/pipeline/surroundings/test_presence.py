"""Who is in the room, and what is told of it, whatever kind of room it is."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanPersonsFrame,
    AgentHumanServerEventFrame,
)
from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME, AvatarIdentity
from pipecat_agenthuman.pipeline.surroundings.presence import Presence


class Told:
    """A presence, and what it told in order; telling takes a turn of the event loop."""

    def __init__(self) -> None:
        self.news: list[tuple[Any, ...]] = []
        self.presence = Presence("transport", tell=self.tell, fire=self.fire)

    async def tell(self, frame: AgentHumanServerEventFrame) -> None:
        await asyncio.sleep(0)
        match frame:
            case AgentHumanAvatarJoinedFrame():
                self.news.append(("joined", frame.participant_id))
            case AgentHumanAvatarLeftFrame():
                self.news.append(("left", frame.participant_id, frame.reason))
            case AgentHumanPersonsFrame():
                self.news.append(("persons", frame.persons))
            case _:
                self.news.append((frame,))

    async def fire(self, event: str, *given: Any) -> None:
        self.news.append((event, *given))


@pytest.fixture
def told() -> Told:
    return Told()


async def test_an_avatar_is_told_of_when_it_comes_and_when_it_goes(told):
    await told.presence.avatar_joined("a", {"id": "a"})
    await told.presence.avatar_left("a", {"id": "a"}, "kicked")
    assert told.news == [
        ("joined", "a"),
        ("on_avatar_connected", {"id": "a"}),
        ("left", "a", "kicked"),
        ("on_avatar_disconnected", {"id": "a"}, "kicked"),
    ]


async def test_what_was_told_is_not_told_again(told):
    for _ in range(2):
        await told.presence.avatar_joined("a", "avatar")
        await told.presence.person_joined("p")
    for _ in range(2):
        await told.presence.avatar_left("a", "avatar", "")
        await told.presence.person_left("p")
    assert [name for name, *_ in told.news] == [
        "joined",
        "on_avatar_connected",
        "persons",
        "left",
        "on_avatar_disconnected",
        "persons",
    ]


async def test_who_never_came_does_not_leave(told):
    await told.presence.avatar_left("a", "avatar", "")
    assert not await told.presence.person_left("p")
    assert told.news == []


async def test_the_number_of_persons_is_told_whenever_it_changes(told):
    assert await told.presence.person_joined("p")
    assert await told.presence.person_joined("q")
    assert not await told.presence.person_joined("q")
    await told.presence.avatar_joined("a", "avatar")
    assert told.presence.persons == {"p", "q"}
    assert await told.presence.person_left("p")
    assert await told.presence.person_left("q")
    assert [number for name, number, *_ in told.news if name == "persons"] == [1, 2, 1, 0]


async def test_whoever_is_not_listed_has_left(told):
    presence = told.presence
    for one in ("a", "b"):
        await presence.avatar_joined(one, {"id": one})
        await presence.person_joined(one.upper())
    told.news.clear()
    await presence.keep_only({"a", "A", "local"})
    assert told.news == [
        ("left", "b", "not in the room any more"),
        ("on_avatar_disconnected", {"id": "b"}, "not in the room any more"),
        ("persons", 1),
    ]
    assert presence.persons == {"A"}
    await presence.keep_only({"a", "A"})
    assert len(told.news) == 3


async def test_what_somebody_joined_as_they_stay(told):
    presence = told.presence
    assert presence.is_avatar("a", fits=True)
    assert not presence.is_avatar("a")
    await presence.avatar_joined("a", "avatar")
    await presence.person_joined("p")
    assert presence.is_avatar("a", fits=False)
    assert not presence.is_avatar("p", fits=True)
    await presence.avatar_left("a", "avatar", "")
    assert presence.is_avatar("a", fits=False)


async def test_news_that_overlap_are_told_in_order(told):
    presence = told.presence
    await asyncio.gather(
        presence.avatar_joined("a", "avatar"),
        presence.person_joined("p"),
        presence.avatar_left("a", "avatar", ""),
        presence.person_left("p"),
    )
    assert [name for name, *_ in told.news] == [
        "joined",
        "on_avatar_connected",
        "persons",
        "left",
        "on_avatar_disconnected",
        "persons",
    ]
    assert [number for name, number, *_ in told.news if name == "persons"] == [1, 0]


@pytest.mark.parametrize(
    ("identity", "user_id", "user_name", "expected"),
    [
        (AvatarIdentity(), AVATAR_USER_ID, None, True),
        (AvatarIdentity(), f"{AVATAR_USER_ID}-1f2e", "Eve", True),
        (AvatarIdentity(), "ada", AVATAR_USER_NAME, False),
        (AvatarIdentity(f"{AVATAR_USER_ID}-1f2e"), f"{AVATAR_USER_ID}-1f2e", None, True),
        (AvatarIdentity(f"{AVATAR_USER_ID}-1f2e"), f"{AVATAR_USER_ID}-3d4c", None, False),
        (AvatarIdentity(f"{AVATAR_USER_ID}-1f2e"), AVATAR_USER_ID, None, False),
        (AvatarIdentity("mine"), "mine-2", None, False),
        (AvatarIdentity(None, "Eve"), "x", "Eve", True),
        (AvatarIdentity(None, "Eve"), None, None, False),
        (AvatarIdentity("", ""), "", "", False),
        (AvatarIdentity(), None, None, False),
    ],
)
def test_an_identity_fits_its_avatar_and_by_default_every_one_that_was_minted(
    identity, user_id, user_name, expected
):
    assert identity.fits(user_id, user_name) is expected
