"""The check sits in the room: it sees the avatar appear and hears its voice, or says why not."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from loguru import logger

from pipecat_agenthuman.check import listener as listening
from pipecat_agenthuman.cli import main
from tests.support.daily_avatars import DailyAvatars
from tests.support.daily_rest import daily_rest
from tests.support.network import Network

TRIES = 3
"""Of real media: to a busy machine its own network is a bad one."""

RENDER_SECS = 0.4

Check = Callable[..., Awaitable[dict[str, dict[str, Any]]]]


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Any:
    for name in list(os.environ):
        if name.startswith(("AGENTHUMAN_", "DAILY_", "LIVEKIT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    logger.remove()
    logger.add(sys.stderr)


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    """Runs the check in a thread, for the room is in this one's event loop; the steps by name."""

    async def run(*arguments: str) -> dict[str, dict[str, Any]]:
        await asyncio.to_thread(main, ["check", "--json", *arguments])
        out = capsys.readouterr().out
        assert "Traceback" not in out
        return {step["step"]: step for step in json.loads(out)["steps"]}

    return run


def statuses(steps: dict[str, dict[str, Any]]) -> dict[str, str]:
    return {name: steps[name]["status"] for name in ("listener", "appearance", "voice")}


def secs_in(detail: str) -> float:
    return float(re.search(r"(\d+\.\d+) s after", detail)[1])


@asynccontextmanager
async def daily_service(
    room: Any, monkeypatch: pytest.MonkeyPatch, **sandbox: Any
) -> AsyncIterator[DailyAvatars]:
    """A service whose avatars speak in a Daily room, and the environment of a bot."""
    service = DailyAvatars(room, Network(), **sandbox)
    with daily_rest() as rest:
        async with service.sandbox as running:
            variables = running.environment | rest | {"DAILY_ROOM_URL": room.url}
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            yield service


async def test_over_daily_the_avatar_is_seen_and_heard(room, monkeypatch, check):
    service = daily_service(room, monkeypatch, render_latency_secs=RENDER_SECS)
    async with service:
        steps = await check("--listen")
    assert {step["status"] for step in steps.values()} == {"passed"}, steps
    assert secs_in(steps["appearance"]["detail"]) < 5
    assert RENDER_SECS < secs_in(steps["voice"]["detail"]) < RENDER_SECS + 0.5
    assert not room.clients


async def test_an_avatar_that_does_not_appear_is_told(room, monkeypatch, check):
    monkeypatch.setattr(listening, "APPEAR_SECS", 0.3)
    async with daily_service(room, monkeypatch, join_delay_secs=None) as service:
        steps = await check("--listen")
        (session,) = service.sandbox.sessions
    assert session.status == "ended"
    assert statuses(steps) == {"listener": "passed", "appearance": "failed", "voice": "skipped"}
    assert "No avatar appeared" in steps["appearance"]["detail"]
    assert steps["speech"]["status"] == "passed"


async def test_an_avatar_that_stays_silent_is_told(room, monkeypatch, check):
    monkeypatch.setattr(listening, "HEAR_SECS", 0.6)
    async with daily_service(room, monkeypatch, render_latency_secs=20.0):
        steps = await check("--listen")
    assert statuses(steps) == {"listener": "passed", "appearance": "passed", "voice": "failed"}
    assert "nothing of it was heard" in steps["voice"]["detail"]
    assert steps["interrupt"]["status"] == "passed"


async def test_a_room_that_lets_nobody_in_is_told(room, monkeypatch, check):
    monkeypatch.setattr(listening, "JOIN_SECS", 0.5)
    room.refusal = "the room is full"
    async with daily_service(room, monkeypatch):
        steps = await check("--listen")
    assert statuses(steps) == {"listener": "failed", "appearance": "skipped", "voice": "skipped"}
    assert "could join" in steps["listener"]["detail"]
    assert steps["session_end"]["status"] == "passed"


async def test_without_a_key_for_a_token_nobody_listens_and_that_is_no_failure(
    room, monkeypatch, check
):
    async with daily_service(room, monkeypatch):
        monkeypatch.setenv("DAILY_AVATAR_TOKEN", "token")
        monkeypatch.delenv("DAILY_API_KEY")
        steps = await check("--listen")
    assert set(statuses(steps).values()) == {"skipped"}
    assert "DAILY_API_KEY" in steps["listener"]["detail"]
    assert not [name for name, step in steps.items() if step["status"] == "failed"]


async def test_nobody_listens_to_a_sandbox_unless_that_is_asked_for(room, monkeypatch, check):
    async with daily_service(room, monkeypatch):
        steps = await check()
    assert set(statuses(steps).values()) == {"skipped"}
    assert "sandbox" in steps["listener"]["detail"]


async def test_over_livekit_the_avatar_is_seen_and_heard(monkeypatch, check):
    pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
    pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")
    from tests.support.livekit_avatars import AvatarsInTheRoom
    from tests.support.livekit_room import opened_room
    from tests.support.livekit_server import API_KEY, API_SECRET

    async with opened_room() as room:
        service = AvatarsInTheRoom(room, publishes=True, render_latency_secs=RENDER_SECS)
        async with service.sandbox as sandbox:
            variables = sandbox.environment | {
                "LIVEKIT_URL": room.url,
                "LIVEKIT_ROOM_NAME": "room",
                "LIVEKIT_API_KEY": API_KEY,
                "LIVEKIT_API_SECRET": API_SECRET,
            }
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            for _ in range(TRIES):
                steps = await check("--listen")
                if all(step["status"] == "passed" for step in steps.values()):
                    break
    assert {step["status"] for step in steps.values()} == {"passed"}, steps
    assert RENDER_SECS < secs_in(steps["voice"]["detail"]) < RENDER_SECS + 1.0


def test_what_is_heard_is_dated_from_its_first_sample() -> None:
    import numpy as np

    async def hear() -> float:
        listener = listening.RoomListener(None)
        listener.hears(np.zeros(320, np.int16).tobytes(), 5.0)
        loud = np.zeros(320, np.int16)
        loud[160:] = 2000
        listener.hears(loud.tobytes(), 5.04)
        return await listener.await_voice(float("inf"))

    assert asyncio.run(hear()) == pytest.approx(5.02)
