"""A room in numbers: an avatar speaks in it, and somebody listens.

Nothing here needs a socket or a second: what the network makes of the sound is a row of
distortions, and all of it comes from a seed. So it can be counted how exact the latency is that
is heard, and how sure.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from pipecat_agenthuman.playout.envelopes import HeardSound, LaidSound
from pipecat_agenthuman.playout.hearing import Finding, Hearing, WentOn
from pipecat_agenthuman.playout.passages import PASSAGE_SECS, Passage, Verdict, judge
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE
from tests.support.voices import (
    EAR_RATE,
    LOUDNESS,
    Chance,
    Sound,
    music,
    noise,
    sayings,
    to_ear,
    to_pcm,
)

PIECE_SECS: Final = 0.04
MESSAGE_SECS: Final = 0.5
_PACKET_SECS: Final = 0.02


@dataclass(frozen=True)
class Way:
    """What happens to sound between the avatar and the ear.

    Attributes:
        loss: Share of the packets that are lost and patched over.
        snr_db: How far speech is above noise; None for none.
        stretch: By how much a jitter buffer stretches time at most.
        music_db: How loud music is beside the speech; None for none.
        gain_db: How much louder all of it arrives.
        late_secs: How late a piece arrives at most.
        holes: Share of the pieces that do not arrive at all.
    """

    loss: float = 0.0
    snr_db: float | None = None
    stretch: float = 0.0
    music_db: float | None = None
    gain_db: float = 0.0
    late_secs: float = 0.01
    holes: float = 0.0

    def take(self, sound: Sound, chance: Chance) -> tuple[Sound, Sound]:
        """Let a sound go this way.

        Returns:
            What arrives, and for each of its samples how much later it comes, in seconds.
        """
        sound = sound * np.float32(10.0 ** (self.gain_db / 20.0))
        packet = round(_PACKET_SECS * RATE)
        for lost in np.flatnonzero(chance.random(len(sound) // packet) < self.loss):
            if lost:
                before = sound[(lost - 1) * packet : lost * packet]
                sound[lost * packet : (lost + 1) * packet] = before * 0.5
        later = np.zeros(len(sound), np.float32)
        if self.stretch:
            at = np.arange(len(sound)) / RATE
            pace = 1.0 + self.stretch * np.sin(2.1 * at + chance.uniform(0, 6))
            source = np.cumsum(pace) - pace[0]
            sound = np.interp(source, np.arange(len(sound)), sound).astype(np.float32)
            later = ((np.arange(len(sound)) - source) / RATE).astype(np.float32)
        level = LOUDNESS / 4.0 * 10.0 ** (self.gain_db / 20.0)
        if self.snr_db is not None:
            sound = sound + noise(chance, len(sound) / RATE, level * 10.0 ** (-self.snr_db / 20.0))
        if self.music_db is not None:
            played = music(chance, len(sound) / RATE)[: len(sound)]
            sound = sound + played * np.float32(10.0 ** ((self.music_db + self.gain_db) / 20.0))
        return sound, later


@dataclass(frozen=True)
class Said:
    """An utterance, and the truth about it.

    Attributes:
        at: When its first message was confirmed.
        latency_secs: How much later it sounds, on the average of what is listened to.
        finding: What listening told, if anything.
        believed_secs: The latency that counted when it began.
    """

    at: float
    latency_secs: float
    finding: Finding | None
    believed_secs: float

    @property
    def error_secs(self) -> float | None:
        """How far off it was measured, if it was."""
        reading = self.finding and self.finding.reading
        return reading.secs - self.latency_secs if reading else None


@dataclass
class Talk:
    """A call in which an avatar speaks, and every utterance is listened to.

    Attributes:
        chance: Where all that varies comes from.
        latency: How late an utterance sounds, by its number.
        way: What happens to its sound.
        utterances: How many there are.
        drift: By how much the avatar's clock is slow.
        stalls: Whether the TTS service stalls within each.
        interrupts: Share of the utterances that are interrupted.
        things: What there is to say.
    """

    chance: Chance
    latency: Callable[[int], float]
    way: Way = field(default_factory=Way)
    utterances: int = 6
    drift: float = 0.0
    stalls: bool = False
    interrupts: float = 0.0
    things: tuple[Sound, ...] = field(default_factory=sayings)
    _steps: list[tuple[float, Callable[[Hearing], None]]] = field(default_factory=list)
    _sounds: list[tuple[float, Sound]] = field(default_factory=list)

    def run(self) -> list[Said]:
        """Have the call; returns what was said."""
        begins: dict[float, float] = {}
        now = 1.0
        for number in range(self.utterances):
            begins[now] = self.latency(number)
            now = self._say(now, begins[now]) + self.chance.uniform(0.4, 2.5)
        room = np.zeros(round((now + 6.0) * RATE), np.float32)
        for at, sound in self._sounds:
            first = round(at * RATE)
            room[first : first + len(sound)] += sound
        heard, later = self.way.take(room, self.chance)
        self._steps += self._pieces(heard)
        believed, findings = self._listen()
        said: list[Said] = []
        for at, latency_secs in begins.items():
            first = round((at + latency_secs) * RATE)
            stretched_secs = float(later[first : first + round(PASSAGE_SECS * RATE)].mean())
            truth_secs = latency_secs + stretched_secs + self.drift * PASSAGE_SECS / 2.0
            said.append(Said(at, truth_secs, findings.get(at), believed[at]))
        return said

    def _say(self, now: float, latency_secs: float) -> float:
        """Say something; returns when it is over."""
        saying = self.things[self.chance.integers(len(self.things))]
        self._steps.append((now, Hearing.begin_anew))
        is_interrupted = self.chance.random() < self.interrupts
        cut_at = now + self.chance.uniform(1.0, 4.0) if is_interrupted else math.inf
        stall_at = self.chance.uniform(0.3, 0.7) * len(saying) if self.stalls else -1
        at = ends_at = now
        size = round(MESSAGE_SECS * RATE)
        for start in range(0, len(saying), size):
            if start <= stall_at < start + size:
                at += self.chance.uniform(1.0, 1.8)
            if at >= cut_at:
                break
            audio = saying[start : start + size]
            self._steps.append((at, _confirm(audio, at, begins=start == 0)))
            starts_at, played = max(at + latency_secs, ends_at), self._play(audio)
            ends_at = starts_at + len(played) / RATE
            heard = len(played) if ends_at < cut_at else max(round((cut_at - starts_at) * RATE), 0)
            self._sounds.append((starts_at, played[:heard]))
            at += self.chance.uniform(0.2, MESSAGE_SECS)
        if cut_at < ends_at:
            self._steps.append((cut_at, lambda hearing: hearing.cut(cut_at)))
            self._steps.append((cut_at + 0.1, lambda hearing: hearing.stopped(cut_at + 0.1)))
        return min(ends_at, cut_at)

    def _play(self, audio: Sound) -> Sound:
        """What the avatar makes of a message."""
        if not self.drift:
            return audio
        at = np.arange(round(len(audio) * (1.0 + self.drift))) / (1.0 + self.drift)
        return np.interp(at, np.arange(len(audio)), audio).astype(np.float32)

    def _pieces(self, heard: Sound) -> Iterator[tuple[float, Callable[[Hearing], None]]]:
        """What arrives at the ear."""
        pcm = to_ear(heard)
        size = round(PIECE_SECS * EAR_RATE) * 2
        at = 0.0
        for number, first in enumerate(range(0, len(pcm), size)):
            if self.chance.random() < self.way.holes:
                continue
            late_secs = min(self.chance.exponential(self.way.late_secs / 3.0), self.way.late_secs)
            at = max(at, (number + 1) * PIECE_SECS + late_secs)
            yield at, functools.partial(_hear, pcm[first : first + size], at)

    def _listen(self) -> tuple[dict[float, float], dict[float, Finding]]:
        """By when it began: the latency that counted for an utterance, and what it told."""
        hearing = Hearing()
        hearing.open(0.0)
        believed: dict[float, float] = {}
        findings: dict[float, Finding] = {}
        for at, step in sorted(self._steps, key=lambda step: step[0]):
            step(hearing)
            believed.setdefault(at, hearing.latency.secs)
            while (finding := hearing.poll(at)) is not None:
                assert not isinstance(finding, WentOn), "every interruption worked"
                if isinstance(finding, Finding):
                    findings[finding.at] = finding
        return believed, findings


def _confirm(audio: Sound, at: float, *, begins: bool) -> Callable[[Hearing], None]:
    return lambda hearing: hearing.confirmed(to_pcm(audio), at, begins=begins)


def _hear(audio: bytes, at: float, hearing: Hearing) -> None:
    hearing.hear(audio, EAR_RATE, at)


WAYS: Final[dict[str, dict[str, Any]]] = {
    "clean": {},
    "5 % loss": {"way": Way(loss=0.05)},
    "20 % loss": {"way": Way(loss=0.2)},
    "noise 20 dB below": {"way": Way(snr_db=20.0)},
    "a clock 0.5 % slow": {"drift": 0.005},
    "stretched by 3 %": {"way": Way(stretch=0.03)},
    "20 dB quieter": {"way": Way(gain_db=-20.0)},
    "a TTS service that stalls": {"stalls": True},
    "interruptions": {"interrupts": 0.6},
    "music 20 dB below": {"way": Way(music_db=-20.0)},
    "pieces 0.1 s late": {"way": Way(late_secs=0.1)},
    "5 % of the pieces missing": {"way": Way(holes=0.05)},
    "much of it at once": {
        "way": Way(loss=0.08, snr_db=20.0, stretch=0.03, music_db=-30.0, late_secs=0.05),
        "stalls": True,
        "interrupts": 0.4,
        "drift": 0.001,
    },
}
"""What a call may be like, as arguments of ``Talk``."""


def calls(count: int, **room: Any) -> list[list[Said]]:
    """Calls with latencies of 0.2 to 1.5 s."""
    said: list[list[Said]] = []
    for seed in range(count):
        chance = np.random.default_rng(seed)
        latency_secs = chance.uniform(0.2, 1.5)
        said.append(Talk(chance, lambda _, secs=latency_secs: secs, **room).run())
    return said


def judge_in(said: Sound, heard: Sound) -> Verdict:
    """What comes of looking for what was confirmed at 1 s in what is heard from 0 s on."""
    expected, room, pcm = LaidSound(), HeardSound(20.0), to_ear(heard)
    expected.lay(to_pcm(said), 1.0)
    room.hear(pcm, EAR_RATE, len(pcm) / 2 / EAR_RATE)
    passage = Passage(1.0, 1.0 + len(said) / RATE, -math.inf)
    return judge(passage, expected, room).verdict
