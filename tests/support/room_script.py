"""What happens in a Daily room during a call, so that it can be played again elsewhere.

A bot and its avatar are in a room of ``daily_room.py``; who joins, leaves, turns a microphone on
or off and speaks is written down, and a page with Pipecat's web client can live through the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import pytest

from tests.support.daily_python import StandInAudioSource
from tests.support.daily_room import Participant, Room

What = Literal["joins", "on", "off", "speaks", "silent", "leaves"]

_LOUD: Final = 64
"""Softer samples are what a resampler or the network makes of silence."""

_PAUSE_SECS: Final = 1.0
"""How long nothing is said before somebody is silent: a busy machine tears smaller gaps."""


@dataclass(frozen=True, slots=True)
class RoomEvent:
    """Something that happened.

    Attributes:
        at: When, on the monotonic clock.
        what: What.
        who: The participant's role: ``bot``, ``avatar 1``, ``avatar 2``, ``person 1``, ...
    """

    at: float
    what: What
    who: str


@dataclass
class RoomScript:
    """Writes down what happens in a room, from its making on.

    Of what a bot writes to its microphone all counts, whether it is published or not.
    """

    room: Room
    _events: list[RoomEvent] = field(default_factory=list)
    _said: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    _roles: dict[str, str] = field(default_factory=dict)
    _on: dict[str, bool] = field(default_factory=dict)

    @classmethod
    def of(cls, room: Room, monkeypatch: pytest.MonkeyPatch) -> RoomScript:
        """Begin to write."""
        script = cls(room)
        tell, speak = room.tell_others, Participant.speak

        def telling(participant: Participant, event: str, *more: Any) -> None:
            script._told(participant, event)
            tell(participant, event, *more)

        def speaking(participant: Participant, audio: bytes, sample_rate: int = 16000) -> None:
            script._sounded(participant, time.monotonic(), audio, sample_rate)
            speak(participant, audio, sample_rate)

        def writing(source: StandInAudioSource, frames: bytes, completion: Any = None) -> int:
            for client in room.clients:
                if client.source is source and client.participant:
                    now, rate = time.monotonic(), source.sample_rate * source.channels
                    script._sounded(client.participant, now, frames, rate)
            return write(source, frames, completion)

        write = StandInAudioSource.write_frames
        monkeypatch.setattr(StandInAudioSource, "write_frames", writing)
        monkeypatch.setattr(room, "tell_others", telling)
        monkeypatch.setattr(Participant, "speak", speaking)
        return script

    def speaks(self, who: str) -> bool:
        """Whether somebody has said something."""
        return any(event.who == who and event.what == "speaks" for event in self.events())

    def events(self) -> list[RoomEvent]:
        """Everything so far, in order."""
        speech = [
            event
            for who, pieces in self._said.items()
            for start, end in _stretches(pieces)
            for event in (RoomEvent(start, "speaks", who), RoomEvent(end, "silent", who))
        ]
        return sorted([*self._events, *speech], key=lambda event: event.at)

    def _told(self, participant: Participant, event: str) -> None:
        who, now = self._role(participant), time.monotonic()
        if event == "on_participant_joined":
            self._events.append(RoomEvent(now, "joins", who))
        if event == "on_participant_left":
            self._events.append(RoomEvent(now, "leaves", who))
            return
        is_on = participant.is_publishing
        if is_on != self._on.get(who, False):
            self._on[who] = is_on
            self._events.append(RoomEvent(now, "on" if is_on else "off", who))

    def _sounded(self, participant: Participant, at: float, audio: bytes, rate: int) -> None:
        samples = np.frombuffer(audio, np.int16).astype(np.int32)
        if len(samples) and np.abs(samples).max() > _LOUD:
            pieces = self._said.setdefault(self._role(participant), [])
            pieces.append((at, at + len(samples) / rate))

    def _role(self, participant: Participant) -> str:
        if participant.id not in self._roles:
            is_avatar = bool(participant.user_id)
            kind = "bot" if participant.client else "avatar" if is_avatar else "person"
            number = sum(role.startswith(kind) for role in self._roles.values()) + 1
            self._roles[participant.id] = kind if kind == "bot" else f"{kind} {number}"
        return self._roles[participant.id]


def _stretches(pieces: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Join pieces of sound to stretches of speech."""
    stretches: list[tuple[float, float]] = []
    for start, end in pieces:
        if stretches and start - stretches[-1][1] < _PAUSE_SECS:
            stretches[-1] = (stretches[-1][0], max(end, stretches[-1][1]))
        else:
            stretches.append((start, end))
    return stretches
