"""What stands in the project's own Markdown pages: code blocks, tables, links and anchors."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"

_FENCE = re.compile(r"^( *)```(\w*)[^\n]*\n(.*?)^\1```$", re.M | re.S)
_LINK = re.compile(r"(?<!`)!?\[(?:[^\[\]]|\[[^\]]*\])*\]\(([^)\s]+)[^)]*\)")
_HEADING = re.compile(r"^#+ +(.+?)\s*$", re.M)
_NO_SLUG = re.compile(r"[^\w\- ]")


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: As the fence says.
        text: What stands in it, without the fence's own indentation.
    """

    language: str
    text: str

    @property
    def commands(self) -> list[str]:
        """The commands of a shell block, without comments."""
        whole = self.text.replace("\\\n", " ")
        lines = (line.partition("   #")[0].strip() for line in whole.splitlines())
        return [line for line in lines if line and not line.startswith("#")]


def site_pages() -> list[Path]:
    """The pages of the site. What is handed to Pipecat's documentation is none of it."""
    return sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "pipecat-docs")


def pages() -> list[Path]:
    """Every page: those in the root, of the examples, and in ``docs``."""
    found = [*ROOT.glob("*.md"), *(ROOT / "examples").rglob("*.md"), *DOCS.rglob("*.md")]
    return sorted(page for page in found if "node_modules" not in page.parts)


def read(page: Path | str) -> str:
    """The text of a page, by its path, which may be relative to the project."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(text: str) -> list[Block]:
    """The fenced blocks of a page."""
    return [
        Block(language, re.sub(rf"^{indent}", "", content, flags=re.M))
        for indent, language, content in _FENCE.findall(text)
    ]


def prose(text: str) -> str:
    """A page without its code."""
    return re.sub(r"`[^`\n]+`", "`code`", _FENCE.sub("", text))


def links(text: str) -> list[str]:
    """The targets of a page's links and pictures."""
    return _LINK.findall(_FENCE.sub("", text))


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r" +", "-", _NO_SLUG.sub("", plain).strip().lower())
        found.add(slug)
    return found


def table(text: str, first_header: str) -> list[list[str]]:
    """The rows of the tables whose first column is headed so, cell by cell.

    Args:
        text: The page, or a part of it.
        first_header: Words of the header's first cell.
    """
    rows: list[list[str]] = []
    wanted = False
    for line in text.splitlines():
        if not line.startswith("|"):
            wanted = False
            continue
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not wanted:
            wanted = cells[0] == first_header
        elif not set(cells[0]) <= set("-: ") or cells[0] == "":
            rows.append(cells)
    return rows


def names(cell: str) -> list[str]:
    """The names in backticks of a cell, without what stands in brackets behind them."""
    return [name.partition("(")[0] for name in re.findall(r"`([^`]+)`", cell)]
