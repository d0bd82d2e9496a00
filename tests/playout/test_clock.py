"""When audio sounds whose neighbours were dropped. Time is handed in."""

from __future__ import annotations

import pytest

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.tape import Kind, Relaid, Tape

PIECE = 640  # samples, 40 ms
CUT, KEPT, REFUSED = Kind.INTERRUPTIBLE, Kind.UNINTERRUPTIBLE, Kind.STRUCK


def follow(kinds: list[Kind], now: float) -> tuple[PlayoutClock, Relaid]:
    """A clock with pieces of 40 ms, the first at 0, when an interruption comes."""
    tape, clock = Tape(), PlayoutClock()
    for number, kind in enumerate(kinds):
        start, end = number * PIECE, (number + 1) * PIECE
        tape.append(bytes(2 * PIECE), kind)
        if kind is REFUSED:
            tape.strike(start, end)
            clock.skip(end, 0.0)
        else:
            clock.confirm(end, 0.0)
    relaid = tape.drop_interruptible(clock.heard(now), keep_before=True)
    clock.follow(relaid, now)
    return clock, relaid


@pytest.mark.parametrize(
    ("kinds", "now", "starts_at", "ends_at"),
    [
        pytest.param([KEPT, CUT, KEPT], 0.02, 0.04, 0.08, id="behind what sounds"),
        pytest.param([CUT, KEPT], 0.02, 0.04, 0.08, id="behind what is cut and played to its end"),
        pytest.param([CUT, CUT, CUT, KEPT], 0.02, 0.04, 0.08, id="behind more that is cut"),
        pytest.param([KEPT, CUT, KEPT, CUT, KEPT], 0.02, 0.08, 0.12, id="behind two that are cut"),
        pytest.param([KEPT, REFUSED, CUT, KEPT], 0.02, 0.04, 0.08, id="behind what was refused"),
        pytest.param([KEPT, KEPT, CUT], 0.02, 0.04, 0.08, id="before what is cut"),
        pytest.param([KEPT, CUT], 0.05, None, 0.05, id="nothing is left"),
    ],
)
def test_what_is_kept_follows_what_sounds_without_a_break(kinds, now, starts_at, ends_at):
    clock, relaid = follow(kinds, now)
    last = max((end for start, end in relaid.kept), default=None)
    if starts_at is None:
        assert last is None
    else:
        assert last is not None
        position = relaid.moved(last) - PIECE
        assert clock.start_time(position) == pytest.approx(starts_at)
        assert clock.end == relaid.moved(last)
    assert clock.ends_at == pytest.approx(ends_at)


def test_what_follows_what_was_kept_sounds_behind_it():
    clock, _ = follow([KEPT, CUT, KEPT], 0.02)
    clock.confirm(clock.end + PIECE, 0.02)
    assert clock.start_time(clock.end - PIECE) == pytest.approx(0.08)


def test_what_was_heard_of_what_is_cut_stays_heard():
    clock, _ = follow([CUT, KEPT], 0.02)
    assert clock.heard(0.03) == PIECE // 2
    assert clock.heard(0.05) == PIECE // 2 + PIECE // 4
