"""The driver's rounds: what makes it look again, and waiting for what that brings about."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_BURST_SECS: Final = 0.0005
"""How long speech that came in a burst may be taken while some of it could leave."""

_LONGEST_WAIT_SECS: Final = 0.04
"""How often whoever waits for a state asks for it: time alone changes something, too."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Until when the driver has nothing to do, and what changes that.

    Attributes:
        until: When it looks by itself; infinity if only news can help.
        sending_due: When more could be sent, now that more was written; None if whatever is
            written may change more than that.
        needs_transport: Whether something waits until the transport is done with what it has.
    """

    until: float = math.inf
    sending_due: Callable[[float], float | None] | None = None
    needs_transport: bool = True


_AWAKE: Final = Rest()
"""What counts while the driver looks: all news."""


class Rounds:
    """News for the driver, and its progress for others."""

    def __init__(self) -> None:
        """Know of no news."""
        self._news = asyncio.Event()
        self._rest = _AWAKE
        self._kept_waiting_since: float | None = None
        self._progress = asyncio.Event()
        self._waiting = 0

    # --- for the driver ----------------------------------------------------------------

    def begin(self) -> None:
        """The driver looks what is to be done; news from now on makes it look again."""
        self._news.clear()
        self._kept_waiting_since = None

    async def rest(self, rest: Rest, now: float) -> None:
        """The driver has done what there was to do: wait until there is something again.

        Args:
            rest: What to wait for.
            now: The time.
        """
        if self._waiting:
            self._progress.set()
            self._progress = asyncio.Event()
        if self._news.is_set():
            return
        alarm = None
        if rest.until < math.inf:
            secs = max(rest.until - now, 0.0)
            alarm = asyncio.get_running_loop().call_later(secs, self._news.set)
        self._rest = rest
        try:
            await self._news.wait()
        finally:
            self._rest = _AWAKE
            if alarm is not None:
                alarm.cancel()

    @property
    def next_look(self) -> float:
        """When the driver looks by itself; infinity if it needs news."""
        return self._rest.until

    # --- for others --------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed: look again what is to be done."""
        self._news.set()

    def wrote(self, now: float) -> None:
        """Speech was written: look again if some of it may leave before the driver looks."""
        rest = self._rest
        if not self._news.is_set():
            due = now if rest.sending_due is None else rest.sending_due(now)
            if due is None or due >= rest.until:
                return
            self.wake()
        if self._kept_waiting_since is None:
            self._kept_waiting_since = now

    async def give_way(self, now: float) -> None:
        """Let speech out that could leave: nothing else runs until a burst of it is taken."""
        since = self._kept_waiting_since
        if since is not None and now - since >= _BURST_SECS:
            await asyncio.sleep(0)  # The driver gives a message to the connection,
            await asyncio.sleep(0)  # and the connection sends it.

    def came_through(self) -> None:
        """Something came out of the transport: look again if that is waited for."""
        if self._rest.needs_transport or self._waiting:
            self.wake()

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
        self._waiting += 1
        try:
            async with asyncio.timeout(limit_secs):
                while not reached():
                    progress = self._progress
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LONGEST_WAIT_SECS):
                            await progress.wait()
        except TimeoutError:
            return reached()
        finally:
            self._waiting -= 1
        return True
