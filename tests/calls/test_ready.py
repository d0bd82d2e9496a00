"""Waiting for the avatar."""

from __future__ import annotations

import asyncio

import pytest

from pipecat_agenthuman import AuthenticationError, AvatarUnavailableError
from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from tests.support.calls import avatar_in, avatars, calling
from tests.support.faults import fault
from tests.support.pipelines import RoomCard
from tests.support.virtual_time import virtually
from tests.support.waiting import LIMIT_SECS, until

pytestmark = pytest.mark.usefixtures("log")


@virtually
async def test_the_wait_ends_when_the_avatar_may_speak():
    async with avatars() as sandbox:
        async with calling(sandbox, transport=RoomCard(), until_ready=False) as call:
            waiting = asyncio.create_task(call.avatar.wait_until_ready(LIMIT_SECS))
            await until(lambda: call.news)  # its session is up
            assert not call.avatar.ready
            assert not waiting.done()
            await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
            await waiting
            assert call.avatar.ready
            await call.avatar.wait_until_ready()
            await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "left"))
            await until(lambda: not call.avatar.ready)
            await call.end()
        assert not call.avatar.ready


@virtually
async def test_a_wait_that_takes_too_long_is_a_time_out_and_the_avatar_may_come_yet():
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=0.5, delayed="answer"))
        async with calling(sandbox, until_ready=False) as call:
            with pytest.raises(TimeoutError, match=r"not ready within 0\.05 s"):
                await call.avatar.wait_until_ready(0.05)
            await call.avatar.wait_until_ready()
            await call.end()


@virtually
async def test_a_wait_in_vain_ends_with_the_reason():
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=401))
        async with calling(sandbox, until_ready=False) as call:
            with pytest.raises(AvatarUnavailableError, match="no avatar") as caught:
                await call.avatar.wait_until_ready()
            assert isinstance(caught.value.__cause__, AuthenticationError)
            assert "AGENTHUMAN_API_KEY" in str(caught.value)
            assert sandbox.api_key not in str(caught.value)
            await call.end()


@virtually
async def test_nobody_waits_on_when_the_pipeline_ends():
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "missing"))
        async with calling(sandbox, until_ready=False) as call:
            waiting = asyncio.create_task(call.avatar.wait_until_ready())
            await sandbox.wait_for("fault")
            await call.end()
            with pytest.raises(AvatarUnavailableError, match="pipeline has ended"):
                await waiting


@pytest.mark.parametrize("timeout_secs", [-1, "10", float("inf")])
@virtually
async def test_impossible_limits_are_named(timeout_secs: object):
    async with avatars() as sandbox:
        with pytest.raises(ValueError, match="timeout_secs"):
            await avatar_in(sandbox).wait_until_ready(timeout_secs)  # type: ignore[arg-type]
