"""The demo in a terminal: a timeline while it runs, and a summary at its end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipecat_agenthuman._terminal import Sign, Signs
from pipecat_agenthuman.demo.performance import Lane, Performance, describe_success, measure

_MARGIN: Final = "  "
_LANE_WIDTH: Final = 5

_NARROWEST: Final = 20
"""Columns of text at least, however narrow the terminal is."""

_WIDEST: Final = 100
"""Longer lines are hard to read, however wide the terminal is."""

_STYLES: Final = {
    Lane.SCRIPT: "cyan",
    Lane.WIRE: "dim",
    Lane.BOT: "green",
    Lane.HEARD: "bold",
    Lane.USER: "yellow",
    Lane.ROOM: "magenta",
}


class Terminal:
    """Tells the demo on a stream; as plain text if that is not a terminal."""

    def __init__(self, stream: TextIO) -> None:
        """Prepare to tell.

        Args:
            stream: Where to.
        """
        self._console = Console(file=stream, highlight=False, emoji=False, markup=False)
        self._console.width = min(self._console.width, _WIDEST)
        self._signs = Signs(stream, coloured=False)
        self._column = 0

    # --- while it runs -----------------------------------------------------------------

    def introduce(self) -> None:
        """Say what is about to happen."""
        self._console.print("A Pipecat bot speaks through an avatar, in a sandbox on this machine.")
        self._console.print()

    def tell(self, at_secs: float, lane: Lane, text: str) -> None:
        """Tell of an event: on a line of its own, or behind the words heard just before.

        Args:
            at_secs: When it happened, since the demo began.
            lane: Who it belongs to.
            text: What happened, or the words that begin to be heard.
        """
        if lane is Lane.HEARD:
            self._show_words(at_secs, text)
            return
        self._close_line()
        if lane is Lane.SCRIPT:
            self._console.print()
        self._print_below(_head(at_secs, lane), Text(text, _STYLES[lane]))

    def _show_words(self, at_secs: float, words: str) -> None:
        if self._column and self._column + 1 + len(words) > self._console.width:
            self._close_line()
        head = Text(" ") if self._column else _head(at_secs, Lane.HEARD)
        self._column += self._write(head.append(words, _STYLES[Lane.HEARD]))

    def _write(self, text: Text) -> int:
        self._console.print(text, end="", soft_wrap=True)
        self._console.file.flush()
        return len(text)

    def _close_line(self) -> None:
        if self._column:
            self._console.print()
            self._column = 0

    # --- at its end --------------------------------------------------------------------

    def conclude(self, performance: Performance, flaws: Sequence[str], wav: Path) -> None:
        """Show the numbers, what Pipecat holds for said, and whether all was as it should be.

        Args:
            performance: What was said and heard.
            flaws: What is wrong with it.
            wav: The file that holds what was heard.
        """
        self._close_line()
        self._heading("Measured")
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="left")
        table.add_column(justify="right", no_wrap=True)
        for name, number in measure(performance).items():
            table.add_row(f"{_MARGIN}{name}", number)
        self._console.print(table)
        self._heading("Context")
        for message in performance.context:
            self._print_below(Text.assemble((f"{_MARGIN}assistant  ", "dim")), Text(message))
        self._heading("Verified")
        sign = self._signs.draw(Sign.FAILED if flaws else Sign.PASSED)
        style = "bold red" if flaws else "green"
        for sentence in flaws or describe_success(performance):
            self._print_below(Text(f"{_MARGIN}{sign}  ", style), Text(sentence))
        heard = performance.heard
        secs = heard.duration_secs + sum(gap.duration_secs for gap in heard.gaps)
        self._console.print()
        self._console.print(f"Listen to what was heard: {wav} ({secs:.1f} s)", soft_wrap=True)

    def _heading(self, text: str) -> None:
        self._console.print()
        self._console.print(Text(text, "bold"))

    def _print_below(self, head: Text, text: Text) -> None:
        """Print a text behind its head; if it is long, it goes on below its beginning."""
        lines = text.wrap(self._console, max(self._console.width - len(head), _NARROWEST))
        for line in lines:
            line.rstrip()
            self._console.print(head + line, soft_wrap=True)
            head = Text(" " * len(head))


def _head(at_secs: float, lane: Lane) -> Text:
    moment = (f"{_MARGIN}{at_secs:6.2f}  ", "dim")
    return Text.assemble(moment, (f"{lane:{_LANE_WIDTH}}  ", _STYLES[lane]))
