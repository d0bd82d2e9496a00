"""The wire, live: lanes, utterances, messages; filtered, stopped, cleared, taken away."""

from __future__ import annotations

import json
import wave
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.browser import visiting, window
from tests.support.room_client import visit as connecting
from tests.support.sandbox_client import INTERRUPT, ask, connect, create, init, speak, tone

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

_LINES = "[...document.querySelectorAll('#messages .text')].map((one) => one.textContent)"


async def test_messages_are_told_in_words_and_shown_in_full(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            await ask(socket, speak(tone(8000)))
            await ask(socket, INTERRUPT)
            await visit.page.click("#tab-messages")
            await visit.until(f"{_LINES}.some((line) => line.startsWith('Interrupt confirmed'))")
            lines = await visit.look(_LINES)
            assert "500 ms of speech sent" in lines
            assert any(line.startswith("500 ms confirmed, ") for line in lines)
            assert "Silenced: 500 ms will not be heard" in lines
            assert "POST /v1/sessions" in lines
            await visit.page.click("text=500 ms of speech sent")
            details = await visit.text("details")
            assert "8000 samples" in details
            assert "bot → service" in details


async def test_lanes_and_sessions_are_filtered(browser: Browser) -> None:
    async with Sandbox(max_sessions=2) as sandbox, visiting(browser, sandbox) as visit:
        one, other = await create(sandbox, avatar="avat_a"), await create(sandbox, avatar="avat_b")
        async with connect(sandbox) as first, connect(sandbox) as second:
            await ask(first, init(one))
            await ask(second, init(other))
            await ask(first, speak(tone(4800)))
            await ask(second, speak(tone(8000)))
            await visit.page.click("#tab-messages")
            await visit.until(f"{_LINES}.includes('500 ms of speech sent')")
            assert "300 ms of speech sent" not in await visit.look(_LINES)
            await visit.page.click("#all-sessions")
            await visit.until(f"{_LINES}.includes('300 ms of speech sent')")
            await visit.page.click("#lanes [data-lane='audio']")
            await visit.until(f"!{_LINES}.some((line) => line.endsWith('of speech sent'))")
            tall = await visit.look("document.getElementById('timeline').clientHeight")
            await visit.page.click("#lanes [data-lane='playing']")
            await visit.until(
                "(tall) => document.getElementById('timeline').clientHeight < tall", tall
            )


async def test_it_stands_still_goes_on_and_is_cleared(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await visit.page.click("#tab-messages")
        await visit.until(f"{_LINES}.includes('The sandbox started')")
        await visit.page.click("#pause")
        await create(sandbox)
        await visit.until("agentHumanRoom.room.sessions.size")
        picture = "document.getElementById('timeline').toDataURL()"
        before = await visit.look(picture)
        await visit.look("agentHumanRoom.timeline.draw()")
        assert len(await visit.look(_LINES)) == 1
        await visit.page.click("#pause")
        await visit.until(f"{_LINES}.includes('The avatar joined the room')")
        await visit.until(f"(before) => {picture} !== before", before)
        await visit.page.click("#clear")
        await visit.until(f"{_LINES}.length === 0")
        assert await visit.page.is_visible("#no-messages")


async def test_a_drag_looks_back(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await visit.until("document.getElementById('timeline').clientHeight > 100")
        box = await visit.page.locator("#timeline").bounding_box()
        assert box is not None
        x, y = box["x"] + box["width"] / 2, box["y"] + 20
        await visit.page.mouse.move(x, y)
        await visit.page.mouse.down()
        await visit.page.mouse.move(x + 120, y, steps=4)
        await visit.page.mouse.up()
        assert await visit.look("agentHumanRoom.timeline.isPaused")
        await visit.page.click("#pause")
        assert not await visit.look("agentHumanRoom.timeline.isPaused")


async def test_messages_and_sound_are_taken_away(browser: Browser, tmp_path: Path) -> None:
    async with Sandbox(render_latency_secs=0.1) as sandbox, visiting(browser, sandbox) as visit:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            await ask(socket, speak(tone(4000)))
            await sandbox.wait_until_quiet()
            for link, name in (("#download-log", "log.jsonl"), ("#download-wav", "heard.wav")):
                await visit.page.click("#downloads summary")
                async with visit.page.expect_download() as coming:
                    await visit.page.click(link)
                await (await coming.value).save_as(tmp_path / name)
    entries = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert "agent.speak.confirmed" in [entry["what"] for entry in entries]
    with wave.open(str(tmp_path / "heard.wav")) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert (heard == tone(4000)).all()


async def test_an_utterance_gets_one_line_and_its_details(browser: Browser) -> None:
    async with Sandbox(render_latency_secs=0.1) as sandbox, visiting(browser, sandbox) as visit:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            for start in range(0, 12_000, 4000):
                await ask(socket, speak(tone(4000, start)))
            await visit.until("document.querySelector('[data-state=heard] .summary')")
            assert await visit.look("document.querySelectorAll('#utterances li').length") == 1
            assert "0.8 s heard" in await visit.page.inner_text("#utterances .summary")
            await visit.page.click("#utterances button")
            details = await visit.text("details-pairs")
            assert "messages\n3" in details
            await visit.page.click("#details-close")
            assert await visit.page.is_hidden("#details")


async def test_a_sandbox_that_goes_and_comes_back_is_found_again(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        await create(sandbox)
        await visit.until("agentHumanRoom.room.sessions.size === 1")
        port = int(sandbox.room_url.rstrip("/").rsplit(":", 1)[1])
        await sandbox.close()
        await visit.until("document.getElementById('connection').dataset.state === 'lost'")
        await visit.until(
            "document.getElementById('connection').textContent.includes('not running')"
        )
        async with Sandbox(port=port):
            await visit.until("document.getElementById('connection').dataset.state === 'open'")
            await visit.until("agentHumanRoom.room.sessions.size === 0")
        # The browser itself says on its console that nobody answered.
        assert all("ERR_CONNECTION_REFUSED" in wrong for wrong in visit.wrongs)
        visit.wrongs.clear()


async def test_a_full_room_says_so(browser: Browser) -> None:
    async with Sandbox() as sandbox, AsyncExitStack() as viewers:
        for _ in range(8):
            page = await viewers.enter_async_context(connecting(sandbox))
            await page.message("hello")
        async with window(browser, sandbox.room_url) as last:
            await last.until(
                "document.getElementById('connection').textContent"
                ".includes('The room is full: 8 pages look at it')"
            )
            # The browser itself says on its console that it was refused.
            assert all("503" in wrong for wrong in last.wrongs)
            last.wrongs.clear()
