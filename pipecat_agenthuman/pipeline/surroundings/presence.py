"""Who is in the room: the avatar on one side, persons on the other, and the service told of both.

All transports that know the avatar have this in common, whatever kind of room they are in. A
transport tells who joins and leaves and asks who is the avatar; what it does to keep the avatar
out of a bot's ears and events is its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import Final

from loguru import logger

from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanPersonsFrame,
    AgentHumanServerEventFrame,
)
from pipecat_agenthuman.pipeline.surroundings.ear import Ear
from pipecat_agenthuman.pipeline.surroundings.microphone import Microphone

AVATAR_CONNECTED: Final = "on_avatar_connected"
AVATAR_DISCONNECTED: Final = "on_avatar_disconnected"

UNLISTED: Final = "not in the room any more"
"""The reason of a leaving that the room never told."""


class Presence:
    """Who is in the room, and what the service and the event handlers are told of it.

    Participants are known by an id that stands for one joining and never comes again. What
    somebody joined as they stay, under whatever name they go on.

    The room's events may overlap: who is here changes at once, and the telling keeps its order.
    """

    def __init__(
        self,
        owner: object,
        *,
        tell: Callable[[AgentHumanServerEventFrame], Awaitable[None]],
        fire: Callable[..., Awaitable[None]],
        ear: Ear | None = None,
        microphone: Microphone | None = None,
    ) -> None:
        """Begin with an empty room.

        Args:
            owner: The transport, for the log.
            tell: Pushes a frame to the service.
            fire: Calls the handlers of an event: its name, and what they are given.
            ear: Is told which avatars there are to hear.
            microphone: The bot's, if it gives way to an avatar.
        """
        self._owner = owner
        self._tell = tell
        self._fire = fire
        self._ear = ear
        self._microphone = microphone
        # Avatars that left stay known: what they said or sent may come late.
        self._avatars: set[str] = set()
        self._present_avatars: dict[str, object] = {}
        self._persons: set[str] = set()
        self._telling = asyncio.Lock()

    @property
    def persons(self) -> frozenset[str]:
        """The ids of all who are in the room and neither bot nor avatar."""
        return frozenset(self._persons)

    def is_avatar(self, participant_id: str, *, fits: bool = False) -> bool:
        """Tell whether a participant is the avatar, also before its joining is reported.

        Args:
            participant_id: Who.
            fits: Whether it has the avatar's identity now.
        """
        if participant_id in self._avatars:
            return True
        return fits and participant_id not in self._persons

    async def avatar_joined(self, participant_id: str, participant: object) -> None:
        """Take note that the avatar joined, and tell of it. Once, however often it is announced.

        Args:
            participant_id: The avatar.
            participant: What the event handlers are given.
        """
        if participant_id in self._present_avatars:
            return
        self._avatars.add(participant_id)
        self._present_avatars[participant_id] = participant
        self._tell_microphone()
        logger.info(f"{self._owner}: the avatar joined as {participant_id}")
        async with self._telling:
            await self._tell(AgentHumanAvatarJoinedFrame(participant_id=participant_id))
            if self._ear is not None:
                await self._ear.avatar_joined(participant_id)
            await self._fire(AVATAR_CONNECTED, participant)

    async def avatar_left(self, participant_id: str, participant: object, reason: str) -> None:
        """Take note that the avatar left, and tell of it, if it was here.

        Args:
            participant_id: The avatar.
            participant: What the event handlers are given.
            reason: Why, as the room reports it.
        """
        if participant_id not in self._present_avatars:
            return
        del self._present_avatars[participant_id]
        self._tell_microphone()
        logger.info(f"{self._owner}: the avatar left as {participant_id} ({reason})")
        async with self._telling:
            if self._ear is not None:
                await self._ear.avatar_left(participant_id)
            await self._tell(
                AgentHumanAvatarLeftFrame(participant_id=participant_id, reason=reason)
            )
            await self._fire(AVATAR_DISCONNECTED, participant, reason)

    async def keep_only(self, listed: Collection[str]) -> None:
        """Let go of everybody whom the room does not list: their leaving was never told.

        Such a one would hide that an avatar left, or that nobody is there any more.

        Args:
            listed: The ids of all who are in the room.
        """
        for participant_id in [one for one in self._present_avatars if one not in listed]:
            participant = self._present_avatars[participant_id]
            await self.avatar_left(participant_id, participant, UNLISTED)
        for participant_id in [one for one in self._persons if one not in listed]:
            await self.person_left(participant_id)

    async def person_joined(self, participant_id: str) -> bool:
        """Take note that a person joined.

        Returns:
            Whether that is news.
        """
        if participant_id in self._persons:
            return False
        self._persons.add(participant_id)
        await self._tell_persons()
        return True

    async def person_left(self, participant_id: str) -> bool:
        """Take note that a person left.

        Returns:
            Whether that is news.
        """
        if participant_id not in self._persons:
            return False
        self._persons.discard(participant_id)
        await self._tell_persons()
        return True

    def _tell_microphone(self) -> None:
        if self._microphone is not None:
            self._microphone.avatar_is_here(bool(self._present_avatars))

    async def _tell_persons(self) -> None:
        frame = AgentHumanPersonsFrame(persons=len(self._persons))
        async with self._telling:
            await self._tell(frame)
