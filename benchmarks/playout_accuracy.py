"""How exactly the bot speaking frames agree with what is heard.

The avatar reports no playback: the service computes it from confirmations. Here it speaks
through a real pipeline and real sockets to the sandbox, which knows to the sample what sounds
when. Printed is how far ``BotStartedSpeakingFrame`` and ``BotStoppedSpeakingFrame``, as they
arrive behind the output transport, lie from the first and the last sample, and how long speech
in real time was silent for longer than it was itself delivered late::

    python -m benchmarks.playout_accuracy
    python -m benchmarks.playout_accuracy --quick
"""

import argparse
import asyncio
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from loguru import logger
from pipecat.frames.frames import TTSStartedFrame, TTSStoppedFrame

from pipecat_agenthuman.sandbox import Heard, Sandbox
from tests.support.calls import Call, avatar_in, staged
from tests.support.sounds import RATE, noise
from tests.support.waiting import undisturbed

FRAME_SECS = 0.02
BURST_FRAME_SECS = 0.1
STALL_SECS = 1.0
LATENCY_SECS = 0.5

LENGTHS_SECS = (0.1, 0.3, 1.0, 2.5, 8.0, 30.0)
QUICK_LENGTHS_SECS = (0.1, 0.3, 1.0, 2.5)
ROUND_TRIPS_SECS = (0.005, 0.05, 0.15, 0.3)
DELIVERIES = ("burst", "real_time", "stalled")

MEDIAN_TARGET_MS = 20.0
WORST_TARGET_MS = 60.0

STUMBLE_SECS = 0.02
_BEAT_SECS = 0.005


@dataclass
class Stumbles:
    """When the event loop itself stood still: what came then says nothing about the service.

    Attributes:
        worth_secs: What counts as one.
        spans: From when to when, in seconds of ``time.monotonic``.
    """

    worth_secs: float
    spans: list[tuple[float, float]] = field(default_factory=list)

    async def watch(self) -> None:
        """Take note until cancelled."""
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(_BEAT_SECS)
            awake_at = time.monotonic()
            if awake_at - asleep_at - _BEAT_SECS > self.worth_secs:
                self.spans.append((asleep_at, awake_at))

    def between(self, one: float, other: float) -> bool:
        """Whether there was one between two moments, or about them."""
        first, last = min(one, other) - _BEAT_SECS, max(one, other) + _BEAT_SECS
        return any(begun < last and first < over for begun, over in self.spans)

    @property
    def worst_secs(self) -> float:
        """The longest."""
        return max((over - begun for begun, over in self.spans), default=0.0)


@dataclass(frozen=True)
class Measurement:
    """One utterance.

    Attributes:
        length_secs: How long it is.
        first_ms: How long after its first sample the start was reported.
        last_ms: How long after its last sample the stop was reported.
        silent_ms: Silence inside that the delivery does not explain.
        stumbled: Whether the machine itself stumbled at one of the two moments.
    """

    length_secs: float
    first_ms: float
    last_ms: float
    silent_ms: float
    stumbled: bool


@dataclass(frozen=True)
class Course:
    """Utterances of all lengths, delivered in one way over one distance."""

    delivery: str
    round_trip_secs: float
    lengths_secs: tuple[float, ...]
    stumbles: Stumbles

    async def run(self) -> list[Measurement]:
        """Speak, one utterance after the other, and compare with what was heard."""
        with Sandbox(
            render_latency_secs=LATENCY_SECS, round_trip_secs=self.round_trip_secs
        ) as sandbox:
            avatar = avatar_in(sandbox, settings={"avatar_latency_secs": LATENCY_SECS})
            async with staged(avatar=avatar) as call:
                await sandbox.wait_for("pong")
                await asyncio.sleep(self.round_trip_secs)
                late_secs: list[float] = []
                for count, length_secs in enumerate(self.lengths_secs, start=1):
                    late_secs.append(await self._speak(call, length_secs))
                    await call.stopped(count)
                    await asyncio.sleep(0.3)
                await call.end()
            return list(self._compare(call, sandbox.heard(), late_secs))

    async def _speak(self, call: Call, length_secs: float) -> float:
        """Deliver an utterance; returns by how much its worst frame was late, in seconds."""
        frame_secs = BURST_FRAME_SECS if self.delivery == "burst" else FRAME_SECS
        frames = noise(length_secs, frame_secs=frame_secs)
        begun = time.monotonic()
        late_secs = 0.0
        await call.feed(TTSStartedFrame())
        for number, frame in enumerate(frames):
            if self.delivery == "real_time":
                due = begun + number * FRAME_SECS
                await asyncio.sleep(due - time.monotonic())
                late_secs = max(late_secs, time.monotonic() - due)
            if self.delivery == "stalled" and number == len(frames) // 2:
                await asyncio.sleep(LATENCY_SECS + self.round_trip_secs + STALL_SECS)
            await call.feed(frame)
        await call.feed(TTSStoppedFrame())
        return late_secs

    def _compare(self, call: Call, heard: Heard, late_secs: list[float]) -> Iterator[Measurement]:
        first = 0
        for number, length_secs in enumerate(self.lengths_secs):
            last = first + round(length_secs * RATE)
            begins, ends = _time_of(heard, first), _time_of(heard, last - 1) + 1 / RATE
            started, stopped = call.bot_speech()[number]
            silent_secs = max(ends - begins - length_secs - late_secs[number], 0.0)
            if self.delivery == "stalled":
                silent_secs = 0.0
            yield Measurement(
                length_secs,
                first_ms=(started - begins) * 1e3,
                last_ms=(stopped - ends) * 1e3,
                silent_ms=silent_secs * 1e3,
                stumbled=self.stumbles.between(started, begins)
                or self.stumbles.between(stopped, ends),
            )
            first = last


def _time_of(heard: Heard, sample: int) -> float:
    """When a sample sounded."""
    for segment in heard.segments:
        if segment.first_sample <= sample < segment.first_sample + segment.samples:
            return segment.starts_at + (sample - segment.first_sample) / RATE
    raise LookupError(f"Sample {sample} was not heard.")


def _row(name: str, measured: list[Measurement]) -> str:
    def both(errors: list[float]) -> str:
        sizes = [abs(error) for error in errors]
        return f"{statistics.median(sizes):8.1f} {max(sizes):7.1f}"

    first = both([m.first_ms for m in measured])
    last = both([m.last_ms for m in measured])
    return (
        f"{name:29} {len(measured):3}  {first}   {last}   {max(m.silent_ms for m in measured):7.1f}"
    )


async def measure(courses: list[Course], at_a_time: int) -> list[list[Measurement]]:
    """Run courses, a few at a time."""
    places = asyncio.Semaphore(at_a_time)

    async def in_turn(course: Course) -> list[Measurement]:
        async with places:
            return await course.run()

    watching = asyncio.create_task(courses[0].stumbles.watch())
    # Every pipeline comes to its end, whatever happens to the others.
    found = await asyncio.gather(*map(in_turn, courses), return_exceptions=True)
    watching.cancel()
    for outcome in found:
        if isinstance(outcome, BaseException):
            raise outcome
    return found


def report(courses: list[Course], results: list[list[Measurement]]) -> bool:
    """Print the table; returns whether the target was met."""
    everything = [measurement for measured in results for measurement in measured]
    clean = [measurement for measurement in everything if not measurement.stumbled]
    print(f"{'':35}first sample       last sample        silence")
    print(f"{'':29}   n    median   worst     median   worst     worst")
    for course, measured in zip(courses, results, strict=True):
        name = f"{course.delivery}, round trip {course.round_trip_secs * 1e3:.0f} ms"
        print(_row(name, measured))
    print(_row("all", everything))
    print(_row("all while the machine kept up", clean))
    worst_ms = courses[0].stumbles.worst_secs * 1e3
    print(f"The event loop of this process stood still for {worst_ms:.0f} ms at worst.")
    errors = [abs(error) for m in clean for error in (m.first_ms, m.last_ms)]
    met = statistics.median(errors) <= MEDIAN_TARGET_MS and max(errors) <= WORST_TARGET_MS
    verdict = "met" if met else "MISSED"
    print(f"Target (median {MEDIAN_TARGET_MS:g}, worst {WORST_TARGET_MS:g} ms): {verdict}")
    return met


def main() -> int:
    """Measure and print; returns 1 if a target was missed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="leave long utterances out")
    options.add_argument("--at-a-time", type=int, default=3, help="pipelines at a time")
    chosen = options.parse_args()
    logger.remove()
    lengths_secs = QUICK_LENGTHS_SECS if chosen.quick else LENGTHS_SECS
    stumbles = Stumbles(STUMBLE_SECS)
    courses = [
        Course(delivery, round_trip_secs, lengths_secs, stumbles)
        for delivery in DELIVERIES
        for round_trip_secs in ROUND_TRIPS_SECS
    ]
    with undisturbed():
        results = asyncio.run(measure(courses, chosen.at_a_time))
    print(f"Utterances of {', '.join(f'{secs:g}' for secs in lengths_secs)} s. Milliseconds:")
    return 0 if report(courses, results) else 1


if __name__ == "__main__":
    sys.exit(main())
