"""What was to sound, put beside what is heard. Pure.

Confirmed messages are laid on the clock as if there was no latency, what is heard of the
avatar's microphone as it arrives. The beginning of an utterance is a *passage*: when enough was
heard it is judged, and the latency follows. An ear costs something, so it is wanted until the
latency is settled, and seldom afterwards.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

from pipecat_agenthuman.playout.envelopes import HeardSound, LaidSound
from pipecat_agenthuman.playout.latency import Latency, LatencyEstimator, LatencySource, Reading
from pipecat_agenthuman.playout.passages import (
    Judgement,
    Passage,
    Stop,
    Verdict,
    is_silent,
    judge,
    went_on,
)
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_secs

RARELY: Final = 20
"""Once the latency is settled, one utterance in so many is listened to."""

LATE_SECS: Final = 0.15
"""How much later than it sounded the last of a passage may arrive."""

REMEMBERED_SECS: Final = 20.0
"""How much is remembered of both: several times of what is compared."""

STOP_HEARD_SECS: Final = 10.0
"""How much of what was interrupted is listened for. A lead without a limit may be minutes, and
much of it would be forgotten before the last of it could be heard."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What listening to the beginning of an utterance told.

    Attributes:
        at: When that was confirmed.
        verdict: What came of it.
        reading: Its latency, if it was found.
        heard_after_secs: How long after its confirmation something was heard first.
        silent_in_a_row: How many utterances did not sound since anything was heard, this one
            included.
        changed: Whether the latency is another than before.
    """

    at: float
    verdict: Verdict
    reading: Reading | None
    heard_after_secs: float | None
    silent_in_a_row: int
    changed: bool


@dataclass(frozen=True, slots=True)
class WentOn:
    """Speech was heard long after the interrupt that should have ended it was confirmed.

    Attributes:
        confirmed_at: When that was.
    """

    confirmed_at: float


@dataclass(frozen=True, slots=True)
class Obeyed:
    """Nothing was heard any more after an interrupt that ended speech was confirmed.

    Attributes:
        confirmed_at: When that was.
    """

    confirmed_at: float


class Hearing:
    """Listens to the avatar, when an ear is open.

    What was to sound is told by the playout: ``confirmed``, ``cut``, ``stopped``, ``forget``.
    What is heard, by whoever has an ear in the room: ``open``, ``hear``, ``close``. All times
    are seconds on one monotonic clock.
    """

    def __init__(self) -> None:
        """Nothing was heard yet, and nothing was to sound."""
        self._estimator = LatencyEstimator()
        self._expected = LaidSound()
        self._heard = HeardSound(REMEMBERED_SECS)
        self._open = False
        self._ends_at = -math.inf  # of what was to sound
        self._known_from = -math.inf  # from when on it is known what was to sound
        self._passages: deque[Passage] = deque()
        self._stops: deque[Stop] = deque()
        self._keen = True
        self._passed_by = 0  # utterances to which nobody listened
        self._silent_in_a_row = 0
        self._silent_until = -math.inf  # up to when nothing was heard

    # --- asking ------------------------------------------------------------------------

    @property
    def latency(self) -> Latency:
        """From a confirmation to the sound in the room, as far as is known."""
        return self._estimator.latency

    @property
    def wants_ear(self) -> bool:
        """Whether somebody should listen now, or from the next utterance on."""
        return self._keen or bool(self._passages) or bool(self._stops)

    @property
    def next_due(self) -> float | None:
        """When ``poll`` has something to judge, if nothing else happens."""
        moments = [passage.heard_until for passage in self._passages]
        moments += [stop.heard_until(self.latency.secs) for stop in self._stops]
        return min(moments) + LATE_SECS if moments else None

    def poll(self, now: float) -> Finding | WentOn | Obeyed | None:
        """Judge the next passage, or the next interruption, of which all was heard by now.

        Args:
            now: The time.

        Returns:
            What it told; None if there is none to judge, or nothing can be told.
        """
        if self._passages and self._passages[0].heard_until + LATE_SECS <= now:
            passage = self._passages.popleft()
            return self._find(passage, judge(passage, self._expected, self._heard), now)
        while self._stops and self._stops[0].heard_until(self.latency.secs) + LATE_SECS <= now:
            stop, latency = self._stops.popleft(), self.latency
            is_heard = latency.source is LatencySource.HEARD
            if not is_heard or stop.confirmed_at is None:
                continue
            match went_on(stop, self._heard, latency.secs):
                case True:
                    return WentOn(stop.confirmed_at)
                case False:
                    return Obeyed(stop.confirmed_at)
                case None:
                    pass
        return None

    # --- what was to sound -------------------------------------------------------------

    def confirmed(self, audio: bytes, at: float, *, begins: bool) -> None:
        """A message was confirmed: it sounds a latency later, or behind the one before it.

        Args:
            audio: PCM at 16 kHz, mono.
            at: When it was confirmed.
            begins: Whether an utterance begins in it.
        """
        starts_at = max(at, self._ends_at)
        self._ends_at = starts_at + to_secs(len(audio) // BYTES_PER_SAMPLE)
        if not self._open:
            self._known_from = self._ends_at
            self._pass_by(begins)
            return
        for stop in self._stops:
            stop.listens_until = min(stop.listens_until, at)
        self._expected.lay(audio, starts_at)
        self._expected.forget(at - REMEMBERED_SECS)
        last = self._passages[-1] if self._passages else None
        if last is not None and last.cut_at is None and starts_at < last.closes_at:
            last.ends_at = self._ends_at
        elif not self._keen:
            self._pass_by(begins)
        elif begins:
            self._passed_by = 0
            self._passages.append(Passage(starts_at, self._ends_at, self._known_from))

    def cut(self, at: float) -> None:
        """The avatar was told to stop: nothing of what was to sound sounds after this."""
        was_to_end_at, self._ends_at = self._ends_at, -math.inf
        if not self._open:
            return
        for passage in self._passages:
            if passage.cut_at is None:
                passage.cut_at = min(at, passage.heard_until)
        before = self._expected.cut(at)
        self._known_from = at  # What was laid a latency before it did not sound, either.
        if was_to_end_at > at and self.wants_ear:
            self._stops.append(Stop(before, min(was_to_end_at, at + STOP_HEARD_SECS)))

    def stopped(self, at: float) -> None:
        """The avatar confirmed that it was told to stop."""
        for stop in self._stops:
            if stop.confirmed_at is None:
                stop.confirmed_at = at

    def forget(self) -> None:
        """The avatar is gone, and with it what was to sound."""
        self._ends_at = -math.inf
        self._passages.clear()
        self._stops.clear()
        self._expected.clear()

    # --- what is heard -----------------------------------------------------------------

    def open(self, now: float) -> None:
        """Somebody listens from now on. Idempotent.

        Args:
            now: The time.
        """
        if self._open:
            return
        self._open = True
        self._silent_until = now

    def hear(self, audio: bytes, sample_rate: int, at: float) -> None:
        """Take a piece of what is heard of the avatar.

        Args:
            audio: Mono PCM.
            sample_rate: Its rate, at least 8000.
            at: When its last sample arrived; late is harmless, early is not.
        """
        if self._open:
            self._heard.hear(audio, sample_rate, at)

    def close(self) -> None:
        """Nobody listens any more; what waited to be judged is not. Idempotent."""
        if not self._open:
            return
        self._open = False
        self._known_from = self._ends_at
        self._passages.clear()
        self._stops.clear()
        self._expected.clear()
        self._heard.clear()

    def begin_anew(self) -> None:
        """Another avatar speaks, or one elsewhere: listen to its next utterances.

        The value stays until they tell another.
        """
        self._keen = True

    # --- inside ------------------------------------------------------------------------

    def _pass_by(self, begins: bool) -> None:
        """Nobody listens to a message; after enough of them, to the next utterance."""
        self._passed_by += begins
        self._keen = self._keen or self._passed_by >= RARELY - 1

    def _find(self, passage: Passage, judgement: Judgement, now: float) -> Finding:
        before = self.latency
        if judgement.reading is not None:
            self._estimator.add(judgement.reading)
        match judgement.verdict:
            case Verdict.MEASURED:
                self._keen = not self._estimator.settled
            case Verdict.UNSURE:
                self._keen = self._keen and not self._estimator.settled
            case Verdict.SILENT | Verdict.UNJUDGED:
                pass  # The next one is to tell.
        self._count_silence(judgement.verdict, now)
        return Finding(
            passage.starts_at,
            judgement.verdict,
            judgement.reading,
            judgement.heard_after_secs,
            self._silent_in_a_row,
            changed=self.latency.secs != before.secs,
        )

    def _count_silence(self, verdict: Verdict, now: float) -> None:
        """Count what was not heard; anything that was heard ends the count."""
        since = max(self._silent_until, now - REMEMBERED_SECS)
        self._silent_until = now
        if verdict is not Verdict.SILENT:
            if verdict is not Verdict.UNJUDGED:
                self._silent_in_a_row = 0
            return
        if not is_silent(self._heard.envelope(since, now)):
            self._silent_in_a_row = 0
        self._silent_in_a_row += 1
