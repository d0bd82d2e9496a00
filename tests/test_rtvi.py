"""What web clients are told of the avatar: whole calls, and what their transport sends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from pipecat.frames.frames import InputTransportMessageFrame, ServiceUpdateSettingsFrame
from pipecat.pipeline.service_switcher import ServiceSwitcher, ServiceSwitcherStrategyFailover

from pipecat_agenthuman import (
    AgentHumanRTVI,
    AgentHumanVideoService,
    AvatarIdentity,
    DailyRoom,
    SessionCredentials,
)
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.rtvi import MIN_INTERVAL_SECS
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import ROOM, ROOM_TOKEN, Call, avatar_in, avatars, staged
from tests.support.faults import QUICK_RENEWAL, SHORT_LIMITS, fault
from tests.support.inside import renew_twice, set_limits
from tests.support.pipelines import RoomCard, SoundCard
from tests.support.sandbox_client import create
from tests.support.sounds import RATE
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


@asynccontextmanager
async def told(
    sandbox: Sandbox,
    *,
    until_ready: bool = True,
    transport: SoundCard | None = None,
    **options: Any,
) -> AsyncIterator[Call]:
    """A call whose web clients are told; the transport tells of the avatar if it is not another."""
    avatar = avatar_in(sandbox, **({"limits": SHORT_LIMITS, "renewal": QUICK_RENEWAL} | options))
    async with staged(
        avatar=avatar,
        sandbox=sandbox,
        rate=RATE,
        enable_rtvi=True,
        observers=[AgentHumanRTVI(avatar)],
        until_ready=False,
        transport=transport or RoomCard(),
    ) as call:
        if until_ready:
            await joins(call, "avatar-1")
            await tells(call, "ready")
        yield call


async def joins(call: Call, name: str) -> None:
    """The avatar of a session that is up joins the room."""
    sessions = len(call.sandbox.sessions)
    await until(lambda: len(call.news) >= sessions)
    await call.feed(AgentHumanAvatarJoinedFrame(name))


def messages(call: Call) -> list[dict[str, Any]]:
    """What the transport sent of the avatar's state."""
    sent = [message for _, message in call.transport.messages]
    data = [m["data"] for m in sent if m.get("type") == "server-message"]
    return [each for each in data if each["type"] == "avatar-state"]


def states(call: Call, of: str | None = None) -> list[str]:
    """What it was told to be, of the service of that name."""
    told = messages(call)
    return [message["state"] for message in told if of in (None, message["service"])]


async def tells(call: Call, state: str) -> None:
    """Wait until clients were told a state, and that it is so."""
    await until(lambda: states(call)[-1:] == [state])


async def client_ready(call: Call) -> None:
    """A page has loaded."""
    data = {"version": "1.0.0", "about": {"library": "test"}}
    message = {"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": data}
    await call.feed(InputTransportMessageFrame(message=message))


# --- the states --------------------------------------------------------------------------


@virtually
async def test_a_client_is_told_that_the_avatar_comes_is_there_and_speaks():
    async with avatars() as sandbox, told(sandbox, until_ready=False) as call:
        await tells(call, "joining")
        await joins(call, "avatar-1")
        await tells(call, "ready")
        await call.say(1.0)
        await tells(call, "speaking")
        await tells(call, "ready")
        await call.end()
    assert states(call) == ["joining", "ready", "speaking", "ready"]
    assert [message["reason"] for message in messages(call)[:3]] == [
        "The avatar is on its way.",
        "The avatar is here.",
        "The avatar is speaking.",
    ]


@virtually
async def test_a_loss_is_told_at_once_and_its_end():
    async with avatars() as sandbox, told(sandbox) as call:
        await call.say(1.0)
        await tells(call, "speaking")
        await tells(call, "ready")
        sandbox.inject(fault("agent.speak", "close", nth=30))
        sandbox.inject(fault("create", "delay", delay_secs=0.5))
        await call.say(3.0, real_time=True)
        await until(lambda: states(call)[-2:] == ["lost", "returning"])
        await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "left"))
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-2"))
        await tells(call, "ready")  # the transport goes on to the end of the utterance
        await call.spoken()
        await call.end()
    assert states(call)[3:] == ["ready", "speaking", "lost", "returning", "ready"]
    lost, returning = messages(call)[5:7]
    assert "gone for a moment" in lost["reason"]
    assert "coming back" in returning["reason"]


@virtually
async def test_an_avatar_that_leaves_the_room_is_lost_and_is_back_when_it_returns():
    async with avatars() as sandbox, told(sandbox) as call:
        await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "left"))
        await tells(call, "lost")
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
        await tells(call, "ready")
        await call.end()
    assert states(call) == ["joining", "ready", "lost", "ready"]


@virtually
async def test_of_a_renewal_as_planned_nothing_is_lost():
    async with avatars() as sandbox, told(sandbox) as call:
        delta = AgentHumanVideoService.Settings(avatar="avat_other")
        await call.feed(ServiceUpdateSettingsFrame(delta=delta))
        await tells(call, "returning")
        await until(lambda: len(sandbox.sessions) == 2)
        await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "left"))
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-2"))
        await tells(call, "ready")
        await call.end()
    assert states(call) == ["joining", "ready", "returning", "ready"]


@virtually
async def test_what_refused_the_first_session_for_now_makes_the_avatar_late_and_not_lost():
    async with avatars() as sandbox:
        for _ in range(2):
            sandbox.inject(fault("create", "refuse", status=503))
        async with told(sandbox, until_ready=False) as call:
            await until(lambda: len(messages(call)) == 2)
            await until(lambda: sandbox.live_sessions)
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await tells(call, "ready")
            await call.end()
    assert states(call) == ["joining", "joining", "ready"]
    assert "takes longer than usual" in messages(call)[1]["reason"]


@virtually
async def test_a_refusal_for_good_means_that_there_is_no_avatar_until_somebody_tries_again():
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=401))
        async with told(sandbox, until_ready=False) as call:
            await tells(call, "absent")
            await call.feed(AgentHumanPersonsFrame(persons=1))
            delta = AgentHumanVideoService.Settings(avatar="avat_other")
            await call.feed(ServiceUpdateSettingsFrame(delta=delta))
            await tells(call, "joining")
            await until(lambda: sandbox.live_sessions)
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await tells(call, "ready")
            await call.end()
    assert states(call)[-3:] == ["absent", "joining", "ready"]


@virtually
async def test_without_persons_there_is_no_avatar_and_it_comes_with_the_next_of_them(monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.2)
    async with avatars() as sandbox, told(sandbox) as call:
        await call.feed(AgentHumanPersonsFrame(persons=1), AgentHumanPersonsFrame(persons=0))
        await tells(call, "absent")
        await call.feed(AgentHumanPersonsFrame(persons=1))
        await tells(call, "joining")
        await until(lambda: len(sandbox.sessions) == 2)
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-2"))
        await tells(call, "ready")
        await call.end()
    assert states(call) == ["joining", "ready", "absent", "joining", "ready"]


@virtually
async def test_an_avatar_that_was_there_long_enough_is_not_expected_of_another_person():
    async with avatars() as sandbox, told(sandbox, max_session_secs=3.0) as call:
        await call.feed(AgentHumanPersonsFrame(persons=1))
        await tells(call, "absent")
        await call.feed(AgentHumanPersonsFrame(persons=2))
        await asyncio.sleep(2 * MIN_INTERVAL_SECS)
        await call.end()
    assert states(call) == ["joining", "ready", "absent"]


@virtually
async def test_where_no_transport_tells_of_the_avatar_its_session_is_enough():
    async with (
        avatars() as sandbox,
        told(sandbox, until_ready=False, transport=SoundCard()) as call,
    ):
        await tells(call, "ready")
        await call.end()
    assert states(call) == ["joining", "ready"]


# --- telling -----------------------------------------------------------------------------


@virtually
async def test_a_client_that_comes_late_is_told_how_things_are():
    async with avatars() as sandbox, told(sandbox) as call:
        await asyncio.sleep(1.0)
        await client_ready(call)
        await until(lambda: states(call) == ["joining", "ready", "ready"])
        kinds = [message["type"] for _, message in call.transport.messages]
        assert kinds[-2:] == ["bot-ready", "server-message"]
        await call.end()


@virtually
async def test_what_changes_fast_is_told_as_it_is_then():
    async with avatars() as sandbox, told(sandbox) as call:
        await asyncio.sleep(1.0)
        for _ in range(20):
            await client_ready(call)
            await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "left"))
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await asyncio.sleep(MIN_INTERVAL_SECS / 10)
        await asyncio.sleep(2 * MIN_INTERVAL_SECS)
        await call.end()
    sent = [at for at, message in call.transport.messages if message["type"] == "server-message"]
    gaps = [later - earlier for earlier, later in pairwise(sent)]
    assert min(gaps) > MIN_INTERVAL_SECS - 0.01
    assert states(call)[-1] == "ready"


@virtually
async def test_a_message_says_who_the_avatar_is_and_nothing_that_is_secret():
    room = DailyRoom(ROOM.url, ROOM_TOKEN, AvatarIdentity("avatar-of-call-17"))
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=503))
        async with told(sandbox, until_ready=False, room=room) as call:
            await until(lambda: sandbox.live_sessions)
            await joins(call, "avatar-1")
            await tells(call, "ready")
            renew_twice(call.avatar)
            await tells(call, "returning")
            await call.end()
        secrets = [ROOM_TOKEN, sandbox.api_key]
    for message in messages(call):
        assert message.keys() == {"type", "state", "reason", "avatar", "service"}
        assert message["avatar"] == "avatar-of-call-17"
        assert message["service"] == call.avatar.name
    assert not [secret for secret in secrets if secret in str(call.transport.messages)]


@virtually
async def test_of_an_avatar_whose_token_does_not_say_who_it_is_no_id_is_told():
    async with avatars() as sandbox, told(sandbox) as call:
        await call.end()
    assert {message["avatar"] for message in messages(call)} == {None}


@virtually
async def test_of_a_session_that_was_made_elsewhere_nobody_knows_who_the_avatar_is():
    async with avatars() as sandbox:
        made = await create(sandbox)
        credentials = SessionCredentials(made["session_id"], made["session_token"])
        async with told(
            sandbox, until_ready=False, transport=SoundCard(), credentials=credentials
        ) as call:
            await tells(call, "ready")
            sandbox.inject(fault("agent.speak", "close"))
            await call.say(0.5)
            await tells(call, "absent")
            await call.end()
    assert {message["avatar"] for message in messages(call)} == {None}


@virtually
async def test_of_two_services_a_client_knows_whose_avatar_is_what():
    """One speaks and is lost for good, the other stands by and goes on."""
    async with avatars() as first, avatars() as second:
        one, other = (
            avatar_in(sandbox, name=name, limits=SHORT_LIMITS, renewal=QUICK_RENEWAL)
            for sandbox, name in ((first, "one"), (second, "other"))
        )
        switch = ServiceSwitcher([one, other], strategy_type=ServiceSwitcherStrategyFailover)
        observers = [AgentHumanRTVI(one), AgentHumanRTVI(other)]
        async with staged(switch, rate=RATE, enable_rtvi=True, observers=observers) as call:
            for name in ("one", "other"):
                await until(lambda name=name: states(call, of=name)[-1:] == ["ready"])
            await call.say(0.5)
            await until(lambda: states(call, of="one")[-2:] == ["speaking", "ready"])
            first.inject(fault("create", "refuse", status=401, times=None))
            await first.drop()
            await until(lambda: states(call, of="one")[-1:] == ["absent"])
            assert states(call, of="other")[-1] == "ready"
            await call.say(0.5)
            await until(lambda: states(call, of="other")[-2:] == ["speaking", "ready"])
            await call.end()
    assert states(call, of="one").count("speaking") == 1
    assert states(call, of="other").count("speaking") == 1
    assert {message["avatar"] for message in messages(call)} == {None}


@virtually
async def test_where_the_avatar_cannot_speak_there_is_none():
    card = SoundCard()
    card.avatar_room = DailyRoom("https://example.daily.co/another", "token")
    async with avatars() as sandbox, told(sandbox, until_ready=False, transport=card) as call:
        await tells(call, "absent")
        await call.end()


@pytest.mark.parametrize(
    ("parts", "enable_rtvi", "words"),
    [("with", False, "there is no RTVI"), ("without", True, "is not in this pipeline")],
)
@virtually
async def test_who_tells_nobody_of_nothing_says_so_at_the_start(log, parts, enable_rtvi, words):
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox)
        observers = [AgentHumanRTVI(avatar)]
        inside = avatar if parts == "with" else None
        shape = {"observers": observers, "enable_rtvi": enable_rtvi}
        async with staged(avatar=inside, sandbox=sandbox, **shape) as call:
            await until(lambda: words in str(log))
            await call.end()


def test_only_the_service_can_be_told_of():
    with pytest.raises(ValueError, match="must be an instance of AgentHumanVideoService"):
        AgentHumanRTVI(ROOM)
