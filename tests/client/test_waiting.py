"""Work that can be given up, and work that must not be."""

import asyncio

import pytest

from pipecat_agenthuman.client.waiting import finish, unless


async def test_work_that_nobody_gives_up_has_its_result():
    assert await unless(asyncio.Event(), asyncio.sleep(0, "done")) == "done"


async def test_work_is_cancelled_when_it_is_given_up():
    given_up, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        try:
            given_up.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "never"

    assert await unless(given_up, work()) is None
    assert cancelled.is_set()


async def test_an_error_of_the_work_is_raised():
    async def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await unless(asyncio.Event(), fail())


async def test_a_result_that_comes_at_the_very_moment_of_giving_up_is_discarded():
    given_up = asyncio.Event()
    discarded: list[str] = []

    async def stubborn() -> str:
        try:
            given_up.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return "late"
        return "never"

    assert await unless(given_up, stubborn(), discard=discarded.append) is None
    await asyncio.sleep(0)
    assert discarded == ["late"]


@pytest.mark.parametrize("answer", ["late", None])
async def test_cancelling_who_waits_cancels_the_work_and_leaves_no_task(answer: str | None):
    before = asyncio.all_tasks()
    begun, discarded = asyncio.Event(), []

    async def work() -> str:
        try:
            begun.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if answer is None:
                raise
        return "late"

    waiting = asyncio.create_task(unless(asyncio.Event(), work(), discard=discarded.append))
    await begun.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before
    assert discarded == ([] if answer is None else [answer])


async def test_what_must_not_be_given_up_is_carried_to_its_end():
    begun, released, done = asyncio.Event(), asyncio.Event(), []

    async def work() -> None:
        begun.set()
        await released.wait()
        done.append(True)

    finishing = asyncio.create_task(finish(work))
    await begun.wait()
    finishing.cancel()
    await asyncio.sleep(0)
    assert not finishing.done()
    released.set()
    with pytest.raises(asyncio.CancelledError):
        await finishing
    assert done == [True]
