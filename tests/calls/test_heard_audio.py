"""Recorders get what was heard, when it was heard."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.audio.audio_buffer_processor import AudioBufferProcessor

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import Call, avatar_in, staged
from tests.support.pipelines import SoundCard
from tests.support.scenes import Scenes, assert_time
from tests.support.sounds import RATE, noise, utterance

TOLERANCE_SECS = 0.06
SCENES = Scenes()


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


def pcm(frames: Iterable[TTSAudioRawFrame]) -> bytes:
    return b"".join(frame.audio for frame in frames)


@asynccontextmanager
async def recorded(sandbox: Sandbox) -> AsyncIterator[tuple[Call, BotTrack]]:
    """A call with a recorder in front of an output that plays nothing."""
    track = BotTrack()
    async with staged(
        avatar=avatar_in(sandbox, pass_heard_audio=True),
        before_output=(track.recorder,),
        audio_out_enabled=False,
        rate=RATE,
    ) as call:
        yield call, track


@SCENES.add
async def speech_is_recorded_to_the_sample(sandbox: Sandbox):
    first, second = noise(1.0, seed=1), noise(0.7, seed=2)
    async with recorded(sandbox) as (call, track):
        await call.feed(*utterance(first))
        await call.stopped()
        await call.feed(*utterance(second))
        await call.end()
    assert track.sounds.tobytes() == pcm([*first, *second])
    assert call.transport.played == b""


@SCENES.add
async def a_recording_is_cut_where_the_speech_was(sandbox: Sandbox):
    cut, after = noise(8.0, seed=1), noise(0.7, seed=2)
    async with recorded(sandbox) as (call, track):
        await call.feed(*utterance(cut))
        await call.heard_for(0.7)
        await call.interrupt()
        await call.feed(*utterance(after))
        await call.end()
    recording = track.sounds.tobytes()
    assert recording.endswith(pcm(after))
    beginning = recording.removesuffix(pcm(after))
    assert pcm(cut).startswith(beginning)
    assert len(beginning) < len(pcm(cut))
    heard_secs = sandbox.heard(call.session_id).duration_secs
    assert_time(len(recording) / (2 * RATE), heard_secs, TOLERANCE_SECS, "the cut")


@SCENES.add
async def pieces_come_when_they_are_heard(sandbox: Sandbox):
    async with staged(
        avatar=avatar_in(sandbox, pass_heard_audio=True),
        audio_out_enabled=False,
        rate=RATE,
    ) as call:
        await call.feed(*utterance(noise(1.5)))
        await call.end()
    started = await call.started()
    heard_secs = 0.0
    for piece in call.between.seen(TTSAudioRawFrame):
        heard_secs += len(piece.frame.audio) / (2 * RATE)
        assert_time(piece.at, started + heard_secs, TOLERANCE_SECS, "a piece")
    assert heard_secs == pytest.approx(1.5)
    # Each comes out of the transport, and whoever looks again then passes on next to nothing.
    assert len(call.between.seen(TTSAudioRawFrame)) <= 1.5 / 0.04 + 5
    # A recorder that looks at who speaks takes the last one for speech, too.
    kinds = [type(sighting.frame).__name__ for sighting in call.between.sightings]
    last_piece = call.between.sightings.index(call.between.seen(TTSAudioRawFrame)[-1])
    assert kinds.index("BotStartedSpeakingFrame") < last_piece
    assert last_piece < kinds.index("BotStoppedSpeakingFrame")


@SCENES.add
async def what_is_passed_has_the_rate_of_the_pipeline_and_its_end_is_there(sandbox: Sandbox):
    words, more = noise(0.7, rate=24_000), noise(0.4, rate=24_000, seed=2)
    async with staged(
        avatar=avatar_in(sandbox, pass_heard_audio=True), audio_out_enabled=False, rate=48_000
    ) as call:
        for said in (words, more):
            await call.feed(*utterance(said))
        await call.end()
    stops = [seen.at for seen in call.between.seen(BotStoppedSpeakingFrame)]
    pieces = call.between.seen(TTSAudioRawFrame)
    assert {piece.frame.sample_rate for piece in pieces} == {48_000}
    for secs, begins, stop in ((0.7, 0.0, stops[0]), (0.4, stops[0], stops[1])):
        samples = sum(len(one.frame.audio) // 2 for one in pieces if begins < one.at <= stop)
        assert samples == round(secs * 48_000)
    # All of it is speech: nothing was filled up with silence.
    sound = np.frombuffer(b"".join(piece.frame.audio for piece in pieces), np.int16)
    assert np.abs(sound[-480:]).max() > 500


async def _say_two_to_a_busy_transport(
    sandbox: Sandbox,
    *,
    busy_secs: float = 0.3,
    more_secs: float = 0.6,
    look: Callable[[AgentHumanVideoService], object] = str,
) -> None:
    """The transport is busy when the first speech is over, and the stop waits for it."""
    words, more = noise(0.7), noise(more_secs, seed=2)
    slow = OutputTransportMessageFrame(message={"subtitle": "words"})
    avatar = avatar_in(sandbox, pass_heard_audio=True)
    transport = SoundCard(audio_out_enabled=False, message_secs=busy_secs)
    async with staged(avatar=avatar, transport=transport, rate=24_000) as call:
        await call.feed(*utterance([*words[:-2], slow, *words[-2:]]))
        await call.heard_for(0.3)
        await call.feed(*utterance(more))
        while len(call.between.seen(BotStoppedSpeakingFrame)) < 2:
            look(avatar)
            await asyncio.sleep(0.01)
        await call.end()
    stops = [seen.at for seen in call.between.seen(BotStoppedSpeakingFrame)]
    pieces = call.between.seen(TTSAudioRawFrame)
    for secs, begins, stop in ((0.7, 0.0, stops[0]), (more_secs, stops[0], stops[1])):
        samples = sum(len(one.frame.audio) // 2 for one in pieces if begins < one.at <= stop)
        assert samples == round(secs * 24_000)
    assert stops[0] - pieces[0].at > 0.8, "the transport was not busy"


@SCENES.add
async def what_sounds_behind_the_end_of_speech_comes_behind_it(sandbox: Sandbox):
    await _say_two_to_a_busy_transport(sandbox)


@SCENES.add
async def so_it_does_if_it_is_over_before_the_end_was_told(sandbox: Sandbox):
    await _say_two_to_a_busy_transport(sandbox, busy_secs=0.9, more_secs=0.2)


@SCENES.add
async def whoever_looks_how_much_was_heard_brings_nothing_forward(sandbox: Sandbox):
    await _say_two_to_a_busy_transport(sandbox, look=lambda avatar: avatar.stats)


@SCENES.add
async def nothing_is_passed_unless_asked_for(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(0.3)))
        await call.end()
    assert call.between.of(TTSAudioRawFrame) == []
    heard_secs = sandbox.heard(call.session_id).duration_secs
    assert_time(heard_secs, 0.3, TOLERANCE_SECS, "the last sample")


@pytest.mark.parametrize("name", SCENES)
def test_tap(name: str):
    SCENES.play(name)
