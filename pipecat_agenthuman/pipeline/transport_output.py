"""What came out of the transport, or will: the output that speaks while there is no avatar."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import soxr
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman.pipeline.frame_traits import (
    duration_secs,
    is_interruptible,
    speech_frame,
)
from pipecat_agenthuman.playout.conversion import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE


def output_transport(processor: FrameProcessor) -> BaseOutputTransport | None:
    """The output transport behind a processor, if the pipeline shows one.

    A processor in a nested pipeline sees no further than to its end. Then the only output
    transport of the whole pipeline is the one.
    """
    behind = processor.next
    while behind is not None and not isinstance(behind, BaseOutputTransport):
        behind = behind.next
    if behind is not None:
        return behind
    transports = [
        part
        for part in _all_within(processor.pipeline_worker.pipeline)
        if isinstance(part, BaseOutputTransport)
    ]
    return transports[0] if len(transports) == 1 else None


def _all_within(compound: FrameProcessor) -> Iterator[FrameProcessor]:
    for part in compound.processors:
        yield part
        yield from _all_within(part)


def plays_audio(transport: BaseOutputTransport) -> bool:
    """Whether an output transport plays the audio that it is given."""
    params: object = getattr(transport, "_params", None)
    return bool(getattr(params, "audio_out_enabled", True))


_SILENCE_SECS: Final = 0.2
"""After the estimated end: the transport starts to play a little later than it is given."""

_STARTS_WITHIN_SECS: Final = 1.0
"""What the transport can begin to say it begins at once; later, it has nothing to say."""

_MOST_OF_IT: Final = 0.8
"""Of an utterance: less cannot have been played wholly, whatever a busy machine does to clocks."""


@dataclass(slots=True)
class _Passed:
    """Speech that the transport was given: one utterance, or the part of one that is of a kind.

    Attributes:
        secs: How long it sounds.
        interruptible: Whether an interruption ends it.
        complete: Whether a ``TTSStoppedFrame`` followed: then the transport says when it is over.
        doubtful: Whether an interruption found it: it may have been at its very end, and then
            the transport says nothing more of it.
    """

    secs: float
    interruptible: bool
    complete: bool = False
    doubtful: bool = False


class TransportOutput:
    """Speech that was passed on, and whether the transport is still playing it.

    The avatar must not speak into it, so it takes over only when the transport is done. The
    transport tells when it begins to speak and when an utterance is over; what it was given
    and has not begun is counted, because a frame takes a moment to get there and back.

    Attributes:
        is_open: Whether the TTS service is delivering an utterance that is being passed.
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        clock_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        """Create a silent output.

        Args:
            monotonic: Seconds that never run backwards.
            clock_ns: The clock of timestamps, in nanoseconds.
        """
        self._clock_ns = clock_ns
        self._takes_over = False
        self._opens = False
        self._last_timestamp_ns = 0
        self.is_open = False
        self._monotonic = monotonic
        self._sample_rate = WIRE_SAMPLE_RATE
        self._num_channels = 1
        self._playing = False
        self._passed: deque[_Passed] = deque()
        self._since = 0.0  # when the first of them began, or could have begun
        self._interruptible = True
        self._shift_ns = 0
        self._sounds_until = 0.0

    @property
    def busy(self) -> bool:
        """Whether passed speech is playing, or has not begun to."""
        given_up_at = min(self._ends_at + _SILENCE_SECS, self._begins_at + _STARTS_WITHIN_SECS)
        waits = bool(self._passed) and self._monotonic() < given_up_at
        return self._playing or waits

    @property
    def _begins_at(self) -> float:
        return max(self._since, self._sounds_until)

    @property
    def _ends_at(self) -> float:
        return self._begins_at + sum(part.secs for part in self._passed)

    @property
    def sounds_for_secs(self) -> float:
        """How long a sound still plays that is no speech."""
        return max(self._sounds_until - self._monotonic(), 0.0)

    def note_sound(self, frame: Frame) -> None:
        """Note a sound that is being passed."""
        self._sounds_until = max(self._sounds_until, self._monotonic()) + duration_secs(frame)

    def note_format(self, frame: TTSAudioRawFrame) -> None:
        """Note at which rate the TTS service delivers, whoever speaks.

        What the avatar leaves unsaid is passed at this rate: the resampler of Pipecat's output
        transport takes one input rate and raises an error at another.
        """
        if MIN_SAMPLE_RATE <= frame.sample_rate <= MAX_SAMPLE_RATE:
            self._sample_rate = frame.sample_rate
            self._num_channels = max(frame.num_channels, 1)

    def take_over(self, frames: list[Frame]) -> list[Frame]:
        """Continue what the avatar began.

        Args:
            frames: What it did not say.

        Returns:
            The frames to be passed now; then call ``go_on``.
        """
        self._takes_over, self._shift_ns = True, 0
        return _converted(frames, self._sample_rate, self._num_channels)

    def go_on(self, *, is_open: bool, timestamp_shift_ns: int, last_timestamp_ns: int) -> None:
        """The rest of what the avatar began comes from the TTS service, if it is open.

        Args:
            is_open: Whether a stop of the TTS service is still to come.
            timestamp_shift_ns: What to add to the timestamps until then.
            last_timestamp_ns: The latest timestamp of a word, as the TTS service gave it.
        """
        self._takes_over, self._opens, self.is_open = False, False, is_open
        self._last_timestamp_ns = last_timestamp_ns
        self._shift_ns = timestamp_shift_ns if is_open else 0

    def adapt(self, frame: Frame) -> None:
        """Note a frame that is being passed, and correct its timestamp."""
        if isinstance(frame, TTSAudioRawFrame):
            self._interruptible = is_interruptible(frame)
            if self._opens and not self._takes_over:
                self._opens, self._shift_ns = False, self._queued_ns()
            self._note_passed(duration_secs(frame))
        elif isinstance(frame, TTSStartedFrame):
            self._interruptible = is_interruptible(frame)
            self.is_open, self._opens, self._shift_ns = True, True, 0
        elif isinstance(frame, TTSStoppedFrame):
            self.is_open = False
            if self._passed:
                self._passed[-1].complete = True
        elif frame.pts and not self._takes_over:  # Then it fits the transport's time already.
            self._last_timestamp_ns = max(self._last_timestamp_ns, frame.pts)
            frame.pts += self._shift_ns

    def hear(self, frame: Frame) -> None:
        """Note what the transport itself says about its playing."""
        if frame.transport_destination is not None:
            return
        if isinstance(frame, BotStartedSpeakingFrame):
            self._playing, self._since = True, self._monotonic()
        elif isinstance(frame, BotStoppedSpeakingFrame):
            self._playing = False
            self._end_utterance()

    def stop(self) -> None:
        """An interruption made the transport silent, but for uninterruptible speech."""
        now = self._sounds_until = self._monotonic()
        elapsed_secs = max(now - self._since, 0.0)
        kept: deque[_Passed] = deque()
        for part in self._passed:
            elapsed, elapsed_secs = elapsed_secs, max(elapsed_secs - part.secs, 0.0)
            part.secs = max(part.secs - elapsed, 0.0)
            # Of what has been said by this count the transport may lag behind.
            if not part.interruptible and (part.secs or self._playing):
                part.doubtful = True
                kept.append(part)
        self._passed, self._since = kept, now
        if not kept:
            self._last_timestamp_ns = 0
        self._playing = self._playing and bool(kept)
        self.is_open = self.is_open and not self._interruptible

    def _queued_ns(self) -> int:
        """How much later than its timestamps say an utterance sounds that begins now.

        The TTS service counts from now, or from its last word if that is later; the transport
        plays what it was given before, and that began late, for it was the avatar's.
        """
        if not self._passed:
            return 0
        begins_in_ns = round((self._ends_at - self._monotonic()) * 1e9)
        counts_from_ns = max(self._last_timestamp_ns - self._clock_ns(), 0)
        return max(begins_in_ns - counts_from_ns, 0)

    def _note_passed(self, secs: float) -> None:
        now = self._monotonic()
        if self._ends_at <= now:
            # All before it has been said, and the transport will say so if it has not yet.
            for part in self._passed:
                part.secs = 0.0
            if not self._playing:
                self._passed.clear()
            self._since = now
        last = self._passed[-1] if self._passed else None
        if last is None or last.complete or last.interruptible is not self._interruptible:
            self._passed.append(_Passed(secs, self._interruptible))
        else:
            last.secs += secs

    def _end_utterance(self) -> None:
        """The transport has come to the end of an utterance; what follows begins now."""
        now = self._monotonic()
        played_secs, self._since = now - self._since, now
        if self._passed and played_secs < _MOST_OF_IT * self._passed[0].secs:
            return  # The end of what was interrupted; this has yet to begin.
        while self._passed:
            part = self._passed.popleft()
            both_secs = part.secs + (self._passed[0].secs if self._passed else math.inf)
            if part.complete and not (part.doubtful and played_secs >= _MOST_OF_IT * both_secs):
                return


def _converted(frames: list[Frame], sample_rate: int, num_channels: int) -> list[Frame]:
    """The same frames, with all audio as one stream of another rate, alike in every channel."""
    audible = [frame for frame in frames if isinstance(frame, TTSAudioRawFrame)]
    if not audible or (sample_rate == WIRE_SAMPLE_RATE and num_channels == 1):
        return frames
    stream = soxr.ResampleStream(WIRE_SAMPLE_RATE, sample_rate, 1, dtype="int16")
    result: list[Frame] = []
    for frame in frames:
        if isinstance(frame, TTSAudioRawFrame):
            samples = np.frombuffer(frame.audio, dtype="<i2").astype(np.int16, copy=False)
            if sample_rate != WIRE_SAMPLE_RATE:
                samples = stream.resample_chunk(samples, last=frame is audible[-1])
            audio = np.repeat(samples, num_channels).astype("<i2", copy=False).tobytes()
            kept = is_interruptible(frame)
            result.append(
                speech_frame(audio, sample_rate, interruptible=kept, num_channels=num_channels)
            )
        else:
            result.append(frame)
    return result
