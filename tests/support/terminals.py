"""Text streams that say of themselves that they are a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path


class Screen(io.StringIO):
    """A stream that keeps what is written, as a terminal of some width."""

    def isatty(self) -> bool:
        return True


class Keyboard(io.StringIO):
    """Standard input with somebody who types."""

    def isatty(self) -> bool:
        return True


def in_a_terminal(*arguments: str, width: int, variables: dict[str, str], cwd: Path) -> str:
    """Run the command line in a terminal of a given width; returns all that it wrote there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipecat_agenthuman.cli", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=os.environ | variables | {"COLUMNS": str(width), "TERM": "xterm", "NO_COLOR": ""},
        cwd=cwd,
    )
    os.close(theirs)
    written = bytearray()
    try:
        while chunk := os.read(ours, 4096):
            written += chunk
    except OSError:  # so Linux tells that the program has closed its end
        pass
    finally:
        os.close(ours)
        process.wait(60)
    return written.decode().replace("\r\n", "\n")
