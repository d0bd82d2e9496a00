"""How a call ends, and what it leaves behind."""

from __future__ import annotations

from collections.abc import Iterator

from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import (
    END_SECS,
    HELD_SECS,
)


def end(known: Circumstances) -> Iterator[Finding]:
    ended_at = known.call.ended_at
    if ended_at is None:
        yield Finding("never ends", "pipeline")
        return
    last = max([one.until for one in known.heard], default=0.0)
    busy = max([until for _, until in known.call.busy], default=0.0)
    asked_at = min(known.end_at, known.cancelled_at)
    limit = max(asked_at, last, busy) + END_SECS + known.delay_secs
    if ended_at > limit:
        yield Finding("ends late", "pipeline", f"{ended_at - limit + END_SECS:.1f} s")


def leftovers(known: Circumstances) -> Iterator[Finding]:
    call = known.call
    for task in call.tasks:
        yield Finding("task left", task.split(":")[0], task)
    for complaint in call.complaints:
        yield Finding("log", complaint[:50], complaint[:300])
    if call.plain:
        return
    if call.most_sessions > 1:
        yield Finding("two sessions", str(call.most_sessions))
    for session in call.sessions:
        if session.status != "ended":
            yield Finding("session left", session.status, f"end requests: {session.end_requests}")
    stats = call.stats
    gone = stats.heard_secs + stats.dropped_secs + stats.rejected_secs + stats.fallback_secs
    allowed = 0.06 + HELD_SECS * len(known.interruptions)
    if abs(stats.taken_secs - gone) > allowed and call.ended_at is not None:
        yield Finding("books", "stats", f"taken {stats.taken_secs:.3f}, accounted {gone:.3f}")
