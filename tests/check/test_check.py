"""The check: every step against a sandbox, and a clear reason for everything that can fail."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from pipecat_agenthuman.check.diagnosis import Step
from pipecat_agenthuman.check.environment import (
    DailyAccess,
    LiveKitAccess,
    read_environment,
)
from pipecat_agenthuman.check.room import find_room
from pipecat_agenthuman.cli import main
from pipecat_agenthuman.errors import RoomTokenError
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.pictures import PNG
from tests.support.terminals import in_a_terminal
from tests.support.web_tokens import web_token

ROOM_URL = "https://example.daily.co/room"
DAILY_KEY = "daily-key-of-the-test"
MINTED = "token-minted-by-daily"


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable that means anything to the check, no ``.env``, and the log as it was."""
    for name in list(os.environ):
        if name.startswith(("AGENTHUMAN_", "DAILY_", "LIVEKIT_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    terminate = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, terminate)
    logger.remove()
    logger.add(sys.stderr)


class Check:
    """Runs the check in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.status = -1
        self.out = self.err = ""

    def __call__(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """Run it with ``--json``; returns the steps by name."""
        document = json.loads(self.text("--json", *arguments))
        assert document["ok"] is (self.status == 0)
        return {step["step"]: step for step in document["steps"]}

    def text(self, *arguments: str) -> str:
        """Run it as it is; returns the output."""
        self.status = main(["check", *arguments])
        captured = self._capsys.readouterr()
        self.out, self.err = captured.out, captured.err
        assert "Traceback" not in self.out + self.err
        return self.out


@pytest.fixture
def check(capsys: pytest.CaptureFixture[str]) -> Check:
    return Check(capsys)


def failed(steps: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, step in steps.items() if step["status"] == "failed"]


def skipped(steps: dict[str, dict[str, Any]]) -> list[str]:
    return [name for name, step in steps.items() if step["status"] == "skipped"]


# --- all is well ------------------------------------------------------------------------


@pytest.mark.usefixtures("agenthuman_env")
def test_every_step_passes_against_the_sandbox(agenthuman_sandbox: Sandbox, check: Check) -> None:
    steps = check()
    assert check.status == 0
    assert list(steps) == [step.value for step in Step]
    assert skipped(steps) == ["listener", "appearance", "voice"]  # the room is made up
    assert "sandbox" in steps["listener"]["detail"]
    rest = [step["status"] for name, step in steps.items() if name not in skipped(steps)]
    assert set(rest) == {"passed"}
    (session,) = agenthuman_sandbox.sessions
    assert session.status == "ended"
    assert session.end_requests == 1
    received = [entry["what"] for entry in agenthuman_sandbox.log if entry["direction"] == "in"]
    assert [what for what in received if what.startswith("agent.")] == [
        "agent.speak",
        "agent.interrupt",
    ]


@pytest.mark.usefixtures("agenthuman_env")
def test_one_second_is_spoken(agenthuman_sandbox: Sandbox, check: Check) -> None:
    check()
    queued = [entry for entry in agenthuman_sandbox.log if entry["what"] == "speech.queued"]
    assert [entry["samples"] for entry in queued] == [16_000]


@pytest.mark.usefixtures("agenthuman_env")
def test_a_person_gets_a_line_a_step_with_its_time(check: Check) -> None:
    lines = check.text().splitlines()
    assert check.status == 0
    assert check.err == ""
    told = [re.fullmatch(r"  \S+  (\w[\w ]+?) +\d+\.\d\d s  \S.*", line) for line in lines[:13]]
    assert [line[1] for line in told if line] == [
        "Environment",
        "API key",
        "Account",
        "Avatar",
        "Room",
        "Session",
        "WebSocket",
        "Speech",
        "Interrupt",
        "Session end",
    ]
    assert lines[-1].startswith("All is well")


@pytest.mark.usefixtures("agenthuman_env")
def test_it_says_that_it_was_the_sandbox_and_that_nothing_was_billed(check: Check) -> None:
    steps = check()
    assert json.loads(check.out)["sandbox"] is True
    assert "sandbox" in steps["api_key"]["detail"]
    last = check.text().splitlines()[-1]
    assert "sandbox" in last
    assert "nothing was billed" in last


@pytest.mark.usefixtures("agenthuman_env")
def test_it_says_that_a_session_of_the_service_is_billed(
    monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    """A service on loopback that does not say that it is the sandbox."""
    monkeypatch.setattr("pipecat_agenthuman.check.diagnosis.SANDBOX_PLAN", "another")
    steps = check()
    assert json.loads(check.out)["sandbox"] is False
    assert "billed" in steps["api_key"]["detail"]  # before the session is made
    assert check.text().splitlines()[-1].endswith("billed like any other.")


def test_in_a_terminal_it_counts_the_seconds_and_keeps_to_the_width(
    agenthuman_sandbox: Sandbox, tmp_path: Path
) -> None:
    agenthuman_sandbox.inject(Fault(on="usage", kind="delay", delay_secs=2.5))
    variables = agenthuman_sandbox.environment
    written = in_a_terminal("check", width=44, variables=variables, cwd=tmp_path)
    assert re.search(r"API key +\.\.\. 1 s\r", written), written
    shown = [line.rpartition("\r")[2] for line in re.sub(r"\x1b\[\d+m", "", written).splitlines()]
    assert "All is well" in written
    long = [line for line in shown if len(line) > 44 and not re.search(r"\S{35}", line)]
    assert long == []


def test_nothing_of_what_it_says_names_an_argument_of_python(
    agenthuman_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    for name, value in (agenthuman_sandbox.environment | {"AGENTHUMAN_API_KEY": "ah_x"}).items():
        monkeypatch.setenv(name, value)
    remedy = check()["api_key"]["remedy"]
    assert "AGENTHUMAN_API_KEY" in remedy
    assert "api_key" not in remedy


def test_the_environment_comes_from_a_file(
    agenthuman_sandbox: Sandbox, check: Check, tmp_path: Path
) -> None:
    lines = [f"{name}={value}" for name, value in agenthuman_sandbox.environment.items()]
    (tmp_path / ".env").write_text("\n".join(lines))
    (tmp_path / "other.env").write_text("\n".join(lines).replace("avat_sandbox_ada", "avat_no"))
    assert failed(check()) == []
    assert failed(check("--env-file", "other.env")) == ["avatar"]


def test_the_environment_wins_over_the_file(
    agenthuman_env: dict[str, str], check: Check, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("AGENTHUMAN_API_KEY=ah_live_other\n")
    assert failed(check()) == []


@pytest.mark.usefixtures("agenthuman_env")
def test_an_image_is_an_avatar(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    monkeypatch.setenv("AGENTHUMAN_AVATAR", "https://example.com/face.png")
    steps = check()
    assert check.status == 0
    assert "image" in steps["avatar"]["detail"]


# --- what can be wrong ------------------------------------------------------------------


@pytest.mark.usefixtures("agenthuman_env")
def test_a_picture_on_this_machine_is_an_avatar(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check, tmp_path: Path
) -> None:
    monkeypatch.setenv("AGENTHUMAN_AVATAR", "me.png")
    steps = check()
    assert failed(steps) == ["avatar"]
    assert "'me.png' cannot be read" in steps["avatar"]["detail"]
    (tmp_path / "me.png").write_bytes(PNG)
    steps = check()
    assert check.status == 0
    (session,) = agenthuman_sandbox.sessions
    assert session.avatar in steps["avatar"]["detail"]


def test_without_anything_set_all_that_is_missing_is_named(check: Check) -> None:
    out = check.text()
    assert check.status == 2
    for name in ("AGENTHUMAN_API_KEY", "AGENTHUMAN_AVATAR", "DAILY_ROOM_URL", "DAILY_API_KEY"):
        assert name in out
    assert out.count("skipped") == 12


def test_without_a_key_it_is_named(
    agenthuman_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    monkeypatch.delenv("AGENTHUMAN_API_KEY")
    steps = check()
    assert check.status == 2
    assert "AGENTHUMAN_API_KEY" in steps["environment"]["detail"]
    assert "AGENTHUMAN_AVATAR" not in steps["environment"]["detail"]


def test_the_template_of_the_environment_counts_as_empty(
    check: Check, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    template = request.config.rootpath / ".env.example"
    (tmp_path / ".env").write_text(template.read_text(encoding="utf-8"))
    steps = check()
    assert check.status == 2
    assert "DAILY_ROOM_URL" in steps["environment"]["detail"]


def test_an_environment_file_that_is_not_there_is_wrong_usage(check: Check) -> None:
    assert check.text("--env-file", "nowhere.env") == ""
    assert check.status == 2
    assert check.err == (
        "pipecat-agenthuman: Cannot read nowhere.env: No such file or directory.\n"
    )


@pytest.mark.usefixtures("agenthuman_env")
def test_a_wrong_key_is_told_and_what_needs_it_is_skipped(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    monkeypatch.setenv("AGENTHUMAN_API_KEY", "ah_live_wrong_key")
    steps = check()
    assert check.status == 1
    assert failed(steps) == ["api_key"]
    assert "401" in steps["api_key"]["detail"]
    assert "AGENTHUMAN_API_KEY" in steps["api_key"]["remedy"]
    assert steps["room"]["status"] == "passed"
    assert skipped(steps) == [
        "account",
        "avatar",
        "listener",
        "session",
        "connection",
        "appearance",
        "speech",
        "voice",
        "interrupt",
        "session_end",
    ]
    assert "ah_live_wrong_key" not in check.out + check.err
    assert agenthuman_sandbox.sessions == []


def test_a_sandbox_that_does_not_run_is_told_with_how_to_start_it(
    monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    with Sandbox() as stopped:
        environment = stopped.environment
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    out = check.text()
    assert check.status == 1
    assert "Nothing answers at http://127.0.0.1:" in out
    assert "pipecat-agenthuman sandbox" in out


@pytest.mark.usefixtures("agenthuman_env")
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("AGENTHUMAN_WS_URL", "ws://example.com"),
        ("AGENTHUMAN_API_URL", "http://example.com/v1"),
        ("AGENTHUMAN_API_URL", "ftp://example.com"),
    ],
)
def test_a_key_never_travels_unencrypted(
    name: str, url: str, monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    monkeypatch.setenv(name, url)
    steps = check()
    assert check.status == 2
    assert name in steps["environment"]["detail"]


@pytest.mark.usefixtures("agenthuman_env")
def test_a_sandbox_for_requests_alone_is_a_mistake(
    monkeypatch: pytest.MonkeyPatch, check: Check
) -> None:
    monkeypatch.delenv("AGENTHUMAN_WS_URL")
    steps = check()
    assert check.status == 2
    assert "different places" in steps["environment"]["detail"]


@pytest.mark.usefixtures("agenthuman_env")
def test_an_unknown_avatar_is_told_with_some_that_are_known(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    monkeypatch.setenv("AGENTHUMAN_AVATAR", "avat_nobody")
    steps = check()
    assert failed(steps) == ["avatar"]
    assert "avat_nobody" in steps["avatar"]["detail"]
    assert "avat_sandbox_ada" in steps["avatar"]["remedy"]
    assert agenthuman_sandbox.sessions == []


@pytest.mark.agenthuman_sandbox(minutes=0)
@pytest.mark.usefixtures("agenthuman_env")
def test_an_account_without_minutes_is_told(check: Check) -> None:
    steps = check()
    assert check.status == 1
    assert failed(steps) == ["account"]
    assert "session" in skipped(steps)


@pytest.mark.agenthuman_sandbox(max_sessions=0)
@pytest.mark.usefixtures("agenthuman_env")
def test_an_account_whose_sessions_are_all_in_use_is_told(check: Check) -> None:
    steps = check()
    assert failed(steps) == ["account"]
    assert "in use" in steps["account"]["detail"]


@pytest.mark.usefixtures("agenthuman_env")
def test_a_room_that_is_none_is_told(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    monkeypatch.setenv("DAILY_ROOM_URL", "https://example.daily.co")
    steps = check("--token", "some-token")
    assert failed(steps) == ["room"]
    assert "DAILY_ROOM_URL" in steps["room"]["detail"]


@pytest.mark.usefixtures("agenthuman_env")
@pytest.mark.parametrize(
    ("fault", "step", "words"),
    [
        (Fault(on="create", kind="refuse", status=503), "session", "503"),
        (Fault(on="connect", kind="refuse", status=502), "connection", "502"),
        (Fault(on="session.init", kind="error", text="Session not found"), "connection", "not fo"),
        (Fault(on="session.init", kind="close", code=4001), "connection", "4001"),
        (
            Fault(on="agent.speak", kind="error", text="Failed to process audio: odd"),
            "speech",
            "Failed to process audio: odd",
        ),
        (Fault(on="agent.interrupt", kind="abort"), "interrupt", "broke"),
    ],
)
def test_what_fails_is_told_and_the_session_is_ended(
    fault: Fault, step: str, words: str, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    agenthuman_sandbox.inject(fault)
    steps = check()
    assert check.status == 1
    assert failed(steps) == [step]
    assert words in steps[step]["detail"]
    assert agenthuman_sandbox.live_sessions == []
    if agenthuman_sandbox.sessions:
        assert steps["session_end"]["status"] == "passed"
        assert agenthuman_sandbox.sessions[0].end_requests == 1


@pytest.mark.usefixtures("agenthuman_env")
def test_a_session_that_cannot_be_ended_is_told(agenthuman_sandbox: Sandbox, check: Check) -> None:
    agenthuman_sandbox.inject(Fault(on="end", kind="refuse", status=403, times=None))
    steps = check()
    assert failed(steps) == ["session_end"]
    assert check.status == 1


@pytest.mark.usefixtures("agenthuman_env")
def test_a_count_that_differs_is_mentioned(agenthuman_sandbox: Sandbox, check: Check) -> None:
    agenthuman_sandbox.inject(Fault(on="agent.speak", kind="wrong_samples", audio_samples=7))
    steps = check()
    assert steps["speech"]["status"] == "passed"
    assert "counted 7 samples" in steps["speech"]["detail"]


# --- secrets ----------------------------------------------------------------------------


@pytest.mark.usefixtures("agenthuman_env")
def test_no_secret_is_shown_even_if_the_server_echoes_it(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    key, token = agenthuman_sandbox.api_key, "own-room-token"
    monkeypatch.setenv("DAILY_ROOM_URL", ROOM_URL)
    body = {"error": f"No session for {key} with {token}."}
    agenthuman_sandbox.inject(Fault(on="create", kind="refuse", status=403, body=body))
    for arguments in (["--token", token], ["--json", "--token", token]):
        check.text(*arguments)
        shown = check.out + check.err
        assert key not in shown
        assert token not in shown
        assert all(session.token not in shown for session in agenthuman_sandbox.sessions)


# --- the room ---------------------------------------------------------------------------


class _Daily(BaseHTTPRequestHandler):
    """Daily's REST API, as far as minting a token takes."""

    def do_GET(self) -> None:
        if self.headers["Authorization"] != f"Bearer {DAILY_KEY}":
            self._answer(401, {"error": "authentication-error"})
        else:
            name = self.path.rpartition("/")[2]
            room = {"id": name, "name": name, "api_created": True, "privacy": "private"}
            room |= {"created_at": "2026-05-01T10:00:00.000Z", "config": {}}
            self._answer(200, room | {"url": f"https://example.daily.co/{name}"})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(200, {"token": MINTED})

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, status: int, body: dict[str, Any]) -> None:
        payload = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)


@pytest.fixture
def daily(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Daily)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("DAILY_API_URL", f"http://127.0.0.1:{server.server_port}/v1")
    yield
    server.shutdown()
    server.server_close()


@pytest.mark.usefixtures("agenthuman_env", "daily")
def test_a_token_is_made_with_the_daily_key(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    monkeypatch.setenv("DAILY_API_KEY", DAILY_KEY)
    steps = check("--room", ROOM_URL)
    assert failed(steps) == []
    assert "with a token from Daily" in steps["room"]["detail"]
    (session,) = agenthuman_sandbox.sessions
    assert (session.wish.room.url, session.wish.room.token) == (ROOM_URL, MINTED)
    assert MINTED not in check.out + check.err


@pytest.mark.usefixtures("agenthuman_env", "daily")
def test_a_wrong_daily_key_is_told(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    monkeypatch.setenv("DAILY_API_KEY", "another-daily-key")
    steps = check("--room", ROOM_URL)
    assert check.status == 1
    assert failed(steps) == ["room"]
    assert "DAILY_API_KEY" in steps["room"]["remedy"]
    assert "another-daily-key" not in check.out + check.err


@pytest.mark.usefixtures("agenthuman_env")
def test_an_own_token_is_used(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    monkeypatch.setenv("DAILY_ROOM_URL", ROOM_URL)
    monkeypatch.setenv("DAILY_AVATAR_TOKEN", "own-token")
    check()
    assert check.status == 0
    assert agenthuman_sandbox.sessions[0].wish.room.token == "own-token"


def given_to_daily(token: str) -> DailyAccess:
    return DailyAccess(ROOM_URL, token=token, api_key="", api_url="")


@pytest.mark.parametrize(
    ("claims", "words"),
    [
        ({"exp": 1_000_000_000, "r": "room"}, "expired"),
        ({"nbf": 32_503_680_000, "r": "room"}, "becomes valid in"),
        ({"r": "elsewhere"}, "'elsewhere'"),
        ({"p": {"cs": "sv"}}, "to send audio and video"),
    ],
)
async def test_a_token_that_cannot_work_is_found(claims: dict[str, Any], words: str) -> None:
    with pytest.raises(RoomTokenError, match=words) as caught:
        await find_room(given_to_daily(web_token(claims)))
    assert "set DAILY_API_KEY" in caught.value.remedy or "at once" in caught.value.remedy


@pytest.mark.parametrize(
    "token",
    [
        web_token({"exp": 32_503_680_000, "r": "room"}),  # the year 3000
        web_token({"o": True}),
        web_token({}),
        web_token([1]),
        "no.web.token",
        "opaque",
    ],
)
async def test_a_token_that_can_work_or_cannot_be_read_passes(token: str) -> None:
    room, found = await find_room(given_to_daily(token))
    assert (room.url, room.token) == (ROOM_URL, token)
    assert "the token that was given" in found


def test_the_hosted_service_needs_a_room_and_a_token() -> None:
    account = {"AGENTHUMAN_API_KEY": "ah_live_key", "AGENTHUMAN_AVATAR": "avat_x"}
    with pytest.raises(ValueError, match=r"DAILY_ROOM_URL.*DAILY_API_KEY"):
        read_environment(account)
    with pytest.raises(ValueError, match="Not set: DAILY_API_KEY"):
        read_environment(account | {"DAILY_ROOM_URL": ROOM_URL})
    room = {"DAILY_ROOM_URL": ROOM_URL, "DAILY_AVATAR_TOKEN": "own-token"}
    environment = read_environment(account | room)
    assert environment.api_url == "https://api.agenthuman.com/v1"
    assert environment.ws_url == "wss://wss.agenthuman.com"
    assert "own-token" not in repr(environment)
    assert "ah_live_key" not in repr(environment)


# --- LiveKit ----------------------------------------------------------------------------

LIVEKIT_KEY = "APIkeyOfTheTest"
LIVEKIT_SECRET = "livekit-secret-long-enough-for-a-signature"


class _LiveKit(BaseHTTPRequestHandler):
    """LiveKit's server, as far as it says whether it takes a token; it verifies the signature."""

    status = 0
    """What it answers whatever the token, unless 0."""

    def do_GET(self) -> None:
        assert self.path == "/rtc/validate", "the token is not in the URL"
        token = self.headers["Authorization"].removeprefix("Bearer ")
        signed, _, signature = token.rpartition(".")
        hashed = hmac.new(LIVEKIT_SECRET.encode(), signed.encode(), "sha256").digest()
        right = base64.urlsafe_b64encode(hashed).decode().rstrip("=") == signature
        status = self.status or (200 if right else 401)
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b"success" if status == 200 else f"invalid token: {token}".encode())

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def livekit(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[_LiveKit]]:
    pytest.importorskip("livekit.api")
    handler = type("LiveKit", (_LiveKit,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    monkeypatch.setenv("LIVEKIT_URL", f"ws://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("LIVEKIT_API_KEY", LIVEKIT_KEY)
    monkeypatch.setenv("LIVEKIT_API_SECRET", LIVEKIT_SECRET)
    monkeypatch.setenv("LIVEKIT_ROOM_NAME", "lobby")
    yield handler
    server.shutdown()
    server.server_close()


def livekit_token(**grants: Any) -> str:
    video = {"room": "lobby", "roomJoin": True, **grants}
    return web_token({"sub": "ava", "exp": 32_503_680_000, "video": video})


@pytest.mark.usefixtures("agenthuman_env", "livekit")
def test_a_livekit_token_is_signed_with_the_secret_and_its_server_takes_it(
    agenthuman_sandbox: Sandbox, check: Check
) -> None:
    steps = check()
    assert failed(steps) == []
    assert "room 'lobby'" in steps["room"]["detail"]
    assert "its server takes it" in steps["room"]["detail"]
    assert "only joining shows" in steps["room"]["detail"]  # what no check can tell
    (session,) = agenthuman_sandbox.sessions
    assert session.wish.room.platform == "livekit"
    assert session.wish.room.url == os.environ["LIVEKIT_URL"]
    assert session.wish.room.token not in check.out + check.err


@pytest.mark.usefixtures("agenthuman_env", "livekit")
def test_a_wrong_livekit_secret_is_told(monkeypatch: pytest.MonkeyPatch, check: Check) -> None:
    wrong = "another-secret-that-is-long-enough-to-sign"
    monkeypatch.setenv("LIVEKIT_API_SECRET", wrong)
    steps = check()
    assert failed(steps) == ["room"]
    assert "401: invalid token: [redacted]" in steps["room"]["detail"]
    assert "key and secret" in steps["room"]["remedy"]
    assert wrong not in check.out + check.err


@pytest.mark.usefixtures("agenthuman_env")
def test_a_livekit_server_that_says_nothing_about_tokens_is_no_failure(
    livekit: type[_LiveKit], check: Check
) -> None:
    livekit.status = 404
    steps = check()
    assert failed(steps) == []
    assert "does not say whether it takes it (404)" in steps["room"]["detail"]


@pytest.mark.usefixtures("agenthuman_env", "livekit")
def test_a_livekit_server_that_is_not_there_is_told(check: Check) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        steps = check("--room", f"ws://127.0.0.1:{unused.getsockname()[1]}")
    assert failed(steps) == ["room"]
    assert "does not answer at 127.0.0.1:" in steps["room"]["detail"]
    assert "LIVEKIT_URL" in steps["room"]["remedy"]


@pytest.mark.usefixtures("agenthuman_env")
@pytest.mark.parametrize(
    ("token", "words"),
    [
        (livekit_token(room="elsewhere"), "'elsewhere'"),
        (livekit_token(roomJoin=False), "to join"),
        (livekit_token(canPublish=False), "to publish"),
        (web_token({"sub": "ava", "exp": 1, "video": {"roomJoin": True}}), "expired"),
    ],
)
def test_a_livekit_token_that_cannot_work_is_found(
    livekit: type[_LiveKit], check: Check, token: str, words: str
) -> None:
    livekit.status = 200
    steps = check("--token", token)
    assert failed(steps) == ["room"]
    assert words in steps["room"]["detail"]
    assert token not in check.out + check.err


@pytest.mark.usefixtures("agenthuman_env")
def test_an_own_livekit_token_is_used(
    livekit: type[_LiveKit],
    monkeypatch: pytest.MonkeyPatch,
    agenthuman_sandbox: Sandbox,
    check: Check,
) -> None:
    livekit.status = 200
    monkeypatch.delenv("LIVEKIT_API_SECRET")
    monkeypatch.setenv("LIVEKIT_AVATAR_TOKEN", livekit_token())
    check()
    assert check.status == 0
    assert agenthuman_sandbox.sessions[0].wish.room.token == livekit_token()


@pytest.mark.usefixtures("agenthuman_env", "livekit")
def test_two_rooms_are_one_too_many_until_one_is_named(
    monkeypatch: pytest.MonkeyPatch, agenthuman_sandbox: Sandbox, check: Check
) -> None:
    monkeypatch.setenv("DAILY_ROOM_URL", ROOM_URL)
    steps = check()
    assert check.status == 2
    assert "DAILY_ROOM_URL and LIVEKIT_URL" in steps["environment"]["detail"]
    assert "--room" in steps["environment"]["detail"]
    assert failed(check("--room", os.environ["LIVEKIT_URL"])) == []
    assert failed(check("--room", ROOM_URL, "--token", "some-token")) == []
    rooms = [session.wish.room.platform for session in agenthuman_sandbox.sessions]
    assert rooms == ["livekit", "daily"]


def test_a_livekit_room_needs_a_name_and_a_token_or_what_makes_one() -> None:
    account = {"AGENTHUMAN_API_KEY": "ah_live_key", "AGENTHUMAN_AVATAR": "avat_x"}
    account |= {"LIVEKIT_URL": "wss://example.livekit.cloud"}
    with pytest.raises(ValueError, match=r"ROOM_NAME.*LIVEKIT_API_KEY.*LIVEKIT_API_SECRET"):
        read_environment(account)
    environment = read_environment(account | {"LIVEKIT_AVATAR_TOKEN": "own-token"})
    assert isinstance(environment.access, LiveKitAccess)
    assert "own-token" in environment.secrets
    assert "own-token" not in repr(environment)


# --- being interrupted ------------------------------------------------------------------


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals between processes")
@pytest.mark.parametrize(
    ("where", "number"),
    [
        ("create", signal.SIGINT),
        ("session.init", signal.SIGINT),
        ("agent.speak", signal.SIGINT),
        ("agent.speak", signal.SIGTERM),
    ],
)
async def test_what_was_begun_is_ended_when_it_is_interrupted(
    where: Any, number: signal.Signals, agenthuman_sandbox: Sandbox, tmp_path: Path
) -> None:
    late = Fault(on="create", kind="delay", delay_secs=0.5, delayed="answer")
    agenthuman_sandbox.inject(late if where == "create" else Fault(on=where, kind="missing"))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pipecat_agenthuman.cli", "check", "--json"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | agenthuman_sandbox.environment,
        cwd=tmp_path,
    )
    begun = "session.created" if where == "create" else "fault"
    await agenthuman_sandbox.wait_for(begun, timeout_secs=30)
    process.send_signal(number)
    out, err = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == 130
    document = json.loads(out)
    assert document["interrupted"]
    assert "interrupted" in [step["detail"] for step in document["steps"]]
    assert b"Traceback" not in err
    (session,) = agenthuman_sandbox.sessions
    assert session.status == "ended"
    assert session.end_requests == 1
