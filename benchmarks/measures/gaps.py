"""Silence inside of utterances, over a network that is far away or uneven."""

from __future__ import annotations

import asyncio
import random

from benchmarks.measures.measure import PEERS, Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, Stage
from benchmarks.stage.breakage import STALLED_SENDING
from benchmarks.stage.far_end import Arrival
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import OURS
from tests.support.sounds import noise

_PAUSE_SECS = 1.2


async def gaps(
    stage: Stage, network: dict[str, float], piece_secs: float, uneven_secs: float,
    utterances: int, secs: float,
) -> Samples:  # fmt: skip
    """Say utterances as fast as they sound, and add up the silence in each but the first."""
    chance = random.Random(1)
    begun: list[float] = []
    overslept: list[float] = []
    distance = Network(**network)
    async with stage.place(distance) as place:
        async with stage.bot_at(place) as bot:
            with stage.wire.watched():
                pieces = noise(secs, rate=RATE, frame_secs=piece_secs)
                for number in range(utterances):
                    begun.append(
                        await bot.say(
                            pieces,
                            speed=1.0,
                            context_id=f"context {number}",
                            late_secs=lambda: chance.uniform(0, uneven_secs),
                        )
                    )
                    overslept.append(bot.overslept_secs)
                    await asyncio.sleep(_PAUSE_SECS + distance.round_trip_secs)
        arrived = await place.arrivals()
    spans = zip(begun, [*begun[1:], float("inf")], overslept, strict=True)
    silence = [
        max(_silence_secs([one for one in arrived if first <= one[0] < last]) - late_secs, 0.0)
        for first, last, late_secs in spans
    ]
    return {"ms": [secs * 1e3 for secs in silence[1:]]}


def _silence_secs(arrivals: list[Arrival]) -> float:
    """Silence between messages that sound as soon as they are there, one after the other."""
    silent_secs, sounds_until = 0.0, arrivals[0][0]
    for at, secs in arrivals:
        silent_secs += max(at - sounds_until, 0.0)
        sounds_until = max(at, sounds_until) + secs
    return silent_secs


GAPS = Measure(
    "gaps",
    "Silence inside of an utterance",
    "Speech in real time, if what arrives sounds at once: how long each utterance, but the first "
    "of the call, was silent in between. What a peer's server may hold back to avoid that is not "
    "known and not counted; what this machine delivered late is taken off.",
    gaps,
    (Row("ms", "silence an utterance", "ms"), Row("ms", "the worst one", "ms", shows="worst")),
    (
        Course(
            "rtt50",
            "20 ms frames, round trip 50 ms",
            {
                "network": {"round_trip_secs": 0.05},
                "piece_secs": 0.02,
                "uneven_secs": 0.0,
                "utterances": 6,
                "secs": 3.0,
            },
            in_quick=False,
            aims={"ms": 0.0},
        ),
        Course(
            "rtt400",
            "20 ms frames, round trip 400 ms",
            {
                "network": {"round_trip_secs": 0.4},
                "piece_secs": 0.02,
                "uneven_secs": 0.0,
                "utterances": 6,
                "secs": 3.0,
            },
            {"utterances": 3, "secs": 2.5},
            aims={"ms": 0.0},
        ),
        Course(
            "jitter",
            "100 ms frames up to 60 ms late, round trip 5 ms, 40 ms of jitter, 1 % of 120 ms",
            {
                "network": {
                    "round_trip_secs": 0.005,
                    "jitter_secs": 0.04,
                    "stalls": 0.01,
                    "stall_secs": 0.12,
                },
                "piece_secs": 0.1,
                "uneven_secs": 0.06,
                "utterances": 7,
                "secs": 3.0,
            },
            in_quick=False,
            aims={"ms": 0.0},
        ),
    ),
    Check(STALLED_SENDING, "rtt400", "ms", by=20.0),
    subjects=(OURS, "agenthuman-2", *PEERS),
    rounds=1,
    together=True,
)
