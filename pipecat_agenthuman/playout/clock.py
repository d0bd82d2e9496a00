"""When confirmed audio sounds. Pure: positions in samples at 16 kHz, times in seconds.

The avatar never reports playback. The model is one sentence: a confirmed message of *n*
samples starts to sound at the later of *confirmation + avatar latency* and *the end of what
was confirmed before*, and lasts *n* / 16000 seconds. Where another latency counts from a message
on, it counts for what that one follows, too, as far as two sounds do not overlap.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from pipecat_agenthuman.playout.tape import Relaid
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE, to_secs

_ROUNDING_SAMPLES: Final = 0.01
"""So that a sample has been heard at the time that ``time_of`` gives for its end."""


_ROUNDING_SECS: Final = 1e-6
"""Less is no gap between two messages."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One answered message on the clock.

    Attributes:
        start: Position of its first sample.
        end: Position behind its last sample.
        starts_at: When its first sample sounds.
        audible: False if the server rejected it: then it takes no time.
    """

    start: int
    end: int
    starts_at: float
    audible: bool = True

    @property
    def ends_at(self) -> float:
        """When its last sample has sounded."""
        return self.time_of(self.end)

    def time_of(self, position: int) -> float:
        """When the sample at a position of this stretch starts to sound."""
        return self.starts_at + (to_secs(position - self.start) if self.audible else 0.0)

    def heard_end(self, now: float) -> int:
        """The position up to which it has sounded."""
        heard = (now - self.starts_at) * WIRE_SAMPLE_RATE + _ROUNDING_SAMPLES
        if heard < 0:
            return self.start
        return min(self.start + math.floor(heard), self.end) if self.audible else self.end


class PlayoutClock:
    """The answered messages in order, without a hole between them.

    Positions before the first remembered stretch count as heard long ago.
    """

    def __init__(self) -> None:
        """Create an empty clock at position 0."""
        self._stretches: deque[Stretch] = deque()
        self._end = 0
        self._ends_at = -math.inf
        self._queue_ends_at = -math.inf  # when it would all be over without any latency
        self._silent_from = -math.inf

    @property
    def end(self) -> int:
        """Position behind the last answered message."""
        return self._end

    @property
    def ends_at(self) -> float:
        """When the last answered message has sounded; minus infinity before the first."""
        return self._ends_at

    @property
    def runs_dry_at(self) -> float:
        """When a server would have nothing left to play; minus infinity if that is unknown."""
        return self._queue_ends_at

    @property
    def silent_from(self) -> float:
        """When the last sound ends: ``ends_at``, but rejected messages do not count."""
        return self._silent_from

    def confirm(self, end: int, at: float, latency_secs: float = 0.0) -> None:
        """Put a confirmed message behind the last one.

        Args:
            end: Position behind its last sample.
            at: When it was confirmed: it is played then, or behind what was confirmed before.
            latency_secs: How much later it sounds.
        """
        played_at = max(at, self._queue_ends_at)
        self._queue_ends_at = played_at + to_secs(end - self._end)
        starts_at = played_at + latency_secs
        if starts_at < self._ends_at + _ROUNDING_SECS:
            starts_at = self._ends_at
        self._append(Stretch(self._end, end, starts_at))
        self._silent_from = self._ends_at

    def skip(self, end: int, now: float) -> None:
        """Put a rejected message behind the last one: it takes no time."""
        self._append(Stretch(self._end, end, max(now, self._ends_at), audible=False))

    def reset(self, position: int, now: float = -math.inf) -> None:
        """Forget everything: the server's queue is empty, and ``position`` comes next."""
        self._stretches.clear()
        self._end = position
        self._ends_at = self._silent_from = now
        self._queue_ends_at = -math.inf

    def recall(self, now: float) -> None:
        """Take back what has not sounded yet; what has stays, to the sample."""
        heard = self.heard(now)
        sounded = (one for one in self._stretches if one.start < heard)
        self._stretches = deque(replace(one, end=min(one.end, heard)) for one in sounded)
        self._end = heard
        self._ends_at = self._silent_from = min(self._ends_at, now)
        self._queue_ends_at = -math.inf

    def follow(self, relaid: Relaid, now: float) -> None:
        """What was dropped sounds no more, and what was kept behind it follows without a break.

        What is sounding is left alone.

        Args:
            relaid: How positions moved.
            now: The time.
        """
        stretches: deque[Stretch] = deque()
        gained_secs = 0.0
        for stretch, begins_next_at in self._with_next():
            first = max(stretch.start, relaid.cut)
            if stretch.end > first and stretch.audible and relaid.keeps(first):
                start, end = relaid.moved(stretch.start), relaid.moved(stretch.end)
                starts_at = stretch.starts_at - gained_secs
                stretches.append(replace(stretch, start=start, end=end, starts_at=starts_at))
                continue
            if stretch.start < relaid.cut:
                stretches.append(replace(stretch, end=min(stretch.end, relaid.cut)))
            if stretch.starts_at > now:
                gained_secs += begins_next_at - stretch.starts_at
        self._stretches = stretches
        self._end = relaid.moved(self._end)
        last = stretches[-1] if stretches else None
        goes_on = last is not None and last.end > relaid.cut
        self._ends_at = self._silent_from = last.ends_at if last and goes_on else now
        self._queue_ends_at = -math.inf

    def _with_next(self) -> Iterator[tuple[Stretch, float]]:
        """Each stretch, and when the next one begins; the last one's end."""
        nexts = [stretch.starts_at for stretch in self._stretches][1:]
        yield from zip(self._stretches, [*nexts, self._ends_at], strict=False)

    def delay(self, now: float, secs: float) -> None:
        """What has not sounded yet sounds later.

        Args:
            now: The time.
            secs: How much later.
        """
        heard = self.heard(now)
        if heard == self._end:
            return
        delayed: deque[Stretch] = deque()
        for stretch in self._stretches:
            if stretch.start < heard:
                delayed.append(replace(stretch, end=min(stretch.end, heard)))
            if stretch.end > heard:
                first = max(stretch.start, heard)
                late = replace(stretch, start=first, starts_at=stretch.time_of(first) + secs)
                delayed.append(late)
        self._stretches = delayed
        self._ends_at += secs
        if self._silent_from > now:
            self._silent_from += secs

    def forget(self, before: int) -> None:
        """Drop the stretches that lie wholly before a position."""
        while self._stretches and self._stretches[0].end <= before:
            self._stretches.popleft()

    def heard(self, now: float) -> int:
        """The position up to which everything has sounded."""
        heard = self._stretches[0].start if self._stretches else self._end
        for stretch in self._stretches:
            heard = stretch.heard_end(now)
            if heard < stretch.end:
                break
        return heard

    def end_time(self, position: int) -> float | None:
        """When everything before a position has sounded; None while that is unknown."""
        if position > self._end:
            return None
        for stretch in self._stretches:
            if stretch.start < position <= stretch.end:
                return stretch.time_of(position)
        return -math.inf

    def start_time(self, position: int) -> float | None:
        """When the sample at a position starts to sound; None while that is unknown."""
        if position >= self._end:
            return None
        for stretch in self._stretches:
            if stretch.start <= position < stretch.end:
                return stretch.time_of(position)
        return -math.inf

    def next_sound(self, position: int) -> tuple[int, float] | None:
        """The first audible sample at or behind a position, and when it sounds."""
        for stretch in self._stretches:
            if stretch.audible and stretch.end > position:
                first = max(stretch.start, position)
                return first, stretch.time_of(first)
        return None

    def sounding_from(self, time: float) -> float | None:
        """The first moment at or after a time at which something sounds."""
        for stretch in self._stretches:
            if stretch.audible and stretch.ends_at > time:
                return max(stretch.starts_at, time)
        return None

    def _append(self, stretch: Stretch) -> None:
        self._stretches.append(stretch)
        self._end = stretch.end
        self._ends_at = stretch.ends_at
