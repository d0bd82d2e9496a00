"""A browser that looks into the sandbox's room, and sees to it that nothing is wrong there."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import pytest

from pipecat_agenthuman.sandbox import Sandbox

if TYPE_CHECKING:
    from playwright.async_api import Browser, BrowserContext, Page, Request

_NAMES: Final = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")

_LOOK_SECS: Final = 0.02

LIMIT_SECS: Final = 30.0
"""No wait takes a tenth of it; it turns a hang into a failure."""

FLAGS: Final = ("--autoplay-policy=no-user-gesture-required",)


def chromium() -> str:
    """The path of Chromium; skips the test where there is none, or nothing to drive it with."""
    pytest.importorskip(
        "playwright", reason="playwright is not installed: it is among the development dependencies"
    )
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        pytest.skip("Chromium is not installed: on Debian, apt-get install chromium")
    return found


@asynccontextmanager
async def browsing(*flags: str) -> AsyncIterator[Browser]:
    """Run Chromium.

    Args:
        flags: More of its command line.
    """
    path = chromium()
    from playwright.async_api import async_playwright

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visit:
    """A page in a room.

    Attributes:
        page: Playwright's.
        context: In which it is open.
        sandbox: Whose room it is.
        wrongs: What no page may do: errors, requests that failed or went elsewhere.
    """

    page: Page
    context: BrowserContext
    sandbox: Sandbox
    wrongs: list[str] = field(default_factory=list)

    async def look(self, expression: str, argument: Any = None) -> Any:
        """Evaluate an expression in the page."""
        return await self.page.evaluate(expression, argument)

    async def until(self, expression: str, argument: Any = None) -> Any:
        """Wait until an expression is true in the page; returns its value."""
        try:
            async with asyncio.timeout(LIMIT_SECS):
                # Playwright's own waiting evaluates text in the page, which its policy forbids.
                while not (value := await self.look(expression, argument)):  # noqa: ASYNC110
                    await asyncio.sleep(_LOOK_SECS)
        except TimeoutError:
            raise AssertionError(f"It never came true: {expression}. {self.wrongs}") from None
        return value

    async def text(self, element_id: str) -> str:
        """The text of an element."""
        return await self.page.inner_text(f"#{element_id}")

    async def turn_sound_on(self) -> None:
        """Turn the sound on, and wait until the player knows when things are heard."""
        if not await self.look("agentHumanRoom.player.isOn"):
            await self.page.click("#sound")
        await self.until("agentHumanRoom.player.isInStep")

    def watch(self, page: Page) -> None:
        """Note what goes wrong on a page."""
        page.set_default_timeout(LIMIT_SECS * 1000)
        page.on("pageerror", lambda error: self.wrongs.append(f"raised: {error}"))
        page.on(
            "console",
            lambda line: (
                self.wrongs.append(f"console: {line.text}") if line.type == "error" else None
            ),
        )
        page.on("request", self._check)
        page.on(
            "response",
            lambda answer: (
                self.wrongs.append(f"{answer.status} for {answer.url}")
                if answer.status >= 400
                else None
            ),
        )

    def _check(self, request: Request) -> None:
        where = urlsplit(request.url)
        is_here = where.hostname == "127.0.0.1" or where.scheme in ("blob", "data")
        if not is_here:
            self.wrongs.append(f"a request off this machine: {request.url}")


@asynccontextmanager
async def visiting(
    browser: Browser, sandbox: Sandbox, *, width: int = 1280, height: int = 860, **options: Any
) -> AsyncIterator[Visit]:
    """Open the room's page; at the end, nothing may have gone wrong on it.

    Args:
        browser: Chromium.
        sandbox: Whose room it is.
        width: Of the window, in CSS pixels.
        height: Of the window.
        options: As for Playwright's ``new_context``.
    """
    context = await browser.new_context(viewport={"width": width, "height": height}, **options)
    try:
        page = await context.new_page()
        visit = Visit(page, context, sandbox)
        visit.watch(page)
        # What the content policy forbids is an error on the console, too; this names it.
        await page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) =>"
            " console.error(`policy: ${event.violatedDirective} ${event.blockedURI}`))"
        )
        await page.goto(sandbox.room_url)
        await visit.until("globalThis.agentHumanRoom?.room.hello")
        yield visit
        assert visit.wrongs == []
    finally:
        await context.close()
