"""The bot is never mute: the transport speaks while there is no avatar."""

import asyncio

import numpy as np
import pytest
from pipecat.frames.frames import (
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.transports.base_transport import TransportParams

from pipecat_agenthuman.pipeline.frame_traits import LOUDNESS, StandInAudioFrame
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import CUT_SECS, avatars, calling
from tests.support.faults import fault
from tests.support.inside import avatar_speaks, set_limits, transport_is_busy
from tests.support.pipelines import SoundCard
from tests.support.sounds import RATE, counted, never, numbered, once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")

CHUNK_SAMPLES = 640
"""In a piece in which the transport plays: 40 ms."""


# --- a loss ----------------------------------------------------------------------------


@virtually
async def test_at_a_loss_the_transport_speaks_what_was_not_heard_and_then_the_avatar_again(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        words = await call.say(1.2)
        await sandbox.wait_until_heard(0.4)
        await sandbox.drop(abort=True)
        await call.until_ready(2)
        await call.spoken()
        more = await call.say(0.3)
        await call.end()
    avatar, transport = call.heard_of_avatar(), call.given_to_transport()
    both = avatar + transport
    assert (both > 1).sum() / RATE < CUT_SECS
    assert (both == 0).sum() / RATE < CUT_SECS
    assert avatar[words.start : words.start + RATE // 4].all()
    assert transport[words.stop - RATE // 4 : words.stop].all()
    assert once(avatar, more)
    assert never(transport, more)
    assert not call.unpaired()
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"] * 2
    stats = call.avatar.stats
    assert stats.fallback_secs == pytest.approx(stats.repeated_secs)
    assert stats.repeated_secs == pytest.approx(transport.sum() / RATE)


@virtually
async def test_what_begins_while_there_is_no_avatar_is_said_by_the_transport_to_its_end(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        sandbox.inject(fault("create", "delay", delay_secs=1.2, delayed="answer"))
        first = await call.say(0.6)
        second = await call.say(1.5)  # longer than it takes to bring up another session
        await sandbox.wait_until_heard(0.1)
        await sandbox.drop()
        await call.until_ready(2)
        assert not call.given_to_transport()[second.stop - 1]
        await call.spoken(2)
        third = await call.say(0.3)
        await call.end()
    avatar, transport = call.heard_of_avatar(), call.given_to_transport()
    assert transport[first.stop - 1] == 1
    assert once(transport, second)
    assert never(avatar, second)
    assert once(avatar, third)
    assert never(transport, third)


@virtually
async def test_what_waits_while_the_transport_speaks_is_said_by_the_avatar_in_its_turn(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        first = await call.say(2.0)  # longer than it takes to bring up another session
        second = await call.say(0.3)
        await sandbox.wait_until_heard(0.1)
        await sandbox.drop()
        await call.until_ready(2)
        assert not call.given_to_transport()[first.stop - 1]
        await call.spoken()
        assert never(call.heard_of_avatar(), second), "one at a time"
        await call.end()
    avatar, transport = call.heard_of_avatar(), call.given_to_transport()
    assert transport[first.stop - 1] == 1
    assert once(avatar, second)
    assert never(transport, second)
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"] * 2


@virtually
async def test_an_utterance_under_way_stays_with_the_transport_to_its_end(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        saying = asyncio.create_task(call.say(1.2, real_time=True))
        await sandbox.wait_until_heard(0.2)
        await sandbox.drop()
        await call.until_ready(2)
        words = await saying
        await call.spoken()
        await call.end()
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"]
    both = call.heard_of_avatar() + call.given_to_transport()
    assert (both != 1).sum() / RATE < CUT_SECS
    assert call.given_to_transport()[words.start + RATE * 3 // 4 : words.stop].all()
    assert call.heard_of_avatar().sum() / RATE < 0.2 + CUT_SECS


@virtually
async def test_every_held_frame_comes_through_once_and_in_its_place(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame())
        for number in range(10):
            piece = range(number * 1600, (number + 1) * 1600)
            await call.feed(TTSAudioRawFrame(numbered(piece), RATE, 1))
            await call.feed(TTSTextFrame(f"word {number}", "sentence"))
        await call.feed(TTSStoppedFrame())
        call.said = 16_000
        await sandbox.wait_until_heard(0.35)
        await sandbox.drop(abort=True)
        await call.spoken()
        await call.end()
    assert [f.text for f in call.behind.of(TTSTextFrame)] == [f"word {n}" for n in range(10)]
    # The transport keeps the order in which it is given things, so a word comes just before the
    # piece in which the sound before it ends.
    given = 0
    by_transport = False
    for frame in call.between.of(TTSTextFrame, StandInAudioFrame):
        if isinstance(frame, StandInAudioFrame):
            by_transport = True
            given = max(given, int(np.frombuffer(frame.audio, "<u2").max()))
        elif by_transport:
            end = 1600 * (int(frame.text.split()[1]) + 1)
            assert 0 <= end - given < CHUNK_SAMPLES
    assert by_transport


@virtually
async def test_words_with_timestamps_come_once_and_in_order_whoever_speaks(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        clock = call.avatar.get_clock()
        await call.feed(TTSStartedFrame(), TTSAudioRawFrame(numbered(range(16_000)), RATE, 1))
        call.said = 16_000
        start = clock.get_time()
        for number in range(10):
            word = TTSTextFrame(f"word {number}", "word")
            word.pts = start + number * 100_000_000
            await call.feed(word)
        await call.feed(TTSStoppedFrame())
        await sandbox.wait_until_heard(0.35)
        await sandbox.drop(abort=True)
        await call.spoken()
        await until(lambda: len(call.behind.of(TTSTextFrame)) == 10)
        await call.end()
    assert [f.text for f in call.behind.of(TTSTextFrame)] == [f"word {n}" for n in range(10)]


@virtually
async def test_the_words_of_the_next_utterance_wait_for_its_sound(log):
    """The transport says the rest first, and so begins later than the TTS service knows."""
    latency_secs, word_samples = 0.5, 4000
    settings = {"avatar_latency_secs": latency_secs}
    async with (
        Sandbox(render_latency_secs=latency_secs) as sandbox,
        calling(sandbox, settings=settings) as call,
    ):
        last_ns = 0

        async def say_words(name: str, said: range) -> None:
            nonlocal last_ns
            await call.feed(TTSStartedFrame(context_id=name))
            base_ns = max(call.avatar.get_clock().get_time(), last_ns)
            for start in range(said.start, said.stop, word_samples):
                audio = numbered(range(start, start + word_samples))
                await call.feed(TTSAudioRawFrame(audio, RATE, 1, context_id=name))
                word = TTSTextFrame(str(start), "word", context_id=name)
                word.pts = last_ns = base_ns + (start - said.start) * 1_000_000_000 // RATE
                await call.feed(word)
            await call.feed(TTSStoppedFrame(context_id=name))

        call.said = 6 * 2 * word_samples
        sandbox.inject(fault("create", "refuse", status=401))
        await say_words("one", range(call.said // 2))
        await sandbox.wait_until_heard(0.2)
        await sandbox.drop()
        await until(lambda: not avatar_speaks(call.avatar))
        await say_words("two", range(call.said // 2, call.said))
        await until(lambda: len(call.behind.of(TTSTextFrame)) == 12)
        await call.end()
    assert [int(frame.text) for frame in call.behind.of(TTSTextFrame)] == [
        number * word_samples for number in range(12)
    ]
    came_at = {seen.frame.text: seen.at for seen in call.behind.seen(TTSTextFrame)}
    over_at = {  # a piece comes out when it has sounded
        int(np.frombuffer(seen.frame.audio, "<u2")[0]): seen.at
        for seen in call.behind.seen(StandInAudioFrame)
    }
    for start in range(call.said // 2, call.said, word_samples):
        chunk = max(first for first in over_at if first <= start + 1)
        assert over_at[chunk] - came_at[str(start)] == pytest.approx(0, abs=0.3)


@virtually
async def test_the_transport_is_given_whole_pieces_of_its_own_format_whatever_the_tts_has(log):
    """Pipecat's transport takes one input rate, and what it resamples has no end of its own."""
    rate, secs = 22_050, 1.0
    noise = np.random.default_rng(1).integers(-3000, 3000, round(rate * secs), dtype=np.int16)
    pieces = [noise[at : at + 2205].tobytes() for at in range(0, len(noise), 2205)]
    async with avatars() as sandbox, calling(sandbox) as call:
        frames = [TTSAudioRawFrame(piece, rate, 1) for piece in pieces]
        await call.feed(TTSStartedFrame(), *frames, TTSStoppedFrame())
        await sandbox.wait_until_heard(0.3)
        sandbox.inject(fault("create", "refuse", status=401))
        await sandbox.drop()
        await call.spoken()
        more = [TTSAudioRawFrame(piece, rate, 1) for piece in pieces[:3]]
        await call.feed(TTSStartedFrame(), *more, TTSStoppedFrame())
        await call.end()
    given = call.between.of(StandInAudioFrame)
    assert {(frame.sample_rate, frame.num_channels) for frame in given} == {(RATE, 1)}
    assert {len(frame.audio) for frame in given} == {2 * CHUNK_SAMPLES}
    assert not call.between.of(TTSAudioRawFrame)
    played_secs = len(call.transport.played) / 2 / RATE
    stats = call.avatar.stats
    padding_secs = 2 * CHUNK_SAMPLES / RATE
    assert stats.fallback_secs <= played_secs <= stats.fallback_secs + padding_secs
    assert stats.taken_secs == pytest.approx(secs + 0.3)
    assert stats.taken_secs == pytest.approx(stats.heard_secs + stats.fallback_secs, abs=0.002)
    assert not [line for line in log if "resampl" in line.lower() and "ERROR" in line]


@virtually
async def test_a_loss_after_an_interruption_leaves_nobody_mute(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame(), TTSAudioRawFrame(numbered(range(RATE)), RATE, 1))
        call.said = RATE
        await sandbox.wait_until_heard(0.1)
        await call.interrupt()
        sandbox.inject(fault("create", "refuse", status=402))
        await sandbox.drop()
        await until(lambda: not call.avatar.is_usable)
        words = await call.say(0.3)
        await call.end()
    assert call.given_to_transport()[words.start : words.stop].all()
    assert not call.unpaired()


# --- interruptions and the end ---------------------------------------------------------


@virtually
async def test_an_interruption_silences_the_transport_and_the_avatar_takes_over(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        cut = await call.say(3.0)
        await sandbox.wait_until_heard(0.2)
        await sandbox.drop()
        await call.until_ready(2)
        await until(lambda: call.speaking(call.above, upstream=True)[-1:] == ["start"])
        await call.interrupt()
        more = await call.say(0.3)
        await call.end()
    assert once(call.heard_of_avatar(), more)
    assert never(counted(call.transport.played, call.said), range(cut.stop - RATE, cut.stop))
    assert not call.unpaired()


@virtually
async def test_uninterruptible_speech_survives_an_interruption_of_the_transport_too(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        kept = await call.say(2.4, interruptible=False)
        cut = await call.say(0.8)
        await sandbox.wait_until_heard(0.2)
        await sandbox.drop()
        await call.until_ready(2)
        await until(lambda: len(call.transport.played) > RATE // 5)
        await call.interrupt()
        more = await call.say(0.3)
        await until(lambda: bool(call.given_to_transport()[more.start : more.stop].all()))
        await until(lambda: not transport_is_busy(call.avatar))
        last = await call.say(0.3)
        await call.end()
    played = counted(call.transport.played, call.said)
    both = call.heard_of_avatar() + played
    assert (both[kept.start : kept.stop] != 1).sum() / RATE < CUT_SECS
    assert played[kept.stop - RATE // 4 : kept.stop].all()
    assert never(both, cut)
    assert once(played, more), "the avatar must not speak into what the transport still plays"
    assert once(call.heard_of_avatar(), last)
    assert not call.unpaired()


@virtually
async def test_words_that_nobody_confirms_are_spoken_by_the_transport_at_the_end(log):
    async with avatars() as sandbox, calling(sandbox, drain_grace_secs=0.3) as call:
        sandbox.inject(fault("agent.speak", "missing", carried_out=False))
        words = await call.say(0.5)
        await sandbox.wait_for("fault")
        await call.end()
    assert once(call.given_to_transport(), words)
    assert not call.unpaired()
    assert [line for line in log if "WARNING" in line and "the transport speaks them" in line]


# --- on_unavailable="drop" -------------------------------------------------------------


@virtually
async def test_drop_swallows_speech_and_words_but_nothing_else(log):
    async with avatars() as sandbox, calling(sandbox, on_unavailable="drop") as call:
        words = await call.say(0.8)
        await sandbox.wait_until_heard(0.2)
        sandbox.inject(fault("create", "refuse", status=403))
        await sandbox.drop()
        await until(lambda: not call.avatar.is_usable)
        more = await call.say(0.3)
        await call.end()
    assert not call.given_to_transport().any()
    assert never(call.heard_of_avatar(), more)
    assert not call.heard_of_avatar()[words.stop - 1]
    # Of the first something was heard, as if the server had refused the rest.
    assert [frame.text for frame in call.behind.of(TTSTextFrame)] == [f"words {words.start}"]
    assert len(call.behind.of(TTSStoppedFrame)) == 2
    assert not call.unpaired()
    stats = call.avatar.stats
    assert stats.dropped_secs == pytest.approx(stats.taken_secs - stats.heard_secs, abs=0.001)
    assert "from now on the bot is mute" in call.reported[-1].error


@virtually
async def test_a_transport_that_plays_no_audio_is_warned_of_once(log):
    async with avatars() as sandbox, calling(sandbox, audio_out_enabled=False) as call:
        await call.say(0.1)
        await call.end()
    assert len([line for line in log if "plays no audio" in line]) == 1


@pytest.mark.skipif(not LOUDNESS, reason="this Pipecat has no volume frames")
@virtually
async def test_volume_frames_are_passed_on_and_that_the_avatar_ignores_them_is_said_once(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        frames = [kind(0.5) for kind in LOUDNESS]
        await call.feed(*frames, *frames)
        words = await call.say(0.3)
        await call.end()
    assert call.between.of(*LOUDNESS) == frames + frames
    assert once(call.heard_of_avatar(), words)
    for kind in LOUDNESS:
        told = [line for line in log if f"{kind.__name__} changes what the transport" in line]
        assert len(told) == 1


@virtually
async def test_a_filter_of_the_transport_is_warned_of_once(log):
    if not hasattr(TransportParams(), "audio_out_filter"):
        pytest.skip("this Pipecat has no filter for what is played")
    transport = SoundCard()
    transport._params.audio_out_filter = object()
    async with avatars() as sandbox, calling(sandbox, transport=transport) as call:
        transport._params.audio_out_filter = None
        await call.say(0.1)
        await call.end()
    assert len([line for line in log if "has an audio_out_filter" in line]) == 1


@virtually
async def test_a_transport_that_plays_no_audio_is_fine_if_nothing_is_to_be_passed(log):
    options = {"audio_out_enabled": False, "on_unavailable": "drop"}
    async with avatars() as sandbox, calling(sandbox, **options) as call:
        await call.end()
    assert not [line for line in log if "plays no audio" in line]


async def test_words_that_wait_for_an_avatar_that_never_comes_keep_their_format(monkeypatch):
    """The transport says them as if it had been given them by the TTS service."""
    set_limits(monkeypatch, start_wait_secs=0.3)
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=2.5, delayed="answer"))
        shape = {"until_ready": False, "rate": 24_000}
        transport = SoundCard(audio_out_channels=2)
        async with calling(sandbox, transport=transport, **shape) as call:
            left = np.arange(1, 12_001)
            audio = np.column_stack([left, left + 20_000]).astype("<u2").tobytes()
            await call.feed(TTSStartedFrame(), TTSAudioRawFrame(audio, 24_000, 2))
            await call.feed(TTSStoppedFrame())
            await call.spoken()
            await call.end()
    given = b"".join(frame.audio for frame in call.between.of(StandInAudioFrame))
    assert given[: len(audio)] == audio
    assert not any(given[len(audio) :])
