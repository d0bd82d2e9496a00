"""A caller in a room of ``livekit_room.py``, with LiveKit's own client: what is heard, and when.

Sound arrives late at times, because the machine is busy, and never early. So what came soonest of
about a second tells when everything around it came.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import numpy as np
from livekit import rtc
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE
from tests.support.heard_speech import Said, times_of

RATE: Final = WIRE_SAMPLE_RATE
_SOONEST_OF: Final = 50  # pieces of 10 ms on either side


class Caller:
    """Someone who hears the avatar as a browser would.

    Attributes:
        pieces: What was heard, each with the time at which it came.
    """

    def __init__(self) -> None:
        self.pieces: list[tuple[float, NDArray[np.int16]]] = []
        self._tasks: set[asyncio.Task[None]] = set()

    def listen(self, track: rtc.Track) -> None:
        """Listen to a track, until it ends."""
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self._tasks.add(asyncio.create_task(self._read(track)))

    async def close(self) -> None:
        """Listen no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def sound(self) -> Said:
        """What was heard until now, and when."""
        if not self.pieces:
            return Said(np.zeros(0, np.int16), np.zeros(0))
        sizes = np.array([len(piece) for _, piece in self.pieces])
        ends = np.cumsum(sizes) / RATE
        lags = np.array([at for at, _ in self.pieces]) - ends
        around = np.pad(lags, _SOONEST_OF, mode="edge")
        soonest = sliding_window_view(around, 2 * _SOONEST_OF + 1).min(axis=1)
        begins = ends + soonest - sizes / RATE
        at = times_of(zip(begins.tolist(), sizes.tolist(), strict=True))
        return Said(np.concatenate([piece for _, piece in self.pieces]), at)

    async def _read(self, track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            self.pieces.append((time.monotonic(), np.frombuffer(event.frame.data, np.int16)))


@asynccontextmanager
async def calling_in(url: str, token: str) -> AsyncIterator[Caller]:
    """Let a caller be in the room of a token, who is not told of to others."""
    caller, client = Caller(), rtc.Room()
    client.on("track_subscribed", lambda track, _publication, _who: caller.listen(track))
    await client.connect(url, token)
    try:
        yield caller
    finally:
        await caller.close()
        await client.disconnect()
