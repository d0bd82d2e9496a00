"""How the room looks and is reached: on every width, light and dark, by keys, by a reader."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from pipecat_agenthuman.sandbox import Fault, MemoryMessage, Sandbox, TalkTerms
from tests.support.browser import Visit, visiting
from tests.support.page_talk import SilentPartner
from tests.support.sandbox_client import ask, connect, create, init, speak, tone

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

LEGIBLE = 4.5
"""Contrast that WCAG asks for."""


def furnish(sandbox: Sandbox) -> None:
    """Give the room all that it can show."""
    sandbox.talk.host(
        SilentPartner(),
        TalkTerms("A small script", "It says what it can.", can_speak=True, suggestions=("Hello",)),
    )
    sandbox.talk.show_line(1, "bot", "Hello! " * 30, how="said")
    sandbox.talk.show_line(2, "user", "Averylongwordwithoutanyspace" * 6, how="typed")
    sandbox.talk.show_memory([MemoryMessage("system", "Be kind. " * 20)])


_CONTRASTS = """
(LEGIBLE) => {
  const parse = (text) => {
    const found = text.match(/[\\d.]+/g).map(Number);
    if (text.startsWith("color(srgb")) for (const i of [0, 1, 2]) found[i] *= 255;
    return [...found.slice(0, 3), found[3] ?? 1];
  };
  const luminance = (colour) => {
    const linear = (c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    const [r, g, b] = colour.map((c) => linear(c / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const over = (top, below) => top.slice(0, 3).map((c, i) => c * top[3] + below[i] * (1 - top[3]));
  const ground = (element) => {
    if (element === null) return [255, 255, 255];
    const own = parse(getComputedStyle(element).backgroundColor);
    return own[3] >= 1 ? own.slice(0, 3) : over(own, ground(element.parentElement));
  };
  const poor = [];
  for (const element of document.querySelectorAll("body *")) {
    const hasText = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    const isExempt = element.closest("canvas, noscript, :disabled, [aria-hidden]");
    if (!hasText || !element.checkVisibility() || isExempt) continue;
    const back = ground(element);
    const front = over(parse(getComputedStyle(element).color), back);
    const [a, b] = [luminance(front), luminance(back)].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    const name = element.className || element.id || element.tagName;
    if (contrast < LEGIBLE) poor.push(`${name}: ${contrast} "${element.textContent.trim()}"`);
  }
  return [...new Set(poor)];
}
"""

_NAMELESS = """
() => [...document.querySelectorAll("button, a[href], input, canvas[tabindex], summary, [role]")]
  .filter((one) => !one.closest("[hidden]"))
  .filter((one) => !["status", "tabpanel"].includes(one.role))
  .filter((one) => !(one.ariaLabel || one.textContent.trim() || one.labels?.[0] || one.title))
  .map((one) => one.outerHTML.slice(0, 80))
"""

_OVERFLOWING = """
() => [...document.querySelectorAll("body *")]
  .filter((one) => one.checkVisibility())
  .filter((one) => !one.closest(".scroll, .strip, .chips, .suggestions, .hidden, pre, .skip"))
  .filter((one) => one.getBoundingClientRect().right > innerWidth + 1)
  .map((one) => one.id || one.className || one.tagName)
"""


async def show_everything(visit: Visit) -> None:
    """Open each tab once, so that what it holds is there to be judged."""
    for tab in ("tab-memory", "tab-messages", "tab-trouble", "tab-utterances", "tab-talk"):
        await visit.page.click(f"#{tab}")
        await visit.until(f"document.getElementById('{tab}').getAttribute('aria-selected')")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def furnished(browser: Browser) -> AsyncIterator[Visit]:
    """A room with all that it can show, two sessions and an utterance among it."""
    async with Sandbox(max_sessions=3) as sandbox:
        furnish(sandbox)
        async with visiting(browser, sandbox) as visit:
            await create(sandbox, aspect_ratio="3:4")
            session = await create(sandbox, avatar="avat_" + "long" * 18)
            async with connect(sandbox) as socket:
                await ask(socket, init(session))
                await ask(socket, speak(tone(4000)))
                await visit.until("document.querySelectorAll('#utterances li').length")
                yield visit


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("width", "height"), [(375, 812), (768, 1024), (1440, 900)])
async def test_it_fits_and_is_legible(
    furnished: Visit, width: int, height: int, scheme: Any
) -> None:
    visit, page = furnished, furnished.page
    await page.click("#tab-talk")
    await page.set_viewport_size({"width": width, "height": height})
    await page.emulate_media(color_scheme=scheme)
    await visit.until(
        "(isLight) => isLight ==="
        " (getComputedStyle(document.body).backgroundColor === 'rgb(244, 242, 238)')",
        scheme == "light",
    )
    assert await visit.look("document.documentElement.scrollWidth <= innerWidth")
    assert await visit.look(_OVERFLOWING) == []
    for tab in ("tab-messages", "tab-trouble", "tab-memory", "tab-utterances"):
        await page.click(f"#{tab}")
        assert await visit.look(_CONTRASTS, LEGIBLE) == [], tab
        assert await visit.look("document.documentElement.scrollWidth <= innerWidth")


async def test_on_a_wide_screen_all_is_seen_at_once(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox, width=1440, height=900) as visit:
        assert await visit.look("document.documentElement.scrollHeight <= innerHeight")


async def test_every_control_has_a_name(furnished: Visit) -> None:
    await show_everything(furnished)
    assert await furnished.look(_NAMELESS) == []


async def test_everything_is_reached_by_keys(browser: Browser) -> None:
    async with Sandbox() as sandbox:
        furnish(sandbox)
        async with visiting(browser, sandbox) as visit:
            reached: list[str] = []
            for _ in range(60):
                await visit.page.keyboard.press("Tab")
                reached.append(await visit.look("document.activeElement.id"))
            wanted = (
                "sound theme tab-talk say-text microphone interrupt zoom-out pause clear timeline"
                " tab-utterances"
            )
            assert [one for one in reached if one in wanted.split()][: len(wanted.split())] == (
                wanted.split()
            )
            # Tabs by arrow keys, as the practice is.
            await visit.page.focus("#tab-utterances")
            await visit.page.keyboard.press("ArrowRight")
            assert await visit.look("document.activeElement.id") == "tab-messages"
            assert await visit.page.is_visible("#panel-messages")


async def test_the_timeline_is_read_by_keys(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            await ask(socket, speak(tone(8000)))
            await visit.until("agentHumanRoom.room.entries.some((e) => e.what === 'agent.speak')")
            await visit.page.focus("#timeline")
            await visit.page.keyboard.press("End")
            for _ in range(40):
                await visit.page.keyboard.press("ArrowLeft")
                if "of speech sent" in (said := await visit.text("timeline-said")):
                    break
            assert "500 ms of speech sent" in said
            assert await visit.page.get_attribute("#pause", "aria-pressed") == "true"
            await visit.page.keyboard.press("Enter")
            await visit.until("document.activeElement.id === 'details'")
            details = await visit.text("details")
            assert "agent.speak" in details
            assert session["session_id"] in details
            assert session["session_token"] not in await visit.page.content()
            await visit.page.keyboard.press("Escape")
            await visit.until("document.activeElement.id === 'timeline'")


async def test_reduced_motion_is_respected(browser: Browser) -> None:
    async with (
        Sandbox() as sandbox,
        visiting(browser, sandbox, reduced_motion="reduce") as visit,
    ):
        await create(sandbox)
        await visit.until("document.getElementById('who-avatar').textContent !== ''")
        still = await visit.look(
            """async () => {
              const { poseAt } = await import("/room/face/pose.js");
              const pose = (secs) => poseAt(secs, 5, { still: true });
              return [1, 2.5, 7, 31].map((secs) => ({ ...pose(secs), lids: 0 }));
            }"""
        )
        assert all(pose == still[0] for pose in still)
        assert await visit.look("getComputedStyle(document.getElementById('status'), '::before')"
                                ".animationName") == "none"  # fmt: skip


async def test_a_theme_is_chosen_and_kept(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox, color_scheme="light") as visit:
        await visit.page.click("#theme")
        await visit.page.click("#theme")
        assert await visit.look("getComputedStyle(document.body).backgroundColor") == (
            "rgb(16, 18, 21)"
        )
        await visit.page.reload()
        assert await visit.look("document.documentElement.dataset.theme") == "dark"


async def test_text_from_outside_is_text(browser: Browser) -> None:
    nasty = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        sandbox.talk.host(SilentPartner(), TalkTerms(nasty, nasty, suggestions=(nasty,)))
        sandbox.talk.show_memory([MemoryMessage("assistant", nasty)])
        sandbox.talk.show_line(1, "user", nasty, how="typed")
        sandbox.talk.notify(nasty)
        sandbox.inject(Fault(on="agent.speak", kind="error", text=nasty))
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            await ask(socket, speak(tone(400)))
        await visit.until("document.querySelector('.notice')")
        await visit.page.click("#tab-messages")
        await visit.until("document.getElementById('messages').textContent.includes('<img')")
        assert await visit.look("document.querySelectorAll('img[src=x], body script').length") == 0
        assert nasty in await visit.text("transcript")
