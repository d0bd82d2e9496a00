"""Speech for tests, and how to tell afterwards what was heard of it.

There are two kinds. *Numbered* samples tell their place: sample number *n* of a call has the
value *n* + 1, and silence is 0. So it can be counted, to the sample, what the listener in the
room heard of the avatar and what the transport was given to play in its stead. *Noise* is
found again in any recording: that of another seed is another.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

RATE: Final = WIRE_SAMPLE_RATE

END_SECS: Final = 0.1
"""How far the end of a call may lie before the last sound, on a busy machine."""

HAS_UNINTERRUPTIBLE_SPEECH: Final = "interruptible" in {known.name for known in fields(Frame)}
"""Whether this Pipecat has speech that an interruption leaves alone."""

Counts = NDArray[np.int64]
"""How often each sample was heard, by its number."""


def numbered(numbers: range) -> bytes:
    """The samples with these numbers, as PCM."""
    assert numbers.stop < 1 << 16, "sample numbers repeat"
    return (np.arange(numbers.start, numbers.stop) + 1).astype("<u2").tobytes()


def counted(audio: bytes | NDArray[np.int16], said: int) -> Counts:
    """How often each of the numbered samples that were said occurs in a sound."""
    samples = np.frombuffer(audio, "<i2") if isinstance(audio, bytes) else audio.astype("<i2")
    return np.bincount(samples.view("<u2"), minlength=said + 1)[1 : said + 1]


def once(counts: Counts, said: range) -> bool:
    """Whether an utterance was heard, and no sample of it twice.

    Its end is given a little: at the end of a call the avatar leaves when the service believes
    that the last sample was heard, and on a busy machine it knows that to some milliseconds.
    """
    surely = counts[said.start : said.stop - round(END_SECS * RATE)]
    return bool((surely == 1).all() and (counts[said.start : said.stop] <= 1).all())


def never(counts: Counts, said: range) -> bool:
    """Whether nothing of an utterance was heard."""
    return not counts[said.start : said.stop].any()


def noise(
    secs: float,
    *,
    seed: int = 1,
    rate: int = RATE,
    channels: int = 1,
    frame_secs: float = 0.04,
    context_id: str | None = None,
) -> list[TTSAudioRawFrame]:
    """Noise without a silent sample, cut into frames."""
    chance = np.random.default_rng(seed)
    samples = round(secs * rate) * channels
    loudness = chance.integers(1, 9000, samples)
    pcm = (loudness * chance.choice([-1, 1], samples)).astype("<i2").tobytes()
    step = round(frame_secs * rate) * 2 * channels
    return [
        TTSAudioRawFrame(pcm[at : at + step], rate, channels, context_id=context_id)
        for at in range(0, len(pcm), step)
    ]


def utterance(audio: Iterable[Frame], context_id: str | None = None) -> list[Frame]:
    """Audio, announced and ended as TTS services do."""
    started = TTSStartedFrame(context_id=context_id)
    return [started, *audio, TTSStoppedFrame(context_id=context_id)]


def keep(frame: Any) -> Any:
    """Make a frame one that an interruption leaves alone."""
    frame.interruptible = False
    return frame
