"""Makes the pictures in this folder anew: ``uv run python -m docs.images``.

Opens the demo's room in Chromium, talks to the bot, interrupts it, and keeps what is seen.
Needs the development dependencies, and Chromium: Debian's, or Playwright's own.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import shutil
from bisect import bisect_right
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loguru import logger
from PIL import Image
from playwright.async_api import Browser, Page, async_playwright

from pipecat_agenthuman.demo.room import RoomOptions, inhabit
from pipecat_agenthuman.demo.services import make_llm, make_stt
from pipecat_agenthuman.sandbox import Sandbox

FOLDER: Final = Path(__file__).parent
SCREENSHOT: Final = FOLDER / "room.png"
ANIMATION: Final = FOLDER / "room.webp"

SIZE: Final = (1280, 800)
SCREENSHOT_SCALE: Final = 1.5

ANIMATION_WIDTH: Final = 896
ANIMATION_FPS: Final = 12
ANIMATION_QUALITY: Final = 72

QUESTION: Final = "What can you do?"
SPEAKS_SECS: Final = 5.0
"""From the question until the bot is interrupted: in the middle of its answer."""

ENDS_SECS: Final = 2.0
"""From then to the end, so that one sees the silence and what was remembered."""

KEY_MS: Final = 55
"""From key to key, as somebody types who is in no hurry."""


@asynccontextmanager
async def room() -> AsyncIterator[Sandbox]:
    """A sandbox's room with the demo's bot in it."""
    stop = asyncio.Event()
    async with Sandbox() as sandbox:
        options = RoomOptions()
        living = asyncio.create_task(
            inhabit(sandbox, make_stt(None), make_llm(None), options, stop)
        )
        try:
            yield sandbox
        finally:
            stop.set()
            await living


async def visit(browser: Browser, url: str, size: tuple[int, int], scale: float) -> Page:
    """Open the room, and wait until the face is there."""
    page = await browser.new_page(
        viewport={"width": size[0], "height": size[1]},
        device_scale_factor=scale,
        color_scheme="light",
    )
    await page.goto(url)
    await page.get_by_text("In the room").first.wait_for()
    await page.locator("#say-text").click()
    await page.wait_for_timeout(2000)
    return page


async def talk(page: Page) -> None:
    """Ask the bot something."""
    await page.keyboard.type(QUESTION, delay=KEY_MS)
    await page.keyboard.press("Enter")


async def take_screenshot(browser: Browser, url: str) -> None:
    """Take a picture of the room while the bot answers for the second time."""
    page = await visit(browser, url, SIZE, SCREENSHOT_SCALE)
    await talk(page)
    await page.wait_for_timeout(SPEAKS_SECS * 1000)
    await page.keyboard.press("Escape")
    await page.wait_for_timeout(ENDS_SECS * 1000)
    await talk(page)
    await page.wait_for_timeout(SPEAKS_SECS * 1000)
    taken = Image.open(io.BytesIO(await page.screenshot()))
    taken.convert("RGB").save(SCREENSHOT, optimize=True)
    await page.close()


@dataclass(frozen=True)
class Film:
    """What was seen, each picture with its time in seconds."""

    pictures: list[tuple[float, bytes]]

    def at(self, secs: float) -> Image.Image:
        """The picture that was seen at a time."""
        times = [at for at, _ in self.pictures]
        return Image.open(io.BytesIO(self.pictures[max(0, bisect_right(times, secs) - 1)][1]))


@asynccontextmanager
async def filming(page: Page) -> AsyncIterator[Film]:
    """Keep all that is seen meanwhile."""
    seen = Film([])
    chrome = await page.context.new_cdp_session(page)
    acknowledgements: set[asyncio.Task[Any]] = set()

    def keep(frame: dict[str, Any]) -> None:
        seen.pictures.append((frame["metadata"]["timestamp"], base64.b64decode(frame["data"])))
        task = asyncio.ensure_future(
            chrome.send("Page.screencastFrameAck", {"sessionId": frame["sessionId"]})
        )
        acknowledgements.add(task)
        task.add_done_callback(acknowledgements.discard)

    chrome.on("Page.screencastFrame", keep)
    await chrome.send("Page.startScreencast", {"format": "jpeg", "quality": 95})
    yield seen
    await chrome.send("Page.stopScreencast")


async def take_animation(browser: Browser, url: str) -> None:
    """Film a question, half of an answer, and an interruption."""
    page = await visit(browser, url, SIZE, 1)
    async with filming(page) as seen:
        await asyncio.sleep(0.5)
        await talk(page)
        await asyncio.sleep(SPEAKS_SECS)
        await page.keyboard.press("Escape")
        await asyncio.sleep(ENDS_SECS)
    await page.close()
    began, ended = seen.pictures[0][0], seen.pictures[-1][0]
    height = round(ANIMATION_WIDTH * SIZE[1] / SIZE[0])
    frames = [
        seen.at(began + number / ANIMATION_FPS)
        .convert("RGB")
        .resize((ANIMATION_WIDTH, height), Image.Resampling.LANCZOS)
        for number in range(round((ended - began) * ANIMATION_FPS))
    ]
    frames[0].save(
        ANIMATION,
        save_all=True,
        append_images=frames[1:],
        duration=round(1000 / ANIMATION_FPS),
        loop=0,
        quality=ANIMATION_QUALITY,
        method=5,
    )


async def main() -> None:
    """Make what was asked for; both if nothing was."""
    parser = argparse.ArgumentParser(prog="python -m docs.images", description=__doc__)
    parser.add_argument("only", nargs="?", choices=["screenshot", "animation"])
    only = parser.parse_args().only
    logger.remove()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--autoplay-policy=no-user-gesture-required"],
        )
        for name, take in (("screenshot", take_screenshot), ("animation", take_animation)):
            if only in (None, name):
                async with room() as sandbox:
                    await take(browser, sandbox.room_url)
        await browser.close()


asyncio.run(main())
