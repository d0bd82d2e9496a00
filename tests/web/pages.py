"""A page with Pipecat's web client, that lives through a call in the stand-in of Daily's room."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import pytest

from tests.support.browser import LIMIT_SECS, Window
from tests.support.room_script import RoomEvent
from tests.support.web_build import ADDRESS, ROOT, WEB, show, vite_build

if TYPE_CHECKING:
    from playwright.async_api import Browser, Page, Route

STAYS_SECS: Final = 0.25
"""How long the same must be heard before it counts."""

NOBODY_SECS: Final = 1.0
"""How long nobody must be heard: a busy machine lets a page play late."""

_TONES: Final = {"bot": 500, "avatar 1": 700, "avatar 2": 900, "avatar 3": 1100, "avatar 4": 1300}

_EVENTS: Final = """
globalThis.roomEvent = (what, who, toneHz) => {
  if (what === "joins") {
    dailyRoom.join({ session_id: who, user_id: `user id of ${who}`, user_name: who });
    if (who !== "bot") dailyRoom.publish(who, "video");
    return;
  }
  if (!dailyRoom.people.has(who)) return; // the last words may be heard after the leaving
  if (what === "on") dailyRoom.publish(who, "audio", { toneHz });
  if (what === "off") dailyRoom.unpublish(who, "audio");
  if (what === "speaks") dailyRoom.speak(who);
  if (what === "silent") dailyRoom.speak(who, false);
  if (what === "leaves") dailyRoom.leave(who);
};
"""


@dataclass(frozen=True)
class Moment:
    """A moment of a call at which somebody must be heard.

    Attributes:
        speaker: Who speaks.
        nth: Their how-manieth stretch of speech it is.
        during: ``speaks``, or who came while they spoke on.
    """

    speaker: str
    nth: int = 1
    during: str = "speaks"


def built_page() -> Path:
    """The page with Pipecat's client in all the ways that are tested; skips without npm's."""
    return vite_build(WEB, ROOT / "examples/web/src/voices.ts")


class CallPage(Window):
    """A page in a call."""

    async def heard(self) -> list[str]:
        """Who is heard, when that has been the same for a while; twice who is heard twice."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(LIMIT_SECS):
            last, since = await self._now_heard(), loop.time()
            while loop.time() - since < (STAYS_SECS if last else NOBODY_SECS):
                now = await self._now_heard()
                if now != last:
                    last, since = now, loop.time()
        return last

    async def _now_heard(self) -> list[str]:
        counts: dict[str, int] = await self.look("pageEar.counts()")
        return [who for who in sorted(counts) for _ in range(counts[who])]

    async def live_through(self, events: Sequence[RoomEvent]) -> dict[Moment, list[str]]:
        """Let a call happen, as fast as the page hears it; gives who was heard when."""
        moments: dict[Moment, list[str]] = {}
        turns: dict[str, int] = {}
        speaking: str | None = None
        for event in events:
            await self._happens(event)
            if event.what == "speaks":
                speaking = event.who
                turns[speaking] = turns.get(speaking, 0) + 1
                moments[Moment(speaking, turns[speaking])] = await self.heard()
            elif event.what in ("silent", "leaves") and event.who == speaking:
                speaking = None
            elif event.what == "on" and speaking:
                moment = Moment(speaking, turns[speaking], f"{event.who} comes")
                moments[moment] = await self.heard()
        return moments

    async def _happens(self, event: RoomEvent) -> None:
        if event.who.startswith("person"):
            if event.what == "joins":
                await self.connect()
            return
        await self.look(
            "([what, who, toneHz]) => roomEvent(what, who, toneHz)",
            [event.what, event.who, _TONES[event.who]],
        )

    async def connect(self) -> None:
        """Let the person join."""
        await self.look("page.connect()")
        await self.until("dailyRoom.calls.length")

    async def is_connected(self) -> bool:
        """Whether the client has not hung up."""
        return await self.look("dailyRoom.calls.length > 0")

    async def is_ready(self) -> bool:
        """Whether the client has told the bot that it is ready."""
        return await self.look(
            "dailyRoom.sent.some(({ message }) => message.type === 'client-ready')"
        )


Opened = TypeVar("Opened", bound=CallPage)


class RunnersPage(CallPage):
    """The page that Pipecat's runner serves."""

    async def connect(self) -> None:
        await self.page.click("[aria-label=Transport]")
        await self.page.click("[role=option]:has-text('Daily')")
        await self.page.click("button:has-text('Connect')")
        await self.until("globalThis.dailyRoom && dailyRoom.calls.length")


@asynccontextmanager
async def in_a_call(
    browser: Browser, client: str, *, stays: bool = True, init: str = ""
) -> AsyncIterator[CallPage]:
    """Open the page with Pipecat's client; nothing may have gone wrong on it in the end.

    Args:
        browser: Chromium.
        client: ``plain``, ``react``, ``voices`` or ``react-voices``.
        stays: Whether ``disconnectOnBotDisconnect`` is false.
        init: A script that runs first.
    """
    built = built_page()
    async with _opened(browser, CallPage) as call:
        await show(call.page, built)
        await call.page.add_init_script(_EVENTS + init)
        await call.page.goto(f"{ADDRESS}?client={client}&stays={'yes' if stays else 'no'}")
        await call.until("globalThis.page && globalThis.dailyRoom")
        yield call


@asynccontextmanager
async def on_the_runners_page(browser: Browser) -> AsyncIterator[RunnersPage]:
    """Open the page of Pipecat's runner, with the stand-in in the place of Daily's library."""
    found = find_spec("pipecat_ai_prebuilt")
    if found is None or found.origin is None:
        pytest.skip("pipecat-ai-prebuilt is not installed: it is the page of Pipecat's runner")
    async with _opened(browser, RunnersPage) as call:
        await show(call.page, Path(found.origin).parent / "client/dist")
        await _stand_in_daily(call.page)
        ear = (WEB / "ear.js").read_text(encoding="utf-8")
        await call.page.add_init_script(f"{{ {ear} }}\n{_EVENTS}")
        await call.page.goto(ADDRESS)
        yield call


async def _stand_in_daily(page: Page) -> None:
    stand_in = (WEB / "daily-js/index.js").read_text(encoding="utf-8")
    as_it_is_bundled = stand_in.replace("export default", "export const t =")

    async def serve(route: Route) -> None:
        await route.fulfill(body=as_it_is_bundled, content_type="text/javascript")

    async def start(route: Route) -> None:
        await route.fulfill(json={"dailyRoom": "https://example.daily.co/room", "dailyToken": "t"})

    await page.route(f"{ADDRESS}assets/daily-esm-*.js", serve)
    await page.route(f"{ADDRESS}start", start)


@asynccontextmanager
async def _opened(browser: Browser, kind: type[Opened]) -> AsyncIterator[Opened]:
    # In the context that all share: a process for each page is what it costs most.
    page = await browser.contexts[0].new_page()
    try:
        page.set_default_timeout(LIMIT_SECS * 1000)
        call = kind(page, [])
        page.on("pageerror", lambda error: call.wrongs.append(f"raised: {error}"))
        page.on(
            "console",
            lambda line: (
                call.wrongs.append(f"console: {line.text}") if line.type == "error" else None
            ),
        )
        yield call
        assert call.wrongs == []
    finally:
        await page.close()
