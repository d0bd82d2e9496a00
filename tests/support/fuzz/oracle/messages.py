"""What was sent to the avatar, and which of it an answer could still mean."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from tests.support.fuzz.call import Call
from tests.support.fuzz.oracle.tolerances import READING_SECS, REPEATED_SECS

LEFT_OVER_SAMPLES = 200
"""What is left over of speech whose size is taken: 10 ms, and a bit if that size is taken, too."""


@dataclass(frozen=True)
class SpeechMessage:
    """A message of speech: its samples, when it left and was answered, and when it sounds."""

    samples: int
    sent_at: float
    answered_at: float
    sounds_at: float


def went_in_two(call: Call, at: float) -> bool:
    """Whether speech goes on at a moment in another message, because of the size of the one before.

    An answer tells which message it means by the size. So where speech is as long as a message
    whose answer can still come, or come once more, the end of it is left for the next message;
    and of speech that is shorter than a round trip, that comes too late.
    """
    sent = list(_sent(call))
    for number, (one, rest) in enumerate(pairwise(sent)):
        most = one.samples + min(rest.samples, LEFT_OVER_SAMPLES)
        taken = (m for m in sent[:number] if _answered_until(call, m) >= one.sent_at)
        if abs(rest.sounds_at - at) <= READING_SECS and any(
            one.samples < m.samples <= most for m in taken
        ):
            return True
    return False


def _sent(call: Call) -> Iterator[SpeechMessage]:
    """The messages of a call in which the server answers each at once."""
    spoken = (one for one in call.sandbox_log if one["what"] == "agent.speak")
    queued = (one for one in call.sandbox_log if one["what"] == "speech.queued")
    begun_at, way_secs = call.sandbox_started_at, call.script.setup.round_trip_secs / 2
    for message, sound in zip(spoken, queued, strict=False):
        came_at = begun_at + message["at_secs"]
        sounds_at = begun_at + sound["sounds_at_secs"]
        yield SpeechMessage(message["samples"], came_at - way_secs, came_at + way_secs, sounds_at)


def _answered_until(call: Call, message: SpeechMessage) -> float:
    """Until when an answer can mean it: longer if an interrupt overtook the answer."""
    begun_at, way_secs = call.sandbox_started_at, call.script.setup.round_trip_secs / 2
    interrupts = (one for one in call.sandbox_log if one["what"] == "agent.interrupt")
    sent_at = (begun_at + one["at_secs"] - way_secs for one in interrupts)
    overtaken = any(message.sent_at <= at < message.answered_at for at in sent_at)
    return message.answered_at + (REPEATED_SECS if overtaken else 0.0)
