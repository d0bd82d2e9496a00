"""A Daily room for tests without a network, and the place where bots meet it.

The real ``DailyTransport`` of Pipecat runs in it unchanged: only the names that Pipecat
imported from daily-python are replaced, by those of ``daily_python.py`` beside this file::

    @pytest.fixture
    def daily(monkeypatch):
        with installed_daily(monkeypatch) as daily:
            yield daily

    async def test_something(daily):
        room = daily.room("https://example.daily.co/room")
        ada = room.join("Ada")                              # a person, before the bot
        transport = DailyTransport(room.url, None, "Bot", DailyParams(audio_in_enabled=True))
        ...                                                 # run a pipeline: the bot joins
        avatar = room.join("Agent Human avatar", user_id="agenthuman-avatar")
        ada.speak(pcm)                                      # heard by whoever subscribed to it
        avatar.leave()
        room.clients[0].subscribed_media(ada.id)            # what the bot receives of her
        room.clients[0].participant.published_audio         # what the room hears of the bot

Nothing here waits. Whoever joins, leaves, speaks or sends does so at once, and the bots are told
from daily-python's threads a moment later, in the same order. To be sure that something did
*not* happen, send an app message after it and wait until that has come out of the transport, as
``Bot.settle`` of ``daily_bot.py`` does.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest
from pipecat.transports.daily import transport as pipecat_daily

from tests.support.daily_python import (
    CUSTOM_MEDIA,
    MEDIA,
    StandInAudioSource,
    StandInAudioTrack,
    StandInCallClient,
    StandInSpeaker,
    StandInVideoSource,
    StandInVideoTrack,
    VideoFrame,
    Worker,
)


class Participant:
    """Someone in a room: a person, the avatar, or the bot itself (then ``client`` is set).

    Attributes:
        id: The id of this joining, a UUID.
        user_name: Display name.
        user_id: As in the meeting token, or None without one.
        client: The stand-in call client, for a bot.
    """

    def __init__(
        self,
        room: Room,
        user_name: str,
        user_id: str | None,
        client: StandInCallClient | None = None,
    ) -> None:
        self.id = str(uuid.uuid4())
        self.user_name = user_name
        self.user_id = user_id
        self.client = client
        self._room = room
        self._joined_at = int(time.time())

    def leave(self, reason: str = "leftCall") -> None:
        """Leave the room; Daily's reasons are ``leftCall`` and ``hidden``."""
        self._room.remove(self, reason)

    def announce_again(self) -> None:
        """Be reported as joining once more, as after a lost connection of the listener."""
        self._room.tell_others(self, "on_participant_joined")

    def rename(self, user_name: str) -> None:
        """Take another display name, which everybody may at any time."""
        self.user_name = user_name
        self._room.tell_others(self, "on_participant_updated")

    def speak(self, audio: bytes, sample_rate: int = 16000) -> None:
        """Say something: 16-bit mono PCM, for all who subscribe to the microphone now."""
        for client in self._room.listeners(self):
            client.hear(self, audio, sample_rate)

    def show(self, image: bytes, size: tuple[int, int], color_format: str = "RGB") -> None:
        """Show one camera image to all who subscribe to the camera now."""
        for client in self._room.listeners(self):
            client.see(self, VideoFrame(image, *size, color_format))

    def send_app_message(self, message: Any) -> None:
        """Send an app message to everybody else."""
        self._room.send_app_message(message, sender=self)

    def be_transcribed(self, text: str, *, is_final: bool = True) -> None:
        """Have Daily's own transcription report words of this participant to everybody."""
        message = {
            "participantId": self.id,
            "text": text,
            "timestamp": datetime.now(UTC).isoformat(),
            "trackType": "cam-audio",
            "rawResponse": {
                "is_final": is_final,
                "channel": {"alternatives": [{"languages": ["en"]}]},
            },
        }
        for client in self._room.clients:
            client.emit("on_transcription_message", message)

    def be_active_speaker(self) -> None:
        """Be reported as the one who speaks."""
        self._room.tell_others(self, "on_active_speaker_changed")

    @property
    def published_audio(self) -> bytes:
        """What the room could hear of a bot: what it wrote while its microphone was published.

        Silence is not filled in.
        """
        source = self.client.source if self.client else None
        return b"".join(source.published) if source else b""

    @property
    def is_publishing(self) -> bool:
        """Whether the microphone is published: of a person or the avatar always."""
        return self.client is None or self.client.microphone is not None

    def as_seen_by(self, client: StandInCallClient) -> dict[str, Any]:
        """Get the mapping that daily-python reports."""
        is_local = self.client is client
        subscribed = set() if is_local else client.subscribed_media(self.id)
        return {
            "id": self.id,
            "info": {
                "isLocal": is_local,
                "isOwner": False,
                "joinedAt": self._joined_at,
                "permissions": {"hasPresence": True, "canSend": [], "canAdmin": []},
                "userId": self.user_id or self.id,
                "userName": self.user_name,
            },
            "media": {
                medium: {
                    "state": "playable" if medium in subscribed else "receivable",
                    "subscribed": "subscribed" if medium in subscribed else "unsubscribed",
                }
                for medium in MEDIA
            }
            | {medium: {} for medium in CUSTOM_MEDIA},
        }


class Room:
    """A Daily room: who is in it, and who is told what.

    Attributes:
        url: The URL under which clients join it.
        refusal: Why bots are not let in, as when the room is full; None lets them in.
        app_messages: What clients sent: ``(sender's id, message, recipient's id or None)``.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.refusal: str | None = None
        self.app_messages: list[tuple[str, Any, str | None]] = []
        self._participants: list[Participant] = []
        self._lock = threading.RLock()

    @property
    def participants(self) -> list[Participant]:
        """Everybody in the room, bots included, in the order of joining."""
        with self._lock:
            return list(self._participants)

    @property
    def clients(self) -> list[StandInCallClient]:
        """The call clients, that is the bots, in the order of joining."""
        return [someone.client for someone in self.participants if someone.client]

    def join(self, user_name: str = "", user_id: str | None = None) -> Participant:
        """Let someone join: a person without ``user_id``, or whoever has one in a token."""
        participant = Participant(self, user_name, user_id)
        self._add(participant)
        return participant

    def seat(
        self, client: StandInCallClient, user_name: str
    ) -> tuple[Participant, list[Participant]]:
        """Let a bot join; gives its participant, and those who were there before."""
        participant = Participant(self, user_name, None, client)
        return participant, self._add(participant)

    def _add(self, participant: Participant) -> list[Participant]:
        with self._lock:
            present = list(self._participants)
            self._participants.append(participant)
            self.tell_others(participant, "on_participant_joined")
            return present

    def remove(self, participant: Participant, reason: str) -> None:
        """Take a participant out and tell the others."""
        with self._lock:
            if participant not in self._participants:
                return
            self._participants.remove(participant)
            self.tell_others(participant, "on_participant_left", reason)
            for client in self.listeners(participant):
                client.forget(participant)

    def eject(self, client: StandInCallClient) -> None:
        """Put a bot out, as when its token expires or an owner removes it."""
        if client.participant:
            self.remove(client.participant, "leftCall")
        client.be_out()

    def lose(self, participant: Participant) -> None:
        """Let someone be gone without telling anybody."""
        with self._lock:
            self._participants.remove(participant)

    def listeners(self, participant: Participant) -> list[StandInCallClient]:
        """All clients except the participant's own."""
        return [client for client in self.clients if client is not participant.client]

    def tell_others(self, participant: Participant, event: str, *more: Any) -> None:
        """Report an event that carries the participant."""
        for client in self.listeners(participant):
            client.emit(event, participant.as_seen_by(client), *more)

    def send_app_message(
        self, message: Any, sender: Participant | None = None, recipient: str | None = None
    ) -> None:
        """Send an app message; without a sender as over Daily's REST API."""
        sender_id = sender.id if sender else ""
        self.app_messages.append((sender_id, message, recipient))
        for client in self.listeners(sender) if sender else self.clients:
            if recipient is None or (client.participant and client.participant.id == recipient):
                client.emit("on_app_message", message, sender_id)


@dataclass
class DailyStandIn:
    """What ``installed_daily`` puts in the place of daily-python.

    It also stands for the class ``daily.Daily``.

    Attributes:
        real_time: Whether audio that a bot writes completes when it would have been played.
        selected_speaker: The device that plays the sound of all rooms, if any was selected.
        audio_sources: What the custom audio tracks carry, by the track's id.
        failures: What callbacks raised in daily-python's threads.
    """

    real_time: bool = False
    selected_speaker: StandInSpeaker | None = None
    audio_sources: dict[str, StandInAudioSource] = field(default_factory=dict)
    failures: list[BaseException] = field(default_factory=list)
    _rooms: dict[str, Room] = field(default_factory=dict)
    _speakers: dict[str, StandInSpeaker] = field(default_factory=dict)
    _workers: list[Worker] = field(default_factory=list)

    def room(self, url: str = "https://example.daily.co/room") -> Room:
        """Get the room with a URL; it exists from the first time it is asked for."""
        return self._rooms.setdefault(url, Room(url))

    def new_worker(self, name: str) -> Worker:
        """Start a thread that ends with the stand-in, at the latest."""
        self._workers.append(Worker(name, self.failures))
        return self._workers[-1]

    def settle_devices(self) -> None:
        """Wait until whoever waits for a device was answered."""
        for device in (*self._speakers.values(), *self.audio_sources.values()):
            device.settle()

    def close(self) -> None:
        """End all threads, then raise what a callback raised in one of them."""
        for worker in self._workers:
            worker.end()
        if self.failures:
            raise ExceptionGroup("callbacks raised in Daily's threads", self.failures)

    # What the class `daily.Daily` has.

    def create_speaker_device(
        self,
        device_name: str,
        sample_rate: int = 16000,
        channels: int = 1,
        non_blocking: bool = False,
    ) -> StandInSpeaker:
        speaker = StandInSpeaker(self, device_name, sample_rate, channels)
        self._speakers[device_name] = speaker
        return speaker

    def select_speaker_device(self, device_name: str) -> None:
        self.selected_speaker = self._speakers[device_name]

    def set_log_level(self, log_level: Any) -> None:
        """Nothing is logged."""


@contextmanager
def installed_daily(
    monkeypatch: pytest.MonkeyPatch, *, real_time: bool = False
) -> Iterator[DailyStandIn]:
    """Put the stand-in where Pipecat's Daily transport looks for daily-python.

    Args:
        monkeypatch: Undoes it at the end of the test.
        real_time: Whether audio that a bot writes takes its time.

    Yields:
        The stand-in. At the end its threads are ended, and what a callback raised in one of
        them is raised.
    """
    daily = DailyStandIn(real_time=real_time)
    for name, stand_in in {
        "Daily": daily,
        "CallClient": partial(StandInCallClient, daily),
        "CustomAudioSource": partial(StandInAudioSource, daily),
        "CustomAudioTrack": partial(StandInAudioTrack, daily),
        "CustomVideoSource": StandInVideoSource,
        "CustomVideoTrack": StandInVideoTrack,
    }.items():
        monkeypatch.setattr(pipecat_daily, name, stand_in)
    # Otherwise the first transport of the test run would initialise the stand-in, and a later
    # test with the real library would go without.
    monkeypatch.setattr(pipecat_daily.DailyTransportClient, "_daily_initialized", True)
    try:
        yield daily
    finally:
        daily.close()
