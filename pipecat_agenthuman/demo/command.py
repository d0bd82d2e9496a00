"""``pipecat-agenthuman demo``: the whole package at work, in one process and without a key.

In a terminal it opens a room in the browser, with a bot to talk to. ``--headless``, or anywhere
else, it lets the bot say its lines, and verifies what was heard.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Final

from pipecat_agenthuman.demo.script import DEFAULT_TEXTS, ScriptLine, write_script

DEFAULT_OUT: Final = Path("demo.wav")
DEFAULT_ENV_FILE: Final = Path(".env")

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman demo``.
    """
    room = parser.add_argument_group("the room, in the browser")
    room.add_argument(
        "--no-browser",
        action="store_true",
        help="open no browser: go to the page that is printed",
    )
    room.add_argument("--port", type=int, metavar="PORT", help="port of the page (a free one)")
    room.add_argument(
        "--llm",
        metavar="MODEL",
        help="a language model answers, behind an OpenAI-compatible API: OPENAI_BASE_URL and "
        "OPENAI_API_KEY, in the environment or in .env",
    )
    room.add_argument(
        "--stt",
        metavar="NAME[:MODEL]",
        help="what you say is recognised: whisper (on this machine), deepgram (DEEPGRAM_API_KEY) "
        "or openai (as for --llm)",
    )
    headless = parser.add_argument_group("without a browser: a run that is verified")
    headless.add_argument(
        "--headless",
        action="store_true",
        help="let the bot say its lines, and verify what was heard; so too if the output is no "
        "terminal, and with the options below",
    )
    headless.add_argument(
        "--text",
        action="append",
        metavar="TEXT",
        help="say this instead; may be repeated, and the last text but one is interrupted",
    )
    headless.add_argument(
        "--out", type=Path, metavar="FILE", help=f"WAV file for what was heard ({DEFAULT_OUT})"
    )
    headless.add_argument(
        "-q", "--quiet", action="store_true", help="print one line with the result, nothing else"
    )


def run(args: argparse.Namespace) -> int:
    """Open the room, or run the demo and verify it.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0 if the avatar said exactly what it should or the room was closed in
        order, 1 if not or if the file cannot be written or the port is in use, 2 for arguments
        that make no sense.

    Raises:
        ModuleNotFoundError: If the extra ``demo`` is not installed.
        AgentHumanError: If the speech synthesiser or the room's bot fails.
    """
    try:
        if is_headless(args, on_terminal=sys.stdout.isatty()):
            script = write_script(args.text or DEFAULT_TEXTS)
            return _run_headless(script, args.out or DEFAULT_OUT, quiet=args.quiet)
        return _run_room(args)
    except ValueError as error:
        return _complain(str(error), _EXIT_USAGE)


def is_headless(args: argparse.Namespace, *, on_terminal: bool) -> bool:
    """Tell whether the arguments mean the verified run, and not the room.

    Args:
        args: What ``add_arguments`` parsed.
        on_terminal: Whether a person reads the output.

    Returns:
        Whether it is the verified run.

    Raises:
        ValueError: If they mean both.
    """
    headless = [
        name
        for name, is_given in (
            ("--headless", args.headless),
            ("--text", args.text),
            ("--out", args.out),
            ("--quiet", args.quiet),
        )
        if is_given
    ]
    room = [
        name
        for name, is_given in (
            ("--no-browser", args.no_browser),
            ("--port", args.port is not None),
            ("--llm", args.llm),
            ("--stt", args.stt),
        )
        if is_given
    ]
    if headless and room:
        raise ValueError(f"{room[0]} is for the room, {headless[0]} for the run without it.")
    return bool(headless) or not (room or on_terminal)


# --- without a browser -------------------------------------------------------------------


def _run_headless(script: tuple[ScriptLine, ...], out: Path, *, quiet: bool) -> int:
    _require_extra()
    try:
        return _perform(script, out, quiet=quiet)
    except OSError as error:
        if error.filename is None:
            raise
        return _complain(f"Cannot write {error.filename}: {error.strerror}.", _EXIT_FAILED)


def _perform(script: tuple[ScriptLine, ...], out: Path, *, quiet: bool) -> int:
    # Only here: they import Pipecat and rich.
    from pipecat_agenthuman.demo.performance import find_flaws
    from pipecat_agenthuman.demo.stage import perform
    from pipecat_agenthuman.demo.terminal import Terminal
    from pipecat_agenthuman.sandbox.sound import Heard

    Heard().write_wav(out)  # finds out now whether the file can be written
    terminal = Terminal(sys.stdout)
    if not quiet:
        terminal.introduce()
    performance = asyncio.run(perform(script, _stay_silent if quiet else terminal.tell))
    performance.heard.write_wav(out)
    flaws = find_flaws(performance)
    if not quiet:
        terminal.conclude(performance, flaws, out)
    elif not flaws:
        sys.stdout.write(f"ok: {performance.heard.duration_secs:.2f} s heard, in {out}\n")
    return _complain(f"The demo failed: {flaws[0]}", _EXIT_FAILED) if flaws else 0


def _stay_silent(*event: object) -> None:
    """Tell nothing."""


# --- the room ----------------------------------------------------------------------------


def _run_room(args: argparse.Namespace) -> int:
    from pipecat_agenthuman.demo.options import choose_model, choose_recogniser

    port = 0 if args.port is None else args.port
    if not 0 <= port <= 65535:
        raise ValueError(f"--port must be between 0 and 65535, got {port}.")
    variables = _variables()
    model, recogniser = choose_model(args.llm, variables), choose_recogniser(args.stt, variables)
    _require_extra()
    # Only here: it imports Pipecat.
    from pipecat_agenthuman.demo.room import RoomOptions, open_room
    from pipecat_agenthuman.demo.services import MissingServiceError

    options = RoomOptions(port, not args.no_browser, model, recogniser, tells_all=args.verbose)
    try:
        asyncio.run(open_room(options, _say))
    except OSError as error:
        where = f"Cannot listen on port {port}: {error.strerror or error}."
        return _complain(f"{where} Choose another with --port.", _EXIT_FAILED)
    except MissingServiceError as error:
        return _complain(error.message, _EXIT_USAGE)
    return 0


def _variables() -> Mapping[str, str]:
    """The process's variables, and those of ``.env`` that are not set otherwise."""
    variables: dict[str, str] = {}
    if DEFAULT_ENV_FILE.is_file():
        from dotenv import dotenv_values

        with DEFAULT_ENV_FILE.open(encoding="utf-8") as file:
            variables |= {name: value or "" for name, value in dotenv_values(stream=file).items()}
    return variables | {name: value for name, value in os.environ.items() if value.strip()}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _require_extra() -> None:
    for module in ("rich", "espeakng_loader"):  # now, and not when half of it is done
        import_module(module)


def _complain(text: str, status: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"pipecat-agenthuman: {text}\n")
    return status
