"""A LiveKit transport that knows which participant of the room is the avatar.

The avatar joins the caller's own LiveKit room. To a plain ``LiveKitTransport`` it is one more
person: the bot greets it, transcribes it and ends the call when it leaves.
``AgentHumanLiveKitTransport`` keeps it apart.

This is the only module of the package that needs LiveKit's client: the extra ``[livekit]``.
"""

# Pipecat leaves the parameters of the methods that are overridden here without types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from livekit import rtc
from loguru import logger
from pipecat.transports.livekit.transport import (
    LiveKitOutputTransport,
    LiveKitParams,
    LiveKitTransport,
    LiveKitTransportClient,
)

from pipecat_agenthuman._arguments import check_kind
from pipecat_agenthuman.frames import AgentHumanBotLeftFrame, AgentHumanServerEventFrame
from pipecat_agenthuman.identity import AvatarIdentity
from pipecat_agenthuman.pipeline.surroundings.avatar_transport import (
    AvatarRoomOutput,
    push_to_service,
    with_voice,
)
from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE, Ear
from pipecat_agenthuman.pipeline.surroundings.presence import (
    AVATAR_CONNECTED,
    AVATAR_DISCONNECTED,
    Presence,
)
from pipecat_agenthuman.pipeline.surroundings.subscriptions import Subscriptions
from pipecat_agenthuman.tokens.claims import read_livekit_token
from pipecat_agenthuman.tokens.livekit import PUBLISH_ON_BEHALF

_HEARD_PIECE_MS: Final = 40
"""How much of the avatar comes at a time: each piece wakes the event loop."""

_CLOSE_SECS: Final = 2.0
"""What LiveKit's library may take to end a stream of sound."""


class AgentHumanLiveKitOutputTransport(AvatarRoomOutput, LiveKitOutputTransport):
    """The output of ``AgentHumanLiveKitTransport``: the avatar's media count as the bot's."""


class AgentHumanLiveKitTransport(LiveKitTransport):
    """A ``LiveKitTransport`` for a room that the avatar shares with people.

    For the avatar, whenever it joins and as often as it returns:

    - its tracks are unsubscribed and never read, be it as user tracks or in the mixed audio; only
      the service listens to it now and then, to hear how late it is;
    - ``on_first_participant_joined``, ``on_participant_connected``, ``on_client_connected``,
      ``on_participant_disconnected``, ``on_participant_left``, ``on_client_disconnected`` and
      the events of its tracks do not fire, and no ``ClientConnectedFrame`` is pushed;
    - the data that it sends reaches ``on_data_received`` only: neither ``on_app_message`` nor
      the pipeline, where it would be taken for a client's;
    - instead ``on_avatar_connected(transport, participant)`` and
      ``on_avatar_disconnected(transport, participant, reason)`` fire, and an
      ``AgentHumanAvatarJoinedFrame`` or ``AgentHumanAvatarLeftFrame`` goes to the service. The
      participant is a mapping with its identity as ``id``, and its ``sid``.

    The avatar is known by its identity or by LiveKit's attribute ``lk.publish_on_behalf``, which
    names the bot. The frames carry the ``sid``: an identity may come again with the avatar of
    the next session.

    Persons are reported once each, also those who were in the room before the bot, which some
    Pipecat releases leave out; and the first to come into a room without persons is the first
    participant. Everything else is as in ``LiveKitTransport``. ``on_active_speaker_changed`` and
    ``get_participants()`` still cover everyone; ``persons()`` leaves out bot and avatar.

    The bot's own microphone is published, unless ``params`` sets ``audio_out_enabled`` itself.
    It is silent while the avatar speaks, because the service consumes the speech before it
    reaches this transport, and it is there at once when the service falls back to it.
    """

    def __init__(
        self,
        url: str,
        token: str,
        room_name: str,
        params: LiveKitParams | None = None,
        input_name: str | None = None,
        output_name: str | None = None,
        *,
        avatar: AvatarIdentity | None = None,
        keep_avatar_video: bool = False,
    ) -> None:
        """Create the transport.

        Args:
            url: WebSocket URL of the LiveKit server.
            token: The bot's own token, not the avatar's.
            room_name: The room, as in the token.
            params: As for ``LiveKitTransport``, except that ``audio_out_enabled`` is True if
                it is not set.
            input_name: Name of the input processor.
            output_name: Name of the output processor.
            avatar: Who the avatar is: ``room.identity`` of its ``LiveKitRoom``. By default whoever
                joins with a token of ``LiveKitRoom.mint``: right where one bot has an avatar in
                the room, wrong where two have. Whoever publishes on behalf of the bot is its
                avatar as well.
            keep_avatar_video: Leave the avatar's video alone, for bots that record it.

        Raises:
            ValueError: If ``avatar`` is not an ``AvatarIdentity``.
        """
        check_kind("avatar", avatar, AvatarIdentity)
        params = with_voice(params or LiveKitParams())
        super().__init__(url, token, room_name, params, input_name, output_name)
        self._avatar = avatar or AvatarIdentity()
        self._keep_avatar_video = keep_avatar_video
        self._ear = Ear(begin=self._begin_hearing, end=self._end_hearing)
        self._subscriptions = Subscriptions(
            listen=self._listen, is_wanted=self._wants_to_hear, broke=self._ear.broke
        )
        self._presence = Presence(
            self, tell=self._tell_service, fire=self._call_event_handler, ear=self._ear
        )
        self._register_event_handler(AVATAR_CONNECTED)
        self._register_event_handler(AVATAR_DISCONNECTED)
        claims = read_livekit_token(token)
        if claims is not None and self._avatar.fits(claims.user_id, claims.user_name):
            logger.warning(
                f"{self}: the token that was given to the transport is the avatar's. Both would "
                "join under one identity, and LiveKit puts out whoever joined first: the bot. Give "
                "the bot a token of its own; that of LiveKitRoom.mint belongs to the service's "
                "room= only."
            )
        self._is_in_room = False
        door = _Door(
            is_avatar=self._is_avatar,
            receives=self._receives,
            came=self._came,
            silenced=self._silenced,
            joined=self._participant_joined,
            left=self._participant_left,
            avatar_sent=self._avatar_sent,
        )
        self._client = _Client(url, token, room_name, params, self._client, door)

    def output(self) -> LiveKitOutputTransport:
        """Get the processor that sends the bot's media."""
        if not self._output:
            output = AgentHumanLiveKitOutputTransport(
                self, self._client, self._params, name=self._output_name
            )
            output.on_started = self._look_for_itself
            output.ear = self._ear
            self._output = output
        return self._output

    def persons(self) -> dict[str, rtc.RemoteParticipant]:
        """Get everyone in the room except the bot itself and the avatar.

        Returns:
            Participants by identity. Other bots in the room count as persons.
        """
        everyone = self._client.room.remote_participants
        return {
            identity: participant
            for identity, participant in everyone.items()
            if not self._is_avatar(participant)
        }

    # --- what a bot asks for ------------------------------------------------------------

    async def unmute_participant(self, participant_id: str) -> None:
        """Receive the audio of a person again. Refused, with a warning, for the avatar.

        Args:
            participant_id: Identity of the participant.
        """
        if not self._refuses("audio", participant_id):
            await super().unmute_participant(participant_id)

    async def capture_participant_video(
        self, participant_id: str, *args: Any, **kwargs: Any
    ) -> None:
        """Capture the video of a person, or of the avatar with ``keep_avatar_video``.

        Args:
            participant_id: Identity of the participant.
            *args: As for ``LiveKitTransport``, in the Pipecat releases that have this method.
            **kwargs: Likewise.
        """
        if self._keep_avatar_video or not self._refuses("video", participant_id):
            await super().capture_participant_video(participant_id, *args, **kwargs)

    def _refuses(self, medium: str, participant_id: str) -> bool:
        participant = self._client.room.remote_participants.get(participant_id)
        if participant is None or not self._is_avatar(participant):
            return False
        logger.warning(
            f"{self}: not receiving {medium} of {participant_id}, which is the avatar: the bot "
            "would hear itself, or take it for a person. persons() names everybody else."
        )
        return True

    # --- what the client asks and tells ---------------------------------------------------

    async def _on_connected(self) -> None:
        self._is_in_room = True
        await super()._on_connected()
        # Who was there before the bot: not every Pipecat release tells of them.
        everyone = self._client.room.remote_participants
        for identity, participant in list(everyone.items()):
            if everyone.get(identity) is participant:  # still, after the others were told of
                await self._participant_joined(participant)

    async def _on_before_disconnect(self) -> None:
        self._is_in_room = False  # by itself: what comes now is no news
        await self._hear_nothing()
        await super()._on_before_disconnect()

    async def _on_disconnected(self) -> None:
        was_in_room, self._is_in_room = self._is_in_room, False
        await self._hear_nothing()
        if was_in_room:
            await self._tell_service(AgentHumanBotLeftFrame(reason="it was put out"))
        await super()._on_disconnected()

    async def _look_for_itself(self) -> None:
        if not self._is_in_room:
            await self._tell_service(AgentHumanBotLeftFrame(reason="it could not join"))

    def _is_avatar(self, participant: rtc.RemoteParticipant) -> bool:
        bot = self._client.room.local_participant.identity
        fits = self._avatar.fits(participant.identity, participant.name)
        speaks_for_the_bot = participant.attributes.get(PUBLISH_ON_BEHALF) == bot
        return self._presence.is_avatar(participant.sid, fits=fits or speaks_for_the_bot)

    def _receives(self, track: rtc.Track, participant: rtc.RemoteParticipant) -> bool:
        """Tell whether the bot has any use for a track."""
        if not self._is_avatar(participant):
            return True
        return self._keep_avatar_video and track.kind == rtc.TrackKind.KIND_VIDEO

    # --- hearing the avatar -----------------------------------------------------------------

    def _came(
        self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        """Listen to a track of the avatar, if it is to be heard, or decline it."""
        is_sound = publication.kind == rtc.TrackKind.KIND_AUDIO
        if is_sound and participant.sid == self._ear.heard:
            self._subscriptions.begin(publication, participant.sid)
        elif not (is_sound and self._ear.expects(participant.sid)):
            self._subscriptions.decline(publication)

    def _silenced(
        self, publication: rtc.RemoteTrackPublication, participant: rtc.RemoteParticipant
    ) -> None:
        """Listen to a track no more, or ask for it, if it is wanted since."""
        self._subscriptions.end(publication.sid)
        if self._wants_to_hear(publication, participant.sid):
            self._subscriptions.begin(publication, participant.sid)

    def _wants_to_hear(self, publication: rtc.RemoteTrackPublication, sid: str) -> bool:
        is_there = any(one.sid == publication.sid for one in self._sounds_of(sid))
        return is_there and sid == self._ear.heard

    async def _begin_hearing(self, sid: str) -> None:
        for publication in self._sounds_of(sid):
            self._subscriptions.begin(publication, sid)

    async def _end_hearing(self, sid: str) -> None:
        for publication in self._sounds_of(sid):
            self._subscriptions.decline(publication)

    def _sounds_of(self, sid: str) -> Iterator[rtc.RemoteTrackPublication]:
        everyone = list(self._client.room.remote_participants.values())
        for participant in everyone:
            if participant.sid == sid:
                for publication in list(participant.track_publications.values()):
                    if publication.kind == rtc.TrackKind.KIND_AUDIO:
                        yield publication

    async def _listen(
        self,
        publication: rtc.RemoteTrackPublication,
        speaker: str,
        heard: Callable[[], None],
    ) -> None:
        """Let the ear hear a track, as long as it lasts."""
        if publication.track is None:
            return
        stream = rtc.AudioStream(
            publication.track,
            sample_rate=HEARD_SAMPLE_RATE,
            num_channels=1,
            frame_size_ms=_HEARD_PIECE_MS,
        )
        try:
            async for event in stream:
                heard()
                self._ear.take(speaker, bytes(event.frame.data), time.monotonic())
        finally:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CLOSE_SECS):
                    await stream.aclose()

    async def _hear_nothing(self) -> None:
        self._ear.close()
        await self._subscriptions.close()

    # --- who comes and goes -----------------------------------------------------------------

    async def _participant_joined(self, participant: rtc.RemoteParticipant) -> None:
        """Take note of a participant that is in the room. Told again, it is no news."""
        if self._is_avatar(participant):
            await self._presence.avatar_joined(participant.sid, _named(participant))
            if participant.sid != self._ear.heard:
                await self._end_hearing(participant.sid)
            return
        is_first = not self._presence.persons
        if await self._presence.person_joined(participant.sid):
            await self._on_participant_connected(participant.identity)
            if is_first:
                await self._on_first_participant_joined(participant.identity)

    async def _participant_left(self, participant: rtc.RemoteParticipant) -> None:
        if not self._is_avatar(participant):
            if await self._presence.person_left(participant.sid):
                await self._on_participant_disconnected(participant.identity)
            return
        # Pipecat releases that sample video answer the requests for an image that wait for it.
        remove_video = getattr(self._input, "remove_participant_video", None)
        if remove_video:
            await remove_video(participant.identity)
        await self._presence.avatar_left(
            participant.sid, _named(participant), _why_it_left(participant)
        )

    async def _avatar_sent(self, packet: rtc.DataPacket) -> None:
        """Pass on what the avatar sent, as what it is: data, and no message to the bot."""
        sender = packet.participant.identity if packet.participant else None
        await self._call_event_handler("on_data_received", packet.data, sender)

    async def _tell_service(self, frame: AgentHumanServerEventFrame) -> None:
        await push_to_service(frame, from_input=self._input, from_output=self._output)


@dataclass(frozen=True)
class _Door:
    """What the client asks the transport, and tells it."""

    is_avatar: Callable[[rtc.RemoteParticipant], bool]
    receives: Callable[[rtc.Track, rtc.RemoteParticipant], bool]
    came: Callable[[rtc.RemoteTrackPublication, rtc.RemoteParticipant], None]
    silenced: Callable[[rtc.RemoteTrackPublication, rtc.RemoteParticipant], None]
    joined: Callable[[rtc.RemoteParticipant], Awaitable[None]]
    left: Callable[[rtc.RemoteParticipant], Awaitable[None]]
    avatar_sent: Callable[[rtc.DataPacket], Awaitable[None]]


class _Client(LiveKitTransportClient):
    """Pipecat's client, which asks at the door who comes in.

    The room's events arrive here with the participant; Pipecat's callbacks get its identity only,
    and a track's is called when Pipecat reads the track already. The methods overridden here are
    those that LiveKit's client calls, one at a time, on the event loop, and those that Pipecat
    runs in a task for each event.
    """

    def __init__(
        self,
        url: str,
        token: str,
        room_name: str,
        params: LiveKitParams,
        pipecats: LiveKitTransportClient,
        door: _Door,
    ) -> None:
        # Who comes and goes is told here, by participant.
        callbacks = pipecats._callbacks.model_copy(
            update={
                "on_participant_connected": _nothing,
                "on_first_participant_joined": _nothing,
                "on_participant_disconnected": _nothing,
            }
        )
        super().__init__(url, token, room_name, params, callbacks, pipecats._transport_name)
        self._door = door

    async def _async_on_participant_connected(self, participant: rtc.RemoteParticipant) -> None:
        await self._door.joined(participant)

    async def _async_on_participant_disconnected(self, participant: rtc.RemoteParticipant) -> None:
        await self._door.left(participant)

    def _on_track_subscribed_wrapper(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        if self._door.receives(track, participant):
            super()._on_track_subscribed_wrapper(track, publication, participant)
        else:
            self._door.came(publication, participant)

    def _on_track_unsubscribed_wrapper(
        self,
        track: rtc.Track,
        publication: rtc.RemoteTrackPublication,
        participant: rtc.RemoteParticipant,
    ) -> None:
        if self._door.receives(track, participant):
            super()._on_track_unsubscribed_wrapper(track, publication, participant)
        else:
            self._door.silenced(publication, participant)

    async def _async_on_data_received(self, data: rtc.DataPacket) -> None:
        if data.participant and self._door.is_avatar(data.participant):
            await self._door.avatar_sent(data)
        else:
            await super()._async_on_data_received(data)


async def _nothing(_identity: str) -> None:
    """Take the place of a callback of Pipecat's client."""


def _named(participant: rtc.RemoteParticipant) -> dict[str, str]:
    """What event handlers get of the avatar: as other client events of Pipecat, and its sid."""
    return {"id": participant.identity, "sid": participant.sid}


def _why_it_left(participant: rtc.RemoteParticipant) -> str:
    reason = participant.disconnect_reason
    return "disconnected" if reason is None else rtc.DisconnectReason.Name(reason).lower()
