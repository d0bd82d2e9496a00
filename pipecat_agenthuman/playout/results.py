"""What a playout returns: a message to send, what an interruption did, what nobody heard. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE

ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class SpeechMessage:
    """Audio to send now, as one message.

    Attributes:
        audio: 16 kHz mono PCM.
    """

    audio: bytes = field(repr=False)

    @property
    def samples(self) -> int:
        """Number of samples in ``audio``."""
        return len(self.audio) // BYTES_PER_SAMPLE


@dataclass(frozen=True, slots=True)
class Portion:
    """Audio to be played just in time.

    Attributes:
        start: Position of its first sample.
        audio: 16 kHz mono PCM.
        interruptible: Whether an interruption may cut it.
        is_last: Whether its utterance ends with it.
    """

    start: int
    audio: bytes = field(repr=False)
    interruptible: bool
    is_last: bool

    @property
    def samples(self) -> int:
        """Number of samples in ``audio``."""
        return len(self.audio) // BYTES_PER_SAMPLE


@dataclass(frozen=True, slots=True)
class HeardPiece:
    """Audio that was heard, none of which was refused.

    Attributes:
        start: Position of its first sample.
        audio: 16 kHz mono PCM.
    """

    start: int
    audio: bytes = field(repr=False)

    @property
    def samples(self) -> int:
        """Number of samples in ``audio``."""
        return len(self.audio) // BYTES_PER_SAMPLE

    def cut(self, position: int) -> tuple[HeardPiece, HeardPiece | None]:
        """What lies before a position that is behind its first sample, and the rest, if any."""
        size = (position - self.start) * BYTES_PER_SAMPLE
        if size >= len(self.audio):
            return self, None
        before = HeardPiece(self.start, self.audio[:size])
        return before, HeardPiece(position, self.audio[size:])


@dataclass(frozen=True, slots=True)
class Interruption:
    """What an interruption did.

    Attributes:
        send_interrupt: Whether the server must be told. False only while all that it still
            has to play is uninterruptible, or it has nothing and all that is left to say is.
        stopped: Whether speech was cut; the caller says so at once.
        heard: The audio heard since the last ``take_heard``, to the sample of the cut.
        dropped_samples: Number of unheard samples that are gone.
    """

    send_interrupt: bool
    stopped: bool
    heard: bytes = field(repr=False)
    dropped_samples: int


@dataclass(frozen=True, slots=True)
class Speech:
    """Audio that was not heard.

    Attributes:
        audio: 16 kHz mono PCM.
        interruptible: Whether an interruption may drop it.
    """

    audio: bytes = field(repr=False)
    interruptible: bool

    @property
    def samples(self) -> int:
        """Number of samples in ``audio``."""
        return len(self.audio) // BYTES_PER_SAMPLE


@dataclass(frozen=True, slots=True)
class Held(Generic[ItemT]):
    """An item that was not released.

    Attributes:
        item: The item.
        unheard: Whether the speech to which it belongs was refused.
    """

    item: ItemT
    unheard: bool = False
