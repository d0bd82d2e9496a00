"""``pipecat-agenthuman``: the demo, the sandbox, the check and the account, from a terminal.

Nothing of Pipecat is imported before a command is chosen, so ``--help`` is there at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from typing import Final, TextIO

from pipecat_agenthuman._environment import in_variables
from pipecat_agenthuman._terminal import PROGRAM, complain
from pipecat_agenthuman.errors import AgentHumanError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130
"""What a shell reports of a program that Ctrl-C ended: 128 and the number of the signal."""

_EXTRA: Final = frozenset({"espeakng_loader", "rich"})
"""Modules that come with the extra ``demo``."""


@dataclass(frozen=True)
class _Subcommand:
    """A subcommand.

    Attributes:
        summary: What it does, for the list of commands.
        module: Has ``add_arguments(parser)`` and ``run(args)``; imported when it is chosen.
    """

    summary: str
    module: str


_COMMANDS: Final = {
    "demo": _Subcommand(
        "let an avatar speak in a local sandbox, and hear what it says; needs no key",
        "pipecat_agenthuman.demo.command",
    ),
    "sandbox": _Subcommand(
        "run a local stand-in of the Agent Human service",
        "pipecat_agenthuman.sandbox.command",
    ),
    "check": _Subcommand(
        "find out step by step why an avatar does not appear",
        "pipecat_agenthuman.check.command",
    ),
    "avatars": _Subcommand(
        "list the avatars of your account, look at one, or make one of a picture",
        "pipecat_agenthuman.account.avatars",
    ),
    "usage": _Subcommand(
        "show the minutes that are left, and how many sessions may run",
        "pipecat_agenthuman.account.usage",
    ),
    "sessions": _Subcommand(
        "list the sessions that run and are billed, and end them",
        "pipecat_agenthuman.account.sessions",
    ),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: Arguments without the program's name; those of the process if None.

    Returns:
        Exit status: 0 if all is well, 1 if something failed, 2 for wrong usage or a missing
        extra, 130 after Ctrl-C.

    Raises:
        SystemExit: After ``--help`` and ``--version``, and for arguments that are not known.
    """
    _write_anything(sys.stdout, sys.stderr)
    args = _parse(sys.argv[1:] if argv is None else list(argv))
    _log_to_stderr(verbose=args.verbose)
    try:
        status: int = import_module(_COMMANDS[args.command].module).run(args)
        sys.stdout.flush()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in _EXTRA:
            raise
        return complain(
            f"The {args.command} needs {error.name}: pip install '{PROGRAM}[demo]'", EXIT_USAGE
        )
    except BrokenPipeError:
        _forget_stdout()
        return EXIT_FAILED
    except AgentHumanError as error:
        return complain(in_variables(str(error)), EXIT_FAILED)
    except KeyboardInterrupt:
        return complain("Interrupted.", EXIT_INTERRUPTED)
    return status


def _parse(argv: list[str]) -> argparse.Namespace:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-v",
        "--verbose",
        action="store_true",
        help="show the log of Pipecat and this package, and of the sandbox every message",
    )
    parser = argparse.ArgumentParser(
        prog=PROGRAM, description="Agent Human talking avatars for Pipecat."
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version(PROGRAM)}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    # The program's own options take no value, so the first word is the command.
    chosen = next((word for word in argv if not word.startswith("-")), None)
    for name, command in _COMMANDS.items():
        subparser = commands.add_parser(
            name, help=command.summary, description=_sentence(command.summary), parents=[common]
        )
        if name == chosen:
            import_module(command.module).add_arguments(subparser)
    return parser.parse_args(argv)


def _sentence(summary: str) -> str:
    return f"{summary[0].upper()}{summary[1:]}."


def _log_to_stderr(*, verbose: bool) -> None:
    """Keep log lines away from the output; before Pipecat is imported and greets."""
    from loguru import logger

    logger.remove()
    logger.add(
        _write_log,
        level="DEBUG" if verbose else "WARNING",
        format="{time:HH:mm:ss.SSS} {level: <7} {message}" if verbose else "{level}: {message}",
        backtrace=verbose,
        diagnose=False,  # it would show the values of variables, and so keys
    )


def _write_log(lines: str) -> None:
    sys.stderr.write(lines)  # wherever that leads at the moment


def _write_anything(*streams: TextIO) -> None:
    """Replace what the terminal's encoding lacks, for example on older Windows consoles."""
    for stream in streams:
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")


def _forget_stdout() -> None:
    """Let the interpreter's last flush succeed although nobody reads the output any more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
