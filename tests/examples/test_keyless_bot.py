"""``examples/keyless_bot.py``: a scenario of Pipecat's evals, and a person who talks to it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from pipecat.runner.types import WebSocketRunnerArguments

from pipecat_agenthuman.testing import Call, sandbox_avatar
from tests.support.conversation import keep_tokenizer_offline
from tests.support.waiting import quiet_log

EXAMPLES = Path(__file__).parents[2] / "examples"
SCENARIO = EXAMPLES / "keyless_conversation.yaml"


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    keep_tokenizer_offline(monkeypatch)
    spec = importlib.util.spec_from_file_location("keyless_bot", EXAMPLES / "keyless_bot.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.asynccontextmanager
async def served(example: ModuleType) -> AsyncIterator[str]:
    """The bot behind the route at which Pipecat's runner lets evals in."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.routing import WebSocketRoute

    async def come_in(websocket: Any) -> None:
        await websocket.accept()
        await example.bot(WebSocketRunnerArguments(websocket=websocket))

    app = Starlette(routes=[WebSocketRoute("/ws", come_in)])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        serving = asyncio.create_task(server.serve([listening]))
        try:
            yield f"ws://127.0.0.1:{port}/ws"
        finally:
            server.should_exit = True
            await serving


async def test_pipecats_evals_hold_the_conversation_of_the_scenario(example: ModuleType) -> None:
    pytest.importorskip("pipecat.evals.fastapi_transport", reason="Pipecat before 1.13")
    from pipecat.evals.scenario import EvalScenarioFile
    from pipecat.evals.session import EvalSession

    scenarios = list(EvalScenarioFile.load(SCENARIO))
    assert scenarios
    with quiet_log(level="INFO") as log:
        async with served(example) as url:
            for scenario in scenarios:
                result = await EvalSession.from_scenario(scenario, url).run()
                assert result.passed, result
    heard = [line.partition("heard: ")[2].strip() for line in log if "heard: " in line]
    assert heard[:2] == [
        "Hello! I speak through an avatar.",
        "All my frames are in order, thank you. And how are you?",
    ]
    assert heard[2].startswith("I will count")  # and was interrupted
    assert "twenty, You let me finish" not in heard[2]
    assert any("See and hear the avatar: http://127.0.0.1:" in line for line in log)


async def test_a_person_who_speaks_is_answered(example: ModuleType, agenthuman_call: Call) -> None:
    async with agenthuman_call as call:
        avatar = sandbox_avatar(call.sandbox, room=call.room)
        with quiet_log(level="INFO") as log:
            bot = call.start(example.run_bot(call.transport, avatar, call.runner_args))
            ada = await call.join("Ada")
            await call.until(lambda: any("heard: Hello" in line for line in log))
            await ada.say("How do I bake bread?")
            await call.until_avatar_speaks()
            await call.until_heard(call.heard_secs + 1.0)
            await ada.leave()
            await call.ended(bot)
    assert any("heard: I heard you speak" in line for line in log)
