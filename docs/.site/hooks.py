"""Hooks of MkDocs: what the pages get when the site is built."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import Any

_HELP = re.compile(r"^<!-- help: ?(?P<words>.*?) -->$", re.M)
_LITERAL_FOLLOWS = re.compile(r"(?:<p>::</p>|::(?=</p>))")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Write what ``pipecat-agenthuman … --help`` prints in the place of ``<!-- help: … -->``.

    Args:
        markdown: The page's text.
        **_: The page, its site and its files.

    Returns:
        The text with the output in it.
    """
    return _HELP.sub(lambda mark: f"```text\n{_output(mark['words'].split())}\n```", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Write the ``::`` of docstrings, behind which an indented block stands, as a colon.

    Args:
        html: The page's content.
        **_: The page, its site and its files.

    Returns:
        The content as it is shown.
    """
    return _LITERAL_FOLLOWS.sub(lambda found: "" if found[0].startswith("<p>") else ":", html)


def _output(words: list[str]) -> str:
    command = [sys.executable, "-m", "pipecat_agenthuman.cli", *words]
    environment = os.environ | {"COLUMNS": "88", "NO_COLOR": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.strip()
