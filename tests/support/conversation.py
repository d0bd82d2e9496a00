"""A conversation for tests: a room, a person who really speaks, an avatar that is really heard.

Any ``bot(runner_args)`` can be run in it, an example's or a test's own::

    async with Conversation(monkeypatch) as call:
        running = call.start(bot)
        ada = call.person("Ada")
        await call.until(lambda: call.heard_secs > 1)
        await ada.say("How do I bake bread?", call.stt)
        ada.leave()
        await running

What stands in for the world: the Daily room of ``daily_room.py``, Daily's REST API for the
avatar's token, the sandbox for the avatar's service. The sandbox's avatar joins the room with
the identity in the token that was minted for it, and what it says is heard there, so that a bot
that listens to its own avatar is found out. Microphones run in real time, and voices are
synthesised; what the bot makes of them (voice activity, end of turn) is Pipecat's own.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import cache
from importlib.util import find_spec
from typing import Any, Self

import numpy as np
import pytest
import soxr
from pipecat.runner.types import DailyRunnerArguments, RunnerArguments

from pipecat_agenthuman.demo.espeak import EspeakSynthesizer, SynthesizedSpeech
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.sandbox import Sandbox, SandboxSession
from pipecat_agenthuman.testing import ScriptedSTT
from tests.support.calls import LATENCY_SECS
from tests.support.daily_rest import daily_rest, holder_of
from tests.support.daily_room import Participant, Room, installed_daily
from tests.support.sounds import RATE
from tests.support.waiting import LIMIT_SECS, quiet_log, until

_CHUNK_SECS = 0.02

Bot = Callable[[RunnerArguments], Awaitable[None]]


# --- voices ---------------------------------------------------------------------------------

BOT_PACE = 290
"""Words per minute: brisk, because tests wait for it."""

LONG_ANSWER = (
    "First we take a bowl and flour and water and yeast and salt and then we mix it all by hand "
    "until the dough is smooth and soft and warm and then we let it rest for one hour and when it "
    "has grown to twice its size we fold it and turn it and press it and shape it into a loaf and "
    "put it on a board and cover it with a cloth and while it grows again we heat the oven and "
    "boil some water and sharpen a long knife and then we cut the top and bake it all until the "
    "crust is brown and hard and the room is full of its smell."
)
"""For who is to be interrupted. Nobody waits for its end, and it goes on in real time: so long that
an interruption comes in its first half on the slowest machine."""


@cache
def bot_speech(text: str) -> SynthesizedSpeech:
    """What the bot's synthesiser makes of a text."""
    return EspeakSynthesizer(voice="en-gb", words_per_minute=BOT_PACE).synthesize(text)


def make_tts() -> EspeakTTSService:
    settings = EspeakTTSService.Settings(voice="en-gb", words_per_minute=BOT_PACE)
    return EspeakTTSService(word_timestamps=True, settings=settings)


@cache
def _persons_speech(text: str) -> bytes:
    speech = EspeakSynthesizer(voice="en-us", words_per_minute=175).synthesize(text)
    samples = np.frombuffer(speech.audio, dtype=np.int16)
    return soxr.resample(samples, speech.sample_rate, RATE).astype(np.int16).tobytes()


def loud(audio: bytes | bytearray) -> np.ndarray:
    """The samples that are not silence, in order; a resampler leaves a little noise in it."""
    samples = np.frombuffer(bytes(audio), dtype=np.int16)
    return samples[np.abs(samples.astype(np.int32)) > 32]


def keep_tokenizer_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pipecat releases that use NLTK fetch its data over the network at the first sentence."""
    if find_spec("nltk") is not None:
        split = re.compile(r"(?<=[.!?])\s+").split
        monkeypatch.setattr("pipecat.utils.string._sent_tokenizer", lambda: split)


# --- who is in the room -----------------------------------------------------------------------


class Person:
    """Someone with an open microphone.

    Attributes:
        participant: Their place in the room.
        said: All the audio of their microphone.
        microphone: The task that runs it.
    """

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        self.said = bytearray()
        self._words = bytearray()
        self._spoken = asyncio.Event()
        self.microphone = asyncio.create_task(self._transmit())

    async def say(self, text: str, recogniser: ScriptedSTT | None = None) -> None:
        """Say something, in real time; returns when it was said."""
        self._spoken.clear()
        self._words.extend(_persons_speech(text))
        await asyncio.wait_for(self._spoken.wait(), LIMIT_SECS)
        if recogniser is not None:
            recogniser.cues.append(text)

    def leave(self) -> None:
        self.microphone.cancel()
        self.participant.leave()

    async def _transmit(self) -> None:
        size = round(RATE * _CHUNK_SECS) * 2
        due = time.monotonic()
        while True:
            chunk = bytes(self._words[:size]).ljust(size, b"\0")
            del self._words[:size]
            self.said.extend(chunk)
            self.participant.speak(chunk, RATE)
            if not self._words:
                self._spoken.set()
            due += _CHUNK_SECS
            await asyncio.sleep(max(due - time.monotonic(), 0.0))


class Avatar:
    """The sandbox's avatar as a participant, who says in the room what it says in the sandbox.

    Attributes:
        participant: Its place in the room.
        said: What the others could hear of it.
    """

    def __init__(self, participant: Participant, sandbox: Sandbox, session_id: str) -> None:
        self.participant = participant
        self.said = bytearray()
        self._sandbox = sandbox
        self._session_id = session_id
        self._speaking = asyncio.create_task(self._speak())

    def leave(self) -> None:
        self._speaking.cancel()
        self.participant.leave()

    async def _speak(self) -> None:
        while True:
            audio = self._sandbox.heard(self._session_id).pcm[len(self.said) :]
            if audio:
                self.said.extend(audio)
                self.participant.speak(audio, RATE)
            await asyncio.sleep(_CHUNK_SECS)


# --- the conversation ------------------------------------------------------------------------


class Conversation:
    """A call in a room, with everything around it; see the top of this file.

    Attributes:
        sandbox: The avatar's service, in a thread of its own.
        room: The Daily room.
        avatars: Every avatar that joined the room, in order.
        stt: Speech recognition for the bot to use.
        complaints: What was logged as a warning or worse.
    """

    room: Room
    stt: ScriptedSTT
    complaints: list[str]

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **sandbox: Any) -> None:
        self._monkeypatch = monkeypatch
        self.sandbox = Sandbox(
            on_avatar_joined=self._avatar_joined,
            on_avatar_left=self._avatar_left,
            **{"render_latency_secs": LATENCY_SECS, "max_sessions": 3, **sandbox},
        )
        self.avatars: list[Avatar] = []
        self._present: dict[str, Avatar] = {}
        self._persons: list[Person] = []
        self._bots: list[asyncio.Task[None]] = []
        self._bystanders: set[asyncio.Task[Any]] = set()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        keep_tokenizer_offline(self._monkeypatch)
        daily = self._stack.enter_context(installed_daily(self._monkeypatch))
        self.room = daily.room()
        rest = self._stack.enter_context(daily_rest())
        self._stack.enter_context(self.sandbox)
        for name, value in (self.sandbox.environment | rest).items():
            self._monkeypatch.setenv(name, value)
        self.complaints = self._stack.enter_context(quiet_log(level="WARNING"))
        self.stt = ScriptedSTT(sample_rate=RATE)
        self._bystanders = asyncio.all_tasks()
        return self

    async def __aexit__(self, *_: object) -> None:
        for person in self._persons:
            person.leave()
        for bot in self._bots:
            bot.cancel()
        await asyncio.gather(*self._bots, return_exceptions=True)
        await self._stack.aclose()

    # --- who comes ---

    def start(self, bot: Bot) -> asyncio.Task[None]:
        """Let the bot in, as Pipecat's runner does; the task ends with the conversation."""
        arguments = DailyRunnerArguments(room_url=self.room.url, token="token-of-the-bot")
        self._bots.append(asyncio.create_task(bot(arguments)))
        return self._bots[-1]

    def person(self, name: str) -> Person:
        """Let a person in."""
        self._persons.append(Person(self.room.join(name)))
        return self._persons[-1]

    def _avatar_joined(self, record: SandboxSession) -> None:
        holder = holder_of(record.room_token)
        participant = self.room.join(holder["user_name"], user_id=holder["user_id"])
        self._present[record.id] = Avatar(participant, self.sandbox, record.id)
        self.avatars.append(self._present[record.id])

    def _avatar_left(self, record: SandboxSession) -> None:
        self._present.pop(record.id).leave()

    # --- what happens ---

    @property
    def heard_secs(self) -> float:
        """Seconds of the avatar's speech that sounded in the room."""
        return self.sandbox.heard().duration_secs

    def commands(self, kind: str) -> list[dict[str, Any]]:
        """The messages of one kind that the bot sent to the avatar."""
        return [e for e in self.sandbox.log if e["direction"] == "in" and e["what"] == kind]

    def bot_heard_only(self, person: Person) -> bool:
        """Whether speech recognition got that person's voice and nothing else."""
        heard = loud(self.stt.heard)
        # Who speaks the moment they join is not captured from the first sample on.
        return len(heard) > RATE // 2 and np.array_equal(heard, loud(person.said)[-len(heard) :])

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until something is so; a bot that has failed meanwhile says why."""

        def so_or_failed() -> object:
            for bot in self._bots:
                if bot.done():
                    bot.result()
            return condition()

        def why_not() -> str:
            happened = [(e["at_secs"], e["what"]) for e in self.sandbox.log[-20:]]
            return (
                f"Heard {self.heard_secs:.3f} s. Sandbox: {happened}. Warnings: {self.complaints}"
            )

        await until(so_or_failed, why_not=why_not)

    async def until_ended(self, bot: asyncio.Task[None]) -> None:
        """Wait until a bot has ended, and see that nothing is left of it."""
        await asyncio.wait_for(asyncio.shield(bot), LIMIT_SECS)
        await self.sandbox.wait_until_ended()
        microphones = {person.microphone for person in self._persons}
        left_over = asyncio.all_tasks() - self._bystanders - microphones - {asyncio.current_task()}
        assert not [task for task in left_over if not task.done()]
        assert not self.room.clients
