"""Recorders get what was heard, when it was heard."""

from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from pipecat.frames.frames import TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.side_by_side import (
    LATENCY_SECS,
    Recorder,
    assert_time,
    avatar_in,
    play_all,
    selected,
    staged,
)

TOLERANCE_SECS = 0.3
RATE = 16_000

Scene = Callable[[Sandbox], Awaitable[None]]


def utterance(secs: float, seed: int) -> list:
    """Noise without a silent sample, so that silence between is not taken for it."""
    noise = np.random.default_rng(seed).integers(1, 9000, round(secs * RATE), dtype=np.int16)
    return [TTSStartedFrame(), TTSAudioRawFrame(noise.tobytes(), RATE, 1), TTSStoppedFrame()]


class BotTrack:
    """Pipecat's own recorder, and what it recorded of the bot."""

    def __init__(self) -> None:
        self.recorder = AudioBufferProcessor(sample_rate=RATE, auto_start_recording=True)
        self.recorder.add_event_handler("on_track_audio_data", self._take)
        self.audio = np.zeros(0, dtype=np.int16)

    async def _take(self, _, user: bytes, bot: bytes, sample_rate: int, channels: int) -> None:
        self.audio = np.frombuffer(bot, np.int16)

    @property
    def sounds(self) -> np.ndarray:
        """The recording without silence."""
        return self.audio[self.audio != 0]


async def speech_is_recorded_to_the_sample(sandbox: Sandbox):
    track = BotTrack()
    async with staged(
        avatar=avatar_in(sandbox, pass_heard_audio=True),
        before_output=(track.recorder,),
        audio_out_enabled=False,
    ) as stage:
        first, second = utterance(1.0, 1), utterance(0.7, 2)
        await stage.feed(*first)
        await stage.stopped()
        await stage.feed(*second)
        await stage.end()
    assert track.sounds.tobytes() == first[1].audio + second[1].audio
    assert stage.output.audio == b""


async def a_recording_is_cut_where_the_speech_was(sandbox: Sandbox):
    track = BotTrack()
    async with staged(
        avatar=avatar_in(sandbox, pass_heard_audio=True),
        before_output=(track.recorder,),
        audio_out_enabled=False,
    ) as stage:
        cut, after = utterance(8.0, 1), utterance(0.7, 2)
        await stage.feed(*cut)
        await stage.heard_for(0.7)
        await stage.interrupt()
        await stage.feed(*after)
        await stage.end()
    recorded = track.sounds.tobytes()
    assert recorded.endswith(after[1].audio)
    beginning = recorded.removesuffix(after[1].audio)
    assert cut[1].audio.startswith(beginning)
    assert len(beginning) < len(cut[1].audio)
    heard_secs = sandbox.heard(stage.session_id).duration_secs
    assert_time(len(recorded) / (2 * RATE), heard_secs, TOLERANCE_SECS, "the cut")


async def pieces_come_when_they_are_heard(sandbox: Sandbox):
    tap = Recorder("tap")
    async with staged(
        avatar=avatar_in(sandbox, pass_heard_audio=True),
        before_output=(tap,),
        audio_out_enabled=False,
    ) as stage:
        await stage.feed(*utterance(1.5, 1))
        await stage.end()
    started = await stage.started()
    heard_secs = 0.0
    for piece in tap.of(TTSAudioRawFrame):
        heard_secs += len(piece.frame.audio) / (2 * RATE)
        assert_time(piece.at, started + heard_secs, TOLERANCE_SECS, "a piece")
    assert heard_secs == pytest.approx(1.5)
    # A recorder that looks at who speaks takes the last one for speech, too.
    kinds = [type(sighting.frame).__name__ for sighting in tap.sightings]
    last_piece = tap.sightings.index(tap.of(TTSAudioRawFrame)[-1])
    assert kinds.index("BotStartedSpeakingFrame") < last_piece
    assert last_piece < kinds.index("BotStoppedSpeakingFrame")


async def nothing_is_passed_unless_asked_for(sandbox: Sandbox):
    tap = Recorder("tap")
    async with staged(avatar=avatar_in(sandbox), before_output=(tap,)) as stage:
        await stage.feed(*utterance(0.3, 1))
        await stage.end()
    assert tap.of(TTSAudioRawFrame) == []
    heard_secs = sandbox.heard(stage.session_id).duration_secs
    assert_time(heard_secs, 0.3, TOLERANCE_SECS, "the last sample")


SCENES: dict[str, Scene] = {
    play.__name__: play
    for play in (
        speech_is_recorded_to_the_sample,
        a_recording_is_cut_where_the_speech_was,
        pieces_come_when_they_are_heard,
        nothing_is_passed_unless_asked_for,
    )
}


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, BaseException | None]:
    """All scenes that are asked for, played."""
    wanted = selected(request, SCENES)
    with Sandbox(render_latency_secs=LATENCY_SECS, max_sessions=len(SCENES)) as sandbox:
        return play_all({name: lambda _, play=play: play(sandbox) for name, play in wanted.items()})


@pytest.mark.parametrize("name", SCENES)
def test_tap(name: str, outcomes: dict[str, BaseException | None]):
    failure = outcomes[name]
    if isinstance(failure, BaseException):
        raise failure
