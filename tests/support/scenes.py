"""Scenes: tests that mostly wait, played many at a time, each a test of its own.

What is said, and in which order, does not depend on the machine. *When* it is said does, and a
machine that stumbles is told apart from a service that does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import pytest

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import avatars
from tests.support.sounds import HAS_UNINTERRUPTIBLE_SPEECH
from tests.support.waiting import quiet_log, undisturbed

# --- a busy machine --------------------------------------------------------------------

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


class WrongTimeError(AssertionError):
    """Something came too early or too late."""


def assert_time(came: float, wanted: float, tolerance_secs: float, what: str) -> None:
    """Assert that something came when it should.

    Raises:
        WrongTimeError: If it did not.
    """
    if abs(came - wanted) > tolerance_secs:
        raise WrongTimeError(f"{what} came {came - wanted:+.3f} s from when it should")


# --- many scenes at a time -------------------------------------------------------------

SCENES_AT_A_TIME = 10
"""Not all at once: to begin is work, and they share a processor with the sandbox."""

REPETITIONS = 4
"""How often a scene may be played again, alone, because of the time. What is said, and in which
order, does not depend on the machine: there is no second chance for that."""

REPETITIONS_AFTER_A_STUMBLE = 12
"""How often, if the machine itself stumbled: then nothing is known of the service."""

STUMBLE_SECS = 0.1
_CALM_LIMIT_SECS = 10.0

T = TypeVar("T")
Play = Callable[[Stumbles], Awaitable[T]]
Scene = Callable[[Sandbox], Awaitable[None]]


def selected(request: pytest.FixtureRequest, scenes: dict[str, T]) -> dict[str, T]:
    """The scenes whose tests run, by the parameter ``name`` of the tests of this module."""
    module = request.node.nodeid
    names = {
        item.callspec.params.get("name")
        for item in request.session.items
        if item.nodeid.startswith(f"{module}::") and hasattr(item, "callspec")
    }
    return {name: scene for name, scene in scenes.items() if name in names}


class Scenes(dict[str, Scene]):
    """The scenes of a test module by their names, which say what they show."""

    def add(self, scene: Scene) -> Scene:
        """Add a scene; a decorator."""
        self[scene.__name__] = scene
        return scene

    def add_uninterruptible(self, scene: Scene) -> Scene:
        """Add a scene with speech that not every Pipecat has; a decorator."""
        return self.add(scene) if HAS_UNINTERRUPTIBLE_SPEECH else scene

    def play(self, request: pytest.FixtureRequest) -> dict[str, BaseException | None]:
        """Play all that are asked for, with one sandbox for all; what each raised, by name."""
        wanted = selected(request, self)
        with avatars(max_sessions=len(self)) as sandbox:
            return play_all({name: lambda _, s=scene: s(sandbox) for name, scene in wanted.items()})


def play_all(scenes: dict[str, Play[T]]) -> dict[str, T | BaseException]:
    """Play scenes, many at a time, in an event loop of their own.

    Returns:
        What each returned or raised.
    """

    async def play() -> list[T | BaseException]:
        stumbles = Stumbles(STUMBLE_SECS)
        watching = asyncio.create_task(stumbles.watch())
        places = asyncio.Semaphore(SCENES_AT_A_TIME)

        async def in_turn(scene: Play[T]) -> tuple[T | BaseException, bool]:
            async with places:
                return await _play(scene, stumbles)

        first = await asyncio.gather(*map(in_turn, scenes.values()))
        last = [
            await _repeated(scene, stumbles, *outcome)
            for scene, outcome in zip(scenes.values(), first, strict=True)
        ]
        watching.cancel()
        return last

    with undisturbed(), quiet_log(level="ERROR"):
        return dict(zip(scenes, asyncio.run(play()), strict=True))


async def _repeated(
    scene: Play[T], stumbles: Stumbles, outcome: T | BaseException, stumbled: bool
) -> T | BaseException:
    """Play a scene again, alone, as long as its outcome may be the machine's."""
    left = {False: REPETITIONS, True: REPETITIONS_AFTER_A_STUMBLE}
    while left[stumbled] and isinstance(outcome, AssertionError if stumbled else WrongTimeError):
        left[stumbled] -= 1
        outcome, stumbled = await _play(scene, stumbles)
    return outcome


async def _play(scene: Play[T], stumbles: Stumbles) -> tuple[T | BaseException, bool]:
    """Play a scene, when the machine keeps up.

    Returns:
        What it returned or raised, and whether the machine stumbled meanwhile.
    """
    begins_at = time.monotonic()
    while time.monotonic() < begins_at + _CALM_LIMIT_SECS:
        asked_at = time.monotonic()
        await asyncio.sleep(10 * _BEAT_SECS)
        if not stumbles.between(asked_at, time.monotonic()):
            break
    begins_at = time.monotonic()
    (outcome,) = await asyncio.gather(scene(stumbles), return_exceptions=True)
    return outcome, stumbles.between(begins_at, time.monotonic())
