"""The one promise: the pipeline cannot tell the avatar from a transport that plays itself.

Every scene is performed twice at the same time, by Pipecat's own output transport and by the
avatar. In some the avatar is lost on the way, and the transport finishes what it was saying. They
are performed in virtual time, because they mostly wait, and because a transport on a busy machine
does not always do the same: it may push a word before the start of the speech that holds it.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import zip_longest
from random import Random
from typing import Any

import numpy as np
import pytest
from pipecat.frames import frames as pipecat_frames
from pipecat.frames.frames import (
    AggregatedTextFrame,
    DataFrame,
    LLMFullResponseStartFrame,
    OutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.demo.speech import EspeakTTSService
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import Call, avatar_in, avatars
from tests.support.faults import QUICK_RENEWAL
from tests.support.scenes import played
from tests.support.side_by_side import Performance, Script, perform
from tests.support.sounds import HAS_UNINTERRUPTIBLE_SPEECH, keep, noise
from tests.support.virtual_time import VirtualLoop

TOLERANCE_SECS = 0.5
"""Between the two in time."""

RATE = 24_000


# --- what is said ----------------------------------------------------------------------

LONG_WORD = "Well, he said incomprehensibilities; and then some more words followed it."
"""At 175 words a minute, 1.0 to 1.9 s from its start fall into the long word."""


def speech(secs: float) -> list[TTSAudioRawFrame]:
    """Noise as a TTS service delivers it, in frames of 50 ms."""
    return noise(secs, rate=RATE, frame_secs=0.05)


def text(words: str) -> TTSTextFrame:
    return TTSTextFrame(words, "sentence")


@dataclass
class Mark(DataFrame):
    """Something that an application puts between the words."""

    text: str = ""


if HAS_UNINTERRUPTIBLE_SPEECH:

    def kept_mark(words: str) -> Mark:
        return keep(Mark(words))

else:

    @dataclass
    class KeptMark(Mark, pipecat_frames.UninterruptibleFrame):
        pass

    def kept_mark(words: str) -> Mark:
        return KeptMark(words)


def kept_speech(words: str) -> TTSSpeakFrame:
    return keep(TTSSpeakFrame(words))


# --- scripts ---------------------------------------------------------------------------


async def one_sentence(call: Call) -> None:
    """The end is queued right behind: it waits for the last word."""
    await call.feed(TTSSpeakFrame("Hello there, this is a test."))
    await call.end()


async def three_sentences(call: Call) -> None:
    await call.turn("One is first. ", "Two comes second. ", "Three is the last.")
    await call.end()


async def answer_without_words(call: Call) -> None:
    await call.turn()
    await call.behind.saw(LLMFullResponseStartFrame)
    await asyncio.sleep(0.1)
    await call.turn("But now.")
    await call.end()


async def cut_before_the_first_sound(call: Call) -> None:
    await call.turn("Nobody hears a word of this.")
    await call.behind.saw(AggregatedTextFrame)
    await asyncio.sleep(0.2)
    await call.interrupt()
    await call.turn("But this.")
    await call.end()


async def cut_in_the_second_sentence(call: Call) -> None:
    await call.turn("One is first. ", LONG_WORD, " Three is the last.")
    await call.behind.saw(TTSTextFrame)
    await asyncio.sleep(1.0)
    await call.interrupt()
    await asyncio.sleep(0.2)
    await call.turn("And this.")
    await call.end()


async def cut_in_a_long_word(call: Call) -> None:
    await call.turn(LONG_WORD)
    await call.heard_for(1.4)
    await call.interrupt()
    await asyncio.sleep(0.2)
    await call.turn("And this.")
    await call.end()


async def cut_behind_a_tag_without_an_end(call: Call) -> None:
    """What is remembered of it is Pipecat's own affair: nothing of ours changes it."""
    await call.turn("One two <img src=x> three four five six seven eight nine ten eleven twelve.")
    await call.heard_for(1.4)
    await call.interrupt()
    await asyncio.sleep(0.2)
    await call.turn("And this.")
    await call.end()


async def cut_twice(call: Call) -> None:
    await call.turn(LONG_WORD)
    await call.heard_for(1.4)
    await call.interrupt()
    await call.interrupt()
    await asyncio.sleep(0.2)
    await call.turn(LONG_WORD)
    await call.heard_for(1.4, nth=2)
    await call.interrupt()
    await asyncio.sleep(0.2)
    await call.turn("And this.")
    await call.end()


async def cut_after_the_last_sample(call: Call) -> None:
    await call.turn("That was all.")
    await call.stopped()
    await asyncio.sleep(0.3)
    await call.interrupt()
    await call.turn("And this.")
    await call.end()


async def two_speeches(call: Call) -> None:
    await call.feed(TTSSpeakFrame("This is the first."), TTSSpeakFrame("And the second."))
    await call.end()


async def kept_speech_is_cut(call: Call) -> None:
    await call.feed(kept_speech("Nothing at all can stop this sentence."))
    await call.heard_for(0.8)
    await call.interrupt()
    await call.stopped()
    await call.turn("And this.")
    await call.end()


async def kept_speech_follows_cut_speech(call: Call) -> None:
    await call.feed(TTSSpeakFrame(LONG_WORD), kept_speech("This is said all the same."))
    await call.heard_for(1.4)
    await call.interrupt()
    await call.end()


async def marks_between_sounds(call: Call) -> None:
    await call.feed(Mark("before"), TTSStartedFrame(), *speech(0.4), Mark("inside"), *speech(0.33))
    await call.feed(text("Said."), TTSStoppedFrame(), Mark("behind"))
    await call.feed(TTSStartedFrame(), *speech(0.07), text("More."), TTSStoppedFrame())
    await call.end()


async def no_sound_at_all(call: Call) -> None:
    await call.feed(TTSStartedFrame(), text("Silent."), TTSStoppedFrame(), Mark("behind"))
    await call.end()


async def sound_without_a_start(call: Call) -> None:
    await call.feed(*speech(0.5), text("Said."), TTSStoppedFrame())
    await call.end()


async def second_start_without_a_stop(call: Call) -> None:
    await call.feed(TTSStartedFrame(), *speech(0.5), text("One."))
    await call.feed(TTSStartedFrame(), *speech(0.5), text("Two."), TTSStoppedFrame())
    await call.end()


async def pause_inside(call: Call) -> None:
    await call.feed(TTSStartedFrame(), *speech(0.5), text("One."))
    await call.heard_for(1.5)
    await call.feed(*speech(0.5), text("Two."), TTSStoppedFrame())
    await call.end()


async def pause_beyond_the_limit(call: Call) -> None:
    await call.feed(TTSStartedFrame(), *speech(0.5), text("One."))
    await call.stopped()
    await call.feed(*speech(0.5), text("Two."), TTSStoppedFrame())
    await call.end()


def ding(secs: float) -> OutputAudioRawFrame:
    """A sound that is no speech."""
    samples = np.full(round(secs * RATE), 900, dtype=np.int16)
    return OutputAudioRawFrame(samples.tobytes(), RATE, 1)


async def sound_before_an_answer(call: Call) -> None:
    await call.feed(ding(0.8), Mark("between"))
    await call.feed(TTSStartedFrame(), *speech(0.5), text("Said."), TTSStoppedFrame())
    await call.end()


async def sound_between_answers(call: Call) -> None:
    await call.feed(TTSStartedFrame(), *speech(0.5), text("One."), TTSStoppedFrame(), ding(0.6))
    await call.feed(TTSStartedFrame(), *speech(0.5), text("Two."), TTSStoppedFrame())
    await call.stopped(2)
    await call.end()


async def sound_is_cut(call: Call) -> None:
    await call.feed(TTSStartedFrame(), *speech(0.5), text("One."), TTSStoppedFrame(), ding(3.0))
    await call.feed(TTSStartedFrame(), *speech(0.5), text("Lost."), TTSStoppedFrame())
    await call.stopped()
    await asyncio.sleep(0.3)
    await call.interrupt()
    await call.feed(TTSStartedFrame(), *speech(0.5), text("Two."), TTSStoppedFrame())
    await call.end()


async def kept_mark_survives(call: Call) -> None:
    await call.feed(TTSStartedFrame(), *speech(2.0), Mark("lost"), kept_mark("kept"))
    await call.feed(text("Lost."), TTSStoppedFrame())
    await call.heard_for(0.6)
    await call.interrupt()
    await call.behind.saw(Mark)
    await call.feed(TTSStartedFrame(), *speech(0.5), text("Said."), TTSStoppedFrame())
    await call.end()


# --- scenes ----------------------------------------------------------------------------


Loss = Callable[[Call], Awaitable[object]]
"""When the avatar is lost: it returns at that moment."""


@dataclass(frozen=True)
class Scene:
    """A script, and the TTS service that speaks it; None if the script makes the frames.

    Attributes:
        script: What happens.
        tts: Options of the TTS service.
        loss: When the avatar is lost, if it is.
    """

    script: Script
    tts: dict[str, Any] | None = None
    loss: Loss | None = None

    def parts(self) -> list[FrameProcessor]:
        return [] if self.tts is None else [EspeakTTSService(**self.tts)]


BY_SENTENCE: dict[str, Any] = {}
BY_SENTENCE_SLOWLY = {"delivery": "real_time"}
TEXT_FIRST = {"streaming": True}
BY_WORD = {"word_timestamps": True}
BY_WORD_SLOWLY = {"word_timestamps": True, "delivery": "real_time"}
BY_WORD_IN_TURN = {"word_timestamps": True, "streaming": False}
LATE: dict[str, Any] = {"ttfb_secs": 1.0}

SCENES = {
    "one sentence": Scene(one_sentence, BY_SENTENCE),
    "one sentence, in real time": Scene(one_sentence, BY_SENTENCE_SLOWLY),
    "one sentence, its text first": Scene(one_sentence, TEXT_FIRST),
    "one sentence, by the word": Scene(one_sentence, BY_WORD),
    "one sentence, by the word in real time": Scene(one_sentence, BY_WORD_SLOWLY),
    "three sentences in one turn": Scene(three_sentences, BY_SENTENCE),
    "three sentences in one turn, in real time": Scene(three_sentences, BY_SENTENCE_SLOWLY),
    "three sentences in one turn, text first": Scene(three_sentences, TEXT_FIRST),
    "three sentences in one turn, by the word": Scene(three_sentences, BY_WORD),
    "three sentences in one turn, word by word in turn": Scene(three_sentences, BY_WORD_IN_TURN),
    "three sentences in one turn, by the word in real time": Scene(three_sentences, BY_WORD_SLOWLY),
    "an answer without words": Scene(answer_without_words, BY_SENTENCE),
    "an answer without words, by the word": Scene(answer_without_words, BY_WORD),
    "cut before the first sound": Scene(cut_before_the_first_sound, LATE),
    "cut before the first sound, by the word": Scene(cut_before_the_first_sound, LATE | BY_WORD),
    "cut in the second sentence": Scene(cut_in_the_second_sentence, BY_SENTENCE),
    "cut in the second sentence, in real time": Scene(
        cut_in_the_second_sentence, BY_SENTENCE_SLOWLY
    ),
    "cut in a long word": Scene(cut_in_a_long_word, BY_WORD),
    "cut in a long word, in real time": Scene(cut_in_a_long_word, BY_WORD_SLOWLY),
    "cut in a long word, text first": Scene(cut_in_a_long_word, TEXT_FIRST),
    "cut behind a tag without an end": Scene(cut_behind_a_tag_without_an_end, BY_WORD),
    "cut twice, then more": Scene(cut_twice, BY_WORD),
    "cut twice, then more, by the sentence": Scene(cut_twice, BY_SENTENCE),
    "cut after the last sample": Scene(cut_after_the_last_sample, BY_SENTENCE),
    "cut after the last sample, by the word": Scene(cut_after_the_last_sample, BY_WORD),
    "two speeches": Scene(two_speeches, BY_SENTENCE),
    "marks between sounds": Scene(marks_between_sounds),
    "no sound at all": Scene(no_sound_at_all),
    "sound without a start": Scene(sound_without_a_start),
    "a second start without a stop": Scene(second_start_without_a_stop),
    "a pause inside": Scene(pause_inside),
    "a pause beyond the limit": Scene(pause_beyond_the_limit),
    "an uninterruptible mark": Scene(kept_mark_survives),
    "a sound before an answer": Scene(sound_before_an_answer),
    "a sound between answers": Scene(sound_between_answers),
    "a sound that is cut": Scene(sound_is_cut),
}

if HAS_UNINTERRUPTIBLE_SPEECH:
    SCENES |= {
        "uninterruptible speech is cut": Scene(kept_speech_is_cut, BY_SENTENCE),
        "uninterruptible speech is cut, by the word": Scene(kept_speech_is_cut, BY_WORD),
        "uninterruptible speech behind speech that is cut": Scene(
            kept_speech_follows_cut_speech, BY_SENTENCE
        ),
    }


async def before_the_first_sound(call: Call) -> None:
    await call.between.saw(TTSStartedFrame)


async def between_utterances(call: Call) -> None:
    await call.stopped()


LOSSES: dict[str, Loss] = {
    "before the first sound": before_the_first_sound,
    "after 0.05 s": lambda call: call.heard_for(0.05),
    "after 0.3 s": lambda call: call.heard_for(0.3),
    "after 0.7 s": lambda call: call.heard_for(0.7),
    "between utterances": between_utterances,
}

LOST_SCENES = (
    "one sentence, by the word",
    "three sentences in one turn",
    "three sentences in one turn, text first",
    "three sentences in one turn, by the word",
    "three sentences in one turn, by the word in real time",
    "cut in the second sentence",
    "cut in a long word",
    "two speeches",
    "marks between sounds",
    "a second start without a stop",
    "a pause inside",
    "a sound between answers",
)

SCENES |= {
    f"{name}, lost {moment}": replace(SCENES[name], loss=loss)
    for name in LOST_SCENES
    for moment, loss in LOSSES.items()
}


HURRIED_SCENES = (
    "marks between sounds",
    "marks between sounds, lost after 0.7 s",
    "marks between sounds, lost between utterances",
)
"""With an utterance that is shorter than a machine may stand still."""


async def stand_still_now_and_then(chance: Random) -> None:
    """Let time go on while nothing happens, at all stages of what happens in one moment."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    while True:
        await asyncio.sleep(chance.uniform(0.0, 0.12))
        for _ in range(chance.randrange(6)):
            await asyncio.sleep(0)
        loop.stand_still(chance.choice([0.01, 0.05, 0.1, 0.2]))


Late = list[tuple[str, float, float]]
"""What came, when it should have come and when it came, in seconds from the first sound."""


@dataclass(frozen=True)
class Comparison:
    """The same scene, played by the transport and spoken by the avatar."""

    transport: Performance
    avatar: Performance

    @property
    def late(self) -> Late:
        """What came at another time than with the transport."""
        pairs = zip(self.transport.timeline, self.avatar.timeline, strict=False)
        return [
            (words, wanted, came)
            for (words, wanted), (_, came) in pairs
            if wanted > 0 and abs(came - wanted) > TOLERANCE_SECS
        ]

    @property
    def signs_last(self) -> bool:
        """Whether signs of speaking came as long as the avatar spoke.

        One comes every 200 ms, but none in a pause. The transport counts in chunks of 40 ms, so
        it comes to 200 to 240.
        """
        down, _ = self.avatar.signs
        by_transport, _ = self.transport.signs
        starts = self.avatar.above.count("BotStartedSpeakingFrame")
        least = max(starts, 0.8 * by_transport - starts)
        return least <= down <= self.avatar.speaking_secs / 0.2 + 2 * starts

    def __str__(self) -> str:
        rows = zip_longest(self.transport.timeline, self.avatar.timeline, fillvalue=("", 0.0))
        return "\n".join(
            f"{'=' if a == b else '!'} {at_a:7.3f} {a[:45]:45} {at_b:7.3f} {b[:45]}"
            for (a, at_a), (b, at_b) in rows
        )


async def perform_with_avatar(scene: Scene, sandbox: Sandbox) -> Performance:
    if scene.loss is None:
        return await perform(scene.script, *scene.parts(), avatar=avatar_in(sandbox))
    loss = scene.loss
    async with avatars() as own:

        async def script(call: Call) -> None:
            async def lose() -> None:
                await loss(call)
                with suppress(LookupError):  # the call is over before
                    await own.drop(abort=True)

            losing = asyncio.create_task(lose())
            await scene.script(call)
            await losing

        avatar = avatar_in(own, renewal=QUICK_RENEWAL)
        return await perform(script, *scene.parts(), avatar=avatar)


@cache
def comparison_of(name: str) -> Comparison:
    """A scene, performed by both."""
    scene = SCENES[name]

    async def main() -> Comparison:
        async with avatars() as sandbox:
            transport, avatar = await asyncio.gather(
                perform(scene.script, *scene.parts()), perform_with_avatar(scene, sandbox)
            )
        return Comparison(transport, avatar)

    return played(main)


# --- tests -----------------------------------------------------------------------------

every_scene = pytest.mark.parametrize("name", SCENES)


@every_scene
def test_the_same_frames_in_the_same_order(name: str):
    compared = comparison_of(name)
    assert compared.avatar.behind == compared.transport.behind, f"\n{compared}"


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("name", HURRIED_SCENES)
def test_the_same_order_on_a_machine_that_stands_still_now_and_then(name: str, seed: int):
    async def main() -> Performance:
        standing = asyncio.create_task(stand_still_now_and_then(Random(seed)))
        async with avatars() as sandbox:
            performed = await perform_with_avatar(SCENES[name], sandbox)
        standing.cancel()
        return performed

    hurried = played(main)
    wanted = comparison_of(name).transport.behind
    assert hurried.behind == wanted, "\n".join(map(str, hurried.timeline))


@every_scene
def test_the_same_frames_at_the_same_time(name: str):
    compared = comparison_of(name)
    assert compared.late == [], f"\n{compared}"


@every_scene
def test_the_same_bot_speaking_frames_up_the_pipeline(name: str):
    compared = comparison_of(name)
    assert compared.avatar.above == compared.transport.above
    starts = compared.avatar.above[::2]
    stops = compared.avatar.above[1::2]
    assert set(starts) <= {"BotStartedSpeakingFrame"}
    assert set(stops) <= {"BotStoppedSpeakingFrame"}


@every_scene
def test_signs_of_speaking_up_and_down_as_long_as_it_speaks(name: str):
    compared = comparison_of(name)
    down, up = compared.avatar.signs
    assert down == up
    by_transport, _ = compared.transport.signs
    assert compared.signs_last, f"{down} signs, {by_transport} by the transport\n{compared}"


@every_scene
def test_the_same_context(name: str):
    compared = comparison_of(name)
    assert compared.avatar.messages == compared.transport.messages, f"\n{compared}"


@every_scene
def test_only_one_of_them_plays(name: str):
    compared = comparison_of(name)
    if ", lost " in name:
        assert compared.avatar.played or "after" not in name, "the transport says the rest"
        return
    if "a sound" in name:
        assert compared.avatar.played
        return
    assert compared.transport.played is bool(compared.transport.above)
    assert not compared.avatar.played
