"""Sounds with the rhythm of a voice, and others that are none. All of it comes from a seed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final

import numpy as np
import soxr
from numpy.typing import NDArray

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE

EAR_RATE: Final = 8000

LOUDNESS: Final = 0.3
"""Of full scale."""

Chance = np.random.Generator
Sound = NDArray[np.float32]
"""From -1 to 1, at 16 kHz until it reaches the ear."""


def speech(chance: Chance, secs: float) -> Sound:
    """Something with the rhythm and the spectrum of a voice, and no words."""
    pitch = chance.uniform(90.0, 230.0)
    parts: list[Sound] = []
    length = 0
    while length < secs * RATE:
        for _ in range(chance.integers(4, 12)):
            parts += (_syllable(chance, pitch), _silence(chance.uniform(0.0, 0.07)))
        parts.append(_silence(chance.uniform(0.1, 0.4)))
        length = sum(map(len, parts))
    voice = np.concatenate(parts)[: round(secs * RATE)]
    return (voice * (LOUDNESS / np.abs(voice).max())).astype(np.float32)


def _syllable(chance: Chance, pitch: float) -> Sound:
    consonant = round(chance.uniform(0.03, 0.1) * RATE)
    hiss = np.diff(chance.normal(0.0, 0.25, consonant + 1)) * chance.choice([0.1, 0.4, 1.0])
    vowel = np.arange(round(chance.uniform(0.07, 0.22) * RATE)) / RATE
    pitch *= chance.uniform(0.85, 1.2)
    harmonics = pitch * np.arange(1, int(3800 / pitch))
    formants = (chance.uniform(250, 850), chance.uniform(900, 2300), chance.uniform(2300, 3300))
    loudness = sum(
        weight * np.exp(-(((harmonics - formant) / 160.0) ** 2))
        for formant, weight in zip(formants, (1.0, 0.5, 0.25), strict=True)
    )
    waves = np.sin(2 * np.pi * harmonics[:, None] * vowel[None, :])
    shape = np.minimum(1.0, np.minimum(vowel, vowel[::-1]) / 0.02)
    sung = (loudness[:, None] * waves).sum(axis=0) * shape * chance.uniform(0.3, 1.0)
    return np.concatenate([hiss * np.hanning(consonant), sung]).astype(np.float32)


def _silence(secs: float) -> Sound:
    return np.zeros(round(secs * RATE), np.float32)


@functools.cache
def sayings(count: int = 24, secs: float = 6.0) -> tuple[Sound, ...]:
    """Things to say; the same each time."""
    return tuple(speech(np.random.default_rng(100 + seed), secs) for seed in range(count))


def music(chance: Chance, secs: float) -> Sound:
    """Four notes a second."""
    played = np.zeros(round(secs * RATE), np.float32)
    for start in range(0, len(played), RATE // 4):
        note = _note(int(chance.integers(0, 24)))[: len(played) - start]
        played[start : start + len(note)] += note
    return played * (LOUDNESS / np.abs(played).max())


@functools.cache
def _note(number: int) -> Sound:
    at = np.arange(RATE // 2) / RATE
    hertz = 220.0 * 2.0 ** (number / 12.0)
    tone = np.sin(2 * np.pi * hertz * at) + 0.5 * np.sin(4 * np.pi * hertz * at)
    return (tone * np.exp(-5.0 * at)).astype(np.float32)


def noise(chance: Chance, secs: float, level: float = LOUDNESS) -> Sound:
    """Noise of one loudness."""
    return chance.normal(0.0, level, round(secs * RATE)).astype(np.float32)


def to_pcm(sound: Sound) -> bytes:
    """Sound as the service takes it."""
    return (np.clip(sound, -1.0, 1.0) * 32767).astype("<i2").tobytes()


def to_ear(sound: Sound) -> bytes:
    """Sound as an ear takes it."""
    return to_pcm(soxr.resample(sound, RATE, EAR_RATE, quality="LQ"))


def unrelated(chance: Chance, things: tuple[Sound, ...] | None = None) -> tuple[Sound, Sound]:
    """Something that is said, and other speech that is heard from some moment on.

    What is said is of the first half of all things, what is heard of the second.
    """
    things = things or sayings()
    half = len(things) // 2
    said = things[chance.integers(half)]
    others = [things[half + number] for number in chance.permutation(half)[:4]]
    return said, np.concatenate([_silence(chance.uniform(0.0, 2.0)), *others])[: 8 * RATE]


NO_SPEECH: dict[str, Callable[[Chance], Sound]] = {
    "noise": lambda chance: noise(chance, 8.0, chance.uniform(0.01, 0.2)),
    "noise in bursts": lambda chance: (
        noise(chance, 8.0, 1.0) * np.repeat(10 ** chance.uniform(-4.0, -0.7, 80), RATE // 10)
    ),
    "music": lambda chance: music(chance, 8.0),
    "silence": lambda _: _silence(8.0),
}
"""What may be heard instead of what was said."""
