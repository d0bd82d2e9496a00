"""What was sent to a sink that answers, and is not answered yet. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class InFlight:
    """A message on its way.

    Attributes:
        end: Position behind it.
        latency_secs: From its confirmation to its sound.
        first_audio_at: If an utterance begins in it, when the first audio of that was written.
        reserve_secs: How much more it holds than the round trip needs.
        confirmed_at: When it was confirmed, if that came before the answer to one before it.
        rejected: Whether it was refused, likewise.
    """

    end: int
    latency_secs: float
    first_audio_at: float | None
    reserve_secs: float = 0.0
    confirmed_at: float | None = None
    rejected: bool = False
