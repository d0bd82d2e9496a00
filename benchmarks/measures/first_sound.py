"""How long the first speech of an utterance takes to the wire."""

from __future__ import annotations

import asyncio

from benchmarks.measures.measure import PEERS, Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, Stage
from benchmarks.stage.breakage import SLOW_SENDING
from benchmarks.stage.dialects import Kind
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import OURS
from tests.support.sounds import noise

_ROUND_TRIPS_MS = (5, 50, 150, 300)


async def first_to_wire(
    stage: Stage, secs: float, piece_secs: float, speed: float | None, round_trip_secs: float,
    times: int,
) -> Samples:  # fmt: skip
    """Say utterances; the first one only teaches the service how far away it speaks."""
    found: list[float] = []
    with stage.wire.watched():
        async with stage.bot(Network(round_trip_secs)) as bot:
            pieces = noise(secs, rate=RATE, frame_secs=piece_secs)
            for number in range(times + 1):
                stage.wire.clear()
                before = len(bot.speech_at)
                await bot.say(pieces, speed=speed, context_id=f"context {number}")
                at = await stage.wire.saw(Kind.SPEECH)
                if number:
                    found.append((at - bot.speech_at[before]) * 1e3)
                # Until it was heard, or the next one would come behind it.
                rest_secs = 0.0 if speed else secs
                if rest_secs > 2.0:
                    await bot.interrupt()
                    rest_secs = 0.0
                await asyncio.sleep(rest_secs + round_trip_secs + 0.7)
    return {"ms": found}


BURST = Measure(
    "burst",
    "First speech to the wire, all at once",
    "From the first frame's entering the service to the first message, while all 20 ms frames "
    "of an utterance are delivered at once.",
    first_to_wire,
    (Row("ms", "first frame to wire", "ms"),),
    tuple(
        Course(
            f"{secs}s",
            f"{secs} s at once",
            {"secs": secs, "piece_secs": 0.02, "speed": None, "round_trip_secs": 0.05, "times": 5},
            {"times": 1},
            in_quick=secs == 10,
            aims={"ms": aim},
        )
        for secs, aim in ((1, 3.0), (10, 5.0))
    ),
    Check(SLOW_SENDING, "1s", "ms", by=20.0),
    rounds=2,
)

PACED = Measure(
    "paced",
    "First speech to the wire, in real time",
    "The same, while the frames come as fast as they sound. A service that waits for more speech "
    "before its first message begins later; one that does not has gaps (below).",
    first_to_wire,
    (Row("ms", "first frame to wire", "ms"),),
    tuple(
        Course(
            f"{piece}ms-rtt{rtt}",
            f"{piece} ms frames, round trip {rtt} ms",
            {
                "secs": 1.5,
                "piece_secs": piece / 1e3,
                "speed": 1.0,
                "round_trip_secs": rtt / 1e3,
                "times": 4,
            },
            {"times": 1, "secs": 1.0},
            in_quick=piece == 20 and rtt in (5, 150),
            aims={"ms": rtt + 30.0 + (piece if piece > 20 else 0)},
        )
        for piece in (20, 100)
        for rtt in _ROUND_TRIPS_MS
    ),
    Check(SLOW_SENDING, "20ms-rtt5", "ms", by=20.0),
    subjects=(OURS, "agenthuman-2", *PEERS),
    rounds=1,
    together=True,
)
