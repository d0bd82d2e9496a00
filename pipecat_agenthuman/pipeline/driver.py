"""Runs the speech against the clock: delivers what is due, sends what may be sent.

The place where the playout's clock is read while nobody does anything.
"""

from __future__ import annotations

import math

from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.fallback import Fallback
from pipecat_agenthuman.pipeline.rounds import Rest
from pipecat_agenthuman.pipeline.sinks import Sink


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
        rounds = self._output.rounds
        while True:
            rounds.begin()
            while (rest := await self._step()) is None:
                pass
            await rounds.rest(rest, self._output.now())

    async def _step(self) -> Rest | None:
        """Do one thing: each may be the last before an interruption.

        Returns:
            None if something was done; else until when there is nothing to do.
        """
        output = self._output
        async with output.lock:
            now = output.now()
            delivery = await output.deliver(now)
            if delivery is None:
                return None
            output.settle_speech()
            sink = self._fallback.choose(now)
            sending_due = None if sink is None else sink.due(now)
            if sink is not None and sending_due is not None and sending_due <= now:
                if await self._send(sink, now):
                    return None
                sending_due = sink.due(now)
            times = (delivery.due, sending_due, output.transport.next_change)
            return Rest(
                until=min((time for time in times if time is not None), default=math.inf),
                sending_due=None if sink is None else sink.due,
                needs_transport=delivery.needs_transport or sink is None,
            )

    async def _send(self, sink: Sink, now: float) -> bool:
        """Let somebody take speech; it comes when a sound is through, whoever says it.

        Returns:
            Whether something else may be due now.
        """
        return await self._output.transport.finish_sound() or await sink.send(now)
