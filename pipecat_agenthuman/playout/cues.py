"""What is due when: held items, and the beginning and end of speech. Pure.

A cue sheet walks along the axis of positions with the time that ``PlayoutClock`` gives them. At
one position the order is: what stands behind the sample before it, the sound of the sample,
what goes with that sound.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Generic, TypeVar

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.tape import Relaid

ItemT = TypeVar("ItemT")

SPEAKING_PERIOD_SECS: Final = 0.2
"""How often ``Speaking`` comes while audio sounds: the period of Pipecat's output transport."""

_REMEMBERED_STRUCK: Final = 64
"""Stretches of refused speech whose words may still be held."""

STALL_LIMIT_SECS: Final = 3.0
"""Silence inside an utterance that counts as its end: Pipecat's own fallback."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first sample of speech sounds.

    Attributes:
        silent: Whether nothing does: the server refused the whole utterance. It begins and ends
            all the same, because others wait for the end of what the bot was to say.
    """

    silent: bool = False


@dataclass(frozen=True, slots=True)
class Speaking:
    """Speech still sounds; comes every ``SPEAKING_PERIOD_SECS``."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last sample of an utterance has sounded."""


@dataclass(frozen=True, slots=True)
class Release(Generic[ItemT]):
    """A held item is due.

    Attributes:
        item: The item.
        unheard: Whether the speech to which it belongs was refused, so that nobody heard it.
    """

    item: ItemT
    unheard: bool = False


Cue = Started | Speaking | Stopped | Release[ItemT]


class _Phase(IntEnum):
    """The order of events at one position."""

    BEHIND = 0
    SOUND = 1
    WITH = 2


@dataclass(order=True, slots=True)
class Mark(Generic[ItemT]):
    """A held item in its place on the axis of positions.

    Attributes:
        position: Where it stands.
        phase: Its place among what happens there.
        order: Its place among items in the same place.
        item: The item.
        interruptible: Whether an interruption drops it.
        ends_speech: Whether speech stops when it is due.
        since: Where the utterance begins behind which it stands; None if there is none.
        unsaid: Whether nothing could be said at all of the utterance to which it belongs.
    """

    position: int
    phase: _Phase
    order: int
    item: ItemT = field(compare=False)
    interruptible: bool = field(compare=False)
    ends_speech: bool = field(compare=False, default=False)
    since: int | None = field(compare=False, default=None)
    unsaid: bool = field(compare=False, default=False)


@dataclass(frozen=True, slots=True)
class _Due(Generic[ItemT]):
    """Something that happens at a time; ``take`` makes it happen."""

    at: float
    take: Callable[[], Cue[ItemT]]


class CueSheet(Generic[ItemT]):
    """Held items and the state of speech, on a playout clock."""

    def __init__(self, clock: PlayoutClock) -> None:
        """Create an empty sheet.

        Args:
            clock: Turns positions into times.
        """
        self._clock = clock
        self._marks: list[Mark[ItemT]] = []
        self._count = 0
        self._speaking = False
        self._stopped_at = 0  # position; what sounds behind it starts speech again
        self._struck: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_STRUCK)
        self._ticked_at = -math.inf

    def __len__(self) -> int:
        """Number of held items."""
        return len(self._marks)

    @property
    def speaking(self) -> bool:
        """Whether a ``Started`` came whose ``Stopped`` is still due."""
        return self._speaking

    def hold_behind(
        self,
        position: int,
        item: ItemT,
        *,
        interruptible: bool,
        ends_speech: bool = False,
        since: int | None = None,
        unsaid: bool = False,
    ) -> None:
        """Hold an item until everything before a position has sounded.

        Args:
            position: The position.
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
            ends_speech: Whether speech stops when it is due.
            since: Where the utterance begins behind which it stands.
            unsaid: Whether nothing could be said at all of the utterance to which it belongs.
        """
        mark = self._hold(position, _Phase.BEHIND, item, interruptible)
        mark.ends_speech, mark.since, mark.unsaid = ends_speech, since, unsaid

    def hold_with(self, position: int, item: ItemT, *, interruptible: bool) -> Mark[ItemT]:
        """Hold an item until the sample at a position starts to sound."""
        return self._hold(position, _Phase.WITH, item, interruptible)

    def strike(self, start: int, end: int) -> None:
        """What lies between two positions was refused: nobody will hear it."""
        if self._struck and self._struck[-1][1] == start:
            start, _ = self._struck.pop()
        self._struck.append((start, end))

    def move(self, marks: Iterable[tuple[Mark[ItemT], int]]) -> None:
        """Move items that are held with a sample; does nothing to those that are gone.

        Args:
            marks: Each with its new position.
        """
        for mark, position in marks:
            mark.position = position
        heapq.heapify(self._marks)

    def end_at(self, position: int) -> None:
        """Nothing will sound at or behind a position: what waits for it moves there."""
        for mark in self._marks:
            if (mark.position, mark.phase) > (position, _Phase.BEHIND):
                mark.position, mark.phase = position, _Phase.BEHIND
        heapq.heapify(self._marks)

    def poll(self, now: float) -> Cue[ItemT] | None:
        """Take the next cue that is due, in order, or None."""
        step = self._next_step()
        return step.take() if step is not None and step.at <= now else None

    def next_due(self) -> float | None:
        """When the next cue is due, or None if only news can tell."""
        step = self._next_step()
        return None if step is None else step.at

    def follow(self, relaid: Relaid) -> None:
        """Drop interruptible items, and move the others to where their audio lies now."""
        self._marks = [mark for mark in self._marks if not mark.interruptible]
        for mark in self._marks:
            if not relaid.keeps(mark.position):
                mark.phase = _Phase.BEHIND  # The sound with which it was to come is gone.
            mark.position = relaid.moved(mark.position)
            if mark.since is not None:
                mark.since = min(relaid.moved(mark.since), mark.position)
        heapq.heapify(self._marks)

    def cut(self, position: int) -> bool:
        """Speech is cut: the caller says so itself.

        Args:
            position: What sounds behind it starts speech again.

        Returns:
            Whether there was speech to cut.
        """
        was_speaking, self._speaking = self._speaking, False
        self._stopped_at = position
        return was_speaking

    def take_all(self) -> list[tuple[int, Release[ItemT]]]:
        """Hand over every held item with its position, in order."""
        marks, self._marks = sorted(self._marks), []
        return [(mark.position, Release(mark.item, self._is_unheard(mark))) for mark in marks]

    def _hold(self, position: int, phase: _Phase, item: ItemT, interruptible: bool) -> Mark[ItemT]:
        self._count += 1
        mark = Mark(position, phase, self._count, item, interruptible)
        heapq.heappush(self._marks, mark)
        return mark

    def _is_unheard(self, mark: Mark[ItemT]) -> bool:
        """Whether the speech to which an item belongs was refused, or could not be said."""
        if mark.unsaid:
            return True
        if mark.phase == _Phase.WITH:
            return any(start <= mark.position < end for start, end in self._struck)
        if mark.since is None or mark.since == mark.position:
            return False
        return any(start <= mark.since and mark.position <= end for start, end in self._struck)

    def _next_step(self) -> _Due[ItemT] | None:
        steps = [self._next_on_axis()]
        if self._speaking:
            tick = self._clock.sounding_from(self._ticked_at + SPEAKING_PERIOD_SECS)
            if tick is not None:
                steps.append(_Due(tick, lambda: self._tick(tick)))
            steps.append(_Due(self._clock.silent_from + STALL_LIMIT_SECS, self._stall))
        known = (step for step in steps if step is not None)
        return min(known, key=lambda step: step.at, default=None)

    def _next_on_axis(self) -> _Due[ItemT] | None:
        mark = self._marks[0] if self._marks else None
        sound = None if self._speaking else self._clock.next_sound(self._stopped_at)
        if sound is not None:
            position, sounds_at = sound
            if mark is None or (position, _Phase.SOUND) < (mark.position, mark.phase):
                return _Due(sounds_at, lambda: self._start(sounds_at))
        if mark is None:
            return None
        if mark.phase == _Phase.BEHIND:
            due = self._clock.end_time(mark.position)
        else:
            due = self._clock.start_time(mark.position)
        return None if due is None else _Due(due, self._release)

    def _start(self, sounds_at: float) -> Cue[ItemT]:
        self._speaking = True
        self._ticked_at = max(self._ticked_at, sounds_at - SPEAKING_PERIOD_SECS)
        return Started()

    def _tick(self, at: float) -> Cue[ItemT]:
        self._ticked_at = at
        return Speaking()

    def _stall(self) -> Cue[ItemT]:
        return self._stop(self._clock.end)

    def _release(self) -> Cue[ItemT]:
        mark = self._marks[0]
        if mark.ends_speech and self._speaking:
            mark.unsaid = False  # Else it would start again.
            return self._stop(mark.position)
        if mark.ends_speech and (mark.unsaid or mark.position > self._stopped_at):
            mark.unsaid = False
            self._speaking = True
            return Started(silent=True)
        heapq.heappop(self._marks)
        return Release(mark.item, self._is_unheard(mark))

    def _stop(self, position: int) -> Cue[ItemT]:
        self._speaking = False
        self._stopped_at = position
        return Stopped()
