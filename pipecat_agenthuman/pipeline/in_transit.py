"""Frames that the transport was given and that have not come out of it yet.

Each is waited for while the transport gets on, and no longer: somebody in between may keep it.
Time is handed in.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from pipecat.frames.frames import Frame, SystemFrame

from pipecat_agenthuman.pipeline.frame_traits import PassedMark, is_interruptible

THROUGH_SECS: Final = 2.0
"""How long a frame may take to come out of the transport: beyond the sounds before it, from when
the one before it came out, and while the transport does nothing that overtakes it. One that
somebody between here and there keeps would be waited for in vain."""

URGENT_SECS: Final = 10.0
"""How much longer, in all, where urgent messages go first: a transport can hang in one for ever."""


@dataclass(frozen=True, slots=True)
class _Given:
    """A frame that has not come out yet.

    Attributes:
        frame: The frame.
        order: Its place among all that the transport was given.
        bars: Whether speech waits for it: it is a sound, or follows one, or takes time.
        until: When it is not waited for any more, unless the transport gets on before.
        since: When the sound in front of it is over, if it was given ahead of that.
        is_kept: Whether the transport keeps it.
        delayed_secs: What ``InTransit`` had counted of the transport's delays when it was given.
    """

    frame: Frame
    order: int
    bars: bool
    until: float
    since: float
    is_kept: bool
    delayed_secs: float


class InTransit:
    """What is on its way through the transport, and how far the transport has got."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._given: dict[int, _Given] = {}
        self._kept: set[type[Frame]] = set()  # kinds that somebody in between keeps
        self._orders = count()
        self._got_to = (-1, -math.inf)  # the place of what came out last in order, and when
        # System frames go before all others, and some take long: an urgent message.
        self._delayed_secs = 0.0
        self._delayed_since: float | None = None

    # --- looking -----------------------------------------------------------------------

    def is_empty(self, now: float) -> bool:
        """Whether everything came out."""
        self._forget_old(now)
        return not self._given

    def is_settled(self, now: float) -> bool:
        """Whether every frame came out whose turn it was."""
        self._forget_old(now)
        return all(given.since > now for given in self._given.values())

    def is_sounding(self, now: float) -> bool:
        """Whether a sound that is no speech is not over."""
        self._forget_old(now)
        return any(isinstance(given.frame, PassedMark) for given in self._given.values())

    def bars_speech(self, now: float) -> bool:
        """Whether something has not come out for which speech has to wait."""
        self._forget_old(now)
        return any(given.bars for given in self._given.values())

    def barred_until(self) -> float:
        """When the last of what speech waits for is to come out; minus infinity if nothing is."""
        bars = (given.until for given in self._given.values() if given.bars)
        return max(bars, default=-math.inf)

    def waits_for_some(self, order: int, now: float) -> bool:
        """Whether something has not come out yet behind which a certain place is."""
        self._forget_old(now)
        passed = self._got_to[0]
        return any(
            passed < given.order < order and not given.frame.pts for given in self._given.values()
        )

    def next_change(self, now: float) -> float | None:
        """When time alone changes one of the answers; None if only news does."""
        self._forget_old(now)
        return min(
            (g.since if g.since > now else self._until(g, now) for g in self._given.values()),
            default=None,
        )

    # --- on the way --------------------------------------------------------------------

    def next_order(self) -> int:
        """The place of what the transport is given next."""
        return next(self._orders)

    def add(
        self,
        frame: Frame,
        until: float,
        *,
        bars: bool,
        since: float = -math.inf,
        is_kept: bool = False,
    ) -> None:
        """The transport is given a frame, unless its kind never comes out.

        Args:
            frame: The frame.
            until: When it is not waited for any more, unless the transport gets on before.
            bars: Whether speech waits for it.
            since: When the sound in front of it is over, if it is given ahead of that.
            is_kept: Whether the transport keeps it, so that it has only to get there.
        """
        if type(frame) not in self._kept:
            order, delayed_secs = self.next_order(), self._delayed_secs
            self._given[frame.id] = _Given(frame, order, bars, until, since, is_kept, delayed_secs)

    def came_out(self, frame: Frame, now: float) -> bool:
        """A frame came out; returns whether it was one of these."""
        given = self._given.pop(frame.id, None)
        if given is None:
            return False
        if not frame.pts:  # Else it goes its own way through the transport.
            self.got_to(given.order, now)
        return True

    def was_taken(self, frame: Frame) -> bool:
        """The transport took a frame; returns whether it is done with it."""
        given = self._given.get(frame.id)
        if given is None or not given.is_kept:
            return False
        del self._given[frame.id]
        return True

    def got_to(self, order: int, now: float) -> None:
        """The transport got on: what it was given in a certain place came out."""
        self._got_to = (order, now)

    def begins(self, frame: Frame, now: float) -> None:
        """The transport begins with a frame."""
        if isinstance(frame, SystemFrame):
            self._delayed_since = now

    def ends(self, frame: Frame, now: float) -> None:
        """The transport is done with a frame: what waited for it has lost that time."""
        if isinstance(frame, SystemFrame) and self._delayed_since is not None:
            self._delayed_secs += now - self._delayed_since
            self._delayed_since = None

    def drop_interruptible(self) -> bool:
        """An interruption drops what it may; returns whether speech waited for some of it."""
        given = self._given
        self._given = {n: one for n, one in given.items() if not is_interruptible(one.frame)}
        return any(one.bars for number, one in given.items() if number not in self._given)

    def silent_from(self, at: float) -> None:
        """The sound in front of all of it is over at a moment, at the latest: some was dropped."""
        self._given = {n: replace(one, since=min(one.since, at)) for n, one in self._given.items()}

    # --- inside ------------------------------------------------------------------------

    def _until(self, given: _Given, now: float) -> float:
        """When a frame is not waited for any more: not while those before it still come out."""
        order, at = self._got_to
        until = max(given.until, at + THROUGH_SECS) if order < given.order else given.until
        delay_secs = self._delayed_secs - given.delayed_secs
        if self._delayed_since is not None:
            delay_secs += now - self._delayed_since
        return until + min(delay_secs, URGENT_SECS)

    def _forget_old(self, now: float) -> None:
        for number, given in tuple(self._given.items()):
            if self._until(given, now) <= now:
                del self._given[number]
                # A transport that hangs does not tell who keeps what.
                if not given.bars and self._delayed_since is None:
                    self._kept.add(type(given.frame))
