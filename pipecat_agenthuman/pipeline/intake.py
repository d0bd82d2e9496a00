"""What the TTS service delivers: speech is written, and other frames held in their places."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from pipecat.frames.frames import (
    AggregatedTextFrame,
    Frame,
    LLMFullResponseEndFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.admission import REMEMBERED_CONTEXTS, Admission
from pipecat_agenthuman.pipeline.availability import Availability, AvatarState
from pipecat_agenthuman.pipeline.collection import Collection
from pipecat_agenthuman.pipeline.frame_traits import SOUNDS, SPOKEN_TEXT, HandedOnFrame
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.marks import Bar
from pipecat_agenthuman.playout.originals import Originals
from pipecat_agenthuman.playout.playout import Playout

_NANOSECS: Final = 1_000_000_000

_TIMED_AS_WORDS: Final = (
    *SPOKEN_TEXT,
    AggregatedTextFrame,
    LLMFullResponseEndFrame,
    TTSStoppedFrame,
)
"""Frames that a TTS service gives the timestamp of a word: they come with it, not at a moment."""


@dataclass(slots=True)
class _OpenUtterance:
    """The speech that the TTS service is delivering.

    Attributes:
        context_id: The TTS service's name for it.
        announced: Whether a ``TTSStartedFrame`` opened it.
        interruptible: Whether an interruption may cut it.
        said: Whether any of its speech could be said.
        missed: Whether some could not.
    """

    context_id: str | None
    announced: bool
    interruptible: bool
    said: bool = False
    missed: bool = False


@dataclass(slots=True)
class _LastWord:
    """The latest timestamps of words, in seconds: of all words, and of uninterruptible ones.

    Timestamps of an utterance count from its first audio, or from the last word before if that
    is later: so do Pipecat's TTS services, when they deliver faster than speech. Words between
    utterances come before the audio of one that nobody announces, and are not before it.
    """

    at_secs: float = 0.0
    kept_at_secs: float = 0.0
    before_secs: float = 0.0

    @property
    def is_of_this_utterance(self) -> bool:
        """Whether a word came since the last utterance began."""
        return self.at_secs > self.before_secs

    def note(self, at_secs: float, *, interruptible: bool) -> None:
        self.at_secs = at_secs
        if not interruptible:
            self.kept_at_secs = at_secs

    def next_utterance(self) -> None:
        """All words that came until now are before what comes."""
        self.before_secs = self.at_secs

    def forget_interruptible(self) -> None:
        self.at_secs = self.kept_at_secs
        self.before_secs = min(self.before_secs, self.at_secs)


class Intake:
    """Speech frames in.

    Attributes:
        admission: Which frames still count after an interruption.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        availability: Availability,
        playout: Playout[Frame],
        originals: Originals,
        transport: TransportOutput,
        meter: Meter,
        now: Callable[[], float],
        on_news: Callable[[], None],
        on_speech: Callable[[float], None],
        needs_none: Callable[[float], bool],
    ) -> None:
        """Take nothing yet.

        Args:
            processor: Has the clock of timestamps.
            availability: Whether the avatar may speak.
            playout: Where the speech is written, and frames are held.
            originals: Keeps the speech as it was delivered.
            transport: Knows what takes its time there.
            meter: Counts.
            now: The time, on the clock of the playout.
            on_news: Called when there is something new to release, or speech ends.
            on_speech: Called with the time when speech was written.
            needs_none: Whether speech that comes at a time makes no difference yet. Then it is
                collected until somebody lets it ``settle``.
        """
        self.admission = Admission(processor)
        self._processor = processor
        self._availability = availability
        self._playout = playout
        self._originals = originals
        self._transport = transport
        self._meter = meter
        self._now = now
        self._on_news = on_news
        self._on_speech = on_speech
        self._needs_none = needs_none
        self._converter = SpeechConverter()
        self._collection: Collection | None = None
        self._format = (0, 0)  # of the latest speech: rate and channels
        self._utterance: _OpenUtterance | None = None
        self._said_from: dict[str, int] = {}  # where the speech of each context begins
        self._last_word = _LastWord()

    # --- looking -----------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the TTS service is delivering an utterance."""
        return self._utterance is not None

    @property
    def awaits_stop(self) -> bool:
        """Whether it is delivering one that it announced, so that a stop ends it."""
        return self._utterance is not None and self._utterance.announced

    # --- frames in ---------------------------------------------------------------------

    def start(self, frame: TTSStartedFrame, *, interruptible: bool) -> None:
        """Open an utterance."""
        if not (self.is_open or self._playout.unheard_secs(self._now()) > 0):
            self._meter.announced(self._now())
        self.finish()
        self._last_word.next_utterance()
        self._open(frame.context_id, announced=True, interruptible=interruptible)
        self._playout.hold(frame, interruptible=interruptible)
        self._playout.open_utterance(interruptible=interruptible)
        self._on_news()

    def say(self, frame: TTSAudioRawFrame, *, interruptible: bool) -> None:
        """Take speech.

        Raises:
            ValueError: If the frame's format is impossible.
        """
        now = self._now()
        if self._continues(frame, interruptible=interruptible) and self._needs_none(now):
            self._collect(frame, now)
            return
        self.settle()
        utterance = self._utterance
        if utterance is not None and utterance.said and utterance.interruptible != interruptible:
            # What the resampler holds is of the other kind: an interruption must find it apart.
            self._write(self._converter.flush())
        audio = self._converter.convert(frame.audio, frame.sample_rate, frame.num_channels)
        if utterance is None:
            utterance = self._open(frame.context_id, announced=False, interruptible=interruptible)
            self._playout.open_utterance(interruptible=interruptible)
        if frame.context_id is not None and frame.context_id not in self._said_from:
            self._say_of(frame.context_id)
        if not utterance.said and self._availability.state is not AvatarState.READY:
            self._originals.begin(self._playout.end, frame.sample_rate, frame.num_channels)
        self._originals.write(frame.audio, frame.sample_rate, frame.num_channels)
        utterance.interruptible = interruptible
        utterance.said = True
        self._format = (frame.sample_rate, frame.num_channels)
        self._write(audio)
        self._on_speech(now)

    def settle(self) -> None:
        """Write what was collected."""
        collection, self._collection = self._collection, None
        if collection is None:
            return
        audio, rate, channels = collection.audio, collection.sample_rate, collection.num_channels
        self._originals.write(audio, rate, channels)
        self._write(self._converter.convert(audio, rate, channels), collection)

    def miss(self) -> None:
        """Note that speech of the utterance could not be said."""
        if self._utterance is not None:
            self._utterance.missed = True

    def stop(self, frame: TTSStoppedFrame, *, interruptible: bool) -> None:
        """Close the utterance: its rest goes out at once, and the frame follows its sound."""
        unsaid = self._says_nothing
        self.finish()
        self._playout.hold(frame, interruptible=interruptible, ends_speech=True, unsaid=unsaid)
        self._on_news()

    def hand_on(self, frame: HandedOnFrame) -> None:
        """Another service goes on: the utterance ends with what there is of it, without a stop."""
        utterance = self._utterance
        if utterance is not None:
            self.finish()
            self._playout.hold(frame, interruptible=utterance.interruptible, ends_speech=True)
            self._on_news()

    def hold(self, frame: Frame, *, interruptible: bool) -> None:
        """Hold any other frame in its place, or until its moment if it has a timestamp.

        Args:
            frame: The frame.
            interruptible: Whether an interruption may drop it.
        """
        self.settle()
        if not frame.pts:
            bar = self._bar(frame)
            if bar is Bar.ALWAYS:
                self._write(self._converter.flush(), is_tail=True)
            # Otherwise what the resampler still holds back, some 10 ms, does not count: it comes
            # with the next audio, and that can be a tool call away.
            comes_before = self._comes_before_its_speech(frame)
            self._playout.hold(
                frame,
                interruptible=interruptible,
                bar=bar,
                unsaid=self._says_nothing and not comes_before,
                comes_before=comes_before,
                since=self._said_from.get(_context_of(frame) or ""),
            )
        else:
            self._hold_timed(frame, frame.pts / _NANOSECS, interruptible=interruptible)
        self._on_news()

    def _bar(self, frame: Frame) -> Bar:
        """Whether speech behind a frame waits until the transport is done with it."""
        if not self._transport.takes_time(frame):
            return Bar.NEVER
        # Amid speech only a sound is worth a pause of the avatar.
        is_amid = self._utterance is not None and not isinstance(frame, SOUNDS)
        return Bar.BETWEEN if is_amid else Bar.ALWAYS

    def _hold_timed(self, frame: Frame, at_secs: float, *, interruptible: bool) -> None:
        is_word = isinstance(frame, SPOKEN_TEXT)
        origin_secs = self._origin_secs()
        if isinstance(frame, TTSTextFrame):
            self._last_word.note(at_secs, interruptible=interruptible)
        utterance = self._utterance
        if utterance is not None and is_word:
            # Words that were known before the audio come just before it. And none is earlier
            # than the speech, whatever words of interrupted speech came before.
            if _context_of(frame) == utterance.context_id:
                origin_secs = min(origin_secs, at_secs)
            self._playout.begin_timestamps(origin_secs)
        if utterance is not None and self._announces(frame, at_secs):
            self._hold_announcement(frame, interruptible=interruptible)
        elif not self._playout.has_timeline(self._now()):
            self._hold_until_its_moment(frame, at_secs, interruptible=interruptible)
        elif utterance is None and self._comes_before_its_speech(frame):
            # It comes behind the speech before it, of which it is none: also if nobody says that.
            self._playout.hold(frame, interruptible=interruptible, comes_before=True)
        else:
            follows_sound = isinstance(frame, _TIMED_AS_WORDS)
            self._playout.hold_timed(
                frame, at_secs, interruptible=interruptible, follows_sound=follows_sound
            )

    def _announces(self, frame: Frame, at_secs: float) -> bool:
        """Whether a frame only says what will be spoken, and not when.

        Its timestamp is the moment at which it was sent, or that of the last word if that is
        later, also of the utterance before.
        """
        if not isinstance(frame, AggregatedTextFrame) or isinstance(frame, SPOKEN_TEXT):
            return False
        return at_secs <= max(self._clock_ns() / _NANOSECS, self._last_word.at_secs)

    def _hold_announcement(self, frame: Frame, *, interruptible: bool) -> None:
        """Hold what announces text of the open utterance.

        All that it tells is the order: it comes behind the word before it, and before all words
        that come after it, also if those are late and have sounded.
        """
        if self._last_word.is_of_this_utterance:
            self._playout.hold_timed(frame, self._last_word.at_secs, interruptible=interruptible)
        else:
            self._playout.hold_at_start(frame, interruptible=interruptible)

    def _hold_until_its_moment(self, frame: Frame, at_secs: float, *, interruptible: bool) -> None:
        """Hold a frame whose timestamp points to no speech."""
        if isinstance(frame, LLMFullResponseEndFrame) and not self._playout.awaits_moment:
            # What it ends is over sooner than was meant, because nobody said it. A moment later
            # it would end the answer that has begun meanwhile.
            self._playout.hold(frame, interruptible=interruptible)
        else:
            # No speech gives its timestamp another meaning than it has in Pipecat.
            moment = self._now() + max(at_secs - self._clock_ns() / _NANOSECS, 0.0)
            self._playout.hold_until(frame, moment, interruptible=interruptible)

    @property
    def _says_nothing(self) -> bool:
        """Whether all speech of the open utterance, and there was some, could not be said."""
        utterance = self._utterance
        return utterance is not None and utterance.missed and not utterance.said

    def finish(self) -> None:
        """Close the utterance that is open, if any: hand over what the converter holds."""
        if self._utterance is None:
            return
        self.settle()
        end = self._playout.end
        self._write(self._converter.flush(), is_tail=True)
        # What followed the speech follows the last of it, too, if it is not out already.
        self._playout.move_behind(end)
        self._utterance = None
        self._last_word.next_utterance()
        self._originals.end()
        self._playout.close_utterance()
        self._on_news()

    def interrupt(self) -> None:
        """An interruption drops what it may: also the utterance that is open."""
        self.settle()
        utterance = self._utterance
        if utterance is None or utterance.interruptible:
            self.admission.interrupt()
        else:
            self.admission.interrupt(kept=utterance.context_id)
        if utterance is not None and utterance.interruptible:
            self._converter.reset()
            self._utterance = None
            self.admission.interrupted(utterance.context_id, announced=utterance.announced)
        self._said_from.clear()  # What is kept of it moves.
        self._last_word.forget_interruptible()
        if self._utterance is None:
            self._last_word.next_utterance()
        self._originals.clear()

    # --- inside ------------------------------------------------------------------------

    def _open(
        self, context_id: str | None, *, announced: bool, interruptible: bool
    ) -> _OpenUtterance:
        if context_id is not None:
            self._said_from.pop(context_id, None)
            self._say_of(context_id)
        self._utterance = _OpenUtterance(context_id, announced, interruptible)
        return self._utterance

    def _say_of(self, context_id: str) -> None:
        """Note that speech of a context begins here."""
        if len(self._said_from) >= REMEMBERED_CONTEXTS:
            del self._said_from[next(iter(self._said_from))]
        self._said_from[context_id] = self._playout.end

    def _comes_before_its_speech(self, frame: Frame) -> bool:
        """Whether a frame names speech that nothing has announced yet, and of which none came."""
        context_id = _context_of(frame)
        return bool(self._said_from) and not (context_id is None or context_id in self._said_from)

    def _clock_ns(self) -> int:
        return self._processor.get_clock().get_time()

    def _continues(self, frame: TTSAudioRawFrame, *, interruptible: bool) -> bool:
        """Whether speech is more of the same: nothing has to be noted but the sound."""
        utterance = self._utterance
        return (
            utterance is not None
            and utterance.said
            and utterance.interruptible == interruptible
            and (frame.sample_rate, frame.num_channels) == self._format
            and (frame.context_id is None or frame.context_id in self._said_from)
        )

    def _collect(self, frame: TTSAudioRawFrame, now: float) -> None:
        if self._collection is None:
            self._collection = Collection(frame.sample_rate, frame.num_channels, now, now)
        self._collection.add(frame.audio, now)
        if self._collection.is_full:
            self.settle()
            self._on_speech(now)

    def _write(
        self, audio: bytes, collection: Collection | None = None, *, is_tail: bool = False
    ) -> None:
        utterance = self._utterance
        if utterance is None:
            return
        self._playout.write(
            audio,
            self._now() if collection is None else collection.last_at,
            since=None if collection is None else collection.first_at,
            pieces=1 if collection is None else collection.count,
            interruptible=utterance.interruptible,
            origin_secs=self._origin_secs() if self._playout.awaits_origin else None,
            is_tail=is_tail,
        )

    def _origin_secs(self) -> float:
        """Where the timestamps of an utterance begin whose first audio, or word, comes now."""
        return max(self._clock_ns() / _NANOSECS, self._last_word.before_secs)


def _context_of(frame: Frame) -> str | None:
    """The TTS service's name for the speech to which a frame belongs."""
    return getattr(frame, "context_id", None)
