"""What tests of several folders ask for by name.

Imports stand inside: who tests the client does not wait for Pipecat to be loaded.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.support.daily_room import DailyStandIn, Room


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and a program that a test starts and
    # interrupts would be deaf, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Everything that is logged while the test runs, which nothing in the background disturbs."""
    from tests.support.waiting import quiet_log, undisturbed

    with undisturbed(), quiet_log() as lines:
        yield lines


@pytest.fixture
def warnings() -> Iterator[list[str]]:
    """What is logged as a warning or worse while the test runs."""
    from tests.support.waiting import quiet_log

    with quiet_log(level="WARNING") as lines:
        yield lines


@pytest.fixture
def daily(monkeypatch: pytest.MonkeyPatch) -> Iterator[DailyStandIn]:
    """The stand-in of daily-python, where Pipecat looks for the real one."""
    from tests.support.daily_room import installed_daily

    with installed_daily(monkeypatch) as daily:
        yield daily


@pytest.fixture
def room(daily: DailyStandIn) -> Room:
    """A Daily room."""
    return daily.room()


_IN_REAL_TIME = ("tests/sandbox/page/", "tests/demo/", "tests/calls/", "tests/examples/")
"""Where tests mostly wait for speech: they begin first, so that none is left at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(_IN_REAL_TIME))
