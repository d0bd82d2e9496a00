"""The demo in a terminal: a timeline while it runs, and a summary at its end."""

from __future__ import annotations

from pathlib import Path
from typing import Final, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pipecat_agenthuman._terminal import Sign, Signs
from pipecat_agenthuman.demo.performance import Finding, Measures
from pipecat_agenthuman.demo.timeline import Lane

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
    """Tells the demo on a stream; as plain text if that is no terminal."""

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
        """Tell of an event, on a line of its own.

        Args:
            at_secs: When it happened, since the demo began.
            lane: Who it belongs to.
            text: What happened.
        """
        self._close_line()
        if lane is Lane.SCRIPT:
            self._console.print()
        self._print_below(_head(at_secs, lane), Text(text, _STYLES[lane]))

    def word(self, at_secs: float, text: str) -> None:
        """Show words at the moment at which they begin to be heard, one behind the other.

        Args:
            at_secs: When.
            text: The words.
        """
        if self._column and self._column + 1 + len(text) > self._console.width:
            self._close_line()
        if self._column:
            self._column += self._write(Text(f" {text}", _STYLES[Lane.HEARD]))
            return
        head = _head(at_secs, Lane.HEARD)
        head.append(text, _STYLES[Lane.HEARD])
        self._column = self._write(head)

    def _write(self, text: Text) -> int:
        self._console.print(text, end="", soft_wrap=True)
        self._console.file.flush()
        return len(text)

    def _close_line(self) -> None:
        if self._column:
            self._console.print()
            self._column = 0

    # --- at its end --------------------------------------------------------------------

    def summarise(self, measures: Measures, context: list[str]) -> None:
        """Show the numbers, and what the assistant said according to Pipecat.

        Args:
            measures: The numbers.
            context: The assistant's messages.
        """
        self._close_line()
        self._heading("Measured")
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(justify="left")
        table.add_column(justify="right", no_wrap=True)
        for name, value in _numbers(measures):
            table.add_row(f"{_MARGIN}{name}", value)
        self._console.print(table)
        self._heading("Context")
        for message in context:
            self._print_below(Text(f"{_MARGIN}assistant  ", "dim"), Text(message))

    def conclude(self, findings: list[Finding], wav: Path, wav_secs: float) -> None:
        """Say whether all was as it should be, and where to listen.

        Args:
            findings: What was verified.
            wav: The file that holds what was heard.
            wav_secs: Its length.
        """
        self._close_line()
        self._heading("Verified")
        for finding in findings:
            sign = self._signs.draw(Sign.PASSED if finding.is_good else Sign.FAILED)
            style = "green" if finding.is_good else "bold red"
            self._print_below(Text(f"{_MARGIN}{sign}  ", style), Text(finding.text))
        self._console.print()
        self._console.print(f"Listen to what was heard: {wav} ({wav_secs:.1f} s)", soft_wrap=True)

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


class Silent:
    """Tells nothing."""

    def tell(self, at_secs: float, lane: Lane, text: str) -> None:
        """Do nothing."""

    def word(self, at_secs: float, text: str) -> None:
        """Do nothing."""


def _head(at_secs: float, lane: Lane) -> Text:
    moment = (f"{_MARGIN}{at_secs:6.2f}  ", "dim")
    return Text.assemble(moment, (f"{lane:{_LANE_WIDTH}}  ", _STYLES[lane]))


def _numbers(measures: Measures) -> list[tuple[str, str]]:
    return [
        ("First audio to the wire", _ms(measures.wire_secs)),
        ("First audio to the first sound in the room", _ms(measures.sound_secs)),
        ("Interruption to the wire", _ms(measures.interrupt_wire_secs)),
        ("Interruption to its confirmation", _ms(measures.interrupt_confirmed_secs)),
        ("Bot speaking frames off the real sound by at most", _ms(measures.clock_error_secs)),
        ("Speech synthesised", f"{measures.synthesised_secs:.2f} s"),
        ("Speech heard", f"{measures.heard_secs:.2f} s"),
    ]


def _ms(secs: float | None) -> str:
    if secs is None:
        return "none"
    return f"{secs * 1000:.1f} ms" if secs < 0.01 else f"{secs * 1000:.0f} ms"
