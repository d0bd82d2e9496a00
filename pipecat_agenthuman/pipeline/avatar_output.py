"""What is said: speech frames in, and the same frames out when they are heard.

Does what Pipecat's output transport does with audio that it plays itself: bot speaking
frames in both directions, frames held behind the audio before them, word frames at their
moment, and what an interruption demands. Who says it is another's concern: there is one clock
for the avatar and whoever stands in for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from pipecat.frames.frames import (
    AggregatedTextFrame,
    AggregatedTextProgressFrame,
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    LLMFullResponseEndFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.admission import Admission
from pipecat_agenthuman.pipeline.availability import Availability, AvatarState
from pipecat_agenthuman.pipeline.frame_traits import SOUNDS, speech_frame
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.sinks import AvatarSink, Sink
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.cues import Cue, Release, Speaking, Started, Stopped
from pipecat_agenthuman.playout.originals import Originals
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.playout.results import Interruption, Speech
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE

_NANOSECS: Final = 1_000_000_000

_SPOKEN_TEXT: Final = (TTSTextFrame, AggregatedTextProgressFrame)
"""Frames that say which words were spoken."""

_TIMED_AS_WORDS: Final = (
    *_SPOKEN_TEXT,
    AggregatedTextFrame,
    LLMFullResponseEndFrame,
    TTSStoppedFrame,
)
"""Frames that a TTS service gives the timestamp of a word: they come with it, not at a moment."""

_LONGEST_WAIT_SECS: Final = 0.04
"""How often whoever waits for a state asks for it: time alone changes something, too."""


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


class AvatarOutput:
    """The speech of one bot.

    Attributes:
        lock: Held while something is delivered. Whoever pushes frames that belong between
            deliveries takes it; nobody holds it for longer than pushing a frame takes.
        playout: What is written, sent and heard.
        originals: The speech as the TTS service delivered it, where no avatar was in sight.
        admission: Which frames still count after an interruption.
        avatar: The avatar, as somebody who can say it.
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
            pass_heard_audio: Whether to push the avatar's audio downstream as it is heard.
        """
        self._processor = processor
        self._availability = availability
        self._meter = meter
        self.passes_heard_audio = pass_heard_audio
        self.lock = asyncio.Lock()
        self.playout: Playout[Frame] = Playout(pace)
        self.originals = Originals()
        self.avatar = AvatarSink(self.playout, meter=meter)
        self.transport = TransportOutput(processor, now=self.now, on_news=self.wake)
        self._speaker: Sink | None = None
        self._converter = SpeechConverter()
        self._utterance: _OpenUtterance | None = None
        self.admission = Admission(processor)
        self._last_word = _LastWord()
        self.heard_at = -math.inf
        self._unpassed = bytearray()  # heard of the avatar, to be pushed downstream
        self._news = asyncio.Event()
        self._progress = asyncio.Event()

    # --- looking -----------------------------------------------------------------------

    @staticmethod
    def now() -> float:
        """The time, in seconds, on the clock of the playout."""
        return time.monotonic()

    @property
    def speaker(self) -> Sink | None:
        """Who speaks, or spoke last."""
        return self._speaker

    @property
    def idle(self) -> bool:
        """Whether everything was heard and every frame released.

        Speech that no start announced has no stop either: it is over when it counts as stopped.
        """
        utterance = self._utterance
        over = utterance is None or not (utterance.announced or self.playout.speaking)
        return over and self.playout.finished(self.now())

    @property
    def is_open(self) -> bool:
        """Whether the TTS service is delivering an utterance."""
        return self._utterance is not None

    @property
    def has_unheard(self) -> bool:
        """Whether audio was written that nobody has heard yet."""
        return self.unheard_secs > 0

    @property
    def unheard_secs(self) -> float:
        """Seconds of audio that nobody has heard yet."""
        return self.playout.unheard_secs(self.now())

    @property
    def remaining_secs(self) -> float:
        """Seconds until all that was written is heard, if nothing goes wrong."""
        return self.playout.remaining_secs(self.now())

    # --- waiting -----------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed: look again what is to be done."""
        self._news.set()

    async def wait_until(
        self, reached: Callable[[], bool], limit_secs: float | None = None
    ) -> bool:
        """Wait for a state of the speech.

        Args:
            reached: The state; asked after every turn of the driver.
            limit_secs: How long to wait, or None for no limit.

        Returns:
            Whether it was reached.
        """
        self.wake()
        try:
            async with asyncio.timeout(limit_secs):
                while not reached():
                    progress = self._progress
                    with suppress(TimeoutError):
                        async with asyncio.timeout(_LONGEST_WAIT_SECS):
                            await progress.wait()
        except TimeoutError:
            return reached()
        return True

    def begin_turn(self) -> None:
        """The driver looks what is to be done; news from now on makes it look again."""
        self._news.clear()

    def end_turn(self) -> None:
        """The driver has done what there was to do."""
        self._progress.set()
        self._progress = asyncio.Event()

    async def until_news(self, limit_secs: float | None) -> None:
        """Wait until something changed, but not longer than a limit."""
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_secs):
                await self._news.wait()

    # --- who speaks --------------------------------------------------------------------

    def let_speak(self, speaker: Sink | None) -> None:
        """Let somebody speak from now on, or nobody; what was heard until now is another's."""
        self._count_heard(self.now())
        self._speaker = speaker

    def recall(self) -> int:
        """Who speaks cannot go on: what nobody heard is to be said by somebody else.

        Returns:
            How many samples of it had been sent.
        """
        self.let_speak(None)
        samples = self.playout.recall(self.now())
        self.wake()
        return samples

    # --- frames in ---------------------------------------------------------------------

    def start(self, frame: TTSStartedFrame, *, interruptible: bool) -> None:
        """Open an utterance."""
        if not (self.is_open or self.has_unheard):
            self._meter.announced(self.now())
        self.finish()
        self._utterance = _OpenUtterance(frame.context_id, True, interruptible)
        self.playout.hold(frame, interruptible=interruptible)
        self.playout.open_utterance(interruptible=interruptible)
        self.wake()

    def say(self, frame: TTSAudioRawFrame, *, interruptible: bool) -> None:
        """Take speech.

        Raises:
            ValueError: If the frame's format is impossible.
        """
        audio = self._converter.convert(frame.audio, frame.sample_rate, frame.num_channels)
        if self._utterance is None:
            self._utterance = _OpenUtterance(frame.context_id, False, interruptible)
            self.playout.open_utterance(interruptible=interruptible)
        utterance = self._utterance
        if not utterance.said and self._availability.state is AvatarState.ABSENT:
            self.originals.begin(self.playout.end, frame.sample_rate, frame.num_channels)
        self.originals.write(frame.audio, frame.sample_rate, frame.num_channels)
        utterance.interruptible = interruptible
        utterance.said = True
        self._write(audio)

    def miss(self) -> None:
        """Note that speech of the utterance could not be said."""
        if self._utterance is not None:
            self._utterance.missed = True

    def stop(self, frame: TTSStoppedFrame, *, interruptible: bool) -> None:
        """Close the utterance: its rest goes out at once, and the frame follows its sound."""
        unsaid = self._says_nothing
        self.finish()
        self.playout.hold(frame, interruptible=interruptible, ends_speech=True, unsaid=unsaid)
        self.wake()

    def hold(self, frame: Frame, *, interruptible: bool) -> None:
        """Hold any other frame in its place, or until its moment if it has a timestamp.

        Args:
            frame: The frame.
            interruptible: Whether an interruption may drop it.
        """
        if not frame.pts:
            # Amid speech only a sound is worth a pause of the avatar.
            is_amid = self._utterance is not None and not isinstance(frame, SOUNDS)
            bars_sound = self.transport.takes_time(frame) and not is_amid
            if bars_sound:
                self._write(self._converter.flush())
            # Otherwise what the resampler still holds back, some 10 ms, does not count: it comes
            # with the next audio, and that can be a tool call away.
            self.playout.hold(
                frame,
                interruptible=interruptible,
                bars_sound=bars_sound,
                unsaid=self._says_nothing,
            )
        else:
            self._hold_timed(frame, frame.pts / _NANOSECS, interruptible=interruptible)
        self.wake()

    def _hold_timed(self, frame: Frame, at_secs: float, *, interruptible: bool) -> None:
        is_word = isinstance(frame, _SPOKEN_TEXT)
        origin_secs = self._origin_secs()
        if isinstance(frame, TTSTextFrame):
            self._last_word.note(at_secs, interruptible=interruptible)
        if self._utterance is not None and is_word:
            # Words that were known before the audio come just before it.
            self.playout.begin_timestamps(origin_secs)
        if self.playout.has_timeline:
            follows_sound = isinstance(frame, _TIMED_AS_WORDS)
            self.playout.hold_timed(
                frame, at_secs, interruptible=interruptible, follows_sound=follows_sound
            )
        else:
            # No speech gives its timestamp another meaning than it has in Pipecat.
            moment = self.now() + max(at_secs - self._clock_ns() / _NANOSECS, 0.0)
            self.playout.hold_until(frame, moment, interruptible=interruptible)

    @property
    def _says_nothing(self) -> bool:
        """Whether all speech of the open utterance, and there was some, could not be said."""
        utterance = self._utterance
        return utterance is not None and utterance.missed and not utterance.said

    def finish(self) -> None:
        """Close the utterance that is open, if any: hand over what the converter holds."""
        if self._utterance is None:
            return
        end = self.playout.end
        self._write(self._converter.flush())
        # What followed the speech follows the last of it, too, if it is not out already.
        self.playout.move_behind(end)
        self._utterance = None
        self.originals.end()
        self.playout.close_utterance()
        self.wake()

    def change_pace(self, pace: Pace) -> None:
        """Send at another pace, from the next utterance on."""
        self.playout.pace = pace

    # --- frames out --------------------------------------------------------------------

    async def deliver(self, now: float) -> bool:
        """Deliver the next thing that is due, if anything is. Call with the lock.

        Speech begins and ends only when all frames before that have come through: the frames
        that say so overtake others.

        Returns:
            Whether anything was due.
        """
        due = self.playout.next_due()
        # The last of what was heard comes before the stop.
        if await self.pass_heard(now if due is None or due == -math.inf else min(due, now)):
            return True
        cue = self.playout.poll(now, signs=self.transport.settled)
        if cue is None:
            return False
        await self._deliver(cue)
        return True

    @property
    def next_due(self) -> float | None:
        """When ``deliver`` has something to deliver; None if only news can help."""
        return self.playout.next_due(signs=self.transport.settled)

    @property
    def passes_on(self) -> bool:
        """Whether there is audio to pass on, piece by piece, while it is heard."""
        return self.passes_heard_audio and self.playout.speaking

    async def pass_heard(self, until: float) -> bool:
        """Take note of what was heard until a time, and pass it on if that is wanted.

        Returns:
            Whether anything was passed on.
        """
        self._count_heard(until)
        if not self._unpassed:
            return False
        audio, self._unpassed = bytes(self._unpassed), bytearray()
        frame = speech_frame(audio, WIRE_SAMPLE_RATE, interruptible=False)
        await self.transport.give(frame, is_kept=True)
        return True

    async def release(self, release: Release[Frame], *, since: float = -math.inf) -> None:
        """Push a held frame: its moment has come.

        Args:
            release: The frame.
            since: When the sound in front of it is over, if it is pushed ahead of that to
                somebody who keeps its order with the sound.
        """
        if release.unheard and isinstance(release.item, _SPOKEN_TEXT):
            return  # Nobody heard the speech whose words these are.
        held: Any = release.item
        if held.pts:
            # Its moment is now, also if speech before it was refused or cut.
            held.pts = min(held.pts, self._clock_ns())
        if isinstance(held, SOUNDS):
            await self.transport.give_sound(held)
        else:
            await self.transport.give(held, since=since)

    async def push_speaking(self, kind: type[Frame]) -> None:
        """Push a bot speaking frame in both directions."""
        await self._processor.broadcast_frame(kind)

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
            case Release():
                await self.release(cue)

    def note_heard(self) -> None:
        """Take note of what was heard until now."""
        self._count_heard(self.now())

    def _count_heard(self, until: float) -> None:
        audio = self.playout.take_heard(until)
        self.originals.forget(self.playout.start)
        if not audio or self._speaker is None:
            return
        self.heard_at = self.now()
        self._speaker.heard(len(audio) // BYTES_PER_SAMPLE)
        if self.passes_heard_audio and self._speaker is self.avatar:
            self._unpassed += audio

    # --- ends --------------------------------------------------------------------------

    def interrupt(self) -> Interruption:
        """Cut all that an interruption may drop, and silence the avatar. Waits for nothing."""
        self._count_heard(self.now())
        utterance = self._utterance
        if utterance is not None and utterance.interruptible:
            self._converter.reset()
            self._utterance = None
            self.admission.interrupted(utterance.context_id, announced=utterance.announced)
        self._last_word.forget_interruptible()
        self.originals.clear()
        interruption = self.playout.interrupt(self.now())
        self.transport.forget_interruptible()
        if interruption.send_interrupt:
            self.avatar.silence()
            if self._speaker is not None:
                self._speaker.interrupted()
        self._meter.interrupted(interruption.dropped_samples)
        self.wake()
        return interruption

    async def end_speech(self) -> None:
        """Nothing more is said: end speech that has no end of its own. Call with the lock."""
        if self.playout.end_speech():
            await self.push_speaking(BotStoppedSpeakingFrame)

    def take_unheard(self) -> list[Frame]:
        """Take everything that nobody heard, in order: audio at 16 kHz, and the held frames.

        For when nothing else can be done; nothing is left.
        """
        self.finish()
        self.let_speak(None)
        frames: list[Frame] = []
        for part in self.playout.hand_over(self.now()):
            if isinstance(part, Speech):
                kept = not part.interruptible
                frames.append(speech_frame(part.audio, WIRE_SAMPLE_RATE, interruptible=not kept))
            elif not (part.unheard and isinstance(part.item, _SPOKEN_TEXT)):
                held: Any = part.item
                if held.pts:
                    held.pts = min(held.pts, self._clock_ns())
                frames.append(held)
        return frames

    # --- inside ------------------------------------------------------------------------

    def _clock_ns(self) -> int:
        return self._processor.get_clock().get_time()

    def _write(self, audio: bytes) -> None:
        utterance = self._utterance
        if utterance is None:
            return
        self.playout.write(
            audio,
            self.now(),
            interruptible=utterance.interruptible,
            origin_secs=self._origin_secs(),
        )
        self.wake()

    def _origin_secs(self) -> float:
        """Where the timestamps of an utterance begin whose first audio, or word, comes now."""
        return max(self._clock_ns() / _NANOSECS, self._last_word.at_secs)
