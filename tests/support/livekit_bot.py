"""A bot in a room of ``livekit_room.py``: a running pipeline, and what came out of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from pipecat.frames.frames import (
    Frame,
    InputAudioRawFrame,
    OutputTransportReadyFrame,
    SystemFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.livekit.transport import LiveKitParams, LiveKitTransport

from pipecat_agenthuman.identity import AVATAR_USER_ID
from pipecat_agenthuman.livekit import AgentHumanLiveKitTransport
from pipecat_agenthuman.tokens.livekit import PUBLISH_ON_BEHALF
from tests.support import pipelines
from tests.support.livekit_room import Participant, Room
from tests.support.livekit_server import Seat
from tests.support.pipelines import Recorder
from tests.support.waiting import until

BOT = "bot"

# Who speaks can be told from the tone.
ADA, BOB, AVATAR, OWN = 400.0, 700.0, 1000.0, 1300.0

_WINDOW_SECS = 0.1
_AUDIBLE = 1500
"""Peak of a tone that counts as heard; participants speak with 8000."""

PLAIN_EVENTS = (
    "on_first_participant_joined",
    "on_participant_connected",
    "on_client_connected",
    "on_participant_disconnected",
    "on_participant_left",
    "on_client_disconnected",
    "on_audio_track_subscribed",
    "on_audio_track_unsubscribed",
)
AVATAR_EVENTS = ("on_avatar_connected", "on_avatar_disconnected")
JOINED = ["on_participant_connected", "on_client_connected"]
FIRST_JOINED = [*JOINED, "on_first_participant_joined"]
LEFT = ["on_participant_disconnected", "on_participant_left", "on_client_disconnected"]


@dataclass
class Mark(SystemFrame):
    """Comes out behind what was pushed before it."""


def join_avatar(
    room: Room,
    identity: str = AVATAR_USER_ID,
    *,
    attributes: Mapping[str, str] = MappingProxyType({PUBLISH_ON_BEHALF: BOT}),
    **options: Any,
) -> Participant:
    """Let the avatar join as a session of the service does, saying something at once."""
    avatar = room.join(identity, attributes=attributes, is_agent=True, tone_hz=AVATAR, **options)
    avatar.speak()
    return avatar


def join_person(room: Room, identity: str, tone_hz: float = 0.0, **options: Any) -> Participant:
    """Let a person join, who says something at once if it has a tone."""
    person = room.join(identity, tone_hz=tone_hz, **options)
    person.speak()
    return person


def transport_for(room: Room, params: LiveKitParams | None = None, **options: Any) -> Any:
    params = params or LiveKitParams(audio_in_enabled=True)
    return AgentHumanLiveKitTransport(room.url, room.token(BOT), "room", params, **options)


def tones(audio: bytes, rate: int) -> set[float]:
    """Which of the known tones sound in 16-bit mono PCM."""
    samples = np.frombuffer(audio, np.int16)
    size = round(rate * _WINDOW_SECS)
    windows = samples[: len(samples) // size * size].reshape(-1, size)
    if not len(windows):
        return set()
    peaks = 2 * np.abs(np.fft.rfft(windows, axis=1)).max(axis=0) / size
    return {hz for hz in (ADA, BOB, AVATAR, OWN) if peaks[round(hz * _WINDOW_SECS)] > _AUDIBLE}


class Bot:
    """A running pipeline around a LiveKit transport, and what came out of it.

    Attributes:
        events: The names of events with the identity of whom they are about, in order.
        reasons: Why the avatar left, each time.
    """

    def __init__(self, transport: LiveKitTransport, room: Room) -> None:
        self.transport = transport
        self.room = room
        self.recorder = Recorder()
        self.events: list[tuple[str, str]] = []
        self.reasons: list[str] = []
        names = PLAIN_EVENTS
        if isinstance(transport, AgentHumanLiveKitTransport):
            names += AVATAR_EVENTS
        for name in names:
            transport.add_event_handler(name, self._handler(name))

    def _handler(self, name: str) -> Callable[..., Any]:
        async def handler(transport: LiveKitTransport, who: Any, *reason: str) -> None:
            assert transport is self.transport
            self.events.append((name, who if isinstance(who, str) else who["id"]))
            if name in AVATAR_EVENTS:
                self.reasons.extend(reason)

        return handler

    @property
    def seat(self) -> Seat:
        """The bot's place in the room."""
        return self.room.seats[0]

    def events_of(self, participant: Participant) -> list[str]:
        """The events about someone, except that its sound was subscribed."""
        return [
            name
            for name, identity in self.events
            if identity == participant.identity and "track" not in name
        ]

    def frames(self, kind: type[Frame]) -> list[Any]:
        """The frames of a kind that went through the pipeline, up or down."""
        return self.recorder.of(kind, upstream=None)

    async def settle(self) -> None:
        """Wait until everything that the room told so far went through the transport."""
        mark, client = self.room.mark(), self.transport._client
        await until(lambda: client.room.metadata == mark)
        await until(lambda: not self._under_way())
        frame = Mark()
        if self.transport._input:
            await self.transport._input.push_frame(frame)
        else:
            await self.transport.output().push_frame(frame, FrameDirection.UPSTREAM)
        await self.recorder.wait_for(lambda: frame in self.frames(Mark))

    def _under_way(self) -> bool:
        """Whether an event of the room, or a handler of one, has not been dealt with."""
        names = [task.get_name() for task in asyncio.all_tasks()]
        return bool(self.transport._event_tasks) or any("::_async_on_" in name for name in names)

    def heard(self) -> set[float]:
        """The tones in the audio for the speech recognition."""
        audio: dict[Any, bytes] = defaultdict(bytes)
        for frame in self.frames(InputAudioRawFrame):
            audio[getattr(frame, "user_id", None), frame.sample_rate] += frame.audio
        return set[float]().union(*(tones(pcm, rate) for (_, rate), pcm in audio.items()))

    async def hears(self, *tone_hz: float) -> None:
        """Wait until some tones were heard, all of them."""
        await until(lambda: set(tone_hz) <= self.heard(), why_not=lambda: str(self.heard()))

    async def unsubscribes(self, participant: Participant, *, but: str = "") -> None:
        """Wait until the server sends the bot nothing of a participant, but for one medium."""
        media = {but} - {""}
        await until(
            lambda: self.seat.receives(participant) == self.seat.wants(participant) == media
        )

    def heard_in_the_room(self) -> set[float]:
        """The tones in what the bot published."""
        return tones(b"".join(part.tobytes() for part in self.seat.heard), 48000)


@asynccontextmanager
async def running(
    transport: LiveKitTransport, room: Room, *, with_input: bool = True, **options: Any
) -> AsyncIterator[Bot]:
    """Run a bot in the room, and wait until it is in and knows who is there."""
    bot = Bot(transport, room)
    processors = [transport.input()] if with_input else []
    async with pipelines.running(*processors, bot.recorder, transport.output(), **options):
        await bot.recorder.wait_for(lambda: bot.frames(OutputTransportReadyFrame))
        await bot.settle()
        yield bot
