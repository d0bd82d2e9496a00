"""A client of the sandbox for its own tests: plain aiohttp and websockets, no client code."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed

from pipecat_agenthuman.sandbox import Sandbox

ANSWER_SECS = 30
"""Limit for an answer of the sandbox: far more than a busy machine needs."""

ROOM = {"platform": "daily", "url": "https://example.daily.co/room", "token": "room-token-4711"}
WISH = {"avatar": "avat_test", "room": ROOM}


def tone(samples: int, first: int = 1) -> np.ndarray:
    """Samples that all differ from their neighbours, so that a shift shows."""
    return (np.arange(first, first + samples) % 30_000).astype(np.int16)


def speak(audio: np.ndarray, sample_rate: int | None = 16_000) -> dict[str, Any]:
    body = {"type": "agent.speak", "audio": base64.b64encode(audio.astype("<i2")).decode()}
    return body if sample_rate is None else {**body, "sample_rate": sample_rate}


INTERRUPT = {"type": "agent.interrupt"}


async def request(
    sandbox: Sandbox, method: str, path: str, *, key: str | None = "", **arguments: Any
) -> tuple[int, Any]:
    """Send a REST request with the sandbox's key; return status and decoded body."""
    chosen = sandbox.api_key if key == "" else key
    headers = {} if chosen is None else {"x-api-key": chosen}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.request(method, sandbox.api_url + path, **arguments) as response,
    ):
        return response.status, await response.json()


async def create(sandbox: Sandbox, **changes: Any) -> dict[str, Any]:
    status, body = await request(sandbox, "POST", "/sessions", json={**WISH, **changes})
    assert status == 201, body
    return body["session"]


def init(session: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "session.init",
        "session_id": session["session_id"],
        "session_token": session["session_token"],
    }


def connect(sandbox: Sandbox, **arguments: Any) -> Any:
    return websockets.connect(
        sandbox.ws_url, **{"compression": None, "ping_interval": None, **arguments}
    )


async def receive(socket: ClientConnection) -> str | bytes:
    """Receive a message that must come; a test that waits in vain fails and does not hang."""
    return await asyncio.wait_for(socket.recv(), ANSWER_SECS)


async def ask(socket: ClientConnection, message: dict[str, Any] | str | bytes) -> dict[str, Any]:
    """Send a message, return the next one of the server."""
    await socket.send(json.dumps(message) if isinstance(message, dict) else message)
    return json.loads(await receive(socket))


async def closed(socket: ClientConnection) -> tuple[int, str]:
    """Read until the server closes; return its code and reason, 1006 if it said nothing."""
    try:
        while True:
            await receive(socket)
    except ConnectionClosed as end:
        return (1006, "") if end.rcvd is None else (end.rcvd.code, end.rcvd.reason)


@asynccontextmanager
async def established(sandbox: Sandbox, **arguments: Any) -> AsyncIterator[ClientConnection]:
    """Create a session and open its socket."""
    session = await create(sandbox)
    async with connect(sandbox, **arguments) as socket:
        assert await ask(socket, init(session)) == {
            "type": "connection.established",
            "session_id": session["session_id"],
        }
        yield socket
