"""Speech whose words are known to the sample, and when a listener should have heard them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import soxr
from pipecat.frames.frames import (
    Frame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from pipecat_agenthuman.demo.espeak import EspeakSynthesizer
from tests.support.sounds import RATE

SENTENCES = (
    "The kettle is on and the bread is almost ready.",
    "Would you rather walk along the river or take the bus?",
    "My neighbour keeps eleven hens and one very proud rooster.",
    "Nothing tastes better than soup on a rainy evening.",
    "They painted the old boat green and gave it a new name.",
    "Please remind me to water the plants before we leave.",
    "The museum opens at ten and closes shortly before six.",
    "She found a letter between the pages of a borrowed book.",
)


@dataclass(frozen=True)
class Sentence:
    """What a TTS service makes of a text.

    Attributes:
        audio: PCM at 16 kHz, mono: no resampler shifts a sample.
        words: Each with the sample at which it is over.
    """

    audio: bytes
    words: tuple[tuple[str, int], ...]

    @property
    def samples(self) -> int:
        return len(self.audio) // 2

    def frames(self) -> list[Frame]:
        """The frames of a TTS service: behind the audio of a word stands the word."""
        frames: list[Frame] = [TTSStartedFrame()]
        start = 0
        for word, end in self.words:
            frames += self._audio(start, end)
            frames.append(TTSTextFrame(word, "word"))
            start = end
        return [*frames, *self._audio(start, self.samples), TTSStoppedFrame()]

    def _audio(self, start: int, end: int) -> Iterable[Frame]:
        if end > start:
            yield TTSAudioRawFrame(self.audio[2 * start : 2 * end], RATE, 1)


@cache
def spoken(number: int) -> Sentence:
    """A sentence; each number has one of a few texts."""
    speech = EspeakSynthesizer(voice="en-gb", words_per_minute=200).synthesize(
        SENTENCES[number % len(SENTENCES)]
    )
    samples = soxr.resample(np.frombuffer(speech.audio, np.int16), speech.sample_rate, RATE)
    ends = [round(word.start_secs * RATE) for word in speech.words[1:]] + [len(samples)]
    words = tuple(zip((word.text for word in speech.words), ends, strict=True))
    return Sentence(samples.astype("<i2").tobytes(), words)
