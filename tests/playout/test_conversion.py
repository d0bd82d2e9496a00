"""Speech of any format, to the sample."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipecat_agenthuman.playout.conversion import SpeechConverter

WIRE_RATE = 16_000
RATES = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000]


def tone(secs: float, rate: int, *, hertz: float = 440.0, loudness: float = 12_000) -> np.ndarray:
    return np.rint(loudness * np.sin(2 * np.pi * hertz * np.arange(round(secs * rate)) / rate))


def pcm(*channels: np.ndarray) -> bytes:
    return np.stack(channels, axis=1).astype("<i2").tobytes()


def noise(samples: int, channels: int, seed: int = 0) -> bytes:
    values = np.random.default_rng(seed).integers(-20_000, 20_000, samples * channels)
    return values.astype("<i2").tobytes()


def cut(audio: bytes, sizes: list[int]) -> list[bytes]:
    """Pieces of the sizes, over and over."""
    pieces, start = [], 0
    for size in itertools.cycle(sizes):
        pieces.append(audio[start : start + size])
        start += size
        if start >= len(audio):
            return pieces
    raise AssertionError


def converted(pieces: list[bytes], rate: int, channels: int = 1) -> np.ndarray:
    converter = SpeechConverter()
    out = b"".join(converter.convert(piece, rate, channels) for piece in pieces)
    return np.frombuffer(out + converter.flush(), dtype="<i2").astype(int)


def level(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples.astype(float)))))


# --- sample-exactness -----------------------------------------------------------------------

rates = st.one_of(st.sampled_from(RATES), st.integers(8_000, 48_000))
cuttings = st.lists(st.integers(0, 3000), min_size=1, max_size=8).filter(any)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(rate=rates, channels=st.integers(1, 4), samples=st.integers(0, 6000), sizes=cuttings)
def test_as_much_comes_out_as_went_in_however_it_is_cut(rate, channels, samples, sizes):
    audio = noise(samples, channels)
    out = converted(cut(audio, sizes), rate, channels)
    assert abs(len(out) - samples * WIRE_RATE / rate) <= 1
    assert np.array_equal(out, converted([audio], rate, channels))


formats = st.lists(
    st.tuples(st.sampled_from(RATES), st.integers(1, 3), st.integers(0, 3000)),
    min_size=1,
    max_size=8,
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(formats=formats, sizes=cuttings)
def test_a_format_that_changes_costs_no_sample(formats, sizes):
    converter = SpeechConverter()
    produced, expected = 0, 0.0
    for rate, channels, samples in formats:
        expected += samples * WIRE_RATE / rate
        for piece in cut(noise(samples, channels), sizes):
            produced += len(converter.convert(piece, rate, channels)) // 2
    produced += len(converter.flush()) // 2
    assert abs(produced - expected) <= 1


def test_a_minute_in_frames_of_20_ms_is_a_minute():
    for rate in RATES:
        frame = bytes(2 * round(rate * 0.02))
        frames = 3000
        out = converted([frame] * frames, rate)
        assert abs(len(out) - frames * len(frame) / 2 * WIRE_RATE / rate) <= 1


@pytest.mark.parametrize("rate", RATES)
def test_the_same_audio_gives_the_same_samples_every_time(rate):
    audio = [noise(rate // 4, 1)]
    assert np.array_equal(converted(audio, rate), converted(audio, rate))


@pytest.mark.parametrize("rate", RATES)
def test_silence_stays_silent(rate):
    assert not converted([bytes(rate)], rate).any()


def test_audio_in_the_format_of_the_wire_is_not_touched():
    audio = noise(5000, 1)
    out = converted(cut(audio, [7, 320, 0, 1]), WIRE_RATE)
    assert out.astype("<i2").tobytes() == audio


def test_audio_in_the_format_of_the_wire_does_not_wait():
    converter = SpeechConverter()
    assert len(converter.convert(bytes(640), WIRE_RATE, 1)) == 640
    assert converter.flush() == b""


# --- bytes ----------------------------------------------------------------------------------


def test_nothing_in_is_nothing_out():
    converter = SpeechConverter()
    for rate, channels in itertools.product(RATES, (1, 2, 3)):
        assert converter.convert(b"", rate, channels) == b""
    assert converter.flush() == b""


def test_half_a_sample_waits_for_its_other_half():
    converter = SpeechConverter()
    assert converter.convert(b"\x01", WIRE_RATE, 1) == b""
    assert converter.convert(b"\x02\x03", WIRE_RATE, 1) == b"\x01\x02"
    assert converter.convert(b"\x04", WIRE_RATE, 1) == b"\x03\x04"


def test_one_channel_waits_for_the_other():
    converter = SpeechConverter()
    left_and_half = pcm(np.array([100]), np.array([300]))[:3]
    assert converter.convert(left_and_half, WIRE_RATE, 2) == b""
    rest = pcm(np.array([100]), np.array([300]))[3:]
    assert converter.convert(rest, WIRE_RATE, 2) == np.array([200], dtype="<i2").tobytes()


def test_half_a_sample_at_the_end_of_an_utterance_is_dropped():
    converter = SpeechConverter()
    converter.convert(b"\x01\x02\x03", WIRE_RATE, 1)
    assert converter.flush() == b""
    assert converter.convert(b"\x05\x06", WIRE_RATE, 1) == b"\x05\x06"


def test_half_a_sample_does_not_shift_audio_of_another_format():
    for rate, channels in [(24_000, 1), (WIRE_RATE, 2)]:
        converter = SpeechConverter()
        converter.convert(b"\x01", rate, channels)
        assert converter.convert(b"\x05\x06", WIRE_RATE, 1)[-2:] == b"\x05\x06"


# --- channels -------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", RATES)
def test_channels_are_averaged(rate):
    left, right = tone(0.2, rate, hertz=300), tone(0.2, rate, hertz=1000)
    both = converted([pcm(left, right)], rate, 2)
    alone = [converted([pcm(channel)], rate) for channel in (left, right)]
    assert np.abs(both - sum(alone) / 2).max() <= 2


def test_opposite_channels_cancel_and_equal_ones_stay():
    left = tone(0.1, 24_000)
    assert np.abs(converted([pcm(left, -left)], 24_000, 2)).max() == 0
    assert np.array_equal(converted([pcm(left, left)], 24_000, 2), converted([pcm(left)], 24_000))


def test_the_loudest_channels_do_not_overflow():
    loud = np.full(100, -32_768)
    assert converted([pcm(*[loud] * 8)], WIRE_RATE, 8).tolist() == [-32_768] * 100


def test_channels_that_come_and_go_make_no_click():
    mono = tone(0.4, 24_000)
    half = len(mono) // 2
    converter = SpeechConverter()
    out = converter.convert(pcm(mono[:half]), 24_000, 1)
    out += converter.convert(pcm(mono[half:], mono[half:]), 24_000, 2) + converter.flush()
    assert out == converted([pcm(mono)], 24_000).astype("<i2").tobytes()


# --- quality --------------------------------------------------------------------------------


@pytest.mark.parametrize("hertz", [100.0, 440.0, 3000.0])
@pytest.mark.parametrize("rate", RATES)
def test_a_sine_stays_the_same_sine_in_frames_of_20_ms(rate, hertz):
    """The same loudness and the same phase: neither clicks at the frames' seams nor a delay."""
    sine = tone(0.5, rate, hertz=hertz)
    frame_bytes = 2 * round(rate * 0.02)
    out = converted(cut(pcm(sine), [frame_bytes]), rate)
    wanted = tone(0.5, WIRE_RATE, hertz=hertz)[: len(out)]
    inner = slice(200, len(wanted) - 200)
    error = out[inner] - wanted[inner]
    assert level(error) < level(wanted) / 1000
    assert np.abs(error).max() < 30


@pytest.mark.parametrize("hertz", [1000.0, 5000.0, 6500.0, 7000.0])
@pytest.mark.parametrize("rate", [22_050, 24_000, 32_000, 44_100, 48_000])
def test_all_that_is_lost_of_speech_is_what_rounding_to_16_bits_costs(rate, hertz):
    loudness = 30_000.0
    out = converted(
        cut(pcm(tone(0.5, rate, hertz=hertz, loudness=loudness)), [2 * round(rate * 0.02)]), rate
    )
    exact = loudness * np.sin(2 * np.pi * hertz * np.arange(len(out)) / WIRE_RATE)
    inner = slice(1000, -1000)
    error = level(out[inner] - exact[inner])
    # Rounded twice, before and behind the resampler: 94.3 dB below a tone this loud.
    assert 20 * np.log10(loudness / np.sqrt(2) / error) > 93.5


@pytest.mark.parametrize("rate", [22_050, 24_000, 44_100, 48_000])
def test_the_first_sound_comes_with_the_second_frame(rate):
    frames = cut(pcm(tone(0.1, rate)), [2 * round(rate * 0.02)])
    converter = SpeechConverter()
    assert any(converter.convert(frame, rate, 1) for frame in frames[:2])


@pytest.mark.parametrize("rate", [22_050, 24_000, 32_000, 44_100, 48_000])
def test_what_16_khz_cannot_carry_is_not_folded_into_the_speech(rate):
    out = converted([pcm(tone(0.5, rate, hertz=9500.0))], rate)
    assert level(out[400:-400]) < 12


def test_the_loudest_audio_is_clipped_and_does_not_wrap_around():
    square = np.where(tone(0.2, 48_000) > 0, 32_767, -32_768)
    out = converted([pcm(square)], 48_000)
    wanted = np.where(tone(0.2, WIRE_RATE) > 0, 1, -1)[: len(out)]
    assert np.mean(np.sign(out) == wanted) > 0.97
    assert out.max() == 32_767
    assert out.min() == -32_768


# --- utterances -----------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [22_050, 24_000, 48_000])
def test_the_tail_comes_with_the_flush_and_only_once(rate):
    converter = SpeechConverter()
    audio = noise(rate // 10, 1)
    before = converter.convert(audio, rate, 1)
    tail = converter.flush()
    assert tail
    assert abs(len(before + tail) / 2 - WIRE_RATE / 10) <= 1
    assert converter.flush() == b""


@pytest.mark.parametrize("rate", [22_050, 24_000, 48_000])
@pytest.mark.parametrize("end", ["flush", "reset"])
def test_nothing_of_one_utterance_gets_into_the_next(rate, end):
    converter = SpeechConverter()
    converter.convert(noise(1234, 1) + b"\x01", rate, 1)
    getattr(converter, end)()
    second = noise(4321, 1, seed=1)
    out = converter.convert(second, rate, 1) + converter.flush()
    assert out == converted([second], rate).astype("<i2").tobytes()


def test_a_reset_drops_the_tail():
    converter = SpeechConverter()
    converter.convert(noise(2400, 1), 24_000, 1)
    converter.reset()
    assert converter.flush() == b""


# --- formats that cannot be -----------------------------------------------------------------


@pytest.mark.parametrize("rate", [0, -16_000, 1, 3_999, 192_001, 10**9])
def test_an_impossible_rate_is_refused_with_its_number(rate):
    with pytest.raises(ValueError, match=f"{rate} Hz"):
        SpeechConverter().convert(bytes(64), rate, 1)


@pytest.mark.parametrize("channels", [0, -1, 9, 1000])
def test_an_impossible_number_of_channels_is_refused_with_the_number(channels):
    with pytest.raises(ValueError, match=f"{channels} channels"):
        SpeechConverter().convert(bytes(64), 16_000, channels)


def test_a_refused_frame_leaves_the_utterance_as_it_was():
    audio = noise(4800, 1)
    converter = SpeechConverter()
    out = converter.convert(audio[:4801], 24_000, 1)
    with pytest.raises(ValueError, match="0 Hz"):
        converter.convert(b"\x00\x00", 0, 1)
    out += converter.convert(audio[4801:], 24_000, 1) + converter.flush()
    assert out == converted([audio], 24_000).astype("<i2").tobytes()
