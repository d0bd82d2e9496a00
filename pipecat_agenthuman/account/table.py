"""A table for a person: by ``rich`` in a terminal, if it is there, and else plain columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TextIO

_GAP: Final = "  "


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """Write a table. Its first column is never broken over lines: it is what one copies.

    Args:
        heads: Names of the columns.
        rows: The cells of each row, as many as there are columns.
        stream: Where to.
    """
    if not (stream.isatty() and _write_rich(heads, rows, stream)):
        _write_plain(heads, rows, stream)


def _write_rich(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> bool:
    try:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, head in enumerate(heads):
        table.add_column(head, no_wrap=number == 0, overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))  # as it is: the service's words are no markup
    Console(file=stream, highlight=False).print(table)
    return True


def _write_plain(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    lines = [tuple(heads), *map(tuple, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    for line in lines:
        cells = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=True))
        stream.write(_GAP.join(cells).rstrip() + "\n")
