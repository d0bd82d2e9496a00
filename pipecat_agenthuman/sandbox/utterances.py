"""What was said, told by the utterance and not by the message. Pure.

The protocol knows no utterances; what sounds without a real pause is taken for one. Time is
an argument everywhere, in seconds on the sandbox's clock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

PAUSE_SECS = 0.5
"""A shorter silence is a gap in an utterance, a longer one its end."""

_GAP_SECS = 0.5 / WIRE_SAMPLE_RATE
"""Less is a clock's rounding."""

KEPT_UTTERANCES = 100


class UtteranceState(StrEnum):
    """How an utterance stands."""

    SPEAKING = "speaking"
    HEARD = "heard"
    INTERRUPTED = "interrupted"
    LOST = "lost"


@dataclass(frozen=True)
class Stutter:
    """A silence in the midst of an utterance.

    Attributes:
        at: When it began.
        duration_secs: How long it lasted.
    """

    at: float
    duration_secs: float


@dataclass(frozen=True)
class Utterance:
    """What sounds without a pause.

    Attributes:
        session_id: Whose it is.
        number: Counts the session's utterances, from 1.
        state: How it stands; "lost" is one of which nothing was heard.
        starts_at: When its first sample sounds.
        ends_at: When its last sample sounds, as far as is known, or when it was cut.
        first_sent_at: When its first message came.
        messages: How many messages it came in.
        sent_samples: How much of it came.
        heard_samples: How much of it was heard; 0 until it is over.
        lead_min_secs: By how much the message came in time that came closest to being late;
            None if it came in one.
        gaps: Where it fell silent because the next message came late.
    """

    session_id: str
    number: int
    state: UtteranceState
    starts_at: float
    ends_at: float
    first_sent_at: float
    messages: int = 1
    sent_samples: int = 0
    heard_samples: int = 0
    lead_min_secs: float | None = None
    gaps: tuple[Stutter, ...] = field(default=())

    @property
    def is_over(self) -> bool:
        """Whether nothing more belongs to it."""
        return self.state is not UtteranceState.SPEAKING

    @property
    def summary(self) -> str:
        """It in a line, for example "5.2 s heard of 6.9 s, interrupted"."""
        sent = f"{_secs(self.sent_samples):.1f} s"
        if not self.is_over:
            return f"{sent} so far"
        heard = f"{_secs(self.heard_samples):.1f} s"
        whole = self.heard_samples == self.sent_samples
        line = f"{heard} heard" if whole else f"{heard} heard of {sent}"
        if self.state is UtteranceState.INTERRUPTED:
            line += ", interrupted"
        elif not whole:
            line += ", while the avatar was not in the room"
        if self.gaps:
            lost_ms = 1000 * sum(gap.duration_secs for gap in self.gaps)
            gaps = "a gap" if len(self.gaps) == 1 else f"{len(self.gaps)} gaps"
            line += f", with {gaps} of {lost_ms:.0f} ms"
        return line


class Utterances:
    """The latest utterances of all sessions."""

    def __init__(
        self,
        *,
        heard_samples: Callable[[str, float, float], int],
        changed: Callable[[Utterance], None],
    ) -> None:
        """Begin to listen.

        Args:
            heard_samples: Counts what was heard of a session from one time to another.
            changed: Is told of every utterance that begins, grows or is over.
        """
        self._heard_samples = heard_samples
        self._changed = changed
        self._going_on: dict[str, Utterance] = {}
        self._counts: dict[str, int] = {}
        self._over: list[Utterance] = []

    def latest(self) -> list[Utterance]:
        """Return the latest ones, oldest first; those that go on come last."""
        return [*self._over, *self._going_on.values()]

    def queued(
        self, session_id: str, samples: int, starts_at: float, *, now: float, lead_secs: float
    ) -> None:
        """Take note of speech that will sound.

        Args:
            session_id: Whose.
            samples: How much, at 16 kHz.
            starts_at: When the first of it sounds.
            now: When it came.
            lead_secs: How much later it could have come without a silence before it.
        """
        before = self._going_on.get(session_id)
        if before is not None and starts_at > before.ends_at + PAUSE_SECS:
            self._finish(before, UtteranceState.HEARD)
            before = None
        ends_at = starts_at + _secs(samples)
        if before is None:
            number = self._counts[session_id] = self._counts.get(session_id, 0) + 1
            grown = Utterance(
                session_id,
                number,
                UtteranceState.SPEAKING,
                starts_at,
                ends_at,
                first_sent_at=now,
                sent_samples=samples,
            )
        else:
            gap_secs = starts_at - before.ends_at
            gaps = (Stutter(before.ends_at, gap_secs),) if gap_secs > _GAP_SECS else ()
            least = before.lead_min_secs
            grown = replace(
                before,
                ends_at=ends_at,
                messages=before.messages + 1,
                sent_samples=before.sent_samples + samples,
                lead_min_secs=lead_secs if least is None else min(least, lead_secs),
                gaps=before.gaps + gaps,
            )
        self._going_on[session_id] = grown
        self._changed(grown)

    def cut(self, session_id: str, at: float) -> None:
        """Take note that a session's avatar fell silent."""
        utterance = self._going_on.get(session_id)
        if utterance is None:
            return
        if at >= utterance.ends_at:
            self._finish(utterance, UtteranceState.HEARD)
        else:
            ended = replace(utterance, ends_at=max(at, utterance.starts_at))
            self._finish(ended, UtteranceState.INTERRUPTED)

    def settle(self, now: float) -> float | None:
        """Find those that are over.

        Args:
            now: The time.

        Returns:
            When to ask again; None if nobody speaks.
        """
        for utterance in list(self._going_on.values()):
            if now >= utterance.ends_at + PAUSE_SECS:
                self._finish(utterance, UtteranceState.HEARD)
        ends = [utterance.ends_at for utterance in self._going_on.values()]
        return min(ends) + PAUSE_SECS if ends else None

    def _finish(self, utterance: Utterance, state: UtteranceState) -> None:
        del self._going_on[utterance.session_id]
        heard = self._heard_samples(utterance.session_id, utterance.starts_at, utterance.ends_at)
        if state is UtteranceState.HEARD and not heard:
            state = UtteranceState.LOST
        finished = replace(utterance, state=state, heard_samples=heard)
        self._over.append(finished)
        del self._over[:-KEPT_UTTERANCES]
        self._changed(finished)


def describe_utterance(utterance: Utterance, since: float) -> dict[str, object]:
    """Return an utterance as JSON values.

    Args:
        utterance: The utterance.
        since: When the sandbox started; times are given relative to it.
    """
    lead_secs = utterance.lead_min_secs
    unheard = utterance.sent_samples - utterance.heard_samples
    return {
        "session_id": utterance.session_id,
        "number": utterance.number,
        "state": utterance.state,
        "starts_at_secs": round(utterance.starts_at - since, 6),
        "ends_at_secs": round(utterance.ends_at - since, 6),
        "first_sent_at_secs": round(utterance.first_sent_at - since, 6),
        "messages": utterance.messages,
        "sent_secs": round(_secs(utterance.sent_samples), 6),
        "heard_secs": round(_secs(utterance.heard_samples), 6),
        "dropped_secs": round(_secs(unheard), 6) if utterance.is_over else 0.0,
        "lead_min_secs": None if lead_secs is None else round(lead_secs, 6),
        "gaps": [
            {"at_secs": round(gap.at - since, 6), "duration_secs": round(gap.duration_secs, 6)}
            for gap in utterance.gaps
        ],
        "summary": utterance.summary,
    }


def _secs(samples: int) -> float:
    return samples / WIRE_SAMPLE_RATE
