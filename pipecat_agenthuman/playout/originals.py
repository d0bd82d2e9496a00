"""Speech as the TTS service delivered it, beside its copy at 16 kHz on the tape. Pure.

What the transport says from its first word on shall sound as if it had been given that audio
itself, at its own rate and with all its channels.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Original:
    """Audio in the format of the TTS service.

    Attributes:
        audio: Interleaved 16-bit PCM.
        sample_rate: Samples per second and channel.
        num_channels: Number of interleaved channels.
    """

    audio: bytes = field(repr=False)
    sample_rate: int
    num_channels: int


@dataclass(slots=True)
class _Recording:
    """What is left of one utterance.

    Attributes:
        start: Where it begins on the tape.
        sample_rate: Samples per second and channel.
        num_channels: Number of interleaved channels.
        audio: What was not read yet.
        read: How many samples of each channel were.
    """

    start: int
    sample_rate: int
    num_channels: int
    audio: bytearray = field(default_factory=bytearray)
    read: int = 0

    @property
    def end(self) -> int:
        """How many samples of each channel it has had."""
        return self.read + len(self.audio) // self.frame_bytes

    @property
    def frame_bytes(self) -> int:
        """Bytes that one sample of every channel takes."""
        return BYTES_PER_SAMPLE * self.num_channels

    def index_of(self, position: int) -> int:
        """The sample that stands at a position of the tape."""
        return (position - self.start) * self.sample_rate // WIRE_SAMPLE_RATE


KEPT_BYTES: Final = 32 * 1024 * 1024
"""Audio that is kept: some three minutes of 48 kHz in stereo, and ten of 24 kHz in mono. An
utterance beyond is on the tape all the same."""


class Originals:
    """The utterances that are kept, in order; each is read once, from its beginning on."""

    def __init__(self) -> None:
        """Keep none."""
        self._recordings: deque[_Recording] = deque()
        self._is_open = False

    def begin(self, start: int, sample_rate: int, num_channels: int) -> None:
        """Keep an utterance.

        Args:
            start: Where it begins on the tape.
            sample_rate: Samples per second and channel.
            num_channels: Number of interleaved channels.
        """
        self._recordings.append(_Recording(start, sample_rate, num_channels))
        self._is_open = True

    def write(self, audio: bytes, sample_rate: int, num_channels: int) -> None:
        """Append audio to the utterance that is being kept, if one is.

        One whose format changes on the way is not kept, nor one for which there is no room: the
        tape has it in one format.
        """
        if not self._is_open:
            return
        recording = self._recordings[-1]
        kept_bytes = sum(len(one.audio) for one in self._recordings)
        is_alike = (sample_rate, num_channels) == (recording.sample_rate, recording.num_channels)
        if is_alike and kept_bytes + len(audio) <= KEPT_BYTES:
            recording.audio += audio
        else:
            self._recordings.pop()
            self._is_open = False

    def end(self) -> None:
        """The utterance is complete."""
        self._is_open = False

    def forget(self, before: int) -> None:
        """Drop the utterances that lie wholly before a position."""
        while len(self._recordings) > 1 and self._recordings[1].start <= before:
            self._recordings.popleft()

    def clear(self) -> None:
        """Forget all: the tape was laid anew, and positions mean something else."""
        self._recordings.clear()
        self._is_open = False

    def read(self, start: int, end: int, *, is_last: bool) -> Original | None:
        """The audio between two positions of the tape.

        Args:
            start: Position of the first sample.
            end: Position behind the last sample.
            is_last: Whether the utterance ends there: then its rest belongs to it.

        Returns:
            The audio; None if it was not kept, or not read from its beginning on.
        """
        self.forget(start)
        if not self._recordings or self._recordings[0].start > start:
            return None
        recording = self._recordings[0]
        is_over = len(self._recordings) > 1 or not self._is_open
        if is_over and recording.index_of(start) >= recording.end:
            self._recordings.popleft()  # What comes next was not kept.
            return None
        if recording.index_of(start) > recording.read:
            return None
        last = recording.end if is_last else min(recording.index_of(end), recording.end)
        size = max(last - recording.read, 0) * recording.frame_bytes
        audio = bytes(recording.audio[:size])
        del recording.audio[:size]
        recording.read = max(last, recording.read)
        return Original(audio, recording.sample_rate, recording.num_channels)
