"""Speech in the format of the TTS service, by the positions of its copy at 16 kHz."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.playout.originals import Original, Originals
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE as RATE


def frames(samples: int, channels: int = 1, first: int = 0) -> bytes:
    """Audio in which every sample of every channel tells its number."""
    return np.arange(first, first + samples * channels).astype("<u2").tobytes()


def kept(start: int, samples: int, rate: int = 24_000, channels: int = 1) -> Originals:
    originals = Originals()
    originals.begin(start, rate, channels)
    originals.write(frames(samples, channels), rate, channels)
    originals.end()
    return originals


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    rate=st.sampled_from([8000, 16_000, 22_050, 24_000, 48_000]),
    channels=st.sampled_from([1, 2]),
    start=st.integers(0, 100_000),
    cuts=st.lists(st.integers(2, 5000), min_size=1, max_size=8),
)
def test_read_piece_by_piece_it_is_whole(rate, channels, start, cuts):
    samples = sum(cuts) * rate // RATE
    originals = kept(start, samples, rate, channels)
    read = b""
    position = start
    for number, cut in enumerate(cuts):
        piece = originals.read(position, position + cut, is_last=number == len(cuts) - 1)
        assert piece is not None
        assert (piece.sample_rate, piece.num_channels) == (rate, channels)
        assert len(piece.audio) % (2 * channels) == 0
        read += piece.audio
        position += cut
        if number < len(cuts) - 1:
            done = (position - start) * rate // RATE
            assert len(read) == 2 * channels * done
    assert read == frames(samples, channels)


def test_the_rest_belongs_to_the_end():
    """The copy at 16 kHz is rounded to a sample."""
    originals = kept(0, 1000)
    assert originals.read(0, 600, is_last=True) == Original(frames(1000), 24_000, 1)


def test_what_was_not_kept_is_not_read():
    assert Originals().read(0, 100, is_last=False) is None
    assert kept(500, 1000).read(0, 100, is_last=False) is None


@pytest.mark.parametrize("start", [1, 160])
def test_an_utterance_is_read_from_its_beginning_on_or_not_at_all(start):
    """What the avatar said of it is in no format but its own."""
    originals = kept(0, 24_000)
    assert originals.read(start, start + 1600, is_last=False) is None


def test_one_whose_format_changes_is_not_kept():
    originals = Originals()
    originals.begin(0, 24_000, 1)
    originals.write(frames(100), 24_000, 1)
    originals.write(frames(100), 22_050, 1)
    originals.write(frames(100), 24_000, 1)
    assert originals.read(0, 100, is_last=False) is None


def test_one_for_which_there_is_no_room_is_not_kept_and_those_before_it_are(monkeypatch):
    monkeypatch.setattr("pipecat_agenthuman.playout.originals.KEPT_BYTES", 6000)
    originals = kept(0, 2400)
    originals.begin(1600, 24_000, 1)
    for _ in range(3):
        originals.write(frames(300), 24_000, 1)
    assert originals.read(0, 1600, is_last=True) == Original(frames(2400), 24_000, 1)
    assert originals.read(1600, 1700, is_last=False) is None
    originals.begin(2200, 24_000, 1)
    originals.write(frames(2400), 24_000, 1)
    assert originals.read(2200, 2300, is_last=False) is not None, "what was read makes room"


def test_utterances_are_kept_one_by_one_in_their_formats():
    originals = kept(0, 2400)
    originals.begin(1600, 48_000, 2)
    originals.write(frames(4800, 2), 48_000, 2)
    originals.end()
    originals.write(frames(9), 48_000, 2)
    assert originals.read(0, 1600, is_last=True) == Original(frames(2400), 24_000, 1)
    assert originals.read(1600, 3200, is_last=True) == Original(frames(4800, 2), 48_000, 2)


def test_what_lies_before_a_position_is_forgotten_and_all_when_the_tape_is_laid_anew():
    originals = kept(0, 2400)
    originals.begin(1600, 24_000, 1)
    originals.write(frames(2400, first=2400), 24_000, 1)
    originals.forget(1600)
    assert originals.read(0, 1600, is_last=True) is None
    assert originals.read(1600, 3200, is_last=True) == Original(frames(2400, first=2400), 24_000, 1)
    originals = kept(0, 2400)
    originals.clear()
    assert originals.read(0, 1600, is_last=True) is None
