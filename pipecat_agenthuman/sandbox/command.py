"""``pipecat-agenthuman sandbox``: run the sandbox in a terminal."""

from __future__ import annotations

import argparse
import asyncio
import errno
import shutil
import sys
from pathlib import Path
from typing import Final

from pipecat_agenthuman.sandbox.fault_help import fault_help
from pipecat_agenthuman.sandbox.faults import Fault, parse_fault
from pipecat_agenthuman.sandbox.log import Entry
from pipecat_agenthuman.sandbox.narration import digest, narrate
from pipecat_agenthuman.sandbox.options import add_options, sandbox_arguments
from pipecat_agenthuman.sandbox.sandbox import Sandbox
from pipecat_agenthuman.sandbox.sound import Heard
from pipecat_agenthuman.sandbox.stop_signals import stop_signals

_LONGEST_GAP_SECS: Final = 5.0
"""Longer silences, such as those between two calls, are shortened to this in the WAV file."""

_EXIT_FAILED: Final = 1
_EXIT_USAGE: Final = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sandbox's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman sandbox``, which has ``--verbose`` as all its
            commands have: the sandbox then tells of every message.
    """
    add_options(parser)
    add = parser.add_argument
    add("--wav", type=Path, metavar="FILE", help="write what was heard in the room, at the end")
    add(
        "--fault",
        action="append",
        default=[],
        metavar="JSON",
        help='something that goes wrong, for example \'{"on": "agent.speak", "kind": "missing"}\'; '
        "may be repeated; see --help-faults",
    )
    add("--help-faults", action="store_true", help="explain the faults, and exit")


def run(args: argparse.Namespace) -> int:
    """Run the sandbox until Ctrl-C or SIGTERM.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0 at an orderly end, 1 if it cannot listen or write its files, 2 for
        arguments that make no sense.
    """
    if args.help_faults:
        _say(fault_help(shutil.get_terminal_size().columns))
        return 0
    try:
        faults = [parse_fault(text) for text in args.fault]
    except ValueError as error:
        return _complain(f"--fault: {error}", _EXIT_USAGE)
    try:
        return asyncio.run(_serve(args, faults))
    except ValueError as error:
        return _complain(str(error), _EXIT_USAGE)
    except OSError as error:
        return _complain(_explain(error, args), _EXIT_FAILED)
    except KeyboardInterrupt:  # before the handlers were in place
        return 0


async def _serve(args: argparse.Namespace, faults: list[Fault]) -> int:
    sandbox = Sandbox(**sandbox_arguments(args), faults=faults)
    if args.wav is not None:
        Heard().write_wav(args.wav)  # finds out now whether the file can be written
    sandbox.listen(_tell_all if args.verbose else _tell_news)
    stop = asyncio.Event()
    with stop_signals(asyncio.get_running_loop(), stop):
        async with sandbox:
            _say(_welcome(sandbox))
            await stop.wait()
        if args.wav is not None:
            _write_heard(sandbox.heard(), args.wav)
    return 0


def _welcome(sandbox: Sandbox) -> str:
    lines = [f"{name}={value}" for name, value in sandbox.environment.items()]
    return "\n".join(
        [
            "The Agent Human sandbox is running. Put this into .env:",
            "",
            *lines,
            "",
            f"See and hear it: {sandbox.room_url}",
            f"Control: {sandbox.api_url.removesuffix('/v1')}/sandbox/state. Ctrl-C ends it.",
        ]
    )


def _write_heard(heard: Heard, path: Path) -> None:
    heard.write_wav(path, longest_gap_secs=_LONGEST_GAP_SECS)
    _say(f"Wrote {heard.duration_secs:.1f} s of speech to {path}.")


def _explain(error: OSError, args: argparse.Namespace) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {args.port} on {args.host} is in use; choose another with --port."
    if error.filename is not None:
        return f"Cannot write {error.filename}: {error.strerror}."
    return f"Cannot listen on {args.host}, port {args.port}: {error.strerror or error}."


def _tell_news(entry: Entry) -> None:
    _say(digest(entry))


def _tell_all(entry: Entry) -> None:
    _say(narrate(entry))


def _say(text: str | None) -> None:
    if text is not None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _complain(text: str, status: int) -> int:
    sys.stderr.write(f"{text}\n")
    return status
