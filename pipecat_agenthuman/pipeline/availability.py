"""May the avatar speak? One value, and everything that changes it by name.

Three things decide: whether a session is up, whether its avatar is in the room as far as
anybody tells, and whether speech may wait for it. A transport that knows the avatar tells when
its participant joins, and then an avatar that is not there says nothing, whatever its session
tells. With any other transport nobody does, and the session's word must be enough.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum


class AvatarState(StrEnum):
    """What the avatar can do for the speech that comes now."""

    EXPECTED = "expected"
    """It is on its way for the first time, or to a room that was empty: speech waits for it."""

    READY = "ready"
    """It is there, and its session is up."""

    ABSENT = "absent"
    """It is not there, and speech does not wait for it."""


class Availability:
    """Whether the avatar may speak.

    Attributes:
        announced: Whether somebody tells of the avatar in the room.
        was_recognized: Whether an avatar was seen in this call, of whatever session.
    """

    def __init__(self) -> None:
        """Expect the first avatar of a call, of which nobody tells yet."""
        self.announced = False
        self.was_recognized = False
        self._is_awaited = True  # speech waits for the first avatar, never for a replacement
        self._failed = False
        self._session_up = False
        self._present: set[str] = set()
        self._of_former_session: set[str] = set()
        self._was_here = False
        self._joined = asyncio.Event()

    # --- looking -----------------------------------------------------------------------

    @property
    def state(self) -> AvatarState:
        """What the avatar can do for the speech that comes now."""
        left = self._was_here and not self._present
        if self._failed or left:
            return AvatarState.ABSENT
        if self._session_up and self.is_there:
            return AvatarState.READY
        return AvatarState.EXPECTED if self._is_awaited else AvatarState.ABSENT

    @property
    def session_up(self) -> bool:
        """Whether a session is established."""
        return self._session_up

    @property
    def is_there(self) -> bool:
        """Whether the avatar is in the room, or nobody would tell."""
        return not self.announced or bool(self._present)

    @property
    def is_awaited(self) -> bool:
        """Whether speech may wait for an avatar: none was ready yet, and none was given up."""
        return self._is_awaited

    async def joins_within(self, secs: float) -> bool:
        """Wait until an avatar of the present session is in the room.

        Args:
            secs: How long at most.

        Returns:
            Whether it is.
        """
        try:
            async with asyncio.timeout(secs):
                return await self._joined.wait()
        except TimeoutError:
            return False

    # --- the session -------------------------------------------------------------------

    def session_established(self) -> None:
        """A session is up; its avatar is there, or on its way."""
        self._session_up = True
        self._settle()

    def session_lost(self) -> None:
        """The session ended: its avatar may linger in the room, but speaks no more."""
        self._session_up = self._is_awaited = False
        self._of_former_session |= self._present
        self._present.clear()
        self._joined.clear()
        self._was_here = False

    def expected_anew(self) -> None:
        """Somebody came into a room that was empty: speech waits for the avatar as at first."""
        self._is_awaited = True

    def waited_enough(self) -> None:
        """Session or avatar took too long: speech does not wait for them any more."""
        self._is_awaited = False

    def failed(self) -> None:
        """The service cannot do its job any more."""
        self._failed = True

    # --- the room ----------------------------------------------------------------------

    def joined(self, participant_id: str) -> bool:
        """An avatar joined; returns whether it is the first of the present session."""
        self.announced = self.was_recognized = True
        if participant_id in self._of_former_session:
            return False
        is_first = not self._present
        self._present.add(participant_id)
        self._was_here = True
        self._joined.set()
        self._settle()
        return is_first

    def left(self, participant_id: str) -> bool:
        """An avatar left; returns whether nobody of the present session is there any more."""
        self._of_former_session.discard(participant_id)
        was_present = participant_id in self._present
        self._present.discard(participant_id)
        if not self._present:
            self._joined.clear()
        return was_present and not self._present

    def _settle(self) -> None:
        if self.state is AvatarState.READY:
            self._is_awaited = False
