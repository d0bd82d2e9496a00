"""Where the avatar was once told from a transport: what people report, played side by side.

Each is an example of a kind; most are performed by the transport, too, and have to come out alike.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from pipecat.audio.dtmf.types import KeypadEntry
from pipecat.audio.mixers.base_audio_mixer import BaseAudioMixer
from pipecat.frames import frames
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    DataFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMContextFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputTransportMessageFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman import AgentHumanVideoService, RenewalPolicy
from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.pipeline.frame_traits import StandInAudioFrame
from pipecat_agenthuman.sandbox import Fault
from tests.support.calls import CUT_SECS, Call, avatar_in, avatars, calling, staged
from tests.support.faults import fault
from tests.support.inside import delivery_lock
from tests.support.pipelines import SoundCard
from tests.support.sounds import (
    HAS_UNINTERRUPTIBLE_SPEECH,
    RATE,
    keep,
    never,
    noise,
    numbered,
    once,
)
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")

NANOSECS = 1_000_000_000

OVERLAP_SECS = 0.15
"""Between two who speak in turn, on a busy machine."""

Spans = Iterable[tuple[float, float]]


async def side_by_side(
    script: Callable[[Call], Awaitable[None]],
    *,
    parts: Callable[[], list[FrameProcessor]] = list,
    transport: Callable[[], SoundCard] = SoundCard,
    **options: Any,
) -> tuple[Call, Call]:
    """Perform a script with a transport that plays all of it, and with the avatar."""

    async def perform(avatar: AgentHumanVideoService | None) -> Call:
        shape = {"avatar": avatar, "transport": transport(), **options}
        async with staged(*parts(), **shape) as call:
            await script(call)
            await call.end()
        return call

    async with avatars() as sandbox:
        plain, with_avatar = await asyncio.gather(perform(None), perform(avatar_in(sandbox)))
    return plain, with_avatar


def say(secs: float, words: str, context_id: str | None = None) -> list[Frame]:
    """An utterance, all at once."""
    return [
        TTSStartedFrame(context_id=context_id),
        *noise(secs, rate=24_000, context_id=context_id),
        TTSTextFrame(words, "sentence", context_id=context_id),
        TTSStoppedFrame(context_id=context_id),
    ]


def sound(secs: float) -> list[OutputAudioRawFrame]:
    """A sound that is no speech."""
    return [OutputAudioRawFrame(frame.audio, 24_000, 1) for frame in noise(secs, rate=24_000)]


def words_of(call: Call) -> list[str]:
    return [frame.text for frame in call.behind.of(TTSTextFrame)]


def overlap_secs(some: Spans, others: Spans) -> float:
    """How long some sounds last while others do."""
    return sum(
        max(0.0, min(one[1], other[1]) - max(one[0], other[0])) for one in some for other in others
    )


# --- no mute ends ----------------------------------------------------------------------


def timed(word: str, at_ns: int, context_id: str | None = None) -> TTSTextFrame:
    frame = TTSTextFrame(word, "word", context_id=context_id)
    frame.pts = at_ns
    return frame


@virtually
async def test_a_pipeline_that_says_nothing_ends_although_it_is_interrupted():
    refused = Fault(on="create", kind="refuse", status=401)
    async with avatars(faults=[refused]) as sandbox:
        options = {"on_unavailable": "drop", "renewal": RenewalPolicy(max_short_sessions=1)}
        avatar = avatar_in(sandbox, **options)
        async with staged(avatar=avatar, until_ready=False) as call:
            await until(lambda: not avatar.is_usable)
            now_ns = avatar.get_clock().get_time()
            words = [timed(f"{n}", now_ns + n * NANOSECS) for n in range(5)]
            await call.feed(TTSStartedFrame(), *noise(5.0), *words, TTSStoppedFrame(), EndFrame())
            await call.feed(InterruptionFrame())
            async with asyncio.timeout(5.0):
                await call.until_over()


@virtually
async def test_words_that_nobody_says_do_not_hold_up_those_of_the_next_answer():
    """Their future timestamps would block the transport's clock."""
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=1.0, delayed="answer"))
        avatar = avatar_in(sandbox, on_unavailable="drop")
        tts = EspeakTTSService(word_timestamps=True)
        async with staged(tts, avatar=avatar) as call:
            await sandbox.drop()
            await until(lambda: not sandbox.live_sessions or avatar.stats.renewals)
            await call.turn("Nobody says these words, and there are very many of them indeed.")
            await call.until_ready(2)
            await call.turn("But these are said.")
            await call.end()
    (message,) = [one for one in call.context.messages if "said" in str(one)][-1:]
    assert "But these are said." in str(message["content"])


# --- words and their sound -------------------------------------------------------------


@dataclass
class Speaker:
    """A TTS service that knows when each of its words is said.

    Attributes:
        call: Where it speaks.
        word_samples: Samples of each word.
    """

    call: Call
    word_samples: int = 4000
    last_ns: int = 0

    async def begin(self, name: str) -> int:
        """Open an utterance; returns where its timestamps begin."""
        await self.call.feed(TTSStartedFrame(context_id=name))
        return max(self.call.avatar.get_clock().get_time(), self.last_ns)

    def audio(self, name: str, words: range) -> list[Frame]:
        """The sound of words with these numbers in the call."""
        self.call.said = max(self.call.said, words.stop * self.word_samples)
        return [
            TTSAudioRawFrame(
                numbered(range(n * self.word_samples, (n + 1) * self.word_samples)),
                RATE,
                1,
                context_id=name,
            )
            for n in words
        ]

    def words(self, name: str, base_ns: int, words: range, *, first: int) -> list[Frame]:
        """Words with these numbers, of an utterance that begins with the first."""
        frames: list[Frame] = []
        for n in words:
            self.last_ns = base_ns + (n - first) * self.word_samples * NANOSECS // RATE
            frames.append(timed(f"{name}{n}", self.last_ns, name))
        return frames


@virtually
async def test_words_keep_their_order_when_two_utterances_are_lost_and_one_is_open():
    async with avatars() as sandbox, calling(sandbox) as call:
        speaker = Speaker(call)
        for name, words, closed in (("a", range(4), True), ("b", range(4, 6), False)):
            base_ns = await speaker.begin(name)
            await call.feed(*speaker.audio(name, words))
            await call.feed(*speaker.words(name, base_ns, words, first=words.start))
            if closed:
                await call.feed(TTSStoppedFrame(context_id=name))
        await sandbox.wait_until_heard(0.1)
        sandbox.inject(fault("create", "refuse", status=401))
        await sandbox.drop()
        await until(lambda: call.between.of(StandInAudioFrame))
        await call.feed(*speaker.audio("b", range(6, 8)))
        await call.feed(*speaker.words("b", base_ns, range(6, 8), first=4))
        await call.feed(TTSStoppedFrame(context_id="b"))
        await call.spoken(2)
        await call.end()
    assert words_of(call) == [*(f"a{n}" for n in range(4)), *(f"b{n}" for n in range(4, 8))]
    check_words(call, speaker)


@virtually
async def test_words_that_are_known_before_their_sound_come_with_it_after_a_loss():
    async with avatars() as sandbox, calling(sandbox) as call:
        speaker = Speaker(call)
        base_ns = await speaker.begin("a")
        await call.feed(*speaker.audio("a", range(2)))
        await call.feed(*speaker.words("a", base_ns, range(6), first=0))
        await sandbox.wait_until_heard(0.1)
        sandbox.inject(fault("create", "refuse", status=401))
        await sandbox.drop()
        await asyncio.sleep(0.3)
        await call.feed(*speaker.audio("a", range(2, 6)), TTSStoppedFrame(context_id="a"))
        await call.spoken()
        await call.end()
    assert words_of(call) == [f"a{n}" for n in range(6)]
    check_words(call, speaker)


@virtually
async def test_words_before_the_first_sound_come_with_it_where_the_transport_speaks():
    async with avatars() as sandbox, calling(sandbox) as call:
        sandbox.inject(fault("create", "refuse", status=401))
        await sandbox.drop()
        await until(lambda: not call.avatar.is_usable)
        speaker = Speaker(call)
        base_ns = await speaker.begin("a")
        await call.feed(*speaker.words("a", base_ns, range(4), first=0))
        await asyncio.sleep(0.5)
        assert not words_of(call)
        await call.feed(*speaker.audio("a", range(4)), TTSStoppedFrame(context_id="a"))
        await call.spoken()
        await call.end()
    assert words_of(call) == [f"a{n}" for n in range(4)]
    check_words(call, speaker)


def check_words(call: Call, speaker: Speaker) -> None:
    """Each word that the transport said came with its sound."""
    over_at: dict[int, float] = {}
    for seen in call.behind.seen(StandInAudioFrame):
        samples = np.frombuffer(seen.frame.audio, "<u2")
        over_at |= {int(number) - 1: seen.at for number in samples if number}
    checked = 0
    for seen in call.behind.seen(TTSTextFrame):
        first = int(seen.frame.text[1:]) * speaker.word_samples
        if first in over_at:
            assert seen.at == pytest.approx(over_at[first], abs=0.15), seen.frame.text
            checked += 1
    assert checked >= 2


# --- what was interrupted --------------------------------------------------------------


@virtually
async def test_late_speech_of_an_interrupted_utterance_is_not_said_whoever_was_to_say_it():
    async with avatars() as sandbox, calling(sandbox) as call:
        sandbox.inject(fault("create", "delay", delay_secs=0.8, delayed="answer"))
        await sandbox.drop()
        await call.feed(TTSStartedFrame(context_id="cut"))
        call.said = RATE + 9600
        audio = TTSAudioRawFrame(numbered(range(RATE)), RATE, 1, context_id="cut")
        await call.feed(audio)
        await until(lambda: len(call.between.of(StandInAudioFrame)) > 5)
        await call.interrupt()
        late = range(RATE, RATE + 4800)
        await call.feed(TTSAudioRawFrame(numbered(late), RATE, 1, context_id="cut"))
        await call.until_ready(2)
        await call.feed(TTSAudioRawFrame(numbered(late), RATE, 1, context_id="cut"))
        said = range(RATE + 4800, RATE + 9600)
        audio = TTSAudioRawFrame(numbered(said), RATE, 1, context_id="said")
        await call.feed(TTSStartedFrame(context_id="said"), audio)
        await call.feed(TTSStoppedFrame(context_id="said"))
        await call.end()
    both = call.heard_of_avatar() + call.given_to_transport()
    assert never(both, late)
    assert once(both, said)
    assert not call.unpaired()


@virtually
async def test_what_waits_behind_a_sound_is_not_said_after_an_interruption():
    async with avatars() as sandbox, calling(sandbox) as call:
        waiting = [*sound(1.0), TTSStartedFrame(context_id="cut")]
        await call.feed(*waiting, TTSAudioRawFrame(numbered(range(8000)), RATE, 1))
        await until(lambda: call.transport.sounded)
        await call.interrupt()
        await call.feed(TTSAudioRawFrame(numbered(range(8000)), RATE, 1, context_id="cut"))
        await call.feed(TTSStoppedFrame(context_id="cut"))
        call.said = 8000
        more = await call.say(0.3)
        await call.end()
    both = call.heard_of_avatar() + call.given_to_transport()
    assert never(both, range(8000))
    assert once(both, more)


@virtually
async def test_a_prompt_that_was_interrupted_can_be_played_again_under_the_same_name(log):
    async def play(call: Call, secs: float) -> None:
        for frame in say(secs, "Please hold the line.", context_id="hold-prompt"):
            await call.feed(frame)
            if isinstance(frame, TTSAudioRawFrame):
                await asyncio.sleep(0.04)

    async def script(call: Call) -> None:
        playing = asyncio.create_task(play(call, 2.0))
        await call.heard_for(0.5)
        playing.cancel()
        await call.interrupt()
        await call.stopped()
        late = noise(0.1, rate=24_000, context_id="hold-prompt")
        await call.feed(*late)
        await asyncio.sleep(0.2)
        await play(call, 0.6)
        await call.stopped(2)

    _, call = await side_by_side(script)
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"] * 2
    assert words_of(call) == ["Please hold the line."]
    stats = call.avatar.stats
    assert stats.dropped_secs > 0.1
    assert stats.heard_secs + stats.dropped_secs == pytest.approx(stats.taken_secs, abs=0.05)
    assert [line for line in log if "hold-prompt was interrupted" in line]


# --- the stop comes after the last text ------------------------------------------------


class Hum(BaseAudioMixer):
    """A sound in the background, always."""

    async def start(self, sample_rate: int) -> None:
        pass

    async def stop(self) -> None:
        pass

    async def process_frame(self, frame: Frame) -> None:
        pass

    async def mix(self, audio: bytes) -> bytes:
        return (np.frombuffer(audio, np.int16) // 2 + 300).astype(np.int16).tobytes()


class Subtitles(FrameProcessor):
    """Sends each sentence to the client, ahead of its text."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TTSTextFrame):
            await self.push_frame(OutputTransportMessageFrame(message={"subtitle": frame.text}))
        await self.push_frame(frame, direction)


@pytest.mark.parametrize(
    ("transport", "subtitles", "turns"),
    [
        (lambda: SoundCard(audio_out_mixer=Hum()), False, 4),
        (lambda: SoundCard(message_secs=0.05), True, 4),
        (lambda: SoundCard(message_secs=0.4), True, 2),
    ],
    ids=["a mixer", "slow messages", "messages that pile up"],
)
@virtually
async def test_a_client_has_every_text_before_the_end_of_its_speech(transport, subtitles, turns):
    async def script(call: Call) -> None:
        for number in range(turns):
            await call.turn(f"This is {number}.")
            await call.stopped(number + 1)
            await asyncio.sleep(0.6 + 0.013 * number)

    def parts() -> list[FrameProcessor]:
        tts = EspeakTTSService(settings=EspeakTTSService.Settings(words_per_minute=400))
        return [tts, Subtitles()] if subtitles else [tts]

    calls = await side_by_side(script, parts=parts, transport=transport, enable_rtvi=True)
    wanted = [x for number in range(turns) for x in (f"This is {number}.", "stop")]
    for call in calls:
        behind = call.behind.of(TTSTextFrame, BotStoppedSpeakingFrame)
        assert [getattr(frame, "text", "stop") for frame in behind] == wanted, call.avatar
    plain, told = (
        [
            message["data"]["text"] if message["type"] == "bot-tts-text" else "stop"
            for _, message in call.transport.messages
            if message.get("type") in ("bot-tts-text", "bot-stopped-speaking")
        ]
        for call in calls
    )
    # Some releases of Pipecat tell nobody who has not said that he is ready.
    assert told == plain
    assert plain in (wanted, [])


# --- what occupies the transport -------------------------------------------------------


@virtually
async def test_speech_waits_for_tones():
    async def script(call: Call) -> None:
        await call.feed(*say(0.5, "Pressing your code."))
        await call.feed(OutputDTMFFrame(buttons=[KeypadEntry.ONE] * 4))
        await call.feed(*say(0.5, "Done."))
        await call.stopped(2)

    plain, call = await side_by_side(script)
    assert words_of(call) == words_of(plain)
    assert len(call.transport.sounded) >= 4
    assert overlap_secs(call.transport.sounded, call.bot_speech()) < OVERLAP_SECS


@pytest.mark.skipif(not HAS_UNINTERRUPTIBLE_SPEECH, reason="no interruption leaves a sound alone")
@virtually
async def test_the_answer_waits_for_a_notice_that_no_interruption_stops():
    async def script(call: Call) -> None:
        await call.feed(*map(keep, sound(1.5)))
        await until(lambda: call.transport.sounded)
        await asyncio.sleep(0.4)
        await call.interrupt()
        await call.feed(*say(0.5, "Yes, go on."))
        await call.stopped()

    _, call = await side_by_side(script)
    notice = sum(end - start for start, end in call.transport.sounded)
    assert notice == pytest.approx(1.5, abs=0.05)
    assert overlap_secs(call.transport.sounded, call.bot_speech()) < OVERLAP_SECS


@virtually
async def test_speech_waits_for_a_slow_message():
    async def script(call: Call) -> None:
        await call.feed(*say(0.3, "One."))
        await call.feed(OutputTransportMessageFrame(message={"type": "note"}))
        await call.feed(*say(0.3, "Two."))
        await call.stopped(2)

    calls = await side_by_side(script, transport=lambda: SoundCard(message_secs=0.8))
    for call in calls:
        ((sent_at, _),) = call.transport.messages
        assert sent_at < call.bot_speech()[1][0] + 0.05, call.avatar


@pytest.mark.parametrize("rate", [24_000, 22_050], ids=["its own rate", "another rate"])
@virtually
async def test_the_end_of_a_sound_is_not_heard_behind_the_speech_that_follows(rate):
    """What does not fill a piece the transport keeps, and what its resampler holds back."""
    async with avatars() as sandbox, staged(avatar=avatar_in(sandbox)) as call:
        audio = np.full(rate // 2 + 123, 900, dtype=np.int16).tobytes()
        await call.feed(OutputAudioRawFrame(audio, rate, 1), *say(0.5, "Said."))
        await call.stopped()
        await call.end()
    ((begins_at, _),) = call.bot_speech()
    assert all(end <= begins_at + OVERLAP_SECS for _, end in call.transport.sounded)
    secs = len(call.transport.played.rstrip(b"\0")) / 2 / 24_000
    assert secs == pytest.approx((rate // 2 + 123) / rate, abs=0.02)
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"]


@pytest.mark.parametrize("rate", [24_000, 8_000])
@pytest.mark.parametrize("ends_with", ["a stop", "the pipeline"])
@pytest.mark.parametrize("speaker", ["the avatar", "the transport"])
@virtually
async def test_a_crumb_in_the_resampler_does_not_start_speech_again(speaker, ends_with, rate):
    """A TTS service that has said nothing for longer than a stall may last, and then ends."""
    async with avatars() as sandbox:
        is_absent = speaker == "the transport"
        if is_absent:
            sandbox.inject(fault("create", "refuse", status=401, times=None))
        async with staged(avatar=avatar_in(sandbox), until_ready=not is_absent) as call:
            await call.feed(TTSStartedFrame(), *noise(0.5, rate=rate))
            await call.stopped()
            if ends_with == "a stop":
                await call.feed(TTSStoppedFrame())
                await call.behind.saw(TTSStoppedFrame)
            await call.end()
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"]
    assert call.speaking(call.above, upstream=True) == ["start", "stop"]
    assert call.avatar.stats.heard_secs + call.avatar.stats.fallback_secs == pytest.approx(0.5)
    if is_absent:
        played = np.frombuffer(call.transport.played, "<i2")  # the last piece is made whole
        assert np.count_nonzero(played) / 24_000 == pytest.approx(0.5, abs=0.005)
    else:
        assert sandbox.heard().duration_secs == pytest.approx(0.5)


# --- nothing queues behind a wait ------------------------------------------------------


@dataclass
class Note(DataFrame):
    """Something of an application."""


@pytest.mark.parametrize("case", ["a sound waits", "speech waits"])
@virtually
async def test_frames_that_go_up_pass_while_speech_waits(case):
    async with avatars() as sandbox, staged(avatar=avatar_in(sandbox)) as call:
        if case == "a sound waits":
            await call.feed(*say(2.0, "A sentence."), *sound(0.3), Note())
        elif case == "speech waits":
            await call.feed(*sound(2.0), *say(0.3, "A sentence."), Note())
        await asyncio.sleep(0.5)
        asked_at = time.monotonic()
        await call.behind.push_frame(LLMContextFrame(context=call.context), FrameDirection.UPSTREAM)
        await call.above.wait_for(lambda: call.above.seen(LLMContextFrame, upstream=True))
        assert time.monotonic() - asked_at < 0.25
        assert not call.behind.of(Note)
        await call.end()
    assert call.behind.of(Note)


# --- frames of newer releases ------------------------------------------------------------


@pytest.mark.parametrize("name", ["PipelineFlushFrame", "BotBackchannelFrame"])
@virtually
async def test_frames_of_newer_releases_have_their_place_behind_the_speech(name):
    kind: Any = getattr(frames, name, None)
    if kind is None:
        pytest.skip(f"this Pipecat has no {name}")
    made = {"PipelineFlushFrame": {}, "BotBackchannelFrame": {"text": "Mm-hmm."}}

    async def script(call: Call) -> None:
        await call.feed(*say(0.5, "Before."), kind(**made[name]), *say(0.3, "Behind."))
        await call.stopped(2)

    calls = await side_by_side(script)
    wanted, came = (
        [
            getattr(frame, "text", type(frame).__name__)
            for frame in one.behind.of(TTSTextFrame, BotStoppedSpeakingFrame, kind)
        ]
        for one in calls
    )
    assert wanted.index("Before.") < 2
    assert came == wanted


# --- first the voice, then the telling -------------------------------------------------


@pytest.mark.parametrize("event", ["on_disconnected", "on_avatar_error", "on_error"])
@virtually
async def test_a_slow_event_handler_does_not_delay_the_voice(event):
    async with avatars() as sandbox, calling(sandbox) as call:

        async def slow(*_: object) -> None:
            await asyncio.sleep(1.5)

        call.avatar.add_event_handler(event, slow)
        words = await call.say(2.0)
        await sandbox.wait_until_heard(0.3)
        lost_at = time.monotonic()
        await sandbox.drop()
        await until(lambda: call.between.of(StandInAudioFrame))
        assert time.monotonic() - lost_at < 0.5
        await call.end()
    both = call.heard_of_avatar() + call.given_to_transport()
    assert (both[words.start : words.stop] != 1).sum() / RATE < CUT_SECS


@virtually
async def test_an_interrupt_waits_for_nobody_who_delivers_a_frame():
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.say(2.0)
        await sandbox.wait_until_heard(0.2)
        async with delivery_lock(call.avatar):
            await call.interrupt()
            await sandbox.wait_for("agent.interrupt")
            assert not call.behind.of(InterruptionFrame)
        await call.end()


async def test_an_interrupt_leaves_before_what_pipecat_does_at_an_interruption(monkeypatch):
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.say(2.0)
        await sandbox.wait_until_heard(0.2)
        told = asyncio.Event()
        monkeypatch.setattr(call.avatar, "stop_all_metrics", told.wait)
        await call.interrupt()
        await sandbox.wait_for("agent.interrupt")
        assert not call.behind.of(InterruptionFrame)
        told.set()
        await call.end()


# --- timestamps ------------------------------------------------------------------------


@dataclass
class Cue(DataFrame):
    """Something for a moment."""

    text: str = ""


@virtually
async def test_a_timestamp_means_what_it_means_in_pipecat():
    def cue(call: Call, text: str, secs: float) -> Cue:
        frame = Cue(text)
        frame.pts = call.transport.get_clock().get_time() + round(secs * NANOSECS)
        return frame

    async def script(call: Call) -> None:
        await call.feed(cue(call, "alone", 0.6))
        await asyncio.sleep(1.0)
        audio = noise(0.5, rate=24_000)
        cues = cue(call, "inside", 0.3), cue(call, "beyond", 1.2)
        await call.feed(TTSStartedFrame(), *audio, *cues, TTSStoppedFrame())
        await call.behind.wait_for(lambda: len(call.behind.of(Cue)) == 3)

    plain, call = await side_by_side(script)
    wanted, came = (
        {seen.frame.text: seen.at for seen in one.behind.seen(Cue)} for one in (plain, call)
    )
    assert list(came) == list(wanted) == ["alone", "inside", "beyond"]
    begun = {one.avatar: one.behind.seen(Cue)[0].at for one in (plain, call)}
    assert came["alone"] - wanted["alone"] == pytest.approx(0, abs=0.06)
    for name in ("inside", "beyond"):
        late = (came[name] - begun[call.avatar]) - (wanted[name] - begun[None])
        assert late == pytest.approx(0, abs=0.15), name


@virtually
async def test_the_end_of_an_answer_that_nobody_says_waits_for_no_word():
    refused = Fault(on="create", kind="refuse", status=401)
    async with avatars(faults=[refused]) as sandbox:
        options = {"on_unavailable": "drop", "renewal": RenewalPolicy(max_short_sessions=1)}
        avatar = avatar_in(sandbox, **options)
        async with staged(avatar=avatar, until_ready=False) as call:
            await until(lambda: not avatar.is_usable)
            last_ns = avatar.get_clock().get_time() + 5 * NANOSECS
            await call.feed(LLMFullResponseStartFrame(), TTSStartedFrame(), *noise(6.0))
            await call.feed(timed("last", last_ns), TTSStoppedFrame())
            await call.behind.wait_for(lambda: call.behind.of(TTSStoppedFrame))
            end = LLMFullResponseEndFrame()
            end.pts = last_ns
            await call.feed(end, LLMFullResponseStartFrame())
            await call.behind.wait_for(lambda: call.behind.of(LLMFullResponseEndFrame))
            assert avatar.get_clock().get_time() < last_ns - 4 * NANOSECS
            await call.end()
    assert not call.behind.of(TTSTextFrame)


# --- order -----------------------------------------------------------------------------


@virtually
async def test_speech_starts_and_stops_once_where_it_is_handed_over_and_back():
    async with avatars() as sandbox, calling(sandbox) as call:
        for number in range(2):
            await call.say(0.8)
            await sandbox.wait_until_heard(0.3 + number * 0.5)
            await sandbox.drop()
            await call.until_ready(2 + number)
            await call.spoken(number + 1)
        await call.end()
    kinds = (BotStartedSpeakingFrame, BotStoppedSpeakingFrame, TTSStartedFrame)
    kinds = (*kinds, TTSTextFrame, TTSStoppedFrame)
    order = [type(frame).__name__ for frame in call.behind.of(*kinds)]
    assert order == 2 * [
        *("TTSStartedFrame", "BotStartedSpeakingFrame", "TTSTextFrame"),
        *("BotStoppedSpeakingFrame", "TTSStoppedFrame"),
    ]
