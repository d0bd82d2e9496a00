"""The sandbox's arguments as options of its command."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, get_args

from pipecat_agenthuman.sandbox.playback import BeforeJoin
from pipecat_agenthuman.sandbox.sandbox import DEFAULT_API_KEY, ServerAddresses

DEFAULT_PORT: Final = 8760
"""Fixed, so that the lines in ``.env`` stay right from run to run."""


@dataclass(frozen=True)
class _Option:
    """An argument of ``Sandbox``, and how it is given.

    Attributes:
        argument: Its name.
        flag: The option's.
        help: What it does.
        kind: Makes a value of a word.
        default: What counts if it is not given.
        metavar: Stands for the value.
        choices: All values that there are.
    """

    argument: str
    flag: str
    help: str
    kind: Any = str
    default: Any = None
    metavar: str | None = None
    choices: tuple[Any, ...] | None = None


def _secs_or_never(word: str) -> float | None:
    return None if word == "never" else float(word)


def _code_or_none(word: str) -> int | None:
    return None if word == "none" else int(word)


_WHERE: Final = (
    _Option("host", "--host", "address to listen on (%(default)s)", default="127.0.0.1"),
    _Option(
        "port", "--port", "port, 0 for a free one (%(default)s)", int, DEFAULT_PORT, metavar="PORT"
    ),
    _Option("api_key", "--api-key", "key that is accepted (%(default)s)", default=DEFAULT_API_KEY),
)
_AVATAR: Final = (
    _Option(
        "render_latency_secs",
        "--render-latency",
        "from a confirmation to its sound in the room (%(default)s)",
        float,
        0.5,
        "SECS",
    ),
    _Option(
        "join_delay_secs",
        "--join-delay",
        "from a session's creation to the avatar's joining, or never (%(default)s)",
        _secs_or_never,
        0.0,
        "SECS",
    ),
    _Option(
        "before_join",
        "--before-join",
        "what becomes of words that are due before the avatar is there (%(default)s)",
        default="lost",
        choices=get_args(BeforeJoin),
    ),
)
_ACCOUNT: Final = (
    _Option(
        "max_sessions",
        "--max-sessions",
        "sessions at a time; one more is refused with 429 (%(default)s, as in the free plan)",
        int,
        1,
        "N",
    ),
    _Option("minutes", "--minutes", "minutes to spend (%(default)s)", float, 1000, "N"),
    _Option(
        "session_secs",
        "--session-life",
        "sessions expire after so long, or never (never)",
        _secs_or_never,
        None,
        "SECS",
    ),
    _Option(
        "orphan_secs",
        "--orphan-life",
        "a session without a client is ended after so long (%(default)s)",
        float,
        180.0,
        "SECS",
    ),
)
_NETWORK: Final = (
    _Option(
        "round_trip_secs",
        "--round-trip",
        "simulated network, half of it each way (%(default)s)",
        float,
        0.0,
        "SECS",
    ),
)
_UNDOCUMENTED: Final = (
    _Option(
        "init_deadline_secs",
        "--init-deadline",
        "sockets without session.init are closed after so long, or never (%(default)s)",
        _secs_or_never,
        10.0,
        "SECS",
    ),
    _Option(
        "error_close_code",
        "--error-close-code",
        "close code after every error, or none: the socket stays open (none)",
        _code_or_none,
        None,
        "CODE",
    ),
    _Option(
        "end_close_code",
        "--end-close-code",
        "close code when a session ends, or none: the socket stays open (%(default)s)",
        _code_or_none,
        1000,
        "CODE",
    ),
    _Option(
        "created_status",
        "--created-status",
        "HTTP status of a created session (%(default)s)",
        int,
        201,
        choices=(200, 201),
    ),
    _Option(
        "running_status",
        "--running-status",
        "what a running session is called (%(default)s)",
        default="started",
        choices=("started", "active"),
    ),
    _Option(
        "server_addresses",
        "--server-addresses",
        "what a create's answer says of the session's server (%(default)s)",
        default="none",
        choices=get_args(ServerAddresses),
    ),
)
_GROUPS: Final = {
    "where it listens": _WHERE,
    "the avatar": _AVATAR,
    "the account": _ACCOUNT,
    "the network": _NETWORK,
    "what the documentation leaves open": _UNDOCUMENTED,
}
_FLAGS: Final = ("beyond_loopback", "lists_metadata")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add an option for each argument of ``Sandbox``.

    Args:
        parser: The parser of ``pipecat-agenthuman sandbox``.
    """
    for title, options in _GROUPS.items():
        group = parser.add_argument_group(title)
        for option in options:
            group.add_argument(
                option.flag,
                dest=option.argument,
                type=option.kind,
                default=option.default,
                metavar=option.metavar,
                choices=option.choices,
                help=option.help,
            )
        if options is _WHERE:
            group.add_argument(
                "--beyond-loopback",
                action="store_true",
                help="allow any --host, for a container whose port is published to loopback; "
                "whoever reaches the port can read what is said",
            )
        if options is _UNDOCUMENTED:
            group.add_argument(
                "--no-list-metadata",
                dest="lists_metadata",
                action="store_false",
                help="the list of sessions has no metadata",
            )
    parser.add_argument(
        "--log",
        dest="log_path",
        type=Path,
        metavar="FILE",
        help="write every event as a line of JSON",
    )


def sandbox_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Take the arguments of ``Sandbox`` out of what was parsed.

    Args:
        args: What a parser with ``add_options`` parsed.

    Returns:
        Arguments by name.

    Raises:
        ValueError: If there is no such port.
    """
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port must be between 0 and 65535, got {args.port}.")
    names = [option.argument for options in _GROUPS.values() for option in options]
    return {name: getattr(args, name) for name in (*names, *_FLAGS, "log_path")}
