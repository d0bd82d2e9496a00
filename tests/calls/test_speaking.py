"""What the avatar says and what the pipeline is told of it, against what the room hears.

Real pipelines, real sockets, a sandbox that knows what is heard and when. The scenes mostly
wait, so they are played many at a time; each is a test of its own.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    ControlFrame,
    DataFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    ServiceUpdateSettingsFrame,
    StartFrame,
    StopFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.sandbox import Fault, Heard, Sandbox
from tests.support.side_by_side import (
    LATENCY_SECS,
    LIMIT_SECS,
    Stage,
    WrongTimeError,
    assert_time,
    avatar_in,
    play_all,
    selected,
    staged,
)

TOLERANCE_SECS = 0.3
"""Between what is said to be heard and what is; the benchmark measures how exact it is."""

HAS_UNINTERRUPTIBLE_SPEECH = "interruptible" in {known.name for known in fields(Frame)}

Scene = Callable[[Sandbox], Awaitable[None]]

SCENES: dict[str, Scene] = {}


def scene(play: Scene) -> Scene:
    """Add a scene; its name says what it shows."""
    SCENES[play.__name__] = play
    return play


def uninterruptible_scene(play: Scene) -> Scene:
    return scene(play) if HAS_UNINTERRUPTIBLE_SPEECH else play


# --- speech ----------------------------------------------------------------------------


def sound(
    secs: float,
    *,
    seed: int = 1,
    rate: int = 16_000,
    channels: int = 1,
    frame_secs: float = 0.04,
    context_id: str | None = None,
) -> list[TTSAudioRawFrame]:
    """Noise that is not to be confused with that of another seed, cut into frames."""
    noise = np.random.default_rng(seed).integers(-9000, 9000, round(secs * rate) * channels)
    pcm = noise.astype("<i2").tobytes()
    step = round(frame_secs * rate) * 2 * channels
    return [
        TTSAudioRawFrame(pcm[at : at + step], rate, channels, context_id=context_id)
        for at in range(0, len(pcm), step)
    ]


def kept(frames: list[TTSAudioRawFrame]) -> list[TTSAudioRawFrame]:
    for frame in frames:
        frame.interruptible = False
    return frames


def converted(frames: Sequence[TTSAudioRawFrame]) -> bytes:
    """What of an utterance must be heard. Exact at 16 kHz; other rates are dithered."""
    converter = SpeechConverter()
    pieces = [converter.convert(f.audio, f.sample_rate, f.num_channels) for f in frames]
    return b"".join(pieces) + converter.flush()


def assert_heard(heard: bytes, wanted: bytes) -> None:
    """Assert that a sound is another, to the sample.

    Raises:
        WrongTimeError: If only the very end is missing: then the session ended too early.
    """
    missing_secs = (len(wanted) - len(heard)) / 32_000
    if 0 < missing_secs < TOLERANCE_SECS and wanted.startswith(heard):
        raise WrongTimeError(f"The last {missing_secs:.3f} s were cut off.")
    assert heard == wanted


def assert_cut(heard: bytes, cut: bytes, after: bytes) -> bytes:
    """Assert that a sound is the beginning of one and the whole of another.

    Returns:
        The beginning of the first.
    """
    at = heard.find(after[:200])
    assert at >= 0
    beginning = heard[:at]
    assert cut.startswith(beginning)
    assert len(beginning) < len(cut)
    assert_heard(heard[at:], after)
    return beginning


def assert_alike(heard: bytes, wanted: bytes) -> None:
    """Assert that two sounds are the same but for the dither of a resampler."""
    if 0 < len(wanted) - len(heard) < TOLERANCE_SECS * 32_000:
        raise WrongTimeError("The last of it was cut off.")
    assert len(heard) == len(wanted)
    apart = np.frombuffer(heard, "<i2").astype(int) - np.frombuffer(wanted, "<i2")
    assert abs(apart).max() <= 2


def utterance(audio: Sequence[Frame], context_id: str | None = None) -> list[Frame]:
    started = TTSStartedFrame(context_id=context_id)
    return [started, *audio, TTSStoppedFrame(context_id=context_id)]


def keep(frame: Any) -> Any:
    frame.interruptible = False
    return frame


def heard_on(stage: Stage, sandbox: Sandbox) -> Heard:
    """What was heard of the session of a stage."""
    return sandbox.heard(stage.session_id)


def said_to(stage: Stage, sandbox: Sandbox) -> list[str]:
    """The commands and confirmations of a stage's session, in order."""
    return [
        f"{entry['direction']} {entry['what']}"
        for entry in sandbox.log
        if entry["session_id"] == stage.session_id
        and entry["direction"] in ("in", "out")
        and str(entry["what"]).startswith("agent.")
    ]


def bot_frames(stage: Stage) -> list[str]:
    """The bot speaking frames that came down; those that went up must be the same."""
    kinds = (BotStartedSpeakingFrame, BotStoppedSpeakingFrame)
    down = [type(sighting.frame).__name__ for sighting in stage.behind.of(*kinds)]
    up = [type(sighting.frame).__name__ for sighting in stage.above.of(*kinds, upstream=True)]
    assert down == up
    return down


PAIR = ["BotStartedSpeakingFrame", "BotStoppedSpeakingFrame"]


@dataclass
class Mark(DataFrame):
    """Something that an application puts between the words."""


@dataclass
class Urgent(SystemFrame):
    """Something that waits for nothing."""


def assert_agree(stage: Stage, heard: Heard, *, nth: int = 1, first: int = 0, last: int = -1):
    """Assert that the nth start and stop agree with the first and last sample of segments."""
    started = stage.behind.of(BotStartedSpeakingFrame)[nth - 1].at
    stopped = stage.behind.of(BotStoppedSpeakingFrame)[nth - 1].at
    assert_time(started, heard.segments[first].starts_at, TOLERANCE_SECS, "the start")
    assert_time(stopped, heard.segments[last].ends_at, TOLERANCE_SECS, "the stop")


# --- what is heard, and when -----------------------------------------------------------


@scene
async def speech_in_a_burst_is_reported_when_it_sounds(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(2.0)))
        await stage.end()
    heard = heard_on(stage, sandbox)
    assert len(heard.segments) == 1
    assert_agree(stage, heard)
    assert bot_frames(stage) == PAIR


@scene
async def speech_in_real_time_is_reported_when_it_sounds(sandbox: Sandbox):
    async with staged(EspeakTTSService(delivery="real_time"), avatar=avatar_in(sandbox)) as stage:
        await stage.feed(TTSSpeakFrame("This takes as long as it takes."))
        await stage.end()
    assert_agree(stage, heard_on(stage, sandbox))
    assert bot_frames(stage) == PAIR


@scene
async def a_stall_is_no_stop(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        first, *rest = sound(1.0, frame_secs=0.5)
        await stage.feed(TTSStartedFrame(), first)
        await stage.heard_for(1.5)
        await stage.feed(*rest, TTSStoppedFrame())
        await stage.end()
    heard = heard_on(stage, sandbox)
    assert len(heard.segments) == 2
    assert heard.gaps[0].duration_secs > 0.5
    assert_heard(heard.pcm, converted([first, *rest]))
    assert_agree(stage, heard)
    assert bot_frames(stage) == PAIR


@scene
async def every_format_is_heard_to_the_sample(sandbox: Sandbox):
    utterances = [
        sound(0.7, seed=1, rate=22_050, frame_secs=0.033),
        sound(0.5, seed=2, rate=48_000, channels=2, frame_secs=0.02),
        sound(0.301, seed=3, rate=16_000, frame_secs=0.1),
        sound(0.013, seed=4, rate=8_000),
    ]
    async with staged(avatar=avatar_in(sandbox)) as stage:
        for audio in utterances:
            await stage.feed(*utterance(audio))
        await stage.end()
    wanted = b"".join(converted(audio) for audio in utterances)
    assert_alike(heard_on(stage, sandbox).pcm, wanted)
    assert bot_frames(stage) == PAIR * len(utterances)


@scene
async def utterances_that_wait_for_each_other_have_no_gap(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(0.8, seed=1)), *utterance(sound(0.8, seed=2)))
        await stage.end()
    heard = heard_on(stage, sandbox)
    assert len(heard.segments) == 1
    assert bot_frames(stage) == PAIR * 2
    (segment,) = heard.segments
    turn = segment.starts_at + 0.8
    assert_time(await stage.stopped(1), turn, TOLERANCE_SECS, "the stop")
    assert_time(await stage.started(2), turn, TOLERANCE_SECS, "the second start")


@scene
async def real_time_speech_over_a_long_way_has_no_gap(_: Sandbox):
    with Sandbox(render_latency_secs=LATENCY_SECS, round_trip_secs=0.3) as sandbox:
        async with staged(avatar=avatar_in(sandbox)) as stage:
            # The way is known from the first answer on.
            await stage.feed(*utterance(sound(0.3)))
            await stage.stopped()
            begun = time.monotonic()
            await stage.feed(TTSStartedFrame())
            for number, frame in enumerate(sound(2.5, frame_secs=0.02)):
                await asyncio.sleep(begun + 0.02 * number - time.monotonic())
                await stage.feed(frame)
            await stage.feed(TTSStoppedFrame())
            await stage.end()
        heard = sandbox.heard()
    assert heard.duration_secs == pytest.approx(2.8, abs=0.001)
    # What is seen here would be the machine's: it has other things to do.
    silent_secs = sum(gap.duration_secs for gap in heard.gaps[1:])
    assert_time(silent_secs, 0.0, 0.15, "the sum of sounds")
    assert bot_frames(stage) == PAIR * 2


@scene
async def words_come_with_their_sound_even_if_it_was_delivered_long_before(sandbox: Sandbox):
    async with staged(EspeakTTSService(word_timestamps=True), avatar=avatar_in(sandbox)) as stage:
        await stage.feed(TTSSpeakFrame("This is the first."), TTSSpeakFrame("And the second."))
        await stage.end()
    words = stage.behind.of(TTSTextFrame)
    assert " ".join(word.frame.text for word in words) == "This is the first. And the second."
    first, second = await stage.started(1), await stage.started(2)
    assert [word.at >= first for word in words[:4]] == [True] * 4
    assert [word.at >= second for word in words[4:]] == [True] * 3
    assert_time(words[-1].at, second + 0.3, TOLERANCE_SECS, "the last word")
    assert words[-1].at < await stage.stopped(2)


@scene
async def words_known_before_their_sound_wait_for_it(sandbox: Sandbox):
    def word(text: str, at_secs: float) -> TTSTextFrame:
        frame = TTSTextFrame(text, "word")
        frame.pts = stage.above.get_clock().get_time() + round(at_secs * 1e9)
        return frame

    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(TTSStartedFrame(), word("At", 0.0), word("last", 0.6))
        await asyncio.sleep(0.3)
        assert stage.behind.of(TTSTextFrame) == []
        await stage.feed(*sound(1.0), TTSStoppedFrame())
        await stage.end()
    at, last = stage.behind.of(TTSTextFrame)
    started = await stage.started()
    assert_time(at.at, started, TOLERANCE_SECS, "the first word")
    assert_time(last.at, started + 0.6, TOLERANCE_SECS, "the last word")


@scene
async def text_does_not_wait_for_what_a_resampler_holds_back(sandbox: Sandbox):
    """It holds some 10 ms, and they come with the next audio: after a tool call, for one."""
    async with staged(avatar=avatar_in(sandbox)) as stage:
        first, rest = sound(0.5, rate=24_000), sound(0.2, seed=2, rate=24_000)
        await stage.feed(TTSStartedFrame(), *first, TTSTextFrame("One.", "sentence"))
        text = await stage.behind.saw(TTSTextFrame)
        assert_time(text.at, await stage.started() + 0.5, TOLERANCE_SECS, "the text")
        await stage.feed(*rest, TTSStoppedFrame())
        await stage.end()
    assert_alike(heard_on(stage, sandbox).pcm, converted([*first, *rest]))


# --- interruptions ---------------------------------------------------------------------


@scene
async def nothing_of_interrupted_speech_is_heard_later(sandbox: Sandbox):
    cut, after = sound(8.0, seed=1), sound(0.5, seed=2)
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(cut))
        await stage.heard_for(0.7)
        await stage.interrupt()
        await stage.feed(*utterance(after))
        await stage.end()
    assert_cut(heard_on(stage, sandbox).pcm, converted(cut), converted(after))
    assert bot_frames(stage) == PAIR * 2


@scene
async def no_speech_leaves_before_an_interruption_is_confirmed(_: Sandbox):
    slow = Fault(on="agent.interrupt", kind="delay", delay_secs=0.6, delayed="answer")
    with Sandbox(render_latency_secs=LATENCY_SECS, faults=[slow]) as sandbox:
        async with staged(avatar=avatar_in(sandbox)) as stage:
            await stage.feed(*utterance(sound(3.0, seed=1)))
            await stage.heard_for(0.5)
            await stage.interrupt()
            await stage.feed(*utterance(sound(0.5, seed=2)))
            await stage.end()
        said = said_to(stage, sandbox)
        heard = sandbox.heard()
    sent, confirmed = said.index("in agent.interrupt"), said.index("out agent.interrupt.confirmed")
    assert "in agent.speak" in said[:sent]
    assert "in agent.speak" not in said[sent:confirmed]
    assert_cut(heard.pcm, converted(sound(3.0, seed=1)), converted(sound(0.5, seed=2)))
    assert bot_frames(stage) == PAIR * 2


@scene
async def speech_interrupted_before_its_first_sound_was_never_there(_: Sandbox):
    with Sandbox(render_latency_secs=5.0) as sandbox:
        avatar = avatar_in(sandbox, settings={"avatar_latency_secs": 5.0})
        async with staged(avatar=avatar) as stage:
            await stage.turn()
            text = TTSTextFrame("Nobody hears this.", "sentence")
            await stage.feed(TTSStartedFrame(), *sound(1.0), text, TTSStoppedFrame())
            await sandbox.wait_for("agent.speak.confirmed")
            await stage.interrupt()
            await stage.end()
        said = said_to(stage, sandbox)
        assert sandbox.heard().samples == 0
    assert "in agent.interrupt" in said
    assert bot_frames(stage) == []
    assert stage.behind.of(TTSTextFrame) == []
    assert stage.context.messages == []


@scene
async def an_interruption_while_silent_is_told_all_the_same(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.interrupt()
        await stage.feed(*utterance(sound(0.3)))
        await stage.end()
    assert said_to(stage, sandbox)[0] == "in agent.interrupt"
    assert_heard(heard_on(stage, sandbox).pcm, converted(sound(0.3)))


@scene
async def late_frames_of_interrupted_speech_are_dropped(sandbox: Sandbox):
    cut, late = sound(1.0, seed=1, context_id="cut"), sound(0.4, seed=2, context_id="cut")
    after = sound(0.4, seed=3, context_id="after")
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(TTSStartedFrame(context_id="cut"), *cut)
        await stage.heard_for(0.3)
        await stage.interrupt()
        await stage.behind.saw(InterruptionFrame)
        words = TTSTextFrame("Too late.", "sentence")
        words.context_id = "cut"
        await stage.feed(*late, words, TTSStoppedFrame(context_id="cut"))
        await stage.feed(*utterance(after, "after"))
        await stage.end()
    assert_cut(heard_on(stage, sandbox).pcm, converted(cut), converted(after))
    stops = stage.behind.of(TTSStoppedFrame)
    assert [sighting.frame.context_id for sighting in stops] == ["after"]
    assert stage.behind.of(TTSTextFrame) == []


@scene
async def late_frames_of_nameless_speech_are_dropped_until_the_next_start(sandbox: Sandbox):
    cut, after = sound(1.0, seed=1), sound(0.4, seed=3)
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(TTSStartedFrame(), *cut)
        await stage.heard_for(0.3)
        await stage.interrupt()
        await stage.behind.saw(InterruptionFrame)
        await stage.feed(*sound(0.4, seed=2), TTSStoppedFrame())
        await stage.feed(*utterance(after))
        await stage.end()
    assert_cut(heard_on(stage, sandbox).pcm, converted(cut), converted(after))
    assert len(stage.behind.of(TTSStoppedFrame)) == 1


@uninterruptible_scene
async def uninterruptible_speech_plays_on_and_the_server_is_not_told(sandbox: Sandbox):
    audio = kept(sound(1.5))
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*map(keep, utterance(audio)))
        await stage.heard_for(0.5)
        await stage.interrupt()
        await stage.end()
    assert "in agent.interrupt" not in said_to(stage, sandbox)
    heard = heard_on(stage, sandbox)
    assert len(heard.segments) == 1
    assert_heard(heard.pcm, converted(audio))
    assert_agree(stage, heard)
    assert bot_frames(stage) == PAIR


@uninterruptible_scene
async def uninterruptible_speech_is_said_again_from_where_it_was_cut(sandbox: Sandbox):
    """Behind it waits speech that may be cut: for its sake the server must be told."""
    audio, cut = kept(sound(1.2, seed=1)), sound(1.2, seed=2)
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*map(keep, utterance(audio)), *utterance(cut))
        await stage.heard_for(0.5)
        await stage.interrupt()
        await stage.end()
    assert said_to(stage, sandbox).count("in agent.interrupt") == 1
    heard, wanted = heard_on(stage, sandbox).pcm, converted(audio)
    # The clock and the avatar may differ by some milliseconds about the moment of the cut.
    again = heard.rfind(wanted[-8000:-4000]) - len(wanted) + 8000
    assert heard.startswith(wanted[:8000])
    assert_time(again / 32_000, 0.0, TOLERANCE_SECS, "the same sample the second time")


@uninterruptible_scene
async def uninterruptible_speech_behind_speech_that_is_cut_is_heard_whole(sandbox: Sandbox):
    cut, audio = sound(1.2, seed=1), kept(sound(0.8, seed=2))
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(cut), *map(keep, utterance(audio)))
        await stage.heard_for(0.4)
        await stage.interrupt()
        await stage.end()
    assert_cut(heard_on(stage, sandbox).pcm, converted(cut), converted(audio))


# --- settings --------------------------------------------------------------------------


def update(**settings: Any) -> ServiceUpdateSettingsFrame:
    return ServiceUpdateSettingsFrame(delta=AgentHumanVideoService.Settings(**settings))


@scene
async def settings_count_from_the_next_utterance_on(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        first, *rest = sound(1.0, seed=1, frame_secs=0.5)
        await stage.feed(TTSStartedFrame(), first)
        await stage.started()
        await stage.feed(update(avatar_latency_secs=1.1), *rest, TTSStoppedFrame())
        await stage.stopped()
        await stage.feed(*utterance(sound(0.5, seed=2)))
        await stage.end()
    heard = heard_on(stage, sandbox)
    *_, second = heard.segments
    # The first utterance keeps its latency; the second counts with one second too much.
    assert_agree(stage, heard, nth=1, last=-2)
    expected = second.starts_at + 1.1 - LATENCY_SECS
    assert_time(await stage.started(2), expected, TOLERANCE_SECS, "the second start")


@scene
async def invalid_settings_are_reported_and_change_nothing(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(update(avatar_latency_secs=-1.0, max_message_secs=0.5))
        await stage.feed(*utterance(sound(0.7)))
        await stage.end()
    (error,) = stage.above.of(ErrorFrame, upstream=True)
    assert "avatar_latency_secs" in error.frame.error
    assert_agree(stage, heard_on(stage, sandbox))


# --- what never waits ------------------------------------------------------------------


@scene
async def the_start_passes_while_the_service_is_slow(_: Sandbox):
    slow = Fault(on="create", kind="delay", delay_secs=1.5)
    with Sandbox(render_latency_secs=LATENCY_SECS, faults=[slow]) as sandbox:
        async with staged(avatar=avatar_in(sandbox), until_ready=False) as stage:
            await stage.behind.saw(StartFrame)
            assert sandbox.sessions == []
            await stage.feed(*utterance(sound(0.4)))
            await stage.end()
        # The first words waited for the avatar.
        assert_heard(sandbox.heard().pcm, converted(sound(0.4)))


@scene
async def data_waits_when_too_much_speech_waits_and_system_frames_do_not(_: Sandbox):
    slow = Fault(on="create", kind="delay", delay_secs=2.0)
    with Sandbox(render_latency_secs=LATENCY_SECS, faults=[slow]) as sandbox:
        async with staged(avatar=avatar_in(sandbox), until_ready=False) as stage:
            await stage.feed(TTSStartedFrame(), *sound(14.0, frame_secs=1.0), Mark(), Urgent())
            await stage.behind.saw(Urgent)
            await until(lambda: stage.avatar.has_queued_frame(Mark))
            assert sandbox.sessions == []
            assert 10.0 <= stage.avatar._output.backlog_secs <= 12.0
            await stage.interrupt()
            await stage.behind.saw(InterruptionFrame)
            await stage.feed(*utterance(sound(0.4, seed=2)))
            await stage.end()
        assert_heard(sandbox.heard().pcm, converted(sound(0.4, seed=2)))
    assert stage.behind.of(Mark) == []


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_SECS):
        while not reached():  # noqa: ASYNC110 - nothing tells
            await asyncio.sleep(0.01)


@scene
async def what_goes_up_passes_untouched(sandbox: Sandbox):
    class Control(ControlFrame):
        pass

    frames = [Mark(), Control(), Urgent(), sound(0.1)[0], TTSStoppedFrame(), TTSStartedFrame()]
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(1.0)))
        await stage.started()
        for frame in frames:
            await stage.output.push_frame(frame, FrameDirection.UPSTREAM)
        kinds = tuple(type(frame) for frame in frames)
        await until(lambda: len(stage.above.of(*kinds, upstream=True)) == len(frames))
        assert stage.behind.of(BotStoppedSpeakingFrame) == []
        await stage.end()
    came = {sighting.frame.id: sighting.frame for sighting in stage.above.of(*kinds, upstream=True)}
    assert all(came[frame.id] is frame for frame in frames)


# --- the end ---------------------------------------------------------------------------


@scene
async def the_end_waits_for_the_last_word_and_ends_the_session(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(1.5)))
        await stage.end()
    heard = heard_on(stage, sandbox)
    assert_heard(heard.pcm, converted(sound(1.5)))
    (record,) = [record for record in sandbox.sessions if record.id == stage.session_id]
    assert record.status == "ended"


@scene
async def an_open_utterance_is_said_to_its_end_and_stopped(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(TTSStartedFrame(), *sound(0.5))
        await stage.end()
    assert_heard(heard_on(stage, sandbox).pcm, converted(sound(0.5)))
    assert bot_frames(stage) == PAIR


@scene
async def a_stop_waits_for_the_last_word_too(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(1.0)), StopFrame())
        await stage.behind.saw(StopFrame)
        assert_heard(heard_on(stage, sandbox).pcm, converted(sound(1.0)))
        await stage.worker.cancel()
    assert bot_frames(stage) == PAIR


@scene
async def an_interruption_ends_the_wait_for_the_last_word(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(12.0)))
        await stage.end()
        await stage.heard_for(0.5)
        await stage.avatar.queue_frame(InterruptionFrame())
    assert 0 < heard_on(stage, sandbox).duration_secs < 6.0
    assert len(stage.behind.of(EndFrame)) == 1
    assert bot_frames(stage) == PAIR


@scene
async def a_cancellation_ends_everything_at_once(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(12.0)))
        await stage.heard_for(0.5)
        await stage.worker.cancel()
    assert 0 < heard_on(stage, sandbox).duration_secs < 6.0
    assert len(stage.behind.of(CancelFrame)) == 1
    # Nothing goes up any more: what stands above was cancelled before.
    assert len(stage.behind.of(BotStartedSpeakingFrame)) == 1
    assert len(stage.behind.of(BotStoppedSpeakingFrame)) == 1


@scene
async def a_cancellation_ends_the_wait_for_the_last_word(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as stage:
        await stage.feed(*utterance(sound(12.0)))
        await stage.end()
        await stage.heard_for(0.5)
        await stage.avatar.queue_frame(CancelFrame())
    assert 0 < heard_on(stage, sandbox).duration_secs < 6.0
    assert bot_frames(stage) == PAIR


# --- the tests -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outcomes(request: pytest.FixtureRequest) -> dict[str, BaseException | None]:
    """All scenes that are asked for, played."""
    wanted = selected(request, SCENES)
    with Sandbox(render_latency_secs=LATENCY_SECS, max_sessions=len(SCENES)) as sandbox:
        return play_all({name: lambda _, play=play: play(sandbox) for name, play in wanted.items()})


@pytest.mark.parametrize("name", SCENES)
def test_speaking(name: str, outcomes: dict[str, BaseException | None]):
    failure = outcomes[name]
    if isinstance(failure, BaseException):
        raise failure
