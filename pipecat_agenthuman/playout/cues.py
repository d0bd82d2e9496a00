"""What is due when: held items, and the beginning and end of speech. Pure.

A cue sheet walks along the ``Marks`` on the axis of positions with the time that
``PlayoutClock`` gives them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.marks import Mark, Marks, Phase
from pipecat_agenthuman.playout.utterances import Utterances
from pipecat_agenthuman.wire.pcm import to_secs

ItemT = TypeVar("ItemT")

SPEAKING_PERIOD_SECS: Final = 0.2
"""How often ``Speaking`` comes while audio sounds: the period of Pipecat's output transport."""

ONSET_SAMPLES: Final = 160
"""How far behind the beginning of a word the sample is that tells of it, while more is to come:
where a word begins is known to some milliseconds, and what follows can be a long time away."""

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


@dataclass(frozen=True, slots=True)
class Due(Generic[ItemT]):
    """The next cue. It counts until anything else happens.

    Attributes:
        at: When it is due; minus infinity if that was so long ago that nobody knows any more.
        take: Makes it happen, and returns it.
        is_sign: Whether it is the beginning or the end of speech.
    """

    at: float
    take: Callable[[], Cue[ItemT]]
    is_sign: bool = False


class CueSheet(Generic[ItemT]):
    """The state of speech, and the next thing that is due, on a playout clock.

    Attributes:
        expects_more: Whether more is to sound behind all that stands on the clock.
    """

    def __init__(self, marks: Marks[ItemT], clock: PlayoutClock, utterances: Utterances) -> None:
        """Create a sheet before any speech.

        Args:
            marks: What is held, and where.
            clock: Turns positions into times.
            utterances: Where speech begins and ends.
        """
        self.expects_more = False
        self._marks = marks
        self._clock = clock
        self._utterances = utterances
        self._speaking = False
        self._stopped_at = 0  # position; what sounds behind it starts speech again
        self._came_since = False  # speech, of which maybe none can be heard yet
        self._struck: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED_STRUCK)
        self._ticked_at = -math.inf

    @property
    def speaking(self) -> bool:
        """Whether a ``Started`` came whose ``Stopped`` is still due."""
        return self._speaking

    def take_before(self, position: int) -> list[Release[ItemT]]:
        """Take what stands before a position, for somebody who keeps its order with the sound.

        What ends speech stays, and what stands behind it; so does what stands behind a beginning
        that was not told yet. Words stay, too: they come by their time. But where their speech
        ends in these very samples, too, what stands behind it would come before them.

        Args:
            position: The position.
        """
        sound = self._untold_sound
        if sound is not None:
            position = min(position, sound[0] + 1)
        taken: list[Mark[ItemT]] = []
        words: list[Mark[ItemT]] = []
        for mark in self._given_before(position):
            if not mark.timed:
                taken += [*words, mark]
                words.clear()
            elif self._clock.end <= mark.position and self._ends_before(position, mark):
                words.append(mark)
        self._marks.remove(taken)
        return [Release(mark.item, self._is_unheard(mark)) for mark in taken]

    def awaits_beginning(self, position: int) -> bool:
        """Whether ``take_before`` will have more, once it was told that speech began."""
        sound = self._untold_sound
        if sound is None:
            return False
        first = max(sound[0] + 1, self._clock.end)  # What stands before that is late anyway.
        before = self._given_before(position)
        return any(mark.position >= first and not mark.timed for mark in before)

    def told_until(self, position: int) -> int:
        """Up to where, at most to a position, the clock is not needed any more.

        On a busy machine whole utterances have sounded before it is told that they began.
        """
        mark = self._marks.first
        if mark is not None:
            position = min(position, mark.position)
        sound = self._untold_sound
        return position if sound is None else min(position, sound[0])

    def more_came(self) -> None:
        """Speech came, of which maybe none can be heard yet."""
        self._came_since = True

    def end_behind(self, start: int, end: int) -> None:
        """What lies between two positions is the last of the speech before it.

        If that has stopped, and nothing came since, it has stopped behind this: a crumb does not
        start it again.
        """
        if not self._speaking and self._stopped_at == start and not self._came_since:
            self._stopped_at = end

    def strike(self, start: int, end: int) -> None:
        """What lies between two positions was refused: nobody will hear it."""
        if self._struck and self._struck[-1][1] == start:
            start, _ = self._struck.pop()
        self._struck.append((start, end))

    def next(self, known_until: float = math.inf) -> Due[ItemT] | None:
        """The next cue in order, due or not; None if only news can tell.

        Args:
            known_until: What sounds then, and from then on, may yet turn out to be late.
        """
        self._make_appointments()
        steps = [self._next_on_axis()]
        if self._speaking:
            tick = self._clock.sounding_from(self._ticked_at + SPEAKING_PERIOD_SECS)
            if tick is not None:
                steps.append(Due(tick, lambda: self._tick(tick)))
            steps.append(Due(self._clock.silent_from + STALL_LIMIT_SECS, self._stall, True))
        known = [step for step in steps if step is not None and step.at < known_until]
        appointment = self._next_appointment()
        if appointment is not None:
            known.append(appointment)
        return min(known, key=lambda step: step.at, default=None)

    def cut(self, position: int) -> bool:
        """Speech is cut: the caller says so itself.

        Args:
            position: What sounds behind it starts speech again.

        Returns:
            Whether there was speech to cut.
        """
        was_speaking = self._speaking
        self._be_silent(position)
        return was_speaking

    def take_all(self) -> list[tuple[int, Release[ItemT]]]:
        """Hand over every held item with its position, in order."""
        on_axis, by_moment = self._marks.on_axis(), self._marks.by_moment()
        self._marks.clear()
        return [
            *((mark.position, Release(mark.item, self._is_unheard(mark))) for mark in on_axis),
            *((self._clock.end, Release(mark.item)) for mark in by_moment),
        ]

    def _given_before(self, position: int) -> Iterator[Mark[ItemT]]:
        """What stands before a position, up to what the sound behind it has to wait for."""
        for mark in self._marks.on_axis():
            if mark.position >= position or mark.ends_speech:
                return
            if mark.bars_sound and mark.position > self._clock.end:
                return  # The sound before it has to be complete.
            yield mark
            if mark.bars_sound:
                return

    def _is_unheard(self, mark: Mark[ItemT]) -> bool:
        """Whether the speech to which an item belongs was refused, or could not be said."""
        if mark.unsaid:
            return True
        if mark.phase == Phase.WITH:
            # A word is what follows its beginning, which is known to some milliseconds.
            onset = self._onset_of(mark.position)
            return any(start <= onset < end for start, end in self._struck)
        if mark.since is None:
            return False
        spans = ((max(start, mark.since), min(end, mark.position)) for start, end in self._struck)
        struck = sum(end - start for start, end in spans if start < end)
        # Nobody takes a few milliseconds for the sentence.
        return struck > 0 and mark.position - mark.since - struck < ONSET_SAMPLES

    @property
    def _untold_sound(self) -> tuple[int, float] | None:
        """With which sample speech begins and when, if it is known and was not told yet."""
        return None if self._speaking else self._clock.next_sound(self._stopped_at)

    def _next_on_axis(self) -> Due[ItemT] | None:
        first = self._marks.first
        steps = [self._next_up_to(first)]
        if first is not None and self._awaits_more(first):
            # It comes by its time. What comes by its place does not wait for it.
            steps.append(self._next_up_to(self._marks.first_but(self._awaits_more)))
        return min((step for step in steps if step), key=lambda step: step.at, default=None)

    def _next_up_to(self, mark: Mark[ItemT] | None) -> Due[ItemT] | None:
        """The beginning of speech if that comes before an item, else the item."""
        sound = self._untold_sound
        if sound is not None:
            position, sounds_at = sound
            if mark is None or (position, Phase.SOUND) < (mark.position, mark.phase):
                return Due(sounds_at, lambda: self._start(sounds_at), True)
        if mark is None:
            return None
        if mark.phase == Phase.BEHIND:
            due = self._clock.end_time(mark.position)
        else:
            due = self._begins_at(mark.position)
        if due is None:
            return None
        begins_or_ends = mark.ends_speech and self._is_sign(mark)
        return Due(due, lambda: self._release(mark), begins_or_ends)

    def _awaits_more(self, mark: Mark[ItemT]) -> bool:
        """Whether so little sounds of a word, before a pause, that what follows has to tell."""
        if mark.phase is not Phase.WITH:
            return False
        begins_at = self._clock.start_time(mark.position)
        return begins_at is not None and self._begins_at(mark.position) != begins_at

    def _begins_at(self, position: int) -> float | None:
        """When what begins at a position is heard to begin; None while that is unknown."""
        onset = self._onset_of(position)
        begins_at = self._clock.start_time(position)
        goes_on_at = self._clock.start_time(onset)
        if begins_at is None or (goes_on_at is None and self.expects_more):
            return None
        onset_secs = to_secs(onset - position)
        if goes_on_at is None or goes_on_at - onset_secs <= begins_at + _ONSET_SECS:
            return begins_at
        # There was a pause between: what sounds behind it tells, and not before it is known to.
        sounds_at = self._clock.sounding_from(goes_on_at - onset_secs)
        # If that was refused, nothing of the word does, and what sounds is behind its speech.
        return goes_on_at if sounds_at is None else min(sounds_at, goes_on_at)

    def _ends_before(self, position: int, mark: Mark[ItemT]) -> bool:
        """Whether the speech with which a word comes is over before a position."""
        is_word = mark.phase is Phase.WITH and mark.beyond_secs is None
        return is_word and self._utterances.end_at(mark.position, position) < position

    def _onset_of(self, position: int) -> int:
        """Which sample tells of what begins at a position: some behind it, of the same speech."""
        onset = position + ONSET_SAMPLES
        return max(min(onset, self._utterances.end_at(position, onset + 1) - 1), position)

    def _make_appointments(self) -> None:
        """What is due after its place holds up nothing there, once it is known when that is."""
        while (mark := self._marks.first) is not None and mark.beyond_secs:
            over_at = self._clock.end_time(mark.position)
            if over_at is None:
                return
            self._marks.appoint_first(max(over_at, self._clock.ends_at) + mark.beyond_secs)

    def _next_appointment(self) -> Due[ItemT] | None:
        at = self._marks.first_moment
        return None if at is None else Due(at, self._keep_appointment)

    def _keep_appointment(self) -> Cue[ItemT]:
        return Release(self._marks.pop_appointment().item)

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
        mark = self._marks.first
        if mark is not None and mark.ends_speech and mark.position < self._clock.end:
            return self._stop(mark.position)  # It started in silence; what follows does anew.
        return self._stop(self._clock.end)

    def _release(self, mark: Mark[ItemT]) -> Cue[ItemT]:
        if mark.ends_speech and self._speaking:
            mark.unsaid = False  # Else it would start again.
            return self._stop(mark.position)
        if mark.ends_speech and self._is_sign(mark):
            mark.unsaid = False
            self._speaking = True
            return Started(silent=True)
        self._marks.take(mark)
        return Release(mark.item, self._is_unheard(mark))

    def _stop(self, position: int) -> Cue[ItemT]:
        self._be_silent(position)
        return Stopped()

    def _be_silent(self, position: int) -> None:
        self._speaking = False
        self._stopped_at = position
        self._came_since = False
