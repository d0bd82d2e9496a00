"""How much may wait to be said, and what becomes of the rest.

Nothing ever waits for room: frames that have nothing to do with speech would wait behind it. A
transport takes whatever it is given; here only memory is guarded.
"""

from __future__ import annotations

from typing import Final

from pipecat.frames.frames import Frame
from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman.pipeline.error_reports import ErrorReport
from pipecat_agenthuman.pipeline.frame_traits import SOUNDS, SPOKEN_TEXT, Reading, Role
from pipecat_agenthuman.playout.playout import Playout

BACKLOG_SECS: Final = 600.0
"""Speech kept until it can be said: far more than a bot ever has to say."""

HELD_FRAMES: Final = 20_000
"""Frames held behind audio."""


def has_room(playout: Playout[Frame], reading: Reading) -> bool:
    """Whether a frame may be kept until its moment comes.

    Args:
        playout: What waits already.
        reading: The frame.
    """
    if reading.role is Role.SPEECH:
        return playout.outgoing.backlog_secs < BACKLOG_SECS
    return playout.held_items < HELD_FRAMES


def goes_with_speech(frame: Frame) -> bool:
    """Whether a frame is of no use ahead of the speech before it: unheard words, and sounds.

    What else there is no room for passes at once, for somebody may count on it.
    """
    return isinstance(frame, SPOKEN_TEXT + SOUNDS)


def full_report(playout: Playout[Frame]) -> ErrorReport:
    """There is no room for a frame."""
    words = (
        f"{playout.outgoing.backlog_secs:.0f} s of speech and {playout.held_items} frames wait "
        "to be said."
    )
    told = (
        f"{words} No more is kept: further speech and words are dropped, and other frames pass "
        "ahead of it. Look for what holds the speech up, or for a TTS service that does not stop."
    )
    return ErrorReport("backlog_full", words, told, ErrorCategory.APPLICATION)
