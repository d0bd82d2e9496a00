"""A transport into a call on this machine: its people are heard, and the avatar is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from pipecat.frames.frames import (
    ClientConnectedFrame,
    InputAudioRawFrame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import BaseTransport, TransportParams

from pipecat_agenthuman.pipeline.surroundings.avatar_transport import (
    AvatarRoomOutput,
    push_to_service,
)
from pipecat_agenthuman.pipeline.surroundings.presence import (
    AVATAR_CONNECTED,
    AVATAR_DISCONNECTED,
    Presence,
)
from pipecat_agenthuman.rooms import DailyRoom

_EVENTS: Final = (
    "on_joined",
    "on_left",
    "on_first_participant_joined",
    "on_participant_joined",
    "on_participant_left",
    "on_client_connected",
    "on_client_disconnected",
    "on_app_message",
    AVATAR_CONNECTED,
    AVATAR_DISCONNECTED,
)
"""As at ``AgentHumanDailyTransport``, so that a bot's handlers need no change."""

_IN_A_ROW_SECS: Final = 0.1
"""Writes that follow each other like this are one sound, however late a busy machine wakes."""


class _Input(BaseInputTransport):
    def __init__(
        self,
        params: TransportParams,
        on_started: Callable[[], Awaitable[None]],
        *,
        name: str | None,
    ) -> None:
        super().__init__(params, name=name)
        self._on_started = on_started

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)
        await self._on_started()


class _Output(AvatarRoomOutput, BaseOutputTransport):
    """Plays in real time into a buffer: a write returns when its sound is over."""

    def __init__(self, params: TransportParams, room: DailyRoom, *, name: str | None) -> None:
        super().__init__(params, name=name)
        self.avatar_room = room
        self.played = bytearray()
        self.messages: list[Any] = []
        self._plays_until = 0.0
        self._returned_at = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        secs = len(frame.audio) / (2 * frame.num_channels * frame.sample_rate)
        now = time.monotonic()
        if now - self._returned_at > _IN_A_ROW_SECS:
            self._plays_until = max(self._plays_until, now)
        self._plays_until += secs
        self.played += frame.audio
        await asyncio.sleep(self._plays_until - now)
        self._returned_at = time.monotonic()
        return True

    async def send_message(
        self, frame: OutputTransportMessageFrame | OutputTransportMessageUrgentFrame
    ) -> None:
        self.messages.append(frame.message)


class CallTransport(BaseTransport):
    """The bot's way into a ``Call``.

    Its events, and what their handlers are given, are those of ``AgentHumanDailyTransport``:
    ``on_first_participant_joined``, ``on_participant_joined``, ``on_client_connected``
    ``(transport, participant)``, ``on_participant_left(transport, participant, reason)``,
    ``on_client_disconnected(transport, participant)``, ``on_avatar_connected`` and
    ``on_avatar_disconnected``. They wait until the pipeline runs. A participant is a mapping
    with ``id`` and ``info``, as Daily's.
    """

    def __init__(
        self,
        room: DailyRoom,
        params: TransportParams | None = None,
        *,
        input_name: str | None = None,
        output_name: str | None = None,
    ) -> None:
        """Create a transport into an empty room.

        Args:
            room: The room, in which the avatar is to join as well.
            params: As for any transport; audio is on both ways if None.
            input_name: Name of the input processor.
            output_name: Name of the output processor.
        """
        super().__init__(input_name=input_name, output_name=output_name)
        params = params or TransportParams(audio_in_enabled=True, audio_out_enabled=True)
        self.room = room
        self._input = _Input(params, self._begin, name=input_name)
        self._output = _Output(params, room, name=output_name)
        self._participants: dict[str, dict[str, Any]] = {}
        self._started = asyncio.Event()
        self._telling = asyncio.Lock()
        self._presence = Presence(
            self, tell=self._tell_service, fire=lambda *event: self._call_event_handler(*event)
        )
        for event in _EVENTS:
            self._register_event_handler(event)

    # --- what a bot uses ---------------------------------------------------------------

    def input(self) -> FrameProcessor:
        """Where the people are heard."""
        return self._input

    def output(self) -> FrameProcessor:
        """Where the bot speaks while there is no avatar."""
        return self._output

    def persons(self) -> dict[str, dict[str, Any]]:
        """Who is there and neither bot nor avatar, by id."""
        return {one: self._participants[one] for one in self._presence.persons}

    def participants(self) -> dict[str, dict[str, Any]]:
        """All people who are there, by id."""
        return self.persons()

    def get_client_id(self, client: Any) -> str:
        """The id of a participant.

        Args:
            client: What an event handler was given.
        """
        return str(client["id"])

    # --- what a test sees --------------------------------------------------------------

    @property
    def played(self) -> bytes:
        """What the transport itself has played: 16-bit PCM in the pipeline's output format."""
        return bytes(self._output.played)

    @property
    def messages(self) -> list[Any]:
        """What the bot has sent to its clients, RTVI messages for example."""
        return self._output.messages

    @property
    def input_sample_rate(self) -> int:
        """Samples per second that the pipeline takes; 0 until it runs."""
        return self._input.sample_rate if self._started.is_set() else 0

    async def until_started(self) -> None:
        """Wait until the pipeline runs."""
        await self._started.wait()

    # --- what the call does ------------------------------------------------------------

    async def deliver(self, audio: bytes) -> None:
        """Let the bot hear what sounds in the room.

        Args:
            audio: 16-bit mono PCM at ``input_sample_rate``.
        """
        await self._input.push_audio_frame(
            InputAudioRawFrame(audio=audio, sample_rate=self._input.sample_rate, num_channels=1)
        )

    async def person_joined(self, participant_id: str, name: str) -> None:
        """Let a person in; told when the pipeline runs.

        Args:
            participant_id: Who.
            name: As whom.
        """
        await self._started.wait()
        async with self._telling:
            is_first = not self._presence.persons
            participant = {"id": participant_id, "info": {"userName": name}, "local": False}
            self._participants[participant_id] = participant
            await self._presence.person_joined(participant_id)
            if is_first:
                await self._call_event_handler("on_first_participant_joined", participant)
            await self._call_event_handler("on_participant_joined", participant)
            await self._call_event_handler("on_client_connected", participant)
            await self._input.push_frame(ClientConnectedFrame())

    async def person_left(self, participant_id: str) -> None:
        """Take note that a person has left.

        Args:
            participant_id: Who.
        """
        await self._started.wait()
        async with self._telling:
            participant = self._participants.pop(participant_id)
            await self._presence.person_left(participant_id)
            await self._call_event_handler("on_participant_left", participant, "leftCall")
            await self._call_event_handler("on_client_disconnected", participant)

    async def avatar_joined(self, participant_id: str) -> None:
        """Take note that the avatar is in the room.

        Args:
            participant_id: Its id, which stands for one joining.
        """
        await self._started.wait()
        await self._presence.avatar_joined(participant_id, {"id": participant_id})

    async def avatar_left(self, participant_id: str, reason: str) -> None:
        """Take note that the avatar has left.

        Args:
            participant_id: Its id.
            reason: Why.
        """
        await self._started.wait()
        await self._presence.avatar_left(participant_id, {"id": participant_id}, reason)

    # --- inside ------------------------------------------------------------------------

    async def _begin(self) -> None:
        self._started.set()
        await self._call_event_handler("on_joined", {"id": "bot"})

    async def _tell_service(self, frame: Any) -> None:
        await push_to_service(frame, from_input=self._input, from_output=self._output)
