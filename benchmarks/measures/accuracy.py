"""How far what the bot believes of its speech lies from the sound."""

from __future__ import annotations

import asyncio

from pipecat.frames.frames import BotStartedSpeakingFrame, BotStoppedSpeakingFrame, TTSTextFrame

from benchmarks.measures.measure import Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, WORD_SECS, Stage
from benchmarks.stage.breakage import BELATED
from benchmarks.stage.network import Network
from benchmarks.stage.subjects import OURS
from tests.support.sounds import noise

_WIRE_RATE = 16_000


async def accuracy(stage: Stage, secs: float, times: int, round_trip_secs: float) -> Samples:
    """Say utterances, and compare frames behind the transport with the sandbox's sound."""
    async with stage.place(Network(round_trip_secs)) as place:
        async with stage.bot_at(place) as bot:
            await asyncio.sleep(0.3 + 2 * round_trip_secs)  # A ping comes back.
            for number in range(times):
                pieces = noise(secs, rate=RATE, frame_secs=0.02)
                await bot.say(pieces, speed=1.0, context_id=f"context {number}", words=True)
                await asyncio.sleep(0.7 + round_trip_secs)
        sound = await place.sound()
    heard = bot.ear
    begins = [_time_of(sound, round(number * secs * _WIRE_RATE)) for number in range(times)]
    ends = [_time_of(sound, round((number + 1) * secs * _WIRE_RATE) - 1) for number in range(times)]
    words = [
        _time_of(sound, round((number * secs + at * WORD_SECS) * _WIRE_RATE))
        for number in range(times)
        for at in range(_words(secs))
    ]
    starts, stops = heard.of(BotStartedSpeakingFrame), heard.of(BotStoppedSpeakingFrame)
    return {
        "starts": _apart(starts, begins),
        "stops": _apart(stops, ends),
        "words": _apart(heard.of(TTSTextFrame), words),
    }


def _words(secs: float) -> int:
    count = 0
    while count * WORD_SECS < secs:
        count += 1
    return count


def _apart(told: list[float], heard: list[float]) -> list[float]:
    """How far each moment that was heard lies from the nearest that was told.

    On a machine that stands still for seconds, speech stops and starts once more.
    """
    return [min(abs(one - other) for one in told) * 1e3 for other in heard]


def _time_of(sound: list[tuple[float, int]], sample: int) -> float:
    """When a sample sounded."""
    first = 0
    for starts_at, samples in sound:
        if sample < first + samples:
            return starts_at + (sample - first) / _WIRE_RATE
        first += samples
    raise LookupError(f"Sample {sample} was not heard.")


ACCURACY = Measure(
    "accuracy",
    "Bot frames and words against the sound",
    "How far `BotStartedSpeakingFrame`, `BotStoppedSpeakingFrame` and words, behind the output "
    "transport, lie from the moments at which the sandbox plays that very sample. Peers have no "
    "such clock: their frames come from the sound that comes back.",
    accuracy,
    (
        Row("starts", "start of speech", "ms"),
        Row("stops", "end of speech", "ms"),
        Row("words", "words", "ms"),
        Row("words", "the worst word", "ms", shows="worst"),
    ),
    (
        Course(
            "rtt50",
            "real time, round trip 50 ms",
            {"secs": 3.0, "times": 4, "round_trip_secs": 0.05},
            {"secs": 2.0, "times": 2},
            aims={"starts": 20.0, "stops": 20.0, "words": 20.0},
        ),
    ),
    Check(BELATED, "rtt50", "starts", by=100.0),
    subjects=(OURS,),
)
