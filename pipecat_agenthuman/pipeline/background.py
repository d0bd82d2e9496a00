"""Work in the background: by name, one of each, and none that fails unnoticed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from pipecat.processors.frame_processor import FrameProcessor


class Background:
    """The tasks of a part, by name."""

    def __init__(
        self, processor: FrameProcessor, *, on_bug: Callable[[str, Exception], Awaitable[None]]
    ) -> None:
        """Begin without any.

        Args:
            processor: Owns the tasks.
            on_bug: Told of what work raised, with its name: it must not.
        """
        self._processor = processor
        self._on_bug = on_bug
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """The work that was begun and not stopped, whether it is done or not."""
        return tuple(self._tasks)

    @property
    def tasks(self) -> tuple[asyncio.Task[None], ...]:
        """Its tasks."""
        return tuple(self._tasks.values())

    def began(self, name: str) -> bool:
        """Whether work was begun and not stopped, whether it is done or not."""
        return name in self._tasks

    def is_done(self, name: str) -> bool:
        """Whether work was begun, and ended by itself."""
        return name in self._tasks and self._tasks[name].done()

    def spawn(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Run work; work of the same name before it is replaced.

        The work is begun by its task: one that is cancelled before leaves nothing behind.
        """
        former = self._tasks.get(name)
        if former is not None:
            former.cancel()
        self._tasks[name] = self._processor.create_task(self._guard(name, work), name)

    def stop(self, *names: str) -> None:
        """Let work end."""
        for name in names:
            task = self._tasks.pop(name, None)
            if task is not None:
                task.cancel()

    async def wait(self, name: str, limit_secs: float) -> None:
        """Wait until work has ended by itself, and no longer than a limit."""
        task = self._tasks.get(name)
        if task is not None:
            await asyncio.wait({task}, timeout=limit_secs)

    async def ended(self, name: str) -> None:
        """Let work end, and wait for that."""
        task = self._tasks.pop(name, None)
        if task is not None and not task.done():
            await self._processor.cancel_task(task)

    async def _guard(self, name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - nothing else would notice
            await self._on_bug(name, error)
