"""The same scene in rooms of several kinds: who comes and goes, and what a bot notices of it.

``DailyStage`` is a room of the stand-in (``daily_room.py``), ``LiveKitStage`` one for the real
client (``livekit_room.py``). Both are played in the same words; what differs between the kinds of
room is a value of the stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

AVATAR = "avatar"


@dataclass(frozen=True)
class Guest:
    """Someone who joined.

    Attributes:
        name: ``avatar``, or a person's name.
        joining: The id of this joining, as frames carry it.
        called: What event handlers know this one by.
        participant: As the room knows it.
    """

    name: str
    joining: str
    called: str
    participant: Any


class Stage(ABC):
    """A room in which a scene is played.

    Attributes:
        kind: The kind of room.
        renewal_overlaps: Whether the avatar of a renewed session may be there before the former
            one has left. At LiveKit it takes its place: both join with the same identity.
        first_again: Whether somebody who comes into an empty room is the first once more, which
            is a matter of Pipecat's transports.
    """

    kind: ClassVar[str]
    renewal_overlaps: ClassVar[bool]
    first_again: ClassVar[bool]

    @abstractmethod
    def enter(self, name: str) -> Guest:
        """Let somebody join."""

    @abstractmethod
    def bot(self) -> AbstractAsyncContextManager[Any]:
        """Let a bot join, with our transport; ``Bot`` of the room's kind."""

    @abstractmethod
    async def heard_by(self, bot: Any, present: list[Guest]) -> set[str]:
        """Let everybody who is there speak, and wait until the bot has heard the persons.

        Returns:
            The names of all whom it has heard.
        """

    @abstractmethod
    async def receives_nothing_of(self, bot: Any, avatar: Guest) -> None:
        """Wait until the bot is sent nothing of an avatar."""


class DailyStage(Stage):
    kind, renewal_overlaps, first_again = "daily", True, False

    def __init__(self, room: Any) -> None:
        self._room = room

    def enter(self, name: str) -> Guest:
        from tests.support import daily_bot

        room = self._room
        participant = daily_bot.join_avatar(room) if name == AVATAR else room.join(name)
        return Guest(name, participant.id, participant.id, participant)

    def bot(self) -> AbstractAsyncContextManager[Any]:
        from tests.support import daily_bot

        return daily_bot.running(daily_bot.transport_for(self._room), self._room)

    async def heard_by(self, bot: Any, present: list[Guest]) -> set[str]:
        from tests.support import daily_bot

        voices = {AVATAR: daily_bot.AVATAR, "ada": daily_bot.ADA, "bob": daily_bot.BOB}
        for guest in present:
            guest.participant.speak(daily_bot.voice(voices[guest.name]))
        for guest in present:
            if guest.name != AVATAR:
                await bot.hears(voices[guest.name])
        await bot.settle()
        return {name for name, voice in voices.items() if voice in bot.heard()}

    async def receives_nothing_of(self, bot: Any, avatar: Guest) -> None:
        assert not bot.received(avatar.participant)


class LiveKitStage(Stage):
    kind, renewal_overlaps, first_again = "livekit", False, True

    def __init__(self, room: Any) -> None:
        self._room = room

    def enter(self, name: str) -> Guest:
        from tests.support import livekit_bot

        room = self._room
        if name == AVATAR:
            participant = livekit_bot.join_avatar(room)
        else:
            participant = livekit_bot.join_person(room, name, self._tones()[name])
        return Guest(name, participant.sid, participant.identity, participant)

    def bot(self) -> AbstractAsyncContextManager[Any]:
        from tests.support import livekit_bot

        return livekit_bot.running(livekit_bot.transport_for(self._room), self._room)

    async def heard_by(self, bot: Any, present: list[Guest]) -> set[str]:
        tones = self._tones()
        await bot.hears(*(tones[guest.name] for guest in present if guest.name != AVATAR))
        return {name for name, tone in tones.items() if tone in bot.heard()}

    async def receives_nothing_of(self, bot: Any, avatar: Guest) -> None:
        await bot.unsubscribes(avatar.participant)

    @staticmethod
    def _tones() -> dict[str, float]:
        from tests.support import livekit_bot

        return {AVATAR: livekit_bot.AVATAR, "ada": livekit_bot.ADA, "bob": livekit_bot.BOB}


@asynccontextmanager
async def opened_stage(kind: str, monkeypatch: Any) -> AsyncIterator[Stage]:
    """Open a room of a kind.

    Args:
        kind: ``daily`` or ``livekit``.
        monkeypatch: Pytest's.
    """
    if kind == DailyStage.kind:
        from tests.support.daily_room import installed_daily

        with installed_daily(monkeypatch) as daily:
            yield DailyStage(daily.room())
    else:
        from tests.support.livekit_room import opened_room

        async with opened_room() as room:
            yield LiveKitStage(room)
