"""What the avatar says and what the pipeline is told of it, against what the room hears.

Real pipelines, and a sandbox that knows what is heard and when. The scenes mostly wait, so they
are played in virtual time; each is a test of its own.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
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
from tests.support.calls import LATENCY_SECS, Call, avatar_in, avatars, staged
from tests.support.inside import playout_of
from tests.support.scenes import Scenes, assert_time
from tests.support.sounds import keep, noise, utterance
from tests.support.waiting import until

TOLERANCE_SECS = 0.06
"""Between what is said to be heard and what is: what the service promises."""

PAIR = ["BotStartedSpeakingFrame", "BotStoppedSpeakingFrame"]

SCENES = Scenes()


# --- speech ----------------------------------------------------------------------------


def converted(frames: Sequence[TTSAudioRawFrame]) -> bytes:
    """What of an utterance must be heard. Exact at 16 kHz; other rates are dithered."""
    converter = SpeechConverter()
    pieces = [converter.convert(f.audio, f.sample_rate, f.num_channels) for f in frames]
    return b"".join(pieces) + converter.flush()


def assert_heard(heard: bytes, wanted: bytes) -> None:
    """Assert that a sound is another, to the sample."""
    missing_secs = (len(wanted) - len(heard)) / 32_000
    assert heard == wanted, f"{missing_secs:.3f} s are missing"


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
    assert len(heard) == len(wanted)
    apart = np.frombuffer(heard, "<i2").astype(int) - np.frombuffer(wanted, "<i2")
    assert abs(apart).max() <= 2


def heard_on(call: Call, sandbox: Sandbox) -> Heard:
    """What was heard of a call; others have sessions in the same sandbox."""
    return sandbox.heard(call.session_id)


def said_to(call: Call, sandbox: Sandbox) -> list[str]:
    """The commands and confirmations of a call's session, in order."""
    return [
        f"{entry['direction']} {entry['what']}"
        for entry in sandbox.log
        if entry["session_id"] == call.session_id
        and entry["direction"] in ("in", "out")
        and str(entry["what"]).startswith("agent.")
    ]


def bot_frames(call: Call) -> list[str]:
    """The bot speaking frames that came down; those that went up must be the same."""
    kinds = (BotStartedSpeakingFrame, BotStoppedSpeakingFrame)
    down = [type(frame).__name__ for frame in call.behind.of(*kinds)]
    up = [type(frame).__name__ for frame in call.above.of(*kinds, upstream=True)]
    assert down == up
    return down


@dataclass
class Mark(DataFrame):
    """Something that an application puts between the words."""


@dataclass
class Urgent(SystemFrame):
    """Something that waits for nothing."""


def assert_agree(call: Call, heard: Heard, *, nth: int = 1, first: int = 0, last: int = -1):
    """Assert that the nth start and stop agree with the first and last sample of segments."""
    started = call.behind.seen(BotStartedSpeakingFrame)[nth - 1].at
    stopped = call.behind.seen(BotStoppedSpeakingFrame)[nth - 1].at
    assert_time(started, heard.segments[first].starts_at, TOLERANCE_SECS, "the start")
    assert_time(stopped, heard.segments[last].ends_at, TOLERANCE_SECS, "the stop")


# --- what is heard, and when -----------------------------------------------------------


@SCENES.add
async def speech_in_a_burst_is_reported_when_it_sounds(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(2.0)))
        await call.end()
    heard = heard_on(call, sandbox)
    assert len(heard.segments) == 1
    assert_agree(call, heard)
    assert bot_frames(call) == PAIR


@SCENES.add
async def speech_in_real_time_is_reported_when_it_sounds(sandbox: Sandbox):
    async with staged(EspeakTTSService(delivery="real_time"), avatar=avatar_in(sandbox)) as call:
        await call.feed(TTSSpeakFrame("This takes as long as it takes."))
        await call.end()
    assert_agree(call, heard_on(call, sandbox))
    assert bot_frames(call) == PAIR


@SCENES.add
async def a_stall_is_no_stop(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        first, *rest = noise(1.0, frame_secs=0.5)
        await call.feed(TTSStartedFrame(), first)
        await call.heard_for(1.5)
        await call.feed(*rest, TTSStoppedFrame())
        await call.end()
    heard = heard_on(call, sandbox)
    assert len(heard.segments) == 2
    assert heard.gaps[0].duration_secs > 0.5
    assert_heard(heard.pcm, converted([first, *rest]))
    assert_agree(call, heard)
    assert bot_frames(call) == PAIR


@SCENES.add
async def every_format_is_heard_to_the_sample(sandbox: Sandbox):
    utterances = [
        noise(0.7, seed=1, rate=22_050, frame_secs=0.033),
        noise(0.5, seed=2, rate=48_000, channels=2, frame_secs=0.02),
        noise(0.301, seed=3, rate=16_000, frame_secs=0.1),
        noise(0.013, seed=4, rate=8_000),
    ]
    async with staged(avatar=avatar_in(sandbox)) as call:
        for audio in utterances:
            await call.feed(*utterance(audio))
        await call.end()
    wanted = b"".join(converted(audio) for audio in utterances)
    assert_alike(heard_on(call, sandbox).pcm, wanted)
    assert bot_frames(call) == PAIR * len(utterances)


@SCENES.add
async def utterances_that_wait_for_each_other_have_no_gap(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(0.8, seed=1)), *utterance(noise(0.8, seed=2)))
        await call.end()
    heard = heard_on(call, sandbox)
    assert len(heard.segments) == 1
    assert bot_frames(call) == PAIR * 2
    (segment,) = heard.segments
    turn = segment.starts_at + 0.8
    assert_time(await call.stopped(1), turn, TOLERANCE_SECS, "the stop")
    assert_time(await call.started(2), turn, TOLERANCE_SECS, "the second start")


@SCENES.add
async def real_time_speech_over_a_long_way_has_no_gap(_: Sandbox):
    async with avatars(round_trip_secs=0.3) as sandbox:
        async with staged(avatar=avatar_in(sandbox)) as call:
            # The way is known from the first answer on.
            await call.feed(*utterance(noise(0.3)))
            await call.stopped()
            begun = time.monotonic()
            await call.feed(TTSStartedFrame())
            for number, frame in enumerate(noise(2.5, frame_secs=0.02)):
                await asyncio.sleep(begun + 0.02 * number - time.monotonic())
                await call.feed(frame)
            await call.feed(TTSStoppedFrame())
            await call.end()
        heard = sandbox.heard()
    assert heard.duration_secs == pytest.approx(2.8, abs=0.001)
    # What is seen here would be the machine's: it has other things to do.
    silent_secs = sum(gap.duration_secs for gap in heard.gaps[1:])
    assert_time(silent_secs, 0.0, 0.15, "the sum of sounds")
    assert bot_frames(call) == PAIR * 2


@SCENES.add
async def words_come_with_their_sound_even_if_it_was_delivered_long_before(sandbox: Sandbox):
    async with staged(EspeakTTSService(word_timestamps=True), avatar=avatar_in(sandbox)) as call:
        await call.feed(TTSSpeakFrame("This is the first."), TTSSpeakFrame("And the second."))
        await call.end()
    words = call.behind.seen(TTSTextFrame)
    assert " ".join(word.frame.text for word in words) == "This is the first. And the second."
    first, second = await call.started(1), await call.started(2)
    assert [word.at >= first for word in words[:4]] == [True] * 4
    assert [word.at >= second for word in words[4:]] == [True] * 3
    assert_time(words[-1].at, second + 0.3, TOLERANCE_SECS, "the last word")
    assert words[-1].at < await call.stopped(2)


@SCENES.add
async def words_known_before_their_sound_wait_for_it(sandbox: Sandbox):
    def word(text: str, at_secs: float) -> TTSTextFrame:
        frame = TTSTextFrame(text, "word")
        frame.pts = call.above.get_clock().get_time() + round(at_secs * 1e9)
        return frame

    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(TTSStartedFrame(), word("At", 0.0), word("last", 0.6))
        await asyncio.sleep(0.3)
        assert call.behind.of(TTSTextFrame) == []
        await call.feed(*noise(1.0), TTSStoppedFrame())
        await call.end()
    at, last = call.behind.seen(TTSTextFrame)
    started = await call.started()
    assert_time(at.at, started, TOLERANCE_SECS, "the first word")
    assert_time(last.at, started + 0.6, TOLERANCE_SECS, "the last word")


@SCENES.add
async def text_does_not_wait_for_what_a_resampler_holds_back(sandbox: Sandbox):
    """It holds some 10 ms, and they come with the next audio: after a tool call, for one."""
    async with staged(avatar=avatar_in(sandbox)) as call:
        first, rest = noise(0.5, rate=24_000), noise(0.2, seed=2, rate=24_000)
        await call.feed(TTSStartedFrame(), *first, TTSTextFrame("One.", "sentence"))
        text = await call.behind.saw(TTSTextFrame)
        assert_time(text.at, await call.started() + 0.5, TOLERANCE_SECS, "the text")
        await call.feed(*rest, TTSStoppedFrame())
        await call.end()
    assert_alike(heard_on(call, sandbox).pcm, converted([*first, *rest]))


# --- interruptions ---------------------------------------------------------------------


@SCENES.add
async def nothing_of_interrupted_speech_is_heard_later(sandbox: Sandbox):
    cut, after = noise(8.0, seed=1), noise(0.5, seed=2)
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(cut))
        await call.heard_for(0.7)
        await call.interrupt()
        await call.feed(*utterance(after))
        await call.end()
    assert_cut(heard_on(call, sandbox).pcm, converted(cut), converted(after))
    assert bot_frames(call) == PAIR * 2


@SCENES.add
async def no_speech_leaves_before_an_interruption_is_confirmed(_: Sandbox):
    slow = Fault(on="agent.interrupt", kind="delay", delay_secs=0.6, delayed="answer")
    async with avatars(faults=[slow]) as sandbox:
        async with staged(avatar=avatar_in(sandbox)) as call:
            await call.feed(*utterance(noise(3.0, seed=1)))
            await call.heard_for(0.5)
            await call.interrupt()
            await call.feed(*utterance(noise(0.5, seed=2)))
            await call.end()
        said = said_to(call, sandbox)
        heard = sandbox.heard()
    sent, confirmed = said.index("in agent.interrupt"), said.index("out agent.interrupt.confirmed")
    assert "in agent.speak" in said[:sent]
    assert "in agent.speak" not in said[sent:confirmed]
    assert_cut(heard.pcm, converted(noise(3.0, seed=1)), converted(noise(0.5, seed=2)))
    assert bot_frames(call) == PAIR * 2


@SCENES.add
async def speech_interrupted_before_its_first_sound_was_never_there(_: Sandbox):
    async with Sandbox(render_latency_secs=5.0) as sandbox:
        avatar = avatar_in(sandbox, settings={"avatar_latency_secs": 5.0})
        async with staged(avatar=avatar) as call:
            await call.turn()
            text = TTSTextFrame("Nobody hears this.", "sentence")
            await call.feed(TTSStartedFrame(), *noise(1.0), text, TTSStoppedFrame())
            await sandbox.wait_for("agent.speak.confirmed")
            await call.interrupt()
            await call.end()
        said = said_to(call, sandbox)
        assert sandbox.heard().samples == 0
    assert "in agent.interrupt" in said
    assert bot_frames(call) == []
    assert call.behind.of(TTSTextFrame) == []
    assert call.context.messages == []


@SCENES.add
async def an_interruption_while_silent_is_told_all_the_same(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.interrupt()
        await call.feed(*utterance(noise(0.3)))
        await call.end()
    assert said_to(call, sandbox)[0] == "in agent.interrupt"
    assert_heard(heard_on(call, sandbox).pcm, converted(noise(0.3)))


@SCENES.add
async def late_frames_of_interrupted_speech_are_dropped(sandbox: Sandbox):
    cut, late = noise(1.0, seed=1, context_id="cut"), noise(0.4, seed=2, context_id="cut")
    after = noise(0.4, seed=3, context_id="after")
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(TTSStartedFrame(context_id="cut"), *cut)
        await call.heard_for(0.3)
        await call.interrupt()
        await call.behind.saw(InterruptionFrame)
        words = TTSTextFrame("Too late.", "sentence")
        words.context_id = "cut"
        await call.feed(*late, words, TTSStoppedFrame(context_id="cut"))
        await call.feed(*utterance(after, "after"))
        await call.end()
    assert_cut(heard_on(call, sandbox).pcm, converted(cut), converted(after))
    assert [frame.context_id for frame in call.behind.of(TTSStoppedFrame)] == ["after"]
    assert call.behind.of(TTSTextFrame) == []


@SCENES.add
async def late_frames_of_nameless_speech_are_dropped_until_the_next_start(sandbox: Sandbox):
    cut, after = noise(1.0, seed=1), noise(0.4, seed=3)
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(TTSStartedFrame(), *cut)
        await call.heard_for(0.3)
        await call.interrupt()
        await call.behind.saw(InterruptionFrame)
        await call.feed(*noise(0.4, seed=2), TTSStoppedFrame())
        await call.feed(*utterance(after))
        await call.end()
    assert_cut(heard_on(call, sandbox).pcm, converted(cut), converted(after))
    assert len(call.behind.of(TTSStoppedFrame)) == 1


@SCENES.add_uninterruptible
async def uninterruptible_speech_plays_on_and_the_server_is_not_told(sandbox: Sandbox):
    audio = noise(1.5)
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*map(keep, utterance(audio)))
        await call.heard_for(0.5)
        await call.interrupt()
        await call.end()
    assert "in agent.interrupt" not in said_to(call, sandbox)
    heard = heard_on(call, sandbox)
    assert len(heard.segments) == 1
    assert_heard(heard.pcm, converted(audio))
    assert_agree(call, heard)
    assert bot_frames(call) == PAIR


@SCENES.add_uninterruptible
async def uninterruptible_speech_is_said_again_from_where_it_was_cut(sandbox: Sandbox):
    """Behind it waits speech that may be cut: for its sake the server must be told."""
    audio, cut = noise(1.2, seed=1), noise(1.2, seed=2)
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*map(keep, utterance(audio)), *utterance(cut))
        await call.heard_for(0.5)
        await call.interrupt()
        await call.end()
    assert said_to(call, sandbox).count("in agent.interrupt") == 1
    heard, wanted = heard_on(call, sandbox).pcm, converted(audio)
    # The clock and the avatar may differ by some milliseconds about the moment of the cut.
    again = heard.rfind(wanted[-8000:-4000]) - len(wanted) + 8000
    assert heard.startswith(wanted[:8000])
    assert_time(again / 32_000, 0.0, TOLERANCE_SECS, "the same sample the second time")


@SCENES.add_uninterruptible
async def uninterruptible_speech_behind_speech_that_is_cut_is_heard_whole(sandbox: Sandbox):
    cut, audio = noise(1.2, seed=1), noise(0.8, seed=2)
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(cut), *map(keep, utterance(audio)))
        await call.heard_for(0.4)
        await call.interrupt()
        await call.end()
    assert_cut(heard_on(call, sandbox).pcm, converted(cut), converted(audio))


@SCENES.add_uninterruptible
async def a_late_answer_to_an_interrupt_costs_nothing_of_uninterruptible_speech(_: Sandbox):
    """Nobody can tell whether the avatar stopped at once: rather twice than not at all."""
    cut, audio = noise(0.6, seed=1), noise(0.8, seed=2)
    for delayed, times in (("answer", 1), ("command", 2)):
        slow = Fault(on="agent.interrupt", kind="delay", delay_secs=0.8, delayed=delayed)
        async with avatars(faults=[slow]) as sandbox:
            async with staged(avatar=avatar_in(sandbox)) as call:
                await call.feed(*utterance(cut), *map(keep, utterance(audio)))
                await call.heard_for(0.4)
                await call.interrupt()
                await call.end()
            heard, wanted = heard_on(call, sandbox).pcm, converted(audio)
        assert heard.endswith(wanted)
        assert heard.count(wanted[:8000]) == times


# --- settings --------------------------------------------------------------------------


def update(**settings: Any) -> ServiceUpdateSettingsFrame:
    return ServiceUpdateSettingsFrame(delta=AgentHumanVideoService.Settings(**settings))


@SCENES.add
async def settings_count_from_the_next_utterance_on(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        first, *rest = noise(1.0, seed=1, frame_secs=0.5)
        await call.feed(TTSStartedFrame(), first)
        await call.started()
        await call.feed(update(avatar_latency_secs=1.1), *rest, TTSStoppedFrame())
        await call.stopped()
        await call.feed(*utterance(noise(0.5, seed=2)))
        await call.end()
    heard = heard_on(call, sandbox)
    *_, second = heard.segments
    # The first utterance keeps its latency; the second counts with one second too much.
    assert_agree(call, heard, nth=1, last=-2)
    expected = second.starts_at + 1.1 - LATENCY_SECS
    assert_time(await call.started(2), expected, TOLERANCE_SECS, "the second start")


@SCENES.add
async def invalid_settings_are_reported_and_change_nothing(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(update(avatar_latency_secs=-1.0, max_message_secs=0.5))
        await call.feed(*utterance(noise(0.7)))
        await call.end()
    (error,) = call.reported
    assert "avatar_latency_secs" in error.error
    assert_agree(call, heard_on(call, sandbox))


# --- what never waits ------------------------------------------------------------------


@SCENES.add
async def the_start_passes_while_the_service_is_slow(_: Sandbox):
    slow = Fault(on="create", kind="delay", delay_secs=1.5)
    async with avatars(faults=[slow]) as sandbox:
        async with staged(avatar=avatar_in(sandbox), until_ready=False) as call:
            await call.behind.saw(StartFrame)
            assert sandbox.sessions == []
            await call.feed(*utterance(noise(0.4)))
            await call.end()
        # The first words waited for the avatar.
        assert_heard(sandbox.heard().pcm, converted(noise(0.4)))


@SCENES.add
async def speech_for_which_there_is_no_room_is_dropped_and_nothing_waits_for_it(_: Sandbox):
    slow = Fault(on="create", kind="delay", delay_secs=2.0)
    async with avatars(faults=[slow]) as sandbox:
        async with staged(avatar=avatar_in(sandbox), until_ready=False) as call:
            await call.feed(TTSStartedFrame(), *noise(614.0, frame_secs=2.0), Mark(), Urgent())
            await call.behind.saw(Urgent)
            await until(lambda: call.avatar.stats.taken_secs > 613.0)
            assert not call.avatar.has_queued_frame(Mark)
            assert sandbox.sessions == []
            assert 600.0 <= playout_of(call.avatar).outgoing.backlog_secs <= 602.0
            assert 12.0 <= call.avatar.stats.dropped_secs <= 14.0
            assert [frame.code for frame in call.error_frames] == ["backlog_full"]
            await call.interrupt()
            await call.behind.saw(InterruptionFrame)
            await call.feed(*utterance(noise(0.4, seed=2)))
            await call.end()
        assert_heard(sandbox.heard().pcm, converted(noise(0.4, seed=2)))
    assert call.behind.of(Mark) == []


@SCENES.add
async def what_goes_up_passes_untouched(sandbox: Sandbox):
    class Control(ControlFrame):
        pass

    frames = [Mark(), Control(), Urgent(), noise(0.1)[0], TTSStoppedFrame(), TTSStartedFrame()]
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(1.0)))
        await call.started()
        for frame in frames:
            await call.transport.push_frame(frame, FrameDirection.UPSTREAM)
        kinds = tuple(type(frame) for frame in frames)
        await until(lambda: len(call.above.of(*kinds, upstream=True)) == len(frames))
        assert call.behind.of(BotStoppedSpeakingFrame) == []
        await call.end()
    came = {
        sighting.frame.id: sighting.frame for sighting in call.above.seen(*kinds, upstream=True)
    }
    assert all(came[frame.id] is frame for frame in frames)


# --- the end ---------------------------------------------------------------------------


@SCENES.add
async def the_end_waits_for_the_last_word_and_ends_the_session(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(1.5)))
        await call.end()
    heard = heard_on(call, sandbox)
    assert_heard(heard.pcm, converted(noise(1.5)))
    (record,) = [record for record in sandbox.sessions if record.id == call.session_id]
    assert record.status == "ended"


@SCENES.add
async def an_open_utterance_is_said_to_its_end_and_stopped(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(TTSStartedFrame(), *noise(0.5))
        await call.end()
    assert_heard(heard_on(call, sandbox).pcm, converted(noise(0.5)))
    assert bot_frames(call) == PAIR


@SCENES.add
async def a_stop_waits_for_the_last_word_too(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(1.0)), StopFrame())
        await call.behind.saw(StopFrame)
        assert_heard(heard_on(call, sandbox).pcm, converted(noise(1.0)))
        await call.worker.cancel()
    assert bot_frames(call) == PAIR


@SCENES.add
async def an_interruption_ends_the_wait_for_the_last_word(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(12.0)))
        await call.end()
        await call.heard_for(0.5)
        await call.avatar.queue_frame(InterruptionFrame())
    assert 0 < heard_on(call, sandbox).duration_secs < 6.0
    assert len(call.behind.of(EndFrame)) == 1
    assert bot_frames(call) == PAIR


@SCENES.add
async def a_cancellation_ends_everything_at_once(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(12.0)))
        await call.heard_for(0.5)
        await call.worker.cancel()
    assert 0 < heard_on(call, sandbox).duration_secs < 6.0
    assert len(call.behind.of(CancelFrame)) == 1
    # Nothing goes up any more: what stands above was cancelled before.
    assert len(call.behind.of(BotStartedSpeakingFrame)) == 1
    assert len(call.behind.of(BotStoppedSpeakingFrame)) == 1


@SCENES.add
async def a_cancellation_ends_the_wait_for_the_last_word(sandbox: Sandbox):
    async with staged(avatar=avatar_in(sandbox)) as call:
        await call.feed(*utterance(noise(12.0)))
        await call.end()
        await call.heard_for(0.5)
        await call.avatar.queue_frame(CancelFrame())
    assert 0 < heard_on(call, sandbox).duration_secs < 6.0
    assert bot_frames(call) == PAIR


# --- the tests -------------------------------------------------------------------------


@pytest.mark.parametrize("name", SCENES)
def test_speaking(name: str):
    SCENES.play(name)
