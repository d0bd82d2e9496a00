"""A bot in a room of ``daily_room.py``: a running pipeline, and what came out of its transport."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    InputTransportMessageFrame,
    OutputTransportReadyFrame,
)
from pipecat.transports.daily.transport import DailyParams, DailyTransport

from pipecat_agenthuman.daily import AgentHumanDailyTransport
from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME
from tests.support import pipelines
from tests.support.daily_python import StandInCallClient
from tests.support.daily_room import Participant, Room
from tests.support.pipelines import Recorder

# Who speaks can be told from the value of their samples.
ADA, BOB, AVATAR = 1000, 2000, 4000

PLAIN_EVENTS = (
    "on_first_participant_joined",
    "on_participant_joined",
    "on_client_connected",
    "on_participant_left",
    "on_client_disconnected",
)
AVATAR_EVENTS = ("on_avatar_connected", "on_avatar_disconnected")
JOINED = ["on_participant_joined", "on_client_connected"]
FIRST_JOINED = ["on_first_participant_joined", *JOINED]
LEFT = ["on_participant_left", "on_client_disconnected"]


def voice(value: int, duration_ms: int = 100) -> bytes:
    return np.full(16 * duration_ms, value, dtype=np.int16).tobytes()


def join_avatar(room: Room) -> Participant:
    return room.join(AVATAR_USER_NAME, user_id=AVATAR_USER_ID)


def transport_for(room: Room, params: DailyParams | None = None, **options: Any) -> Any:
    params = params or DailyParams(audio_in_enabled=True)
    return AgentHumanDailyTransport(room.url, None, "Bot", params, **options)


class Bot:
    """A running pipeline around a Daily transport, and what came out of it."""

    def __init__(self, transport: DailyTransport, room: Room) -> None:
        self.transport = transport
        self.room = room
        self.recorder = Recorder()
        self.events: list[tuple[str, str]] = []
        self.reasons: list[str] = []
        self._marker = itertools.count()
        self._record_events()

    def _record_events(self) -> None:
        names = PLAIN_EVENTS
        if isinstance(self.transport, AgentHumanDailyTransport):
            names += AVATAR_EVENTS
        for name in names:
            self.transport.add_event_handler(name, self._handler(name))

    def _handler(self, name: str) -> Callable[..., Any]:
        async def handler(transport: DailyTransport, participant: Any, *reason: str) -> None:
            assert transport is self.transport
            self.events.append((name, participant["id"]))
            self.reasons.extend(reason)

        return handler

    def events_of(self, participant: Participant) -> list[str]:
        return [name for name, participant_id in self.events if participant_id == participant.id]

    def frames(self, kind: type[Frame]) -> list[Any]:
        """The frames of a kind that went through the pipeline, up or down."""
        return self.recorder.of(kind, upstream=None)

    async def until_any(self, kind: type[Frame]) -> None:
        """Wait for a kind of frame."""
        await self.recorder.wait_for(lambda: self.frames(kind))

    async def settle(self) -> None:
        """Wait until everything that Daily reported so far went through the transport."""
        marker = {"marker": next(self._marker)}
        self.room.send_app_message(marker)
        await self.recorder.wait_for(
            lambda: any(
                frame.message == marker for frame in self.frames(InputTransportMessageFrame)
            )
        )

    def heard(self) -> set[int]:
        """Tell the voices in the audio for the speech recognition; mixed ones are added up."""
        audio = b"".join(frame.audio for frame in self.frames(InputAudioRawFrame))
        return set(np.frombuffer(audio, dtype=np.int16).tolist()) - {0}

    async def hears(self, value: int) -> None:
        await self.recorder.wait_for(lambda: value in self.heard())

    @property
    def client(self) -> StandInCallClient:
        return self.room.clients[0]

    def received(self, participant: Participant) -> set[str]:
        return self.client.subscribed_media(participant.id)


@asynccontextmanager
async def running(
    transport: DailyTransport, room: Room, *, with_input: bool = True
) -> AsyncIterator[Bot]:
    bot = Bot(transport, room)
    processors = [transport.input()] if with_input else []
    async with pipelines.running(*processors, bot.recorder, transport.output()):
        await bot.until_any(OutputTransportReadyFrame)
        if with_input:
            await bot.settle()
        yield bot
