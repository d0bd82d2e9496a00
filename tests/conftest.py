"""What tests of several folders ask for by name.

Imports stand inside: who tests the client does not wait for Pipecat to be loaded.
"""

from __future__ import annotations

import compileall
import gc
import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from playwright.async_api import Browser

    from tests.support.daily_room import DailyStandIn, Room


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So a shell starts what runs in the background, and a program that a test starts and
    # interrupts would be deaf, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Keep what is compiled, where nothing compiled may be written next to its source.

    Else each worker, and each program that a test starts, would compile all of Pipecat for itself:
    a tenth of what all tests cost. Only for an environment that stays, or it would be kept for
    nobody.
    """
    cache = getattr(config, "cache", None)
    stays = Path(sys.prefix).is_relative_to(config.rootpath)
    if sys.dont_write_bytecode and stays and cache is not None:
        sys.dont_write_bytecode = False
        sys.pycache_prefix = str(cache.mkdir("bytecode"))
        # Workers and programs that tests start begin with it.
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


_LOADED_BY_ALL: Final = ("pipecat", "pipecat_agenthuman", "hypothesis", "aiohttp")
"""What takes longest to compile of what most tests load."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Compile for all workers, or in a new environment each would do that for itself."""
    folders = [
        Path(found.origin).parent
        for found in map(importlib.util.find_spec, _LOADED_BY_ALL)
        if found is not None and found.origin is not None
    ]
    is_new = any(
        not Path(importlib.util.cache_from_source(str(folder / "__init__.py"))).exists()
        for folder in folders
    )
    if sys.dont_write_bytecode or not is_new:
        return
    # The tests themselves are compiled as they are collected; meanwhile, the rest.
    chosen = [config.invocation_params.dir / arg.split("::")[0] for arg in config.args]
    tests = [
        str(file)
        for path in chosen
        for file in ([path] if path.is_file() else sorted(path.rglob("test_*.py")))
    ]
    collect = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-n", "0"]
    with ExitStack() as collecting:
        for some in filter(None, (tests[::2], tests[1::2])):
            collecting.enter_context(
                subprocess.Popen(
                    [*collect, *some], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
                )
            )
        for folder in folders:
            compileall.compile_dir(folder, quiet=2)


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


@pytest.fixture(scope="session")
def microphone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of which the browser's microphone hears what ``put_into`` wrote into it."""
    return tmp_path_factory.mktemp("microphone") / "sound.wav"


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(microphone: Path) -> AsyncIterator[Browser]:
    """Chromium; whoever asks for it runs on the loop on which it lives, that of the session."""
    from tests.support.browser import browsing

    async with browsing(microphone) as chromium:
        yield chromium


_IN_A_BROWSER: Final = {
    "tests/sandbox/page/": "pages of the sandbox",
    "tests/demo/test_page.py": "pages of the sandbox",
    "tests/web/": "web clients",
    "tests/examples/test_web_page.py": "web clients",
}
"""Where tests drive Chromium, and who shares one: each that is started costs seconds."""

_BEGINNING: Final = (
    "tests/calls/test_conversation.py",
    "tests/calls/test_listening_in_rooms.py",
    "tests/calls/test_teardown.py",
    "tests/calls/test_fuzz.py",  # computes
    "tests/demo/",
    "tests/calls/test_fault_matrix.py",  # computes
    "tests/examples/",
    "tests/calls/test_like_a_transport.py",  # computes
    "tests/calls/test_who_is_who.py",
    "tests/calls/test_comings_and_goings.py",
    "tests/calls/test_livekit_call.py",
    "tests/client/test_connection.py",
    "tests/documents/test_readme.py",
    "tests/sandbox/room/test_room.py",
    "tests/testing/",
)
"""What runs first: tests that mostly wait, for real sounds or for other programs, the longest in
front; and beside them some that compute all the time, as all that is left does."""


def _sharing(nodeid: str) -> str | None:
    """With whom a test shares a browser, if it has one."""
    return next((who for where, who in _IN_A_BROWSER.items() if nodeid.startswith(where)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what mostly waits, so that none of it is left at the end."""

    def turn(item: pytest.Item) -> tuple[bool, int]:
        first = (at for at, where in enumerate(_BEGINNING) if item.nodeid.startswith(where))
        return _sharing(item.nodeid) is None, next(first, len(_BEGINNING))

    items.sort(key=turn)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Let one worker have all tests that share a browser, as it has those that share a file."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _sharing(nodeid) or super()._split_scope(nodeid)

    return Scheduling(config, log)


_COLLECTED_AFTER: Final = 10_000
"""Objects; Python's own 700 are for a program that must stay small, and tests do not live long."""


def pytest_collection_finish() -> None:
    """Let the garbage collector leave alone what stays: the modules, and the tests themselves.

    Else each of its rounds goes through half a million objects that never go, and Pipecat asks
    for one at the end of every pipeline.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_COLLECTED_AFTER)
