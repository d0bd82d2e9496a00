"""When the transport was busy with what is no speech, and what has to wait for that."""

from __future__ import annotations

import math
from functools import cached_property

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.evidence import Evidence, Heard, merged
from tests.support.fuzz.oracle.tolerances import PASS_SECS, READING_SECS
from tests.support.fuzz.script import Mark, Message, Sound, Tone


class BusyTransport(Evidence):
    """What was heard and seen in a call, and when the transport was busy."""

    @cached_property
    def held_up(self) -> list[tuple[float, float]]:
        """When the transport was busy with frames that came amid speech."""
        return [
            span
            for step, span in self.call.busy_with.items()
            if isinstance(step, Message | Mark) and step.amid
        ]

    @cached_property
    def occupied(self) -> list[tuple[float, float]]:
        """When the transport was busy with each thing that is no speech."""
        sounds = [one for one in self.heard if isinstance(self.step_of_word[one.cell.word], Sound)]
        pieces = [(one.at, self._piece_end(one)) for one in sounds]
        return [*self.call.busy, *self.call.busy_with.values(), *pieces]

    def was_cut_amid(self, step: Mark) -> bool:
        """Whether the transport gave a slow frame up before its time, at an interruption."""
        begun, until = self.call.busy_with.get(step, (0.0, math.inf))
        at_cut = any(abs(until - cut) <= PASS_SECS for cut in self.interruptions)
        return at_cut and until - begun < step.secs - PASS_SECS

    def busy_about(self, due: float) -> tuple[float, float]:
        """From when to when the transport was busy without a pause when something was to come.

        One that plays something begins nothing else before its piece of that is over.
        """
        by = self._piece_under_way(due + self.slack_secs) + READING_SECS
        spans = merged(self.occupied)
        return max((span for span in spans if span[0] <= by), default=(-math.inf, -math.inf))

    @cached_property
    def barred_at(self) -> list[float]:
        """When tones and sounds came: speech behind one waits until that is over."""
        bars = (self.gate_of.get(step) for step in self.steps if isinstance(step, Tone | Sound))
        return [seen[0].at for seen in bars if seen]

    def _piece_end(self, one: Heard) -> float:
        """When the transport's piece is over in which something sounds last: it is never cut."""
        piece_secs = self.setup.chunks / 100
        begun = max(at for at, _ in self.call.transport_pcm if at <= one.at + PASS_SECS)
        return begun + math.ceil((one.until - begun - PASS_SECS) / piece_secs) * piece_secs

    def _piece_under_way(self, at: float) -> float:
        """When the piece is over that the transport plays at a moment; then, if it plays none."""
        rate = self.setup.out_rate
        pieces = ((begun, begun + len(pcm) / rate) for begun, pcm in self.call.transport_pcm)
        return next((over for begun, over in pieces if begun <= at < over), at)

    def let_out_at(self, at: float) -> float:
        """When what is due at a moment comes out: a slow frame amid speech comes before it."""
        spans = ((begun - PASS_SECS, until) for begun, until in self.held_up)
        return max((until for begun, until in spans if begun <= at < until), default=at)

    def passed_at(self, at: float) -> float:
        """When the last slow frame or tone before a moment was through: what follows is as late."""
        spans = [*self.held_up, *self.call.busy]
        return max((until for _, until in spans if until <= at + PASS_SECS), default=-math.inf)

    def shares_piece(self, one: Heard) -> bool:
        """Whether it may be in one piece with the end of an uninterruptible sound.

        Then it is played: a transport keeps what does not fill a piece for the next sound.
        """
        sound = self.step_of_word[one.cell.word]
        is_first = one.cell.index * tones.CELL_SECS < self.setup.chunks / 100
        if one.by_avatar or not isinstance(sound, Sound) or not is_first:
            return False
        came_at = self.gate_of[sound][0].at
        sounds = [step for step in self.gate_of if isinstance(step, Sound) and step is not sound]
        before = [step for step in sounds if self.gate_of[step][0].at <= came_at]
        return bool(before) and before[-1].kept
