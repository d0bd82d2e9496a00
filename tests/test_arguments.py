"""All that takes an argument refuses the same nonsense, in the same words."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import fields
from typing import Any

import pytest

from pipecat_agenthuman import (
    AgentHumanApi,
    AgentHumanDailyTransport,
    AgentHumanVideoService,
    ConnectionLimits,
    DailyRoom,
    LiveKitRoom,
    RenewalPolicy,
    RetryPolicy,
    SessionCredentials,
)
from pipecat_agenthuman._arguments import check_choice, check_secs, check_text
from pipecat_agenthuman.playout.pacing import Pace


async def _service(**arguments: Any) -> object:
    return AgentHumanVideoService(credentials=SessionCredentials("sess_1", "token"), **arguments)


async def _api(**arguments: Any) -> object:
    return AgentHumanApi("ah_live_key", **arguments)


async def _end_session(**arguments: Any) -> object:
    return await AgentHumanApi("ah_live_key").end_session("sess_1", **arguments)


async def _daily_room(**arguments: Any) -> object:
    return await DailyRoom.mint("https://example.daily.co/room", api_key="key", **arguments)


async def _livekit_room(**arguments: Any) -> object:
    return await LiveKitRoom.mint(
        "wss://example.livekit.cloud",
        room_name="room",
        api_key="key",
        api_secret="secret",
        **arguments,
    )


def _made(kind: type) -> Callable[..., Awaitable[object]]:
    async def make(**arguments: Any) -> object:
        return kind(**arguments)

    return make


DURATIONS = [
    (_service, "avatar_wait_secs"),
    (_service, "drain_grace_secs"),
    (_api, "timeout_secs"),
    (_api, "close_limit_secs"),
    (_end_session, "timeout_secs"),
    (_daily_room, "expiry_secs"),
    (_daily_room, "timeout_secs"),
    (_livekit_room, "expiry_secs"),
    *(
        (_made(kind), field.name)
        for kind in (RetryPolicy, RenewalPolicy, ConnectionLimits, Pace)
        for field in fields(kind)
        if field.name.endswith("_secs")
    ),
]


@pytest.mark.parametrize("secs", [True, "3", math.inf, math.nan, -1])
@pytest.mark.parametrize(("make", "name"), DURATIONS)
async def test_every_duration_is_a_possible_one(
    make: Callable[..., Awaitable[object]], name: str, secs: object
) -> None:
    with pytest.raises(ValueError) as caught:
        await make(**{name: secs})
    assert str(caught.value).startswith(f"{name} must be a number of seconds, ")
    assert repr(secs) in str(caught.value)


@pytest.mark.parametrize("count", [True, 2.5, "3", 0, None, math.inf])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (_service, "max_unconfirmed"),
        (_made(RetryPolicy), "max_attempts"),
        (_made(RenewalPolicy), "max_short_sessions"),
    ],
)
async def test_every_count_is_a_whole_number(
    make: Callable[..., Awaitable[object]], name: str, count: object
) -> None:
    with pytest.raises(ValueError) as caught:
        await make(**{name: count})
    assert str(caught.value).startswith(f"{name} must be a whole number, at least 1, got ")


def test_no_time_at_all_is_a_limit_only_where_that_makes_sense() -> None:
    check_secs("a_secs", 0)
    with pytest.raises(ValueError, match="more than 0, got 0"):
        check_secs("a_secs", 0, positive=True)


def test_a_choice_names_what_there_is_to_choose() -> None:
    with pytest.raises(ValueError, match=r"a must be 'x' or 'y', got \['x'\]"):
        check_choice("a", ["x"], ("x", "y"))


@pytest.mark.parametrize(("text", "fault"), [(5, "text, got int"), (" ", "not be empty")])
def test_text_that_is_not_text_is_told_with_its_remedy(text: object, fault: str) -> None:
    with pytest.raises(ValueError, match=f"a must .*{fault}. Give some."):
        check_text("a", text, remedy="Give some.")
    assert check_text("a", " b ") == "b"


def test_the_transport_takes_an_identity_and_nothing_like_it() -> None:
    with pytest.raises(ValueError, match="avatar must be an instance of AvatarIdentity, got str"):
        AgentHumanDailyTransport("https://example.daily.co/r", None, "Bot", avatar="ava")  # type: ignore[arg-type]
