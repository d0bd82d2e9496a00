"""One WebSocket behind a simulated network: in order, late, and able to misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from aiohttp import WSMsgType, web

_FARTHEST_BEHIND: Final = 512
"""Messages under way on the simulated network; at the limit the socket is not read."""

_HARD_MESSAGE_LIMIT: Final = 64_000_000
"""Beyond any sensible message aiohttp itself closes the socket, without reading it all."""

_STALLED_BUFFER_BYTES: Final = 4096
"""A small receive buffer, so that a stalled reader backs up after some 4 MB, which are the
client's own send buffer, and not after 12 (measured on Linux)."""

_PEER_GONE_POLL_SECS: Final = 0.05
"""aiohttp reports nothing about a socket after its close frame; so it is looked at."""


@dataclass(frozen=True)
class SocketMessage:
    """A text (str) or binary (bytes) message, either way."""

    payload: str | bytes


@dataclass(frozen=True)
class Ping:
    """A ping of the client."""

    payload: bytes


@dataclass(frozen=True)
class Pong:
    """The answer to a ping."""

    payload: bytes


@dataclass(frozen=True)
class Gone:
    """The client closed the socket, or it was lost.

    Attributes:
        code: The close code; None if the socket was lost without a close frame.
    """

    code: int | None


@dataclass(frozen=True)
class Close:
    """Close the socket with a close frame."""

    code: int = 1000
    reason: str = ""


@dataclass(frozen=True)
class Abort:
    """Reset the TCP connection."""


@dataclass(frozen=True)
class HangUp:
    """Forget the socket when the client's side of it is gone, without a word."""


Incoming = SocketMessage | Ping | Gone
Outgoing = SocketMessage | Pong | Close | Abort | HangUp

T = TypeVar("T")


class _DelayLine(Generic[T]):
    """A network's one way: things come out in order, each after the same time."""

    def __init__(self, delay_secs: float) -> None:
        self._delay_secs = delay_secs
        self._queue: asyncio.Queue[tuple[float, T]] = asyncio.Queue()

    def __len__(self) -> int:
        return self._queue.qsize()

    def put(self, thing: T) -> None:
        due = asyncio.get_running_loop().time() + self._delay_secs
        self._queue.put_nowait((due, thing))

    async def get(self) -> T:
        due, thing = await self._queue.get()
        wait_secs = due - asyncio.get_running_loop().time()
        if wait_secs > 0:
            await asyncio.sleep(wait_secs)
        return thing


class Wire:
    """The socket of one client.

    What arrives is handed to a callback half a round trip after it was read; what is sent
    leaves half a round trip after ``send``. Pings and pongs travel the same way.
    """

    def __init__(
        self, request: web.Request, *, round_trip_secs: float, close_timeout_secs: float
    ) -> None:
        """Prepare the socket of a handshake request.

        Args:
            request: The handshake.
            round_trip_secs: Simulated network, half of it each way.
            close_timeout_secs: How long a closing handshake may take.
        """
        self._request = request
        self._websocket = web.WebSocketResponse(
            timeout=close_timeout_secs,
            autoclose=False,
            autoping=False,
            max_msg_size=_HARD_MESSAGE_LIMIT,
        )
        self._inward: _DelayLine[Incoming] = _DelayLine(round_trip_secs / 2)
        self._outward: _DelayLine[Outgoing] = _DelayLine(round_trip_secs / 2)
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._silent = False

    @property
    def response(self) -> web.WebSocketResponse:
        """What the handshake's handler has to return."""
        return self._websocket

    async def open(self) -> None:
        """Answer the handshake."""
        await self._websocket.prepare(self._request)

    async def run(self, receive: Callable[[Incoming], None]) -> None:
        """Carry messages both ways until the socket is closed.

        Args:
            receive: Called with everything that arrives; last with a ``Gone``, unless the
                socket was closed from this side first.
        """
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read())
            delivering = group.create_task(self._deliver(receive))
            await self._write()
            reading.cancel()
            delivering.cancel()

    def send(self, outgoing: Outgoing) -> None:
        """Send something; a silent wire swallows all but the end of the connection."""
        if not self._silent or not isinstance(outgoing, SocketMessage | Pong):
            self._outward.put(outgoing)

    def silence(self) -> None:
        """Send nothing more, as if the way out were cut, and keep reading."""
        self._silent = True

    @property
    def is_silent(self) -> bool:
        """Whether nothing is sent any more."""
        return self._silent

    def stall(self) -> None:
        """Stop reading, so that the client's writes back up."""
        self._flowing.clear()
        transport = self._request.transport
        if transport is not None:
            _tcp(transport).setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _STALLED_BUFFER_BYTES)

    # --- inward ---

    async def _read(self) -> None:
        while True:
            await self._flowing.wait()
            message = await self._websocket.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    self._inward.put(SocketMessage(message.data))
                case WSMsgType.PING:
                    self._inward.put(Ping(bytes(message.data)))
                case WSMsgType.PONG:
                    pass
                case WSMsgType.CLOSE:
                    self._inward.put(Gone(message.data or 1005))
                    return
                case _:
                    self._inward.put(Gone(None))
                    return
            while len(self._inward) > _FARTHEST_BEHIND:  # noqa: ASYNC110 - rare, and no event
                await asyncio.sleep(_PEER_GONE_POLL_SECS)

    async def _deliver(self, receive: Callable[[Incoming], None]) -> None:
        while True:
            incoming = await self._inward.get()
            await self._flowing.wait()
            receive(incoming)

    # --- outward ---

    async def _write(self) -> None:
        while True:
            outgoing = await self._outward.get()
            with contextlib.suppress(ConnectionError):  # the reader reports a lost socket
                match outgoing:
                    case SocketMessage(payload):
                        await self._send_message(payload)
                    case Pong(payload):
                        await self._websocket.pong(payload)
                    case Close(code, reason):
                        await self._websocket.close(code=code, message=reason.encode())
                        return
                    case Abort():
                        abort(self._request)
                        return
                    case HangUp():
                        await self._peer_gone()
                        return

    async def _send_message(self, payload: str | bytes) -> None:
        if isinstance(payload, str):
            await self._websocket.send_str(payload)
        else:
            await self._websocket.send_bytes(payload)

    async def _peer_gone(self) -> None:
        while self._request.transport is not None:  # noqa: ASYNC110 - see the constant
            await asyncio.sleep(_PEER_GONE_POLL_SECS)


def abort(request: web.BaseRequest) -> None:
    """Reset a request's TCP connection: no close frame, no orderly end.

    Args:
        request: The request or handshake.
    """
    transport = request.transport
    if transport is None or transport.is_closing():
        return
    # Lingering for zero seconds makes the kernel send RST in place of FIN.
    linger = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
    _tcp(transport).setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    transport.abort()


def _tcp(transport: asyncio.BaseTransport) -> socket.socket:
    return transport.get_extra_info("socket")
