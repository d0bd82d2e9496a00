"""The demo's room with its bot, and a person in front of its page, without a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import soxr

from pipecat_agenthuman.demo.espeak import EspeakSynthesizer
from pipecat_agenthuman.demo.room import RoomOptions, inhabit
from pipecat_agenthuman.demo.services import make_llm, make_stt
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.room_client import Page, visit
from tests.support.waiting import LIMIT_SECS, undisturbed

LONG: Final = (
    "This goes on for so long that somebody has all the time in the world to say something, be it "
    "on a machine so slow that other sentences are over before anybody has heard their beginning, "
    "and so it goes on, and on, and nobody minds, because nobody will ever hear it to its end."
)
"""Whoever is to be interrupted says this. It takes some 16 seconds."""

OWN_VOICE: Final = ""
"""Stands for a session's ID in what the bot says with its own voice."""

CHUNK_SAMPLES: Final = 320
"""What a page sends of its microphone at a time: 20 ms."""


class Guest:
    """Who talks to the bot.

    Attributes:
        page: What the guest looks at.
    """

    def __init__(self, page: Page) -> None:
        self.page = page

    async def type(self, text: str) -> None:
        """Type a text, and send it."""
        await self.page.send(type="say", text=text)

    async def interrupt(self) -> None:
        """Press the button."""
        await self.page.send(type="interrupt")

    async def turn_microphone_on(self) -> None:
        """Lend the bot a microphone."""
        await self.page.send(type="microphone", is_on=True)
        await self.page.until(lambda: self.talk["microphone"] == "yours")

    async def speak(self, samples: np.ndarray) -> None:
        """Send the sound of the microphone, at the pace at which it comes from one."""
        due = asyncio.get_running_loop().time()
        for start in range(0, len(samples), CHUNK_SAMPLES):
            await self.page.socket.send_bytes(samples[start : start + CHUNK_SAMPLES].tobytes())
            due += CHUNK_SAMPLES / 16_000
            await asyncio.sleep(due - asyncio.get_running_loop().time())

    # --- what the page shows ---------------------------------------------------------------

    @property
    def talk(self) -> dict[str, Any]:
        """Whom one talks to."""
        return self._latest("talk", "talk")

    @property
    def activity(self) -> dict[str, Any]:
        """Whose turn it is."""
        return self._latest("activity", "activity")

    @property
    def memory(self) -> list[str]:
        """What the bot remembers, each message with who said it."""
        told = self._latest("memory", "messages")
        return [f"{message['role']}: {message['text']}" for message in told]

    @property
    def lines(self) -> list[dict[str, Any]]:
        """What was said."""
        lines: dict[int, dict[str, Any]] = {}
        for message in self.page.all("transcript"):
            lines |= {line["id"]: line for line in message["lines"]}
        return list(lines.values())

    @property
    def own_voice_secs(self) -> float:
        """How long the bot spoke with its own voice."""
        return len(self.page.heard_of(OWN_VOICE)) / 16_000

    def logged(self, what: str) -> list[dict[str, Any]]:
        """The entries of the sandbox's log that tell of something."""
        entries = (entry for message in self.page.all("log") for entry in message["entries"])
        return [entry for entry in entries if entry["what"] == what]

    async def until_remembered(self, role: str, words: str) -> None:
        """Wait until the latest of the memory begins with some words."""
        await self.page.until(
            lambda: self.memory and self.memory[-1].startswith(f"{role}: {words}")
        )

    async def until_remembered_all(self, role: str, text: str) -> None:
        """Wait until the latest of the memory is a text, to its end."""
        await self.page.until(lambda: self.memory[-1:] == [f"{role}: {text}"])

    async def until_quiet(self) -> None:
        """Wait until the bot does not speak any more."""
        await self.page.until(lambda: not self.activity["bot_is_speaking"])

    def _latest(self, kind: str, field: str) -> Any:
        if told := self.page.all(kind):
            return told[-1][field]
        return self.page.all("hello")[-1]["memory" if field == "messages" else field]


@asynccontextmanager
async def visiting(sandbox: Sandbox) -> AsyncIterator[Guest]:
    """Visit a bot in a sandbox's room.

    Args:
        sandbox: The sandbox.

    Yields:
        The guest, when there is somebody to talk to.
    """
    async with visit(sandbox) as page:
        await page.message("hello")
        guest = Guest(page)
        await page.until(lambda: guest.talk["is_hosted"])
        yield guest


@dataclass(frozen=True)
class Room:
    """A room with a bot in it, and somebody who talks to it."""

    sandbox: Sandbox
    guest: Guest


@asynccontextmanager
async def inhabited(options: RoomOptions | None = None) -> AsyncIterator[Room]:
    """A room with the demo's bot; at the end, its session has to be over.

    Args:
        options: What whoever opens it has chosen.
    """
    options = options or RoomOptions()
    stop = asyncio.Event()
    with undisturbed():
        async with Sandbox() as sandbox:
            stt, llm = make_stt(options.recogniser), make_llm(options.model)
            living = asyncio.create_task(inhabit(sandbox, stt, llm, options, stop))
            try:
                async with visiting(sandbox) as guest:
                    yield Room(sandbox, guest)
            finally:
                stop.set()
                async with asyncio.timeout(LIMIT_SECS):
                    await living
            assert sandbox.live_sessions == []


def voice(text: str) -> np.ndarray:
    """Somebody who says something and then listens: 16-bit samples at 16 kHz.

    Pipecat's model hears in this voice that the sentences below are complete. After one that it
    takes for incomplete, it waits some seconds for more.
    """
    speech = EspeakSynthesizer(voice="en-us", words_per_minute=175).synthesize(text)
    samples = np.frombuffer(speech.audio, dtype=np.int16)
    samples = soxr.resample(samples, speech.sample_rate, 16_000)
    return np.concatenate([samples, np.zeros(16_000, np.int16)])
