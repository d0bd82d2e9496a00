"""Speech recognition and a language model that need no key: they say what they were told."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator
from typing import Any

from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    TranscriptionFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.llm_service import LLMService
from pipecat.services.settings import LLMSettings, STTSettings
from pipecat.services.stt_service import STTService
from pipecat.utils.time import time_now_iso8601


class ScriptedSTT(STTService):
    """Hears everything, and recognises what it was told that a person would say.

    It answers to voice activity, so the pipeline needs a VAD as with any such service.

    Attributes:
        heard: All the audio that reached it, 16-bit mono PCM.
        cues: What was said and not recognised yet; recognised when the speech has ended.
    """

    def __init__(self, *, sample_rate: int | None = None) -> None:
        """Create one that expects nothing.

        Args:
            sample_rate: Samples per second; that of the pipeline's input if None.
        """
        super().__init__(
            settings=STTSettings(model=None, language=None),
            ttfs_p99_latency=1.0,
            sample_rate=sample_rate,
        )
        self.heard = bytearray()
        self.cues: deque[str] = deque()

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Keep what is heard; it is recognised when the speech ends.

        Args:
            audio: 16-bit mono PCM.

        Yields:
            None.
        """
        self.heard.extend(audio)
        yield None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Recognise the next cue when somebody stops speaking.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, VADUserStoppedSpeakingFrame) and self.cues:
            text = self.cues.popleft()
            await self.push_frame(TranscriptionFrame(text, "", time_now_iso8601(), finalized=True))


class ScriptedLLM(LLMService):
    """Answers with what it was told, word by word.

    Attributes:
        asked: The conversation as it was each time it was asked.
    """

    def __init__(self, *replies: str) -> None:
        """Create one.

        Args:
            *replies: Its answers, in order. Asked once more, it says nothing.
        """
        super().__init__(
            settings=LLMSettings(
                model=None,
                system_instruction=None,
                temperature=None,
                max_tokens=None,
                top_p=None,
                top_k=None,
                frequency_penalty=None,
                presence_penalty=None,
                seed=None,
                filter_incomplete_user_turns=None,
                user_turn_completion_config=None,
            )
        )
        self.asked: list[list[tuple[str, str]]] = []
        self._replies = deque(replies)
        self._context: LLMContext | None = None

    @property
    def conversation(self) -> list[tuple[str, str]]:
        """Who said what until now, role and words, as the bot's context has it."""
        if self._context is None:
            return []
        messages: list[Any] = self._context.get_messages()
        return [(message["role"], message["content"]) for message in messages]

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer when asked.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, LLMContextFrame):
            await self._answer(frame.context)
        else:
            await self.push_frame(frame, direction)

    async def _answer(self, context: LLMContext) -> None:
        self._context = context
        self.asked.append(self.conversation)
        if not self._replies:
            return
        await self.push_frame(LLMFullResponseStartFrame())
        for word in self._replies.popleft().split(" "):
            await self.push_frame(LLMTextFrame(f"{word} "))
        await self.push_frame(LLMFullResponseEndFrame())
