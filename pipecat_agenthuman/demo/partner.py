"""Between the page and the bot: what a person does reaches it, what happens in it is shown."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    InterimTranscriptionFrame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    TranscriptionFrame,
    TTSTextFrame,
    UserStartedSpeakingFrame,
    UserStoppedSpeakingFrame,
)

from pipecat_agenthuman._credentials import quoted, redact
from pipecat_agenthuman.demo.bot import Audience, Bot
from pipecat_agenthuman.demo.dialogue import GREETING
from pipecat_agenthuman.demo.transcript import Transcript
from pipecat_agenthuman.sandbox import MemoryMessage, Talk

_MOST_WAITING: Final = 500
"""Things done to the bot that it has not taken yet: ten seconds of a microphone. It takes them
as they come, so more only wait if the event loop is stuck."""


class Partner:
    """Is talked to in the room, on behalf of a bot.

    Attributes:
        bot: The bot.
    """

    def __init__(
        self, talk: Talk, make_bot: Callable[[Audience], Bot], *, secrets: Collection[str] = ()
    ) -> None:
        """Prepare to be talked to.

        Args:
            talk: What the page shows of the conversation.
            make_bot: Makes the bot, which tells its audience what happens in it.
            secrets: What errors must not show.
        """
        self._talk = talk
        self._secrets = secrets
        self._transcript = Transcript(talk.show_line)
        self._inbox: asyncio.Queue[Callable[[], Awaitable[None]]] = asyncio.Queue(_MOST_WAITING)
        self._is_busy = False  # it speaks, or is about to
        self._has_greeted = False
        self.bot = make_bot(self)

    async def run(self) -> None:
        """Do to the bot what persons do, one thing after the other, until cancelled."""
        while True:
            deed = await self._inbox.get()
            await deed()

    # --- what a person does, told by the sandbox -----------------------------------------

    def said(self, text: str) -> None:
        """Take a text that a person typed.

        Args:
            text: The text.
        """
        self._transcript.typed(text)
        self._do(lambda: self._take(text))

    def interrupted(self) -> None:
        """Fall silent."""
        self._do(self.bot.interrupt)

    def microphone_changed(self, is_on: bool) -> None:
        """Take note that somebody is going to speak, and say so the first time.

        Args:
            is_on: Whether there is a microphone now.
        """
        if is_on and not self._has_greeted:
            self._has_greeted = True
            self._do(self._greet)

    def heard(self, pcm: bytes) -> None:
        """Hear a piece of what the microphone captured.

        Args:
            pcm: 16-bit mono PCM at 16 kHz.
        """
        if not self._inbox.full():  # else a gap is better than a voice from the past
            self._do(lambda: self.bot.hear(pcm))

    def _do(self, deed: Callable[[], Awaitable[None]]) -> None:
        try:
            self._inbox.put_nowait(deed)
        except asyncio.QueueFull:
            self._talk.notify("The bot is too busy to take this.", level="warning")

    async def _take(self, text: str) -> None:
        if self._is_busy:  # who is spoken to stops speaking
            await self.bot.interrupt()
        self._is_busy = True
        await self.bot.take(text)

    async def _greet(self) -> None:
        self._is_busy = True
        await self.bot.say(GREETING)

    # --- what happens in the bot -----------------------------------------------------------

    def saw_input(self, frame: Frame) -> None:
        """Write down what was recognised.

        Args:
            frame: A frame behind the speech recognition.
        """
        match frame:
            case TranscriptionFrame():
                self._transcript.recognised(frame.text, is_settled=True)
            case InterimTranscriptionFrame():
                self._transcript.recognised(frame.text, is_settled=False)
            case _:
                pass

    def saw_turn(self, frame: Frame) -> None:
        """Show whose turn it is.

        Args:
            frame: A frame in front of whoever answers.
        """
        match frame:
            case UserStartedSpeakingFrame():
                self._talk.show_activity(user_is_speaking=True)
            case UserStoppedSpeakingFrame():
                self._transcript.ended("user")
                self._talk.show_activity(user_is_speaking=False)
            case LLMContextFrame():
                self._is_busy = True
                self._talk.show_activity(bot_is_thinking=True)
            case _:
                pass

    def saw_outcome(self, frame: Frame) -> None:
        """Show what was heard of the bot.

        Args:
            frame: A frame; what stands before it was heard.
        """
        match frame:
            case BotStartedSpeakingFrame():
                self._is_busy = True
                self._talk.show_activity(bot_is_thinking=False, bot_is_speaking=True)
            case TTSTextFrame():
                self._transcript.heard(frame.text)
            case LLMFullResponseEndFrame():  # of an answer without a word, all that comes
                self._talk.show_activity(bot_is_thinking=False)
            case BotStoppedSpeakingFrame() | InterruptionFrame():
                self._rest()
            case _:
                pass

    def saw_error(self, error: str) -> None:
        """Show what went wrong.

        Args:
            error: What it was.
        """
        self._talk.show_activity(bot_is_thinking=False)
        self._talk.notify(quoted(error, self._redacted), level="error")

    def saw_memory(self, memory: Sequence[MemoryMessage]) -> None:
        """Show what the bot remembers.

        Args:
            memory: All of it.
        """
        self._talk.show_memory(memory)

    def _redacted(self, text: str) -> str:
        return redact(text, *self._secrets)

    def _rest(self) -> None:
        self._is_busy = False
        self._transcript.ended("bot")
        self._talk.show_activity(bot_is_thinking=False, bot_is_speaking=False)
