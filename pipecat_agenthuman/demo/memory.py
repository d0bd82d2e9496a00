"""What the bot's memory holds: the context, and the words that are on their way into it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast

from pipecat.frames.frames import AudioRawFrame, Frame
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregator,
    LLMContextAggregatorPair,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.sandbox import MemoryMessage
from pipecat_agenthuman.sandbox.room.talk import Role

_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}
"""Roles of a context, and how they are shown."""


class Memory:
    """Watches the aggregators of a context, and tells what they hold whenever it has changed.

    A word of the bot's gets there when it was heard, one of a person's when it was recognised.
    Neither waits for the end of its turn, at which Pipecat puts it into the context.
    """

    def __init__(
        self,
        context: LLMContext,
        aggregators: LLMContextAggregatorPair,
        tell: Callable[[Sequence[MemoryMessage]], None],
    ) -> None:
        """Begin to watch.

        Args:
            context: The context.
            aggregators: The two that write it.
            tell: Is called with the whole memory.
        """
        self._context = context
        self._parts: tuple[tuple[Role, LLMContextAggregator], ...] = (
            ("assistant", aggregators.assistant()),  # who is interrupted spoke before
            ("user", aggregators.user()),
        )
        self._tell = tell
        self._told: list[MemoryMessage] = []
        for _, aggregator in self._parts:
            aggregator.add_event_handler("on_after_process_frame", self._look)

    async def _look(self, aggregator: FrameProcessor, frame: Frame) -> None:
        if isinstance(frame, AudioRawFrame):
            return  # many of them, and none is remembered
        held = self._read()
        if held != self._told:
            self._told = held
            self._tell(held)

    def _read(self) -> list[MemoryMessage]:
        held: list[MemoryMessage] = []
        for message in self._context.get_messages():
            fields = cast("dict[str, object]", message)
            role, content = _ROLES.get(str(fields.get("role"))), fields.get("content")
            if role is not None and isinstance(content, str):
                held.append(MemoryMessage(role, content))
        for role, aggregator in self._parts:
            if text := aggregator.aggregation_string():
                held.append(MemoryMessage(role, text))
        return held
