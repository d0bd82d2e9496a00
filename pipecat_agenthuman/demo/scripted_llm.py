"""Answers from the demo's script, in the place and in the manner of a language model."""

from __future__ import annotations

from typing import cast

from pipecat.frames.frames import (
    Frame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
)
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman.demo.dialogue import answer


class ScriptedLLM(FrameProcessor):
    """Answers what a person said last, word by word as a model's answer comes."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Answer a context, and pass on everything else.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if not isinstance(frame, LLMContextFrame):
            await self.push_frame(frame, direction)
            return
        await self.push_frame(LLMFullResponseStartFrame())
        for word in answer(unanswered(frame.context)).split():
            await self.push_frame(LLMTextFrame(f"{word} "))
        await self.push_frame(LLMFullResponseEndFrame())


def unanswered(context: LLMContext) -> list[str]:
    """Return what a person said since the bot spoke last, in order.

    Args:
        context: The conversation.

    Returns:
        The texts.
    """
    texts: list[str] = []
    for message in reversed(context.get_messages()):
        fields = cast("dict[str, object]", message)
        if fields.get("role") != "user":
            break
        texts.append(str(fields.get("content", "")))
    return texts[::-1]
