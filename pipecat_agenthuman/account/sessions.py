"""``pipecat-agenthuman sessions``: see which run and are billed, and end them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from pipecat_agenthuman.account.access import (
    EXIT_FAILED,
    UsageError,
    add_shared_arguments,
    print_json,
    run_with_account,
)
from pipecat_agenthuman.account.table import write_table
from pipecat_agenthuman.client.api import AgentHumanApi, SessionRecord
from pipecat_agenthuman.errors import ApiError, NotFoundError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman sessions``.
    """
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--end", action="append", metavar="ID", help="end this session; may be repeated"
    )
    instead.add_argument(
        "--end-all", action="store_true", help="end all that run, after a question"
    )
    parser.add_argument("-y", "--yes", action="store_true", help="do not ask before --end-all")
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """List the sessions that run, or end some.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0, 1 if a session could not be ended or the service refused, 2 if the
        environment is not complete or nobody can be asked.
    """

    async def act(api: AgentHumanApi) -> int:
        if args.end:
            return await _end([await _found(api, each) for each in args.end], api, args)
        running = [each for each in await api.list_sessions(status="started") if each.running]
        if not args.end_all:
            _list(running, as_json=args.json)
            return 0
        if running and not args.yes and not _agreed(running):
            sys.stderr.write("Nothing was ended.\n")
            return EXIT_FAILED
        return await _end(running, api, args)

    return run_with_account(args, act)


def _list(running: Sequence[SessionRecord], *, as_json: bool) -> None:
    if as_json:
        print_json({"sessions": [each.model_dump(mode="json") for each in running]})
    elif running:
        _write(running)
    else:
        sys.stdout.write("No session runs under this key.\n")


def _write(running: Sequence[SessionRecord]) -> None:
    now = datetime.now(UTC)
    rows = [
        (
            each.session_id,
            _moment(each.started_at),
            _minutes(each.started_at and (now - each.started_at).total_seconds()),
            _moment(each.expiration),
        )
        for each in running
    ]
    write_table(("ID", "Started", "Runs for", "Ends by itself"), rows, sys.stdout)


def _moment(moment: datetime | None) -> str:
    return "not said" if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _minutes(secs: float | None) -> str:
    if secs is None:
        return "not said"
    minutes, seconds = divmod(max(round(secs), 0), 60)
    return f"{minutes} min {seconds:02} s"


def _agreed(running: Sequence[SessionRecord]) -> bool:
    """Ask whether to end them all; on standard error, so that ``--json`` stays one document."""
    if not sys.stdin.isatty():
        raise UsageError("Nobody can be asked whether to end them all. Say so with --yes.")
    names = ", ".join(each.session_id for each in running)
    sys.stderr.write(
        f"{len(running)} session(s) run: {names}. Whoever is in such a call loses the avatar.\n"
        "End them all? [y/N] "
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().casefold() in ("y", "yes")


async def _found(api: AgentHumanApi, session_id: str) -> SessionRecord:
    """Look at a session first: ending one that the service does not know succeeds."""
    try:
        return await api.get_session(session_id)
    except NotFoundError:
        raise UsageError(
            f"This key has no session {session_id}. See which run: pipecat-agenthuman sessions"
        ) from None


async def _end(
    sessions: Sequence[SessionRecord], api: AgentHumanApi, args: argparse.Namespace
) -> int:
    """End sessions, each whether or not another could be ended."""
    told: list[dict[str, Any]] = []
    for session in sessions:
        try:
            ended = await api.end_session(session.session_id)
        except ApiError:  # which says in the log that it may still run and be billed, and why
            told.append({"session_id": session.session_id, "ended": False})
            continue
        told.append({"session_id": session.session_id, "ended": True})
        if not args.json:
            ran = "" if ended.duration_secs is None else f", after {_minutes(ended.duration_secs)}"
            already = session.status == ended.status
            verb = "had ended already" if already else f"ended{ran}"
            sys.stdout.write(f"{session.session_id} {verb}\n")
    if args.json:
        print_json({"sessions": told})
    elif not sessions:
        sys.stdout.write("No session runs under this key.\n")
    return 0 if all(each["ended"] for each in told) else EXIT_FAILED
