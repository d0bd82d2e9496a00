"""What goes over the wire, at the moment at which it is given to the socket."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from websockets.asyncio.client import ClientConnection

from benchmarks.stage.dialects import DIALECTS, Kind, Said

Message = str | bytes

SPEAKER: ContextVar[int] = ContextVar("SPEAKER", default=0)
"""Which bot of several speaks: set before it comes up, known to all of its tasks."""


@dataclass(frozen=True)
class Sent:
    """A message, when it was sent, and by which bot."""

    at: float
    speaker: int
    message: Message


@dataclass
class Wire:
    """All sockets of this process.

    Attributes:
        dialect: What is spoken.
        sent: All messages since the last ``clear``, in order.
        before: Awaited before each; something that is broken on purpose may be here.
    """

    dialect: str
    sent: list[Sent] = field(default_factory=list)
    before: Callable[[], Any] | None = None
    _news: asyncio.Event = field(default_factory=asyncio.Event)

    def clear(self) -> None:
        self.sent.clear()

    def said(self) -> Iterator[tuple[float, Said]]:
        """What the messages say."""
        read = DIALECTS[self.dialect]
        return ((one.at, read(one.message)) for one in self.sent)

    def speech(self) -> list[tuple[float, Said]]:
        return [(at, said) for at, said in self.said() if said.kind is Kind.SPEECH]

    def first(self, kind: Kind) -> float | None:
        """When the first message of a kind was sent."""
        return next((at for at, said in self.said() if said.kind is kind), None)

    async def saw(self, kind: Kind, *, limit_secs: float = 10.0) -> float:
        """Wait until there was a message of a kind; returns when it was sent.

        Raises:
            TimeoutError: If there is none.
        """
        async with asyncio.timeout(limit_secs):
            while (at := self.first(kind)) is None:
                self._news.clear()
                await self._news.wait()
        return at

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Take notes while the context lasts."""
        send = ClientConnection.send

        async def noting(socket: Any, message: Any, *args: Any, **options: Any) -> None:
            if self.before is not None:
                await self.before()
            self.sent.append(Sent(time.monotonic(), SPEAKER.get(), message))
            self._news.set()
            await send(socket, message, *args, **options)

        ClientConnection.send = noting  # type: ignore[method-assign]
        try:
            yield
        finally:
            ClientConnection.send = send  # type: ignore[method-assign]
