"""Counts and memory, in virtual time: the machine and its business do not matter.

A whole call, network and service included, runs in one event loop whose clock jumps ahead
(``tests/support/virtual_time.py``); hours take a minute.
"""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from typing import Any

from pipecat.processors.frame_processor import FrameProcessor

from benchmarks.measures.measure import PEERS, Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, Bot, Stage, stage_of
from benchmarks.stage.breakage import CHATTY, LEAKING, Breakage
from benchmarks.stage.far_end import far_end_here
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import IDENTITY, OURS
from tests.support import virtual_time
from tests.support.sounds import noise
from tests.support.waiting import undisturbed

_UTTERANCE_SECS = 6.0
_TURN_SECS = 10.0
"""Of a conversation: six seconds of speech, and four of listening."""


async def _elsewhere(what: str, stage: Stage, **options: Any) -> Samples:
    """Run it in a process of its own: virtual time is not to be had inside of an event loop."""
    broken = stage.broken is not None
    wish = {"what": what, "subject": stage.subject.name, "broken": broken, "options": options}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", __name__, json.dumps(wish)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    return json.loads(done.stdout.splitlines()[-1])


async def counts(stage: Stage, speed: float, round_trip_secs: float) -> Samples:
    """What an utterance takes, counted."""
    return await _elsewhere("counts", stage, speed=speed, round_trip_secs=round_trip_secs)


async def memory(stage: Stage, hours: float) -> Samples:
    """What is left of a long call."""
    return await _elsewhere("memory", stage, hours=hours)


# --- in virtual time -----------------------------------------------------------------------


class _Turns:
    """Counts turns of the event loop."""

    def __init__(self) -> None:
        loop: Any = asyncio.get_running_loop()
        self.count = 0
        self._select = loop._selector.select
        loop._selector.select = self._counting

    def _counting(self, timeout: float | None = None) -> Any:
        self.count += 1
        return self._select(timeout)


class _Pushes:
    """Counts frames that any processor pushes."""

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> _Pushes:
        self._push = push = FrameProcessor.push_frame

        async def counting(processor: FrameProcessor, *pushed: Any, **more: Any) -> None:
            self.count += 1
            await push(processor, *pushed, **more)

        FrameProcessor.push_frame = counting  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        FrameProcessor.push_frame = self._push  # type: ignore[method-assign]


async def _count(bot: Bot, speed: float) -> Samples:
    pieces = noise(_UTTERANCE_SECS, rate=RATE, frame_secs=0.02)
    await bot.say(pieces[:25], speed=1.0)
    await asyncio.sleep(3.0)
    bot.wire.clear()
    turns = _Turns()
    with _Pushes() as pushes:
        await bot.say(pieces, speed=speed, words=True)
        await asyncio.sleep(_UTTERANCE_SECS + 1.0)
    return {
        "messages": [float(len(bot.wire.sent))],
        "turns": [float(turns.count)],
        "frames": [float(pushes.count)],
    }


async def _talk(bot: Bot, hours: float) -> None:
    pieces = noise(_UTTERANCE_SECS, rate=RATE, frame_secs=0.1)
    for number in range(round(hours * 3600 / _TURN_SECS)):
        await bot.say(pieces, speed=3.0, context_id=f"context {number}", words=True)
        if number % 5 == 4:
            await asyncio.sleep(1.0)
            await bot.interrupt()
        await asyncio.sleep(_TURN_SECS - _UTTERANCE_SECS / 3)
        bot.wire.clear()
        bot.ear.heard.clear()
        bot.speech_at.clear()
        bot.cut_at.clear()


def _resident_mb() -> float:
    with open("/proc/self/statm", encoding="utf-8") as told:
        return int(told.read().split()[1]) * 4096 / 1e6


async def _remember(bot: Bot, hours: float) -> Samples:
    """The first part fills what is bounded; from then on nothing should grow."""
    await _talk(bot, hours / 2)
    gc.collect()
    objects, resident = len(gc.get_objects()), _resident_mb()
    await _talk(bot, hours)
    gc.collect()
    return {
        "objects": [(len(gc.get_objects()) - objects) / hours],
        "mb": [(_resident_mb() - resident) / hours],
    }


async def in_virtual_time(what: str, stage: Stage, **options: Any) -> Samples:
    """The same, in the virtual event loop that runs."""
    round_trip_secs = options.pop("round_trip_secs", 0.05)
    measure = _count if what == "counts" else _remember
    forgets = what == "memory"
    with stage.wire.watched():
        async with (
            stage.place(Network(round_trip_secs), forgets=forgets) as place,
            stage.bot_at(place) as bot,
        ):
            return await measure(bot, **options)


def virtually(what: str, subject: str, broken: Breakage | None, options: dict[str, Any]) -> Samples:
    """Run it in virtual time."""

    async def main() -> Samples:
        async with far_end_here() as port:
            return await in_virtual_time(what, stage_of(subject, port, broken), **options)

    with undisturbed():
        return virtual_time.run(main)


_COUNTED = (
    Row("messages", "messages", ""),
    Row("turns", "turns of the event loop, service included", ""),
    Row("frames", "frames pushed", ""),
)

COUNTS = Measure(
    "counts",
    "What an utterance of 6 s takes, counted",
    "In virtual time, 300 frames of 20 ms and 20 words: the same on every machine. Turns of the "
    "event loop are those of the bot and of the service at the other end together.",
    counts,
    _COUNTED,
    (
        Course("real", "real time, round trip 50 ms", {"speed": 1.0, "round_trip_secs": 0.05}),
        Course(
            "fast",
            "three times real time, round trip 5 ms",
            {"speed": 3.0, "round_trip_secs": 0.005},
            aims={"messages": 20.0},
        ),
    ),
    Check(CHATTY, "fast", "messages", by=50.0),
    subjects=(IDENTITY, OURS, *PEERS),
    rounds=1,
    together=True,
)

MEMORY = Measure(
    "memory",
    "Memory of long calls",
    "In virtual time, a turn of six seconds of speech each ten seconds, every fifth interrupted: "
    "what an hour adds, after a while that fills what is bounded. The bot's memory of the "
    "conversation grows in all of them. The service at the other end keeps nothing.",
    memory,
    (
        Row("objects", "objects more an hour", ""),
        Row("mb", "resident memory more an hour", "MB"),
    ),
    (
        Course(
            "hours",
            "two hours, after another one",
            {"hours": 2.0},
            in_quick=False,
            aims={"mb": 0.2},
        ),
    ),
    Check(LEAKING, "hours", "mb", by=5.0),
    subjects=(IDENTITY, OURS, *PEERS),
    rounds=1,
    together=True,
)

_CHECKED = {"counts": COUNTS.check.broken, "memory": MEMORY.check.broken}


if __name__ == "__main__":
    from loguru import logger

    logger.remove()
    wish = json.loads(sys.argv[1])
    broken = _CHECKED[wish["what"]] if wish["broken"] else None
    print(json.dumps(virtually(wish["what"], wish["subject"], broken, wish["options"])))
