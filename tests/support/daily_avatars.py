"""The sandbox for bots in a Daily room of the stand-in: its avatars join that room, and are heard.

What they say comes over a network as bad as wanted (``network.py``).
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from functools import partial
from typing import Any

from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME
from pipecat_agenthuman.sandbox import Sandbox, SandboxSession
from tests.support.daily_rest import holder_of
from tests.support.daily_room import Participant, Room
from tests.support.network import Network


class DailyAvatars:
    """The sandbox, whose avatars speak in a Daily room.

    Attributes:
        sandbox: The service; to be started.
        participants: Everyone that joined, in order.
    """

    def __init__(self, room: Room, network: Network, **sandbox: Any) -> None:
        self.participants: list[Participant] = []
        self._room = room
        self._network = network
        self._speaking: dict[str, tuple[Participant, asyncio.Task[None]]] = {}
        self.sandbox = Sandbox(on_avatar_joined=self._joined, on_avatar_left=self._left, **sandbox)

    async def _joined(self, record: SandboxSession) -> None:
        name, user_id = AVATAR_USER_NAME, AVATAR_USER_ID
        if "." in record.room_token:  # one that was minted
            holder = holder_of(record.room_token)
            name, user_id = holder["user_name"], holder["user_id"]
        participant = self._room.join(name, user_id=user_id)
        self.participants.append(participant)
        sound = partial(self.sandbox.between, record.id)
        carrying = asyncio.create_task(self._network.carry(sound, participant.speak))
        self._speaking[record.id] = participant, carrying

    async def _left(self, record: SandboxSession) -> None:
        participant, carrying = self._speaking.pop(record.id)
        carrying.cancel()
        with suppress(asyncio.CancelledError):
            await carrying
        participant.leave()
