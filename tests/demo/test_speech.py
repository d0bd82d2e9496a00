"""The embedded speech synthesiser, alone and as a service in a real pipeline."""

import asyncio
import functools
import sys
import types
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import groupby, pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from loguru import logger
from pipecat.frames.frames import (
    AggregatedTextFrame,
    AggregatedTextProgressFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMAssistantPushAggregationFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    TTSAudioRawFrame,
    TTSSpeakFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
    TTSUpdateSettingsFrame,
)
from pipecat.metrics.metrics import TTFBMetricsData, TTSUsageMetricsData
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.tests.utils import run_test
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman.demo import espeak
from pipecat_agenthuman.demo.espeak import EspeakError, EspeakSynthesizer, SynthesizedSpeech
from pipecat_agenthuman.demo.speech import EspeakTTSService, EspeakTTSSettings

NATIVE_RATE = 22_050
FAST = EspeakTTSSettings(words_per_minute=450)
LIMIT_SECS = 60.0
"""No test takes a tenth of it; it turns a hang into a failure."""


# --- the synthesiser -------------------------------------------------------------------


def written(speech: SynthesizedSpeech) -> list[str]:
    return [word.text for word in speech.words]


def assert_words_cover_the_audio(speech: SynthesizedSpeech) -> None:
    for word in speech.words:
        assert 0 <= word.start_secs < word.end_secs
    for word, following in pairwise(speech.words):
        assert word.end_secs == following.start_secs
    if speech.words:
        assert speech.words[-1].end_secs == speech.duration_secs


def test_speech_is_whole_samples_at_the_rate_it_states():
    speech = EspeakSynthesizer().synthesize("Hello there.")
    assert speech.sample_rate == NATIVE_RATE
    assert len(speech.audio) % 2 == 0
    assert 0.4 < speech.duration_secs < 1.2
    assert speech.duration_secs == len(speech.audio) / 2 / NATIVE_RATE
    assert max(speech.audio) > 0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello there.", ["Hello", "there."]),
        ("Well-known, isn't it?", ["Well-known,", "isn't", "it?"]),
        ("It costs $3.50 at 9:30.", ["It", "costs", "$3.50", "at", "9:30."]),
        ("Call 1234567 now", ["Call", "1234567", "now"]),
        ("Well — yes.", ["Well —", "yes."]),
        ("— — so … be it", ["— — so …", "be", "it"]),
        ("  two\n\nparagraphs  ", ["two", "paragraphs"]),
        ("Ça va, naïve café.", ["Ça", "va,", "naïve", "café."]),
        ("Good 😀 morning", ["Good", "😀", "morning"]),
        ("<speak>Hi &amp; bye</speak>", ["<speak>Hi", "&amp;", "bye</speak>"]),
        ("Not [[h@loU]] phonemes", ["Not", "[[h@loU]]", "phonemes"]),
        ("before\0after\x01 it", ["before", "after", "it"]),
        ("a lone \ud83d surrogate", ["a", "lone", "surrogate"]),
    ],
)
def test_every_written_word_gets_its_time(text: str, words: list[str]):
    speech = EspeakSynthesizer().synthesize(text)
    assert written(speech) == words
    assert_words_cover_the_audio(speech)


@pytest.mark.parametrize("text", ["", "   ", "\n", "...", "—", "\0\x01"])
def test_text_without_sound_gives_next_to_no_audio_and_no_words(text: str):
    speech = EspeakSynthesizer().synthesize(text)
    assert speech.words == ()
    assert 0 < speech.duration_secs < 0.1


@settings(max_examples=150, deadline=None)
@example("\xabA A")  # the second word's mark lies before the first one's
@given(
    st.text(max_size=60)
    | st.text(alphabet="aB1.,!?'\"-—$%&<>[]{}()/\\ \n\t😀é你0;:#@*+=_~^|`", max_size=80)
)
def test_no_text_breaks_the_synthesiser_or_loses_a_word(text: str):
    speech = EspeakSynthesizer(words_per_minute=450).synthesize(text)
    spoken = espeak._UNSPEAKABLE.sub(" ", text)
    assert not speech.words or " ".join(written(speech)).split() == spoken.split()
    for word in speech.words:
        assert 0 <= word.start_secs <= word.end_secs <= speech.duration_secs


def test_a_higher_pace_takes_less_time():
    slow = EspeakSynthesizer(words_per_minute=80).synthesize("One two three four.")
    fast = EspeakSynthesizer(words_per_minute=450).synthesize("One two three four.")
    assert fast.duration_secs < slow.duration_secs / 2


def test_voices_sound_different():
    text = "Hello there. How are you?"
    british = EspeakSynthesizer(voice="en-gb").synthesize(text)
    american = EspeakSynthesizer(voice="en-us").synthesize(text)
    # A voice differs from itself by up to a hundredth of a second.
    assert american.duration_secs - british.duration_secs > 0.03


def test_a_variant_of_a_voice_sounds_different():
    def brightness(voice: str) -> float:
        """How often the signal changes its sign, per sample."""
        speech = EspeakSynthesizer(voice=voice).synthesize("We ought to have some more water.")
        signs = np.frombuffer(speech.audio, dtype=np.int16) < 0
        return np.count_nonzero(signs[1:] != signs[:-1]) / len(signs)

    assert brightness("en-us+f3") == pytest.approx(brightness("en-us+f3"), rel=0.05)
    assert brightness("en-us+f3") != pytest.approx(brightness("en-us"), rel=0.05)


@pytest.mark.parametrize("voice", ["nope", "", "en gb", "../../en", "en-gb\0", "en-gb+../f3"])
def test_an_unknown_voice_is_refused_by_name(voice: str):
    with pytest.raises(ValueError, match="voice must be") as refusal:
        EspeakSynthesizer(voice=voice)
    assert repr(voice) in str(refusal.value)


@pytest.mark.parametrize("pace", [0, 79, 451, -175])
def test_an_impossible_pace_is_refused(pace: int):
    with pytest.raises(ValueError, match="words_per_minute must be from 80 to 450"):
        EspeakSynthesizer(words_per_minute=pace)


def test_threads_do_not_mix_their_speech():
    texts = ["One", "One two three", "One two three four five six seven"] * 8
    synthesizers = [
        EspeakSynthesizer(voice=voice, words_per_minute=pace)
        for voice, pace in [("en-gb", 120), ("en-us", 175), ("de", 300), ("en-us+f3", 450)]
    ]
    jobs = [(s, t) for t in texts for s in synthesizers]
    alone = {(s, t): s.synthesize(t).duration_secs for s, t in set(jobs)}
    with ThreadPoolExecutor(8) as threads:
        speeches = list(threads.map(lambda job: job[0].synthesize(job[1]), jobs))
    for (synthesizer, text), speech in zip(jobs, speeches, strict=True):
        assert written(speech) == text.split()
        assert speech.duration_secs == pytest.approx(alone[synthesizer, text], abs=0.04)


@pytest.fixture
def not_loaded_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the module as it is before the library was loaded."""
    monkeypatch.setattr(espeak, "_engine", functools.cache(espeak._engine.__wrapped__))


@pytest.mark.usefixtures("not_loaded_yet")
def test_a_missing_package_is_reported_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(EspeakError, match=r"pip install 'pipecat-agenthuman\[demo\]'"):
        EspeakSynthesizer()
    monkeypatch.undo()
    assert EspeakSynthesizer().synthesize("Installed after all.").words


@pytest.mark.usefixtures("not_loaded_yet")
def test_a_library_that_does_not_load_is_reported(monkeypatch: pytest.MonkeyPatch):
    loader = types.ModuleType("espeakng_loader")
    loader.get_library_path = lambda: "/no/such/library.so"
    monkeypatch.setitem(sys.modules, "espeakng_loader", loader)
    with pytest.raises(EspeakError, match=r"does not load.*/no/such/library\.so"):
        EspeakSynthesizer()


# --- the service in a pipeline ---------------------------------------------------------


@pytest.fixture(autouse=True)
def complaints(recwarn: pytest.WarningsRecorder) -> Iterator[list[str]]:
    """What is logged as a warning or worse, or warned of: nothing, unless a test says so."""
    logged: list[str] = []
    sink = logger.add(logged.append, level="WARNING", format="{level} {name}: {message}")
    yield logged
    logger.remove(sink)
    assert logged == []
    assert [str(w.message) for w in recwarn if w.category is DeprecationWarning] == []


@pytest.fixture
def speeches(monkeypatch: pytest.MonkeyPatch) -> list[SynthesizedSpeech]:
    """What the synthesiser gives, in order: it never speaks the same way twice."""
    given_out: list[SynthesizedSpeech] = []
    synthesize = EspeakSynthesizer.synthesize

    def recorded(self: EspeakSynthesizer, text: str) -> SynthesizedSpeech:
        given_out.append(synthesize(self, text))
        return given_out[-1]

    monkeypatch.setattr(EspeakSynthesizer, "synthesize", recorded)
    return given_out


async def say(tts: EspeakTTSService, *frames: Frame) -> list[Frame]:
    async with asyncio.timeout(LIMIT_SECS):
        down, _ = await run_test(tts, frames_to_send=frames, start_timeout=LIMIT_SECS)
    return list(down)


def turn(*texts: str) -> list[Frame]:
    return [
        LLMFullResponseStartFrame(),
        *(LLMTextFrame(text) for text in texts),
        LLMFullResponseEndFrame(),
    ]


def of(kind: type[Frame], frames: list[Frame]) -> list[Frame]:
    return [frame for frame in frames if type(frame) is kind]


def audio_of(frames: list[Frame]) -> bytes:
    return b"".join(frame.audio for frame in of(TTSAudioRawFrame, frames))


def kinds(frames: list[Frame]) -> list[type[Frame]]:
    """The types in order, a run of one type counted once."""
    return [kind for kind, _ in groupby(type(frame) for frame in frames)]


@pytest.mark.parametrize("delivery", ["burst", "real_time"])
async def test_a_sentence_gives_start_audio_text_and_stop(
    speeches: list[SynthesizedSpeech], delivery: str
):
    tts = EspeakTTSService(delivery=delivery, sample_rate=NATIVE_RATE, settings=FAST)
    frames = await say(tts, TTSSpeakFrame("Hello there."))
    assert kinds(frames) == [
        AggregatedTextFrame,
        TTSStartedFrame,
        TTSAudioRawFrame,
        TTSTextFrame,
        LLMAssistantPushAggregationFrame,
        TTSStoppedFrame,
    ]
    assert [frame.text for frame in of(TTSTextFrame, frames)] == ["Hello there."]
    assert [audio_of(frames)] == [speech.audio for speech in speeches]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("delivery", ["burst", "real_time"])
async def test_words_are_reported_with_the_time_at_which_they_are_spoken(
    speeches: list[SynthesizedSpeech], delivery: str, streaming: bool
):
    tts = EspeakTTSService(
        word_timestamps=True,
        streaming=streaming,
        delivery=delivery,
        sample_rate=NATIVE_RATE,
        settings=FAST,
    )
    frames = await say(tts, TTSSpeakFrame("Hello there, everyone."))
    texts = of(TTSTextFrame, frames)
    (speech,) = speeches
    assert [frame.text for frame in texts] == ["Hello", "there,", "everyone."]
    began = texts[0].pts - round(speech.words[0].start_secs * 1e9)
    for frame, word in zip(texts, speech.words, strict=True):
        assert frame.pts - began == pytest.approx(word.start_secs * 1e9, abs=1000)
        assert frame.pts - began < speech.duration_secs * 1e9
    assert kinds(frames)[-2:] == [LLMAssistantPushAggregationFrame, TTSStoppedFrame]
    assert of(TTSStoppedFrame, frames)[0].pts == texts[-1].pts
    assert audio_of(frames) == speech.audio


async def test_a_word_is_reported_behind_the_chunk_in_which_it_starts(
    speeches: list[SynthesizedSpeech],
):
    tts = EspeakTTSService(word_timestamps=True, sample_rate=NATIVE_RATE, chunk_ms=100)
    frames = await say(tts, TTSSpeakFrame("One two three four five."))
    chunk_start_secs, audio_secs = 0.0, 0.0
    starts_secs = [word.start_secs for word in speeches[0].words]
    for frame in frames:
        if type(frame) is TTSAudioRawFrame:
            chunk_start_secs = audio_secs
            audio_secs += len(frame.audio) / 2 / NATIVE_RATE
        elif type(frame) is TTSTextFrame:
            assert chunk_start_secs <= starts_secs.pop(0) < audio_secs
    assert starts_secs == []


@pytest.mark.parametrize("streaming", [False, True])
async def test_a_turn_is_one_utterance_whose_words_go_on_counting(
    speeches: list[SynthesizedSpeech], streaming: bool
):
    tts = EspeakTTSService(word_timestamps=True, streaming=streaming, sample_rate=NATIVE_RATE)
    frames = await say(tts, *turn("One two. Thr", "ee four! Five", " six."), *turn("Seven."))
    assert len(speeches) == 4
    assert [frame.text for frame in of(AggregatedTextFrame, frames)] == [
        "One two.",
        "Three four!",
        "Five six.",
        "Seven.",
    ]
    assert len(of(TTSStartedFrame, frames)) == len(of(TTSStoppedFrame, frames)) == 2
    assert len(of(LLMFullResponseEndFrame, frames)) == 2
    starts_secs: list[float] = []
    spoken_secs = 0.0
    for speech in speeches[:3]:
        starts_secs += [spoken_secs + word.start_secs for word in speech.words]
        spoken_secs += speech.duration_secs
    words = of(TTSTextFrame, frames)
    first_turn = [frame.pts - words[0].pts for frame in words[:6]]
    assert first_turn == pytest.approx([(s - starts_secs[0]) * 1e9 for s in starts_secs], abs=1000)
    assert words[6].text == "Seven."
    assert audio_of(frames) == b"".join(speech.audio for speech in speeches)


async def test_sentences_of_a_turn_each_have_their_text_behind_their_audio():
    frames = await say(EspeakTTSService(), *turn("One two. Three four."))
    assert kinds(frames) == [
        LLMFullResponseStartFrame,
        AggregatedTextFrame,
        TTSStartedFrame,
        TTSAudioRawFrame,
        TTSTextFrame,
        AggregatedTextFrame,
        TTSAudioRawFrame,
        TTSTextFrame,
        TTSStoppedFrame,
        LLMFullResponseEndFrame,
    ]


async def test_streamed_sentences_have_their_text_before_their_audio(
    speeches: list[SynthesizedSpeech],
):
    tts = EspeakTTSService(streaming=True, sample_rate=NATIVE_RATE)
    frames = await say(tts, *turn("One two. Three four."))
    assert kinds(frames)[:4] == [
        LLMFullResponseStartFrame,
        AggregatedTextFrame,
        TTSStartedFrame,
        TTSTextFrame,
    ]
    assert kinds(frames)[-3:] == [TTSAudioRawFrame, TTSStoppedFrame, LLMFullResponseEndFrame]
    assert [frame.text for frame in of(TTSTextFrame, frames)] == ["One two.", "Three four."]
    assert audio_of(frames) == b"".join(speech.audio for speech in speeches)


@pytest.mark.parametrize(
    ("pieces", "sentences"),
    [
        (["No end"], ["No end"]),
        (["Dr. Who met Mrs. Peel. ", "Really?"], ["Dr. Who met Mrs. Peel.", "Really?"]),
        (["It is 3", ".50 now.", " Yes"], ["It is 3.50 now.", "Yes"]),
        (['"Stop!" he said. (Or so.)', " Fine"], ['"Stop!"', "he said.", "(Or so.)", "Fine"]),
        (["  ", "\n"], []),
    ],
)
async def test_the_text_of_the_model_is_cut_into_sentences(pieces: list[str], sentences: list[str]):
    frames = await say(EspeakTTSService(), *turn(*pieces))
    assert [frame.text for frame in of(TTSTextFrame, frames)] == sentences


async def test_odd_text_is_reported_whole_by_the_word():
    text = "Well — it's $3.50 😀 at 9:30, <b>really</b>! … Ça va?"
    frames = await say(EspeakTTSService(word_timestamps=True), TTSSpeakFrame(text))
    assert " ".join(frame.text for frame in of(TTSTextFrame, frames)) == text
    assert of(AggregatedTextProgressFrame, frames)[-1].remaining_text == ""


async def test_text_without_sound_is_no_error():
    frames = await say(EspeakTTSService(word_timestamps=True), TTSSpeakFrame("..."))
    assert [frame.text for frame in of(TTSTextFrame, frames)] == ["..."]
    assert kinds(frames)[-1] is TTSStoppedFrame


@pytest.mark.parametrize("chunk_ms", [20, 40, 500])
async def test_chunks_have_the_duration_asked_for(chunk_ms: int):
    tts = EspeakTTSService(chunk_ms=chunk_ms, sample_rate=NATIVE_RATE)
    *full, last = of(TTSAudioRawFrame, await say(tts, TTSSpeakFrame("Hello there.")))
    assert {frame.num_frames for frame in full} == {NATIVE_RATE * chunk_ms // 1000}
    assert 0 < last.num_frames <= NATIVE_RATE * chunk_ms // 1000


@pytest.mark.parametrize("rate", [8_000, 16_000, 24_000, 48_000])
async def test_audio_has_the_rate_asked_for_and_its_full_length(
    speeches: list[SynthesizedSpeech], rate: int
):
    frames = await say(EspeakTTSService(sample_rate=rate), TTSSpeakFrame("Hello there."))
    assert {frame.sample_rate for frame in of(TTSAudioRawFrame, frames)} == {rate}
    samples = len(audio_of(frames)) // 2
    assert samples / rate == pytest.approx(speeches[0].duration_secs, abs=2 / rate)


async def test_audio_has_the_rate_of_the_pipeline_unless_told():
    tts = EspeakTTSService()
    frames, _ = await run_test(
        tts,
        frames_to_send=[TTSSpeakFrame("Hello.")],
        pipeline_params=PipelineParams(audio_out_sample_rate=32_000),
        start_timeout=LIMIT_SECS,
    )
    assert {frame.sample_rate for frame in of(TTSAudioRawFrame, list(frames))} == {32_000}


async def test_metrics_are_reported():
    frames, _ = await run_test(
        EspeakTTSService(),
        frames_to_send=[TTSSpeakFrame("Hello.")],
        pipeline_params=PipelineParams(enable_metrics=True, enable_usage_metrics=True),
        start_timeout=LIMIT_SECS,
    )
    reported = [metric for frame in of(MetricsFrame, list(frames)) for metric in frame.data]
    assert [m.value for m in reported if isinstance(m, TTSUsageMetricsData)] == [len("Hello.")]
    assert [m for m in reported if isinstance(m, TTFBMetricsData) and m.value > 0]


async def test_voice_and_pace_can_be_changed_while_it_runs(monkeypatch: pytest.MonkeyPatch):
    used: list[tuple[str, int]] = []
    synthesize = EspeakSynthesizer.synthesize

    def noted(self: EspeakSynthesizer, text: str) -> SynthesizedSpeech:
        used.append((self.voice, self.words_per_minute))
        return synthesize(self, text)

    monkeypatch.setattr(EspeakSynthesizer, "synthesize", noted)
    await say(
        EspeakTTSService(settings=EspeakTTSService.Settings(words_per_minute=300)),
        TTSSpeakFrame("One."),
        TTSUpdateSettingsFrame(delta=EspeakTTSService.Settings(voice="en-us")),
        TTSSpeakFrame("Two."),
        TTSUpdateSettingsFrame(delta=EspeakTTSService.Settings(words_per_minute=450)),
        TTSSpeakFrame("Three."),
    )
    assert used == [("en-gb", 300), ("en-us", 300), ("en-us", 450)]


async def test_a_voice_that_does_not_exist_is_reported_and_the_old_one_stays(
    complaints: list[str],
):
    async with asyncio.timeout(LIMIT_SECS):
        down, up = await run_test(
            EspeakTTSService(),
            frames_to_send=[
                TTSUpdateSettingsFrame(delta=EspeakTTSSettings(voice="nope")),
                TTSSpeakFrame("Hello."),
            ],
            start_timeout=LIMIT_SECS,
        )
    (error,) = of(ErrorFrame, list(up))
    assert "'nope'" in error.error
    assert audio_of(list(down))
    assert complaints
    complaints.clear()


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"delivery": "slowly"}, "delivery must be"),
        ({"chunk_ms": 0}, "chunk_ms must be positive"),
        ({"ttfb_secs": -1.0}, "ttfb_secs must not be negative"),
        ({"settings": EspeakTTSSettings(voice="nope")}, "voice must be"),
        ({"settings": EspeakTTSSettings(words_per_minute=1)}, "words_per_minute must be"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], complaint: str):
    with pytest.raises(ValueError, match=complaint):
        EspeakTTSService(**options)


# --- the service in time ---------------------------------------------------------------


class Sink(FrameProcessor):
    """Keeps what arrives at the end of a pipeline, and when."""

    def __init__(self) -> None:
        super().__init__()
        self.frames: list[Frame] = []
        self.times_secs: list[float] = []
        self._arrived = asyncio.Condition()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        async with self._arrived:
            self.frames.append(frame)
            self.times_secs.append(asyncio.get_running_loop().time())
            self._arrived.notify_all()
        await self.push_frame(frame, direction)

    async def until(self, kind: type[Frame], count: int = 1) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(of(kind, self.frames)) >= count)

    def audio_times_secs(self) -> list[float]:
        return [
            time_secs
            for frame, time_secs in zip(self.frames, self.times_secs, strict=True)
            if type(frame) is TTSAudioRawFrame
        ]


@asynccontextmanager
async def running(tts: EspeakTTSService, sink: Sink) -> AsyncIterator[PipelineWorker]:
    """A pipeline that runs; it is ended with an ``EndFrame`` when the block is left."""
    worker = PipelineWorker(Pipeline([tts, sink]), cancel_on_idle_timeout=False, enable_rtvi=False)
    started = asyncio.Event()

    @worker.event_handler("on_pipeline_started")
    async def on_pipeline_started(worker: PipelineWorker, frame: Frame) -> None:
        started.set()

    runner = WorkerRunner()
    await runner.add_workers(worker)
    async with asyncio.timeout(LIMIT_SECS), asyncio.TaskGroup() as tasks:
        tasks.create_task(runner.run())
        await started.wait()
        yield worker
        await worker.queue_frame(EndFrame())


LONG_TEXT = "This is a rather long text that nobody would want to hear to its very end. " * 6


@pytest.mark.parametrize("word_timestamps", [False, True])
async def test_an_interruption_stops_the_speech_and_the_next_one_is_whole(
    speeches: list[SynthesizedSpeech], word_timestamps: bool
):
    tts = EspeakTTSService(
        word_timestamps=word_timestamps,
        delivery="real_time",
        sample_rate=NATIVE_RATE,
        settings=FAST,
    )
    sink = Sink()
    async with running(tts, sink) as worker:
        await worker.queue_frame(TTSSpeakFrame(LONG_TEXT))
        await sink.until(TTSAudioRawFrame, count=5)
        await worker.queue_frame(InterruptionFrame())
        await sink.until(InterruptionFrame)
        await worker.queue_frame(TTSSpeakFrame("Again."))
        await sink.until(TTSStoppedFrame)
    at = kinds(sink.frames).index(InterruptionFrame)
    assert TTSStoppedFrame not in kinds(sink.frames)[:at]
    at = next(i for i, frame in enumerate(sink.frames) if type(frame) is InterruptionFrame)
    before, after = sink.frames[:at], sink.frames[at:]
    interrupted, again = speeches
    assert len(audio_of(before)) < len(interrupted.audio)
    assert interrupted.audio.startswith(audio_of(before))
    assert len(of(TTSTextFrame, before)) < len(interrupted.words)
    assert bool(of(TTSTextFrame, before)) is word_timestamps
    assert audio_of(after) == again.audio
    assert [frame.text for frame in of(TTSTextFrame, after)] == ["Again."]


async def test_an_interruption_forgets_a_sentence_that_is_not_complete():
    sink = Sink()
    async with running(EspeakTTSService(), sink) as worker:
        await worker.queue_frames(turn("One. Two. Never")[:-1])
        await sink.until(TTSTextFrame, count=2)
        await worker.queue_frame(InterruptionFrame())
        await sink.until(InterruptionFrame)
        await worker.queue_frames(turn("Three."))
    assert [frame.text for frame in of(TTSTextFrame, sink.frames)] == ["One.", "Two.", "Three."]


@pytest.mark.parametrize("streaming", [False, True])
async def test_an_interruption_does_not_delay_the_next_speech(streaming: bool):
    tts = EspeakTTSService(streaming=streaming, delivery="real_time", chunk_ms=3_600_000)
    sink = Sink()
    async with running(tts, sink) as worker:
        await worker.queue_frame(TTSSpeakFrame(LONG_TEXT * 3))  # longer than the limit
        await sink.until(TTSAudioRawFrame)
        await worker.queue_frame(InterruptionFrame())
        await sink.until(InterruptionFrame)
        await worker.queue_frame(TTSSpeakFrame("Again."))
        await sink.until(TTSStoppedFrame)
    assert of(TTSTextFrame, sink.frames)[-1].text == "Again."


@pytest.mark.skipif(
    not hasattr(TTSSpeakFrame(""), "interruptible"), reason="this Pipecat has no such speech"
)
@pytest.mark.parametrize("streaming", [False, True])
async def test_an_interruption_leaves_uninterruptible_speech_alone(
    speeches: list[SynthesizedSpeech], streaming: bool
):
    tts = EspeakTTSService(
        streaming=streaming,
        delivery="real_time",
        sample_rate=NATIVE_RATE,
        settings=FAST,
    )
    sink = Sink()
    important = TTSSpeakFrame("This call is recorded.")
    important.interruptible = False
    async with running(tts, sink) as worker:
        await worker.queue_frame(important)
        await sink.until(TTSAudioRawFrame)
        await worker.queue_frame(InterruptionFrame())
        await sink.until(TTSStoppedFrame)
    assert InterruptionFrame in kinds(sink.frames)
    assert audio_of(sink.frames) == speeches[0].audio


async def test_a_turn_that_pauses_for_long_goes_on_with_fresh_times():
    completed = asyncio.Event()

    class Noting(EspeakTTSService):
        async def on_audio_context_completed(self, context_id: str) -> None:
            await super().on_audio_context_completed(context_id)
            completed.set()

    sink = Sink()
    frames = turn("One two. Th", "ree four.")
    tts = Noting(word_timestamps=True, chunk_ms=2000, stop_frame_timeout_s=1.0)
    async with running(tts, sink) as worker:
        await worker.queue_frames(frames[:2])
        await completed.wait()
        await worker.queue_frames(frames[2:])
        await sink.until(TTSStoppedFrame)
        now = sink.get_clock().get_time()
    words = of(TTSTextFrame, sink.frames)
    assert [frame.text for frame in words] == ["One", "two.", "Three", "four."]
    assert words[2].pts <= now  # not later by the audio of the sentence before the pause


async def test_an_interruption_ends_the_wait_for_the_first_byte():
    sink = Sink()
    async with running(EspeakTTSService(ttfb_secs=10 * LIMIT_SECS), sink) as worker:
        await worker.queue_frame(TTSSpeakFrame("Never heard."))
        await sink.until(TTSStartedFrame)
        await worker.queue_frame(InterruptionFrame())
        await sink.until(InterruptionFrame)
    assert of(TTSAudioRawFrame, sink.frames) == []


async def test_the_first_byte_waits_as_long_as_told():
    sink = Sink()
    async with running(EspeakTTSService(ttfb_secs=0.3), sink) as worker:
        asked_secs = asyncio.get_running_loop().time()
        await worker.queue_frame(TTSSpeakFrame("Hello."))
        await sink.until(TTSAudioRawFrame)
    assert sink.audio_times_secs()[0] - asked_secs >= 0.3


async def test_real_time_takes_as_long_as_speaking(speeches: list[SynthesizedSpeech]):
    tts = EspeakTTSService(delivery="real_time", settings=FAST)
    sink = Sink()
    async with running(tts, sink) as worker:
        asked_secs = asyncio.get_running_loop().time()
        await worker.queue_frames(turn("One two. Three four."))
        await sink.until(TTSStoppedFrame)
    taken_secs = sink.audio_times_secs()[-1] - asked_secs
    assert taken_secs >= sum(speech.duration_secs for speech in speeches) - 0.05


async def test_a_burst_takes_far_less_time_than_speaking(speeches: list[SynthesizedSpeech]):
    sink = Sink()
    async with running(EspeakTTSService(delivery="burst"), sink) as worker:
        asked_secs = asyncio.get_running_loop().time()
        await worker.queue_frame(TTSSpeakFrame(LONG_TEXT))
        await sink.until(TTSStoppedFrame)
    assert sink.times_secs[-1] - asked_secs < speeches[0].duration_secs / 2


async def test_the_event_loop_turns_while_a_long_text_is_synthesised():
    sink = Sink()
    turns = 0

    async def count() -> None:
        nonlocal turns
        while not of(TTSAudioRawFrame, sink.frames):
            await asyncio.sleep(0)
            turns += 1

    async with running(EspeakTTSService(chunk_ms=2000), sink) as worker:
        await worker.queue_frame(TTSSpeakFrame(LONG_TEXT * 5))
        await sink.until(TTSStartedFrame)
        await count()
    assert turns > 100
