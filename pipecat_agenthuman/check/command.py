"""``pipecat-agenthuman check``: find out why an avatar does not appear."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import signal
import sys
import textwrap
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Final

from dotenv import dotenv_values

from pipecat_agenthuman._environment import (
    DAILY_AVATAR_TOKEN,
    DAILY_ROOM_URL,
    LIVEKIT_AVATAR_TOKEN,
    LIVEKIT_ROOM_NAME,
    LIVEKIT_URL,
)
from pipecat_agenthuman._terminal import Sign, Signs, takes_colours
from pipecat_agenthuman.check.diagnosis import Diagnosis, Finding, Status, Step
from pipecat_agenthuman.check.environment import Environment, read_environment

DEFAULT_ENV_FILE: Final = Path(".env")

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2
_EXIT_INTERRUPTED: Final = 130

_TITLES: Final = {
    Step.ENVIRONMENT: "Environment",
    Step.API_KEY: "API key",
    Step.ACCOUNT: "Account",
    Step.AVATAR: "Avatar",
    Step.ROOM: "Room",
    Step.SESSION: "Session",
    Step.CONNECTION: "WebSocket",
    Step.SPEECH: "Speech",
    Step.INTERRUPT: "Interrupt",
    Step.SESSION_END: "Session end",
}
_TITLE_WIDTH: Final = max(map(len, _TITLES.values()))
_SIGNS: Final = {
    Status.PASSED: Sign.PASSED,
    Status.FAILED: Sign.FAILED,
    Status.SKIPPED: Sign.SKIPPED,
}
_NARROWEST: Final = 30


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the check's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman check``.
    """
    add = parser.add_argument
    add(
        "--env-file",
        type=Path,
        metavar="FILE",
        help=f"variables that are not set otherwise ({DEFAULT_ENV_FILE}, if it is there)",
    )
    add(
        "--room",
        metavar="URL",
        help="Daily room, https://... (DAILY_ROOM_URL), or LiveKit server, wss://... (LIVEKIT_URL)",
    )
    add("--room-name", metavar="NAME", help="room at the LiveKit server (LIVEKIT_ROOM_NAME)")
    add(
        "--token",
        metavar="TOKEN",
        help="the avatar's own token for it (DAILY_AVATAR_TOKEN, LIVEKIT_AVATAR_TOKEN); without, "
        "DAILY_API_KEY, or LIVEKIT_API_KEY and LIVEKIT_API_SECRET, make one",
    )
    add("--json", action="store_true", help="print the findings as one JSON document")


def run(args: argparse.Namespace) -> int:
    """Check, step by step; a session is created, spoken to and ended.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0 if all is well, 1 if a step failed, 2 if the environment is not
        complete, 130 after Ctrl-C or SIGTERM.
    """
    try:
        variables = _variables(args)
    except OSError as error:
        sys.stderr.write(f"Cannot read {args.env_file}: {error.strerror}.\n")
        return _EXIT_USAGE
    report = _JsonReport() if args.json else _TextReport()
    diagnosis = Diagnosis(lambda: read_environment(variables), begin=report.begin, tell=report.tell)
    interrupted = False
    try:
        _interrupt_on_sigterm()
        asyncio.run(diagnosis.run())
    except KeyboardInterrupt:
        interrupted = True
    status = _EXIT_INTERRUPTED if interrupted else _exit_status(diagnosis.findings)
    report.conclude(diagnosis.findings, diagnosis.environment, status)
    return status


def _variables(args: argparse.Namespace) -> dict[str, str]:
    """Join the file, the process's variables and the arguments; the latter win."""
    path: Path = args.env_file or DEFAULT_ENV_FILE
    variables: dict[str, str] = {}
    if args.env_file is not None or path.is_file():
        with path.open(encoding="utf-8") as file:
            variables |= {name: value or "" for name, value in dotenv_values(stream=file).items()}
    variables |= {name: value for name, value in os.environ.items() if value.strip()}
    if args.room:  # the one that is named, and not the other
        rooms = (DAILY_ROOM_URL, LIVEKIT_URL)
        chosen, other = rooms[::-1] if args.room.startswith(("wss:", "ws:")) else rooms
        variables.pop(other.name, None)
        variables[chosen.name] = args.room
    if args.room_name:
        variables[LIVEKIT_ROOM_NAME.name] = args.room_name
    if args.token:  # of whichever room it is
        for variable in (DAILY_AVATAR_TOKEN, LIVEKIT_AVATAR_TOKEN):
            variables[variable.name] = args.token
    return variables


def _interrupt_on_sigterm() -> None:
    """Treat SIGTERM like Ctrl-C, so that the session is ended then as well."""

    def on_sigterm(number: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, on_sigterm)


def _exit_status(findings: list[Finding]) -> int:
    failed = {finding.step for finding in findings if finding.status is Status.FAILED}
    if Step.ENVIRONMENT in failed:
        return _EXIT_USAGE
    return _EXIT_FAILED if failed else 0


class _TextReport:
    """A line for each step, as soon as it is known."""

    def __init__(self) -> None:
        self._signs = Signs(sys.stdout)
        self._is_terminal = takes_colours(sys.stdout)
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
        self._width = width

    def begin(self, step: Step) -> None:
        if self._is_terminal:  # the line is written over when the step is done
            self._write(f"     {_TITLES[step]} ...\r")

    def tell(self, finding: Finding) -> None:
        sign = _SIGNS[finding.status]
        took = "" if finding.status is Status.SKIPPED else f"{finding.secs:.2f} s"
        head = f"{_TITLES[finding.step]:{_TITLE_WIDTH}}  {took:>7}  "
        self._tell(self._signs.draw(sign), head, finding.detail)
        if finding.remedy:
            self._tell(" " * self._signs.width, " " * len(head), finding.remedy, Sign.REMEDY)

    def _tell(self, sign: str, head: str, text: str, mark: Sign | None = None) -> None:
        before = "" if mark is None else f"{self._signs.draw(mark)} "
        indent = (
            2 + self._signs.width + 2 + len(head) + (0 if mark is None else self._signs.width + 1)
        )
        room = max(self._width - indent, _NARROWEST)
        lines = textwrap.wrap(text, min(room, 10_000), break_long_words=False) or [""]
        self._write(f"  {sign}  {head}{before}{lines[0]}\n")
        for line in lines[1:]:
            self._write(f"{' ' * indent}{line}\n")

    def conclude(
        self, findings: list[Finding], environment: Environment | None, status: int
    ) -> None:
        failed = [_TITLES[f.step] for f in findings if f.status is Status.FAILED]
        if status == _EXIT_INTERRUPTED:
            self._write("\nInterrupted.\n")
        elif failed:
            self._write(f"\nFailed: {', '.join(failed)}.\n")
        else:
            self._write("\nAll is well: a bot with this environment has an avatar that speaks.\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class _JsonReport:
    """One document, at the end."""

    def begin(self, step: Step) -> None:
        pass

    def tell(self, finding: Finding) -> None:
        pass

    def conclude(
        self, findings: list[Finding], environment: Environment | None, status: int
    ) -> None:
        document: dict[str, Any] = {
            "ok": status == 0,
            "interrupted": status == _EXIT_INTERRUPTED,
            "api_url": environment and environment.api_url,
            "ws_url": environment and environment.ws_url,
            "steps": [
                {
                    "step": finding.step.value,
                    "status": finding.status.value,
                    "secs": round(finding.secs, 3),
                    "detail": finding.detail,
                    "remedy": finding.remedy,
                }
                for finding in findings
            ],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
