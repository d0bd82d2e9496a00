"""Held items, each in its place: on the axis of positions, or waiting for a moment. Pure.

At one position the order is: what stands behind the sample before it, the sound of the sample,
what goes with that sound. Beside the axis lie items that wait for a moment and for no sound.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Generic, TypeVar

from pipecat_agenthuman.playout.tape import Relaid
from pipecat_agenthuman.wire.pcm import to_secs

ItemT = TypeVar("ItemT")


class Phase(IntEnum):
    """The order of events at one position."""

    BEHIND = 0
    SOUND = 1
    WITH = 2


class Bar(StrEnum):
    """Whether what sounds behind an item must not be sent before the item is released."""

    NEVER = "never"
    BETWEEN = "between utterances"
    """Not amid the utterance in which it came; if it turns out to stand at its end, it bars."""
    ALWAYS = "always"


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
        timed: Whether it waits for a sound by its timestamp, and not in the order of frames.
        bar: Whether what sounds behind it must not be sent before it is released.
        since: Where the speech begins behind which it stands; None if there is none.
        unsaid: Whether nothing could be said at all of the utterance to which it belongs.
        beyond_secs: How long after its place it is due: its timestamp points there, and the
            speech was over before. None for what comes with the last sound then.
    """

    position: int
    phase: Phase
    order: int
    item: ItemT = field(compare=False)
    interruptible: bool = field(compare=False)
    ends_speech: bool = field(compare=False, default=False)
    timed: bool = field(compare=False, default=False)
    bar: Bar = field(compare=False, default=Bar.NEVER)
    since: int | None = field(compare=False, default=None)
    unsaid: bool = field(compare=False, default=False)
    beyond_secs: float | None = field(compare=False, default=None)

    @property
    def bars_sound(self) -> bool:
        """Whether nothing that sounds behind it may be sent now."""
        return self.bar is Bar.ALWAYS


@dataclass(order=True, slots=True)
class Appointment(Generic[ItemT]):
    """An item that waits for a moment.

    Attributes:
        at: When it is due.
        order: Its place among items of the same moment.
        mark: The item.
    """

    at: float
    order: int
    mark: Mark[ItemT] = field(compare=False)


class Marks(Generic[ItemT]):
    """All held items."""

    def __init__(self) -> None:
        """Hold nothing."""
        self._marks: list[Mark[ItemT]] = []
        self._appointments: list[Appointment[ItemT]] = []
        self._count = 0

    def __len__(self) -> int:
        """Number of held items."""
        return len(self._marks) + len(self._appointments)

    @property
    def count(self) -> int:
        """How many items there have been."""
        return self._count

    @property
    def first(self) -> Mark[ItemT] | None:
        """What comes next on the axis."""
        return self._marks[0] if self._marks else None

    def first_but(self, is_passed: Callable[[Mark[ItemT]], bool]) -> Mark[ItemT] | None:
        """What comes next on the axis, but for items that let others pass."""
        return min((mark for mark in self._marks if not is_passed(mark)), default=None)

    @property
    def first_moment(self) -> float | None:
        """When the next one is due that waits for a moment."""
        return self._appointments[0].at if self._appointments else None

    def on_axis(self) -> list[Mark[ItemT]]:
        """Those that have their place on the axis, in order."""
        return sorted(self._marks)

    def by_moment(self) -> list[Mark[ItemT]]:
        """Those that wait for a moment, in order."""
        return [one.mark for one in sorted(self._appointments)]

    # --- in ----------------------------------------------------------------------------

    def hold_behind(
        self,
        position: int,
        item: ItemT,
        *,
        interruptible: bool,
        ends_speech: bool = False,
        timed: bool = False,
        bar: Bar = Bar.NEVER,
        since: int | None = None,
        unsaid: bool = False,
    ) -> None:
        """Hold an item until everything before a position has sounded.

        Args:
            position: The position.
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
            ends_speech: Whether speech stops when it is due.
            timed: Whether it waits by its timestamp, and not in the order of frames.
            bar: Whether what sounds behind it must not be sent before it is released.
            since: Where the speech begins behind which it stands.
            unsaid: Whether nothing could be said at all of the utterance to which it belongs.
        """
        mark = self._hold(position, Phase.BEHIND, item, interruptible)
        mark.ends_speech, mark.bar = ends_speech, bar
        mark.timed, mark.since, mark.unsaid = timed, since, unsaid

    def hold_with(
        self, position: int, item: ItemT, *, interruptible: bool, follows_sound: bool
    ) -> Mark[ItemT]:
        """Hold an item until the sample at a position starts to sound.

        Args:
            position: The position.
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
            follows_sound: Whether it is due with the last sound if none comes there, as a word
                is. Otherwise it is due at the moment at which the sample would have sounded.
        """
        mark = self._hold(position, Phase.WITH, item, interruptible)
        mark.timed, mark.beyond_secs = True, None if follows_sound else 0.0
        return mark

    def hold_until(self, at: float, item: ItemT, *, interruptible: bool) -> None:
        """Hold an item until a moment, whatever sounds."""
        self._count += 1
        mark = Mark(0, Phase.BEHIND, self._count, item, interruptible)
        heapq.heappush(self._appointments, Appointment(at, self._count, mark))

    def appoint_first(self, at: float) -> None:
        """Let what comes next on the axis wait for a moment instead."""
        mark = self.pop_first()
        heapq.heappush(self._appointments, Appointment(at, mark.order, mark))

    def _hold(self, position: int, phase: Phase, item: ItemT, interruptible: bool) -> Mark[ItemT]:
        self._count += 1
        mark = Mark(position, phase, self._count, item, interruptible)
        heapq.heappush(self._marks, mark)
        return mark

    # --- out ---------------------------------------------------------------------------

    def pop_first(self) -> Mark[ItemT]:
        """Take what comes next on the axis; there must be something."""
        return heapq.heappop(self._marks)

    def take(self, mark: Mark[ItemT]) -> None:
        """Take one that has its place on the axis."""
        if mark is self.first:
            self.pop_first()
        else:
            self.remove([mark])

    def pop_appointment(self) -> Mark[ItemT]:
        """Take the one whose moment comes next; there must be one."""
        return heapq.heappop(self._appointments).mark

    def remove(self, marks: Collection[Mark[ItemT]]) -> None:
        """Take some that have their place on the axis."""
        if marks:
            self._marks = [mark for mark in self._marks if not any(mark is one for one in marks)]
            heapq.heapify(self._marks)

    def clear(self) -> None:
        """Hold nothing any more."""
        self._marks.clear()
        self._appointments.clear()

    # --- places ------------------------------------------------------------------------

    def first_bar(self, *, or_end: bool) -> int | None:
        """Behind which position nothing may be sent yet: what stands there must come before.

        Args:
            or_end: Whether what ends speech counts.
        """
        bars = (m.position for m in self._marks if m.bars_sound or (or_end and m.ends_speech))
        return min(bars, default=None)

    def move(self, marks: Iterable[tuple[Mark[ItemT], int]]) -> None:
        """Move items that are held with a sample; does nothing to those that are gone.

        Args:
            marks: Each with its new position.
        """
        for mark, position in marks:
            mark.position = position
        heapq.heapify(self._marks)

    def move_behind(self, old: int, new: int, *, since: int) -> None:
        """Move the items behind an utterance from its old end to its new one.

        Args:
            old: Where it ended.
            new: Where it ends.
            since: What ``count`` was when it began.
        """
        for mark in self._marks:
            if mark.position == old and mark.order > since and not mark.timed:
                mark.position = new
        heapq.heapify(self._marks)

    def end_at(self, position: int) -> None:
        """An utterance ends: what waits for something at or behind a position moves there."""
        for mark in self._marks:
            if mark.position == position and mark.bar is Bar.BETWEEN:
                mark.bar = Bar.ALWAYS
            if (mark.position, mark.phase) > (position, Phase.BEHIND):
                if mark.beyond_secs is not None:
                    mark.beyond_secs += to_secs(mark.position - position)
                elif mark.phase is Phase.WITH:
                    mark.since = position - 1  # Heard if the last sample before it was.
                mark.position, mark.phase = position, Phase.BEHIND
        heapq.heapify(self._marks)

    def follow(self, relaid: Relaid) -> None:
        """Drop interruptible items, and move the others to where their audio lies now."""
        self._marks = [mark for mark in self._marks if not mark.interruptible]
        self._appointments = [one for one in self._appointments if not one.mark.interruptible]
        heapq.heapify(self._appointments)
        for mark in self._marks:
            if not relaid.keeps(mark.position):
                mark.phase = Phase.BEHIND  # The sound with which it was to come is gone.
            mark.position = relaid.moved(mark.position)
            if mark.since is not None:
                mark.since = min(relaid.moved(mark.since), mark.position)
        heapq.heapify(self._marks)
