"""Scenes: tests that mostly wait, each a test of its own.

They are played in virtual time, so that they take as long as their work does, and take the same
course on every machine.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

from pipecat_agenthuman.sandbox import Sandbox
from tests.support import virtual_time
from tests.support.calls import avatars
from tests.support.sounds import HAS_UNINTERRUPTIBLE_SPEECH
from tests.support.waiting import quiet_log, undisturbed

T = TypeVar("T")
Scene = Callable[[Sandbox], Awaitable[None]]


def assert_time(came: float, wanted: float, tolerance_secs: float, what: str) -> None:
    """Assert that something came when it should."""
    late_secs = came - wanted
    assert abs(late_secs) <= tolerance_secs, f"{what} came {late_secs:+.3f} s from when it should"


def played(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Play something in virtual time; returns what it returns."""
    with undisturbed(), quiet_log(level="ERROR"):
        return virtual_time.run(main)


class Scenes(dict[str, Scene]):
    """The scenes of a test module by their names, which say what they show."""

    def add(self, scene: Scene) -> Scene:
        """Add a scene; a decorator."""
        self[scene.__name__] = scene
        return scene

    def add_uninterruptible(self, scene: Scene) -> Scene:
        """Add a scene with speech that not every Pipecat has; a decorator."""
        return self.add(scene) if HAS_UNINTERRUPTIBLE_SPEECH else scene

    def play(self, name: str) -> None:
        """Play a scene with a sandbox of its own."""

        async def main() -> None:
            async with avatars() as sandbox:
                await self[name](sandbox)

        played(main)
