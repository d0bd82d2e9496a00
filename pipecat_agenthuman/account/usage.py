"""``pipecat-agenthuman usage``: what the account may still use."""

from __future__ import annotations

import argparse
import sys
from datetime import UTC

from pipecat_agenthuman.account.access import (
    add_shared_arguments,
    print_json,
    run_with_account,
    shown,
)
from pipecat_agenthuman.account.table import write_table
from pipecat_agenthuman.client.api import AgentHumanApi


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments to a parser.

    Args:
        parser: The parser of ``pipecat-agenthuman usage``.
    """
    add_shared_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Tell the minutes that are left, and how many sessions may run.

    Args:
        args: What ``add_arguments`` parsed.

    Returns:
        Exit status: 0, 1 if the service refused, 2 if the environment is not complete.
    """

    async def act(api: AgentHumanApi) -> int:
        usage = await api.get_usage()
        if args.json:
            print_json(usage.model_dump(mode="json"))
            return 0
        sessions = f"{shown(usage.sessions_current)} of {shown(usage.sessions_max)}"
        ends_at = usage.period_ends_at
        rows = [
            ("Minutes left", shown(usage.minutes_remaining)),
            ("Sessions running", sessions),
            ("Sessions free", shown(usage.sessions_available)),
            ("Plan", shown(usage.plan)),
            ("Its period ends", shown(ends_at and f"{ends_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC")),
        ]
        write_table(("Account", ""), rows, sys.stdout)
        return 0

    return run_with_account(args, act)
