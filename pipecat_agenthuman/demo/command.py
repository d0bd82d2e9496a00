"""``pipecat-agenthuman demo``: the whole package at work, in one process and without a key."""

from __future__ import annotations

import argparse
import asyncio
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from pipecat_agenthuman.demo.script import DEFAULT_TEXTS, ScriptLine, write_script

DEFAULT_OUT: Final = Path("demo.wav")

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the demo's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman demo``.
    """
    parser.add_argument(
        "--text",
        action="append",
        metavar="TEXT",
        help="say this instead; may be repeated, and the last text but one is interrupted",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=DEFAULT_OUT,
        metavar="FILE",
        help="WAV file for what was heard (%(default)s)",
    )
    parser.add_argument(
        "-q", "--quiet", action="store_true", help="print one line with the result, nothing else"
    )


def run(args: argparse.Namespace) -> int:
    """Run the demo, verify it and tell of it.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0 if the avatar said exactly what it should, 1 if not or if the file
        cannot be written, 2 for arguments that make no sense.

    Raises:
        ModuleNotFoundError: If the extra ``demo`` is not installed.
        AgentHumanError: If the speech synthesiser fails.
    """
    try:
        script = write_script(args.text or DEFAULT_TEXTS)
    except ValueError as error:
        return _complain(str(error), _EXIT_USAGE)
    for module in ("rich", "espeakng_loader"):  # now, and not when half of it is done
        import_module(module)
    try:
        return _perform(script, args.out, quiet=args.quiet)
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


def _complain(text: str, status: int) -> int:
    sys.stdout.flush()
    sys.stderr.write(f"pipecat-agenthuman: {text}\n")
    return status
