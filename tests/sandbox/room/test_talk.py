from __future__ import annotations

import asyncio
import threading

from pipecat_agenthuman.sandbox import MemoryMessage, Sandbox, TalkTerms
from tests.support.room_client import visit


class Partner:
    """A bot's program that takes note of what it hears."""

    def __init__(self) -> None:
        self.notes: list[tuple] = []
        self.pcm = b""

    def said(self, text: str) -> None:
        self.notes.append(("said", text))

    def interrupted(self) -> None:
        self.notes.append(("interrupted",))

    def microphone_changed(self, is_on: bool) -> None:
        self.notes.append(("microphone", is_on))

    def heard(self, pcm: bytes) -> None:
        self.pcm += pcm


TERMS = TalkTerms("A script", "It only pretends.", can_speak=True, suggestions=("Hello",))


async def settled(page) -> None:
    """Wait until everything that the page sent was taken."""
    await page.send(type="ping", t=7)
    await page.message("pong", lambda pong: pong["t"] == 7)
    page.messages = [one for one in page.messages if one["type"] != "pong"]


async def test_without_a_partner_the_page_is_told_that_nobody_listens():
    async with Sandbox() as sandbox, visit(sandbox) as page:
        assert (await page.message("hello"))["talk"] == {
            "is_hosted": False,
            "title": "",
            "introduction": "",
            "can_type": False,
            "can_interrupt": False,
            "can_speak": False,
            "why_not_speak": None,
            "suggestions": [],
            "microphone": "free",
        }
        for asked in ({"type": "say", "text": "Hi"}, {"type": "interrupt"}):
            await page.send(**asked)
        await page.send(type="microphone", is_on=True)
        await page.socket.send_bytes(bytes(640))
        await settled(page)
        assert len(page.all("notice")) == 3


async def test_a_partner_hears_what_is_typed_and_interrupts():
    partner = Partner()
    async with Sandbox() as sandbox, visit(sandbox) as page:
        sandbox.talk.host(partner, TERMS)
        talk = (await page.message("talk"))["talk"]
        assert (talk["is_hosted"], talk["title"], talk["suggestions"]) == (
            True,
            "A script",
            ["Hello"],
        )
        await page.send(type="say", text="  Hello there  ")
        await page.send(type="interrupt")
        await page.send(type="say", text="Half \ud83d")
        await settled(page)
        assert partner.notes == [("said", "Hello there"), ("interrupted",), ("said", "Half ?")]
        sandbox.talk.withdraw()
        await page.message("talk", lambda told: not told["talk"]["is_hosted"])


async def test_what_cannot_be_said_is_answered_with_a_notice():
    partner = Partner()
    async with Sandbox() as sandbox, visit(sandbox) as page:
        sandbox.talk.host(partner, TERMS)
        for text in ("", "   ", "x" * 2001, 7, None):
            await page.send(type="say", text=text)
        await settled(page)
        assert partner.notes == []
        texts = [one["text"] for one in page.all("notice")]
        assert texts.count("The text is longer than 2000 characters.") == 1
        assert len(texts) == 5


async def test_one_page_at_a_time_has_the_microphone():
    partner = Partner()
    async with Sandbox() as sandbox, visit(sandbox) as first, visit(sandbox) as second:
        sandbox.talk.host(partner, TERMS)
        await first.send(type="microphone", is_on=True)
        await first.message("talk", lambda told: told["talk"]["microphone"] == "yours")
        await second.message("talk", lambda told: told["talk"]["microphone"] == "taken")
        await second.send(type="microphone", is_on=True)
        await second.message("notice")
        await second.socket.send_bytes(b"\x07\x00" * 320)
        await settled(second)
        await first.socket.send_bytes(b"\x01\x00" * 320)
        await settled(first)
        assert partner.pcm == b"\x01\x00" * 320
        second.messages.clear()
        await first.send(type="microphone", is_on=False)
        await second.message("talk", lambda told: told["talk"]["microphone"] == "free")
        await second.send(type="microphone", is_on=True)
        await second.message("talk", lambda told: told["talk"]["microphone"] == "yours")
        assert partner.notes == [("microphone", on) for on in (True, False, True)]


async def test_a_page_that_goes_gives_the_microphone_back():
    partner = Partner()
    async with Sandbox() as sandbox, visit(sandbox) as staying:
        sandbox.talk.host(partner, TERMS)
        async with visit(sandbox) as going:
            await going.send(type="microphone", is_on=True)
            await staying.message("talk", lambda told: told["talk"]["microphone"] == "taken")
            staying.messages.clear()
        await staying.message("talk", lambda told: told["talk"]["microphone"] == "free")
        assert partner.notes == [("microphone", True), ("microphone", False)]


async def test_a_partner_without_ears_says_why():
    terms = TalkTerms("A script", "It reads.", why_not_speak="Install the extra stt.")
    async with Sandbox() as sandbox, visit(sandbox) as page:
        sandbox.talk.host(Partner(), terms)
        await page.send(type="microphone", is_on=True)
        assert (await page.message("notice"))["text"] == "Install the extra stt."


async def test_more_sound_than_a_microphone_makes_is_dropped():
    partner = Partner()
    async with Sandbox() as sandbox, visit(sandbox) as page:
        sandbox.talk.host(partner, TERMS)
        await page.send(type="microphone", is_on=True)
        for _ in range(100):  # 20 s at once
            await page.socket.send_bytes(bytes(6400))
        await settled(page)
        assert 2.0 <= len(partner.pcm) / 32_000 < 12.0
        assert not page.socket.closed


async def test_memory_transcript_and_activity_are_shown_from_any_thread_and_to_who_comes_late():
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.message("hello")
        talk = sandbox.talk

        def tell() -> None:
            talk.show_line(1, "user", "Hel", is_final=False, how="spoken")
            talk.show_line(1, "user", "Hello", how="spoken")
            talk.show_line(2, "bot", "Hi")
            talk.show_memory([MemoryMessage("user", "Hello"), MemoryMessage("assistant", "Hi")])
            talk.show_activity(bot_is_thinking=True)
            talk.show_activity(bot_is_speaking=True, bot_is_thinking=False)
            talk.notify("The model is loaded.")

        thread = threading.Thread(target=tell)
        thread.start()
        await page.message("notice", lambda told: told["text"] == "The model is loaded.")
        await page.message("activity", lambda told: told["activity"]["bot_is_speaking"])
        memory = await page.message("memory")
        assert memory["messages"] == [
            {"role": "user", "text": "Hello"},
            {"role": "assistant", "text": "Hi"},
        ]
        await page.message("transcript", lambda told: told["lines"][-1]["id"] == 2)
        async with visit(sandbox) as late:
            hello = await late.message("hello")
        assert [(line["id"], line["text"], line["how"]) for line in hello["transcript"]] == [
            (1, "Hello", "spoken"),
            (2, "Hi", "said"),
        ]
        assert hello["memory"] == memory["messages"]
        assert hello["activity"] == {
            "user_is_speaking": False,
            "bot_is_thinking": False,
            "bot_is_speaking": True,
        }
        await asyncio.to_thread(thread.join)


async def test_what_is_shown_has_a_limit():
    async with Sandbox() as sandbox:
        for number in range(300):
            sandbox.talk.show_line(number, "bot", "x" * 10_000)
            sandbox.talk.notify("x")
        sandbox.talk.show_memory([MemoryMessage("user", "y" * 10_000)] * 300)
        async with visit(sandbox) as page:
            hello = await page.message("hello")
    assert (len(hello["transcript"]), len(hello["memory"])) == (200, 60)
    assert hello["transcript"][0]["id"] == 100
    assert {len(one["text"]) for one in hello["transcript"] + hello["memory"]} == {4000}
