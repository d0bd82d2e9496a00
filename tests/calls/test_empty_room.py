"""No minutes for an empty room, and none beyond ``max_session_secs``."""

from __future__ import annotations

import asyncio

import pytest

from pipecat_agenthuman import AvatarUnavailableError
from pipecat_agenthuman.client.retry import RenewalPolicy
from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import CUT_SECS, Call, avatars, calling
from tests.support.faults import fault
from tests.support.inside import set_limits
from tests.support.pipelines import RoomCard
from tests.support.sounds import RATE, never, once
from tests.support.virtual_time import virtually
from tests.support.waiting import LIMIT_SECS, until

pytestmark = pytest.mark.usefixtures("log")


async def persons(call: Call, number: int) -> None:
    await call.feed(AgentHumanPersonsFrame(persons=number))


async def is_empty(call: Call, sandbox: Sandbox) -> None:
    """Everybody leaves, and that is taken for what it is."""
    await persons(call, 0)
    await until(lambda: not sandbox.live_sessions)


@virtually
async def test_a_session_ends_when_everybody_has_left_and_comes_with_the_next_person(monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.2)
    async with avatars() as sandbox:
        async with calling(sandbox, transport=RoomCard(), until_ready=False) as call:
            await persons(call, 1)
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await call.until_ready()
            await persons(call, 2)
            await persons(call, 1)
            await is_empty(call, sandbox)
            alone = await call.say(0.2)
            await call.spoken()
            assert len(sandbox.sessions) == 1
            await persons(call, 1)
            greeting = await call.say(0.3)  # waits for the avatar, as at the start
            await until(lambda: len(sandbox.sessions) == 2)
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-2"))
            await call.until_ready(2)
            await call.spoken(2)
            await call.end()
        assert len(sandbox.sessions) == 2
    assert once(call.given_to_transport(), alone)
    assert once(call.heard_of_avatar(), greeting)
    assert never(call.given_to_transport(), greeting)
    (gone,) = call.between.of(AgentHumanDisconnectedFrame)
    assert (gone.reason, gone.will_reconnect, gone.planned) == (
        "everybody has left the room",
        False,
        True,
    )
    assert not call.error_frames
    assert call.avatar.is_usable


@virtually
async def test_somebody_who_returns_soon_finds_the_same_session():
    async with avatars() as sandbox, calling(sandbox) as call:
        await persons(call, 1)
        await persons(call, 0)
        await persons(call, 1)
        words = await call.say(0.3)
        await call.end()
        assert len(sandbox.sessions) == 1
    assert once(call.heard_of_avatar(), words)


@virtually
async def test_a_session_that_is_lost_in_an_empty_room_is_not_replaced_before_somebody_comes():
    """The service, too, ends the session of a room that everybody has left."""
    async with avatars() as sandbox, calling(sandbox) as call:
        await persons(call, 1)
        await persons(call, 0)
        await call.between.saw(AgentHumanPersonsFrame, 2)
        await sandbox.end_session()
        await call.between.saw(AgentHumanDisconnectedFrame)
        words = await call.say(0.2)
        await call.spoken()
        assert len(sandbox.sessions) == 1
        await persons(call, 1)
        await call.until_ready(2)
        await call.end()
        assert len(sandbox.sessions) == 2
    assert once(call.given_to_transport(), words)
    assert not call.error_frames


@virtually
async def test_a_bot_that_waits_for_the_first_person_has_its_avatar_there(monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.0)
    async with avatars() as sandbox, calling(sandbox) as call:
        await persons(call, 0)
        await sandbox.drop()
        await call.until_ready(2)
        await persons(call, 1)
        words = await call.say(0.2)
        await call.end()
        assert len(sandbox.sessions) == 2
    assert once(call.heard_of_avatar(), words)


@virtually
async def test_the_pipeline_ends_while_the_room_is_empty(monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.0)
    async with avatars() as sandbox, calling(sandbox) as call:
        await persons(call, 1)
        await is_empty(call, sandbox)
        await call.end()
    assert len(sandbox.sessions) == 1


@virtually
async def test_people_who_come_and_go_find_an_avatar_each_time(monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.0)
    async with avatars() as sandbox, calling(sandbox) as call:
        for number in range(1, 10):
            await persons(call, 1)
            await call.until_ready(number)
            await is_empty(call, sandbox)
        await call.end()
    assert len(sandbox.sessions) == 9
    assert sandbox.peak_live_sessions == 1


# --- the longest session -----------------------------------------------------------------


@virtually
async def test_a_session_lives_no_longer_than_it_may_and_its_end_is_told_before():
    left: list[float] = []
    async with avatars() as sandbox, calling(sandbox, max_session_secs=1.2) as call:

        async def on_session_ending(_: object, left_secs: float) -> None:
            left.append(left_secs)
            assert sandbox.live_sessions

        call.avatar.add_event_handler("on_session_ending", on_session_ending)
        await call.say(0.2)
        await call.spoken()
        await until(lambda: not sandbox.live_sessions)
        words = await call.say(0.2)
        await call.spoken(2)
        await call.end()
        assert len(sandbox.sessions) == 1
        lived = sandbox.sessions[0].ended_at - sandbox.sessions[0].connected_at
    assert lived == pytest.approx(1.2, abs=0.05)
    assert left == [pytest.approx(0.3)]
    assert once(call.given_to_transport(), words)
    (gone,) = call.between.of(AgentHumanDisconnectedFrame)
    assert (gone.reason, gone.will_reconnect, gone.planned) == (
        "max_session_secs is over",
        False,
        True,
    )
    assert not call.error_frames


@virtually
async def test_what_is_being_said_at_the_end_goes_on_without_the_avatar():
    async with avatars() as sandbox, calling(sandbox, max_session_secs=0.8) as call:
        words = await call.say(2.0)
        await call.spoken()
        await call.end()
    both = call.heard_of_avatar() + call.given_to_transport()
    assert (both[words.start : words.stop] == 0).sum() < CUT_SECS * RATE
    assert call.given_to_transport()[words.stop - 1]


@virtually
async def test_a_replaced_session_does_not_begin_anew_and_the_next_caller_does(monkeypatch):
    set_limits(monkeypatch, empty_room_secs=0.0)
    async with avatars() as sandbox, calling(sandbox, max_session_secs=1.5) as call:
        await persons(call, 1)
        await asyncio.sleep(0.5)
        await sandbox.drop()
        await call.until_ready(2)
        await until(lambda: not sandbox.live_sessions)
        first, second = sandbox.sessions
        assert second.ended_at - first.connected_at == pytest.approx(1.5, abs=0.05)
        await persons(call, 2)
        await call.say(0.2)
        await call.spoken()
        assert len(sandbox.sessions) == 2
        await persons(call, 0)
        await persons(call, 1)
        await call.until_ready(3)
        await call.end()


@virtually
async def test_a_session_that_was_lost_is_not_replaced_when_its_time_is_over_meanwhile():
    patient = RenewalPolicy(first_pause_secs=8.0)
    shape = {"max_session_secs": 10.0, "renewal": patient}
    async with avatars() as sandbox, calling(sandbox, **shape) as call:
        await persons(call, 1)
        await asyncio.sleep(8)
        sandbox.inject(fault("create", "refuse", status=503))
        await sandbox.drop()
        await call.between.saw(AgentHumanDisconnectedFrame, 2)
        await asyncio.sleep(60)
        assert len(sandbox.sessions) == 1
        assert "on_disconnected max_session_secs is over False" in call.news
        await persons(call, 0)
        await persons(call, 1)
        await call.until_ready(2)
        await call.end()


@virtually
async def test_nobody_waits_for_an_avatar_whose_time_is_over():
    async with avatars() as sandbox, calling(sandbox, max_session_secs=2.0) as call:
        await persons(call, 1)
        await until(lambda: not sandbox.live_sessions)
        with pytest.raises(AvatarUnavailableError, match="max_session_secs is over"):
            await call.avatar.wait_until_ready()
        await persons(call, 0)
        await persons(call, 1)
        await call.until_ready(2)
        await call.avatar.wait_until_ready()
        await call.end()


@virtually
async def test_an_expiration_without_replacement_is_told_before_too():
    told = asyncio.Event()

    async def on_session_ending(_: object, left_secs: float) -> None:
        told.set()

    shape = {"renew_before_expiry": False}
    async with avatars(session_secs=1.2) as sandbox, calling(sandbox, **shape) as call:
        call.avatar.add_event_handler("on_session_ending", on_session_ending)
        async with asyncio.timeout(LIMIT_SECS):
            await told.wait()
        await call.end()
