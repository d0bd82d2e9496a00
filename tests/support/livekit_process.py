"""A LiveKit room with the sandbox's avatars in it, in a process of its own.

What the avatars say is published from here in real time, as Opus over RTP, whatever the process of
the bot is busy with: otherwise each of its pauses would be a hole in the sound, and the jitter
buffers of all who listen would grow with it. Both processes read one clock::

    async with livekit_process(render_latency_secs=0.2) as place:
        place.url, place.bot_token, place.environment   # for bot and service
        await place.change_render_latency(1.1)
        await place.sound()                              # what was said, and when
"""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.support.heard_speech import Said, times_of
from tests.support.waiting import LIMIT_SECS


@dataclass(frozen=True)
class Place:
    """The room, and the service whose avatars join it.

    Attributes:
        url: Of the LiveKit server.
        tokens: For ``bot`` and ``caller``.
        keys: With what the avatar's token is made.
        service: Where the sandbox is: ``api_key``, ``api_url``, ``ws_url``.
    """

    url: str
    tokens: dict[str, str]
    keys: dict[str, str]
    service: dict[str, str]
    _process: Process

    async def change_render_latency(self, secs: float) -> None:
        """Let the avatars speak later or sooner from now on."""
        await self._ask({"render_latency_secs": secs})

    async def said(self) -> Said:
        """All that was said until now."""
        told = await self._ask({"said": True})
        audio = np.frombuffer(base64.b64decode(told["audio"]), "<i2")
        return Said(audio, times_of(told["segments"]))

    async def _ask(self, what: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(what).encode() + b"\n")
        return await _told(self._process)


async def _told(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    async with asyncio.timeout(LIMIT_SECS):
        return json.loads(await process.stdout.readline())


@asynccontextmanager
async def livekit_process(*, render_latency_secs: float) -> AsyncIterator[Place]:
    """Open a room in another process, and close it in the end."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __name__, str(render_latency_secs)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 26,
    )
    try:
        yield Place(**await _told(process), _process=process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        async with asyncio.timeout(LIMIT_SECS):
            await process.wait()


async def _serve(render_latency_secs: float) -> None:
    """Be the other process, until nobody asks any more."""
    from tests.support.livekit_avatars import AvatarsInTheRoom
    from tests.support.livekit_bot import BOT
    from tests.support.livekit_room import opened_room
    from tests.support.livekit_server import API_KEY, API_SECRET

    async with opened_room() as room:
        service = AvatarsInTheRoom(room, publishes=True, render_latency_secs=render_latency_secs)
        with service.sandbox as sandbox:
            _tell(
                url=room.url,
                tokens={"bot": room.token(BOT), "caller": room.token("caller")},
                keys={"api_key": API_KEY, "api_secret": API_SECRET},
                service={
                    "api_key": sandbox.api_key,
                    "api_url": sandbox.api_url,
                    "ws_url": sandbox.ws_url,
                },
            )
            while line := await asyncio.to_thread(sys.stdin.readline):
                asked = json.loads(line)
                if "render_latency_secs" in asked:
                    await sandbox.change_render_latency(asked["render_latency_secs"])
                    _tell()
                else:
                    heard = sandbox.heard()
                    _tell(
                        audio=base64.b64encode(heard.pcm).decode(),
                        segments=[(one.starts_at, one.samples) for one in heard.segments],
                    )


def _tell(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    import gc

    from loguru import logger

    logger.remove()
    gc.freeze()
    asyncio.run(_serve(float(sys.argv[1])))
