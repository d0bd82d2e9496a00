"""Trouble on demand: every control of the page once, and what came of it in sight."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.browser import LIMIT_SECS, Visit, visiting
from tests.support.sandbox_client import (
    INTERRUPT,
    ROOM,
    ask,
    connect,
    create,
    init,
    request,
    speak,
    tone,
)

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

PATIENCE_SECS = 0.3
"""How long this bot waits for an answer that may never come."""

REFUSED = (ConnectionClosed, InvalidHandshake, TimeoutError, aiohttp.ClientError)


async def get(sandbox: Sandbox, path: str) -> Any:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{sandbox.room_url}sandbox/{path}") as answer,
    ):
        return await answer.json()


class Bot:
    """Does what a fault waits for, and does not mind what becomes of it."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.sandbox = sandbox
        self.session: dict[str, Any] = {}
        self.socket: ClientConnection | None = None

    async def come(self) -> None:
        """Create a session and connect."""
        self.session = await create(self.sandbox)
        self.socket = await connect(self.sandbox)
        await ask(self.socket, init(self.session))

    async def run_into(self, point: str) -> None:
        """Go where a fault strikes."""
        with contextlib.suppress(*REFUSED):
            async with asyncio.timeout(PATIENCE_SECS):
                await self._go(point)

    async def run_until_struck(self, fault: dict[str, Any], after: int) -> None:
        """Go where a fault strikes until it did: on a busy machine patience ends before."""

        def has_struck() -> bool:
            told = [one for one in self.sandbox.log if one["number"] > after]
            faults = [one for one in told if one["what"] == "fault"]
            return any((one["on"], one["kind"]) == (fault["on"], fault["kind"]) for one in faults)

        async with asyncio.timeout(LIMIT_SECS):
            await self.run_into(fault["on"])
            while not has_struck():
                await asyncio.sleep(PATIENCE_SECS)
                if not has_struck():
                    await self.run_into(fault["on"])

    async def _go(self, point: str) -> None:
        wish = {"avatar": "avat_test", "room": ROOM}
        assert self.socket is not None
        match point:
            case "create":
                await request(self.sandbox, "POST", "/sessions", json=wish)
            case "end":
                path = f"/sessions/{self.session['session_id']}/end"
                await request(self.sandbox, "POST", path)
            case "connect":
                async with connect(self.sandbox, open_timeout=PATIENCE_SECS):
                    pass
            case "session.init":
                session = await create(self.sandbox)
                async with connect(self.sandbox) as socket:
                    await socket.send(json.dumps(init(session)))
                    await socket.recv()
            case "agent.speak":
                await self._send(speak(tone(1600)))
            case "agent.interrupt":
                await self._send(INTERRUPT)
            case "ping":
                await (await self.socket.ping())
            case _:
                raise AssertionError(f"nobody knows how to run into {point}")

    async def _send(self, message: dict[str, Any]) -> None:
        """Send, and wait for whatever comes back: it need not be a message."""
        assert self.socket is not None
        await self.socket.send(json.dumps(message))
        await self.socket.recv()

    async def leave(self) -> None:
        if self.socket is not None:
            self.socket.transport.abort()


ACTIONS = {
    "end": "session.ended",
    "drop": "close",
    "abort": "abort",
    "remove_avatar": "avatar.left",
    "return_avatar": "avatar.joined",
}
"""What is logged when an action was carried out."""


async def carry_out(visit: Visit, trouble: dict[str, Any], bot: Bot, after: int) -> None:
    """Use a control and run into it, until the page tells of it."""
    if trouble["action"] == "return_avatar":
        await bot.sandbox.remove_avatar()
    await visit.page.click(f"[data-trouble='{trouble['id']}']")
    if trouble["action"] is not None:
        what = ACTIONS[trouble["action"]]
        await bot.sandbox.wait_for(lambda entry: entry["what"] == what, after=after)
        await visit.until(
            "([what, after]) => agentHumanRoom.room.entries.some("
            "(one) => one.what === what && one.number > after)",
            [what, after],
        )
    for fault in trouble["faults"] or []:
        await visit.until("agentHumanRoom.room.faults.length > 0")
        await bot.run_until_struck(fault, after)
        await visit.until(
            "([on, kind, after]) => agentHumanRoom.room.entries.some((one) =>"
            " one.what === 'fault' && one.on === on && one.kind === kind && one.number > after)",
            [fault["on"], fault["kind"], after],
        )
        await visit.until(
            f"/struck/.test(document.querySelector('[data-trouble={trouble['id']}]')"
            ".parentElement.querySelector('.armed').textContent)"
        )
    for fault in trouble["faults"] or []:
        await visit.until(
            "(text) => [...document.querySelectorAll('#aftermath-lines .said')]"
            ".some((one) => one.textContent === text)",
            f"Fault: {fault['kind']} on {fault['on']}",
        )


async def test_every_trouble_once_and_its_consequence(browser: Browser) -> None:
    async with (
        Sandbox(max_sessions=1000, render_latency_secs=0.1) as sandbox,
        visiting(browser, sandbox, width=1280, height=1600) as visit,
    ):
        troubles = await get(sandbox, "troubles")
        assert len(troubles) > 25
        await visit.page.click("#tab-trouble")
        await visit.until(
            "(count) => document.querySelectorAll('.trouble').length === count", len(troubles)
        )
        for trouble in troubles:
            bot = Bot(sandbox)
            await bot.come()
            after = sandbox.log[-1]["number"]
            await visit.until(
                "(id) => agentHumanRoom.room.target?.session_id === id", bot.session["session_id"]
            )
            await carry_out(visit, trouble, bot, after)
            for fault in trouble["faults"] or []:
                if fault["kind"] == "error":
                    await visit.until(
                        "(text) => agentHumanRoom.room.entries.some("
                        "(one) => one.what === 'error' && one.error === text)",
                        fault["text"],
                    )
            assert trouble["sentence"] in await visit.text("troubles")
            await bot.leave()
            if trouble["faults"]:
                if await visit.page.is_visible("#clear-faults"):
                    await visit.page.click("#clear-faults")
                sandbox.clear_faults()
                await visit.until("agentHumanRoom.room.faults.length === 0")
        # In the lane, too: each of them is a mark that can be pointed at.
        assert await visit.look(
            "agentHumanRoom.room.entries.filter((one) => one.what === 'fault').length"
        ) >= sum(len(trouble["faults"] or []) for trouble in troubles)


async def test_a_number_is_chosen_before_trouble_is_made(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await visit.page.click("#tab-trouble")
        slow = visit.page.locator(".trouble", has_text="Slow confirmations")
        await slow.locator("input").fill("1.5")
        await slow.locator("button").click()
        await visit.until("agentHumanRoom.room.faults.length === 1")
        (armed,) = await get(sandbox, "faults")
        assert armed["fault"]["delay_secs"] == 1.5
        await visit.until("document.getElementById('trouble-count').textContent === '1'")
        assert await slow.locator(".armed").inner_text() == "on"
        await visit.page.click("#clear-faults")
        await visit.until("agentHumanRoom.room.faults.length === 0")
        assert await get(sandbox, "faults") == []


async def test_what_was_turned_on_is_turned_off_and_each_strike_is_no_line(
    browser: Browser,
) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        bot = Bot(sandbox)
        await bot.come()
        await visit.page.click("#tab-trouble")
        await visit.page.click("[data-trouble=slow_interrupt]")  # of another control
        await visit.page.click("[data-trouble=missing_pong]")
        button = "document.querySelector('[data-trouble=missing_pong]')"
        await visit.until(f"{button}.textContent === 'Turn off'")
        for _ in range(3):
            unanswered = {"on": "ping", "kind": "missing"}
            await bot.run_until_struck(unanswered, sandbox.log[-1]["number"])
            await bot.run_into("agent.speak")  # so that something else is told between
        strikes = sum(one["what"] == "fault" and one["on"] == "ping" for one in sandbox.log)
        lines = "[...document.querySelectorAll('#aftermath-lines li')].map((one) => one.innerText)"
        pings = f"{lines}.filter((one) => one.includes('on ping'))"
        await visit.until(f"{pings}.length === 1 && /\\b{strikes}$/.test({pings}[0])")
        await visit.page.click("[data-trouble=missing_pong]")
        await visit.until(f"{button}.textContent === 'Turn on'")
        assert [one["fault"]["on"] for one in await get(sandbox, "faults")] == ["agent.interrupt"]
        await bot.leave()


async def test_an_armed_fault_is_told_at_its_own_control_only(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await visit.page.click("#tab-trouble")
        for trouble in await get(sandbox, "troubles"):
            if not trouble["faults"]:
                continue
            await visit.page.click(f"[data-trouble='{trouble['id']}']")
            await visit.until("agentHumanRoom.room.faults.length > 0")
            told = "[...document.querySelectorAll('.trouble')].filter((one) =>"
            told += " /^(on|armed|struck)/.test(one.querySelector('.armed').textContent))"
            told += ".map((one) => one.querySelector('button').dataset.trouble).join()"
            await visit.until(f"(id) => {told}.includes(id)", trouble["id"])
            assert await visit.look(told) == trouble["id"]
            sandbox.clear_faults()
            await visit.until("agentHumanRoom.room.faults.length === 0")


async def test_what_came_of_it_covers_no_part_of_the_button_above(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await visit.page.click("#tab-trouble")
        await visit.page.click("[data-trouble=slow_confirmations]")
        await visit.page.wait_for_selector("#aftermath")
        await visit.page.wait_for_selector("#clear-faults")
        # Its shadow hides what scrolls away above it.
        shadow = "-parseFloat(getComputedStyle(aftermath).boxShadow.match(/(-?\\d+)px/g)[1])"
        gap = await visit.look(
            "document.getElementById('aftermath').getBoundingClientRect().top"
            " - document.getElementById('clear-faults').getBoundingClientRect().bottom"
        )
        assert gap >= await visit.look(shadow)


async def test_what_needs_a_session_waits_for_one(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await visit.page.click("#tab-trouble")
        await visit.until("document.querySelector('[data-trouble=expire]')?.disabled")
        await create(sandbox)
        await visit.until("!document.querySelector('[data-trouble=expire]').disabled")
        await visit.page.click("[data-trouble=expire]")
        await visit.until("document.getElementById('status').textContent.startsWith('E')")
