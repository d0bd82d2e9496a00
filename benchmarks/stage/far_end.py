"""The service at the far end, in a process of its own: so that its work is not the bot's.

One connection to it is one *place*: the sandbox for this package, a server that takes notes for
each of the peers, behind a network. Both processes read one clock (Linux, macOS).
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Final

import websockets
from aiohttp import web

from benchmarks.stage.dialects import DIALECTS, Kind
from benchmarks.stage.network import Network, relayed
from pipecat_agenthuman.sandbox import Fault, Sandbox

RENDER_LATENCY_SECS: Final = 0.1
"""From a confirmation to its sound, in the sandbox and in the service's settings."""

_MOST_BYTES: Final = 1 << 26

Arrival = tuple[float, float]
"""When a message of speech was there, and how many seconds of it."""


@dataclass(frozen=True)
class Place:
    """A service to speak to.

    Attributes:
        port: Of the network in front of it.
        api_key: That it accepts.
    """

    port: int
    api_key: str
    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter

    @property
    def api_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def ws_url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def arrivals(self) -> list[Arrival]:
        """The speech that has arrived, in order."""
        return [tuple(one) for one in await self._ask("arrivals")]

    async def sound(self) -> list[tuple[float, int]]:
        """When each stretch of speech began in the sandbox's room, and its samples."""
        return [tuple(one) for one in await self._ask("sound")]

    async def drop(self) -> None:
        """Let the sandbox lose the socket that speaks next."""
        await self._ask("drop")

    async def _ask(self, what: str) -> Any:
        self._writer.write(what.encode() + b"\n")
        return json.loads(await self._reader.readline())


@asynccontextmanager
async def opened_place(
    control_port: int, dialect: str, network: Network, *, sessions: int = 1, forgets: bool = False
) -> AsyncIterator[Place]:
    """Open a place at the far end.

    Args:
        control_port: Where the far end listens.
        dialect: Which service it is.
        network: What lies between.
        sessions: At a time.
        forgets: Whether the service keeps nothing of what it hears.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", control_port, limit=_MOST_BYTES)
    wish = {
        "dialect": dialect,
        "network": asdict(network),
        "sessions": sessions,
        "forgets": forgets,
    }
    writer.write(json.dumps(wish).encode() + b"\n")
    try:
        yield Place(**json.loads(await reader.readline()), _reader=reader, _writer=writer)
    finally:
        writer.close()


# --- the process itself --------------------------------------------------------------------


class _Listener:
    """A server that takes notes."""

    def __init__(self, dialect: str) -> None:
        self._said = DIALECTS[dialect]
        self.arrivals: list[Arrival] = []

    async def listen(self, socket: websockets.ServerConnection) -> None:
        async for message in socket:
            said = self._said(message)
            if said.kind is Kind.SPEECH:
                self.arrivals.append((time.monotonic(), said.secs))


async def _sandbox_place(stack: AsyncExitStack, wish: dict[str, Any]) -> tuple[int, Any]:
    sandbox = await stack.enter_async_context(
        Sandbox(render_latency_secs=RENDER_LATENCY_SECS, max_sessions=wish["sessions"])
    )
    arrivals: list[Arrival] = []

    def note(entry: dict[str, Any]) -> None:
        if entry["what"] == "agent.speak" and entry["direction"] == "in":
            secs = entry["samples"] / entry["sample_rate"]
            arrivals.append((sandbox.started_at + entry["at_secs"], secs))

    sandbox.listen(note)

    def answer(what: str) -> Any:
        if what == "arrivals":
            return arrivals
        if what == "sound":
            return [(one.starts_at, one.samples) for one in sandbox.heard().segments]
        sandbox.inject(Fault(on="agent.speak", kind="abort"))
        return None

    return sandbox.port, answer


async def _forgetful_place(stack: AsyncExitStack, _: dict[str, Any]) -> tuple[int, Any]:
    """As much of the service as a long call needs, which keeps nothing of what it is told."""
    session = {"session_id": "sess_1", "session_token": "token", "status": "started"}

    async def create_or_end(_: web.Request) -> web.Response:
        return web.json_response({"success": True, "session": session}, status=201)

    async def converse(request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(compress=False, max_msg_size=0)
        await socket.prepare(request)
        async for message in socket:
            told = json.loads(message.data)
            match told["type"]:
                case "session.init":
                    answer = {"type": "connection.established", "session_id": told["session_id"]}
                case "agent.speak":
                    samples = len(base64.b64decode(told["audio"])) // 2
                    answer = {"type": "agent.speak.confirmed", "audio_samples": samples}
                case _:
                    answer = {"type": "agent.interrupt.confirmed"}
            await socket.send_str(json.dumps(answer))
        return socket

    app = web.Application()
    app.router.add_post("/v1/{path:.*}", create_or_end)
    app.router.add_get("/", converse)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    assert runner.server is not None
    loop = asyncio.get_running_loop()
    server = await loop.create_server(runner.server, "127.0.0.1", 0)
    stack.callback(server.close)
    return next(iter(server.sockets)).getsockname()[1], lambda _: []


async def _listening_place(stack: AsyncExitStack, wish: dict[str, Any]) -> tuple[int, Any]:
    listener = _Listener(wish["dialect"])
    server = await stack.enter_async_context(
        websockets.serve(listener.listen, "127.0.0.1", 0, compression=None, max_size=None)
    )
    return next(iter(server.sockets)).getsockname()[1], lambda _: listener.arrivals


async def _be_a_place(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    wish = json.loads(await reader.readline())
    make = _listening_place
    if wish["dialect"] == "agenthuman":
        make = _forgetful_place if wish["forgets"] else _sandbox_place
    async with AsyncExitStack() as stack:
        port, answer = await make(stack, wish)
        near = await stack.enter_async_context(relayed(port, Network(**wish["network"])))
        told: Any = {"port": near, "api_key": "ah_live_sandbox"}
        while True:
            writer.write(json.dumps(told).encode() + b"\n")
            asked = await reader.readline()
            if not asked:
                break
            told = answer(asked.decode().strip())
    writer.close()


@asynccontextmanager
async def far_end_here() -> AsyncIterator[int]:
    """A far end in this very process and event loop; yields its port."""
    server = await asyncio.start_server(_be_a_place, "127.0.0.1", 0, limit=_MOST_BYTES)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


@contextmanager
def far_end_process() -> Iterator[int]:
    """A far end in another process, while the context lasts; yields its port."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.stage.far_end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


async def _serve() -> None:
    async with far_end_here() as port:
        print(port, flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    from loguru import logger

    logger.remove()
    asyncio.run(_serve())
