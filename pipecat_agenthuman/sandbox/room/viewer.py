"""One page in a browser: its socket, what it may ask, and how much of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import WSMsgType, web

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_secs

_LONGEST_TEXT_BYTES: Final = 4096
_LONGEST_AUDIO_BYTES: Final = 6400
"""200 ms of a microphone. Both limits are far above what the page sends."""

_TEXTS_PER_SEC: Final = 50.0
_TEXTS_AT_ONCE: Final = 100.0
_AUDIO_PER_SEC: Final = 1.5
_AUDIO_AT_ONCE_SECS: Final = 2.0
"""A microphone makes a second of audio per second; after a pause of the machine, more."""

_LONGEST_QUEUE_BYTES: Final = 8_000_000
_LONGEST_QUEUE: Final = 2000
"""A page that is behind by so much gets on faster by coming again."""

_HEARTBEAT_SECS: Final = 20.0
_CLOSING_SECS: Final = 1.0
"""How long a page has to answer a close frame."""

_POLICY_VIOLATION: Final = 1008
_TRY_AGAIN_LATER: Final = 1013


class Allowance:
    """So much per second, and so much at once. Pure."""

    def __init__(self, per_sec: float, at_once: float, now: float) -> None:
        """Allow everything at once in the beginning.

        Args:
            per_sec: What is granted per second.
            at_once: The most that can be saved up.
            now: The time in seconds, on any clock.
        """
        self._per_sec = per_sec
        self._at_once = at_once
        self._left = at_once
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        """Take something, and tell whether it is granted."""
        self._left = min(self._at_once, self._left + (now - self._at) * self._per_sec)
        self._at = now
        if amount > self._left:
            return False
        self._left -= amount
        return True


@dataclass(frozen=True)
class Request:
    """What a page asks: the ``type`` of its message, and the rest of it."""

    type: str
    fields: dict[str, Any]


class Viewer:
    """A page that is connected."""

    def __init__(self, websocket: web.WebSocketResponse, request: web.Request) -> None:
        """Take over a socket whose handshake is done.

        Args:
            websocket: The socket.
            request: Its handshake.
        """
        self._websocket = websocket
        self._request = request
        self._queue: deque[str | bytes] = deque()
        self._queued_bytes = 0
        self._more = asyncio.Event()
        self._ended: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
        now = _now()
        self._texts = Allowance(_TEXTS_PER_SEC, _TEXTS_AT_ONCE, now)
        self._audio = Allowance(_AUDIO_PER_SEC, _AUDIO_AT_ONCE_SECS, now)

    @staticmethod
    def socket() -> web.WebSocketResponse:
        """Make a socket with a viewer's limits."""
        return web.WebSocketResponse(
            timeout=_CLOSING_SECS,
            heartbeat=_HEARTBEAT_SECS,
            compress=False,
            max_msg_size=_LONGEST_AUDIO_BYTES + 1,
        )

    def send(self, message: str | bytes) -> None:
        """Send a message soon; a page that is too far behind is sent away."""
        self._queued_bytes += len(message)
        self._queue.append(message)
        if self._queued_bytes > _LONGEST_QUEUE_BYTES or len(self._queue) > _LONGEST_QUEUE:
            self.end(_TRY_AGAIN_LATER, "too slow")
        self._more.set()

    def tell(self, message: dict[str, Any]) -> None:
        """Send a message of JSON values soon."""
        self.send(json.dumps(message))

    def end(self, code: int, reason: str) -> None:
        """Close the socket."""
        if not self._ended.done():
            self._ended.set_result((code, reason))

    async def run(
        self, take_request: Callable[[Request], None], take_audio: Callable[[bytes], None]
    ) -> None:
        """Carry messages both ways until the page goes, or has to.

        Args:
            take_request: Is called with what the page asks.
            take_audio: Is called with what its microphone hears.
        """
        reading = asyncio.create_task(self._read(take_request, take_audio))
        writing = asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing, self._ended}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            reading.cancel()
            writing.cancel()
            self._queue.clear()
        results = await asyncio.gather(reading, writing, return_exceptions=True)
        if self._ended.done():
            await self._close(*self._ended.result())
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _read(
        self, take_request: Callable[[Request], None], take_audio: Callable[[bytes], None]
    ) -> None:
        async for message in self._websocket:
            if message.type is WSMsgType.BINARY:
                audio: bytes = message.data
                secs = to_secs(len(audio) // BYTES_PER_SAMPLE)
                if len(audio) % BYTES_PER_SAMPLE:
                    self.end(_POLICY_VIOLATION, "not whole samples")
                elif self._audio.take(secs, _now()):
                    take_audio(audio)
            elif message.type is WSMsgType.TEXT:
                if not self._texts.take(1, _now()):
                    self.end(_POLICY_VIOLATION, "too many messages")
                elif (request := read_request(message.data)) is None:
                    self.end(_POLICY_VIOLATION, "not a message of the page")
                else:
                    take_request(request)
            if self._ended.done():
                return

    async def _write(self) -> None:
        with contextlib.suppress(ConnectionError):  # the reader notices, too
            while True:
                self._more.clear()
                while self._queue:
                    message = self._queue.popleft()
                    self._queued_bytes -= len(message)
                    if isinstance(message, str):
                        await self._websocket.send_str(message)
                    else:
                        await self._websocket.send_bytes(message)
                await self._more.wait()

    async def _close(self, code: int, reason: str) -> None:
        try:
            async with asyncio.timeout(2 * _CLOSING_SECS):
                await self._websocket.close(code=code, message=reason.encode())
        except (TimeoutError, ConnectionError):
            pass
        finally:
            # A page that reads nothing does not read a close frame either.
            if self._request.transport is not None:
                self._request.transport.abort()


def read_request(text: str) -> Request | None:
    """Read a message of a page; None if it is none.

    Args:
        text: The message.
    """
    if len(text) > _LONGEST_TEXT_BYTES:
        return None
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    fields = cast("dict[str, Any]", body)
    kind = fields.get("type")
    return Request(kind, fields) if isinstance(kind, str) else None


def _now() -> float:
    return asyncio.get_running_loop().time()
