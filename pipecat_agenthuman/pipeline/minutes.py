"""When the account's minutes run low: that is told, so that a bot can say so. Pure but for a wait.

The service tells what is left when a session is created, and nothing after that. So it is an
estimate: other sessions of the account spend minutes, too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from pipecat_agenthuman.pipeline.announcer import MinutesLow

LOW_MINUTES: Final = 10.0
"""Enough to bring a conversation to its end, and to buy more."""


async def watch_minutes(minutes_left: float | None, tell: Callable[[MinutesLow], None]) -> None:
    """Wait until few minutes are left, and tell.

    Args:
        minutes_left: What is left at the beginning of a session; None if that is not known.
        tell: Is told, once.
    """
    if minutes_left is None:
        return
    await asyncio.sleep(max(minutes_left - LOW_MINUTES, 0.0) * 60)
    tell(MinutesLow(min(minutes_left, LOW_MINUTES)))
