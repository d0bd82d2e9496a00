"""Talking to a bot through the page: typed, by voice, interrupted; what it remembers."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipecat_agenthuman.sandbox import MemoryMessage, Sandbox, TalkTerms
from tests.support.browser import put_into, visiting
from tests.support.page_sound import speech
from tests.support.page_talk import SilentPartner
from tests.support.sounds import RATE
from tests.support.waiting import until

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = pytest.mark.asyncio(loop_scope="session")

KIND = MemoryMessage("system", "Be kind.")
TERMS = TalkTerms("A small script", "Not a language model.", suggestions=("Who are you?",))


async def test_without_a_bot_the_page_says_how_to_get_one(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        assert await visit.page.is_hidden("#hosted")
        assert f"AGENTHUMAN_API_URL={sandbox.api_url}" in await visit.text("environment")
        assert f"AGENTHUMAN_WS_URL={sandbox.ws_url}" in await visit.text("environment")
        await visit.page.keyboard.press("Escape")  # interrupts nobody
        assert sandbox.api_key not in await visit.page.content()


async def test_typed_text_and_suggestions_reach_the_bot(browser: Browser) -> None:
    partner = SilentPartner()
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        sandbox.talk.host(partner, TERMS)
        await visit.until("!document.getElementById('hosted').hidden")
        assert "Not a language model." in await visit.text("no-lines")
        await visit.page.fill("#say-text", "  Good morning  ")
        await visit.page.keyboard.press("Enter")
        await visit.page.click("text=Who are you?")
        await until(lambda: len(partner.news) == 2)
        assert partner.news == ["said Good morning", "said Who are you?"]
        assert await visit.page.input_value("#say-text") == ""
        await visit.page.keyboard.press("Enter")  # nothing to say
        sandbox.talk.withdraw()
        await visit.until("document.getElementById('hosted').hidden")
    assert len(partner.news) == 2


async def test_the_button_and_escape_interrupt(browser: Browser) -> None:
    partner = SilentPartner()
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        sandbox.talk.host(partner, TERMS)
        await visit.page.click("#interrupt")
        await visit.page.focus("#say-text")
        await visit.page.keyboard.press("Escape")
        await until(lambda: partner.news == ["interrupted"] * 2)
        # In the details, Escape closes them, and interrupts nobody.
        await visit.page.click("#tab-messages")
        await visit.page.click("#messages button")
        await visit.page.keyboard.press("Escape")
        await visit.until("document.getElementById('details').hidden")
        await visit.page.fill("#say-text", "That was all")
        await visit.page.keyboard.press("Enter")
        await until(lambda: "said That was all" in partner.news)
    assert partner.news.count("interrupted") == 2


async def test_the_conversation_grows_line_by_line(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        sandbox.talk.host(SilentPartner(), TERMS)
        sandbox.talk.show_line(1, "user", "Hel", is_final=False, how="spoken")
        await visit.until("document.querySelector('.line.user.partial')")
        sandbox.talk.show_line(1, "user", "Hello", how="spoken")
        sandbox.talk.show_line(2, "bot", "Good day", how="said")
        sandbox.talk.show_activity(bot_is_speaking=True)
        await visit.until("document.querySelectorAll('.line').length === 2")
        lines = await visit.look(
            "[...document.querySelectorAll('.line')].map((one) => one.innerText)"
        )
        assert lines == ["You, by voice\nHello", "Bot\nGood day"]
        assert await visit.page.locator(".partial").count() == 0
        await visit.until("document.getElementById('activity').textContent === 'Speaking'")
        await visit.page.reload()
        await visit.until("document.querySelectorAll('.line').length === 2")


async def test_memory_grows_word_by_word_and_new_words_stand_out(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        sandbox.talk.host(SilentPartner(), TERMS)
        await visit.page.click("#tab-memory")
        for text in ("This", "This is", "This is heard."):
            sandbox.talk.show_memory(
                [MemoryMessage("system", "Be kind."), MemoryMessage("assistant", text)]
            )
            await visit.until(
                "(text) => document.querySelector('.assistant p')?.textContent === text", text
            )
        words = "[...document.querySelectorAll('.assistant .new')].map((one) => one.textContent)"
        assert await visit.look(words) == ["This", " is", " heard."]
        # What was not heard after all is taken back, and is nothing new.
        sandbox.talk.show_memory(
            [MemoryMessage("system", "Be kind."), MemoryMessage("assistant", "It")]
        )
        await visit.until("document.querySelector('.assistant p').textContent === 'It'")
        assert await visit.look(words) == []
        sandbox.talk.show_memory([])
        await visit.until("!document.getElementById('no-memory').hidden")


async def test_the_microphone_reaches_the_bot_as_it_sounds(
    browser: Browser, microphone: Path
) -> None:
    partner = SilentPartner()
    spoken = speech("Excuse me, may I ask you something?")
    put_into(microphone, np.tile(spoken, 6))  # whenever it begins to listen, it hears all of it
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        sandbox.talk.host(partner, TalkTerms("Ears", "It listens.", can_speak=True))
        await visit.until("!document.getElementById('microphone').disabled")
        await visit.page.click("#microphone")
        await visit.until("document.getElementById('microphone').ariaPressed === 'true'")
        began = asyncio.get_running_loop().time()
        await until(lambda: len(partner.pcm) > 2 * RATE * 5)
        took_secs = asyncio.get_running_loop().time() - began
        assert partner.news == ["microphone on"]
        await visit.page.click("#microphone")
        await until(lambda: partner.news == ["microphone on", "microphone off"])
        await visit.until("document.getElementById('microphone').ariaPressed === 'false'")
    assert 4 < took_secs < 12, "16,000 samples a second, on a busy machine too"
    heard = np.frombuffer(partner.pcm, "<i2").astype(float)
    # The browser's echo canceller changes waves; what is loud when stays.
    envelope = loudness(heard)
    wanted = loudness(spoken.astype(float))
    likeness = max(
        np.corrcoef(envelope[at : at + len(wanted)], wanted)[0, 1]
        for at in range(len(envelope) - len(wanted))
    )
    assert likeness > 0.8


def loudness(samples: np.ndarray) -> np.ndarray:
    """The level of each 20 ms."""
    size = RATE // 50
    return np.sqrt((samples[: len(samples) // size * size].reshape(-1, size) ** 2).mean(axis=1))


async def test_without_ears_the_page_says_what_is_missing(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit:
        why = "Install the extra whisper, and it listens."
        sandbox.talk.host(SilentPartner(), TalkTerms("Deaf", "It reads.", why_not_speak=why))
        await visit.until("document.getElementById('microphone').disabled")
        await visit.until("document.getElementById('why-not-speak').textContent")
        assert await visit.text("why-not-speak") == why
