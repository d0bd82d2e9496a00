"""What a bot believes of its speech, beside what a listener in the room hears of it.

Everything is compared when all is said: that takes its time, and would hold up what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    InterruptionFrame,
    TTSTextFrame,
)

from tests.support.pipelines import Recorder
from tests.support.sounds import RATE
from tests.support.spoken import Sentence, spoken

PAUSE_SECS: Final = 1.2
"""Between two utterances, as where a person answers briefly."""

_HOP: Final = RATE // 200
_ASIDE_SECS: Final = 0.6
_LONGEST_DELAY_SECS: Final = 0.6
_LEAST_FIT: Final = 0.5

Sound = Callable[[float, float], NDArray[Any]]
"""Samples at 16 kHz from one moment to another."""


@dataclass(frozen=True)
class Utterance:
    """What was believed of an utterance, in milliseconds after what was heard of it.

    Attributes:
        starts: The start of speech, after the first sample.
        stops: Its stop, after the last sample.
        words: Each word, after its end.
    """

    starts: float
    stops: float
    words: tuple[float, ...]

    @property
    def all(self) -> tuple[float, ...]:
        """All of them."""
        return (self.starts, self.stops, *self.words)


def p95(utterances: Iterable[Utterance]) -> float:
    """How far off in either direction, in 95 of 100 cases."""
    return float(np.percentile([abs(ms) for one in utterances for ms in one.all], 95))


@dataclass(frozen=True)
class _Said:
    """A sentence, and what was told of it.

    Attributes:
        sentence: Which one.
        span: From when to when nothing else was said.
        starts_at: When speech was said to start.
        stops_at: When it was said to stop.
        words_at: When each word was told.
        is_cut: Whether it was interrupted.
    """

    sentence: Sentence
    span: tuple[float, float]
    starts_at: float
    stops_at: float
    words_at: tuple[float, ...]
    is_cut: bool


@dataclass(frozen=True)
class Said:
    """A sound, and when it was there.

    Attributes:
        audio: The samples at 16 kHz, silences left out.
        at: When each of them sounded, in order.
    """

    audio: NDArray[np.int16]
    at: NDArray[np.float64]

    def between(self, first: float, last: float) -> NDArray[np.int16]:
        """What sounded between two moments, at 16 kHz, silence included."""
        sound = np.zeros(round((last - first) * RATE), np.int16)
        within = slice(*np.searchsorted(self.at, (first, last)))
        places = np.round((self.at[within] - first) * RATE).astype(int)
        sound[np.minimum(places, len(sound) - 1)] = self.audio[within]
        return sound


class HeardSpeech:
    """Says sentences, one after the other."""

    def __init__(self, feed: Callable[..., Awaitable[None]], recorder: Recorder) -> None:
        """Say nothing yet.

        Args:
            feed: Gives frames to the pipeline.
            recorder: Sees what the service pushes.
        """
        self._feed = feed
        self._recorder = recorder
        self._said: list[_Said] = []

    async def say(self, *numbers: int) -> None:
        """Say sentences to their end; returns in the pause behind the last."""
        for number in numbers:
            await self._say(number, None)

    async def interrupt(self, number: int, after_secs: float) -> None:
        """Say a sentence, and interrupt it so long after it was said to start."""
        await self._say(number, after_secs)

    async def _say(self, number: int, cut_after_secs: float | None) -> None:
        sentence, begun_at = spoken(number), time.monotonic()
        starts = len(self._recorder.seen(BotStartedSpeakingFrame)) + 1
        told = len(self._recorder.seen(TTSTextFrame))
        await self._feed(*sentence.frames())
        started = await self._recorder.saw(BotStartedSpeakingFrame, starts)
        if cut_after_secs is not None:
            await asyncio.sleep(cut_after_secs)
            await self._feed(InterruptionFrame())
        stopped = await self._recorder.saw(BotStoppedSpeakingFrame, starts)
        await asyncio.sleep(PAUSE_SECS)
        words = self._recorder.seen(TTSTextFrame)[told:]
        said = _Said(
            sentence,
            (begun_at, time.monotonic()),
            started.at,
            stopped.at,
            tuple(word.at for word in words),
            cut_after_secs is not None,
        )
        self._said.append(said)

    def compared(
        self, said_at: NDArray[np.float64], delay: Callable[[float], float]
    ) -> list[Utterance]:
        """Compare what was said to its end with what was heard.

        Args:
            said_at: When the avatar said each of its samples, in order.
            delay: How much later the listener heard what it said at a moment, in seconds.
        """

        def after(told_at: float, moment: float) -> float:
            return 1000 * float(told_at - moment - delay(moment))

        utterances: list[Utterance] = []
        for said in self._said:
            at = _within(said_at, said.span)
            if said.is_cut:
                continue
            assert len(at) == said.sentence.samples
            at = np.append(at, at[-1] + 1 / RATE)
            ends = [end for _, end in said.sentence.words]
            words = (after(told, at[end]) for told, end in zip(said.words_at, ends, strict=True))
            starts, stops = after(said.starts_at, at[0]), after(said.stops_at, at[-1])
            utterances.append(Utterance(starts, stops, tuple(words)))
        return utterances

    def memories(self, said_at: NDArray[np.float64]) -> list[tuple[int, int]]:
        """How many words of each interrupted sentence were told, and how many were heard."""
        return [
            (
                len(said.words_at),
                sum(end <= len(_within(said_at, said.span)) for _, end in said.sentence.words),
            )
            for said in self._said
            if said.is_cut
        ]


def _within(said_at: NDArray[np.float64], span: tuple[float, float]) -> NDArray[np.float64]:
    return said_at[slice(*np.searchsorted(said_at, span))]


def times_of(segments: Iterable[tuple[float, int]]) -> NDArray[np.float64]:
    """When each sample sounded.

    Args:
        segments: When each stretch of sound began, and its number of samples.
    """
    times = [starts_at + np.arange(samples) / RATE for starts_at, samples in segments]
    return np.concatenate(times) if times else np.zeros(0)


def delay_at(said: Sound, heard: Sound, moment: float) -> float:
    """How much later a listener heard what was said about a moment: where it fits best.

    A jitter buffer stretches and shortens what it delivers, so it differs from word to word.
    """
    first, last = moment - _ASIDE_SECS, moment + _ASIDE_SECS
    said_levels = _levels(said(first, last))
    heard_levels = _levels(heard(first, last + _LONGEST_DELAY_SECS))
    fits = [
        np.corrcoef(said_levels, heard_levels[lag : lag + len(said_levels)])[0, 1]
        for lag in range(len(heard_levels) - len(said_levels) + 1)
    ]
    best = int(np.argmax(fits))
    assert fits[best] > _LEAST_FIT, f"the listener did not hear it: {fits[best]:.2f}"
    return best * _HOP / RATE


def _levels(sound: NDArray[Any]) -> NDArray[np.float64]:
    pieces = sound[: len(sound) // _HOP * _HOP].reshape(-1, _HOP).astype(float)
    # Silence has no correlation; a slope that nobody could hear has.
    return np.sqrt((pieces**2).mean(axis=1)) + np.arange(len(pieces)) * 1e-6
