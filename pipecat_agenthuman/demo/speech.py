"""A Pipecat text-to-speech service that needs neither a key nor a network.

It behaves as the hosted ones do, all kinds of them: asked for one sentence after the other
over HTTP or given the whole turn over a WebSocket, with the times of the words or without,
faster than speech or no faster. So it stands in for them in the demo, in examples and in
tests.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
import soxr  # pyright: ignore[reportMissingTypeStubs]
from pipecat.frames.frames import ErrorFrame, Frame, TTSAudioRawFrame, TTSStoppedFrame
from pipecat.services.settings import TTSSettings
from pipecat.services.tts_service import TTSService
from pipecat.utils.errors import ErrorCategory
from pipecat.utils.text.base_text_aggregator import Aggregation
from pipecat.utils.text.simple_text_aggregator import SimpleTextAggregator
from pipecat.utils.types import NOT_GIVEN, NotGiven, assert_given

from pipecat_agenthuman.demo.espeak import (
    BYTES_PER_SAMPLE,
    DEFAULT_VOICE,
    DEFAULT_WORDS_PER_MINUTE,
    EspeakError,
    EspeakSynthesizer,
    SynthesizedSpeech,
    Word,
)

Delivery = Literal["burst", "real_time"]
"""How audio leaves the service: all at once, or at the pace at which it is spoken."""

DEFAULT_CHUNK_MS: Final = 40
"""What Pipecat's output transports write at a time."""

_LONGEST_SILENCE_SECS: Final = 3.0
"""Pipecat's own ``stop_frame_timeout_s``: it takes a longer pause for the end of the speech."""


@dataclass
class EspeakTTSSettings(TTSSettings):
    """What can be changed while the service runs, with ``TTSUpdateSettingsFrame``.

    Of the settings that every service has, only ``voice`` is used: a language code, such
    as ``en-gb`` or ``en-us``.

    Parameters:
        words_per_minute: Pace, from 80 to 450.
    """

    words_per_minute: int | NotGiven = field(default_factory=lambda: NOT_GIVEN)


class EspeakTTSService(TTSService):
    """Speaks with eSpeak NG, in this process.

    Pushes the frames of Pipecat's own services, in their order:

    ============================== =========================================================
    options                        what comes, and a service that does the same
    ============================== =========================================================
    none                           a sentence's audio, then its text (OpenAI)
    ``word_timestamps``            a chunk, then the words that start in it, each with the
                                   time at which it is spoken (Cartesia)
    ``word_timestamps``,           the same, but the next sentence is taken only when this
    ``streaming=False``            one was synthesised (Hume)
    ``streaming=True``             a sentence's text, and some time later its audio (Deepgram)
    ============================== =========================================================
    """

    Settings = EspeakTTSSettings
    # Narrowed as in all services of Pipecat; the constructor puts in nothing else.
    _settings: EspeakTTSSettings  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        word_timestamps: bool = False,
        streaming: bool | None = None,
        delivery: Delivery = "burst",
        chunk_ms: int = DEFAULT_CHUNK_MS,
        ttfb_secs: float = 0.0,
        sample_rate: int | None = None,
        settings: EspeakTTSSettings | None = None,
        **kwargs: Any,
    ) -> None:
        """Check the options and load the synthesiser.

        Args:
            word_timestamps: Whether text is pushed by the word, with times, or by the sentence.
            streaming: Whether sentences are taken as they come and synthesised in the
                background, as over a WebSocket, or each before the next frame is processed,
                as over HTTP; the same as ``word_timestamps`` if None.
            delivery: ``"burst"`` pushes the audio of a sentence as fast as possible,
                ``"real_time"`` each chunk when its first sample is due.
            chunk_ms: Duration of the audio in one frame, in milliseconds; the last frame of a
                sentence holds the rest.
            ttfb_secs: Seconds from the request of a sentence to its first audio, as if the
                synthesiser were far away. Synthesis itself takes a few milliseconds.
            sample_rate: Samples per second of the audio; the pipeline's if None. The
                synthesiser itself makes 22050, anything else is resampled.
            settings: Voice and pace; ``en-gb`` at 175 words per minute if None.
            **kwargs: Options of Pipecat's ``TTSService``.

        Raises:
            ValueError: If an option is out of range or the voice is not known.
            EspeakError: If the synthesiser is not installed or cannot be loaded.
        """
        _check_options(delivery, chunk_ms, ttfb_secs)
        chosen = EspeakTTSSettings(
            model=None,
            voice=DEFAULT_VOICE,
            language=None,
            words_per_minute=DEFAULT_WORDS_PER_MINUTE,
        )
        if settings is not None:
            chosen.apply_update(settings)
        if streaming is None:
            streaming = word_timestamps
        kwargs.setdefault("stop_frame_timeout_s", ttfb_secs + _LONGEST_SILENCE_SECS)
        super().__init__(  # pyright: ignore[reportUnknownMemberType]
            push_text_frames=not word_timestamps,
            push_start_frame=True,
            push_stop_frames=not streaming,
            sample_rate=sample_rate,
            settings=chosen,
            **kwargs,
        )
        if self._text_aggregator.aggregation_type == "sentence":
            self._text_aggregator = _SentenceAggregator()
        self._word_timestamps = word_timestamps
        self._streaming = streaming
        self._delivery: Delivery = delivery
        self._chunk_ms = chunk_ms
        self._ttfb_secs = ttfb_secs
        self._synthesizer = _synthesizer_of(chosen)
        # Pipecat times words from the start of their audio context, which all the sentences
        # of a turn share: seconds of audio that each open context has had.
        self._context_audio_secs: dict[str, float] = {}
        # Streaming only: what the background task has still to do, and does now.
        self._requests: asyncio.Queue[_Sentence | _EndOfTurn] = asyncio.Queue()
        self._background: asyncio.Task[None] | None = None
        self._speaking: _Sentence | None = None

    def can_generate_metrics(self) -> bool:
        """Whether the service reports metrics: it does."""
        return True

    @property
    def supports_processing_metrics(self) -> bool:
        """Whether the time that ``run_tts`` takes means anything.

        In real time it would only measure how long the sentence is, in the background nothing.
        """
        return self._delivery == "burst" and not self._streaming

    async def cleanup(self) -> None:
        """Stop speaking for good."""
        await super().cleanup()
        if self._background is not None:
            await self.cancel_task(self._background)
            self._background = None

    async def run_tts(self, text: str, context_id: str) -> AsyncGenerator[Frame | None, None]:
        """Speak a sentence.

        Args:
            text: The sentence.
            context_id: Pipecat's audio context, which the sentences of a turn share.

        Yields:
            The audio in chunks, or None if it comes from the background; an ``ErrorFrame`` if
            the synthesiser fails.
        """
        await self.start_tts_usage_metrics(text)
        sentence = _Sentence(text, context_id)
        if self._streaming:
            if self._background is None:
                self._background = self.create_task(self._speak_in_background())
            self._requests.put_nowait(sentence)
            yield None
            return
        async for frame in self._speak(sentence):
            yield frame

    async def flush_audio(self, context_id: str | None = None) -> None:
        """Take the end of a turn: its audio context ends when all of it was synthesised.

        Args:
            context_id: The audio context.
        """
        if self._streaming and context_id is not None:
            self._requests.put_nowait(_EndOfTurn(context_id))

    async def on_audio_context_interrupted(self, context_id: str) -> None:
        """Stop speaking in an interrupted audio context.

        Args:
            context_id: The audio context.
        """
        self._context_audio_secs.pop(context_id, None)
        if self._speaking is not None and self._speaking.context_id == context_id:
            self._speaking.interrupted.set()
        await super().on_audio_context_interrupted(context_id)

    async def on_audio_context_completed(self, context_id: str) -> None:
        """Forget an audio context that has been pushed completely.

        Args:
            context_id: The audio context.
        """
        self._context_audio_secs.pop(context_id, None)
        await super().on_audio_context_completed(context_id)

    async def _speak_in_background(self) -> None:
        """Do what was requested, in order, as the far end of a WebSocket would."""
        while True:
            request = await self._requests.get()
            context_id = request.context_id
            if not self.audio_context_available(context_id):
                continue  # interrupted before its turn came
            if isinstance(request, _EndOfTurn):
                stopped = TTSStoppedFrame(context_id=context_id)
                await self.append_to_audio_context(context_id, stopped)
                await self.remove_audio_context(context_id)
                continue
            self._speaking = request
            async for frame in self._speak(request):
                await self.append_to_audio_context(context_id, frame)
            self._speaking = None

    async def _speak(self, sentence: _Sentence) -> AsyncGenerator[Frame, None]:
        """Synthesise a sentence and give its frames when they are due."""
        due = _now() + self._ttfb_secs
        try:
            speech = await asyncio.to_thread(
                _synthesize, self._synthesizer, sentence.text, self.sample_rate
            )
        except EspeakError as error:
            await self.stop_ttfb_metrics()
            yield ErrorFrame(error=str(error))
            return
        context_id = sentence.context_id
        spoken_secs = self._context_audio_secs.get(context_id, 0.0)
        due = max(due, _now())
        for chunk in _cut(speech, self._chunk_ms):
            if await sentence.is_interrupted_before(due):
                return
            yield TTSAudioRawFrame(chunk.audio, speech.sample_rate, 1, context_id=context_id)
            if self._word_timestamps:
                times = [(word.text, spoken_secs + word.start_secs) for word in chunk.words]
                await self.add_word_timestamps(times, context_id)
            if self._delivery == "real_time":
                due += chunk.duration_secs
        # So that the next sentence does not start before this one was spoken.
        if not await sentence.is_interrupted_before(due):
            self._context_audio_secs[context_id] = spoken_secs + speech.duration_secs

    async def _update_settings(self, delta: TTSSettings) -> dict[str, Any]:
        """Apply new settings from the next sentence on.

        An update with a voice or pace that does not exist is reported upstream and refused.
        """
        wanted = self._settings.copy()
        TTSSettings.apply_update(wanted, delta)
        try:
            synthesizer = await asyncio.to_thread(_synthesizer_of, wanted)
        except ValueError as error:
            await self.push_error(
                error_msg=str(error), exception=error, category=ErrorCategory.APPLICATION
            )
            return {}
        changed = await super()._update_settings(delta)
        self._synthesizer = synthesizer
        self._warn_unhandled_updated_settings(  # pyright: ignore[reportUnknownMemberType]
            changed.keys() - {"voice", "words_per_minute"}
        )
        return changed


def _now() -> float:
    return asyncio.get_running_loop().time()


@dataclass(frozen=True)
class _Sentence:
    """A sentence to speak.

    Attributes:
        text: The sentence.
        context_id: Pipecat's audio context, which the sentences of a turn share.
        interrupted: Set when nobody wants to hear it any more.
    """

    text: str
    context_id: str
    interrupted: asyncio.Event = field(default_factory=asyncio.Event)

    async def is_interrupted_before(self, due: float) -> bool:
        """Wait until a time of the event loop, giving way to others even if it is past."""
        with suppress(TimeoutError):
            async with asyncio.timeout_at(due):
                await self.interrupted.wait()
        return self.interrupted.is_set()


@dataclass(frozen=True)
class _EndOfTurn:
    """No sentence follows in an audio context."""

    context_id: str


class _SentenceAggregator(SimpleTextAggregator):
    """Gathers the model's text until a sentence is complete.

    Pipecat's own needs a tokenizer, which some versions fetch over the network when the first
    sentence ends. Punctuation will do here, where white space and more text follow it.
    """

    _END = re.compile(
        r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)[.!?\u2026]+"  # not after a title
        r"[\"')\]\u2019\u201d]*"  # closing quotes and brackets
        r"(?=\s+\S)"
    )
    _pending: str = ""

    @property
    def text(self) -> Aggregation:
        """The text gathered so far."""
        return self._aggregation(self._pending)

    async def aggregate(self, text: str) -> AsyncIterator[Aggregation]:
        """Add text; yields the sentences that it completes."""
        self._pending += text
        while end := self._END.search(self._pending):
            sentence = self._pending[: end.end()]
            self._pending = self._pending[end.end() :]
            yield self._aggregation(sentence)

    async def flush(self) -> Aggregation | None:
        """Take what is left when the model has said everything."""
        rest, self._pending = self._pending, ""
        return self._aggregation(rest) if rest.strip() else None

    async def handle_interruption(self) -> None:
        """Forget what the model will not say any more."""
        self._pending = ""

    async def reset(self) -> None:
        """Forget the text gathered so far."""
        self._pending = ""

    def _aggregation(self, text: str) -> Aggregation:
        return Aggregation(text=text.strip(), type=self.aggregation_type)


def _check_options(delivery: str, chunk_ms: int, ttfb_secs: float) -> None:
    if delivery not in ("burst", "real_time"):
        raise ValueError(f'delivery must be "burst" or "real_time", got {delivery!r}.')
    if chunk_ms <= 0:
        raise ValueError(f"chunk_ms must be positive, got {chunk_ms}.")
    if ttfb_secs < 0:
        raise ValueError(f"ttfb_secs must not be negative, got {ttfb_secs}.")


@dataclass(frozen=True)
class _Chunk:
    """A piece of the audio and the words that start in it."""

    audio: bytes
    words: list[Word]
    duration_secs: float


def _cut(speech: SynthesizedSpeech, chunk_ms: int) -> Iterator[_Chunk]:
    """Cut speech into chunks of equal duration; the last one holds the rest."""
    bytes_per_sec = speech.sample_rate * BYTES_PER_SAMPLE
    size = max(speech.sample_rate * chunk_ms // 1000, 1) * BYTES_PER_SAMPLE
    words = list(speech.words)
    for start in range(0, len(speech.audio), size):
        audio = speech.audio[start : start + size]
        end_secs = (start + len(audio)) / bytes_per_sec
        is_last = start + size >= len(speech.audio)
        begun = [word for word in words if is_last or word.start_secs < end_secs]
        del words[: len(begun)]
        yield _Chunk(audio, begun, len(audio) / bytes_per_sec)


def _synthesizer_of(settings: EspeakTTSSettings) -> EspeakSynthesizer:
    return EspeakSynthesizer(
        voice=assert_given(settings.voice) or "",
        words_per_minute=assert_given(settings.words_per_minute),
    )


def _synthesize(synthesizer: EspeakSynthesizer, text: str, sample_rate: int) -> SynthesizedSpeech:
    """Synthesise and convert to a sample rate; blocks, so it is called in a thread."""
    speech = synthesizer.synthesize(text)
    if speech.sample_rate == sample_rate:
        return speech
    samples = np.frombuffer(speech.audio, dtype=np.int16)
    resampled = soxr.resample(samples, speech.sample_rate, sample_rate)
    return SynthesizedSpeech(resampled.tobytes(), sample_rate, speech.words)
