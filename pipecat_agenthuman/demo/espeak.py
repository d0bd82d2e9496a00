"""Speech from text on this machine, with the time of every word.

A small binding of the C API of libespeak-ng (``speak_lib.h``), whose library and voices the
package ``espeakng-loader`` ships in its wheel. No asyncio, no Pipecat: synthesis is a
blocking call that runs a few hundred times faster than speech, so call it in a thread.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
import threading
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

from pipecat_agenthuman.errors import AgentHumanError

DEFAULT_VOICE: Final = "en-gb"
DEFAULT_WORDS_PER_MINUTE: Final = 175
"""What eSpeak NG itself speaks at."""

SLOWEST_WORDS_PER_MINUTE: Final = 80
FASTEST_WORDS_PER_MINUTE: Final = 450
"""The range that ``speak_lib.h`` documents for ``espeakRATE``."""

BYTES_PER_SAMPLE: Final = 2
"""16-bit signed PCM, mono. Every platform with a wheel of the library is little-endian."""


class EspeakError(AgentHumanError):
    """The speech synthesiser is missing or failed."""


@dataclass(frozen=True)
class Word:
    """A word of the text, with the punctuation that touches it.

    Attributes:
        text: The word as written. A token that is not pronounced, for example a lone dash,
            is part of the word before it, so joining the words with spaces gives back the text.
        start_secs: Seconds from the start of the audio to its first sound.
        end_secs: Seconds from the start of the audio to where the next word starts, or the
            audio ends: a pause belongs to the word before it.
    """

    text: str
    start_secs: float
    end_secs: float


@dataclass(frozen=True)
class SynthesizedSpeech:
    """A spoken text.

    Attributes:
        audio: 16-bit signed little-endian mono PCM, no header.
        sample_rate: Samples per second of ``audio``.
        words: The words in the order of the text. Empty if nothing in it is pronounced.
    """

    audio: bytes = field(repr=False)
    sample_rate: int
    words: tuple[Word, ...]

    @property
    def duration_secs(self) -> float:
        """Duration of the audio in seconds."""
        return len(self.audio) / (BYTES_PER_SAMPLE * self.sample_rate)


class EspeakSynthesizer:
    """Speaks text with a voice of eSpeak NG.

    Instances are cheap and may be used from any thread. They share one library, which keeps
    its state in global variables: it is loaded when the first instance is made, and one
    synthesis runs at a time.

    The voices flutter like a human's, so the audio of the same text differs a little from
    one time to the next, in its length too.
    """

    def __init__(
        self,
        *,
        voice: str = DEFAULT_VOICE,
        words_per_minute: int = DEFAULT_WORDS_PER_MINUTE,
    ) -> None:
        """Check the voice and load the library if it is not loaded yet.

        Args:
            voice: Language code, such as ``en-gb`` or ``en-us``, with or without a variant as
                in ``en-us+f3``.
            words_per_minute: Pace, from 80 to 450.

        Raises:
            ValueError: If the voice is not known, or the pace out of range.
            EspeakError: If the library is not installed or cannot be loaded.
        """
        if not SLOWEST_WORDS_PER_MINUTE <= words_per_minute <= FASTEST_WORDS_PER_MINUTE:
            raise ValueError(
                f"words_per_minute must be from {SLOWEST_WORDS_PER_MINUTE} to "
                f"{FASTEST_WORDS_PER_MINUTE}, got {words_per_minute}."
            )
        with _one_at_a_time:
            found = _engine().find_voice(voice)
        if found is None:
            raise ValueError(
                'voice must be a language code that eSpeak NG knows, such as "en-gb" '
                f'or "en-us", got {voice!r}.'
            )
        self._voice = voice
        self._voice_file = found
        self._words_per_minute = words_per_minute

    @property
    def voice(self) -> str:
        """The voice as it was given."""
        return self._voice

    @property
    def words_per_minute(self) -> int:
        """The pace as it was given."""
        return self._words_per_minute

    def synthesize(self, text: str) -> SynthesizedSpeech:
        """Speak a text.

        Args:
            text: Plain text in any script. Markup and phoneme brackets are read out, control
                characters are not.

        Returns:
            The audio and the time of every word. A text that has nothing to pronounce gives a
            few milliseconds of silence and no words.

        Raises:
            EspeakError: If the library fails.
        """
        spoken_text = _UNSPEAKABLE.sub(" ", text)
        with _one_at_a_time:
            engine = _engine()
            recording = engine.record(spoken_text, self._voice_file, self._words_per_minute)
        duration_secs = len(recording.audio) / (BYTES_PER_SAMPLE * engine.sample_rate)
        return SynthesizedSpeech(
            audio=bytes(recording.audio),
            sample_rate=engine.sample_rate,
            words=_time_words(spoken_text, recording.marks, duration_secs),
        )


# --- words -----------------------------------------------------------------------------

_UNSPEAKABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""What becomes a space: NUL would end the text, 0x01 starts a command of the library, and a
lone surrogate has no UTF-8. One character for each, so that positions in the text stay true."""


@dataclass(frozen=True)
class _WordMark:
    """Where in the text the voice is at a time of the audio.

    Attributes:
        position: Index of a character of the text.
        secs: Seconds from the start of the audio.
    """

    position: int
    secs: float


def _time_words(text: str, marks: Iterable[_WordMark], duration_secs: float) -> tuple[Word, ...]:
    """Give every word of the text its time.

    The library reports what it pronounces, not what is written: several marks for a number,
    none for a dash, and positions that can be a character off inside a number. So the words
    are those of the text, and a word starts at the first mark inside it. A mark can also lie
    some milliseconds before its predecessor (seen behind a guillemet at the highest pace), but
    no word starts before the one that precedes it.
    """
    tokens = list(re.finditer(r"\S+", text))
    token_starts = [token.start() for token in tokens]
    spoken: list[tuple[int, float]] = []
    for mark in marks:
        index = max(bisect_right(token_starts, mark.position) - 1, 0)
        if not spoken or index > spoken[-1][0]:
            spoken.append((index, mark.secs))
    if not tokens or not spoken:
        return ()
    # What comes before the first pronounced token belongs to it; the rest to its predecessor.
    firsts = [0, *(index for index, _ in spoken[1:]), len(tokens)]
    starts = [*accumulate((secs for _, secs in spoken), max), duration_secs]
    return tuple(
        Word(
            text=" ".join(token.group() for token in tokens[firsts[i] : firsts[i + 1]]),
            start_secs=starts[i],
            end_secs=starts[i + 1],
        )
        for i in range(len(spoken))
    )


# --- the library -----------------------------------------------------------------------

# Names and values of speak_lib.h, version 1.52.
_AUDIO_OUTPUT_SYNCHRONOUS: Final = 2
_INITIALIZE_DONT_EXIT: Final = 0x8000
_CHARS_UTF8: Final = 1
_POS_CHARACTER: Final = 1
_RATE: Final = 1
_EVENT_LIST_TERMINATED: Final = 0
_EVENT_WORD: Final = 1
_EE_OK: Final = 0

_VOICE: Final = re.compile(r"(?P<language>[\w-]+)(?P<variant>(?:\+[\w-]+)?)", re.ASCII)
"""Nothing else may reach the library: it takes what it does not know for a path."""


class _EspeakVoice(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_char_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    )


class _EventId(ctypes.Union):
    _fields_ = (
        ("number", ctypes.c_int),
        ("name", ctypes.c_char_p),
        ("string", ctypes.c_char * 8),
    )


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _EventId),
    )

    type: int
    text_position: int
    """Characters from the start of the text, counted from one."""
    audio_position: int
    """Milliseconds from the start of the audio."""


_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.POINTER(_Event)
)


@dataclass
class _Recording:
    """What one synthesis has delivered so far."""

    audio: bytearray = field(default_factory=bytearray)
    marks: list[_WordMark] = field(default_factory=list["_WordMark"])


_one_at_a_time: Final = threading.Lock()
"""Held around every call of the library."""


class _Engine:
    """The loaded library. Call it with ``_one_at_a_time`` held."""

    def __init__(self, library: ctypes.CDLL, sample_rate: int) -> None:
        self.sample_rate = sample_rate
        self._library = library
        self._recording = _Recording()
        # The library keeps the pointer, so the callback must live as long as it does.
        self._callback = _SynthCallback(self._receive)
        library.espeak_GetCurrentVoice.restype = ctypes.POINTER(_EspeakVoice)

    def find_voice(self, voice: str) -> str | None:
        """Find the file of a voice, with its variant. None if it is not known."""
        parts = _VOICE.fullmatch(voice)
        if parts is None:
            return None
        wanted = _EspeakVoice(languages=parts["language"].encode())
        if self._library.espeak_SetVoiceByProperties(ctypes.byref(wanted)) != _EE_OK:
            return None
        found: bytes = self._library.espeak_GetCurrentVoice().contents.identifier
        return found.decode() + parts["variant"]

    def record(self, text: str, voice_file: str, words_per_minute: int) -> _Recording:
        """Speak a text. Voice and pace are global, so they are set every time."""
        self._recording = _Recording()
        self._library.espeak_SetSynthCallback(self._callback)
        _check(self._library.espeak_SetVoiceByName(voice_file.encode()))
        _check(self._library.espeak_SetParameter(_RATE, words_per_minute, 0))
        encoded = text.encode()
        _check(
            self._library.espeak_Synth(
                encoded,
                ctypes.c_size_t(len(encoded) + 1),  # with the NUL that ends the text
                ctypes.c_uint(0),
                _POS_CHARACTER,
                ctypes.c_uint(0),
                ctypes.c_uint(_CHARS_UTF8),
                None,
                None,
            )
        )
        return self._recording

    def _receive(self, samples: int | None, count: int, events: Any) -> int:
        """Take a piece of audio and its events; called by the library while it speaks."""
        if samples and count > 0:
            self._recording.audio += ctypes.string_at(samples, count * BYTES_PER_SAMPLE)
        index = 0
        while events[index].type != _EVENT_LIST_TERMINATED:
            event: _Event = events[index]
            if event.type == _EVENT_WORD:
                mark = _WordMark(event.text_position - 1, event.audio_position / 1000)
                self._recording.marks.append(mark)
            index += 1
        return 0  # go on


def _check(status: int) -> None:
    if status != _EE_OK:
        raise EspeakError(f"eSpeak NG could not speak the text (status {status}).")


@functools.cache
def _engine() -> _Engine:
    """Load and initialise the library, once per process. A failure is tried again."""
    try:
        loader: Any = importlib.import_module("espeakng_loader")
    except ImportError as error:
        raise EspeakError(
            "The speech synthesiser is not installed.",
            remedy="Install it with: pip install 'pipecat-agenthuman[demo]'",
        ) from error
    try:
        library = ctypes.CDLL(loader.get_library_path())
        data_path: str = loader.get_data_path()
    except (OSError, RuntimeError) as error:
        raise EspeakError(
            f"The speech synthesiser does not load: {error}.",
            remedy="Reinstall it with: pip install --force-reinstall espeakng-loader",
        ) from error
    sample_rate = library.espeak_Initialize(
        _AUDIO_OUTPUT_SYNCHRONOUS, 0, data_path.encode(), _INITIALIZE_DONT_EXIT
    )
    if sample_rate <= 0:
        raise EspeakError(
            f"The speech synthesiser does not find its voices in {data_path}.",
            remedy="It cannot read paths longer than about 150 characters.",
        )
    return _Engine(library, sample_rate)
