"""When the account's minutes run low, that is told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from pipecat_agenthuman import AgentHumanVideoService
from tests.support.calls import Call, avatars, calling
from tests.support.pipelines import SoundCard
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


def minutes_told(call: Call) -> list[float]:
    told: list[float] = []

    async def on_minutes_low(service: AgentHumanVideoService, minutes_left: float) -> None:
        told.append(minutes_left)

    call.avatar.add_event_handler("on_minutes_low", on_minutes_low)
    return told


@virtually
async def test_few_minutes_are_told_with_the_session(log: list[str]):
    async with avatars(minutes=8) as sandbox, calling(sandbox, until_ready=False) as call:
        told = minutes_told(call)
        await until(lambda: told)
        assert told == [7]  # the minute that has begun counts
        (line,) = [line for line in log if "minutes are left" in line]
        assert "the transport speaks" in line
        await call.end()


@virtually
async def test_minutes_that_run_low_during_a_call_are_told_then():
    async with avatars(minutes=13) as sandbox, calling(sandbox) as call:
        told = minutes_told(call)
        await asyncio.sleep(115)
        assert told == []
        await asyncio.sleep(10)
        assert told == [10]
        await call.end()


@virtually
async def test_an_ended_session_tells_no_more():
    async with avatars(minutes=13) as sandbox, calling(sandbox, max_session_secs=60) as call:
        told = minutes_told(call)
        await asyncio.sleep(300)
        assert told == []
        await call.end()


class Portrait(SoundCard):
    """A transport whose video stands on its end."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._params.video_out_width, self._params.video_out_height = 720, 1280


@virtually
async def test_the_video_takes_the_shape_of_the_transports():
    settings = {"aspect_ratio": "auto"}
    async with avatars() as sandbox:
        async with calling(sandbox, transport=Portrait(), settings=settings) as call:
            await call.end()
        async with calling(sandbox, settings=settings) as call:
            await call.end()
    assert [session.aspect_ratio for session in sandbox.sessions] == ["3:4", "4:3"]
