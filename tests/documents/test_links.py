"""Every link of the pages leads somewhere."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.markdown import DOCS, ROOT, anchors, links, pages, read, site_pages

HOME = tomllib.loads(read("pyproject.toml"))["project"]["urls"]["Repository"]
RAW = HOME.replace("github.com", "raw.githubusercontent.com")
IN_REPOSITORY = re.compile(
    rf"(?:{re.escape(HOME)}/(?:blob|tree)|{re.escape(RAW)})/main/(?P<path>[^#]*)"
)
ELSEWHERE = re.compile(r"https://|mailto:")


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def resolve(page: Path, target: str) -> tuple[Path, str] | None:
    """What a link leads to, and the anchor there; None if it leads out of the project."""
    target, _, anchor = target.partition("#")
    if here := IN_REPOSITORY.fullmatch(target):
        return ROOT / here["path"], anchor
    if ELSEWHERE.match(target):
        return None
    return (page.parent / target).resolve() if target else page, anchor


@pytest.mark.parametrize("page", pages(), ids=named)
def test_every_link_into_the_project_resolves(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        found = resolve(page, target)
        if found is None:
            continue
        path, anchor = found
        assert path.exists(), target
        if anchor and path.suffix == ".md":
            assert anchor in anchors(path.read_text(encoding="utf-8")), target


@pytest.mark.parametrize("page", site_pages(), ids=named)
def test_pages_of_the_site_link_relatively_to_each_other_only(page: Path) -> None:
    for target in links(page.read_text(encoding="utf-8")):
        if not ELSEWHERE.match(target):
            assert resolve(page, target)[0].is_relative_to(DOCS), target


def test_the_readme_can_be_read_elsewhere() -> None:
    """Where packages are listed there is no repository around it, and nothing draws diagrams."""
    text = read("README.md")
    assert all(ELSEWHERE.match(target) or target.startswith("#") for target in links(text))
    assert "```mermaid" not in text


def test_no_page_needs_a_program_of_another_host_to_be_drawn() -> None:
    assert not [named(page) for page in pages() if "```mermaid" in page.read_text("utf-8")]
