"""Work that can be given up, and work that must not be."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unless(
    given_up: asyncio.Event,
    work: Awaitable[T],
    *,
    discard: Callable[[T], None] | None = None,
) -> T | None:
    """Work, but not any longer than until an event is set.

    Args:
        given_up: Set by whoever does not want the result any more.
        work: What to do; cancelled when it is given up.
        discard: Called with a result that came at the very moment of giving up.

    Returns:
        The result; None if the work was given up.
    """
    working = asyncio.ensure_future(work)
    giving_up = asyncio.create_task(given_up.wait())
    wanted = False
    try:
        await asyncio.wait({working, giving_up}, return_when=asyncio.FIRST_COMPLETED)
        wanted = working.done()
    finally:
        if not wanted and discard is not None:
            working.add_done_callback(lambda late: _discard(late, discard))
        working.cancel()
        giving_up.cancel()
        await asyncio.gather(working, giving_up, return_exceptions=True)
    return working.result() if wanted else None


def _discard(late: asyncio.Future[T], discard: Callable[[T], None]) -> None:
    if not late.cancelled() and late.exception() is None:
        discard(late.result())


async def finish(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Carry bounded work to its end, even if this task is cancelled meanwhile.

    An event loop that is being closed cancels every task, this work's too: then it is done
    again, because the loop still waits for this task.
    """
    cancelled = False
    for _ in range(2):
        task = asyncio.create_task(work())
        while not task.done():
            try:
                await asyncio.shield(task)
            except asyncio.CancelledError:
                cancelled = True
        if not task.cancelled():
            break
    if cancelled:
        raise asyncio.CancelledError
