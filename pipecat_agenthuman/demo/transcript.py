"""What was said in the demo's room, line by line, as the page shows it."""

from __future__ import annotations

from itertools import count
from typing import Protocol

from pipecat_agenthuman.sandbox.room.talk import Manner, Speaker


class ShowLine(Protocol):
    """Shows a line, or shows it again as it is now."""

    def __call__(
        self, line_id: int, who: Speaker, text: str, *, is_final: bool, how: Manner
    ) -> None:
        """Show a line.

        Args:
            line_id: The same for the same line.
            who: Who says it.
            text: What was said of it so far.
            is_final: Whether nothing more comes.
            how: Manner it is said.
        """
        ...


class _OpenLine:
    """A line to which words may still come."""

    def __init__(self, line_id: int) -> None:
        self.line_id = line_id
        self.settled = ""
        self.passing = ""

    @property
    def text(self) -> str:
        return " ".join(f"{self.settled} {self.passing}".split())


class Transcript:
    """Writes down what is said while it is said: the bot's words when they are heard."""

    def __init__(self, show: ShowLine) -> None:
        """Begin an empty one.

        Args:
            show: Shows the lines.
        """
        self._show = show
        self._ids = count(1)
        self._open: dict[Speaker, _OpenLine] = {}

    def typed(self, text: str) -> None:
        """Write down what a person typed."""
        self._show(next(self._ids), "user", text, is_final=True, how="typed")

    def recognised(self, text: str, *, is_settled: bool) -> None:
        """Write down what was recognised of a person's speech.

        Args:
            text: The words.
            is_settled: Whether they stay; else the next ones replace them.
        """
        line = self._line("user")
        if is_settled:
            line.settled, line.passing = f"{line.settled} {text}", ""
        else:
            line.passing = text
        self._show(line.line_id, "user", line.text, is_final=False, how="spoken")

    def heard(self, words: str) -> None:
        """Write down what was heard of the bot."""
        line = self._line("bot")
        line.settled += f" {words}"
        self._show(line.line_id, "bot", line.text, is_final=False, how="said")

    def ended(self, who: Speaker) -> None:
        """Close the line of somebody who has finished, or was interrupted."""
        line = self._open.pop(who, None)
        if line is not None and line.text:
            how: Manner = "spoken" if who == "user" else "said"
            self._show(line.line_id, who, line.text, is_final=True, how=how)

    def _line(self, who: Speaker) -> _OpenLine:
        if who not in self._open:
            self._open[who] = _OpenLine(next(self._ids))
        return self._open[who]
