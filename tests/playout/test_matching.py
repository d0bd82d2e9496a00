"""By how much one sound lies behind another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.playout.envelopes import Envelope, HeardSound, LaidSound
from pipecat_agenthuman.playout.matching import match
from tests.support.voices import EAR_RATE, RATE, Sound, noise, sayings, to_ear, to_pcm


def wanted(sound: Sound, secs: float) -> Envelope:
    laid = LaidSound()
    laid.lay(to_pcm(sound), 0.3)
    return laid.envelope(0.0, 0.3 + secs)


def room(sound: Sound, at: float, secs: float) -> Envelope:
    """What is heard when a sound begins at a moment, of a span that begins at 0."""
    silent = np.zeros(round(at * RATE), np.float32)
    heard, pcm = HeardSound(20.0), to_ear(np.concatenate([silent, sound, np.zeros(8 * RATE)]))
    heard.hear(pcm, EAR_RATE, len(pcm) / 2 / EAR_RATE)
    return heard.envelope(0.0, secs)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    number=st.integers(0, 23),
    shift_ms=st.integers(20, 2400),
    secs=st.sampled_from([2.0, 3.0]),
    gain_db=st.sampled_from([-25.0, 0.0, 6.0]),
)
def test_the_same_sound_is_found_wherever_it_is_and_however_loud(number, shift_ms, secs, gain_db):
    sound = sayings()[number][: round(secs * RATE)]
    louder = sound * np.float32(10 ** (gain_db / 20))
    found = match(wanted(sound, secs), room(louder, 0.3 + shift_ms / 1000, 0.3 + secs + 2.5))
    assert found is not None
    assert found.is_sure
    assert found.quality > 0.9
    assert found.shift_secs == pytest.approx(shift_ms / 1000, abs=0.003)


def test_another_sound_is_found_nowhere_surely():
    found = match(wanted(sayings()[0], 3.0), room(sayings()[1], 0.8, 5.8))
    assert found is not None
    assert not found.is_sure


def test_a_sound_that_is_there_twice_is_at_no_sure_place():
    sound = sayings()[3][: round(1.2 * RATE)]
    twice = np.concatenate([sound, np.zeros(RATE // 4, np.float32), sound])
    found = match(wanted(sound, 1.2), room(twice, 0.7, 4.0))
    assert found is not None
    assert found.margin < 0.2
    assert not found.is_sure


def test_so_little_that_it_fits_anywhere_is_at_no_place():
    assert (
        match(wanted(sayings()[0][: round(0.3 * RATE)], 0.4), room(sayings()[0], 0.5, 4.0)) is None
    )


def test_where_nothing_is_known_nothing_is_looked_for():
    heard = room(sayings()[0], 0.8, 5.8)
    deaf = Envelope(heard.levels, np.zeros_like(heard.known))
    assert match(wanted(sayings()[0], 3.0), deaf) is None


@pytest.mark.parametrize(
    "sound", [np.zeros(4 * RATE, np.float32), noise(np.random.default_rng(1), 4)]
)
def test_what_never_rises_is_at_no_sure_place(sound):
    found = match(wanted(sayings()[0], 3.0), room(sound, 0.0, 5.8))
    assert found is None or not found.is_sure


def test_what_is_hidden_behind_an_interruption_does_not_count():
    """Only the first 1.6 s sounded; then somebody else speaks."""
    said, other = sayings()[5][: 3 * RATE], sayings()[6]
    mixed = np.concatenate([said[: round(1.6 * RATE)], other])
    heard = room(mixed, 0.3 + 0.7, 5.8)
    plain = match(wanted(said, 3.0), heard)
    masked = match(wanted(said, 3.0), heard.known_between(-np.inf, 0.3 + 0.7 + 1.6))
    assert plain is not None
    assert masked is not None
    assert masked.is_sure
    assert masked.shift_secs == pytest.approx(0.7, abs=0.005)
    assert masked.quality > plain.quality


def test_a_span_that_is_too_short_has_no_place():
    assert match(wanted(sayings()[0], 3.0), room(sayings()[0], 0.3, 2.0)) is None
