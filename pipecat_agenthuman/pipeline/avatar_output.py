"""What the avatar says: speech frames in, and the same frames out when they are heard.

Does what Pipecat's output transport does with audio that it plays itself: bot speaking
frames in both directions, frames held behind the audio before them, word frames at their
moment, and what an interruption demands.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import (
    AggregatedTextProgressFrame,
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.driver import PlayoutDriver, SpeechSink
from pipecat_agenthuman.pipeline.frame_traits import is_interruptible, speech_frame
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.cues import Cue, Release, Speaking, Started, Stopped
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.playout.results import Interruption, Speech, SpeechMessage
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE, to_secs

_NANOSECS: Final = 1_000_000_000

_SETTLE_TURNS: Final = 24
"""Turns of the event loop that a data frame takes to get through an output transport, with
room to spare: it takes six, and one more for every processor around it. System frames overtake
data frames at every processor, so a bot speaking frame that belongs behind a data frame is
pushed when that one has arrived."""

_SPOKEN_TEXT: Final = (TTSTextFrame, AggregatedTextProgressFrame)
"""Frames that say which words were spoken."""

_REMEMBERED_CONTEXTS: Final = 64
"""Interrupted TTS contexts whose late frames are recognised."""


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
    is later: so do Pipecat's TTS services, when they deliver faster than speech.
    """

    at_secs: float = 0.0
    kept_at_secs: float = 0.0

    def note(self, at_secs: float, *, interruptible: bool) -> None:
        self.at_secs = at_secs
        if not interruptible:
            self.kept_at_secs = at_secs

    def forget_interruptible(self) -> None:
        self.at_secs = self.kept_at_secs


@dataclass(frozen=True, slots=True)
class Unheard:
    """What nobody heard of the avatar's speech, as frames that a transport can play.

    Attributes:
        frames: Audio at 16 kHz mono and the held frames, in order; timestamps fit the time
            at which the transport will play them.
        samples: Samples of audio among them, at 16 kHz.
        sent_samples: Of those, what the server had already been sent.
        is_open: Whether a stop of the TTS service is still to come for the utterance at the end.
        timestamp_shift_ns: What to add to the timestamps of the rest of that utterance.
        last_timestamp_ns: The latest timestamp of a word, as the TTS service gave it.
    """

    frames: list[Frame]
    samples: int
    sent_samples: int
    is_open: bool
    timestamp_shift_ns: int
    last_timestamp_ns: int = 0


class AvatarOutput:
    """The speech of one avatar.

    Attributes:
        playout: What is written, sent, confirmed and heard.
        driver: Runs the playout against the clock.
        heard_at: When audio was heard last.
        passes_heard_audio: Whether audio is pushed downstream as it is heard.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        pace: Pace,
        line: Callable[[], SpeechSink | None],
        on_sent: Callable[[SpeechMessage], None],
        on_sound: Callable[[], Awaitable[None]],
        on_heard: Callable[[int], None],
        pass_heard_audio: bool = False,
    ) -> None:
        """Create a silent voice.

        Args:
            processor: Pushes the frames.
            pace: How fast to send.
            line: Returns where speech may go now, or None.
            on_sent: Told of every message that left.
            on_sound: Told when speech starts to sound.
            on_heard: Told how many samples were heard, piece by piece.
            pass_heard_audio: Whether to push audio downstream as it is heard.
        """
        self._processor = processor
        self._on_sound = on_sound
        self._on_heard = on_heard
        self.passes_heard_audio = pass_heard_audio
        self._converter = SpeechConverter()
        self._utterance: _OpenUtterance | None = None
        self._interrupted: deque[str] = deque(maxlen=_REMEMBERED_CONTEXTS)
        self._awaits_start = False
        self._last_word = _LastWord()
        self.heard_at = -math.inf
        self._released_data = False
        self.playout: Playout[Frame] = Playout(pace)
        self.driver: PlayoutDriver[Frame] = PlayoutDriver(
            self.playout,
            line=line,
            deliver=self._deliver,
            sent=on_sent,
            heard=self.hear,
        )

    @property
    def idle(self) -> bool:
        """Whether everything was heard and every frame released.

        Speech that no start announced has no stop either: it is over when it counts as stopped.
        """
        utterance = self._utterance
        over = utterance is None or not (utterance.announced or self.playout.speaking)
        return over and self.playout.finished(self.driver.now())

    @property
    def is_open(self) -> bool:
        """Whether the TTS service is delivering an utterance."""
        return self._utterance is not None

    @property
    def has_unheard(self) -> bool:
        """Whether audio was written that nobody has heard yet."""
        return self.playout.unheard_secs(self.driver.now()) > 0

    @property
    def silent(self) -> bool:
        """Whether all audio that was written was heard, and what stood behind it is released."""
        now = self.driver.now()
        due = self.playout.next_due(now, can_send=False)
        return not self.playout.unheard_secs(now) and (due is None or due > now)

    # --- frames in ---------------------------------------------------------------------

    def admit(self, frame: Frame) -> bool:
        """Let a frame in, unless it belongs to speech that was interrupted.

        An interruption overtakes the frames of its utterance that are on their way; they must
        not be said. A start lets in what follows it, whoever says that.

        Returns:
            Whether it may be said.
        """
        if not is_interruptible(frame):
            return True
        context_id: str | None = getattr(frame, "context_id", None)
        if context_id is not None and context_id in self._interrupted:
            return False
        if isinstance(frame, TTSStartedFrame):
            self._awaits_start = False
        return not (self._awaits_start and isinstance(frame, TTSAudioRawFrame | TTSStoppedFrame))

    def start(self, frame: TTSStartedFrame) -> None:
        """Open an utterance."""
        self.finish()
        interruptible = is_interruptible(frame)
        self._utterance = _OpenUtterance(frame.context_id, True, interruptible)
        self.playout.hold(frame, interruptible=interruptible)
        self.playout.open_utterance(interruptible=interruptible)
        self.driver.wake()

    def say(self, frame: TTSAudioRawFrame) -> None:
        """Take speech.

        Raises:
            ValueError: If the frame's format is impossible.
        """
        interruptible = is_interruptible(frame)
        audio = self._converter.convert(frame.audio, frame.sample_rate, frame.num_channels)
        if self._utterance is None:
            self._utterance = _OpenUtterance(frame.context_id, False, interruptible)
            self.playout.open_utterance(interruptible=interruptible)
        self._utterance.interruptible = interruptible
        self._utterance.said = True
        self._write(audio)

    def miss(self) -> None:
        """Note that speech of the utterance could not be said."""
        if self._utterance is not None:
            self._utterance.missed = True

    def stop(self, frame: TTSStoppedFrame) -> None:
        """Close the utterance: its rest goes out at once, and the frame follows its sound."""
        unsaid = self._says_nothing
        self.finish()
        interruptible = is_interruptible(frame)
        self.playout.hold(frame, interruptible=interruptible, ends_speech=True, unsaid=unsaid)
        self.driver.wake()

    def hold(self, frame: Frame) -> None:
        """Hold any other frame in its place, or until its moment if it has a timestamp."""
        interruptible = is_interruptible(frame)
        if frame.pts and self._is_timed(frame):
            at_secs = frame.pts / _NANOSECS
            self._note_time(frame, at_secs)
            self.playout.hold_timed(frame, at_secs, interruptible=interruptible)
        else:
            # What the resampler still holds back, some 10 ms, does not count: it comes with the
            # next audio, and that can be a tool call away.
            self.playout.hold(frame, interruptible=interruptible, unsaid=self._says_nothing)
        self.driver.wake()

    @property
    def _says_nothing(self) -> bool:
        """Whether all speech of the open utterance, and there was some, could not be said."""
        utterance = self._utterance
        return utterance is not None and utterance.missed and not utterance.said

    def finish(self) -> None:
        """Close the utterance that is open, if any: hand over what the converter holds."""
        if self._utterance is None:
            return
        self._write(self._converter.flush())
        self._utterance = None
        self.playout.close_utterance()
        self.driver.wake()

    # --- ends --------------------------------------------------------------------------

    def interrupt(self) -> Interruption:
        """Forget what an interruption may drop. Call with the driver's ``turn``."""
        utterance = self._utterance
        if utterance is not None and utterance.interruptible:
            self._converter.reset()
            self._utterance = None
            if utterance.context_id is not None:
                self._interrupted.append(utterance.context_id)
            # Without a name only the next start tells late frames from new ones.
            self._awaits_start = utterance.announced and utterance.context_id is None
        self._last_word.forget_interruptible()
        interruption = self.playout.interrupt(self.driver.now())
        self._released_data = False
        self.driver.wake()
        return interruption

    async def surrender(self) -> Unheard:
        """Be silent, and hand over what was not heard. Call with the driver's ``turn``."""
        clock_ns = self._clock_ns()
        if self._utterance is not None:
            self._write(self._converter.flush())
        now = self.driver.now()
        shift_secs = self.playout.timestamp_shift_secs(now, clock_ns / _NANOSECS)
        surrender = self.playout.surrender(now)
        frames: list[Frame] = []
        samples = 0
        for part in surrender.rest:
            if isinstance(part, Speech):
                frames.append(
                    speech_frame(part.audio, WIRE_SAMPLE_RATE, interruptible=part.interruptible)
                )
                samples += part.samples
            elif not (part.unheard and isinstance(part.item, _SPOKEN_TEXT)):
                if part.item.pts:
                    part.item.pts = clock_ns + round(to_secs(samples) * _NANOSECS)
                frames.append(part.item)
        is_open = self._utterance is not None and self._utterance.announced
        self._utterance = None
        await self.hear(surrender.heard)
        if surrender.was_speaking:
            await self.push_speaking(BotStoppedSpeakingFrame)
        return Unheard(
            frames=frames,
            samples=samples,
            sent_samples=surrender.sent_samples,
            is_open=is_open,
            timestamp_shift_ns=round(shift_secs * _NANOSECS),
            last_timestamp_ns=round(self._last_word.at_secs * _NANOSECS),
        )

    async def push_speaking(self, kind: type[Frame]) -> None:
        """Push a bot speaking frame in both directions, behind the data frames before it."""
        if self._released_data:
            self._released_data = False
            for _ in range(_SETTLE_TURNS):
                await asyncio.sleep(0)
        await self._processor.broadcast_frame(kind)

    # --- inside ------------------------------------------------------------------------

    def _clock_ns(self) -> int:
        return self._processor.get_clock().get_time()

    def _write(self, audio: bytes) -> None:
        utterance = self._utterance
        if utterance is None:
            return
        self.playout.write(
            audio,
            self.driver.now(),
            interruptible=utterance.interruptible,
            origin_secs=max(self._clock_ns() / _NANOSECS, self._last_word.at_secs),
        )
        self.driver.wake()

    def _is_timed(self, frame: Frame) -> bool:
        """Whether a timestamp has a meaning: before the first audio, only that of a word has."""
        if self._utterance is None or self.playout.timed:
            return True
        return isinstance(frame, TTSTextFrame | AggregatedTextProgressFrame)

    def _note_time(self, frame: Frame, at_secs: float) -> None:
        """Take note of a timestamp: the next utterance's may count from it."""
        if self._utterance is not None and not self.playout.timed:
            # Words that were known before the audio come just before it.
            self._write(b"")
        if isinstance(frame, TTSTextFrame):
            self._last_word.note(at_secs, interruptible=is_interruptible(frame))

    async def _deliver(self, cue: Cue[Frame]) -> None:
        match cue:
            case Started(silent=silent):
                if not silent:
                    await self._on_sound()
                await self.push_speaking(BotStartedSpeakingFrame)
            case Speaking():
                await self.push_speaking(BotSpeakingFrame)
            case Stopped():
                await self.push_speaking(BotStoppedSpeakingFrame)
            case Release(unheard=True) if isinstance(cue.item, _SPOKEN_TEXT):
                pass  # Nobody heard the speech whose words these are.
            case Release():
                held: Any = cue.item
                if held.pts:
                    # Its moment is now, also if speech before it was refused or cut.
                    held.pts = min(held.pts, self._clock_ns())
                await self._processor.push_frame(held)
                self._released_data = True

    async def hear(self, audio: bytes) -> None:
        """Take note of audio that was heard, and pass it on if that is wanted."""
        if not audio:
            return
        self.heard_at = self.driver.now()
        self._on_heard(len(audio) // 2)
        if self.passes_heard_audio:
            frame = speech_frame(audio, WIRE_SAMPLE_RATE, interruptible=False)
            await self._processor.push_frame(frame)
            self._released_data = True
