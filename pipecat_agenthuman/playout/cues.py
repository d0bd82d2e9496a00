"""What is due when: held items, and the beginning and end of speech. Pure.

A cue sheet walks along the axis of positions with the time that ``PlayoutClock`` gives them. At
one position the order is: what stands behind the sample before it, the sound of the sample,
what goes with that sound. Beside the axis lie items that wait for a moment and for no sound.
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
from pipecat_agenthuman.wire.pcm import to_secs

ItemT = TypeVar("ItemT")

SPEAKING_PERIOD_SECS: Final = 0.2
"""How often ``Speaking`` comes while audio sounds: the period of Pipecat's output transport."""

ONSET_SAMPLES: Final = 160
"""How much behind the beginning of a word must be known to sound, while more is to come: where a
word begins is known to some milliseconds, and what follows can be a long time away."""

_ONSET_SECS: Final = to_secs(ONSET_SAMPLES)

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
        timed: Whether it waits for a sound by its timestamp, and not in the order of frames.
        bars_sound: Whether what sounds behind it must not be sent before it is released.
        since: Where the speech begins behind which it stands; None if there is none.
        unsaid: Whether nothing could be said at all of the utterance to which it belongs.
        beyond_secs: How long after its place it is due: its timestamp points there, and the
            speech was over before. None for what comes with the last sound then.
    """

    position: int
    phase: _Phase
    order: int
    item: ItemT = field(compare=False)
    interruptible: bool = field(compare=False)
    ends_speech: bool = field(compare=False, default=False)
    timed: bool = field(compare=False, default=False)
    bars_sound: bool = field(compare=False, default=False)
    since: int | None = field(compare=False, default=None)
    unsaid: bool = field(compare=False, default=False)
    beyond_secs: float | None = field(compare=False, default=None)


@dataclass(order=True, slots=True)
class _Appointment(Generic[ItemT]):
    """An item that waits for a moment.

    Attributes:
        at: When it is due.
        order: Its place among items of the same moment.
        mark: The item.
    """

    at: float
    order: int
    mark: Mark[ItemT] = field(compare=False)


@dataclass(frozen=True, slots=True)
class _Due(Generic[ItemT]):
    """Something that happens at a time; ``take`` makes it happen.

    Attributes:
        is_sign: Whether it is the beginning or the end of speech.
    """

    at: float
    take: Callable[[], Cue[ItemT]]
    is_sign: bool = False


class CueSheet(Generic[ItemT]):
    """Held items and the state of speech, on a playout clock.

    Attributes:
        expects_more: Whether more is to sound behind all that stands on the clock.
    """

    def __init__(self, clock: PlayoutClock) -> None:
        """Create an empty sheet.

        Args:
            clock: Turns positions into times.
        """
        self.expects_more = False
        self._clock = clock
        self._marks: list[Mark[ItemT]] = []
        self._appointments: list[_Appointment[ItemT]] = []
        self._count = 0
        self._speaking = False
        self._stopped_at = 0  # position; what sounds behind it starts speech again
        self._struck: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_STRUCK)
        self._ticked_at = -math.inf

    def __len__(self) -> int:
        """Number of held items."""
        return len(self._marks) + len(self._appointments)

    @property
    def count(self) -> int:
        """How many items there have been."""
        return self._count

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
        timed: bool = False,
        bars_sound: bool = False,
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
            bars_sound: Whether what sounds behind it must not be sent before it is released.
            since: Where the speech begins behind which it stands.
            unsaid: Whether nothing could be said at all of the utterance to which it belongs.
        """
        mark = self._hold(position, _Phase.BEHIND, item, interruptible)
        mark.ends_speech, mark.bars_sound = ends_speech, bars_sound
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
        mark = self._hold(position, _Phase.WITH, item, interruptible)
        mark.timed, mark.beyond_secs = True, None if follows_sound else 0.0
        return mark

    def hold_until(self, at: float, item: ItemT, *, interruptible: bool) -> None:
        """Hold an item until a moment, whatever sounds."""
        self._count += 1
        mark = Mark(0, _Phase.BEHIND, self._count, item, interruptible)
        heapq.heappush(self._appointments, _Appointment(at, self._count, mark))

    def first_bar(self, *, or_end: bool) -> int | None:
        """Behind which position nothing may be sent yet: what stands there must come before.

        Args:
            or_end: Whether what ends speech counts.
        """
        bars = (m.position for m in self._marks if m.bars_sound or (or_end and m.ends_speech))
        return min(bars, default=None)

    def take_before(self, position: int) -> list[Release[ItemT]]:
        """Take what stands before a position, for somebody who keeps its order with the sound.

        What ends speech stays, and what stands behind it.

        Args:
            position: The position.
        """
        taken: list[Mark[ItemT]] = []
        for mark in sorted(self._marks):
            if mark.position >= position or mark.ends_speech:
                break
            if mark.bars_sound and mark.position > self._clock.end:
                break  # The sound before it has to be complete.
            if not mark.timed:
                taken.append(mark)
            if mark.bars_sound:
                break
        if taken:
            self._marks = [mark for mark in self._marks if not any(mark is one for one in taken)]
            heapq.heapify(self._marks)
        return [Release(mark.item, self._is_unheard(mark)) for mark in taken]

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
        """Nothing will sound at or behind a position: what waits for it moves there."""
        for mark in self._marks:
            if (mark.position, mark.phase) > (position, _Phase.BEHIND):
                if mark.beyond_secs is not None:
                    mark.beyond_secs += to_secs(mark.position - position)
                elif mark.phase is _Phase.WITH:
                    mark.since = position - 1  # Heard if the last sample before it was.
                mark.position, mark.phase = position, _Phase.BEHIND
        heapq.heapify(self._marks)

    def poll(self, now: float, *, signs: bool = True) -> Cue[ItemT] | None:
        """Take the next cue that is due, in order, or None.

        Args:
            now: The time.
            signs: Whether the beginning and the end of speech may be taken.
        """
        step = self._next_step()
        if step is None or step.at > now or (step.is_sign and not signs):
            return None
        return step.take()

    def next_due(self, *, signs: bool = True) -> float | None:
        """When the next cue is due, or None if only news can tell.

        Args:
            signs: Whether the beginning and the end of speech may be taken.
        """
        step = self._next_step()
        return None if step is None or (step.is_sign and not signs) else step.at

    def follow(self, relaid: Relaid) -> None:
        """Drop interruptible items, and move the others to where their audio lies now."""
        self._marks = [mark for mark in self._marks if not mark.interruptible]
        self._appointments = [one for one in self._appointments if not one.mark.interruptible]
        heapq.heapify(self._appointments)
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
        marks = sorted(self._marks)
        latest = [one.mark for one in sorted(self._appointments)]
        self._marks, self._appointments = [], []
        return [
            *((mark.position, Release(mark.item, self._is_unheard(mark))) for mark in marks),
            *((self._clock.end, Release(mark.item)) for mark in latest),
        ]

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
        self._make_appointments()
        steps = [self._next_on_axis(), self._next_appointment()]
        if self._speaking:
            tick = self._clock.sounding_from(self._ticked_at + SPEAKING_PERIOD_SECS)
            if tick is not None:
                steps.append(_Due(tick, lambda: self._tick(tick)))
            steps.append(_Due(self._clock.silent_from + STALL_LIMIT_SECS, self._stall, True))
        known = (step for step in steps if step is not None)
        return min(known, key=lambda step: step.at, default=None)

    def _next_on_axis(self) -> _Due[ItemT] | None:
        mark = self._marks[0] if self._marks else None
        sound = None if self._speaking else self._clock.next_sound(self._stopped_at)
        if sound is not None:
            position, sounds_at = sound
            if mark is None or (position, _Phase.SOUND) < (mark.position, mark.phase):
                return _Due(sounds_at, lambda: self._start(sounds_at), True)
        if mark is None:
            return None
        if mark.phase == _Phase.BEHIND:
            due = self._clock.end_time(mark.position)
        else:
            due = self._begins_at(mark.position)
        if due is None:
            return None
        begins_or_ends = mark.ends_speech and self._is_sign(mark)
        return _Due(due, self._release, begins_or_ends)

    def _begins_at(self, position: int) -> float | None:
        """When what begins at a position is heard to begin; None while that is unknown."""
        begins_at = self._clock.start_time(position)
        goes_on_at = self._clock.start_time(position + ONSET_SAMPLES)
        if begins_at is None or (goes_on_at is None and self.expects_more and self._speaking):
            return None
        if goes_on_at is None or goes_on_at - begins_at < 2 * _ONSET_SECS:
            return begins_at
        return goes_on_at - _ONSET_SECS  # There was a pause between.

    def _make_appointments(self) -> None:
        """What is due after its place holds up nothing there, once it is known when that is."""
        while self._marks and (beyond_secs := self._marks[0].beyond_secs):
            mark = self._marks[0]
            over_at = self._clock.end_time(mark.position)
            if over_at is None:
                return
            heapq.heappop(self._marks)
            at = max(over_at, self._clock.ends_at) + beyond_secs
            heapq.heappush(self._appointments, _Appointment(at, mark.order, mark))

    def _next_appointment(self) -> _Due[ItemT] | None:
        if not self._appointments:
            return None
        return _Due(self._appointments[0].at, self._keep_appointment)

    def _keep_appointment(self) -> Cue[ItemT]:
        return Release(heapq.heappop(self._appointments).mark.item)

    def _is_sign(self, mark: Mark[ItemT]) -> bool:
        """Whether speech begins or ends before an item that ends speech is released."""
        return self._speaking or mark.unsaid or mark.position > self._stopped_at

    def _start(self, sounds_at: float) -> Cue[ItemT]:
        self._speaking = True
        self._ticked_at = max(self._ticked_at, sounds_at - SPEAKING_PERIOD_SECS)
        return Started()

    def _tick(self, at: float) -> Cue[ItemT]:
        self._ticked_at = at
        return Speaking()

    def _stall(self) -> Cue[ItemT]:
        mark = self._marks[0] if self._marks else None
        if mark is not None and mark.ends_speech and mark.position < self._clock.end:
            return self._stop(mark.position)  # It started in silence; what follows does anew.
        return self._stop(self._clock.end)

    def _release(self) -> Cue[ItemT]:
        mark = self._marks[0]
        if mark.ends_speech and self._speaking:
            mark.unsaid = False  # Else it would start again.
            return self._stop(mark.position)
        if mark.ends_speech and self._is_sign(mark):
            mark.unsaid = False
            self._speaking = True
            return Started(silent=True)
        heapq.heappop(self._marks)
        return Release(mark.item, self._is_unheard(mark))

    def _stop(self, position: int) -> Cue[ItemT]:
        self._speaking = False
        self._stopped_at = position
        return Stopped()
