"""One fixed call, and every event at every 20 ms of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from tests.support.fuzz.script import (
    Break,
    End,
    Expire,
    Halt,
    Interrupt,
    Leave,
    Lose,
    Mark,
    Message,
    Passer,
    Say,
    Script,
    Setup,
    Sound,
    Step,
    Tone,
    Update,
)

STEP_MS = 20
_LAST_MS = 2600
_ENDS_AT = 4.0
_RATE = 24_000

EVENTS: dict[str, Callable[[float], Step]] = {
    "an interruption": lambda at: Interrupt(at),
    "an interruption from the end": lambda at: Interrupt(at, up=True),
    "a close": lambda at: Lose(at),
    "a reset": lambda at: Lose(at, abort=True),
    "an expiration": lambda at: Expire(at),
    "a server that falls silent": lambda at: Break(at, on="agent.speak", kind="silent"),
    "a slow server": lambda at: Break(at, on="agent.speak", kind="delay", delay_secs=0.5),
    "a refused piece": lambda at: Break(at, on="agent.speak", kind="error"),
    "the avatar leaves": lambda at: Leave(at),
    "the end": lambda at: End(at),
    "the cancelling": lambda at: End(at, cancel=True),
    "a sound": lambda at: Sound(at, (90, 10), _RATE),
    "a tone": lambda at: Tone(at),
    "a slow message": lambda at: Message(at, secs=0.2),
    "a slow frame": lambda at: Mark(at, secs=0.2),
    "another avatar": lambda at: Update(at, avatar="avat_2"),
    "another lead": lambda at: Update(at, max_lead_secs=1.0),
    "a stop frame": lambda at: Halt(at),
    "frames that pass": lambda at: Passer(at, up=True),
}

_WORDS = ((0, 6), (1, 9), (2, 11), (3, 4), (4, 10))
_MORE_WORDS = ((5, 8), (6, 11), (7, 5))

CALLS: dict[str, tuple[Step, ...]] = {
    "words at once": (
        Say(0.1, _WORDS, _RATE, context="a"),
        Say(1.3, _MORE_WORDS, _RATE, context="b"),
    ),
    "a sentence as it sounds": (
        Say(0.1, _WORDS, _RATE, delivery="real time", texts="sentence", context="a"),
        Say(1.3, _MORE_WORDS, _RATE, delivery="real time", texts="sentence", context="b"),
    ),
    "uninterruptible, then not": (
        Say(0.1, _WORDS, 16_000, context="a", kept=True),
        Say(0.2, _MORE_WORDS, 16_000, context="b"),
    ),
}


def sweep(call: str, event: str, *, every_ms: int = STEP_MS, from_ms: int = 0) -> Iterator[Script]:
    """Play an event into a call, at one moment after the other.

    Args:
        call: One of ``CALLS``.
        event: One of ``EVENTS``.
        every_ms: How far the moments lie apart.
        from_ms: The first one.
    """
    setup = Setup(announced=event == "the avatar leaves", round_trip_secs=0.02)
    for at_ms in range(from_ms, _LAST_MS, every_ms):
        step = EVENTS[event](at_ms / 1000)
        if isinstance(step, End):
            steps = [one for one in CALLS[call] if one.at <= step.at]
        else:
            steps = [*CALLS[call], End(_ENDS_AT)]
        if isinstance(step, Sound):
            # Words are numbered in the order in which they are to be heard.
            number = 90 if step.at >= CALLS[call][-1].at else 5
            steps = [_renumbered(one, 10) if one.at > step.at else one for one in steps]
            step = replace(step, word=(number, 10))
        yield Script(0, setup, tuple(sorted([*steps, step], key=lambda one: one.at)))


def _renumbered(step: Step, by: int) -> Step:
    if not isinstance(step, Say):
        return step
    return replace(step, words=tuple((number + by, cells) for number, cells in step.words))
