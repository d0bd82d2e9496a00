"""The page of ``examples/web`` in Chromium, asked about what a person sees and hears of a call.

The room is one of the stand-in of Daily's library, or a LiveKit room on loopback.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from tests.support.browser import LIMIT_SECS, Window
from tests.support.web_build import ADDRESS, ROOT, WEB, show, vite_build

if TYPE_CHECKING:
    from playwright.async_api import Browser, Route

AVATAR: Final = "agenthuman-avatar-of-this-call"
"""The user id of the avatar, of all its sessions."""

PERSONS_TOKEN: Final = "token-of-the-person"

DAILY_ROOM: Final = {"dailyRoom": "https://example.daily.co/room", "dailyToken": PERSONS_TOKEN}

TONES: Final = {"bot": 500, "avatar-1": 700, "avatar-2": 900, "avatar-3": 1100}


@dataclass
class WebPage(Window):
    """The page.

    Attributes:
        started: What the page asked the bot's runner for.
        loaded: From where it loaded something.
    """

    started: list[Any] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    async def hears(self, *names: str) -> None:
        """Wait until exactly these are heard, each once."""
        await self.until(
            "async (wanted) => JSON.stringify(await pageEar.counts()) === JSON.stringify(wanted)",
            dict.fromkeys(names, 1),
        )

    async def shows(self, element_id: str, words: str) -> None:
        """Wait until an element has a text."""
        await self.until(
            "([id, words]) => document.getElementById(id).textContent === words",
            [element_id, words],
        )

    async def shows_picture(self, *, of_anybody: bool) -> None:
        """Wait until the picture is one that moves, or there is none."""
        await self.until(
            "(moves) => { const video = document.getElementById('picture');"
            " return moves ? !video.hidden && video.videoWidth > 0 : video.hidden; }",
            of_anybody,
        )

    def watch(self) -> None:
        """Note what goes wrong, and what is loaded."""
        self.page.set_default_timeout(LIMIT_SECS * 1000)
        self.page.on("pageerror", lambda error: self.wrongs.append(f"raised: {error}"))
        self.page.on("request", lambda request: self.loaded.append(request.url))
        self.page.on(
            "console",
            lambda line: (
                self.wrongs.append(f"console: {line.text}") if line.type == "error" else None
            ),
        )


class DailyPage(WebPage):
    """The page in a Daily room, into which the test sends the bot and its avatars."""

    async def call(self) -> None:
        """Start a call, and wait until the page is in the room, where the bot is."""
        await self.page.click("#start")
        await self.until("globalThis.dailyRoom?.calls.length")
        await self.join("bot")
        await self.look("dailyRoom.botReady('bot')")
        await self.until("document.body.dataset.phase === 'talking'")

    async def join(self, name: str) -> None:
        """Let the bot or an avatar join, with its tracks, as those of the service do."""
        user_id = AVATAR if name.startswith("avatar") else name
        who = {"session_id": name, "user_id": user_id, "user_name": name}
        await self.look("(who) => dailyRoom.join(who)", who)
        await self.look(
            "([name, toneHz]) => dailyRoom.publish(name, 'audio', { toneHz })", [name, TONES[name]]
        )
        if name.startswith("avatar"):
            await self.look("(name) => dailyRoom.publish(name, 'video')", name)

    async def leave(self, name: str) -> None:
        await self.look("(name) => dailyRoom.leave(name)", name)

    async def speak(self, name: str, *, does: bool = True) -> None:
        await self.look("([name, does]) => dailyRoom.speak(name, does)", [name, does])

    async def rtvi(self, kind: str, data: Any = None) -> None:
        """A message of the bot."""
        await self.look("(message) => dailyRoom.message(message, 'bot')", rtvi(kind, data))

    async def tell(self, state: str, reason: str = "") -> None:
        """What ``AgentHumanRTVI`` sends."""
        await self.rtvi("server-message", news(state, reason))


def rtvi(kind: str, data: Any = None) -> dict[str, Any]:
    """A message of the bot."""
    return {"label": "rtvi-ai", "type": kind, "id": "1", "data": data}


def news(state: str, reason: str = "") -> dict[str, Any]:
    """What ``AgentHumanRTVI`` sends of the avatar's state."""
    whose = {"avatar": AVATAR, "service": "AgentHumanVideoService#0"}
    return {"type": "avatar-state", "state": state, "reason": reason, **whose}


@asynccontextmanager
async def web_page(
    browser: Browser,
    *,
    transport: str = "daily",
    answer: object = DAILY_ROOM,
    status: int = 200,
    rooms: tuple[str, ...] = (),
    width: int = 1280,
    height: int = 720,
    color_scheme: Literal["light", "dark"] = "light",
    with_its_own_clock: bool = False,
) -> AsyncIterator[DailyPage]:
    """Open the page; in the end nothing may have gone wrong, and nothing come from elsewhere.

    Args:
        browser: Chromium.
        transport: Which one the bot's runner offers.
        answer: What the runner answers to who starts a bot.
        status: With which status.
        rooms: LiveKit servers on loopback: of an older version, says what they do not answer.
        width: Of the window, in CSS pixels.
        height: Of the window.
        color_scheme: What the user prefers.
        with_its_own_clock: Whether the test sets its clock: pages of one context share theirs.
    """
    config = WEB / "example.vite.config.js"
    built = vite_build(ROOT / "examples/web", WEB / "daily-js", config=config)
    shared = browser.contexts[0]
    context = await browser.new_context() if with_its_own_clock else shared
    await context.grant_permissions(["microphone", "local-network-access"], origin=ADDRESS)
    opened = await context.new_page()
    try:
        page = DailyPage(opened, [])
        page.watch()

        async def start(route: Route) -> None:
            page.started.append(route.request.post_data_json)
            await route.fulfill(status=status, json=answer)

        async def offer(route: Route) -> None:
            await route.fulfill(json={"status": "ready", "transports": [transport]})

        async def no_such_version(route: Route) -> None:
            await route.fulfill(status=404, headers={"Access-Control-Allow-Origin": "*"})

        await show(opened, built)
        await opened.route(f"{ADDRESS}start", start)
        await opened.route(f"{ADDRESS}status", offer)
        for room in rooms:
            await opened.route(f"{room}/**", no_such_version)
        await opened.set_viewport_size({"width": width, "height": height})
        await opened.emulate_media(color_scheme=color_scheme)
        await opened.add_init_script(path=WEB / "ear.js")
        await opened.goto(ADDRESS)
        yield page
        assert page.wrongs == []
        assert [url for url in page.loaded if not url.startswith((ADDRESS, *rooms))] == []
    finally:
        await (opened if context is shared else context).close()
