"""The driver's rounds: what makes it look again, and waiting for what that brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_LONGEST_WAIT_SECS: Final = 0.04
"""How often whoever waits for a state asks for it: time alone changes something, too."""


class Rounds:
    """News for the driver, and its progress for others."""

    def __init__(self) -> None:
        """Know of no news."""
        self._news = asyncio.Event()
        self._progress = asyncio.Event()

    # --- for the driver ----------------------------------------------------------------

    def begin(self) -> None:
        """The driver looks what is to be done; news from now on makes it look again."""
        self._news.clear()

    def end(self) -> None:
        """The driver has done what there was to do."""
        self._progress.set()
        self._progress = asyncio.Event()

    async def until_news(self, limit_secs: float | None) -> None:
        """Wait until something changed, but not longer than a limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_secs):
                await self._news.wait()

    # --- for others --------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed: look again what is to be done."""
        self._news.set()

    async def wait_until(
        self, reached: Callable[[], bool], limit_secs: float | None = None
    ) -> bool:
        """Wait for a state of the speech.

        Args:
            reached: The state; asked after every round of the driver.
            limit_secs: How long to wait, or None for no limit.

        Returns:
            Whether it was reached.
        """
        self.wake()
        try:
            async with asyncio.timeout(limit_secs):
                while not reached():
                    progress = self._progress
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LONGEST_WAIT_SECS):
                            await progress.wait()
        except TimeoutError:
            return reached()
        return True
