"""Runs a playout against the clock: sends what may be sent, delivers what is due.

The place where the playout's clock is read.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Final, Generic, Protocol, TypeVar

from pipecat_agenthuman.playout.cues import Cue, Stopped
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.playout.results import SpeechMessage

ItemT = TypeVar("ItemT")

HEARD_PIECE_SECS: Final = 0.04
"""How often heard audio is handed on: the chunk in which Pipecat's output transport plays."""


class SpeechSink(Protocol):
    """Where speech goes: a connection that is up."""

    @property
    def can_speak(self) -> bool:
        """Whether a message may leave now."""
        ...

    @property
    def ambiguous_sizes(self) -> set[int]:
        """Numbers of samples that the next message must not have."""
        ...

    @property
    def confirm_secs(self) -> float:
        """Expected time from sending to confirmation."""
        ...

    def speak(self, audio: bytes) -> None:
        """Send one message."""
        ...


class PlayoutDriver(Generic[ItemT]):
    """The loop around a playout.

    Attributes:
        lock: Held while something is delivered. Whoever changes the playout in a way that
            takes deliveries back, as an interruption does, takes it first; nobody holds it
            for longer than pushing a frame takes.
    """

    def __init__(
        self,
        playout: Playout[ItemT],
        *,
        sink: Callable[[], SpeechSink | None],
        deliver: Callable[[Cue[ItemT]], Awaitable[None]],
        sent: Callable[[SpeechMessage], None],
        heard: Callable[[bytes], Awaitable[None]] | None = None,
    ) -> None:
        """Create a driver; ``run`` drives.

        Args:
            playout: What to drive.
            sink: Returns where speech may go now, or None.
            deliver: Takes each cue when it is due.
            sent: Told of every message that left.
            heard: Takes heard audio, 16 kHz mono PCM, piece by piece while it is heard.
        """
        self.lock = asyncio.Lock()
        self._playout = playout
        self._sink = sink
        self._deliver = deliver
        self._sent = sent
        self._heard = heard
        self._news = asyncio.Event()
        self._progress = asyncio.Event()

    @staticmethod
    def now() -> float:
        """The time, in seconds, on the clock of the playout."""
        return time.monotonic()

    def wake(self) -> None:
        """Look again: audio came, or an answer, or an item."""
        self._news.set()

    async def run(self) -> None:
        """Drive until cancelled."""
        while True:
            self._news.clear()
            self._transmit()
            await self._catch_up()
            self._progress.set()
            self._progress = asyncio.Event()
            await self._sleep()

    async def wait_until(self, reached: Callable[[], bool], limit_secs: float | None) -> bool:
        """Wait for a state of the playout.

        Args:
            reached: The state; asked after every step of the loop.
            limit_secs: How long to wait, or None for no limit.

        Returns:
            Whether it was reached.
        """
        self.wake()
        try:
            async with asyncio.timeout(limit_secs):
                while not reached():
                    await self._step()
        except TimeoutError:
            return reached()
        return True

    async def _step(self) -> None:
        """Wait for a step of the loop, but not long: time alone changes something, too."""
        progress = self._progress
        try:
            async with asyncio.timeout(HEARD_PIECE_SECS):
                await progress.wait()
        except TimeoutError:
            return

    def _transmit(self) -> None:
        sink = self._sink()
        if sink is None:
            return
        self._playout.confirm_secs = sink.confirm_secs
        while sink.can_speak:
            message = self._playout.take_message(self.now(), avoid=sink.ambiguous_sizes)
            if message is None:
                return
            sink.speak(message.audio)
            self._sent(message)

    async def _catch_up(self) -> None:
        """Deliver all that is due, one by one: each may be the last before an interruption."""
        while True:
            async with self.lock:
                now = self.now()
                due = self._playout.next_due(now, can_send=False)
                cue = self._playout.poll(now)
                if cue is None:
                    await self._hand_on(now)
                    return
                if isinstance(cue, Stopped) and due is not None and due > -math.inf:
                    await self._hand_on(due)  # The last of it comes before the stop.
                await self._deliver(cue)

    async def _hand_on(self, until: float) -> None:
        audio = self._playout.take_heard(until)
        if audio and self._heard is not None:
            await self._heard(audio)

    async def _sleep(self) -> None:
        sink = self._sink()
        now = self.now()
        due = self._playout.next_due(now, can_send=sink is not None and sink.can_speak)
        wait_secs = None if due is None else max(due - now, 0.0)
        if self._playout.speaking and self._heard is not None:
            wait_secs = HEARD_PIECE_SECS if wait_secs is None else min(wait_secs, HEARD_PIECE_SECS)
        try:
            async with asyncio.timeout(wait_secs):
                await self._news.wait()
        except TimeoutError:
            return
