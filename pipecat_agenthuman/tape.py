"""Audio by position, remembered until it was heard. Pure.

Positions are counted in samples at 16 kHz and only grow. The tape knows which parts of its
audio an interruption may drop, and can be laid anew without them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from pipecat_agenthuman.protocol import BYTES_PER_SAMPLE


@dataclass(slots=True)
class _Run:
    """Audio from the end of the run before it, all of which may, or may not, be dropped."""

    end: int
    interruptible: bool


@dataclass(frozen=True, slots=True)
class Relaid:
    """How positions moved when interruptible audio was cut out of a tape.

    Attributes:
        cut: Positions up to here were left alone, or forgotten if ``origin`` lies behind.
        origin: Where the kept audio behind ``cut`` begins now.
        old_end: End of the tape before.
        kept: The ranges that were kept, at their old positions.
    """

    cut: int
    origin: int
    old_end: int
    kept: tuple[tuple[int, int], ...]

    @property
    def dropped(self) -> int:
        """Number of samples that are gone."""
        return self.old_end - self.cut - sum(end - start for start, end in self.kept)

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
        self._runs: deque[_Run] = deque()

    def append(self, audio: bytes, *, interruptible: bool) -> None:
        """Write audio at the end."""
        self._audio += audio
        self.end += len(audio) // BYTES_PER_SAMPLE
        if self._runs and self._runs[-1].interruptible == interruptible:
            self._runs[-1].end = self.end
        else:
            self._runs.append(_Run(self.end, interruptible))

    def read(self, start: int, end: int) -> bytes:
        """The audio between two positions, both on the tape."""
        first = (start - self.start) * BYTES_PER_SAMPLE
        return bytes(self._audio[first : first + (end - start) * BYTES_PER_SAMPLE])

    def forget(self, before: int) -> None:
        """Drop the audio before a position."""
        del self._audio[: (before - self.start) * BYTES_PER_SAMPLE]
        self.start = before
        while self._runs and self._runs[0].end <= before:
            self._runs.popleft()

    def clear(self) -> None:
        """Drop all audio; the end stays where it is."""
        self._audio.clear()
        self._runs.clear()
        self.start = self.end

    def holds(self, start: int, end: int, *, interruptible: bool) -> bool:
        """Whether there is audio of a kind between two positions."""
        return any(run.interruptible == interruptible for _, run in self._pieces(start, end))

    def drop_interruptible(self, cut: int, *, keep_before: bool) -> Relaid:
        """Cut all interruptible audio out that lies behind a position.

        Args:
            cut: The position; audio behind it is filtered.
            keep_before: Whether the audio before ``cut`` stays, and what is kept moves up to
                it. Otherwise what is kept is laid behind the present end, as if new.

        Returns:
            How positions moved.
        """
        pieces = [piece for piece in self._pieces(cut, self.end) if not piece[1].interruptible]
        kept = tuple((first, run.end) for first, run in pieces)
        audio = b"".join(self.read(first, last) for first, last in kept)
        relaid = Relaid(cut, cut if keep_before else self.end, self.end, kept)
        if keep_before:
            before = self.read(self.start, cut)
            self._runs = deque(run for _, run in self._pieces(self.start, cut))
            self._audio = bytearray(before)
            self.end = cut
        else:
            self.clear()
        if audio:
            self.append(audio, interruptible=False)
        return relaid

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, _Run]]:
        """The runs between two positions, each cut to them, with where it begins."""
        for run in self._runs:
            if run.end > start and start < end:
                yield start, _Run(min(run.end, end), run.interruptible)
                start = run.end
