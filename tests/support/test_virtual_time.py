"""Time jumps, and what goes through a connection in memory arrives as over TCP."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from tests.support import virtual_time


def run(main: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return virtual_time.run(main)


def test_an_hour_takes_no_time():
    async def sleep() -> float:
        begun_at = time.monotonic()
        await asyncio.sleep(3600)
        return time.monotonic() - begun_at

    really_at = time.perf_counter()
    assert run(sleep) == pytest.approx(3600, abs=0.001)
    assert time.perf_counter() - really_at < 5


def test_all_clocks_go_alike_and_are_put_back():
    clocks = (time.monotonic, time.perf_counter, time.time)

    async def measure() -> list[float]:
        begun_at = [time.monotonic(), time.perf_counter(), time.time(), time.monotonic_ns() / 1e9]
        begun_at.append(asyncio.get_running_loop().time())
        await asyncio.sleep(1.5)
        now = [time.monotonic(), time.perf_counter(), time.time(), time.monotonic_ns() / 1e9]
        now.append(asyncio.get_running_loop().time())
        return [after - before for before, after in zip(begun_at, now, strict=True)]

    assert run(measure) == pytest.approx([1.5] * 5, abs=0.001)
    assert (time.monotonic, time.perf_counter, time.time) == clocks


def test_a_clock_that_is_polled_goes_on():
    async def poll() -> None:
        until = time.monotonic() + 0.01
        while time.monotonic() < until:  # noqa: ASYNC110 - this is what is tested
            await asyncio.sleep(0)

    run(poll)


def test_waiting_for_nothing_is_found():
    async def wait() -> None:
        await asyncio.Event().wait()

    with pytest.raises(virtual_time.NothingLeftToHappenError):
        run(wait)


def test_what_is_sent_to_a_thread_is_done():
    async def ask() -> int:
        return await asyncio.to_thread(sum, [1, 2, 3])

    assert run(ask) == 6


def test_requests_are_answered():
    async def talk() -> str:
        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(5)
            return web.Response(text=(await request.text()).upper())

        app = web.Application()
        app.router.add_post("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"http://{host}:{port}/", data="x" * 300_000) as response,
        ):
            text = await response.text()
        await runner.cleanup()
        return text

    assert run(talk) == "X" * 300_000


def test_nobody_listens():
    async def call() -> None:
        async with aiohttp.ClientSession() as session:
            await session.get("http://127.0.0.1:9/")

    with pytest.raises(aiohttp.ClientConnectorError):
        run(call)


def test_messages_go_both_ways_and_closing_is_told():
    async def talk() -> tuple[str, int | None]:
        async def echo(connection: ServerConnection) -> None:
            await connection.send("you said " + str(await connection.recv()))
            await connection.close(4321)

        async with serve(echo, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
                await client.send("hello")
                heard = str(await client.recv())
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                return heard, closed.value.rcvd and closed.value.rcvd.code

    assert run(talk) == ("you said hello", 4321)


def test_a_reset_is_an_error_at_the_other_end():
    async def reset() -> BaseException | None:
        async def abort(connection: ServerConnection) -> None:
            await connection.recv()
            connection.transport.abort()

        async with serve(abort, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with connect(f"ws://127.0.0.1:{port}", proxy=None) as client:
                await client.send("hello")
                with pytest.raises(ConnectionClosed) as closed:
                    await client.recv()
                return closed.value.__cause__

    assert isinstance(run(reset), ConnectionResetError)


def test_whoever_writes_waits_for_a_reader_that_does_not_read():
    async def stall() -> bool:
        async def stuck(connection: ServerConnection) -> None:
            await asyncio.sleep(60)

        async with serve(stuck, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            url = f"ws://127.0.0.1:{port}"
            async with connect(url, proxy=None, compression=None, ping_interval=None) as client:
                try:
                    async with asyncio.timeout(10):
                        for _ in range(60):
                            await client.send("x" * 100_000)
                except TimeoutError:
                    client.transport.abort()
                    return True
                return False

    assert run(stall)
