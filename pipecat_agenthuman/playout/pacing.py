"""How fast audio is sent, and in messages of what size. Pure.

One message is in flight at a time, and what arrives meanwhile travels in the next, so sizes
follow the round trip by themselves. Three cases need a rule: a message that meets an empty
queue (too short, and a gap follows it; too long, and it costs time), audio that the server does
not need yet (each message costs work, here, there and on the way), and audio that comes
faster than it is heard (an interruption should not leave a long tail at the server).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, fields, replace
from typing import Final

from pipecat_agenthuman._arguments import check_secs
from pipecat_agenthuman.playout.latency import ASSUMED_LATENCY_SECS
from pipecat_agenthuman.wire.pcm import to_samples

REFILL_SECS: Final = 0.5
"""How much audio goes together where there is time for that: less waits for more while the server
has more than that in reserve, and for room while the lead is at its limit."""

SLACK_SECS: Final = 0.02
"""How much later than expected a confirmation and a piece of audio may come together, as long as
nothing is known of that."""

LEAST_RESERVE_SECS: Final = 0.012
"""How long before the server runs dry a message is planned to come, at the latest: pieces come in
blocks of a resampler, and those at two moments in turn."""

LONGEST_JITTER_SECS: Final = 0.1
"""Who comes later than that stalls. To be ready for it would cost each answer as much."""

MIN_MESSAGE_SECS: Final = 0.01
"""Less is a message of its own only if an utterance ends with it: it costs a round trip, and
what the service makes of a handful of samples is not documented."""

LONGEST_LATENCY_SECS: Final = 30.0
"""No conversation is possible beyond."""

LONGEST_MESSAGE_SECS: Final = 120.0
"""Half of what the service's 10 MB limit allows."""


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast audio is sent, and how soon it sounds.

    Attributes:
        avatar_latency_secs: From a confirmation to the sound in the room.
        measures_latency: Whether that is what is heard, and not fixed.
        listener_delay_secs: From the sound in the room to a caller's ear.
        max_lead_secs: Most unheard audio at the server, or None for no limit. Where that
            little would tear a gap, it is raised to what latency and round trip need.
        min_first_message_secs: Least audio in a message that meets an empty queue.
        max_first_message_secs: Most audio that such a message waits for.
        max_message_secs: Most audio in any message. Below the round trip, gaps cannot be
            avoided: the next message is confirmed only after this one has sounded.
    """

    avatar_latency_secs: float = ASSUMED_LATENCY_SECS
    measures_latency: bool = False
    listener_delay_secs: float = 0.0
    max_lead_secs: float | None = 3.0
    min_first_message_secs: float = 0.04
    max_first_message_secs: float = 0.5
    max_message_secs: float = 1.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If a duration is negative, not a number, or contradicts another.
        """
        for field in fields(self):
            value: object = getattr(self, field.name)
            is_unlimited = value is None and field.name == "max_lead_secs"
            if field.name != "measures_latency" and not is_unlimited:
                check_secs(field.name, value)
        for name in ("avatar_latency_secs", "listener_delay_secs"):
            secs: float = getattr(self, name)
            if secs > LONGEST_LATENCY_SECS:
                raise ValueError(
                    f"{name} must be at most {LONGEST_LATENCY_SECS:g} seconds, got {secs}: was "
                    "it meant in milliseconds?"
                )
        if self.min_first_message_secs > self.max_first_message_secs:
            raise ValueError(
                f"min_first_message_secs ({self.min_first_message_secs}) must not exceed "
                f"max_first_message_secs ({self.max_first_message_secs})."
            )
        if not 0.02 <= self.max_message_secs <= LONGEST_MESSAGE_SECS:
            raise ValueError(
                f"max_message_secs must be from 0.02 to {LONGEST_MESSAGE_SECS:.0f} seconds, "
                f"got {self.max_message_secs}."
            )

    @property
    def latency_secs(self) -> float:
        """From a confirmation to the sound as a caller hears it."""
        return self.avatar_latency_secs + self.listener_delay_secs

    def measured(self, latency_secs: float) -> Pace:
        """The pace at a latency that was heard; the same if the latency is fixed."""
        if not self.measures_latency:
            return self
        return replace(self, avatar_latency_secs=latency_secs)

    def first_message_secs(
        self, confirm_secs: float, piece_secs: float, reserve_secs: float = SLACK_SECS
    ) -> float:
        """Audio for a message that meets an empty queue.

        While it plays, the next one must be confirmed: it has to last as long as a
        confirmation takes, one piece of the TTS service's delivery more, and a reserve.

        Args:
            confirm_secs: Estimated time from sending to confirmation.
            piece_secs: Duration of the pieces in which audio arrives.
            reserve_secs: How much later than that a message may come.
        """
        wanted = max(confirm_secs + piece_secs + reserve_secs, self.min_first_message_secs)
        return min(wanted, self.max_first_message_secs)

    def lead_limit_secs(self, confirm_secs: float) -> float:
        """Most unheard audio at the server, never so little that a gap would follow."""
        if self.max_lead_secs is None:
            return math.inf
        needed = self.latency_secs + confirm_secs + 1.5 * REFILL_SECS
        return max(self.max_lead_secs, needed)


class Reserve:
    """What the first message of an utterance holds beyond what the round trip needs.

    It follows what was needed in the utterances before, whatever was late there: the TTS
    service, the network or an event loop. It grows at once, and shrinks slowly.

    Attributes:
        secs: The reserve for the next utterance.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.secs = SLACK_SECS
        self._had_secs = 0.0
        self._least_early_secs = math.inf

    def begin(self, had_secs: float) -> None:
        """Another utterance begins.

        Args:
            had_secs: What its first message really holds beyond what the round trip needs.
        """
        if self._least_early_secs < math.inf:
            needed = max(self._had_secs - self._least_early_secs, 0.0) + LEAST_RESERVE_SECS
            self.secs = min(max(needed, (self.secs + needed) / 2), LONGEST_JITTER_SECS)
        self._had_secs, self._least_early_secs = had_secs, math.inf

    def note(self, early_secs: float) -> None:
        """Take note of a message amid the utterance.

        Args:
            early_secs: How long it came before the server ran dry; negative if behind that.
        """
        if early_secs >= -LONGEST_JITTER_SECS:
            self._least_early_secs = min(self._least_early_secs, early_secs)


def leave_no_crumb(samples: int, available: int) -> int:
    """A message size that leaves nothing over, or enough for a message of its own.

    Args:
        samples: The wanted size.
        available: What there is to send.
    """
    least = to_samples(MIN_MESSAGE_SECS)
    left = available - samples
    if 0 < left < least <= samples - least:
        return available - least
    return samples


def distinct_size(samples: int, avoid: Collection[int], *, is_rest: bool) -> int:
    """A message size that no late answer can be mistaken for.

    As little as possible is left over: it can wait, what goes first cannot.

    Args:
        samples: The wanted size.
        avoid: Sizes whose confirmation may still come, or come twice.
        is_rest: Whether what is left over will be a message of its own, which needs a size
            that is free, too.

    Returns:
        The largest size that will do, at most ``samples``; ``samples`` if there is none.
    """
    if samples not in avoid:
        return samples
    least = to_samples(MIN_MESSAGE_SECS) if is_rest else 1
    if samples < 2 * least:
        least = 1
    for size in range(samples - least, 0, -1):
        left = samples - size
        if size not in avoid and not (is_rest and (left == size or left in avoid)):
            return size
    return samples
