"""What the avatar says: speech frames in, and the same frames out when they are heard.

Does what Pipecat's output transport does with audio that it plays itself: bot speaking
frames in both directions, frames held behind the audio before them, word frames at their
moment, and what an interruption demands.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

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

from pipecat_agenthuman.pipeline.availability import Availability, AvatarState
from pipecat_agenthuman.pipeline.driver import PlayoutDriver, SpeechSink
from pipecat_agenthuman.pipeline.frame_traits import Reading, Role, speech_frame
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.cues import Cue, Release, Speaking, Started, Stopped
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.playout.results import Interruption, Speech, SpeechMessage
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE, to_secs

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


class AvatarLine(SpeechSink, Protocol):
    """The avatar's end of a session: it takes speech, and can be silenced."""

    @property
    def round_trip_secs(self) -> float:
        """The latest ping; 0 before the first."""
        ...

    def interrupt(self) -> bool:
        """Tell the avatar to stop; returns whether it was told."""
        ...


class AvatarOutput:
    """The speech of one avatar.

    Attributes:
        lock: Held while something is delivered. Whoever takes deliveries back, as an
            interruption does, takes it first; nobody holds it for longer than pushing a frame
            takes.
        heard_at: When audio was heard last.
        passes_heard_audio: Whether audio is pushed downstream as it is heard.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        availability: Availability,
        meter: Meter,
        pace: Pace,
        pass_heard_audio: bool = False,
    ) -> None:
        """Create a silent output.

        Args:
            processor: Pushes the frames.
            availability: Whether the avatar may speak.
            meter: Counts.
            pace: How fast to send.
            pass_heard_audio: Whether to push audio downstream as it is heard.
        """
        self._processor = processor
        self._availability = availability
        self._meter = meter
        self.passes_heard_audio = pass_heard_audio
        self._converter = SpeechConverter()
        self._utterance: _OpenUtterance | None = None
        self._interrupted: deque[str] = deque(maxlen=_REMEMBERED_CONTEXTS)
        self._awaits_start = False
        self._last_word = _LastWord()
        self.heard_at = -math.inf
        self._released_data = False
        self._line: AvatarLine | None = None
        self._playout: Playout[Frame] = Playout(pace)
        self._driver: PlayoutDriver[Frame] = PlayoutDriver(
            self._playout,
            sink=self._sink,
            deliver=self._deliver,
            sent=self._note_sent,
            heard=self.hear,
        )
        self.lock = self._driver.lock

    # --- looking -----------------------------------------------------------------------

    @property
    def idle(self) -> bool:
        """Whether everything was heard and every frame released.

        Speech that no start announced has no stop either: it is over when it counts as stopped.
        """
        utterance = self._utterance
        over = utterance is None or not (utterance.announced or self._playout.speaking)
        return over and self._playout.finished(self.now())

    @property
    def is_open(self) -> bool:
        """Whether the TTS service is delivering an utterance."""
        return self._utterance is not None

    @property
    def speaking(self) -> bool:
        """Whether a bot started speaking frame came whose end is still due."""
        return self._playout.speaking

    @property
    def has_unheard(self) -> bool:
        """Whether audio was written that nobody has heard yet."""
        return self.unheard_secs > 0

    @property
    def unheard_secs(self) -> float:
        """Seconds of audio that nobody has heard yet."""
        return self._playout.unheard_secs(self.now())

    @property
    def remaining_secs(self) -> float:
        """Seconds until all that was written is heard, if nothing goes wrong."""
        return self._playout.remaining_secs(self.now())

    @property
    def backlog_secs(self) -> float:
        """Seconds of audio that were written and not sent."""
        return self._playout.backlog_secs

    @property
    def held_frames(self) -> int:
        """Number of frames that wait for their moment."""
        return self._playout.held_items

    @property
    def silent(self) -> bool:
        """Whether all audio that was written was heard, and what stood behind it is released."""
        now = self.now()
        due = self._playout.next_due(now, can_send=False)
        return not self._playout.unheard_secs(now) and (due is None or due > now)

    # --- the clock ---------------------------------------------------------------------

    def now(self) -> float:
        """The time, in seconds, on the clock of the playout."""
        return self._driver.now()

    async def run(self) -> None:
        """Send what may be sent and deliver what is due, until cancelled."""
        await self._driver.run()

    async def wait_until(
        self, reached: Callable[[], bool], limit_secs: float | None = None
    ) -> bool:
        """Wait for a state of the output; see ``PlayoutDriver.wait_until``."""
        return await self._driver.wait_until(reached, limit_secs)

    def change_pace(self, pace: Pace) -> None:
        """Send at another pace, from the next utterance on."""
        self._playout.pace = pace

    # --- the avatar --------------------------------------------------------------------

    def attach(self, line: AvatarLine) -> None:
        """A session is up: speech goes there as soon as the avatar may speak."""
        self._line = line
        self._driver.wake()

    def detach(self) -> None:
        """The session is gone: nothing leaves any more."""
        self._line = None

    def look_again(self) -> None:
        """Something changed on which sending depends."""
        self._driver.wake()

    def confirmed(self, at: float) -> None:
        """The oldest message on its way was confirmed: now it is known when it sounds.

        Args:
            at: When the server confirmed it.
        """
        first_audio_at = self._playout.confirmed(at)
        self._meter.confirmed(
            audio_took_secs=None if first_audio_at is None else self.now() - first_audio_at,
            round_trip_secs=0.0 if self._line is None else self._line.round_trip_secs,
        )
        self._driver.wake()

    def rejected(self) -> None:
        """The oldest message on its way was refused: nobody will hear it."""
        self._meter.rejected(self._playout.rejected(self.now()))
        self._driver.wake()

    def silence(self) -> None:
        """Tell the avatar to stop, also one that does not seem to be in the room."""
        if self._line is not None and self._line.interrupt():
            self._meter.silenced()

    def _sink(self) -> SpeechSink | None:
        """Where speech may go now: nowhere before the avatar is there to say it."""
        return self._line if self._availability.state is AvatarState.READY else None

    def _note_sent(self, message: SpeechMessage) -> None:
        self._meter.sent(message.samples)

    # --- frames in ---------------------------------------------------------------------

    def admit(self, reading: Reading) -> bool:
        """Let a frame in, unless it belongs to speech that was interrupted.

        An interruption overtakes the frames of its utterance that are on their way; they must
        not be said. A start lets in what follows it, whoever says that.

        Returns:
            Whether it may be said.
        """
        if not reading.interruptible:
            return True
        context_id: str | None = getattr(reading.frame, "context_id", None)
        if context_id is not None and context_id in self._interrupted:
            return False
        if reading.role is Role.START:
            self._awaits_start = False
        return not (self._awaits_start and reading.role in (Role.SPEECH, Role.STOP))

    def start(self, frame: TTSStartedFrame, *, interruptible: bool) -> None:
        """Open an utterance."""
        if not (self.is_open or self.has_unheard):
            self._meter.announced(self.now())
        self.finish()
        self._utterance = _OpenUtterance(frame.context_id, True, interruptible)
        self._playout.hold(frame, interruptible=interruptible)
        self._playout.open_utterance(interruptible=interruptible)
        self._driver.wake()

    def say(self, frame: TTSAudioRawFrame, *, interruptible: bool) -> None:
        """Take speech.

        Raises:
            ValueError: If the frame's format is impossible.
        """
        audio = self._converter.convert(frame.audio, frame.sample_rate, frame.num_channels)
        if self._utterance is None:
            self._utterance = _OpenUtterance(frame.context_id, False, interruptible)
            self._playout.open_utterance(interruptible=interruptible)
        self._utterance.interruptible = interruptible
        self._utterance.said = True
        self._write(audio)

    def miss(self) -> None:
        """Note that speech of the utterance could not be said."""
        if self._utterance is not None:
            self._utterance.missed = True

    def stop(self, frame: TTSStoppedFrame, *, interruptible: bool) -> None:
        """Close the utterance: its rest goes out at once, and the frame follows its sound."""
        unsaid = self._says_nothing
        self.finish()
        self._playout.hold(frame, interruptible=interruptible, ends_speech=True, unsaid=unsaid)
        self._driver.wake()

    def hold(self, frame: Frame, *, interruptible: bool) -> None:
        """Hold any other frame in its place, or until its moment if it has a timestamp."""
        if frame.pts and self._is_timed(frame):
            at_secs = frame.pts / _NANOSECS
            self._note_time(frame, at_secs, interruptible=interruptible)
            self._playout.hold_timed(frame, at_secs, interruptible=interruptible)
        else:
            # What the resampler still holds back, some 10 ms, does not count: it comes with the
            # next audio, and that can be a tool call away.
            self._playout.hold(frame, interruptible=interruptible, unsaid=self._says_nothing)
        self._driver.wake()

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
        self._playout.close_utterance()
        self._driver.wake()

    # --- ends --------------------------------------------------------------------------

    def interrupt(self) -> Interruption:
        """Cut all that an interruption may drop, and silence the avatar. Call with the lock."""
        utterance = self._utterance
        if utterance is not None and utterance.interruptible:
            self._converter.reset()
            self._utterance = None
            if utterance.context_id is not None:
                self._interrupted.append(utterance.context_id)
            # Without a name only the next start tells late frames from new ones.
            self._awaits_start = utterance.announced and utterance.context_id is None
        self._last_word.forget_interruptible()
        interruption = self._playout.interrupt(self.now())
        if interruption.send_interrupt:
            self.silence()
        self._meter.interrupted(interruption.dropped_samples)
        self._released_data = False
        self._driver.wake()
        return interruption

    async def hand_over(self) -> Unheard:
        """Be silent, and hand over what was not heard. Call with the lock."""
        clock_ns = self._clock_ns()
        if self._utterance is not None:
            self._write(self._converter.flush())
        now = self.now()
        shift_secs = self._playout.timestamp_shift_secs(now, clock_ns / _NANOSECS)
        surrender = self._playout.surrender(now)
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
        self._playout.write(
            audio,
            self.now(),
            interruptible=utterance.interruptible,
            origin_secs=self._origin_secs(),
        )
        self._driver.wake()

    def _is_timed(self, frame: Frame) -> bool:
        """Whether a timestamp has a meaning: before the first audio, only that of a word has."""
        if self._utterance is None or self._playout.timed:
            return True
        return isinstance(frame, TTSTextFrame | AggregatedTextProgressFrame)

    def _note_time(self, frame: Frame, at_secs: float, *, interruptible: bool) -> None:
        """Take note of a timestamp: the next utterance's may count from it."""
        if self._utterance is not None and not self._playout.timed:
            # Words that were known before the audio come just before it.
            self._playout.begin_timestamps(self._origin_secs())
        if isinstance(frame, TTSTextFrame):
            self._last_word.note(at_secs, interruptible=interruptible)

    def _origin_secs(self) -> float:
        """Where the timestamps of an utterance begin whose first audio, or word, comes now."""
        return max(self._clock_ns() / _NANOSECS, self._last_word.at_secs)

    async def _deliver(self, cue: Cue[Frame]) -> None:
        match cue:
            case Started(silent=silent):
                if not silent:
                    await self._meter.sounded(self.now())
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
        self.heard_at = self.now()
        self._meter.heard(len(audio) // BYTES_PER_SAMPLE)
        if self.passes_heard_audio:
            frame = speech_frame(audio, WIRE_SAMPLE_RATE, interruptible=False)
            await self._processor.push_frame(frame)
            self._released_data = True
