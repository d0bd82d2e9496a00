"""A playout in virtual time, with a server that confirms when a test says so."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pipecat_agenthuman.playout.cues import Release, Speaking, Started, Stopped
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.playout.results import Held, Interruption, Portion, Speech
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE

LATENCY = 0.5
"""What a pace takes for the avatar's, unless it is told."""


def pcm(secs: float, first: int = 0) -> bytes:
    """Audio in which every sample tells its number."""
    return np.arange(first, first + round(secs * RATE)).astype("<i2").tobytes()


UNPACED = Pace(
    max_lead_secs=None,
    min_first_message_secs=0,
    max_first_message_secs=0,
    max_message_secs=100,
)


def speech_of(parts: list[Speech | Held[str]]) -> bytes:
    """All the audio that was handed over."""
    return b"".join(part.audio for part in parts if isinstance(part, Speech))


def next_due(playout: Playout[Any]) -> float | None:
    """When a playout has its next output; None if only news can help."""
    cue = playout.next_cue()
    return None if cue is None else cue.at


def poll(playout: Playout[Any], now: float) -> Any:
    """Take the next output that is due, or None."""
    cue = playout.next_cue()
    return None if cue is None or cue.at > now else cue.take()


def driver_due(playout: Playout[Any], now: float, *, can_send: bool = True) -> float | None:
    """When a driver has something to do, if nothing else happens before."""
    times = [next_due(playout), playout.outgoing.sending_due(now) if can_send else None]
    return min((time for time in times if time is not None), default=None)


class VirtualPlayout:
    """A playout, its time, and everything that it put out, with times."""

    def __init__(self, pace: Pace | None = None, confirm_secs: float = 0.0) -> None:
        self.playout: Playout[str] = Playout(pace or UNPACED)
        self.playout.outgoing.confirm_secs = confirm_secs
        self.now = 0.0
        self.written = 0
        self.sent: list[bytes] = []
        self.heard = bytearray()
        self.cues: list[tuple[float, str]] = []

    # --- in ---

    def write(self, secs: float, *, interruptible: bool = True, origin: float | None = None):
        audio = pcm(secs, self.written)
        self.written += len(audio) // 2
        self.playout.write(audio, self.now, interruptible=interruptible, origin_secs=origin)

    def say(self, secs: float, text: str, *, interruptible: bool = True) -> None:
        """A whole utterance as a TTS service delivers it: start, audio, text, stop."""
        self.playout.hold(f"<{text}", interruptible=interruptible)
        self.playout.open_utterance(interruptible=interruptible)
        self.write(secs, interruptible=interruptible)
        self.playout.hold(text, interruptible=interruptible)
        self.playout.close_utterance()
        self.playout.hold(f"{text}>", interruptible=interruptible, ends_speech=True)

    def send(self, *, avoid: set[int] | None = None) -> int:
        """Send one message; returns its samples, 0 if there was none."""
        message = self.playout.outgoing.take_message(self.now, avoid=avoid or set())
        if message is None:
            return 0
        self.sent.append(message.audio)
        return message.samples

    def send_all(self) -> None:
        """Send and confirm, at once, whatever may be sent."""
        while self.send():
            self.playout.outgoing.confirmed(self.now)

    def give(self, secs: float = 100.0) -> Portion | None:
        """Let somebody play a portion, right behind what he plays already."""
        portion = self.playout.outgoing.take_portion(self.now, round(secs * RATE))
        if portion is not None:
            self.sent.append(portion.audio)
            self.playout.outgoing.sounds(portion.samples, self.now)
        return portion

    def give_all(self) -> None:
        """Let somebody play whatever may be played."""
        while self.give() is not None:
            pass

    def interrupt(self) -> Interruption:
        interruption = self.playout.interrupt(self.now)
        self.heard += interruption.heard
        return interruption

    @property
    def sent_samples(self) -> int:
        return sum(len(audio) // 2 for audio in self.sent)

    # --- out ---

    def until(self, time: float) -> list[tuple[float, str]]:
        """Let time pass, as the driver does; returns what came out, ticks left out."""
        return [cue for cue in self.all_until(time) if cue[1] != "tick"]

    def all_until(self, time: float) -> list[tuple[float, str]]:
        before = len(self.cues)
        while True:
            due = next_due(self.playout)
            self.now = min(time, max(self.now, math.inf if due is None else due))
            while (cue := poll(self.playout, self.now)) is not None:
                self.cues.append((round(self.now, 4), self._name(cue)))
            self.heard += self.playout.take_heard(self.now)
            if due is None or due > time:
                self.now = time
                self.heard += self.playout.take_heard(self.now)
                return self.cues[before:]

    @staticmethod
    def _name(cue: object) -> str:
        match cue:
            case Started(silent=silent):
                return "started in silence" if silent else "started"
            case Stopped():
                return "stopped"
            case Speaking():
                return "tick"
            case Release(item, unheard):
                return f"{item} (unheard)" if unheard else item
        raise AssertionError(cue)
