from __future__ import annotations

import argparse
import asyncio
import inspect
import json
import re
import signal
import socket
import subprocess
import sys
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import aiohttp
import pytest

from pipecat_agenthuman.sandbox.command import add_arguments, run
from pipecat_agenthuman.sandbox.fault_help import fault_help
from pipecat_agenthuman.sandbox.faults import Fault, Kind, Point, parse_fault
from pipecat_agenthuman.sandbox.narration import narrate
from pipecat_agenthuman.sandbox.options import sandbox_arguments
from pipecat_agenthuman.sandbox.sandbox import DEFAULT_API_KEY, Sandbox
from tests.support.sandbox_client import INTERRUPT, WISH, ask, speak, tone

PROGRAM = """
import argparse, sys
from pipecat_agenthuman.sandbox.command import add_arguments, run
parser = argparse.ArgumentParser()
parser.add_argument("--verbose", action="store_true")
add_arguments(parser)
sys.exit(run(parser.parse_args()))
"""


@contextmanager
def program(*arguments: str | Path) -> Iterator[subprocess.Popen[str]]:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def environment(process: subprocess.Popen[str]) -> dict[str, str]:
    """Read the lines for ``.env`` that the program prints."""
    found: dict[str, str] = {}
    for line in process.stdout:
        if match := re.fullmatch(r"(AGENTHUMAN_\w+)=(\S+)\n", line):
            found[match[1]] = match[2]
        if line.startswith("Control:"):
            return found
    raise AssertionError(f"It ended early: {process.stderr.read()}")


async def converse(env: dict[str, str], messages: list[dict]) -> list[dict]:
    """Be a client that knows nothing but the printed variables."""
    import websockets

    wish = {**WISH, "avatar": env["AGENTHUMAN_AVATAR"]}
    headers = {"x-api-key": env["AGENTHUMAN_API_KEY"]}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(env["AGENTHUMAN_API_URL"] + "/sessions", json=wish) as response,
    ):
        session = (await response.json())["session"]
    async with websockets.connect(env["AGENTHUMAN_WS_URL"]) as socket:
        start = {key: session[key] for key in ("session_id", "session_token")}
        await ask(socket, {"type": "session.init", **start})
        return [await ask(socket, message) for message in messages]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_and_leaves_its_files_behind(tmp_path, number):
    wav, log = tmp_path / "heard.wav", tmp_path / "log.jsonl"
    fault = '{"on": "agent.speak", "kind": "error", "text": "No GPU", "nth": 2}'
    options = ["--port", "0", "--render-latency", "0", "--wav", wav, "--log", log, "--verbose"]
    with program(*options, "--fault", fault) as process:
        env = environment(process)
        assert sorted(env) == [
            f"AGENTHUMAN_{name}"
            for name in ("API_KEY", "API_URL", "AVATAR", "AVATAR_LATENCY_SECS", "WS_URL")
        ]
        assert env["AGENTHUMAN_AVATAR_LATENCY_SECS"] == "0"
        answers = asyncio.run(converse(env, [speak(tone(1600)), speak(tone(1)), INTERRUPT]))
        assert [answer["type"] for answer in answers] == [
            "agent.speak.confirmed",
            "error",
            "agent.interrupt.confirmed",
        ]
        process.send_signal(number)
        output, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert "-> agent.speak  (0.100 s, sample_rate 16000)" in output
    assert "<- error  (error No GPU)" in output
    assert env["AGENTHUMAN_API_KEY"] not in output
    with wave.open(str(wav)) as file:
        assert file.getnframes() <= 1600
        assert f"{file.getnframes() / 16_000:.1f} s of speech" in output
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert entries[-1]["what"] == "socket.closed"


def test_it_tells_of_utterances_and_not_of_messages():
    fault = '{"on": "agent.interrupt", "kind": "error", "text": "No GPU", "nth": 2}'
    with program("--port", "0", "--render-latency", "0", "--fault", fault) as process:
        env = environment(process)
        said = [speak(tone(160_000)), INTERRUPT, INTERRUPT]
        asyncio.run(converse(env, said))
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    news = re.findall(r" (?:::|--|->|<-) (.+)", output)
    assert [line.split("  (")[0] for line in news if "heard" not in line] == [
        "session.created",
        "avatar.joined",
        "fault",
        "error",
        "close",
        "session.ended",
        "avatar.left",
    ]
    (utterance,) = [line for line in news if "heard" in line]
    assert re.fullmatch(r"\d\.\d s heard of 10\.0 s, interrupted", utterance)


def arguments(*texts: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--verbose", action="store_true")
    add_arguments(parser)
    return parser.parse_args(texts)


def test_the_defaults_are_loopback_and_a_fixed_port():
    assert (arguments().host, arguments().port) == ("127.0.0.1", 8760)


@pytest.fixture
def taken_port() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield str(server.getsockname()[1])


def test_a_port_in_use_gives_one_clear_line(capsys, taken_port):
    assert run(arguments("--port", taken_port)) == 1
    complaint = capsys.readouterr().err
    assert complaint == (f"Port {taken_port} on 127.0.0.1 is in use; choose another with --port.\n")


@pytest.mark.parametrize(
    ("texts", "status", "words"),
    [
        (["--host", "0.0.0.0"], 2, "loopback"),
        (["--host", "example.com"], 2, "loopback"),
        (["--port", "70000"], 2, "--port must be between 0 and 65535"),
        (["--fault", "{"], 2, "--fault: "),
        (["--fault", '{"on": "create", "kind": "silent"}'], 2, "cannot happen on 'create'"),
        (["--render-latency", "-1"], 2, "render_latency_secs"),
        (["--round-trip", "nan"], 2, "round_trip_secs"),
        (["--log", "/nonexistent/log.jsonl"], 1, "/nonexistent/log.jsonl"),
        (["--wav", "/nonexistent/heard.wav"], 1, "/nonexistent/heard.wav"),
    ],
)
def test_a_mistake_gives_one_clear_line(capsys, texts, status, words):
    assert run(arguments("--port", "0", *texts)) == status
    complaint = capsys.readouterr().err
    assert words in complaint
    assert complaint.count("\n") == 1


def test_pings_are_not_told():
    entry = {"number": 1, "at_secs": 0.0, "session_id": None, "direction": "in", "what": "ping"}
    assert narrate(entry) is None
    assert narrate({**entry, "what": "close", "code": 1000}).endswith("-> close  (code 1000)")


def test_every_argument_of_the_sandbox_is_an_option_with_its_default():
    parameters = inspect.signature(Sandbox).parameters
    given = sandbox_arguments(arguments())
    code_only = {"on_avatar_joined", "on_avatar_left", "faults", "clock"}
    assert given.keys() == parameters.keys() - code_only
    own = {"port": 8760, "api_key": DEFAULT_API_KEY}
    assert given == {name: parameters[name].default for name in given} | own


@pytest.mark.parametrize(
    ("texts", "argument", "value"),
    [
        (["--join-delay", "never"], "join_delay_secs", None),
        (["--session-life", "30"], "session_secs", 30.0),
        (["--error-close-code", "1011"], "error_close_code", 1011),
        (["--end-close-code", "none"], "end_close_code", None),
        (["--max-sessions", "3"], "max_sessions", 3),
        (["--created-status", "200"], "created_status", 200),
        (["--no-list-metadata"], "lists_metadata", False),
        (["--beyond-loopback"], "beyond_loopback", True),
    ],
)
def test_an_option_is_read(texts, argument, value):
    assert sandbox_arguments(arguments(*texts))[argument] == value


@pytest.mark.parametrize("texts", [["--session-life", "soon"], ["--created-status", "302"]])
def test_an_option_that_makes_no_sense_is_wrong_usage(texts, capsys):
    with pytest.raises(SystemExit, match="2"):
        arguments(*texts)
    assert texts[0] in capsys.readouterr().err


def test_the_faults_are_explained(capsys):
    assert run(arguments("--help-faults")) == 0
    told = capsys.readouterr().out
    for name in (*Fault.model_fields, *get_args(Kind), *get_args(Point)):
        assert re.search(rf"^  {re.escape(name)} +\S", told, re.M), name
    for example in re.findall(r"--fault '(.*)'", told):
        assert parse_fault(example)


def test_the_explanation_keeps_to_the_width():
    longest = max(len(line) for line in fault_help(60).splitlines() if "--fault" not in line)
    assert longest <= 60


async def test_beyond_loopback_it_still_answers_only_under_a_loopback_name():
    async with (
        Sandbox(host="0.0.0.0", beyond_loopback=True) as sandbox,
        aiohttp.ClientSession(headers={"x-api-key": sandbox.api_key}) as http,
    ):
        assert sandbox.api_url == f"http://127.0.0.1:{sandbox.port}/v1"
        async with http.get(f"{sandbox.api_url}/usage") as answer:
            assert answer.status == 200
        async with http.get(f"{sandbox.api_url}/usage", headers={"Host": "sandbox"}) as answer:
            assert answer.status == 403
