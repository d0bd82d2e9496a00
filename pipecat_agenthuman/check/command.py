"""``pipecat-agenthuman check``: find out why an avatar does not appear."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any, Final

from pipecat_agenthuman._env_file import EnvFileError, add_env_file_argument, read_variables
from pipecat_agenthuman._environment import (
    DAILY_AVATAR_TOKEN,
    DAILY_ROOM_URL,
    LIVEKIT_AVATAR_TOKEN,
    LIVEKIT_ROOM_NAME,
    LIVEKIT_URL,
)
from pipecat_agenthuman._terminal import Sign, Signs, columns, complain, takes_colours, wrapped
from pipecat_agenthuman.check.diagnosis import Diagnosis, Finding, Status, Step
from pipecat_agenthuman.check.environment import read_environment

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2
_EXIT_INTERRUPTED: Final = 130

_TITLES: Final = {
    Step.ENVIRONMENT: "Environment",
    Step.API_KEY: "API key",
    Step.ACCOUNT: "Account",
    Step.AVATAR: "Avatar",
    Step.ROOM: "Room",
    Step.LISTENER: "Listener",
    Step.SESSION: "Session",
    Step.CONNECTION: "WebSocket",
    Step.APPEARANCE: "Appearance",
    Step.SPEECH: "Speech",
    Step.VOICE: "Voice",
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
"""Columns that a text needs beside its step; with fewer it stands below."""

_SHALLOW: Final = 4
_TICK_SECS: Final = 1.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the check's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman check``.
    """
    parser.epilog = (
        "A session is created, spoken to for a moment and ended. It is billed like any other, "
        "unless the sandbox answers."
    )
    add_env_file_argument(parser)
    add = parser.add_argument
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
    add(
        "--listen",
        action=argparse.BooleanOptionalAction,
        help="sit in the room and listen whether the avatar appears and is heard (by default, "
        "unless the service is a sandbox); it needs a key with which to make its own token",
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
    except EnvFileError as error:
        return complain(str(error), _EXIT_USAGE)
    report = _JsonReport() if args.json else _TextReport()
    diagnosis = Diagnosis(
        lambda: read_environment(variables),
        begin=report.begin,
        tell=report.tell,
        listens=args.listen,
    )
    interrupted = False
    try:
        _interrupt_on_sigterm()
        asyncio.run(_walk(diagnosis, report))
    except KeyboardInterrupt:
        interrupted = True
    status = _EXIT_INTERRUPTED if interrupted else _exit_status(diagnosis.findings)
    report.conclude(diagnosis, status)
    return status


async def _walk(diagnosis: Diagnosis, report: _TextReport | _JsonReport) -> None:
    async def tick() -> None:
        while True:
            await asyncio.sleep(_TICK_SECS)
            report.tick()

    ticking = asyncio.create_task(tick())
    try:
        await diagnosis.run()
    finally:
        ticking.cancel()


def _variables(args: argparse.Namespace) -> dict[str, str]:
    """What is set, with the arguments before it."""
    variables = read_variables(args.env_file)
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
    """A line for each step, as soon as it is known, and meanwhile the seconds that it takes."""

    def __init__(self) -> None:
        self._signs = Signs(sys.stdout)
        self._is_terminal = takes_colours(sys.stdout)
        self._width = columns(sys.stdout)
        self._step: Step | None = None
        self._began_at = 0.0

    def begin(self, step: Step) -> None:
        self._step, self._began_at = step, time.monotonic()
        self._show_waiting("...")

    def tick(self) -> None:
        self._show_waiting(f"... {time.monotonic() - self._began_at:.0f} s")

    def _show_waiting(self, so_far: str) -> None:
        if self._is_terminal and self._step is not None:
            # Written over when the step is done, which is longer.
            self._write(f"     {_TITLES[self._step]:{_TITLE_WIDTH}} {so_far}\r")

    def tell(self, finding: Finding) -> None:
        self._step = None
        sign = _SIGNS[finding.status]
        took = "" if finding.status is Status.SKIPPED else f"{finding.secs:.2f} s"
        head = f"{_TITLES[finding.step]:{_TITLE_WIDTH}}  {took:>7}  "
        self._tell(self._signs.draw(sign), head, finding.detail)
        if finding.remedy:
            self._tell(" " * self._signs.width, " " * len(head), finding.remedy, Sign.REMEDY)

    def _tell(self, sign: str, head: str, text: str, mark: Sign | None = None) -> None:
        before = "" if mark is None else f"{self._signs.draw(mark)} "
        shift = 0 if mark is None else self._signs.width + 1
        indent = 2 + self._signs.width + 2 + len(head) + shift
        if self._width is not None and self._width - indent < _NARROWEST:
            # No room beside the head, so the text stands below it.
            if mark is None:
                self._write(f"  {sign}  {head.rstrip()}\n")
            start, indent = " " * _SHALLOW, _SHALLOW + shift
        else:
            start = f"  {sign}  {head}"
        room = None if self._width is None else max(self._width - indent, 1)
        first, *rest = wrapped(text, room)
        self._write(f"{start}{before}{first}\n")
        for line in rest:
            self._write(f"{' ' * indent}{line}\n")

    def conclude(self, diagnosis: Diagnosis, status: int) -> None:
        failed = [_TITLES[f.step] for f in diagnosis.findings if f.status is Status.FAILED]
        if status == _EXIT_INTERRUPTED:
            text = "Interrupted."
        elif failed:
            text = f"Failed: {', '.join(failed)}."
        elif diagnosis.asked_sandbox:
            text = (
                "All is well with the sandbox on this machine: a bot with this environment speaks "
                "through it. The hosted service was not asked, and nothing was billed."
            )
        else:
            text = (
                "All is well: a bot with this environment has an avatar that speaks. The session "
                "of this check is billed like any other."
            )
        self._write("\n" + "\n".join(wrapped(text, self._width)) + "\n")

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class _JsonReport:
    """One document, at the end."""

    def begin(self, step: Step) -> None:
        pass

    def tell(self, finding: Finding) -> None:
        pass

    def tick(self) -> None:
        pass

    def conclude(self, diagnosis: Diagnosis, status: int) -> None:
        environment = diagnosis.environment
        document: dict[str, Any] = {
            "ok": status == 0,
            "interrupted": status == _EXIT_INTERRUPTED,
            "api_url": environment and environment.api_url,
            "ws_url": environment and environment.ws_url,
            "sandbox": diagnosis.asked_sandbox,
            "steps": [
                {
                    "step": finding.step.value,
                    "status": finding.status.value,
                    "secs": round(finding.secs, 3),
                    "detail": finding.detail,
                    "remedy": finding.remedy,
                }
                for finding in diagnosis.findings
            ],
        }
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
