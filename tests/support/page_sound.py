"""What a page plays and draws, as it can be measured from outside of its code."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import soxr
from numpy.typing import NDArray

from pipecat_agenthuman.demo.espeak import EspeakSynthesizer
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.browser import Visit
from tests.support.sounds import RATE

_ON_ITS_WAY_SECS: Final = 0.3
"""From what sounds now to where it is recorded."""

_FAR_SECS: Final = 60.0
_LOUD: Final = 0.05

ALIKE: Final = 0.75
"""How like a sound its recording is at least; it is 1.0 where the machine has time for it, and
0.3 for any other sound."""

Floats = NDArray[np.float64]

_TAP = """
async () => {
  // The microphone's worklet hands on what it hears, 20 ms at a time: here, what is played.
  const { player, stage, clock } = agentHumanRoom;
  const context = player.context;
  await context.audioWorklet.addModule("/room/microphone-worklet.js");
  const tap = new AudioWorkletNode(context, "microphone", { numberOfOutputs: 0 });
  const pieces = [];
  tap.port.onmessage = ({ data }) => pieces.push(...new Int16Array(data.pcm));
  // Something always comes in, or the time between two sounds would be left out.
  const silence = context.createConstantSource();
  silence.offset.value = 0;
  silence.connect(tap);
  silence.start();
  // A click at a time that is known tells what time the recording began.
  const click = context.createBufferSource();
  click.buffer = context.createBuffer(1, 1, context.sampleRate);
  click.buffer.getChannelData(0)[0] = 1;
  click.connect(tap);
  const clickAt = context.currentTime + 0.1;
  click.start(clickAt);
  const wasHeard = () => pieces.some((sample) => sample > 32000);
  while (!wasHeard()) await new Promise((done) => setTimeout(done, 10));
  player.output.connect(tap); // and not before: speech over the click would hide it
  const drawn = [];
  stage.onDrawn = (at, mouth) => drawn.push([at, mouth.open, mouth.press]);
  const offsets = [];
  setInterval(() => {
    const { contextTime, performanceTime } = context.getOutputTimestamp();
    offsets.push(clock.at(performanceTime / 1000) - contextTime);
  }, 40);
  globalThis.testTap = () => {
    const sorted = offsets.toSorted((a, b) => a - b);
    return { pieces, drawn, clickAt: clickAt + sorted[sorted.length >> 1] };
  };
}
"""


@cache
def speech(text: str) -> NDArray[np.int16]:
    """A text, spoken: 16-bit samples at 16 kHz."""
    spoken = EspeakSynthesizer().synthesize(text)
    samples = np.frombuffer(spoken.audio, "<i2").astype(np.float32) / 32768
    return (soxr.resample(samples, spoken.sample_rate, RATE) * 30_000).astype(np.int16)


@dataclass(frozen=True)
class Recording:
    """What a page played and drew.

    Attributes:
        played: Samples at 16 kHz, from -1 to 1.
        began_at: When the first of them was heard, in seconds since the sandbox started.
        drawn: Rows of such a time, the mouth's opening, and how far the lips are pressed.
    """

    played: Floats
    began_at: float
    drawn: Floats

    def between(self, first: float, last: float) -> Floats:
        """What was played between two times."""
        start, end = (max(0, round((at - self.began_at) * RATE)) for at in (first, last))
        return self.played[start:end]

    def sounds_until(self, at: float) -> float:
        """For how many seconds something was still heard after a time, within a second."""
        loud = np.nonzero(np.abs(self.between(at, at + 1)) > 1e-3)[0]
        return (loud[-1] + 1) / RATE if len(loud) else 0.0

    def opening(self, at: Floats) -> Floats:
        """How far the drawn mouth was open."""
        return np.interp(at, self.drawn[:, 0], self.drawn[:, 1])


async def record(visit: Visit) -> None:
    """Begin to record what a page plays and draws."""
    await visit.turn_sound_on()
    await visit.look(_TAP)


async def recorded(visit: Visit) -> Recording:
    """What it has played and drawn since ``record``, and until now."""
    await asyncio.sleep(_ON_ITS_WAY_SECS)
    taken: dict[str, Any] = await visit.look("testTap()")
    pieces = np.array(taken["pieces"]) / 32767
    click = int(np.argmax(pieces > 0.98))
    pieces[click] = 0
    return Recording(pieces, taken["clickAt"] - click / RATE, np.array(taken["drawn"]))


async def until_sounds(visit: Visit, since: float) -> None:
    """Wait until a page has played something after a time."""
    while True:
        played = (await recorded(visit)).between(since, since + _FAR_SECS)
        if np.abs(played).max(initial=0) > _LOUD:
            return


@dataclass(frozen=True)
class Truth:
    """What a listener in the room has heard without a break.

    Attributes:
        audio: Samples from -1 to 1.
        starts_at: In seconds since the sandbox started.
    """

    audio: Floats
    starts_at: float

    @property
    def ends_at(self) -> float:
        return self.starts_at + len(self.audio) / RATE

    def since(self, at: float) -> Truth:
        """What of it was heard from a time on."""
        return Truth(self.audio[round((at - self.starts_at) * RATE) :], at)

    def loudness(self, at: Floats) -> Floats:
        """The sound's level around times, over 40 ms."""
        half = round(0.02 * RATE)
        padded = np.pad(self.audio, half)
        middles = np.clip(np.round((at - self.starts_at) * RATE).astype(int), 0, len(self.audio))
        return np.array([np.sqrt(np.mean(padded[m : m + 2 * half] ** 2)) for m in middles])


def heard_in(sandbox: Sandbox, session_id: str | None = None) -> list[Truth]:
    """What was heard in the sandbox, as pieces without a break."""
    heard = sandbox.heard(session_id)
    return [
        Truth(
            heard.audio[one.first_sample : one.first_sample + one.samples] / 32768,
            one.starts_at - sandbox.started_at,
        )
        for one in heard.segments
    ]


def lag_secs(recording: Recording, truth: Truth) -> tuple[float, float]:
    """By how much a page was late with a sound, and how like the sound it was (1: the same)."""
    reach = 0.3
    played = recording.between(truth.starts_at - reach, truth.ends_at + reach)
    size = 1 << (len(played) + len(truth.audio)).bit_length()
    spectrum = np.fft.rfft(played, size) * np.conj(np.fft.rfft(truth.audio, size))
    likeness = np.fft.irfft(spectrum)[: round(2 * reach * RATE)]
    best = int(np.argmax(likeness))
    there = played[best : best + len(truth.audio)]
    scale = np.sqrt(np.sum(truth.audio**2) * np.sum(there**2)) + 1e-9
    return best / RATE - reach, float(likeness[best] / scale)


def mouth_lag_secs(recording: Recording, truth: Truth) -> tuple[float, float]:
    """By how much the drawn mouth was late for the sound, and how they correlate.

    The correlation is that of the pictures that were drawn, however few a busy machine draws,
    with the sound at their own times.
    """
    at = np.arange(truth.starts_at, truth.ends_at, 0.01)
    loudness = truth.loudness(at)
    lags = np.arange(-0.12, 0.121, 0.01)
    found = [np.corrcoef(recording.opening(at + lag), loudness)[0, 1] for lag in lags]
    shown_at = recording.drawn[:, 0]
    shown = recording.drawn[(shown_at >= truth.starts_at) & (shown_at < truth.ends_at)]
    correlation = np.corrcoef(shown[:, 1], truth.loudness(shown[:, 0]))[0, 1]
    return float(lags[int(np.argmax(found))]), float(correlation)
