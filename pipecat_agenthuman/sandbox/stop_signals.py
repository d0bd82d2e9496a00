"""Ctrl-C and SIGTERM, for programs that run until somebody ends them."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Generator
from types import FrameType


@contextlib.contextmanager
def stop_signals(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> Generator[None]:
    """Set an event on Ctrl-C and SIGTERM, on every platform.

    Args:
        loop: In which the event is waited for.
        stop: The event.
    """

    def on_signal(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(stop.set)

    kept = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
