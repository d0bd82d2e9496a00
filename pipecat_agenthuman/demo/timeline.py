"""What happens while the demo runs, as those who tell it see it. Pure."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Lane(StrEnum):
    """Who an event belongs to."""

    SCRIPT = "says"
    WIRE = "wire"
    BOT = "bot"
    HEARD = "heard"
    USER = "user"
    ROOM = "room"


class Narrator(Protocol):
    """Tells what happens. Times are seconds since the demo began."""

    def tell(self, at_secs: float, lane: Lane, text: str) -> None:
        """Tell of an event."""
        ...

    def word(self, at_secs: float, text: str) -> None:
        """Tell of words that are beginning to be heard."""
        ...
