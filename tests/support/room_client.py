"""A page of the sandbox's room without a browser: what it would get, and what it may send."""

from __future__ import annotations

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.sandbox_client import ANSWER_SECS

HEAD = struct.Struct("<BBHIddII")


@dataclass(frozen=True, eq=False)
class Speech:
    """A binary message of the room, taken apart as the page does it.

    Without a session's ID it is the bot's own voice.
    """

    session_id: str
    continues: bool
    starts_at_secs: float
    mouth_at_secs: float
    number: int
    audio: np.ndarray
    mouth: np.ndarray


def read_speech(content: bytes) -> Speech:
    kind, flags, id_bytes, samples, starts_at, mouth_at, frames, number = HEAD.unpack_from(content)
    assert kind == (1 if id_bytes else 2)
    session_id = content[HEAD.size :][:id_bytes].decode("ascii")
    sound_from = HEAD.size + id_bytes + -id_bytes % 4
    mouth_from = sound_from + 2 * samples
    assert len(content) == mouth_from + 4 * frames
    return Speech(
        session_id,
        bool(flags & 1),
        starts_at,
        mouth_at,
        number,
        np.frombuffer(content, "<i2", samples, sound_from),
        np.frombuffer(content, np.uint8, 4 * frames, mouth_from).reshape(-1, 4),
    )


class Page:
    """What a page has got so far."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.messages: list[dict[str, Any]] = []
        self.speech: list[Speech] = []
        self.order: list[str] = []
        self._changed = asyncio.Event()
        self.reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for message in self.socket:
            if message.type is aiohttp.WSMsgType.BINARY:
                self.speech.append(read_speech(message.data))
                self.order.append("speech")
            else:
                self.messages.append(json.loads(message.data))
                self.order.append(self.messages[-1]["type"])
            self._changed.set()
        self._changed.set()

    async def send(self, **message: Any) -> None:
        await self.socket.send_str(json.dumps(message))

    async def until(self, condition: Callable[[], Any]) -> Any:
        """Wait until something is true of what came; return it."""
        async with asyncio.timeout(ANSWER_SECS):
            while not (result := condition()):
                self._changed.clear()
                await self._changed.wait()
        return result

    async def message(self, type: str, fits: Callable[[dict[str, Any]], Any] = bool) -> Any:
        """Wait for a message; the latest one if several are there."""
        return await self.until(lambda: next(reversed(self.all(type, fits)), None))

    def all(self, type: str, fits: Callable[[dict[str, Any]], Any] = bool) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["type"] == type and fits(one)]

    def heard_of(self, session_id: str) -> np.ndarray:
        """The sound that came of a session."""
        pieces = [one.audio for one in self.speech if one.session_id == session_id]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    async def closed(self) -> int | None:
        """Wait until the room closes the socket; return its code."""
        await asyncio.wait_for(self.reading, ANSWER_SECS)
        return self.socket.close_code


def room_ws_url(sandbox: Sandbox) -> str:
    return f"{sandbox.ws_url}/room/ws"


@asynccontextmanager
async def visit(sandbox: Sandbox, **arguments: Any) -> AsyncIterator[Page]:
    """Open the room's socket as a page does."""
    async with (
        aiohttp.ClientSession() as http,
        http.ws_connect(room_ws_url(sandbox), max_msg_size=0, **arguments) as socket,
    ):
        page = Page(socket)
        try:
            yield page
        finally:
            page.reading.cancel()
