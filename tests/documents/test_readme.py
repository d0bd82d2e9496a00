"""Every command and every block of code in the README, run as a reader runs it.

What needs a key is run without one, up to the line that names it, and then against the sandbox.
What installs from the network is compared with what the project says of itself.
"""

from __future__ import annotations

import asyncio
import os
import re
import runpy
import shlex
import signal
import subprocess
import sys
import tomllib
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import dotenv
import pytest
from packaging.requirements import Requirement
from pipecat.processors.filters.identity_filter import IdentityFilter
from pipecat.runner.types import DailyRunnerArguments

from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.testing import Call
from tests.support.conversation import keep_tokenizer_offline
from tests.support.daily_rest import daily_rest, holder_of
from tests.support.daily_room import DailyStandIn
from tests.support.markdown import ROOT, blocks, read
from tests.testing import bots

README = read("README.md")
PROJECT = tomllib.loads(read("pyproject.toml"))["project"]
BLOCKS = blocks(README)
CLI = [sys.executable, "-m", "pipecat_agenthuman.cli"]
KEYS = ("AGENTHUMAN_API_KEY", "AGENTHUMAN_AVATAR", "DAILY_API_KEY", "DAILY_ROOM_URL")
OURS = ("AGENTHUMAN_", "DAILY_", "LIVEKIT_", "DEEPGRAM_", "OPENAI_", "CARTESIA_")
BARE = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
LIMIT_SECS = 90


def run(
    command: list[str], folder: Path, variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command in an empty folder, with no variables but those that are given."""
    return subprocess.run(
        command,
        cwd=folder,
        env=BARE | (variables or {}) | {"PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        encoding="utf-8",
        timeout=LIMIT_SECS,
        check=False,
    )


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key and no file of a developer's own."""
    keep_tokenizer_offline(monkeypatch)
    monkeypatch.setattr(dotenv, "load_dotenv", lambda *_, **__: False)
    for name in os.environ:
        if name.startswith(OURS):
            monkeypatch.delenv(name)


# --- commands -----------------------------------------------------------------------------


def demo(words: list[str], _: Path) -> None:
    """Its own tests run it as a user does, and look at everything that it promises."""
    assert words == ["demo"]
    assert '"-m", "pipecat_agenthuman.cli", "demo"' in read("tests/demo/test_demo.py")


def without_a_key(words: list[str], folder: Path) -> None:
    done = run([*CLI, *words], folder)
    assert done.returncode == 2, done.stdout + done.stderr
    assert "AGENTHUMAN_API_KEY" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def avatars(words: list[str], folder: Path) -> None:
    without_a_key(words, folder)
    with Sandbox() as sandbox:
        done = run([*CLI, *words], folder, sandbox.environment)
    assert done.returncode == 0, done.stderr
    assert "avat_" in done.stdout


def sandbox(words: list[str], folder: Path) -> None:
    """It goes on until it is interrupted, and says where it is."""
    process = subprocess.Popen(
        [*CLI, *words, "--port", "0"],
        cwd=folder,
        env=BARE | {"PYTHONIOENCODING": "utf-8", "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        assert next(line for line in lines if line.startswith("AGENTHUMAN_API_KEY="))
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=LIMIT_SECS)


def ci_runs(command: str, _: Path) -> None:
    assert f"\n{command}\n" in read(".ci/run")


def example(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its keys it ends with one line that names them."""
    monkeypatch.setattr(sys, "argv", words[1:])
    with pytest.raises(SystemExit, match=r"^Not set: AGENTHUMAN_API_KEY, "):
        runpy.run_path(str(ROOT / words[1]), run_name="__main__")


def another_test_runs(words: list[str], _: Path) -> None:
    name = Path(words[1]).stem
    assert f'"{name}.py"' in read(f"tests/examples/test_{name}.py")


def install(words: list[str], _: Path) -> None:
    """Whether there is such a thing, under this address, with these extras."""
    (wanted,) = words[2:]
    extras = set(PROJECT["optional-dependencies"])
    if wanted.startswith("."):
        assert set(re.findall(r"\w+", wanted)) <= extras
        return
    requirement = Requirement(wanted)
    if requirement.name == PROJECT["name"]:
        assert requirement.url == f"git+{PROJECT['urls']['Repository']}"
        assert requirement.extras <= extras
    else:
        has = set(metadata(requirement.name).get_all("Provides-Extra") or ())
        assert requirement.extras <= has


def commands() -> list[Any]:
    shell = [block for block in BLOCKS if block.language == "sh"]
    found = [command for block in shell for command in block.commands]
    return [pytest.param(c, id=c[:60]) for c in found if not re.match(r"[A-Z_]+=", c)]


@pytest.mark.parametrize("command", commands())
def test_a_command_does_what_it_is_shown_for(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    *before, command_itself = command.split(" && ")
    if before:
        assert before == ["pip install uv"]
    words = shlex.split(command_itself)
    match words:
        case ["uv", "run", "pytest"]:
            ci_runs(command, tmp_path)
        case ["uv", "run", "--extra", extra, "pipecat-agenthuman", *rest]:
            assert extra in PROJECT["optional-dependencies"]
            demo(rest, tmp_path)
        case ["pip", "install", _]:
            install(words, tmp_path)
        case ["pipecat-agenthuman", "avatars"]:
            avatars(words[1:], tmp_path)
        case ["pipecat-agenthuman", "check"]:
            without_a_key(words[1:], tmp_path)
        case ["pipecat-agenthuman", "sandbox", *_]:
            sandbox(words[1:], tmp_path)
        case ["python", "examples/minimal.py"]:
            another_test_runs(words, tmp_path)
        case ["python", _, *_]:
            example(words, monkeypatch)
        case _:
            pytest.fail(f"nothing runs this: {command}")


# --- code ---------------------------------------------------------------------------------


def python() -> dict[str, str]:
    """The README's Python by what it is; another block needs a test of its own."""
    kinds = {"hello": "exit_without(", "pipeline": "create_transport(", "test": "agenthuman_call"}
    found: dict[str, str] = {}
    for block in BLOCKS:
        if block.language == "python":
            (kind,) = [kind for kind, words in kinds.items() if words in block.text]
            found[kind] = block.text
    assert list(found) == list(kinds)
    return found


def placeholders() -> dict[str, str]:
    (block,) = [b for b in BLOCKS if b.language == "sh" and b.text.startswith("AGENTHUMAN_")]
    return dict(line.split("=", 1) for line in block.text.splitlines())


@pytest.mark.parametrize("variables", [{}, placeholders()], ids=["nothing", "placeholders"])
def test_hello_names_the_variables_that_are_not_filled_in(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch, offline: None
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=rf"^Not set: {', '.join(KEYS)}\."):
        exec(compile(python()["hello"], "hello.py", "exec"), {"__name__": "__main__"})


def test_hello_is_said_in_the_daily_room(
    monkeypatch: pytest.MonkeyPatch, daily: DailyStandIn, offline: None
) -> None:
    room = daily.room()

    def join(session: Any) -> None:
        room.join("Agent Human avatar", user_id=holder_of(session.room_token)["user_id"])

    with daily_rest() as rest, Sandbox(on_avatar_joined=join) as sandbox:
        for name, value in (sandbox.environment | rest | {"DAILY_ROOM_URL": room.url}).items():
            monkeypatch.setenv(name, value)
        exec(compile(python()["hello"], "hello.py", "exec"), {"__name__": "__main__"})
        (session,) = sandbox.sessions
        assert session.status == "ended"
        assert sandbox.heard().duration_secs > 1.0


async def test_the_pipeline_of_a_bot_can_be_built(
    monkeypatch: pytest.MonkeyPatch, daily: DailyStandIn, offline: None
) -> None:
    parts = ("stt", "user_aggregator", "llm", "tts", "assistant_aggregator")
    page: dict[str, Any] = {part: IdentityFilter() for part in parts}
    exec(compile(python()["pipeline"], "bot.py", "exec"), page)
    args = DailyRunnerArguments(room_url=daily.room().url)
    with pytest.raises(ValueError, match=r"DAILY_API_KEY"):
        await page["bot"](args)
    with daily_rest() as rest, Sandbox() as sandbox:
        for name, value in (sandbox.environment | rest).items():
            monkeypatch.setenv(name, value)
        await page["bot"](args)


async def test_the_test_of_a_bot_passes(
    monkeypatch: pytest.MonkeyPatch, agenthuman_call: Call, offline: None
) -> None:
    for name, value in agenthuman_call.sandbox.environment.items():
        monkeypatch.setenv(name, value)
    my_bot = ModuleType("my_bot")
    my_bot.run_bot = bots.run_bot  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_bot", my_bot)
    page: dict[str, Any] = {}
    exec(compile(python()["test"], "test_my_bot.py", "exec"), page)
    (test,) = [value for name, value in page.items() if name.startswith("test_")]
    await asyncio.wait_for(test(agenthuman_call), LIMIT_SECS)


def test_there_is_no_block_that_nobody_runs() -> None:
    assert {block.language for block in BLOCKS} == {"sh", "python"}


def test_the_quick_start_is_short() -> None:
    body = python()["hello"].partition("async def main():")[2]
    assert len(body.strip().splitlines()) <= 15
