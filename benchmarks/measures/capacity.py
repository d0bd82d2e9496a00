"""How many calls a core carries: with interruptions and losses, until it is full."""

from __future__ import annotations

import asyncio
import random
import statistics
import time
from contextlib import AsyncExitStack
from itertools import count, pairwise

from benchmarks.measures.measure import Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, Bot, Stage
from benchmarks.stage.breakage import BUSY
from benchmarks.stage.dialects import DIALECTS, Kind
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import IDENTITY, OURS
from benchmarks.stage.wire import SPEAKER
from tests.support.sounds import noise

_FULL = 0.7
"""Of a core: beyond, what waits for the event loop waits too long."""

_BEAT_SECS = 0.01
_FRAME_SECS = 0.04
_UTTERANCE_SECS = 3.0
_PAUSES_SECS = (1.0, 5.0)
"""Between two interruptions of a call."""

_LOSS_EACH_SECS = 5.0
"""One call after the other loses its connection."""


async def _speak(bot: Bot, chance: random.Random) -> None:
    pieces = noise(_UTTERANCE_SECS, rate=RATE, frame_secs=_FRAME_SECS)
    await asyncio.sleep(chance.uniform(0, _UTTERANCE_SECS))
    for number in count():
        await bot.say(pieces, speed=1.0, context_id=f"context {number}", words=True)


async def _be_interrupted(bot: Bot, chance: random.Random) -> None:
    while True:
        await asyncio.sleep(chance.uniform(*_PAUSES_SECS))
        await bot.interrupt()


async def _lose(bot: Bot) -> None:
    while True:
        await asyncio.sleep(_LOSS_EACH_SECS)
        if bot.subject.name == OURS:  # Peers do not come back.
            assert bot.place is not None
            await bot.place.drop()


async def _watch(late_ms: list[float]) -> None:
    """How late the event loop is for somebody who has to do something now."""
    while True:
        asleep_at = time.monotonic()
        await asyncio.sleep(_BEAT_SECS)
        late_ms.append((time.monotonic() - asleep_at - _BEAT_SECS) * 1e3)


async def capacity(stage: Stage, calls: int, secs: float) -> Samples:
    """Let so many bots speak for a while in this process."""
    late_ms: list[float] = []
    with stage.wire.watched():
        async with AsyncExitStack() as stack:
            place = await stack.enter_async_context(
                stage.place(Network(round_trip_secs=0.05), sessions=2 * calls)
            )
            bots: list[Bot] = []
            for number in range(calls):
                SPEAKER.set(number)
                bots.append(await stack.enter_async_context(stage.bot_at(place)))
            talking = [asyncio.create_task(_watch(late_ms)), asyncio.create_task(_lose(bots[0]))]
            for number, bot in enumerate(bots):
                chance = random.Random(number)
                talking.append(asyncio.create_task(_speak(bot, chance)))
                talking.append(asyncio.create_task(_be_interrupted(bot, chance)))
            await asyncio.sleep(_UTTERANCE_SECS)
            stage.wire.clear()
            late_ms.clear()
            used, begun = time.process_time(), time.monotonic()
            await asyncio.sleep(secs)
            used, wall = time.process_time() - used, time.monotonic() - begun
            frames = sum(at >= begun for bot in bots for at in bot.speech_at)
            for task in talking:
                task.cancel()
            await asyncio.sleep(0.2)
            found = _to_wire_ms(stage, bots, begun)
            for bot in bots:
                await bot.interrupt()
    said_secs = frames * _FRAME_SECS
    return {
        "load": [100 * used / wall],
        # By what was said, and not by the clock: a process that does not get its core says less.
        "calls": [_FULL * said_secs / used],
        "kept": [100 * said_secs / (calls * wall)],
        "late": [_p99(late_ms)],
        "interrupt": [statistics.median(found)] if found else [],
        "interrupt99": [_p99(found)] if found else [],
    }


def _to_wire_ms(stage: Stage, bots: list[Bot], since: float) -> list[float]:
    """From each interruption to its message; those of a call without a connection have none."""
    read = DIALECTS[stage.wire.dialect]
    sent: dict[int, list[float]] = {}
    for one in stage.wire.sent:
        if len(one.message) < 200 and read(one.message).kind is Kind.INTERRUPTION:
            sent.setdefault(one.speaker, []).append(one.at)
    found: list[float] = []
    for number, bot in enumerate(bots):
        cuts = [at for at in bot.cut_at if at >= since]
        for at, following in pairwise([*cuts, float("inf")]):
            wired = [one for one in sent.get(number, []) if at <= one < following]
            found += [(wired[0] - at) * 1e3] if wired else []
    return found


def _p99(values: list[float]) -> float:
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * 0.99), len(ordered) - 1)]


CAPACITY = Measure(
    "capacity",
    "Calls on a core",
    "So many bots in one process speak without a pause in frames of 40 ms, with words, 50 ms "
    "away, and each is interrupted every one to five seconds; every five seconds one of ours "
    "loses its connection and comes back. No recognition, no synthesis, no media. Calls at 70% "
    "of a core are computed from the CPU time for a second of speech. Where less than all of the "
    "speech was said in its time, the process did not get its core: then milliseconds say nothing "
    "of the service. How late the event loop is for whoever has to act now stands beside the "
    "interruptions: nothing can be faster.",
    capacity,
    (
        Row("load", "of a core, percent", "%"),
        Row("calls", f"calls at {_FULL:.0%} of a core", "", more_is_better=True),
        Row("kept", "of the speech was said in its time, percent", "%", more_is_better=True),
        Row("late", "the event loop is late, p99", "ms"),
        Row("interrupt", "interruption to wire", "ms"),
        Row("interrupt99", "interruption to wire, p99", "ms"),
    ),
    tuple(
        Course(
            f"{calls}",
            f"{calls} calls",
            {"calls": calls, "secs": 12.0},
            {"secs": 4.0},
            in_quick=False,
            aims={"calls": 90.0},
        )
        for calls in (10, 20, 40, 60)
    ),
    Check(BUSY, "10", "load", by=15.0),
    subjects=(IDENTITY, OURS, "heygen"),
    rounds=1,
)
