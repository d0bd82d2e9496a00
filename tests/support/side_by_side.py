"""Two pipelines side by side: the transport plays the speech, or the avatar does.

Both are fed with the same script. What arrives behind the output, what goes up past the TTS
service and what stands in the context in the end can then be compared.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from pipecat.frames.frames import (
    AudioRawFrame,
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    MetricsFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman import AgentHumanServerEventFrame
from pipecat_agenthuman.pipeline.frame_traits import PassedMark
from tests.support.calls import Call, staged

Script = Callable[[Call], Awaitable[None]]
"""What happens in a call, from its being ready to its end."""


@dataclass(frozen=True)
class Performance:
    """What a script led to.

    Attributes:
        behind: Frames behind the output in order, without sound and what only we have.
        above: Bot speaking frames that went up past the first processor, in order.
        signs: How often ``BotSpeakingFrame`` came down and went up.
        speaking_secs: How long it spoke.
        messages: What stands in the context.
        played: Whether the transport played anything.
        timeline: The frames of ``behind``, and seconds since speech first started.
    """

    behind: list[str]
    above: list[str]
    signs: tuple[int, int]
    speaking_secs: float
    messages: list[Any]
    played: bool
    timeline: list[tuple[str, float]] = field(repr=False)


def performance(call: Call) -> Performance:
    """Sum up what was recorded."""
    shown = [
        sighting
        for sighting in call.behind.sightings
        if not sighting.upstream
        and not isinstance(
            sighting.frame,
            AudioRawFrame
            | MetricsFrame
            | AgentHumanServerEventFrame
            | BotSpeakingFrame
            | PassedMark,
        )
    ]
    starts = call.behind.seen(BotStartedSpeakingFrame)
    first = starts[0].at if starts else 0.0
    above = call.above.seen(BotStartedSpeakingFrame, BotStoppedSpeakingFrame, upstream=True)
    return Performance(
        behind=[sighting.words for sighting in shown],
        above=[sighting.words for sighting in above],
        signs=(
            len(call.behind.seen(BotSpeakingFrame)),
            len(call.above.seen(BotSpeakingFrame, upstream=True)),
        ),
        speaking_secs=sum(stopped - started for started, stopped in call.bot_speech()),
        messages=list(call.context.messages),
        played=bool(call.transport.played),
        timeline=[(sighting.words, round(sighting.at - first, 3)) for sighting in shown],
    )


async def perform(script: Script, *parts: FrameProcessor, **options: Any) -> Performance:
    """Play a script to its end; it has to feed an ``EndFrame`` or the like."""
    async with staged(*parts, **options) as call:
        await script(call)
    return performance(call)
