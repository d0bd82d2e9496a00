from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from yarl import URL

from pipecat_agenthuman.sandbox.room.files import PageFiles


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    page = tmp_path / "page"
    (page / "parts").mkdir(parents=True)
    (page / "index.html").write_text("<!doctype html>ä", encoding="utf-8")
    (page / "parts" / "face.js").write_text("export {}", encoding="utf-8")
    (page / "icon.svg").write_text("<svg/>", encoding="utf-8")
    (page / "notes.txt").write_text("not for browsers", encoding="utf-8")
    (tmp_path / "secret.js").write_text("outside", encoding="utf-8")
    return page


async def get(
    folder: Path, *paths: str
) -> list[tuple[int, str, aiohttp.typedefs.CIMultiDictProxy]]:
    files = PageFiles(folder)
    app = web.Application()
    app.add_routes([web.get("/", files.front_page), *files.routes()])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    answers = []
    try:
        async with aiohttp.ClientSession() as http:
            for path in paths:
                url = f"http://127.0.0.1:{runner.addresses[0][1]}{path}"
                async with http.get(URL(url, encoded=True)) as response:
                    answers.append((response.status, await response.text(), response.headers))
    finally:
        await runner.cleanup()
    return answers


async def test_the_page_and_its_files_are_served_as_what_they_are(folder):
    paths = ("/", "/room/parts/face.js", "/room/icon.svg")
    page, script, icon = await get(folder, *paths)
    assert page[:2] == (200, "<!doctype html>ä")
    assert script[:2] == (200, "export {}")
    assert [answer[2]["Content-Type"] for answer in (page, script, icon)] == [
        "text/html; charset=utf-8",
        "text/javascript; charset=utf-8",
        "image/svg+xml; charset=utf-8",
    ]


async def test_the_rooms_name_leads_to_the_page(folder):
    ((status, text, _),) = await get(folder, "/room")  # the client follows
    assert (status, text) == (200, "<!doctype html>ä")


async def test_nothing_else_is_served(folder):
    paths = (
        "/room/notes.txt",
        "/room/none.js",
        "/room/../secret.js",
        "/room/..%2fsecret.js",
        "/room/parts/..%2f..%2fsecret.js",
        "/room/%2e%2e/secret.js",
        "/room//etc/passwd",
        "/room/parts",
        "/room/",
    )
    answers = await get(folder, *paths)
    assert [answer[0] for answer in answers] == [404] * len(paths)


async def test_the_page_may_run_and_fetch_nothing_that_is_not_its_own(folder):
    ((_, _, headers),) = await get(folder, "/")
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["connect-src"].startswith("'self' ws://127.0.0.1:")
    assert policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in headers["Content-Security-Policy"]
    assert headers["Permissions-Policy"] == "microphone=(self), camera=(), geolocation=()"
