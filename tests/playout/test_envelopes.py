"""Where sound lies on the clock, and how loud it was there."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.playout.envelopes import BANDS_HZ, FLOOR_DB, HOP_SECS, HeardSound, LaidSound
from pipecat_agenthuman.playout.envelopes import to_levels as levels_of

RATE = 8000


def tone(secs: float, hertz: float = 300.0, rate: int = RATE) -> np.ndarray:
    wave = np.sin(2 * np.pi * hertz * np.arange(round(secs * rate)) / rate)
    return (wave * 10_000).astype("<i2")


def silence(secs: float, rate: int = RATE) -> np.ndarray:
    return np.zeros(round(secs * rate), "<i2")


def pieces(sound: np.ndarray, secs: float = 0.02) -> list[bytes]:
    size = round(secs * RATE)
    return [sound[at : at + size].tobytes() for at in range(0, len(sound), size)]


def loud(sound: HeardSound | LaidSound, start: float, end: float) -> list[float]:
    """When something begins and when it ends, seconds behind ``start``."""
    rows = np.flatnonzero((sound.envelope(start, end).levels > -40.0).any(axis=1))
    return [rows[0] * HOP_SECS, (rows[-1] + 1) * HOP_SECS]


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
@pytest.mark.parametrize(("band", "hertz"), [(0, 300.0), (1, 700.0), (2, 1500.0), (3, 3000.0)])
def test_a_tone_is_as_loud_at_every_rate_and_in_its_band_only(rate, band, hertz):
    levels = levels_of(tone(1.0, hertz, rate), rate)
    assert len(levels) == pytest.approx(1.0 / HOP_SECS, abs=2)
    assert levels[:, band] == pytest.approx(-16.7, abs=1.0)
    others = [other for other in range(len(BANDS_HZ)) if other != band]
    assert (levels[:, others] < -35.0).all()


@pytest.mark.parametrize("samples", [0, 1, 159, 160, 161])
def test_less_than_a_step_has_no_level(samples):
    assert len(levels_of(silence(1.0)[:samples], RATE)) == (samples >= 160)


def test_silence_is_at_the_floor():
    assert (levels_of(silence(0.5), RATE) == np.float32(FLOOR_DB)).all()


def test_what_was_to_sound_lies_where_it_was_laid_and_else_there_is_silence():
    laid = LaidSound()
    laid.lay(tone(0.5, rate=16_000).tobytes(), 10.25)
    laid.lay(tone(0.25, rate=16_000).tobytes(), 11.0)
    assert loud(laid, 10.0, 10.9) == pytest.approx([0.25, 0.75], abs=0.02)
    assert loud(laid, 10.9, 11.5) == pytest.approx([0.1, 0.35], abs=0.02)
    assert laid.envelope(9.0, 12.0).known.all()


def test_what_is_taken_back_was_not_to_sound():
    laid = LaidSound()
    laid.lay(tone(1.0, rate=16_000).tobytes(), 10.0)
    before = laid.cut(10.5)
    assert loud(laid, 10.0, 11.0) == pytest.approx([0.0, 0.5], abs=0.02)
    assert loud(before, 10.0, 11.5) == pytest.approx([0.0, 1.0], abs=0.02)
    laid.lay(tone(0.2, rate=16_000).tobytes(), 11.2)
    assert loud(before, 10.0, 11.5) == pytest.approx([0.0, 1.0], abs=0.02)


def test_what_is_over_is_forgotten():
    laid = LaidSound()
    for second in range(100):
        laid.lay(tone(1.0, rate=16_000).tobytes(), float(second))
        laid.forget(second - 20.0)
    assert len(laid._pieces) <= 22


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    late_ms=st.lists(st.sampled_from([0, 0, 0, 1, 3, 8, 30, 120, 900]), min_size=50, max_size=50),
    offset_ms=st.integers(0, 1000),
)
def test_pieces_that_arrive_late_lie_where_the_punctual_ones_let_expect_them(late_ms, offset_ms):
    """However late they come: one that was in time is enough, and none comes early."""
    heard, began_at = HeardSound(20.0), 5.0 + offset_ms / 1000
    sound = np.concatenate([silence(0.3), tone(0.4), silence(0.3)])
    at = 0.0
    for number, piece in enumerate(pieces(sound)):
        late_secs = 0.0 if number >= 45 else late_ms[number] / 1000
        at = max(at, began_at + (number + 1) * 0.02 + late_secs)
        heard.hear(piece, RATE, at)
    for number in range(45):  # silence, and most of it in time
        heard.hear(pieces(silence(0.02))[0], RATE, max(at, began_at + 1.02 + number * 0.02))
    begins, ends = loud(heard, began_at, began_at + 1.2)
    assert begins == pytest.approx(0.3, abs=0.03)
    assert ends == pytest.approx(0.7, abs=0.03)


def test_a_hole_is_unknown_and_what_comes_behind_it_lies_where_it_arrived():
    heard = HeardSound(20.0)
    for number, piece in enumerate(pieces(tone(0.5))):
        heard.hear(piece, RATE, 5.0 + (number + 1) * 0.02)
    for number, piece in enumerate(pieces(tone(0.5))):
        heard.hear(piece, RATE, 7.0 + (number + 1) * 0.02)
    envelope = heard.envelope(5.0, 8.0)
    known = np.flatnonzero(envelope.known) * HOP_SECS
    assert known.min() == 0.0
    assert known.max() == pytest.approx(2.5, abs=0.03)
    assert not ((known > 0.5) & (known < 1.98)).any()
    assert envelope.known_share == pytest.approx(1 / 3, abs=0.02)


def test_all_that_came_at_once_lies_before_its_arrival():
    """After a stall of the event loop."""
    heard = HeardSound(20.0)
    for piece in pieces(np.concatenate([silence(0.5), tone(0.5)])):
        heard.hear(piece, RATE, 6.0)
    assert loud(heard, 5.0, 6.5) == pytest.approx([0.5, 1.0], abs=0.02)


def test_memory_is_bounded():
    heard = HeardSound(2.0)
    for number in range(1000):
        heard.hear(silence(0.02).tobytes(), RATE, number * 0.02)
    assert len(heard._pieces) <= 102


def test_another_rate_begins_anew():
    heard = HeardSound(20.0)
    heard.hear(tone(0.5).tobytes(), RATE, 5.5)
    heard.hear(tone(0.5, rate=48_000).tobytes(), 48_000, 6.0)
    assert loud(heard, 5.0, 6.5) == pytest.approx([0.5, 1.0], abs=0.03)
    assert not heard.envelope(5.0, 5.4).known.any()


def test_half_a_sample_is_none():
    heard = HeardSound(20.0)
    heard.hear(b"\x01", RATE, 5.0)
    heard.hear(tone(0.1).tobytes() + b"\x01", RATE, 5.1)
    assert loud(heard, 5.0, 5.2) == pytest.approx([0.0, 0.1], abs=0.02)


def test_a_part_and_what_is_known_of_it():
    heard = HeardSound(20.0)
    for number, piece in enumerate(pieces(tone(1.0))):
        heard.hear(piece, RATE, 5.0 + (number + 1) * 0.02)
    envelope = heard.envelope(5.0, 6.0)
    assert len(envelope.part(0.3).levels) == len(envelope.levels) - 30
    known = np.flatnonzero(envelope.known_between(0.2, 0.5).known) * HOP_SECS
    assert [known.min(), known.max()] == pytest.approx([0.2, 0.48])
    assert HeardSound(20.0).envelope(5.0, 5.0).known_share == 0.0
