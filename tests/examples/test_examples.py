"""The examples run as they are published, against stand-ins for everything outside.

Only what they are made of is replaced: speech recognition, language model and synthesis by the
scripted ones of ``conversation.py``, and OpenAI's Realtime API by a server on loopback.
"""

from __future__ import annotations

import ast
import importlib.util
import os
import re
import runpy
import tomllib
import warnings
import wave
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from types import ModuleType
from typing import Any

import dotenv
import numpy as np
import pytest
from pipecat.runner.types import RunnerArguments
from pipecat.services.openai.realtime import llm as openai_realtime

from pipecat_agenthuman import MissingVariablesError
from pipecat_agenthuman.testing import Call, ScriptedLLM
from tests.support.conversation import (
    LONG_ANSWER,
    Conversation,
    bot_speech,
    keep_tokenizer_offline,
    loud,
    make_tts,
)
from tests.support.openai_realtime import RealtimeApi
from tests.support.sounds import RATE

EXAMPLES = Path(__file__).parents[2] / "examples"
TRANSPORTS = {
    "daily_bot": "daily",
    "realtime_bot": "daily",
    "events_to_client": "daily",
    "recording_bot": "daily",
    "livekit_bot": "livekit",
}
NAMES = tuple(TRANSPORTS)
KEY_ENDINGS = ("_API_KEY", "_API_SECRET", "_AVATAR", "_URL")

GREETING = "Hello, I am here."
ANSWER = "With flour and water."


@pytest.fixture
def deprecations() -> Iterator[list[str]]:
    """What Pipecat calls deprecated while the test runs."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found: list[str] = []
        yield found
    found += [str(w.message) for w in caught if "is deprecated since" in str(w.message)]
    assert not found


@pytest.fixture
def example(request: pytest.FixtureRequest, monkeypatch, deprecations) -> ModuleType:
    """An example, imported anew, without a developer's own .env."""
    if TRANSPORTS[request.param] == "livekit":
        pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    keep_tokenizer_offline(monkeypatch)
    monkeypatch.setattr(dotenv, "load_dotenv", lambda *_, **__: False)
    spec = importlib.util.spec_from_file_location(request.param, EXAMPLES / f"{request.param}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name in module.KEYS:
        if name not in os.environ:
            monkeypatch.setenv(name, f"key-of-{name.removesuffix('_API_KEY').lower()}")
    return module


def the(name: str) -> Any:
    return pytest.mark.parametrize("example", [name], indirect=True)


each = pytest.mark.parametrize("example", NAMES, indirect=True)


def script(
    monkeypatch: pytest.MonkeyPatch, example: ModuleType, call: Conversation, *replies: str
) -> Any:
    """Put scripted services into an example."""
    llm = ScriptedLLM(*replies)
    monkeypatch.setattr(example, "make_stt", lambda: call.stt)
    monkeypatch.setattr(example, "make_llm", lambda: llm)
    monkeypatch.setattr(example, "make_tts", make_tts)
    return llm


# --- running --------------------------------------------------------------------------------


@the("daily_bot")
async def test_daily_bot_holds_a_conversation_until_the_last_person_leaves(monkeypatch, example):
    async with Conversation(monkeypatch, render_latency_secs=0.5) as call:
        llm = script(monkeypatch, example, call, GREETING, ANSWER)
        running = call.start(example.bot)
        await call.until(lambda: call.room.clients)
        assert not call.sandbox.sessions
        ada = call.person("Ada")
        await call.until(lambda: llm.conversation[-1:] == [("assistant", GREETING)])
        bob = call.person("Bob")
        ada.leave()

        await bob.say("How do I bake bread?", call.stt)
        await call.until(lambda: llm.conversation[-1:] == [("assistant", ANSWER)])
        assert llm.conversation[-2] == ("user", "How do I bake bread?")
        assert len(llm.asked) == 2
        bob.leave()
        await call.until_ended(running)

        (session,) = call.sandbox.sessions
        assert session.status == "ended"
        assert call.bot_heard_only(bob)
        assert not call.complaints


@pytest.mark.parametrize("example", ["daily_bot", "events_to_client"], indirect=True)
async def test_a_bot_that_nobody_visits_ends_by_itself_and_spends_no_minutes(monkeypatch, example):
    """As when a page is left before the runner has answered it."""

    async def bot(runner_args: RunnerArguments) -> None:
        runner_args.pipeline_idle_timeout_secs = 1.0  # the runner says 300
        await example.bot(runner_args)

    async with Conversation(monkeypatch) as call:
        script(monkeypatch, example, call)
        running = call.start(bot)
        await call.until(lambda: call.room.clients)
        await call.until_ended(running)
        assert not call.sandbox.sessions


@the("realtime_bot")
async def test_realtime_bot_holds_a_conversation_and_can_be_interrupted(monkeypatch, example):
    async with (
        RealtimeApi(LONG_ANSWER, ANSWER) as api,
        Conversation(monkeypatch, render_latency_secs=0.5) as call,
    ):
        lead_to(api, monkeypatch)
        running = call.start(example.bot)
        await call.until(lambda: call.avatars)
        ada = call.person("Ada")
        await call.until(lambda: call.heard_secs > 0.5)
        assert api.told == [example.GREETING]
        assert not len(loud(api.heard))  # of the avatar's voice

        await api.person_starts()
        await ada.say("Wait a moment please.")
        await call.sandbox.wait_until_quiet()
        until_interrupted_secs = call.heard_secs
        await api.person_says("Wait a moment please.")
        answer_secs = bot_speech(ANSWER).duration_secs - 0.02
        await call.until(lambda: call.heard_secs > until_interrupted_secs + answer_secs)

        half_secs = bot_speech(LONG_ANSWER).duration_secs / 2
        assert until_interrupted_secs < half_secs
        assert api.truncated_at_ms[-1] < half_secs * 1000
        assert len(loud(api.heard)) > RATE // 2
        assert api.keys == {"Bearer key-of-openai"}
        ada.leave()
        await call.until_ended(running)
        assert call.sandbox.sessions[0].status == "ended"
        assert not call.complaints


def lead_to(api: RealtimeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let Pipecat's service connect to the stand-in."""

    class Service(openai_realtime.OpenAIRealtimeLLMService):
        def __init__(self, **arguments: Any) -> None:
            super().__init__(base_url=api.url, **arguments)

    monkeypatch.setattr(openai_realtime, "OpenAIRealtimeLLMService", Service)


@pytest.mark.parametrize("example", ["daily_bot", "events_to_client"], indirect=True)
async def test_the_client_is_told_what_the_avatar_does(monkeypatch, example):
    async with Conversation(monkeypatch, render_latency_secs=0.5) as call:
        llm = script(monkeypatch, example, call, LONG_ANSWER, ANSWER)
        running = call.start(example.bot)
        ada = call.person("Ada")
        await call.until(lambda: "speaking" in states(call))
        # The page has only now loaded.
        about = {"version": "1.0.0", "about": {"library": "test"}}
        ada.participant.send_app_message(
            {"label": "rtvi-ai", "type": "client-ready", "id": "1", "data": about}
        )
        await call.until(lambda: states(call).count("speaking") == 2)
        await ada.say("Wait a moment please.", call.stt)
        await call.until(lambda: llm.conversation[-1:] == [("assistant", ANSWER)])
        await call.until(lambda: states(call)[-1] == "ready")

        # Between two utterances it is ready, if that lasts long enough to be told.
        changes = [key for key, _ in groupby(states(call))]
        assert changes[:3] == ["joining", "ready", "speaking"]
        assert set(changes[3:]) <= {"speaking", "ready"}
        ada.leave()
        await call.until_ended(running)
        assert not call.complaints


def states(call: Conversation) -> list[str]:
    """What clients were told of the avatar's state."""
    messages = [message for _, message, _ in call.room.app_messages]
    told = [m["data"] for m in messages if m.get("type") == "server-message"]
    return [data["state"] for data in told if data["type"] == "avatar-state"]


@each
async def test_an_example_refuses_a_transport_that_has_no_room_for_the_avatar(example):
    with pytest.raises(ValueError, match=f"-t {TRANSPORTS[example.__name__]}"):
        await example.bot(RunnerArguments())


@each
async def test_an_example_names_the_keys_that_it_lacks(example, monkeypatch):
    for name in example.KEYS[:2]:
        monkeypatch.delenv(name)
    with pytest.raises(MissingVariablesError, match=", ".join(example.KEYS[:2])):
        await example.bot(RunnerArguments())


@pytest.mark.parametrize("name", NAMES)
def test_without_its_keys_an_example_ends_with_one_line_that_names_them(name, monkeypatch):
    if TRANSPORTS[name] == "livekit":
        pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    monkeypatch.setattr(dotenv, "load_dotenv", lambda *_, **__: False)
    for variable in [each for each in os.environ if each.endswith(KEY_ENDINGS)]:
        monkeypatch.delenv(variable)
    source = (EXAMPLES / f"{name}.py").read_text()
    keys = re.findall(r'^    "(\w+)",$', source.partition("KEYS = (")[2].partition(")")[0], re.M)
    with pytest.raises(SystemExit) as end:  # which the interpreter prints, with status 1
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
    assert end.value.code == (f"Not set: {', '.join(keys)}. Put them into the environment or .env.")


@pytest.mark.parametrize("example", ["daily_bot", "events_to_client"], indirect=True)
async def test_an_example_is_tested_as_a_user_tests_theirs(monkeypatch, example, agenthuman_call):
    """In a call on this machine, with nothing of Daily."""
    llm = ScriptedLLM(GREETING, ANSWER)
    monkeypatch.setattr(example, "make_stt", lambda: agenthuman_call.stt)
    monkeypatch.setattr(example, "make_llm", lambda: llm)
    monkeypatch.setattr(example, "make_tts", make_tts)
    async with agenthuman_call as call:
        bot = call.start(example.run_bot(call.transport, call.room, call.runner_args))
        ada = await call.join("Ada")
        await call.until(lambda: llm.conversation[-1:] == [("assistant", GREETING)])
        await ada.say("How do I bake bread?")
        await call.until(lambda: llm.conversation[-1:] == [("assistant", ANSWER)])
        await ada.leave()
        await call.ended(bot)


@the("recording_bot")
async def test_what_was_heard_is_recorded(monkeypatch, example, agenthuman_sandbox, tmp_path):
    """The person on the left, the avatar on the right, and no more of it than was heard."""
    path = tmp_path / "call.wav"
    monkeypatch.setenv("RECORDING_FILE", str(path))
    for name, value in agenthuman_sandbox.environment.items():
        monkeypatch.setenv(name, value)
    call = Call(agenthuman_sandbox, params=example.transport_params["daily"]())
    llm = ScriptedLLM(LONG_ANSWER, ANSWER)
    monkeypatch.setattr(example, "make_stt", lambda: call.stt)
    monkeypatch.setattr(example, "make_llm", lambda: llm)
    monkeypatch.setattr(example, "make_tts", make_tts)
    async with call:
        bot = call.start(example.run_bot(call.transport, call.room, call.runner_args))
        ada = await call.join("Ada")
        await ada.interrupt("Wait a moment please.")
        await call.until(lambda: llm.conversation[-1:] == [("assistant", ANSWER)])
        await ada.leave()
        await call.ended(bot)
    with wave.open(str(path)) as file:
        assert file.getnchannels() == 2
        rate = file.getframerate()
        both = np.frombuffer(file.readframes(file.getnframes()), np.int16).reshape(-1, 2)
    person, avatar = (np.abs(both[:, side].astype(int)) > 300 for side in (0, 1))
    assert person.sum() > rate / 10
    long_secs = bot_speech(LONG_ANSWER).duration_secs
    assert 0.3 < avatar.sum() / rate < long_secs / 2
    assert not call.transport.played.strip(b"\0")


# --- as they are published --------------------------------------------------------------------


@each
async def test_an_example_makes_real_services_from_the_environment(example):
    assert example.make_llm().can_generate_metrics()
    if hasattr(example, "make_tts"):
        assert example.make_tts().can_generate_metrics()


@pytest.mark.parametrize(
    "example", ["daily_bot", "livekit_bot", "events_to_client", "recording_bot"], indirect=True
)
async def test_speech_recognition_is_made_from_the_environment(example):
    pytest.importorskip("deepgram")
    assert example.make_stt().can_generate_metrics()


@pytest.mark.parametrize("name", NAMES)
def test_an_example_says_what_it_shows_what_it_needs_and_how_it_is_run(name):
    source = (EXAMPLES / f"{name}.py").read_text()
    text = ast.get_docstring(ast.parse(source)) or ""
    for part in (
        "What it shows:",
        "What it needs:",
        "How to run it:",
        f"python {name}.py -t {TRANSPORTS[name]}",
    ):
        assert part in text
    for variable in {name for name in source.split('"') if name.endswith(("_API_KEY", "_ID"))}:
        assert variable in text
    assert 'if __name__ == "__main__":' in source


def test_the_deployment_runs_daily_bot():
    settings = tomllib.loads((EXAMPLES / "deploy" / "pcc-deploy.toml").read_text())
    dockerfile = (EXAMPLES / "deploy" / "Dockerfile").read_text()
    readme = (EXAMPLES / "deploy" / "README.md").read_text()
    assert "COPY examples/daily_bot.py bot.py" in dockerfile
    deploy = EXAMPLES / "deploy"
    context = deploy / settings["build"]["context_dir"]
    assert (context / settings["build"]["dockerfile"]).samefile(deploy / "Dockerfile")
    assert settings["scaling"]["max_agents"] >= settings["scaling"]["min_agents"] >= 0
    for name in (settings["agent_name"], settings["secret_set"]):
        assert name in readme
