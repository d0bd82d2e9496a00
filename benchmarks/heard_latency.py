"""How far what a bot believes of its speech lies from what a caller hears, over real media.

Bot and caller are in a LiveKit room, each with LiveKit's own client; the sandbox's avatar is a
participant that publishes what it says, as Opus over RTP. Printed is how far bot speaking frames
and words lie from the moments at which the caller's client delivers that very sound, with the
latency that was heard and with the assumed one, and what listening costs::

    python -m benchmarks.heard_latency
    python -m benchmarks.heard_latency --utterances 6 --latencies 0.2
"""

import argparse
import asyncio
import math
import statistics
import sys
import time
from dataclasses import dataclass
from functools import partial

from loguru import logger

from tests.support.heard_speech import Utterance, delay_at, p95
from tests.support.livekit_call import livekit_call
from tests.support.livekit_listener import calling_in
from tests.support.livekit_process import livekit_process
from tests.support.waiting import undisturbed

LATENCIES_SECS = (0.2, 0.5, 1.1)
STEADY_FROM = 3
COST_CALLS = 2
SETTLING_SECS = 2.0
TARGET_MS = 40.0


@dataclass(frozen=True)
class Outcome:
    """One call.

    Attributes:
        render_secs: The latency of its avatar.
        setting: ``avatar_latency_secs``.
        utterances: What was said.
        interruptions: Words told and words heard of what was interrupted.
        believed_secs: The latency in which the service believed in the end.
        source: Where it had that from.
    """

    render_secs: float
    setting: float | str
    utterances: list[Utterance]
    interruptions: list[tuple[int, int]]
    believed_secs: float
    source: str


async def converse(
    render_secs: float, setting: float | str, utterances: int, interruptions: int
) -> Outcome:
    """Say a number of sentences, and interrupt a few more."""
    async with livekit_process(render_latency_secs=render_secs) as place:
        async with (
            livekit_call(place, setting) as (speech, avatar),
            calling_in(place.url, place.tokens["caller"]) as caller,
        ):
            await speech.say(*range(utterances))
            for number in range(interruptions):
                await speech.interrupt(number, 0.4 + 0.3 * number)
            stats = avatar.stats
        said = await place.said()
    return Outcome(
        render_secs,
        setting,
        speech.compared(said.at, partial(delay_at, said.between, caller.sound().between)),
        speech.memories(said.at),
        stats.avatar_latency_secs,
        stats.avatar_latency_source,
    )


async def listening_cost() -> dict[bool, list[tuple[float, float]]]:
    """What the bot takes while nobody listens to the avatar, and while it does.

    It listens to the first utterances of a call, until it knows enough.

    Returns:
        For whether it listens, call by call: the part of a core that the process takes, and
        that of the thread with the event loop in it.
    """
    parts: dict[bool, list[tuple[float, float]]] = {False: [], True: []}
    async with livekit_process(render_latency_secs=0.5) as place:
        for setting in (0.5, "measured") * COST_CALLS:
            async with livekit_call(place, setting) as (speech, _):
                await asyncio.sleep(SETTLING_SECS)
                process, thread, wall = time.process_time(), time.thread_time(), time.monotonic()
                await speech.say(*range(STEADY_FROM))
                secs = time.monotonic() - wall
                parts[setting == "measured"].append(
                    ((time.process_time() - process) / secs, (time.thread_time() - thread) / secs)
                )
    return parts


def report(outcome: Outcome) -> bool:
    """Print a line; returns whether it is as near as it should be."""
    settled = outcome.utterances[STEADY_FROM:]
    starts = " ".join(f"{one.starts:+5.0f}" for one in outcome.utterances)
    off = max((abs(told - heard) for told, heard in outcome.interruptions), default=0)
    worst = p95(settled)
    torn = sum(math.isnan(ms) for one in settled for ms in one.all)
    print(
        f"{outcome.render_secs:7.1f}  {outcome.setting!s:9} {outcome.source:8}"
        f"{outcome.believed_secs * 1e3:7.0f}  {worst:8.0f}  {off:7}   {starts}"
    )
    if torn:
        print(f"         ({torn} moments left out: what the caller received was torn)")
    return worst <= TARGET_MS and off <= 1


async def measure(latencies: list[float], utterances: int, interruptions: int) -> bool:
    """One call after the other."""
    print("                              believed   p95 off  words   start of speech, ms after it")
    print("latency  setting   source       (ms)      (ms)    off     was heard, by utterance")
    met = True
    for render_secs in latencies:
        for setting in ("measured", 0.5):
            outcome = await converse(render_secs, setting, utterances, interruptions)
            met &= report(outcome) or setting != "measured"
    for listens, parts in (await listening_cost()).items():
        process, thread = (100 * statistics.median(part) for part in zip(*parts, strict=True))
        print(
            f"CPU while the avatar speaks and {'the bot' if listens else 'nobody'} listens, of a "
            f"core: {process:.1f} % of the process, {thread:.1f} % of the event loop's thread."
        )
    verdict = "met" if met else "MISSED"
    print(f"Target (p95 {TARGET_MS:g} ms from utterance {STEADY_FROM + 1} on, one word): {verdict}")
    return met


def main() -> int:
    """Measure and print; returns 1 if the target was missed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--utterances", type=int, default=10)
    options.add_argument("--interruptions", type=int, default=4)
    options.add_argument("--latencies", type=float, nargs="+", default=list(LATENCIES_SECS))
    chosen = options.parse_args()
    logger.remove()
    with undisturbed():
        met = asyncio.run(measure(chosen.latencies, chosen.utterances, chosen.interruptions))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
