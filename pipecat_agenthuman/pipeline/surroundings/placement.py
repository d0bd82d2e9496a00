"""Whether the service stands where it can do its job: its place in the pipeline, and its room.

What cannot work is known when the pipeline starts, and must not wait for a caller who hears
nobody. Then there is no session at all, and everything passes as if the service were not there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from pipecat.pipeline.pipeline import Pipeline
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.tts_service import TTSService
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman.client.requests import Room
from pipecat_agenthuman.errors import AgentHumanError, WrongPlaceError, WrongRoomError
from pipecat_agenthuman.pipeline.surroundings.same_room import room_mismatch
from pipecat_agenthuman.pipeline.transport_output import all_within, output_transport

_Around = tuple[list[FrameProcessor], list[FrameProcessor]]


def misplacement(
    processor: FrameProcessor, *, kind: type[FrameProcessor], room: Room | None
) -> AgentHumanError | None:
    """Look whether a service can do its job where it stands.

    Args:
        processor: The service, in a pipeline that starts.
        kind: What such services are.
        room: Where the avatar joins; None if nobody knows.

    Returns:
        What is wrong, or None if nothing is known to be.
    """
    front, behind = _around(processor, processor.pipeline_worker.pipeline) or ([], [])
    if _any(front, kind):
        return WrongPlaceError(
            f"{processor} stands behind another {kind.__name__}, which takes all the speech.",
            remedy="Keep one of them on each path from the TTS service to the output.",
        )
    if _any(front, BaseOutputTransport) and not _any(behind, BaseOutputTransport):
        return WrongPlaceError(
            f"{processor} stands behind transport.output(), which has played the speech already.",
            remedy="Put it between the TTS service and transport.output().",
        )
    if _any(behind, TTSService) and not _any(front, TTSService):
        return WrongPlaceError(
            f"{processor} stands in front of the TTS service, so no speech reaches it.",
            remedy="Put it between the TTS service and transport.output().",
        )
    mismatch = None if room is None else _mismatch(room, processor, behind)
    if mismatch is None:
        return None
    wrong, remedy = mismatch
    return WrongRoomError(
        f"Whoever the bot talks to is not with the avatar: {wrong}", remedy=remedy
    )


def _mismatch(
    room: Room, processor: FrameProcessor, behind: Iterable[FrameProcessor]
) -> tuple[str, str] | None:
    """What is wrong and what to do if no output is with the avatar, for certain.

    One that is, or may be, is enough: another monitors the call, or records it.
    """
    outputs = [part for part in behind if isinstance(part, BaseOutputTransport)]
    if not outputs:
        transport = output_transport(processor)
        outputs = [] if transport is None else [transport]
    mismatches = [room_mismatch(room, output) for output in outputs]
    return None if None in mismatches else next(iter(mismatches), None)


def _any(parts: Iterable[FrameProcessor], kind: type[FrameProcessor]) -> bool:
    return any(isinstance(part, kind) for part in parts)


def _around(processor: FrameProcessor, compound: FrameProcessor) -> _Around | None:
    """What stands in front of a processor and what behind it; None if it is not within.

    Branches that run side by side stand neither in front of each other nor behind.
    """
    parts = list(compound.processors)
    for index, part in enumerate(parts):
        inner: _Around | None = ([], []) if part is processor else _around(processor, part)
        if inner is None:
            continue
        front, behind = inner
        if isinstance(compound, Pipeline):
            front = [*_all(parts[:index]), *front]
            behind = [*behind, *_all(parts[index + 1 :])]
        return front, behind
    return None


def _all(parts: Iterable[FrameProcessor]) -> Iterator[FrameProcessor]:
    """Processors, and all that are within them."""
    for part in parts:
        yield part
        yield from all_within(part)
