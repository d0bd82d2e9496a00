"""A browser that looks into the sandbox's room, and sees to it that nothing is wrong there.

Tests ask for the fixture ``browser``: one Chromium for all of a process, started when the first of
them needs it. It lives on the session's event loop, so they run there, too:
``pytestmark = pytest.mark.asyncio(loop_scope="session")``.
"""

from __future__ import annotations

import asyncio
import shutil
import wave
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import urlsplit

import numpy as np
import pytest

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.sounds import RATE

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Request

_NAMES: Final = (
    "chromium-headless-shell",
    "chromium",
    "chromium-browser",
    "google-chrome-stable",
    "google-chrome",
)
"""First the one without windows, which needs half as much to open a page."""

_LOOK_MS: Final = 20

LIMIT_SECS: Final = 60.0
"""No wait takes a tenth of it; it turns a hang into a failure."""

_FLAGS: Final = (
    "--autoplay-policy=no-user-gesture-required",
    # Whoever asks for the microphone gets one, and in it is what a test put there.
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
)

_PICTURE_MS: Final = 50

_FEWER_PICTURES: Final = """
globalThis.requestAnimationFrame =
  (draw) => setTimeout(() => draw(performance.now()), PICTURE_MS);
"""

_UNTIL: Final = """
async (argument) => {
  for (;;) {
    const found = await (EXPRESSION);
    const value = typeof found === "function" ? await found(argument) : found;
    if (value) return value;
    await new Promise((done) => setTimeout(done, LOOK_MS));
  }
}
""".replace("LOOK_MS", str(_LOOK_MS))


def chromium() -> str:
    """The path of Chromium; skips the test where there is none, or nothing to drive it with."""
    pytest.importorskip(
        "playwright", reason="playwright is not installed: it is among the development dependencies"
    )
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("Chromium is not installed: on Debian, apt-get install chromium-headless-shell")
    return found


@asynccontextmanager
async def browsing(microphone: Path) -> AsyncIterator[Browser]:
    """Run Chromium.

    Args:
        microphone: The file with what its microphone hears, read each time it is turned on;
            without one it hears nothing.
    """
    path = chromium()
    from playwright.async_api import async_playwright

    sound = f"--use-file-for-fake-audio-capture={microphone}%noloop"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*_FLAGS, sound])
        try:
            context = await browser.new_context()
            await context.new_page()
            yield browser
        finally:
            await browser.close()


def put_into(microphone: Path, samples: np.ndarray) -> None:
    """Let a microphone hear something when it is turned on, and then nothing more.

    Args:
        microphone: The fixture of that name.
        samples: 16-bit samples at 16 kHz.
    """
    with wave.open(str(microphone), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(samples.astype("<i2").tobytes())


@dataclass
class Window:
    """A page that is watched.

    Attributes:
        page: Playwright's.
        wrongs: What no page may do: errors, requests that failed or went elsewhere.
    """

    page: Page
    wrongs: list[str]

    async def look(self, expression: str, argument: Any = None) -> Any:
        """Evaluate an expression in the page."""
        return await self.page.evaluate(expression, argument)

    async def until(self, expression: str, argument: Any = None) -> Any:
        """Wait until an expression is true in the page; returns its value."""
        # Playwright's own waiting evaluates text in the page, which its policy forbids; and to
        # ask it fifty times a second would cost more than what the page does.
        waiting = _UNTIL.replace("EXPRESSION", expression)
        try:
            async with asyncio.timeout(LIMIT_SECS):
                return await self.look(waiting, argument)
        except TimeoutError:
            raise AssertionError(f"It never came true: {expression}. {self.wrongs}") from None

    async def text(self, element_id: str) -> str:
        """The text of an element."""
        return await self.page.inner_text(f"#{element_id}")


def _watched(page: Page) -> Window:
    """A page whose wrongs are noted from now on."""
    wrongs: list[str] = []

    def check(request: Request) -> None:
        where = urlsplit(request.url)
        is_here = where.hostname == "127.0.0.1" or where.scheme in ("blob", "data")
        if not is_here:
            wrongs.append(f"a request off this machine: {request.url}")

    page.set_default_timeout(LIMIT_SECS * 1000)
    page.on("pageerror", lambda error: wrongs.append(f"raised: {error}"))
    page.on(
        "console",
        lambda line: wrongs.append(f"console: {line.text}") if line.type == "error" else None,
    )
    page.on("request", check)
    page.on(
        "response",
        lambda answer: (
            wrongs.append(f"{answer.status} for {answer.url}") if answer.status >= 400 else None
        ),
    )
    return Window(page, wrongs)


@asynccontextmanager
async def window(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    height: int = 860,
    color_scheme: Literal["light", "dark"] = "light",
    reduced_motion: Literal["reduce", "no-preference"] = "no-preference",
    picture_ms: int = _PICTURE_MS,
) -> AsyncIterator[Window]:
    """Open a page that knows of none before it; at the end, nothing may have gone wrong on it.

    Args:
        browser: The fixture of that name.
        url: The page's address.
        width: Of the window, in CSS pixels.
        height: Of the window.
        color_scheme: What the user prefers.
        reduced_motion: What the user prefers.
        picture_ms: From one picture to the next.
    """
    # All share a context, and there the process of an empty page that stays open: to start one
    # for each is more than half of what it costs to open a page.
    context = browser.contexts[0]
    others = set(context.pages)
    try:
        page = await context.new_page()
        opened = _watched(page)
        await page.set_viewport_size({"width": width, "height": height})
        await page.emulate_media(color_scheme=color_scheme, reduced_motion=reduced_motion)
        # What the content policy forbids is an error on the console, too; this names it.
        await page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
        )
        # Nobody sees these pictures, and sixty a second are a good part of what a page costs here.
        await page.add_init_script(_FEWER_PICTURES.replace("PICTURE_MS", str(picture_ms)))
        # The port may have been another server's before, and the page have left something there.
        developer = await context.new_cdp_session(page)
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        await developer.send(
            "Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"}
        )
        await developer.detach()
        await page.goto(url)
        yield opened
        assert opened.wrongs == []
    finally:
        for page in set(context.pages) - others:
            await page.close()


@dataclass
class Visit(Window):
    """A page in a room.

    Attributes:
        sandbox: Whose room it is.
    """

    sandbox: Sandbox

    async def turn_sound_on(self) -> None:
        """Turn the sound on, and wait until the player knows when things are heard."""
        if not await self.look("agentHumanRoom.player.isOn"):
            await self.page.click("#sound")
        await self.until("agentHumanRoom.player.isInStep")


@asynccontextmanager
async def visiting(browser: Browser, sandbox: Sandbox, **options: Any) -> AsyncIterator[Visit]:
    """Open the room's page.

    Args:
        browser: The fixture of that name.
        sandbox: Whose room it is.
        options: As for ``window``.
    """
    async with window(browser, sandbox.room_url, **options) as opened:
        visit = Visit(opened.page, opened.wrongs, sandbox)
        await visit.until("globalThis.agentHumanRoom?.room.hello")
        yield visit
