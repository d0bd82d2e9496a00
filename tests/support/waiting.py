"""Waiting for what no event tells of, and a machine that is not busy with other things."""

from __future__ import annotations

import asyncio
import sysconfig
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, Final

import pytest
from loguru import logger
from pipecat.pipeline import worker as pipecat_worker

LIMIT_SECS: Final = 60.0
"""No wait takes a tenth of it; it turns a hang into a failure."""

_LOOK_SECS: Final = 0.005


async def until(
    condition: Callable[[], object], *, why_not: Callable[[], str] = lambda: ""
) -> None:
    """Wait until something is so.

    Args:
        condition: Asked again and again; what it raises ends the wait.
        why_not: What there is to know if it never comes true.
    """
    try:
        async with asyncio.timeout(LIMIT_SECS):
            while not condition():  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(_LOOK_SECS)
    except TimeoutError:
        raise AssertionError(f"It never came true. {why_not()}") from None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Pipecat from loading libraries in the background of every pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        if hasattr(pipecat_worker, "warm_deferred_imports"):  # not in every release
            patch.setattr(pipecat_worker, "warm_deferred_imports", lambda: None)
        yield


_path_of_libraries: Final = cache(sysconfig.get_path)


def add_sink(sink: Any, **options: Any) -> int:
    """Let loguru write to something; returns what ``logger.remove`` takes.

    Loguru asks for each sink where libraries are, and the answer takes longer than many a test.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sysconfig, "get_path", _path_of_libraries)
        return logger.add(sink, **options)


@contextmanager
def quiet_log(*, level: str = "TRACE") -> Iterator[list[str]]:
    """Keep what is logged in a list instead of printing it; lines begin with their level."""
    lines: list[str] = []
    logger.remove()
    sink = add_sink(lines.append, level=level, format="{level} {message}")
    try:
        yield lines
    finally:
        logger.remove(sink)
