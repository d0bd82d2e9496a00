"""When confirmed audio sounds in the room, and how much of it was heard. Pure.

Time is an argument everywhere, in seconds on one clock; it must not go backwards from call
to call. The rules are the service's as far as they are known: audio that is confirmed at
``t`` sounds from ``t`` plus the render latency or, if later, when what is queued has ended;
an interruption and the end of the session silence the avatar at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np

from pipecat_agenthuman.sandbox.sound import Heard, Samples, Segment, joined
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

BeforeJoin = Literal["lost", "held"]
"""What becomes of words that are due while the avatar is not in the room yet."""

_ROUNDING_SAMPLES: Final = 1e-3
"""Far more than a clock's rounding (1e-5 samples after a year), far less than a sample."""


@dataclass
class _Run:
    """Messages that sound without a break between them."""

    starts_at: float
    pieces: list[Samples] = field(default_factory=list[Samples])
    samples: int = 0

    @property
    def ends_at(self) -> float:
        return self.starts_at + self.samples / WIRE_SAMPLE_RATE

    def add(self, audio: Samples) -> None:
        self.pieces.append(audio)
        self.samples += len(audio)

    def sounded(self, until: float) -> int:
        """Count the samples that have sounded completely until then."""
        elapsed = (until - self.starts_at) * WIRE_SAMPLE_RATE
        if elapsed >= self.samples:  # also keeps infinity away from floor()
            return self.samples
        return max(0, math.floor(elapsed + _ROUNDING_SAMPLES))

    def part(self, first: int, last: int) -> Iterator[tuple[int, Samples]]:
        """Find what lies between two of its samples, in pieces, each with its place."""
        start = 0
        for piece in self.pieces:
            lo, hi = max(first - start, 0), min(last - start, len(piece))
            if lo < hi:
                yield start + lo, piece[lo:hi]
            start += len(piece)

    def cut(self, samples: int) -> None:
        """Keep only the beginning."""
        audio = np.concatenate(self.pieces)[:samples]
        self.pieces, self.samples = [audio], len(audio)


class Playback:
    """The sound of one avatar: what is queued, what sounds, what was heard.

    Attributes:
        render_latency_secs: From a confirmation to its sound in the room; what was confirmed before
            a change keeps its place.
        joins_at: When the avatar joins the room; infinity for never.
    """

    def __init__(
        self,
        *,
        render_latency_secs: float,
        joins_at: float = -math.inf,
        before_join: BeforeJoin = "lost",
    ) -> None:
        """Create a silent avatar.

        Args:
            render_latency_secs: From a confirmation to its sound in the room, in seconds.
            joins_at: When the avatar joins the room; infinity for never.
            before_join: Whether words that are due before that are "lost" (the avatar speaks,
                nobody hears it) or "held" until then.
        """
        self.render_latency_secs = render_latency_secs
        self.joins_at = joins_at
        self._before_join: BeforeJoin = before_join
        self._absences: list[tuple[float, float]] = []
        self._runs: list[_Run] = []

    def confirm(self, audio: Samples, at: float) -> float:
        """Queue audio whose confirmation is sent at ``at``.

        Args:
            audio: Samples at 16 kHz.
            at: The time of the confirmation.

        Returns:
            When its first sample sounds.
        """
        due = at + self.render_latency_secs
        if self._before_join == "held":
            due = max(due, self.joins_at)
        last = self._runs[-1] if self._runs else None
        if last is not None and due <= last.ends_at:
            due = last.ends_at
        else:
            last = _Run(starts_at=due)
            self._runs.append(last)
        last.add(audio)
        return due

    def interrupt(self, at: float) -> int:
        """Silence the avatar at once and forget what is queued.

        Args:
            at: The moment of the cut.

        Returns:
            Number of samples that will never sound.
        """
        dropped = 0
        while self._runs and self._runs[-1].ends_at > at:
            run = self._runs[-1]
            sounded = run.sounded(at)
            dropped += run.samples - sounded
            if sounded:
                run.cut(sounded)
                break
            self._runs.pop()
        return dropped

    def leave(self, at: float) -> None:
        """Take the avatar out of the room: it goes on speaking, and nothing is heard of it."""
        if not self._absences or self._absences[-1][1] < math.inf:
            self._absences.append((at, math.inf))

    def come_back(self, at: float) -> None:
        """Let the avatar into the room again: what it says from then on is heard."""
        if self._absences and self._absences[-1][1] == math.inf:
            self._absences[-1] = (self._absences[-1][0], at)

    def lead_secs(self, starts_at: float, at: float) -> float:
        """Return by how much audio confirmed at ``at``, which sounds at ``starts_at``, came early.

        Until then it could have been confirmed without a silence before it.
        """
        return max(0.0, starts_at - (at + self.render_latency_secs))

    def forget(self) -> None:
        """Forget all sound, heard and queued."""
        self._runs.clear()

    @property
    def samples(self) -> int:
        """Number of samples that are kept, heard and queued."""
        return sum(run.samples for run in self._runs)

    @property
    def quiet_at(self) -> float:
        """When the last queued sample has sounded; minus infinity if there never was one."""
        return self._runs[-1].ends_at if self._runs else -math.inf

    def heard_samples(self, now: float, since: float = -math.inf) -> int:
        """Count the samples heard until ``now``, those heard before ``since`` left out."""
        count = 0
        for run in reversed(self._runs):
            if run.ends_at <= since:
                break
            count += sum(last - first for first, last in self._audible(run, now))
            if run.starts_at < since:
                count -= sum(last - first for first, last in self._audible(run, since))
        return count

    def heard(self, now: float) -> Heard:
        """Return what a listener in the room has heard until ``now``, to the sample.

        Args:
            now: The moment asked for.

        Returns:
            The sound and when it sounded.
        """
        return joined(
            self._heard(run, first, last)
            for run in self._runs
            for first, last in self._audible(run, now)
        )

    def between(self, first: float, last: float) -> Samples:
        """Return what a listener in the room hears between two moments, silence included.

        Args:
            first: The one moment.
            last: The other; what is queued now counts as far as it is to sound by then.

        Returns:
            As many samples as last from the one to the other.
        """
        sound = np.zeros(round((last - first) * WIRE_SAMPLE_RATE), dtype=np.int16)
        for run in self._runs:
            if run.ends_at <= first:
                continue
            place = round((run.starts_at - first) * WIRE_SAMPLE_RATE)
            # A sample that lies across the edge belongs to the one side or the other.
            for begins, ends in self._audible(run, last + 1 / WIRE_SAMPLE_RATE):
                ends = min(ends, len(sound) - place)
                for at, piece in run.part(max(begins, -place), ends):
                    sound[place + at : place + at + len(piece)] = piece
        return sound

    def _heard(self, run: _Run, first: int, last: int) -> Heard:
        starts_at = run.starts_at + first / WIRE_SAMPLE_RATE
        audio = np.concatenate(run.pieces)[first:last]
        return Heard(audio, (Segment(starts_at, 0, last - first),))

    def _audible(self, run: _Run, now: float) -> Iterator[tuple[int, int]]:
        """Find the parts of a run, as sample indices, that were heard until ``now``."""
        here_from = self.joins_at
        for left_at, back_at in (*self._absences, (math.inf, math.inf)):
            last = run.sounded(min(now, left_at))
            missed = (here_from - run.starts_at) * WIRE_SAMPLE_RATE
            if missed < last:
                first = math.ceil(max(0.0, missed - _ROUNDING_SAMPLES))
                if first < last:
                    yield first, last
            here_from = max(here_from, back_at)
