"""The demo in a real browser: typed, seen, heard, interrupted by a key and by a voice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipecat_agenthuman.demo.dialogue import NO_WORDS
from pipecat_agenthuman.sandbox import Fault
from tests.support.browser import Visit, put_into, visiting
from tests.support.page_sound import heard_in, mouth_lag_secs, record, recorded, until_sounds
from tests.support.room_guest import LONG, Room, inhabited, voice
from tests.support.sounds import RATE

if TYPE_CHECKING:
    from playwright.async_api import Browser

SENTENCE = "Many people make the mouth move. Please, be my guest."
SILENT_SECS = 0.3
"""A page that does not fall silent has a quarter of a minute left to play."""

IN_TIME_SECS = 0.04

BUTTON = "document.getElementById('interrupt').click()"
ESCAPE = (
    "document.body.dispatchEvent(new KeyboardEvent('keydown', { key: 'Escape', bubbles: true }))"
)

LISTENS_SECS = 1.0
"""What the person with the microphone hears of the bot before interrupting it."""

WAITS_SECS = 8.0
"""For how long that person then waits for an answer."""


pytestmark = pytest.mark.asyncio(loop_scope="session")


@asynccontextmanager
async def looking(browser: Browser) -> AsyncIterator[tuple[Room, Visit]]:
    """The demo's room, and a browser in front of it."""
    async with inhabited() as room, visiting(browser, room.sandbox) as visit:
        yield room, visit


async def type_into(visit: Visit, text: str) -> None:
    """Type a text into the page, and send it."""
    await visit.page.fill("#say-text", text)
    await visit.page.press("#say-text", "Enter")


async def until_said(visit: Visit, words: str) -> None:
    """Wait until the page shows that the bot's latest words, as it remembers them, begin so."""
    await visit.until(
        "(words) => { const last = agentHumanRoom.room.memory.at(-1);"
        " return last?.role === 'assistant' && last.text.startsWith(words); }",
        words,
    )


async def test_what_is_typed_is_seen_and_heard_in_time_and_remembered(browser: Browser) -> None:
    async with looking(browser) as (room, visit):
        await record(visit)
        await type_into(visit, SENTENCE)
        await room.guest.until_remembered_all("assistant", SENTENCE)
        await room.sandbox.wait_until_quiet()
        recording = await recorded(visit)
        assert SENTENCE in await visit.text("transcript")
        await visit.page.click("#tab-memory")
        assert SENTENCE in " ".join((await visit.text("memory")).split())
    # Bot, sandbox and this test share a process: on a busy machine the bot may stutter.
    truth = max(heard_in(room.sandbox), key=lambda piece: len(piece.audio))
    late_secs, correlation = mouth_lag_secs(recording, truth)
    assert abs(late_secs) <= IN_TIME_SECS
    assert correlation >= 0.6


async def sound_after(interrupt: str, room: Room, visit: Visit) -> float:
    """Interrupt the bot; returns for how many seconds it was still heard."""
    await type_into(visit, f"{LONG} {LONG}")
    await until_said(visit, "This goes")
    await room.sandbox.wait_until_heard(room.sandbox.heard().duration_secs + 0.7)
    clicked_at = await visit.look(
        f"(() => {{ {interrupt}; return agentHumanRoom.clock.at(performance.now() / 1000); }})()"
    )
    await visit.until(
        "document.querySelector('#utterances li:first-child [data-state=interrupted]')"
    )
    recording = await recorded(visit)
    assert np.abs(recording.between(clicked_at - 0.5, clicked_at)).max() > 0.05
    await type_into(visit, "Hello")  # so that its next answer is a new one
    await until_said(visit, "Hello")
    return recording.sounds_until(clicked_at)


async def test_who_interrupts_hears_silence_at_once(browser: Browser) -> None:
    async with looking(browser) as (room, visit):
        await record(visit)
        for interrupt in (BUTTON, ESCAPE):
            # How long it takes is up to the machine, too: one time out of three is proof enough.
            tried: list[float] = []
            while len(tried) < 3 and min(tried, default=1) >= SILENT_SECS:
                tried.append(await sound_after(interrupt, room, visit))
            assert min(tried) < SILENT_SECS, interrupt


async def test_a_voice_in_the_browser_s_microphone_interrupts_the_bot(
    browser: Browser, microphone: Path
) -> None:
    listens, waits = (np.zeros(round(secs * RATE), np.int16) for secs in (LISTENS_SECS, WAITS_SECS))
    said = np.concatenate([listens, voice("Can you hear me talking to you now?"), waits])
    # On a busy machine the words may come when the bot has given them up: then it says so, and
    # whoever is not understood says it again.
    put_into(microphone, np.tile(said, 3))
    async with looking(browser) as (room, visit):
        await record(visit)
        await type_into(visit, LONG)
        await until_said(visit, "This goes")
        await visit.page.click("#microphone")
        cut = await room.guest.page.message("cut")
        await until_said(visit, "I heard you")
        assert NO_WORDS in await visit.text("transcript")
        recording = await recorded(visit)
    # How soon, the test above measures: there are several tries.
    assert recording.sounds_until(cut["at_secs"]) < 0.9, "it had seconds left to say"


async def test_the_bot_s_own_voice_is_heard_where_the_avatar_fell_silent(browser: Browser) -> None:
    async with looking(browser) as (room, visit):
        await record(visit)
        await type_into(visit, LONG)
        await until_said(visit, "This goes")
        room.sandbox.inject(Fault(on="create", kind="refuse", status=500, times=None))
        await room.sandbox.drop()
        await visit.until("document.getElementById('status').textContent === 'Own voice'")
        cut = await room.guest.page.message("cut")
        await until_sounds(visit, cut["at_secs"] + 0.3)
