"""What pages of the sandbox's room cost: time of the sandbox's process, and of who speaks to it.

The sandbox runs in a process of its own, each page (a socket that reads everything, as a browser's
does) in another, and speech comes over a real socket as a bot sends it: a second ahead, a message
at a time. Measured is the CPU time of the sandbox's process while the avatar speaks, and how long
confirmations of speech and of interrupts take, without a page and with some::

    python -m benchmarks.room_viewers
    python -m benchmarks.room_viewers --secs 10 --viewers 0 1 8
"""

import argparse
import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import aiohttp
import numpy as np
import websockets
from websockets.asyncio.client import ClientConnection

from tests.support.sandbox_client import INTERRUPT, WISH, ask, init, speak

SECS = 20.0
VIEWERS = (0, 1, 0, 1, 4)
PIECES_SECS = (0.2, 0.04)
"""Speech with a lead travels in messages like the first, speech in real time like the second."""

LEAD_SECS = 1.0
UTTERANCE_SECS = 4.0
"""Each is interrupted at its end, where the next one begins."""

TARGET_PERCENT = 1.0
"""Of a core, for each page."""

SANDBOX = """
import asyncio, sys, time
from pipecat_agenthuman.sandbox import Sandbox

async def main():
    loop, asked = asyncio.get_running_loop(), asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(asked), sys.stdin)
    async with Sandbox() as sandbox:
        print(sandbox.api_url, sandbox.ws_url, sandbox.api_key, flush=True)
        while await asked.readline():
            print(time.process_time(), flush=True)

asyncio.run(main())
"""

PAGE = """
import asyncio, sys, aiohttp

async def main():
    async with aiohttp.ClientSession() as http, http.ws_connect(sys.argv[1]) as page:
        async def ping():
            while True:
                await page.send_str('{"type": "ping", "t": 0}')
                await asyncio.sleep(2)
        pinging = asyncio.create_task(ping())
        async for _ in page:
            pass

asyncio.run(main())
"""


@dataclass
class Run:
    """What one run measured."""

    cpu_percent: float = 0.0
    speak_ms: list[float] = field(default_factory=list)
    interrupt_ms: list[float] = field(default_factory=list)


@contextmanager
def program(code: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run(viewers: int, piece_secs: float, secs: float) -> Run:
    """Speak for some seconds, with so many pages that watch."""
    measured = Run()
    with program(SANDBOX) as sandbox:
        api_url, ws_url, key = sandbox.stdout.readline().split()

        def process_secs() -> float:
            sandbox.stdin.write("\n")
            sandbox.stdin.flush()
            return float(sandbox.stdout.readline())

        pages = [program(PAGE, f"{ws_url}/room/ws") for _ in range(viewers)]
        for page in pages:
            page.__enter__()
        time.sleep(2)  # until they are there
        started, before = time.monotonic(), process_secs()
        asyncio.run(converse(api_url, ws_url, key, piece_secs, secs, measured))
        elapsed, used = time.monotonic() - started, process_secs() - before
        measured.cpu_percent = 100 * used / elapsed
        for page in pages:
            page.__exit__(None, None, None)
    return measured


async def converse(
    api_url: str, ws_url: str, key: str, piece_secs: float, secs: float, measured: Run
) -> None:
    async with (
        aiohttp.ClientSession(headers={"x-api-key": key}) as http,
        http.post(f"{api_url}/sessions", json=WISH) as response,
        websockets.connect(ws_url, compression=None) as socket,
    ):
        await ask(socket, init((await response.json())["session"]))
        piece = np.random.default_rng(1).normal(0, 3000, round(16_000 * piece_secs))
        message = speak(piece.astype(np.int16))
        started = time.monotonic()
        for number in range(round(secs / piece_secs)):
            said_secs = number * piece_secs
            await asyncio.sleep(started + said_secs - LEAD_SECS - time.monotonic())
            if number and said_secs % UTTERANCE_SECS < piece_secs:
                measured.interrupt_ms.append(await timed(socket, INTERRUPT))
            measured.speak_ms.append(await timed(socket, message))


async def timed(socket: ClientConnection, message: dict[str, object]) -> float:
    asked = time.perf_counter()
    await ask(socket, message)
    return 1000 * (time.perf_counter() - asked)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--secs", type=float, default=SECS)
    parser.add_argument("--viewers", type=int, nargs="+", default=VIEWERS)
    args = parser.parse_args()
    print("piece   pages   CPU of a core   speech confirmed after   interrupt confirmed after")
    for piece_secs in PIECES_SECS:
        for viewers in args.viewers:
            got = run(viewers, piece_secs, args.secs)
            print(
                f"{piece_secs:.2f} s  {viewers:5}  {got.cpu_percent:12.2f} %"
                f"  {statistics.median(got.speak_ms):17.2f} ms"
                f"  {statistics.median(got.interrupt_ms):22.2f} ms",
                flush=True,
            )
    print(f"Target: less than {TARGET_PERCENT:g} % more for each page, and the same times.")


if __name__ == "__main__":
    main()
