"""The account on the command line: avatars, usage and sessions, against a sandbox."""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from loguru import logger

from pipecat_agenthuman.account.table import write_table
from pipecat_agenthuman.cli import main
from pipecat_agenthuman.client.answers import Usage, account_usage
from pipecat_agenthuman.client.api import NO_RETRY, AgentHumanApi
from pipecat_agenthuman.rooms import DailyRoom
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.pictures import PNG
from tests.support.terminals import Keyboard, Screen

ROOM = DailyRoom("https://example.daily.co/room", "any-token")


@pytest.fixture(autouse=True)
def surroundings(
    agenthuman_env: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[None]:
    """No ``.env``, and the log as it was."""
    monkeypatch.chdir(tmp_path)
    yield
    logger.remove()
    logger.add(sys.stderr)


class Command:
    """Runs a command of the account in this process and keeps what it printed."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.status = -1
        self.err = ""

    def __call__(self, *arguments: str) -> str:
        self.status = main(list(arguments))
        captured = self._capsys.readouterr()
        self.err = captured.err
        assert "Traceback" not in captured.out + captured.err
        return captured.out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(capsys)


async def start_session() -> str:
    async with AgentHumanApi(retry=NO_RETRY) as api:
        return (await api.create_session(avatar="avat_test", room=ROOM)).session_id


# --- avatars -----------------------------------------------------------------------------


def test_avatars_are_listed_with_the_line_for_the_environment(command: Command) -> None:
    lines = command("avatars").splitlines()
    assert command.status == 0
    assert re.split(r"  +", lines[0]) == ["ID", "Owner", "Tags", "Picture"]
    identifier, owner, tags, picture = re.split(r"  +", lines[1])
    assert (identifier, owner, tags) == ("avat_sandbox_ada", "public", "woman, studio, friendly")
    assert picture.startswith("http://127.0.0.1:")
    assert lines[-1] == "Put one into .env, for example AGENTHUMAN_AVATAR=avat_sandbox_ada"


def test_avatars_are_a_json_document(command: Command) -> None:
    first, *_ = command.json("avatars")["avatars"]
    assert first["avatar_id"] == "avat_sandbox_ada"
    assert first["owner"] == "public"
    assert first["tags"] == ["woman", "studio", "friendly"]
    assert first["preview_url"].endswith("/avat_sandbox_ada.svg")


def test_a_preview_is_a_link(command: Command) -> None:
    lines = command("avatars", "--preview", "avat_sandbox_alan").splitlines()
    assert lines[0].endswith("/avat_sandbox_alan.svg")
    assert "once, within 5 minutes" in lines[1]
    assert command.json("avatars", "--preview", "avat_sandbox_alan")["url"] == lines[0]


def test_a_preview_of_nobody_is_refused_in_the_services_words(command: Command) -> None:
    assert command("avatars", "--preview", "avat_nobody") == ""
    assert command.status == 1
    assert "Avatar not found" in command.err
    assert "AGENTHUMAN_API_URL" in command.err
    assert "api_url" not in command.err


def test_a_picture_becomes_an_avatar_of_ones_own(command: Command, tmp_path: Path) -> None:
    (tmp_path / "me.png").write_bytes(PNG)
    told = command("avatars", "--upload", "me.png")
    made = re.match(r"AGENTHUMAN_AVATAR=(avat_\w+)\n", told)
    assert made is not None
    mine = [each for each in command.json("avatars")["avatars"] if each["owner"] == "you"]
    assert [each["avatar_id"] for each in mine] == [made[1]]
    assert "avatar_id" in command.json("avatars", "--upload", "me.png")


@pytest.mark.parametrize(
    ("name", "words"), [("none.png", "Cannot read none.png"), ("text.png", "JPEG, PNG, GIF")]
)
def test_what_is_no_picture_is_said_before_anything_is_sent(
    command: Command, agenthuman_sandbox: Sandbox, tmp_path: Path, name: str, words: str
) -> None:
    (tmp_path / "text.png").write_text("not a picture")
    assert command("avatars", "--upload", name) == ""
    assert command.status == 2
    assert words in command.err
    assert not [entry for entry in agenthuman_sandbox.log if entry["direction"] == "in"]


# --- usage -------------------------------------------------------------------------------


@pytest.mark.agenthuman_sandbox(minutes=90, max_sessions=5)
async def test_usage_tells_minutes_and_sessions(command: Command) -> None:
    await start_session()
    async with AgentHumanApi() as api:
        usage = await api.get_usage()
    assert (usage.minutes_remaining, usage.sessions_current, usage.plan) == (89, 1, "Sandbox")


@pytest.mark.agenthuman_sandbox(minutes=90, max_sessions=5)
def test_usage_is_shown(command: Command) -> None:
    told = command("usage")
    assert command.status == 0
    assert re.search(r"Minutes left +90\n", told)
    assert re.search(r"Sessions running +0 of 5\n", told)
    assert re.search(r"period ends +not said\n", told)
    assert command.json("usage") == {
        "minutes_remaining": 90,
        "sessions_current": 0,
        "sessions_max": 5,
        "sessions_available": 5,
        "plan": "Sandbox",
        "period_ends_at": None,
    }


def test_the_end_of_the_period_is_shown_in_utc(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def get_usage(_api: AgentHumanApi) -> Usage:
        body = {"total_remaining": 1, "period": {"end": "2026-05-01T01:30:00+02:00"}}
        return account_usage(body)

    monkeypatch.setattr(AgentHumanApi, "get_usage", get_usage)
    assert re.search(r"period ends +2026-04-30 23:30 UTC\n", command("usage"))


# --- sessions ----------------------------------------------------------------------------


@pytest.fixture
def two_sessions(agenthuman_sandbox: Sandbox) -> list[str]:
    return [asyncio.run(start_session()) for _ in range(2)]


def test_that_no_session_runs_is_said(command: Command) -> None:
    assert command("sessions") == "No session runs under this key.\n"
    assert command("sessions", "--end-all") == "No session runs under this key.\n"
    assert command.status == 0
    assert command.json("sessions") == {"sessions": []}


@pytest.mark.agenthuman_sandbox(max_sessions=2, session_secs=600)
def test_running_sessions_are_listed(command: Command, two_sessions: list[str]) -> None:
    told = command("sessions").splitlines()
    assert [line.split()[0] for line in told[1:]] == two_sessions
    assert all(re.search(r" 0 min \d\d s  20.* UTC$", line) for line in told[1:])
    listed = command.json("sessions")["sessions"]
    assert [each["session_id"] for each in listed] == two_sessions
    assert "token" not in json.dumps(listed)


@pytest.mark.agenthuman_sandbox(max_sessions=2)
def test_one_session_is_ended(
    command: Command, two_sessions: list[str], agenthuman_sandbox: Sandbox
) -> None:
    first, second = two_sessions
    assert command("sessions", "--end", first).startswith(f"{first} ended")
    assert [session.id for session in agenthuman_sandbox.live_sessions] == [second]
    assert command("sessions", "--end", first) == f"{first} had ended already\n"
    assert command.status == 0


def test_ending_a_session_that_is_none_is_a_mistake(command: Command) -> None:
    assert command("sessions", "--end", "sess_nobody") == ""
    assert command.status == 2
    assert "sess_nobody" in command.err


@pytest.mark.agenthuman_sandbox(max_sessions=2)
@pytest.mark.parametrize(("answer", "left"), [("y\n", 0), ("\n", 2), ("n\n", 2), ("", 2)])
def test_all_are_ended_after_a_question(
    command: Command,
    two_sessions: list[str],
    agenthuman_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    left: int,
) -> None:
    monkeypatch.setattr(sys, "stdin", Keyboard(answer))
    command("sessions", "--end-all")
    assert all(session in command.err for session in two_sessions)
    assert "End them all? [y/N]" in command.err
    assert len(agenthuman_sandbox.live_sessions) == left
    assert command.status == (1 if left else 0)


@pytest.mark.agenthuman_sandbox(max_sessions=2)
def test_where_nobody_can_be_asked_it_takes_a_word(
    command: Command,
    two_sessions: list[str],
    agenthuman_sandbox: Sandbox,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    command("sessions", "--end-all")
    assert command.status == 2
    assert "--yes" in command.err
    assert len(agenthuman_sandbox.live_sessions) == 2
    document = command.json("sessions", "--end-all", "--yes")
    assert document == {"sessions": [{"session_id": each, "ended": True} for each in two_sessions]}
    assert agenthuman_sandbox.live_sessions == []


@pytest.mark.agenthuman_sandbox(max_sessions=2)
def test_one_that_cannot_be_ended_does_not_keep_the_others(
    command: Command, two_sessions: list[str], agenthuman_sandbox: Sandbox
) -> None:
    agenthuman_sandbox.inject(Fault(on="end", kind="refuse", status=403))
    document = command.json("sessions", "--end-all", "--yes")
    assert [each["ended"] for each in document["sessions"]] == [False, True]
    assert command.status == 1
    assert two_sessions[0] in command.err
    assert "billed" in command.err


# --- getting there -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["avatars", "usage", "sessions"])
def test_a_missing_key_is_named_by_its_variable(
    command: Command, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("AGENTHUMAN_API_KEY")
    assert command(name) == ""
    assert command.status == 2
    assert command.err.startswith("pipecat-agenthuman: AGENTHUMAN_API_KEY is not set.")
    assert len(command.err.splitlines()) == 1


def test_a_wrong_key_is_named_by_its_variable(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHUMAN_API_KEY", "ah_live_wrong")
    assert command("usage") == ""
    assert command.status == 1
    assert "Check that AGENTHUMAN_API_KEY is an active key." in command.err
    assert "ah_live_wrong" not in command.err


def test_the_key_may_come_from_a_file(
    command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("AGENTHUMAN_API_KEY")
    (tmp_path / "my.env").write_text("AGENTHUMAN_API_KEY=ah_live_sandbox\n")
    assert "Minutes left" in command("usage", "--env-file", "my.env")
    command("usage", "--env-file", "none.env")
    assert command.status == 2
    assert "Cannot read none.env" in command.err


# --- tables ------------------------------------------------------------------------------

ROWS = [("avat_1", "calm, [bold]"), ("avat_two", "")]


def test_a_terminal_gets_a_table_in_which_the_first_column_is_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    screen = Screen()
    write_table(("ID", "Tags"), ROWS, screen)
    assert "avat_two" in screen.getvalue()
    assert "[bold]" in screen.getvalue()
    assert "─" in screen.getvalue()


@pytest.mark.parametrize("screen", [Screen, None])
def test_without_rich_or_a_terminal_the_columns_are_plain(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], screen: type | None
) -> None:
    if screen is not None:
        monkeypatch.setitem(sys.modules, "rich.console", None)
        monkeypatch.setitem(sys.modules, "rich", None)
    stream = sys.stdout if screen is None else screen()
    write_table(("ID", "Tags"), ROWS, stream)
    written = capsys.readouterr().out if screen is None else stream.getvalue()
    assert written == "ID        Tags\navat_1    calm, [bold]\navat_two\n"
