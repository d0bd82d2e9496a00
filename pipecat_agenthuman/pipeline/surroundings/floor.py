"""Who may speak before one transport, where several services stand before it.

A transport plays what it is given in a row. Avatars speak in the room by themselves, so they
have to take turns: whoever had something to say first says it, and all of it.
"""

from __future__ import annotations

from typing import Protocol
from weakref import WeakKeyDictionary

from pipecat.transports.base_output import BaseOutputTransport


class Speaker(Protocol):
    """Somebody who has something to say."""

    def wake(self) -> None:
        """It may be its turn."""
        ...


class Floor:
    """The row of those who have something to say; the first of them has the floor."""

    def __init__(self) -> None:
        """Begin with nobody."""
        self._row: list[Speaker] = []

    def take(self, speaker: Speaker) -> bool:
        """Take the floor, or a place in the row.

        Args:
            speaker: Has something to say.

        Returns:
            Whether it is its turn.
        """
        if speaker not in self._row:
            self._row.append(speaker)
        return self._row[0] is speaker

    def leave(self, speaker: Speaker) -> None:
        """Somebody has said everything: it is the turn of the next."""
        if speaker in self._row:
            self._row.remove(speaker)
            if self._row:
                self._row[0].wake()


_floors: WeakKeyDictionary[BaseOutputTransport, Floor] = WeakKeyDictionary()


def floor_of(transport: BaseOutputTransport) -> Floor:
    """The floor that all services before a transport share."""
    return _floors.setdefault(transport, Floor())
