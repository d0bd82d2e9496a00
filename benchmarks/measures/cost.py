"""What speech costs: CPU time and messages for a minute of it."""

from __future__ import annotations

import asyncio
import time

from benchmarks.measures.measure import PEERS, Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, Stage
from benchmarks.stage.breakage import BUSY, CHATTY
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import IDENTITY, OURS
from tests.support.sounds import noise

_UTTERANCE_SECS = 6.0


async def cost(stage: Stage, secs: float, speed: float, round_trip_secs: float) -> Samples:
    """Speak for so long, and count what this process takes meanwhile."""
    count = max(round(secs / _UTTERANCE_SECS), 1)
    each_secs = secs / count
    with stage.wire.watched():
        async with stage.bot(Network(round_trip_secs)) as bot:
            pieces = noise(each_secs, rate=RATE, frame_secs=0.02)
            await bot.say(pieces[:25], speed=1.0)  # All that is done once.
            await asyncio.sleep(0.7)
            stage.wire.clear()
            used = time.process_time()
            for number in range(count):
                until = time.monotonic() + each_secs + 0.2
                await bot.say(pieces, speed=speed, context_id=f"context {number}", words=True)
                await asyncio.sleep(until - time.monotonic())
            await asyncio.sleep(0.3)
            used = time.process_time() - used
            messages = len(stage.wire.sent)
    minutes = secs / 60
    return {"cpu": [used * 1e3 / minutes], "messages": [messages / minutes]}


_CPU = Row("cpu", "CPU a minute of speech", "ms")
_MESSAGES = Row("messages", "messages a minute of speech", "")

COST = Measure(
    "cost",
    "CPU of speech in real time",
    "CPU time of a bot's process for a minute of speech in 20 ms frames with a word each 0.3 s: "
    "speaker, service, output transport and memory; no recognition, no synthesis, no media.",
    cost,
    (_CPU, _MESSAGES),
    (
        Course(
            "rtt50",
            "real time, round trip 50 ms",
            {"secs": 36, "speed": 1.0, "round_trip_secs": 0.05},
            {"secs": 6},
            aims={"cpu": ("heygen", 1.0)},
        ),
    ),
    Check(BUSY, "rtt50", "cpu", by=1_000.0),
    subjects=(IDENTITY, OURS, *PEERS),
    together=True,
)

FAST_COST = Measure(
    "fast",
    "CPU and messages of fast synthesis",
    "The same, delivered three times as fast as it sounds.",
    cost,
    (_CPU, _MESSAGES),
    (
        Course(
            "rtt5",
            "three times real time, round trip 5 ms",
            {"secs": 36, "speed": 3.0, "round_trip_secs": 0.005},
            {"secs": 6},
            aims={"messages": 200.0},
        ),
    ),
    Check(CHATTY, "rtt5", "messages", by=500.0),
    subjects=(IDENTITY, OURS, *PEERS),
    together=True,
)
