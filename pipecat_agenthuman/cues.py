"""What is due when: held items, and the beginning and end of speech. Pure.

A cue sheet walks along the axis of positions with the time that ``Schedule`` gives them. At
one position the order is: what stands behind the sample before it, the sound of the sample,
what goes with that sound.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Final, Generic, TypeVar

from pipecat_agenthuman.schedule import Schedule
from pipecat_agenthuman.tape import Relaid

ItemT = TypeVar("ItemT")

SPEAKING_PERIOD_SECS: Final = 0.2
"""How often ``Speaking`` comes while audio sounds: the period of Pipecat's output transport."""

STALL_LIMIT_SECS: Final = 3.0
"""Silence inside an utterance that counts as its end: Pipecat's own fallback."""


@dataclass(frozen=True, slots=True)
class Started:
    """The first sample of speech sounds."""


@dataclass(frozen=True, slots=True)
class Speaking:
    """Speech still sounds; comes every ``SPEAKING_PERIOD_SECS``."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """The last sample of an utterance has sounded."""


@dataclass(frozen=True, slots=True)
class Release(Generic[ItemT]):
    """A held item is due."""

    item: ItemT


Cue = Started | Speaking | Stopped | Release[ItemT]


class _Phase(IntEnum):
    """The order of events at one position."""

    BEHIND = 0
    SOUND = 1
    WITH = 2


@dataclass(order=True, slots=True)
class Mark(Generic[ItemT]):
    """A held item in its place on the axis of positions."""

    position: int
    phase: _Phase
    order: int
    item: ItemT = field(compare=False)
    interruptible: bool = field(compare=False)
    ends_speech: bool = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Step(Generic[ItemT]):
    """Something that happens at a time; ``take`` makes it happen."""

    at: float
    take: Callable[[], Cue[ItemT]]


class CueSheet(Generic[ItemT]):
    """Held items and the state of speech, on the clock of a schedule."""

    def __init__(self, schedule: Schedule) -> None:
        """Create an empty sheet.

        Args:
            schedule: Turns positions into times.
        """
        self._schedule = schedule
        self._marks: list[Mark[ItemT]] = []
        self._count = 0
        self._speaking = False
        self._stopped_at = 0  # position; what sounds behind it starts speech again
        self._ticked_at = -math.inf

    def __len__(self) -> int:
        """Number of held items."""
        return len(self._marks)

    @property
    def speaking(self) -> bool:
        """Whether a ``Started`` came whose ``Stopped`` is still due."""
        return self._speaking

    def hold_behind(
        self, position: int, item: ItemT, *, interruptible: bool, ends_speech: bool = False
    ) -> None:
        """Hold an item until everything before a position has sounded."""
        self._hold(position, _Phase.BEHIND, item, interruptible, ends_speech)

    def hold_with(self, position: int, item: ItemT, *, interruptible: bool) -> Mark[ItemT]:
        """Hold an item until the sample at a position starts to sound."""
        return self._hold(position, _Phase.WITH, item, interruptible, ends_speech=False)

    def move(self, mark: Mark[ItemT], position: int) -> None:
        """Move an item that is held with a sample; does nothing to one that is gone."""
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
        heapq.heapify(self._marks)

    def cut(self) -> bool:
        """Speech is cut: the caller says so itself.

        Returns:
            Whether there was speech to cut.
        """
        was_speaking, self._speaking = self._speaking, False
        return was_speaking

    def take_all(self) -> list[tuple[int, ItemT]]:
        """Hand over every held item with its position, in order."""
        marks, self._marks = sorted(self._marks), []
        return [(mark.position, mark.item) for mark in marks]

    def _hold(
        self, position: int, phase: _Phase, item: ItemT, interruptible: bool, ends_speech: bool
    ) -> Mark[ItemT]:
        self._count += 1
        mark = Mark(position, phase, self._count, item, interruptible, ends_speech)
        heapq.heappush(self._marks, mark)
        return mark

    def _next_step(self) -> _Step[ItemT] | None:
        steps = [self._next_on_axis()]
        if self._speaking:
            tick = self._schedule.sounding_from(self._ticked_at + SPEAKING_PERIOD_SECS)
            if tick is not None:
                steps.append(_Step(tick, lambda: self._tick(tick)))
            steps.append(_Step(self._schedule.silent_from + STALL_LIMIT_SECS, self._stall))
        known = (step for step in steps if step is not None)
        return min(known, key=lambda step: step.at, default=None)

    def _next_on_axis(self) -> _Step[ItemT] | None:
        mark = self._marks[0] if self._marks else None
        sound = None if self._speaking else self._schedule.next_sound(self._stopped_at)
        if sound is not None:
            position, sounds_at = sound
            if mark is None or (position, _Phase.SOUND) < (mark.position, mark.phase):
                return _Step(sounds_at, lambda: self._start(sounds_at))
        if mark is None:
            return None
        if mark.phase == _Phase.BEHIND:
            due = self._schedule.end_time(mark.position)
        else:
            due = self._schedule.start_time(mark.position)
        return None if due is None else _Step(due, self._release)

    def _start(self, sounds_at: float) -> Cue[ItemT]:
        self._speaking = True
        self._ticked_at = max(self._ticked_at, sounds_at - SPEAKING_PERIOD_SECS)
        return Started()

    def _tick(self, at: float) -> Cue[ItemT]:
        self._ticked_at = at
        return Speaking()

    def _stall(self) -> Cue[ItemT]:
        return self._stop(self._schedule.end)

    def _release(self) -> Cue[ItemT]:
        mark = self._marks[0]
        if mark.ends_speech and self._speaking:
            return self._stop(mark.position)
        return Release(heapq.heappop(self._marks).item)

    def _stop(self, position: int) -> Cue[ItemT]:
        self._speaking = False
        self._stopped_at = position
        return Stopped()
