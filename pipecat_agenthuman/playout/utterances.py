"""Where utterances lie on the axis of positions, and what their timestamps mean. Pure.

An utterance is the speech between a TTS start and its stop. It carries the pace at which it
was opened, so that a change counts from the next one on, and the origin of its timestamps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.tape import Relaid
from pipecat_agenthuman.wire.pcm import to_samples


@dataclass(slots=True)
class Utterance:
    """Speech between a TTS start and its stop.

    Attributes:
        start: Position of its first sample.
        pace: How fast it is sent.
        interruptible: Whether an interruption ends it.
        end: Position behind its last sample; None while it is open.
        origin_secs: The timestamp of its first sample; None before its first audio.
        first_audio_at: When its first audio was written; None before that.
    """

    start: int
    pace: Pace
    interruptible: bool
    end: int | None = None
    origin_secs: float | None = None
    first_audio_at: float | None = None

    def position_of(self, at_secs: float) -> int:
        """The position to which a timestamp points; its start while the origin is unknown."""
        if self.origin_secs is None:
            return self.start
        return self.start + max(to_samples(at_secs - self.origin_secs), 0)


@dataclass(frozen=True, slots=True)
class Span:
    """What may be sent together.

    Attributes:
        end: Position behind it.
        flushes: Whether the end of an utterance is in it, so that it waits for nothing.
        pace: How fast to send it.
    """

    end: int
    flushes: bool
    pace: Pace


class Utterances:
    """The utterances of which something is unheard, in order.

    Attributes:
        pace: Counts for the next utterance that begins.
    """

    def __init__(self, pace: Pace) -> None:
        """Create an empty collection.

        Args:
            pace: How fast to send.
        """
        self.pace = pace
        self._utterances: deque[Utterance] = deque()

    @property
    def latest(self) -> Utterance | None:
        """The last one; timestamps belong to it, for they come in the order of the audio."""
        return self._utterances[-1] if self._utterances else None

    @property
    def open(self) -> Utterance | None:
        """The utterance that is being written, if any; it is the last."""
        last = self.latest
        return last if last is not None and last.end is None else None

    def begin(self, position: int, *, interruptible: bool) -> Utterance:
        """Open an utterance; none may be open."""
        utterance = Utterance(position, self.pace, interruptible)
        self._utterances.append(utterance)
        return utterance

    def finish(self, position: int) -> None:
        """Close the open utterance; one without audio leaves no trace."""
        utterance = self.open
        if utterance is None:
            return
        utterance.end = position
        if utterance.end == utterance.start:
            self._utterances.pop()

    def pace_at(self, position: int) -> Pace:
        """The pace at a position; the next utterance's where none is known."""
        pace = self.pace
        for utterance in self._utterances:
            if utterance.start > position:
                break
            pace = utterance.pace
        return pace

    def span(self, start: int, end: int) -> Span:
        """What may be sent together of the audio from ``start`` to ``end``.

        Utterances travel in one message if they go at the same pace.
        """
        pace = self.pace_at(start)
        flushes = False
        for utterance in self._utterances:
            if utterance.start > start and utterance.pace != pace:
                return Span(min(utterance.start, end), True, pace)
            flushes = flushes or (utterance.end is not None and utterance.end > start)
        return Span(end, flushes, pace)

    def end_at(self, position: int, end: int) -> int:
        """Where the utterance ends of which the sample at a position is; ``end`` if it is open."""
        for utterance in self._utterances:
            if utterance.end is None or utterance.end > position:
                return end if utterance.end is None else utterance.end
        return end

    def start_at(self, position: int) -> int:
        """Where the utterance begins of which the sample at a position is."""
        starts = (u.start for u in self._utterances if u.start <= position)
        return max(starts, default=position)

    def has_begun(self, position: int) -> bool:
        """Whether a position lies amid an utterance, or behind what there is of an open one."""
        return any(
            utterance.start < position and (utterance.end is None or position < utterance.end)
            for utterance in self._utterances
        )

    def first_audio_in(self, start: int, end: int) -> float | None:
        """When the last utterance that begins between two positions had its first audio."""
        begun = [u.first_audio_at for u in self._utterances if start <= u.start < end]
        return begun[-1] if begun else None

    def forget(self, before: int) -> None:
        """Drop the closed utterances that lie wholly before a position."""
        while self._utterances:
            end = self._utterances[0].end
            if end is None or end > before:
                return
            self._utterances.popleft()

    def follow(self, relaid: Relaid) -> None:
        """End what an interruption ends, and move the rest to where its audio lies now."""
        self._utterances = deque(u for u in self._utterances if _survives(u, relaid))
        for utterance in self._utterances:
            if utterance.end is None and utterance.interruptible:
                utterance.end = relaid.old_end
            # Its heard part stays attached in front, for the timestamps.
            first = max(utterance.start, relaid.cut)
            utterance.start += relaid.moved(first) - first
            if utterance.end is not None:
                utterance.end = relaid.moved(utterance.end)

    def clear(self) -> None:
        """Forget everything."""
        self._utterances.clear()


def _survives(utterance: Utterance, relaid: Relaid) -> bool:
    """Whether an utterance goes on, was left alone, or has audio that was kept."""
    if utterance.end is None and not utterance.interruptible:
        return True
    if utterance.end is not None and utterance.end <= relaid.cut == relaid.origin:
        return True
    end = relaid.old_end if utterance.end is None else utterance.end
    return relaid.moved(end) > relaid.moved(max(utterance.start, relaid.cut))
