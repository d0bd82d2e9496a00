"""Web pages that Vite builds, and a browser that is shown them."""

from __future__ import annotations

import fcntl
import hashlib
import mimetypes
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, Page, Route

ROOT: Final = Path(__file__).parent.parent.parent

WEB: Final = ROOT / "tests/web"

ADDRESS: Final = "https://page.test/"
"""Where the pages are for the browser, which asks the test and no server: a page that is not
secure has neither microphones nor choice of loudspeakers."""

_BUILD_SECS: Final = 120.0

_SKIPPED: Final = ("node_modules", "dist", "__pycache__")


def vite_build(project: Path, *beside: Path, config: Path | None = None) -> Path:
    """Build a page; gives the folder with its ``index.html``.

    What was built from the same sources is taken again, so that a run builds each page once.

    Args:
        project: Folder of the page, with its installed ``node_modules``.
        *beside: Other files and folders that it is built from.
        config: Vite's configuration; the project's own if None.

    Skips the test where npm's packages are not installed.
    """
    vite = project / "node_modules/vite/bin/vite.js"
    node = shutil.which("node")
    if node is None:
        pytest.skip("Node is not installed: it builds the page that is tested")
    if not vite.exists():
        where = project.relative_to(ROOT)
        pytest.skip(f"the page's packages are not installed: npm install --prefix {where}")
    config = config or next(project.glob("vite.config.*"))
    installed = project / "node_modules/.package-lock.json"
    built = Path(tempfile.gettempdir()) / f"page-{_digest((project, config, installed, *beside))}"
    with built.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker of the test run may be building it
        if not (built / "index.html").exists():
            subprocess.run(
                [node, vite, "build", "--config", config, "--outDir", built, "--emptyOutDir"],
                cwd=project,
                check=True,
                capture_output=True,
                timeout=_BUILD_SECS,
            )
    return built


async def show(shown_to: BrowserContext | Page, built: Path) -> None:
    """Let a page, or all of a context, find what was built at ``ADDRESS``."""

    async def serve(route: Route) -> None:
        name = route.request.url.removeprefix(ADDRESS).split("?")[0] or "index.html"
        file = built / name
        if not file.is_file():
            await route.fulfill(status=404)
            return
        await route.fulfill(path=file, content_type=mimetypes.guess_type(name)[0])

    await shown_to.route(f"{ADDRESS}**", serve)


def _digest(sources: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for source in sources:
        for file in sorted(source.rglob("*")) if source.is_dir() else [source]:
            inside = file.relative_to(source).parts
            if file.is_file() and not any(part in _SKIPPED for part in inside):
                digest.update(str(file).encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:24]
