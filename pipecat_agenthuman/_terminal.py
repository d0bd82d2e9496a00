"""Signs and colours that a terminal, a pipe or a file can take."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from enum import Enum
from typing import Final, TextIO

PROGRAM: Final = "pipecat-agenthuman"


class Sign(Enum):
    """A sign in front of a line: as it should be, and for an encoding that lacks it."""

    PASSED = ("\N{CHECK MARK}", "ok")
    FAILED = ("\N{BALLOT X}", "!!")
    SKIPPED = ("\N{EN DASH}", "--")
    REMEDY = ("\N{RIGHTWARDS ARROW}", "->")


_COLOURS: Final = {Sign.PASSED: "32", Sign.FAILED: "31", Sign.SKIPPED: "2", Sign.REMEDY: "33"}
"""Green, red, dim and yellow, as numbers of ANSI escape sequences."""


class Signs:
    """Draws signs on one stream, all in the same width."""

    def __init__(self, stream: TextIO, *, coloured: bool | None = None) -> None:
        """Look at what a stream can show.

        Args:
            stream: Where the signs will be written.
            coloured: Whether to use colours; None finds out.
        """
        self._plain = not _encodes(stream, "".join(sign.value[0] for sign in Sign))
        self._coloured = takes_colours(stream) if coloured is None else coloured

    @property
    def width(self) -> int:
        """Columns that every sign takes."""
        return 2 if self._plain else 1

    def draw(self, sign: Sign) -> str:
        """Draw a sign.

        Args:
            sign: Which.

        Returns:
            Its text, with colour where that is wanted.
        """
        text = sign.value[1] if self._plain else sign.value[0]
        return f"\x1b[{_COLOURS[sign]}m{text}\x1b[0m" if self._coloured else text


def columns(stream: TextIO) -> int | None:
    """How many columns a terminal has; None for a pipe or a file, which has no end."""
    return shutil.get_terminal_size().columns if stream.isatty() else None


def wrapped(text: str, width: int | None) -> list[str]:
    """Break a text at its blanks.

    Args:
        text: One paragraph.
        width: Longest line; a word that is longer, such as an address, stays whole. None for
            no limit.

    Returns:
        Its lines, at least one.
    """
    if width is None:
        return [text]
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def complain(text: str, status: int) -> int:
    """Say on standard error why a command ends.

    Args:
        text: What is wrong, and what to do.
        status: The exit status.

    Returns:
        That status.
    """
    sys.stdout.flush()
    lines = wrapped(f"{PROGRAM}: {text}", columns(sys.stderr))
    sys.stderr.write("\n".join(lines) + "\n")
    return status


def takes_colours(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal that shows colours.

    Args:
        stream: A text stream.

    Returns:
        Whether to colour; never if ``NO_COLOR`` is set, the convention for that.
    """
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return False
    return sys.platform != "win32" or "WT_SESSION" in os.environ


def _encodes(stream: TextIO, text: str) -> bool:
    try:
        text.encode(stream.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
