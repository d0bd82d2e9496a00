"""The loop around the playout, as those see it who wait for it."""

import asyncio

import pytest

from tests.support.calls import avatars, calling
from tests.support.inside import avatar_is_idle, wait_until
from tests.support.virtual_time import virtually
from tests.support.waiting import LIMIT_SECS

pytestmark = pytest.mark.usefixtures("log")


@virtually
async def test_what_waits_for_a_state_is_told_in_time():
    async with avatars() as sandbox, calling(sandbox) as call:
        assert not await wait_until(call.avatar, lambda: False, 0.1)
        await call.say(0.3)
        async with asyncio.timeout(LIMIT_SECS):
            assert await wait_until(call.avatar, lambda: call.avatar.stats.heard_secs > 0.2, None)
            assert await wait_until(call.avatar, lambda: avatar_is_idle(call.avatar), None)
        await call.end()
