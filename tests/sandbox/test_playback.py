from __future__ import annotations

import math
import wave
from dataclasses import dataclass, field
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipecat_agenthuman.sandbox.playback import Playback
from pipecat_agenthuman.sandbox.sound import Heard, Segment, joined

RATE = 16_000


def audio(samples: int, first: int = 1) -> np.ndarray:
    return np.arange(first, first + samples, dtype=np.int16)


# --- against a model that knows every single sample -----------------------------------------


@dataclass
class Model:
    """Every sample with the tick at which it has sounded; a tick is a sample's length."""

    latency: int
    joins: int
    held: bool
    absences: list[list[float]] = field(default_factory=list)
    samples: list[tuple[int, int]] = field(default_factory=list)

    def confirm(self, audio: np.ndarray, at: int) -> None:
        due = max(at + self.latency, self.joins if self.held else 0)
        if self.samples:
            due = max(due, self.samples[-1][0])
        self.samples += [(due + 1 + position, int(value)) for position, value in enumerate(audio)]

    def interrupt(self, at: float) -> None:
        self.samples = [one for one in self.samples if one[0] <= at]

    def heard(self, now: float) -> list[int]:
        return [
            value
            for end, value in self.samples
            if end <= now
            and end - 1 >= self.joins
            and not any(left < end and end - 1 < back for left, back in self.absences)
        ]

    @property
    def is_away(self) -> bool:
        return bool(self.absences) and self.absences[-1][1] == math.inf


steps = st.lists(
    st.tuples(
        st.sampled_from(["speak", "speak", "speak", "interrupt", "leave", "come back"]),
        st.integers(0, 400),  # ticks since the step before
        st.integers(1, 500),  # samples
    ),
    max_size=12,
)


@given(
    steps=steps,
    latency=st.integers(0, 300),
    joins=st.integers(0, 600),
    held=st.booleans(),
    asked=st.lists(st.integers(0, 8000), max_size=8),
    edge=st.floats(0, 0.45),
)
def test_every_sample_is_heard_when_the_rules_say_so(steps, latency, joins, held, asked, edge):
    origin = 123.0  # no clock starts at nought
    playback = Playback(
        render_latency_secs=latency / RATE,
        joins_at=origin + joins / RATE,
        before_join="held" if held else "lost",
    )
    model = Model(latency, joins, held)
    now, value = 0, 1
    for step, ticks, samples in steps:
        now += ticks
        if step == "speak":
            playback.confirm(audio(samples, value), origin + now / RATE)
            model.confirm(audio(samples, value), now)
            value += samples
        elif step == "interrupt":  # in the middle of a sample, which is then not heard
            queued = len(model.samples)
            dropped = playback.interrupt(origin + (now + 0.5) / RATE)
            model.interrupt(now + 0.5)
            now += 1
            assert dropped == queued - len(model.samples)
        elif step == "leave":
            playback.leave(origin + (now + 0.5) / RATE)
            if not model.is_away:
                model.absences.append([now + 0.5, math.inf])
            now += 1
        else:
            playback.come_back(origin + (now + 0.5) / RATE)
            if model.is_away:
                model.absences[-1][1] = now + 0.5
            now += 1
    for tick in asked:
        moment = origin + (tick + 0.5) / RATE
        heard = playback.heard(moment)
        assert heard.audio.tolist() == model.heard(tick + 0.5)
        assert playback.heard_samples(moment) == heard.samples
    # Bit by bit it is the same sound, with the silences filled in.
    last = origin + 12_800 / RATE
    bits = [
        playback.between(origin + (first - edge) / RATE, origin + (first + 320 - edge) / RATE)
        for first in range(0, 12_800, 320)
    ]
    heard, bit_by_bit = playback.heard(last), np.concatenate(bits)
    assert bit_by_bit[bit_by_bit != 0].tolist() == heard.audio.tolist()
    for segment in heard.segments:
        place = round((segment.starts_at - origin) * RATE + edge)
        sound = heard.audio[segment.first_sample : segment.first_sample + segment.samples]
        assert abs(int(np.flatnonzero(bit_by_bit == sound[0])[0]) - place) <= 1


@given(samples=st.integers(1, 5000), at=st.floats(0, 1e7), latency=st.floats(0, 3))
def test_a_clock_reading_at_the_end_of_a_sample_counts_that_sample(samples, at, latency):
    playback = Playback(render_latency_secs=latency)
    starts_at = playback.confirm(audio(samples), at)
    assert playback.heard_samples(starts_at) == 0
    assert playback.heard_samples(starts_at + samples / RATE) == samples
    assert playback.heard_samples(playback.quiet_at) == samples


# --- the rules one by one ------------------------------------------------------------------


def test_speech_starts_after_the_render_latency_and_follows_what_is_queued():
    playback = Playback(render_latency_secs=0.5)
    assert playback.confirm(audio(8000), at=10.0) == 10.5
    assert playback.confirm(audio(8000, 8001), at=10.1) == 11.0
    assert playback.confirm(audio(1600), at=11.4) == pytest.approx(11.9)
    heard = playback.heard(now=20.0)
    assert [segment.samples for segment in heard.segments] == [16_000, 1600]
    assert [gap.starts_at for gap in heard.gaps] == [11.5]
    assert heard.gaps[0].duration_secs == pytest.approx(0.4)


def test_an_interruption_forgets_the_rest_and_frees_the_way():
    playback = Playback(render_latency_secs=0.5)
    playback.confirm(audio(16_000), at=10.0)
    playback.confirm(audio(16_000), at=10.0)
    assert playback.interrupt(at=11.0) == 24_000
    assert playback.quiet_at == 11.0
    assert playback.confirm(audio(160), at=11.1) == 11.6
    assert playback.heard(now=20.0).samples == 8160


def test_nothing_sounds_of_speech_interrupted_before_it_was_rendered():
    playback = Playback(render_latency_secs=0.5)
    playback.confirm(audio(16_000), at=10.0)
    assert playback.interrupt(at=10.4) == 16_000
    assert playback.heard(now=20.0).segments == ()


def test_another_latency_counts_for_what_is_confirmed_from_then_on():
    playback = Playback(render_latency_secs=0.5)
    assert playback.confirm(audio(1600), at=10.0) == 10.5
    playback.render_latency_secs = 1.0
    assert playback.confirm(audio(1600), at=20.0) == 21.0
    assert playback.heard(now=10.6).samples == 1600


def test_interrupting_silence_changes_nothing():
    playback = Playback(render_latency_secs=0.5)
    assert playback.interrupt(at=1.0) == 0
    playback.confirm(audio(160), at=2.0)
    assert playback.interrupt(at=5.0) == 0
    assert playback.heard(now=9.0).audio.tolist() == audio(160).tolist()


def test_an_avatar_that_never_joins_is_never_heard():
    playback = Playback(render_latency_secs=0.1, joins_at=math.inf)
    playback.confirm(audio(160), at=1.0)
    assert playback.heard(now=1e6).samples == 0


# --- what was heard ------------------------------------------------------------------------


def frames(wav: bytes) -> np.ndarray:
    with wave.open(BytesIO(wav)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")


HEARD = Heard(audio(300), (Segment(5.0, 0, 100), Segment(5.0 + 150 / RATE, 100, 200)))


@pytest.mark.parametrize(
    ("longest_gap_secs", "silence"), [(None, 50), (0.0, 0), (20 / RATE, 20), (1.0, 50)]
)
def test_the_wav_file_keeps_silences_up_to_the_wanted_length(longest_gap_secs, silence):
    found = frames(HEARD.wav(longest_gap_secs=longest_gap_secs))
    assert found.tolist() == [*range(1, 101), *[0] * silence, *range(101, 301)]


def test_the_wav_file_of_silence_is_a_valid_one(tmp_path):
    path = tmp_path / "heard.wav"
    Heard().write_wav(path)
    assert frames(path.read_bytes()).size == 0


def test_sessions_are_put_one_after_the_other():
    both = joined([HEARD, Heard(), Heard(audio(10, 500), (Segment(9.0, 0, 10),))])
    assert both.duration_secs == 310 / RATE
    assert both.segments[-1] == Segment(9.0, 300, 10)
    assert both.audio.tolist() == [*range(1, 301), *range(500, 510)]
    assert both.pcm == both.audio.astype("<i2").tobytes()


def test_sessions_that_sounded_at_once_still_make_a_wav_file():
    early = Heard(audio(10), (Segment(1.0, 0, 10),))
    assert frames(joined([HEARD, early]).wav()).size == 300 + 50 + 10
