"""``examples/livekit_bot.py`` in a LiveKit room on loopback, with the real client.

What that proves is said in ``support/livekit_server.py``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

import dotenv
from pipecat.runner.types import LiveKitRunnerArguments

from pipecat_agenthuman.testing import ScriptedLLM, ScriptedSTT
from tests.support.conversation import (
    bot_speech,
    keep_tokenizer_offline,
    make_tts,
)
from tests.support.livekit_avatars import AvatarsInTheRoom
from tests.support.livekit_bot import ADA, BOT, join_person, tones
from tests.support.livekit_room import opened_room
from tests.support.livekit_server import API_KEY, API_SECRET
from tests.support.waiting import LIMIT_SECS, quiet_log, until

EXAMPLE = Path(__file__).parents[2] / "examples" / "livekit_bot.py"
GREETING = "Hello, I am here."


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    keep_tokenizer_offline(monkeypatch)
    monkeypatch.setattr(dotenv, "load_dotenv", lambda *_, **__: False)
    monkeypatch.setenv("LIVEKIT_API_KEY", API_KEY)
    monkeypatch.setenv("LIVEKIT_API_SECRET", API_SECRET)
    spec = importlib.util.spec_from_file_location("livekit_bot", EXAMPLE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.KEYS:
        if name not in os.environ:
            monkeypatch.setenv(name, f"key-of-{name.lower()}")
    return module


@pytest.fixture
def complaints() -> Iterator[list[str]]:
    with quiet_log(level="WARNING") as lines:
        yield lines


@asynccontextmanager
async def under_way(bot: Awaitable[None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run a bot, and stop it if the test fails."""
    running = asyncio.ensure_future(bot)
    try:
        yield running
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


def so_or_failed(running: asyncio.Task[None], so: object) -> object:
    """Whether something is so; a bot that has failed meanwhile says why."""
    if running.done():
        running.result()
    return so


async def test_livekit_bot_greets_through_its_avatar_and_ends_with_the_last_person(
    monkeypatch, example, complaints
):
    async with opened_room() as room:
        service, stt, llm = AvatarsInTheRoom(room), ScriptedSTT(), ScriptedLLM(GREETING)
        arguments = LiveKitRunnerArguments(room_name="room", url=room.url, token=room.token(BOT))
        monkeypatch.setattr(example, "make_stt", lambda: stt)
        monkeypatch.setattr(example, "make_llm", lambda: llm)
        monkeypatch.setattr(example, "make_tts", make_tts)
        with service.sandbox as sandbox:
            for name, value in sandbox.environment.items():
                monkeypatch.setenv(name, value)
            # As with the hosted service: nobody tells how late the avatar is.
            monkeypatch.delenv("AGENTHUMAN_AVATAR_LATENCY_SECS")
            async with under_way(example.bot(arguments)) as running:
                await until(lambda: so_or_failed(running, room.seats))
                assert not sandbox.sessions

                ada = join_person(room, "ada", ADA)
                said = [("assistant", GREETING)]
                await until(lambda: so_or_failed(running, llm.conversation[-1:] == said))
                secs = bot_speech(GREETING).duration_secs - 0.05
                await until(lambda: so_or_failed(running, sandbox.heard().duration_secs > secs))
                bob = join_person(room, "bob")
                ada.leave()
                # The service listens to it, to hear how late it is; nobody else does.
                await until(lambda: room.seats[0].receives(service.avatars[0]) == {"audio"})
                assert not running.done()
                bob.leave()
                await asyncio.wait_for(asyncio.shield(running), LIMIT_SECS)
            await sandbox.wait_until_ended()

        (avatar,) = service.avatars
        assert avatar.identity.startswith("agenthuman-avatar-")
        assert len(llm.asked) == 1
        assert tones(bytes(stt.heard), 16000) == {ADA}
        assert not complaints
