"""The site as it is built: nothing is missing, and nothing is loaded from another host.

Needs the dependency group ``docs``: ``uv run --group docs pytest tests/documents/test_site.py``.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.documents.test_reference import ENTRIES
from tests.support.markdown import ROOT, site_pages

pytest.importorskip("mkdocs", reason="the dependency group docs is not installed")
pytest.importorskip("mkdocstrings", reason="the dependency group docs is not installed")

LOADED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
"""What a browser fetches by itself, and which attribute says from where."""


class Page(HTMLParser):
    """A built page: what it loads, links to, and can be linked to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.classes: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        if tag in LOADED and LOADED[tag] in attributes:
            self.loads.append(attributes[LOADED[tag]])
        if tag == "a" and "href" in attributes:
            self.links.append(attributes["href"])
        self.ids |= {attributes[name] for name in ("id", "name") if name in attributes}
        self.classes |= set(attributes.get("class", "").split())


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Page]:
    """The pages by their paths, built in strict mode."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {path: Page(path) for path in folder.rglob("*.html") if path.name != "404.html"}


def test_every_page_is_built(site: dict[Path, Page]) -> None:
    assert len(site) == len(site_pages())


def test_nothing_is_loaded_from_another_host(site: dict[Path, Page]) -> None:
    for page in site.values():
        assert page.loads
        for address in page.loads:
            assert "://" not in address, f"{page.path}: {address}"
            assert not address.startswith("//"), f"{page.path}: {address}"
        # For both, the theme's own script would ask another host.
        assert not page.classes & {"mermaid", "md-source"}, page.path
    sheets = {load for page in site.values() for load in page.loads if load.endswith(".css")}
    assert sheets
    root = min(site, key=lambda path: len(path.parts)).parent
    for sheet in root.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*['\"]?(?:https?:)?//", text), sheet


def test_every_link_between_the_pages_resolves(site: dict[Path, Page]) -> None:
    for page in site.values():
        for target in page.links:
            if "://" in target or target.startswith("mailto:"):
                continue
            address, _, anchor = unquote(target).partition("#")
            path = (page.path.parent / address).resolve() if address else page.path
            if path.is_dir():
                path /= "index.html"
            assert path.exists(), f"{page.path}: {target}"
            if anchor and not anchor.startswith("__"):
                assert anchor in site[path].ids, f"{page.path}: {target}"


def test_every_entry_of_the_reference_is_there(site: dict[Path, Page]) -> None:
    ids = set().union(*(page.ids for page in site.values()))
    plugin = "pipecat_agenthuman.testing.pytest_plugin"
    assert set(ENTRIES) - {plugin} <= ids
    assert f"{plugin}.agenthuman_call" in ids


def test_the_commands_help_is_written_into_its_page(site: dict[Path, Page]) -> None:
    (page,) = [page for path, page in site.items() if path.name == "command-line.html"]
    text = page.path.read_text(encoding="utf-8")
    assert "<!-- help" not in text
    assert "--render-latency" in text
    assert "--end-all" in text
