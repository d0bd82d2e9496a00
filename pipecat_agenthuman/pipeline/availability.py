"""Whether the avatar is in the room, as far as anybody tells."""

from __future__ import annotations

import asyncio


class Availability:
    """Who joined and left, and whether speech should wait for that.

    A transport that knows the avatar tells when its participant joins. With any other
    transport nobody does, and then the session's word must be enough.

    Attributes:
        announced: Whether somebody tells of the avatar.
        was_recognized: Whether an avatar was seen in this call, of whatever session.
    """

    def __init__(self, *, announced: bool = False) -> None:
        """Create an empty room.

        Args:
            announced: Whether somebody tells of the avatar.
        """
        self.announced = announced
        self.was_recognized = False
        self._present: set[str] = set()
        self._of_former_session: set[str] = set()
        self._was_here = False
        self._waived = False
        self._joined = asyncio.Event()

    @property
    def may_speak(self) -> bool:
        """Whether the avatar is there, or nobody would tell, or waiting was given up."""
        return not self.announced or self._waived or self._joined.is_set()

    @property
    def gone(self) -> bool:
        """Whether the avatar of the present session was in the room and is not any more."""
        return self._was_here and not self._present

    @property
    def joined(self) -> asyncio.Event:
        """Set while an avatar of the present session is in the room."""
        return self._joined

    def join(self, participant_id: str) -> bool:
        """An avatar joined; returns whether it is the first of the present session."""
        self.announced = self.was_recognized = True
        if participant_id in self._of_former_session:
            return False
        first = not self._present
        self._present.add(participant_id)
        self._was_here, self._waived = True, False
        self._joined.set()
        return first

    def leave(self, participant_id: str) -> bool:
        """An avatar left; returns whether nobody of the present session is there any more."""
        self._of_former_session.discard(participant_id)
        was_present = participant_id in self._present
        self._present.discard(participant_id)
        if not self._present:
            self._joined.clear()
        return was_present and not self._present

    def give_up_waiting(self) -> None:
        """Let speech go although no avatar was seen."""
        self._waived = True

    def session_lost(self) -> None:
        """The session ended: its avatar may linger in the room, but speaks no more."""
        self._of_former_session |= self._present
        self._present.clear()
        self._joined.clear()
        self._was_here = self._waived = False
