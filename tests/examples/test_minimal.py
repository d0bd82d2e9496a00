"""``examples/minimal.py`` as a user runs it: alone, and with a key and a Daily room."""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipecat_agenthuman.identity import AVATAR_USER_ID
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.daily_rest import daily_rest, holder_of

EXAMPLE = Path(__file__).parents[2] / "examples" / "minimal.py"
ROOM_URL = "https://example.daily.co/room"


def start(variables: dict[str, str]) -> subprocess.Popen[str]:
    ours = ("AGENTHUMAN_", "DAILY_")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return subprocess.Popen(
        [sys.executable, str(EXAMPLE)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env=bare | variables | {"PYTHONIOENCODING": "utf-8"},
    )


class Runs:
    """All ways to run the example, at the same time."""

    def __init__(self, sandbox: Sandbox, daily: dict[str, str]) -> None:
        self.service = sandbox
        processes = {
            "alone": start({}),
            "with a key": start(sandbox.environment | daily | {"DAILY_ROOM_URL": ROOM_URL}),
            "with the sandbox's lines": start(sandbox.environment),
        }
        self.output = {name: run.communicate(timeout=90) for name, run in processes.items()}
        self.status = {name: run.returncode for name, run in processes.items()}


@pytest.fixture(scope="module")
def runs() -> Iterator[Runs]:
    with daily_rest() as daily, Sandbox(max_sessions=2) as sandbox:
        yield Runs(sandbox, daily)


@pytest.fixture(params=["alone", "with a key", "with the sandbox's lines"])
def way(request: pytest.FixtureRequest) -> str:
    return request.param


def test_it_ends_well_and_without_a_warning(runs: Runs, way: str) -> None:
    _, log = runs.output[way]
    assert runs.status[way] == 0, log
    assert "WARNING" not in log
    assert "ERROR" not in log


def test_it_prints_what_was_heard_and_no_more(runs: Runs, way: str) -> None:
    out, log = runs.output[way]
    heard = [line for line in out.splitlines() if line.startswith("heard: ")]
    assert len(heard) == 4, out + log
    assert heard[0] == "heard: Hello! I speak through an avatar."
    assert heard[1] == "heard: You can interrupt me at any time."
    assert heard[2].startswith("heard: Just say")
    assert "talking on" not in heard[2]
    assert heard[3] == "heard: See? Good bye!"


def test_with_a_key_it_speaks_in_the_daily_room_and_ends_its_session(runs: Runs) -> None:
    sessions = {session.room_url: session for session in runs.service.sessions}
    session = sessions.pop(ROOM_URL)
    assert holder_of(session.room_token)["user_id"].startswith(f"{AVATAR_USER_ID}-")
    assert session.status == "ended"
    assert session.end_requests == 1
    assert runs.service.heard(session.id).duration_secs > 3
    (other,) = sessions.values()  # of the run with the sandbox's lines
    assert other.status == "ended"


def test_with_a_key_of_the_service_it_names_what_else_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [each for each in os.environ if each.startswith(("AGENTHUMAN_", "DAILY_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AGENTHUMAN_API_KEY", "ah_live_key")
    with pytest.raises(SystemExit, match="AGENTHUMAN_AVATAR, DAILY_ROOM_URL, DAILY_API_KEY"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


def test_it_is_short() -> None:
    assert len(EXAMPLE.read_text(encoding="utf-8").splitlines()) <= 75
