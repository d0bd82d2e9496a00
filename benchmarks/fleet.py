"""What ten thousand calls ask of the service at once: after an outage, and when sessions expire.

A simulation with the real pauses: ``Attempts`` of ``client/``, in an event loop
whose clock jumps ahead. The service is a stand-in that answers creates: 503 while it is down, 429
beyond a number of creates a minute (a documented older limit was 60 for a key), with the seconds
until the next minute begins. Printed is how many creates arrive in the worst second and in the
worst minute, and when how many calls have their avatar again::

    python -m benchmarks.fleet
    python -m benchmarks.fleet --calls 1000
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from collections import Counter
from dataclasses import dataclass, field

from loguru import logger

from pipecat_agenthuman.client.renewal import Attempts
from pipecat_agenthuman.client.retry import (
    RenewalPolicy,
    Timing,
)
from pipecat_agenthuman.errors import (
    ApiError,
    LossKind,
    LostConnectionError,
    RateLimitedError,
    ServerFailureError,
)
from tests.support import virtual_time

CALLS = 10_000
CREATE_SECS = 0.3
SESSION_SECS = 3600.0


@dataclass(frozen=True)
class Scene:
    """What happens.

    Attributes:
        title: In a few words.
        down_secs: How long the service refuses everything, from the loss on.
        creates_a_minute: What it allows then; None for no limit.
        lost_within_secs: All calls lose their avatar within so long.
        minute_ends_in_secs: When the service begins to count anew.
    """

    title: str
    down_secs: float = 0.0
    creates_a_minute: int | None = None
    lost_within_secs: float = 0.05
    minute_ends_in_secs: float = 30.0


SCENES = (
    Scene("all connections are lost at once, the service is well"),
    Scene("the service is down for 10 s", down_secs=10.0),
    Scene("the service is down for 40 s", down_secs=40.0),
    Scene("the service is down for 10 minutes", down_secs=600.0),
    Scene("all lost at once, 6 000 creates a minute", creates_a_minute=6_000),
    Scene("all lost at once, 60 000 creates a minute", creates_a_minute=60_000),
    Scene("an hour later: all sessions expire in the same half minute", lost_within_secs=30.0),
)


@dataclass
class Outcome:
    """What became of it.

    Attributes:
        creates: How many came in each second.
        back_at: When calls had their avatar again, in seconds from the loss on.
        given_up: How many did without.
    """

    creates: Counter[int] = field(default_factory=Counter)
    back_at: list[float] = field(default_factory=list)
    given_up: int = 0

    @property
    def worst_second(self) -> int:
        return max(self.creates.values(), default=0)

    @property
    def worst_minute(self) -> int:
        last = max(self.creates, default=0)
        return max(
            sum(self.creates[second] for second in range(first, first + 60))
            for first in range(last + 1)
        )

    @property
    def worst_second_later(self) -> int:
        """That of the second to which a rate limit sent them, or later."""
        return max((n for second, n in self.creates.items() if second >= 2), default=0)

    def back_within(self, part: float, calls: int) -> float | None:
        """Seconds until a part of all calls had their avatar again; None if it never was."""
        ordered = sorted(self.back_at)
        needed = round(part * calls)
        return ordered[needed - 1] if len(ordered) >= needed else None


class _Service:
    """Answers creates."""

    def __init__(self, scene: Scene, outcome: Outcome, began: float) -> None:
        self._scene, self._outcome, self._began = scene, outcome, began
        self._allowed: Counter[int] = Counter()

    async def create(self) -> None:
        now = asyncio.get_running_loop().time() - self._began
        self._outcome.creates[int(now)] += 1
        await asyncio.sleep(CREATE_SECS)
        if now < self._scene.down_secs:
            raise ServerFailureError("Creating a session failed with HTTP 503.", status=503)
        into_secs = now + 60 - self._scene.minute_ends_in_secs
        minute = int(into_secs // 60)
        self._allowed[minute] += 1
        limit = self._scene.creates_a_minute
        if limit is not None and self._allowed[minute] > limit:
            raise RateLimitedError(
                "Creating a session failed with HTTP 429.",
                status=429,
                retry_after_secs=60 * (minute + 1) - into_secs,
            )


async def _call(service: _Service, outcome: Outcome, timing: Timing, began: float) -> None:
    """Lose the avatar, and bring it back as ``Session`` does."""
    attempts = Attempts(RenewalPolicy(), timing)
    error: ApiError | LostConnectionError = LostConnectionError(
        "The connection was lost", loss=LossKind.CLOSED
    )
    ready_since: float | None = timing.monotonic() - SESSION_SECS / 2
    while True:
        pause_secs = attempts.pause_secs(error, renewable=True, ready_since=ready_since)
        ready_since = None
        if pause_secs is None:
            outcome.given_up += 1
            return
        await timing.sleep(pause_secs)
        try:
            await service.create()
        except ApiError as failed:
            error = failed
        else:
            outcome.back_at.append(timing.monotonic() - began)
            return


def simulate(scene: Scene, calls: int) -> Outcome:
    """Play a scene.

    Args:
        scene: What happens.
        calls: To how many.
    """

    async def main() -> Outcome:
        loop = asyncio.get_running_loop()
        began = loop.time()
        chance = random.Random(1)
        timing = Timing(monotonic=loop.time, sleep=asyncio.sleep, jitter=chance.random)
        outcome = Outcome()
        service = _Service(scene, outcome, began)

        async def loses() -> None:
            await asyncio.sleep(chance.uniform(0, scene.lost_within_secs))
            await _call(service, outcome, timing, began)

        await asyncio.gather(*(loses() for _ in range(calls)))
        return outcome

    return virtual_time.run(main)


def rows(calls: int) -> list[list[str]]:
    """A table of all scenes."""
    table: list[list[str]] = []
    for scene in SCENES:
        outcome = simulate(scene, calls)
        back = [outcome.back_within(part, calls) for part in (0.5, 0.95)]
        table.append(
            [
                scene.title,
                f"{sum(outcome.creates.values())}",
                f"{outcome.worst_second}",
                f"{outcome.worst_second_later}",
                f"{outcome.worst_minute}",
                *("never" if secs is None else f"{secs:.1f} s" for secs in back),
                f"{outcome.given_up / calls:.0%}",
            ]
        )
    return table


HEADER = (
    "what happens",
    "creates",
    "worst second",
    "worst from the third second on",
    "worst minute",
    "half are back",
    "95 % are back",
    "without avatar",
)


def main() -> int:
    """Simulate and print a table in Markdown."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--calls", type=int, default=CALLS)
    chosen = options.parse_args()
    logger.remove()
    print(f"{chosen.calls} calls.\n")
    for line in (list(HEADER), ["---", *["---:"] * (len(HEADER) - 1)], *rows(chosen.calls)):
        print(f"| {' | '.join(line)} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
