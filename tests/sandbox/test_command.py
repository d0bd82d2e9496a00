from __future__ import annotations

import argparse
import asyncio
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

import pytest

from pipecat_agenthuman.sandbox.command import add_arguments, run
from pipecat_agenthuman.sandbox.narration import narrate
from tests.support.sandbox_client import INTERRUPT, WISH, ask, speak, tone

PROGRAM = """
import argparse, sys
from pipecat_agenthuman.sandbox.command import add_arguments, run
parser = argparse.ArgumentParser()
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
    import aiohttp
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
    options = ["--port", "0", "--render-latency", "0", "--wav", wav, "--log", log]
    with program(*options, "--fault", fault) as process:
        env = environment(process)
        assert sorted(env) == [
            f"AGENTHUMAN_{name}" for name in ("API_KEY", "API_URL", "AVATAR", "WS_URL")
        ]
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


def arguments(*texts: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
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
