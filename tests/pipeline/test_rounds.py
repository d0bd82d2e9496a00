"""What wakes the driver, and what does not."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from pipecat_agenthuman.pipeline.rounds import Rest, Rounds
from tests.support.virtual_time import virtually


class Driver:
    """Looks whenever it is woken, and then rests as it was told."""

    def __init__(self, rest: Rest) -> None:
        self.rounds = Rounds()
        self.rest = rest
        self.looks = 0

    async def run(self) -> None:
        while True:
            self.rounds.begin()
            self.looks += 1
            await self.rounds.rest(self.rest, asyncio.get_running_loop().time())


@asynccontextmanager
async def resting(rest: Rest) -> AsyncIterator[Driver]:
    """A driver that has looked once, and rests."""
    driver = Driver(rest)
    task = asyncio.create_task(driver.run())
    await asyncio.sleep(0.001)
    assert driver.looks == 1
    yield driver
    task.cancel()


async def looks_after(driver: Driver, news: Callable[[], Awaitable[None] | None]) -> int:
    """How often the driver looked because of something."""
    before = driver.looks
    waiting = news()
    if waiting is not None:
        await waiting
    await asyncio.sleep(0.001)
    return driver.looks - before


@pytest.mark.parametrize(
    ("due", "wakes"),
    [(None, 0), (2000.0, 0), (1900.0, 1)],
    ids=["nothing may leave", "not before it looks anyway", "before that"],
)
@virtually
async def test_speech_wakes_it_only_if_some_may_leave_before_it_looks(due, wakes):
    async with resting(Rest(until=2000.0, sending_due=lambda _: due)) as driver:
        assert await looks_after(driver, lambda: driver.rounds.wrote(1000.0)) == wakes


@virtually
async def test_speech_wakes_it_while_nobody_may_speak():
    async with resting(Rest(sending_due=None)) as driver:
        assert await looks_after(driver, lambda: driver.rounds.wrote(1000.0)) == 1


@pytest.mark.parametrize("needs_transport", [True, False])
@virtually
async def test_what_comes_out_of_the_transport_wakes_it_only_if_that_is_waited_for(needs_transport):
    async with resting(Rest(needs_transport=needs_transport)) as driver:
        assert await looks_after(driver, driver.rounds.came_through) == needs_transport


@virtually
async def test_whoever_waits_for_a_state_has_it_looked_for_with_all_news():
    async with resting(Rest(needs_transport=False)) as driver:
        waiting = asyncio.create_task(driver.rounds.wait_until(lambda: driver.looks == 3))
        await asyncio.sleep(0.001)
        assert driver.looks == 2
        driver.rounds.came_through()
        assert await waiting


@virtually
async def test_it_looks_by_itself_when_something_is_due():
    now = asyncio.get_running_loop().time()
    async with resting(Rest(until=now + 5.0)) as driver:
        driver.rest = Rest(until=math.inf)
        await asyncio.sleep(4.9)
        assert driver.looks == 1
        await asyncio.sleep(0.2)
        assert driver.looks == 2
        await asyncio.sleep(10.0)
        assert driver.looks == 2


@virtually
async def test_a_burst_of_speech_gives_way_to_what_may_leave_and_only_then():
    async with resting(Rest(sending_due=lambda now: now)) as driver:
        driver.rounds.wrote(1000.0)
        await driver.rounds.give_way(1000.0001)
        assert driver.looks == 1, "a frame now and then costs no turn of the loop"
        driver.rounds.wrote(1000.002)
        await driver.rounds.give_way(1000.002)
        assert driver.looks == 2, "what waits for the loop leaves amid the burst"
        driver.rest = Rest(sending_due=lambda _: None)
        await asyncio.sleep(0.001)
        driver.rounds.wake()
        await asyncio.sleep(0.001)
        looks = driver.looks
        driver.rounds.wrote(1000.003)
        await driver.rounds.give_way(1000.1)
        assert driver.looks == looks, "nothing may leave"
