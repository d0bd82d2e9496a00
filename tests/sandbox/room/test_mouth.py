from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.sandbox.room.mouth import MOUTH_RATE, LipReader
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

OPEN, WIDE, TEETH, PRESS = range(4)


def read(audio: np.ndarray, *, piece: int = 16_000) -> np.ndarray:
    """Read a sound in pieces, as a page does that replaces what is revised; 0 to 1 each."""
    lips, frames = LipReader(), {}
    for start in range(0, len(audio), piece):
        movement = lips.read(audio[start : start + piece], continues=start > 0)
        at = start / WIRE_SAMPLE_RATE + movement.starts_after_secs
        first = round(at * MOUTH_RATE)
        assert first == pytest.approx(at * MOUTH_RATE, abs=1e-6)
        frames = {number: frame for number, frame in frames.items() if number < first}
        frames |= {first + n: frame for n, frame in enumerate(movement.frames)}
    assert sorted(frames) == list(range(len(frames)))
    return np.array([frames[number] for number in range(len(frames))]) / 255


def tones(secs: float, amplitudes: dict[int, float]) -> np.ndarray:
    times = np.arange(round(secs * WIRE_SAMPLE_RATE)) / WIRE_SAMPLE_RATE
    parts = (a * np.sin(2 * np.pi * hz * times) for hz, a in amplitudes.items())
    sound = sum(parts, np.zeros(len(times)))
    return np.rint(sound * 32767).astype(np.int16)


VOWEL = {150: 0.05, 700: 0.25, 1200: 0.15, 2500: 0.02}
SPREAD = {150: 0.05, 300: 0.2, 2300: 0.15, 2900: 0.12}
MURMUR = {200: 0.07, 400: 0.01, 1200: 0.01}
HISS = {4500: 0.05, 5500: 0.06, 6500: 0.05}


def middle(frames: np.ndarray, part: int) -> np.ndarray:
    """The middle of the second of three equal parts."""
    third = len(frames) // 3
    return frames[third + third // 3 : 2 * third - third // 3, part]


def between_vowels(secs: float, sound: dict[int, float]) -> np.ndarray:
    return np.concatenate([tones(secs, VOWEL), tones(secs, sound), tones(secs, VOWEL)])


def test_vowels_open_the_mouth_and_lips_close_on_m():
    frames = read(between_vowels(0.2, MURMUR))
    assert frames[5:15, OPEN].min() > 0.7
    assert middle(frames, PRESS).min() > 0.8
    assert middle(frames, OPEN).max() < 0.1


def test_lips_close_on_the_stop_of_a_p_and_not_in_a_pause():
    stop = read(between_vowels(0.08, {}))
    assert middle(stop, PRESS).max() > 0.7
    assert middle(stop, OPEN).max() < 0.2
    pause = read(between_vowels(0.5, {}))
    assert middle(pause, PRESS).max() == 0
    assert middle(pause, OPEN).max() == 0


def test_a_spread_vowel_is_wide_and_a_hiss_shows_teeth():
    assert middle(read(between_vowels(0.3, SPREAD)), WIDE).min() > 0.75
    assert middle(read(between_vowels(0.3, VOWEL)), WIDE).max() < 0.5
    assert middle(read(between_vowels(0.3, HISS)), TEETH).min() > 0.8
    assert middle(read(between_vowels(0.3, VOWEL)), TEETH).max() < 0.1


def test_the_mouth_follows_the_loudness_of_speech():
    rng = np.random.default_rng(7)
    syllables = [
        tones(0.12, {hz: a * rng.uniform(0.1, 1) for hz, a in VOWEL.items()}) for _ in "a" * 30
    ]
    sound = np.concatenate([np.concatenate([one, np.zeros(800, np.int16)]) for one in syllables])
    opened = read(sound)[:, OPEN]
    padded = np.pad(sound.astype(float), (200, 1000))
    loud = [np.sqrt(np.mean(padded[n * 160 : n * 160 + 400] ** 2)) for n in range(len(opened))]
    assert np.corrcoef(opened, loud)[0, 1] > 0.75


def test_silence_and_faint_noise_leave_the_mouth_shut():
    noise = np.random.default_rng(1).normal(0, 15, 16_000).astype(np.int16)
    for sound in (np.zeros(16_000, np.int16), noise):
        frames = read(sound)
        assert frames[:, OPEN].max() < 0.05
        assert frames[:, WIDE] == pytest.approx(128 / 255, abs=0.05)


def test_the_mouth_comes_to_rest_behind_the_last_sample():
    frames = read(tones(0.3, VOWEL))
    assert len(frames) == 30 + 5
    assert frames[-1].tolist() == pytest.approx([0, 128 / 255, 0, 0])


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(st.integers(1, 5000), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_in_whatever_pieces_a_sound_comes_the_lips_move_alike(sizes, seed):
    rng = np.random.default_rng(seed)
    sound = (between_vowels(0.2, MURMUR)[: sum(sizes)] * rng.uniform(0.2, 1)).astype(np.int16)
    whole = read(sound, piece=len(sound))
    lips, frames, start = LipReader(), {}, 0
    for size in sizes:
        piece = sound[start : start + size]
        if not len(piece):
            break
        movement = lips.read(piece, continues=start > 0)
        first = round((start / WIRE_SAMPLE_RATE + movement.starts_after_secs) * MOUTH_RATE)
        frames = {number: frame for number, frame in frames.items() if number < first}
        frames |= {first + n: frame for n, frame in enumerate(movement.frames)}
        start += len(piece)
    pieced = np.array([frames[number] for number in sorted(frames)]) / 255
    assert len(pieced) == len(whole)
    # What is loud is known only when it comes: the first syllable may be shown a little wider.
    assert np.abs(pieced[20:, OPEN] - whole[20:, OPEN]).max(initial=0) < 0.3
