"""A LiveKit room for tests: who is in it, and what the bots that joined are told.

Bots join with the real client of LiveKit, over the server of ``livekit_server.py``; everybody else
is made here::

    async with opened_room() as room:
        ada = room.join("ada")                                # a person, before the bot
        transport = LiveKitTransport(room.url, room.token("bot"), "room", params)
        ...                                                   # run a pipeline: the bot joins
        avatar = room.join("agenthuman-avatar", tone_hz=440)
        avatar.speak()                                        # a tone, until hush()
        avatar.leave()
        room.seats[0].receives(avatar)                        # whether the bot is sent its tracks
        room.seats[0].heard                                   # what the bot published

Nothing here waits: whoever joins, leaves or sends does so at once, and the bots are told a
moment later, in the same order.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from livekit.protocol import models, rtc

from tests.support.livekit_server import LiveKitServer, Seat

Voice = Callable[[float, float], np.ndarray[Any, Any]]
"""Samples at 16 kHz from one moment to another."""


class Participant:
    """Someone in the room who is no client of it: a person, or the avatar.

    Attributes:
        identity: As in its token.
        sid: The id of this joining.
        tone_hz: What it speaks with; it has no microphone without, or without a voice.
        voice: Its sound between two moments on the monotonic clock, at 16 kHz: then it has no tone.
        tracks: The type of each track that it publishes, by the track's id.
        is_speaking: Whether it speaks now.
    """

    def __init__(
        self,
        room: Room,
        identity: str,
        *,
        name: str = "",
        attributes: Mapping[str, str] | None = None,
        is_agent: bool = False,
        tone_hz: float = 0.0,
        voice: Voice | None = None,
        has_camera: bool = False,
    ) -> None:
        self.identity = identity
        self.sid = "PA_" + secrets.token_hex(6)
        self.tone_hz = tone_hz
        self.voice = voice
        has_sound = tone_hz > 0 or voice is not None
        kinds = [models.TrackType.AUDIO] * has_sound + [models.TrackType.VIDEO] * has_camera
        self.tracks = {"TR_" + secrets.token_hex(6): kind for kind in kinds}
        self.is_speaking = False
        self._room = room
        self._name = name
        self._attributes = dict(attributes or {})
        self._kind = models.ParticipantInfo.AGENT if is_agent else models.ParticipantInfo.STANDARD
        self._version = 0

    def speak(self) -> None:
        """Make its tone sound, until ``hush``."""
        self.is_speaking = True

    def hush(self) -> None:
        """Be silent."""
        self.is_speaking = False

    def leave(self, reason: str = "CLIENT_INITIATED") -> None:
        """Leave the room; reasons are the names of LiveKit's ``DisconnectReason``."""
        self._room.remove(self, reason)

    def rename(self, name: str) -> None:
        """Take another display name."""
        self._name = name
        self.announce_again()

    def announce_again(self) -> None:
        """Be told of once more, as with every change of a participant."""
        self._room.tell(update=rtc.ParticipantUpdate(participants=[self.info()]))

    def send_app_message(self, message: Any, *, topic: str = "") -> None:
        """Send data to everybody."""
        self._room.send_data(message, sender=self, topic=topic)

    def be_active_speaker(self) -> None:
        """Be reported as the one who speaks."""
        speaker = models.SpeakerInfo(sid=self.sid, level=0.5, active=True)
        self._room.tell(speakers_changed=rtc.SpeakersChanged(speakers=[speaker]))

    def info(self, gone: str | None = None) -> models.ParticipantInfo:
        """What clients are told of it.

        Args:
            gone: Why it has left, if it has.
        """
        self._version += 1
        states = models.ParticipantInfo.State
        return models.ParticipantInfo(
            sid=self.sid,
            identity=self.identity,
            name=self._name,
            state=states.Value("DISCONNECTED" if gone else "ACTIVE"),
            kind=self._kind,
            attributes=self._attributes,
            tracks=[_track_info(sid, kind) for sid, kind in self.tracks.items()],
            version=self._version,
            permission=models.ParticipantPermission(can_subscribe=True, can_publish=True),
            disconnect_reason=models.DisconnectReason.Value(gone or "UNKNOWN_REASON"),
        )


class Room:
    """A LiveKit room.

    Attributes:
        participants: Who is in it, bots left out, in the order of joining.
        seats: The clients that joined, that is the bots.
    """

    def __init__(self) -> None:
        self.participants: list[Participant] = []
        self.seats: list[Seat] = []
        self._server = LiveKitServer(self)
        self._marks = 0

    @property
    def url(self) -> str:
        """Where clients join."""
        return self._server.url

    def token(self, identity: str) -> str:
        """A client's token."""
        return self._server.token(identity)

    def join(self, identity: str, **options: Any) -> Participant:
        """Let someone join; whoever has the same identity is put out, as LiveKit does.

        Args:
            identity: As in its token.
            options: As for ``Participant``.
        """
        for former in [one for one in self.participants if one.identity == identity]:
            self.remove(former, "DUPLICATE_IDENTITY")
        return self._add(Participant(self, identity, **options))

    def replace(self, former: Participant) -> Participant:
        """Let someone join in the place of another, of whose leaving nobody is told."""
        self.participants.remove(former)
        for seat in self.seats:
            seat.withdraw_tracks(former)
        options: Any = {"attributes": former._attributes, "tone_hz": former.tone_hz}
        return self._add(Participant(self, former.identity, **options))

    def _add(self, participant: Participant) -> Participant:
        self.participants.append(participant)
        participant.announce_again()
        for seat in self.seats:
            seat.offer_tracks(participant)
        return participant

    def remove(self, participant: Participant, reason: str) -> None:
        """Take a participant out and tell the clients."""
        if participant not in self.participants:
            return
        self.participants.remove(participant)
        gone = participant.info(reason)
        self.tell(update=rtc.ParticipantUpdate(participants=[gone]))
        for seat in self.seats:
            seat.withdraw_tracks(participant)

    def tell(self, **message: Any) -> None:
        """Send a message of the signalling to all clients."""
        for seat in self.seats:
            seat.tell(**message)

    def mark(self) -> str:
        """Change the room's metadata, which clients notice behind all that was told before."""
        self._marks += 1
        self.tell(room_update=rtc.RoomUpdate(room=self.info()))
        return self.info().metadata

    def send_data(
        self, message: Any, *, sender: Participant | None = None, topic: str = ""
    ) -> None:
        """Send data to all clients; without a sender as over LiveKit's server API."""
        packet = models.DataPacket(
            kind=models.DataPacket.RELIABLE,
            participant_identity=sender.identity if sender else "",
            user=models.UserPacket(payload=json.dumps(message).encode(), topic=topic),
        )
        for seat in self.seats:
            seat.send_data(packet)

    def publisher_of(self, track_sid: str) -> Participant | None:
        """Who publishes a track, if it still does."""
        return next((one for one in self.participants if track_sid in one.tracks), None)

    def info(self) -> models.Room:
        """What clients are told of the room."""
        return models.Room(sid="RM_room", name="room", metadata=f"mark {self._marks}")


def _track_info(sid: str, kind: models.TrackType) -> models.TrackInfo:
    is_sound = kind == models.TrackType.AUDIO
    sources = models.TrackSource
    return models.TrackInfo(
        sid=sid,
        type=kind,
        name="microphone" if is_sound else "camera",
        source=sources.MICROPHONE if is_sound else sources.CAMERA,
    )


@asynccontextmanager
async def opened_room() -> AsyncIterator[Room]:
    """Open a room on loopback, and close it with all connections at the end."""
    room = Room()
    async with room._server:
        yield room
