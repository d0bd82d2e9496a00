"""Audio by position, remembered until it was heard. Pure.

Positions are counted in samples at 16 kHz and only grow. The tape knows which parts of its
audio an interruption may drop, and can be laid anew without them. What the server refused is
struck out: it keeps its place, but nobody will ever hear it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE


class Kind(StrEnum):
    """What audio is to an interruption."""

    INTERRUPTIBLE = "interruptible"
    """It is dropped."""

    UNINTERRUPTIBLE = "uninterruptible"
    """It is kept."""

    STRUCK = "struck"
    """It is out of the question: nobody will hear it anyway."""

    @classmethod
    def of(cls, *, interruptible: bool) -> Kind:
        """The kind of audio that is to be heard."""
        return cls.INTERRUPTIBLE if interruptible else cls.UNINTERRUPTIBLE


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tape that is all of one kind.

    Attributes:
        start: Position of its first sample.
        end: Position behind its last sample.
        kind: Its kind.
    """

    start: int
    end: int
    kind: Kind


@dataclass(frozen=True, slots=True)
class Relaid:
    """How positions moved when interruptible audio was cut out of a tape.

    Attributes:
        cut: Positions up to here were left alone, or forgotten if ``origin`` lies behind.
        origin: Where the kept audio behind ``cut`` begins now.
        old_end: End of the tape before.
        kept: The ranges that were kept, at their old positions.
        dropped: Number of samples that are gone, and were to be heard.
    """

    cut: int
    origin: int
    old_end: int
    kept: tuple[tuple[int, int], ...]
    dropped: int

    def keeps(self, position: int) -> bool:
        """Whether the sample at an old position was left alone, kept, or is still to come."""
        if position < self.cut:
            return self.origin == self.cut
        if position >= self.old_end:
            return True
        return any(start <= position < end for start, end in self.kept)

    def moved(self, position: int) -> int:
        """The new place of an old position; what was dropped collapses to a point."""
        if position <= self.cut:
            return position if self.origin == self.cut else self.origin
        before = sum(min(end, position) - start for start, end in self.kept if start < position)
        return self.origin + before + max(position - self.old_end, 0)


class Tape:
    """16 kHz mono PCM from ``start`` to ``end``."""

    def __init__(self) -> None:
        """Create an empty tape at position 0."""
        self.start = 0
        self.end = 0
        self._audio = bytearray()
        self._pieces: deque[Piece] = deque()

    def append(self, audio: bytes, kind: Kind) -> None:
        """Write audio at the end."""
        start, self.end = self.end, self.end + len(audio) // BYTES_PER_SAMPLE
        self._audio += audio
        if self._pieces and self._pieces[-1].kind is kind:
            start = self._pieces.pop().start
        self._pieces.append(Piece(start, self.end, kind))

    def strike(self, start: int, end: int) -> None:
        """Strike the audio between two positions out: it will not be heard."""
        struck = Piece(max(start, self.start), min(end, self.end), Kind.STRUCK)
        if struck.start < struck.end:
            before = self._between(self.start, struck.start)
            self._pieces = deque([*before, struck, *self._between(struck.end, self.end)])

    def read(self, start: int, end: int) -> bytes:
        """The audio between two positions, both on the tape."""
        first = (start - self.start) * BYTES_PER_SAMPLE
        return bytes(self._audio[first : first + (end - start) * BYTES_PER_SAMPLE])

    def forget(self, before: int) -> None:
        """Drop the audio before a position."""
        del self._audio[: (before - self.start) * BYTES_PER_SAMPLE]
        self.start = before
        while self._pieces and self._pieces[0].end <= before:
            self._pieces.popleft()
        if self._pieces and self._pieces[0].start < before:
            self._pieces[0] = replace(self._pieces[0], start=before)

    def clear(self) -> None:
        """Drop all audio; the end stays where it is."""
        self._audio.clear()
        self._pieces.clear()
        self.start = self.end

    def holds(self, start: int, end: int, kind: Kind) -> bool:
        """Whether there is audio of a kind between two positions."""
        return any(piece.kind is kind for piece in self._between(start, end))

    def first_struck(self, position: int) -> Piece | None:
        """The first piece at or behind a position that was struck out."""
        for piece in self._pieces:
            if piece.kind is Kind.STRUCK and piece.end > position:
                return piece if piece.start >= position else replace(piece, start=position)
        return None

    def audible(self, start: int, end: int) -> Iterator[Piece]:
        """What is to be heard of the audio between two positions, in order."""
        return (piece for piece in self._between(start, end) if piece.kind is not Kind.STRUCK)

    def drop_interruptible(self, cut: int, *, keep_before: bool) -> Relaid:
        """Cut all interruptible audio out that lies behind a position.

        Args:
            cut: The position; audio behind it is filtered.
            keep_before: Whether the audio before ``cut`` stays, and what is kept moves up to
                it. Otherwise what is kept is laid behind the present end, as if new.

        Returns:
            How positions moved.
        """
        kept: list[tuple[int, int]] = []
        dropped = 0
        for piece in self.audible(cut, self.end):
            if piece.kind is Kind.UNINTERRUPTIBLE:
                kept.append((piece.start, piece.end))
            else:
                dropped += piece.end - piece.start
        audio = b"".join(self.read(first, last) for first, last in kept)
        relaid = Relaid(cut, cut if keep_before else self.end, self.end, tuple(kept), dropped)
        if keep_before:
            before = self.read(self.start, cut)
            self._pieces = deque(self._between(self.start, cut))
            self._audio = bytearray(before)
            self.end = cut
        else:
            self.clear()
        if audio:
            self.append(audio, Kind.UNINTERRUPTIBLE)
        return relaid

    def _between(self, start: int, end: int) -> Iterator[Piece]:
        """The pieces between two positions, cut to them."""
        for piece in self._pieces:
            first, last = max(piece.start, start), min(piece.end, end)
            if first < last:
                yield Piece(first, last, piece.kind)
