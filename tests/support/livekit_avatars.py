"""The sandbox for bots in a LiveKit room: its avatars join that room."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import jwt

from pipecat_agenthuman.sandbox import Sandbox, SandboxSession
from tests.support.livekit_bot import AVATAR
from tests.support.livekit_room import Participant, Room
from tests.support.livekit_server import API_SECRET


class AvatarsInTheRoom:
    """The sandbox, whose avatars join the room with the token that they were given.

    Attributes:
        sandbox: The service; to be started.
        avatars: Everyone that joined, in order.
    """

    def __init__(self, room: Room, *, publishes: bool = False, **sandbox: Any) -> None:
        """Create the service.

        Args:
            room: Where its avatars join.
            publishes: Whether the room hears what they say in the sandbox; else each has one tone.
            sandbox: As for ``Sandbox``.
        """
        self.avatars: list[Participant] = []
        self._publishes = publishes
        self._session_id = ""
        self._room = room
        self._claims: dict[str, Any] = {}
        self._loop = asyncio.get_running_loop()
        self.sandbox = Sandbox(
            on_avatar_joined=lambda record: self._later(self._join, record),
            on_avatar_left=lambda record: self._later(self._leave),
            **sandbox,
        )

    def _later(self, *call: object) -> None:
        self._loop.call_soon_threadsafe(*call)

    def _join(self, record: SandboxSession) -> None:
        self._session_id = record.id
        self._claims = jwt.decode(record.room_token, API_SECRET, algorithms=["HS256"])
        self.return_to_the_room()

    def return_to_the_room(self) -> None:
        """Let the avatar of the last session join, for the first time or anew."""
        avatar = self._room.join(
            self._claims["sub"],
            name=self._claims["name"],
            attributes=self._claims.get("attributes", {}),
            is_agent=self._claims["kind"] == "agent",
            **{"voice": partial(self.sandbox.between, self._session_id)}
            if self._publishes
            else {"tone_hz": AVATAR},
        )
        avatar.speak()
        self.avatars.append(avatar)

    def _leave(self) -> None:
        self.avatars[-1].leave()
