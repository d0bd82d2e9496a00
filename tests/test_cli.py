"""The command line: its usage, and that it needs no more than the chosen command does."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
from loguru import logger

from pipecat_agenthuman.cli import main
from pipecat_agenthuman.sandbox import Sandbox

COMMAND = [sys.executable, "-m", "pipecat_agenthuman.cli"]


@pytest.fixture(autouse=True)
def usual_log() -> Iterator[None]:
    """Undo what ``main`` does to the log of its process."""
    yield
    logger.remove()
    logger.add(sys.stderr)


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process of its own."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


HELP = """
import sys
from pipecat_agenthuman.cli import main
try:
    main({arguments})
except SystemExit as end:
    status = end.code
heavy = {{"aiohttp", "numpy", "pipecat", "rich", "websockets"}} & set(sys.modules)
sys.exit(f"imported {{heavy}}" if heavy else status)
"""


@pytest.mark.parametrize("arguments", [["--help"], ["demo", "--help"], ["--version"]])
def test_help_imports_neither_pipecat_nor_anything_else_that_is_slow(arguments: list[str]) -> None:
    done = run(HELP.format(arguments=arguments))
    assert done.returncode == 0, done.stderr
    assert "pipecat-agenthuman" in done.stdout


CHECK_HELP = HELP.replace('"aiohttp", "numpy", "pipecat", "rich", "websockets"', '"pipecat"')


@pytest.mark.parametrize("command", ["check", "sandbox", "avatars", "usage", "sessions"])
def test_only_the_demo_needs_pipecat(command: str) -> None:
    done = run(CHECK_HELP.format(arguments=[command, "--help"]))
    assert done.returncode == 0, done.stderr


def test_help_lists_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--help"])
    out = capsys.readouterr().out
    assert all(
        command in out for command in ("demo", "sandbox", "check", "avatars", "usage", "sessions")
    )


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"pipecat-agenthuman {version('pipecat-agenthuman')}\n"


@pytest.mark.parametrize("arguments", [[], ["chek"], ["demo", "--loud"], ["check", "--room"]])
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("module", ["rich", "espeakng_loader"])
def test_a_missing_extra_is_named_with_its_remedy(
    module: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, module, None)  # what the import system takes for missing
    assert main(["demo", "--out", str(tmp_path / "a.wav")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == (
        f"pipecat-agenthuman: The demo needs {module}: pip install 'pipecat-agenthuman[demo]'\n"
    )


def test_another_missing_module_is_not_taken_for_an_extra(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "pipecat_agenthuman.demo.stage", None)
    with pytest.raises(ModuleNotFoundError):
        main(["demo", "--out", str(tmp_path / "a.wav")])


def test_a_sandbox_whose_port_is_in_use_says_so_in_one_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["sandbox", "--port", str(port)]) == 1
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert f"Port {port}" in captured.err


def test_a_reader_that_leaves_early_gets_no_traceback(tmp_path: Path) -> None:
    """As in ``pipecat-agenthuman check | head -1``, when the pipe is closed by then."""
    reading, writing = os.pipe()
    os.close(reading)
    with Sandbox() as sandbox, os.fdopen(writing, "w") as pipe:
        done = subprocess.run(
            [*COMMAND, "check"],
            stdout=pipe,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | sandbox.environment,
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
        assert sandbox.live_sessions == []
    assert done.returncode == 1
    assert done.stderr == ""


def test_a_terminal_without_unicode_gets_plain_signs(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        done = subprocess.run(
            [*COMMAND, "check"],
            capture_output=True,
            env=os.environ | sandbox.environment | {"PYTHONIOENCODING": "ascii"},
            cwd=tmp_path,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0
    assert done.stdout.decode("ascii").startswith("  ok  Environment")
