"""The network between a bot and its service: a relay that is late, for whoever uses it.

Bytes keep their order, as in TCP: one that is late holds up what comes behind it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any


@dataclass(frozen=True)
class Network:
    """How late.

    Attributes:
        round_trip_secs: Half of it each way.
        jitter_secs: How much later still, at most: each time another bit.
        stalls: Part of the pieces that come ``stall_secs`` later.
        stall_secs: As a lost packet does it that must be sent again.
    """

    round_trip_secs: float = 0.0
    jitter_secs: float = 0.0
    stalls: float = 0.0
    stall_secs: float = 0.0

    def late_secs(self, chance: random.Random) -> float:
        """How long the next piece takes."""
        stalled = self.stall_secs if chance.random() < self.stalls else 0.0
        return self.round_trip_secs / 2 + chance.uniform(0, self.jitter_secs) + stalled


class _Way(asyncio.Protocol):
    """One end of a relayed connection: what it receives goes to the other."""

    def __init__(self, network: Network, chance: random.Random) -> None:
        self._network, self._chance = network, chance
        self._last_at = 0.0
        self.transport: Any = None
        self.other: _Way | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._later(self._give, data)

    def connection_lost(self, error: Exception | None) -> None:
        self._later(self._close)

    def _later(self, act: Any, *what: Any) -> None:
        loop = asyncio.get_running_loop()
        at = max(loop.time() + self._network.late_secs(self._chance), self._last_at)
        self._last_at = at
        loop.call_at(at, partial(act, *what))

    def _give(self, data: bytes) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.write(data)

    def _close(self) -> None:
        if self.other is not None and self.other.transport is not None:
            self.other.transport.close()


class _Door(_Way):
    """The near end: it has a far one as soon as somebody knocks."""

    def __init__(self, network: Network, chance: random.Random, port: int) -> None:
        super().__init__(network, chance)
        self._port = port
        self._early: list[bytes] = []
        self._connecting: asyncio.Task[None] | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._connecting = asyncio.create_task(self._connect())

    async def _connect(self) -> None:
        far = _Way(self._network, self._chance)
        far.other = self
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: far, "127.0.0.1", self._port)
        self.other = far
        for data in self._early:
            far.transport.write(data)
        self._early.clear()

    def _give(self, data: bytes) -> None:
        if self.other is None:
            self._early.append(data)
        else:
            super()._give(data)


@asynccontextmanager
async def relayed(port: int, network: Network, *, seed: int = 1) -> AsyncIterator[int]:
    """A port behind which, this late, lies another one.

    Args:
        port: Where the service is.
        network: How late.
        seed: Of the jitter.
    """
    chance = random.Random(seed)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Door(network, chance, port), "127.0.0.1", 0
    )
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
