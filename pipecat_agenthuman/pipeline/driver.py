"""Runs the speech against the clock: delivers what is due, sends what may be sent.

The place where the playout's clock is read while nobody does anything.
"""

from __future__ import annotations

from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.fallback import Fallback


class PlayoutDriver:
    """The loop around the speech."""

    def __init__(self, *, output: AvatarOutput, fallback: Fallback) -> None:
        """Create a driver; ``run`` drives.

        Args:
            output: What there is to say, and what goes with it.
            fallback: Knows who says it.
        """
        self._output = output
        self._fallback = fallback

    async def run(self) -> None:
        """Drive until cancelled."""
        while True:
            self._output.rounds.begin()
            while await self._step():
                pass
            self._output.rounds.end()
            await self._sleep()

    async def _step(self) -> bool:
        """Do one thing: each may be the last before an interruption.

        Returns:
            Whether there was anything to do.
        """
        async with self._output.lock:
            now = self._output.now()
            if await self._output.deliver(now):
                return True
            sink = self._fallback.choose(now)
            due = None if sink is None else sink.due(now)
            if sink is None or due is None or due > now:
                return False
            if await self._output.transport.finish_sound():
                return True  # Speech comes when that is through, whoever says it.
            return await sink.send(now)

    async def _sleep(self) -> None:
        now = self._output.now()
        sink = self._fallback.choose(now)
        times = [
            self._output.next_due,
            self._output.transport.next_change,
            None if sink is None else sink.due(now),
            self._output.next_piece_at,
        ]
        due = min((time for time in times if time is not None), default=None)
        await self._output.rounds.until_news(None if due is None else max(due - now, 0.0))
