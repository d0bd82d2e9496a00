"""What the commands of the account share: how they get to it, and how they end."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pipecat_agenthuman._env_file import EnvFileError, add_env_file_argument, read_variables
from pipecat_agenthuman._environment import API_KEY, API_URL, in_variables, is_placeholder
from pipecat_agenthuman._terminal import complain
from pipecat_agenthuman.client.api import AgentHumanApi, RetryPolicy
from pipecat_agenthuman.errors import AgentHumanError

EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

PATIENCE: Final = RetryPolicy(max_attempts=3, max_total_secs=10.0, first_pause_secs=0.2)
"""Somebody waits in front of a terminal."""


class UsageError(Exception):
    """The command cannot be carried out as it was given."""


def add_shared_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that every command of the account takes.

    Args:
        parser: The parser.
    """
    add_env_file_argument(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run_with_account(
    args: argparse.Namespace, act: Callable[[AgentHumanApi], Awaitable[int]]
) -> int:
    """Carry a command out with the account that the variables name.

    Args:
        args: The command's arguments.
        act: What it does; returns the exit status.

    Returns:
        The exit status: 2 if something is missing or the command makes no sense, 1 if the
        service refused or did not answer.
    """
    try:
        api = _enter(read_variables(args.env_file))
        return asyncio.run(_with(api, act))
    except (UsageError, EnvFileError, ValueError) as error:
        return complain(in_variables(str(error)), EXIT_USAGE)
    except AgentHumanError as error:
        return complain(in_variables(str(error)), EXIT_FAILED)


def _enter(variables: dict[str, str]) -> AgentHumanApi:
    key = API_KEY.text(variables=variables)
    if not key or is_placeholder(key):
        raise UsageError(
            f"{API_KEY.name} is not set. Put the key of your account into .env, or what "
            "pipecat-agenthuman sandbox prints."
        )
    url = API_URL.url(variables=variables)
    return AgentHumanApi(API_KEY.key(variables=variables), api_url=url, retry=PATIENCE)


async def _with(api: AgentHumanApi, act: Callable[[AgentHumanApi], Awaitable[int]]) -> int:
    async with api:
        return await act(api)


def print_json(document: object) -> None:
    """Print one JSON document.

    Args:
        document: JSON values.
    """
    sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")


def shown(value: Any, unit: str = "") -> str:
    """Show a value that the service may have left out."""
    if value is None:
        return "not said"
    number = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{number} {unit}".strip()
