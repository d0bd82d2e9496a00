"""What happened in the sandbox, in order: kept, written as JSON lines, waited for."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, TextIO

from loguru import logger

from pipecat_agenthuman._credentials import redact

_SHOWN_CHARS: Final = 300

Entry = dict[str, Any]
"""One thing that happened; see ``EventLog.add`` for the keys."""

Direction = Literal["in", "out", "room", "sandbox"]
"""From the client, to the client, in the caller's room, or of the sandbox itself."""

KEPT_ENTRIES: Final = 50_000
"""Oldest entries are forgotten beyond this (some 30 MB); the file keeps all."""


class EventLog:
    """Entries in order. Safe to use from any thread and any event loop."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """Start a log.

        Args:
            clock: Seconds; entries carry the time since now on it.
        """
        self._clock = clock
        self.started_at = clock()
        self._started_wall = datetime.now(UTC)
        self._file: TextIO | None = None
        self._entries: deque[Entry] = deque(maxlen=KEPT_ENTRIES)
        self._added = 0
        self._secrets: set[str] = set()
        self._waiting: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()
        self._lock = threading.RLock()
        self._listeners: list[Callable[[Entry], None]] = []

    def write_to(self, path: str | Path) -> None:
        """Write every entry from now on as one line of JSON, flushed at once.

        Args:
            path: The file; replaced if it exists.

        Raises:
            OSError: If it cannot be written.
        """
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - open until close()

    def now(self) -> float:
        """Return the time on the sandbox's clock, in seconds."""
        return self._clock()

    def wall(self, at: float) -> str:
        """Return a time on the sandbox's clock as ISO 8601, to the millisecond."""
        wall = self._started_wall + timedelta(seconds=at - self.started_at)
        return wall.isoformat(timespec="milliseconds")

    def hide(self, *secrets: str) -> None:
        """Never show these keys and tokens in an entry, whoever puts them there."""
        with self._lock:
            self._secrets.update(secrets)

    def listen(self, listener: Callable[[Entry], None]) -> None:
        """Call ``listener`` with every entry from now on, in the sandbox's thread."""
        self._listeners.append(listener)

    def add(
        self, direction: Direction, what: str, session_id: str | None = None, **details: object
    ) -> Entry:
        """Add an entry.

        Args:
            direction: Which way it went.
            what: The message's type, the request, or the event.
            session_id: The session that it belongs to.
            **details: More keys; those that are None are left out. Texts are freed of secrets.

        Returns:
            The entry.
        """
        with self._lock:
            self._added += 1
            now = self._clock()
            entry: Entry = {
                "number": self._added,
                "at_secs": round(now - self.started_at, 6),
                "wall": self.wall(now),
                "session_id": self._shown(session_id),
                "direction": direction,
                "what": redact(what, *self._secrets),
            }
            given = {key: value for key, value in details.items() if value is not None}
            entry |= {key: self._shown(value) for key, value in given.items()}
            self._entries.append(entry)
            self._write(entry)
            self._wake()
        for listener in self._listeners:
            listener(entry)
        return entry

    def entries(self, after: int = 0) -> list[Entry]:
        """Return the entries kept whose number is greater than ``after``, oldest first."""
        with self._lock:
            known = after - (self._added - len(self._entries))
            return list(islice(self._entries, max(0, known), None))

    async def wait_for(
        self, predicate: Callable[[Entry], bool], *, after: int, timeout_secs: float
    ) -> Entry:
        """Wait for an entry; one that is there already counts.

        Args:
            predicate: Whether an entry is the one.
            after: Only entries with a greater number count.
            timeout_secs: How long to wait at most.

        Returns:
            The first such entry.

        Raises:
            TimeoutError: If none came in time; the text shows the latest entries.
        """
        rang = asyncio.Event()
        waiting = (asyncio.get_running_loop(), rang)
        with self._lock:
            self._waiting.add(waiting)
        try:
            async with asyncio.timeout(timeout_secs):
                while True:
                    rang.clear()
                    for entry in self.entries(after):
                        after = entry["number"]
                        if predicate(entry):
                            return entry
                    await rang.wait()
        except TimeoutError:
            raise TimeoutError(
                f"Nothing like it within {timeout_secs:g} s. {self.latest()}"
            ) from None
        finally:
            with self._lock:
                self._waiting.discard(waiting)

    def close(self) -> None:
        """Close the file; entries stay readable."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _shown(self, value: object) -> object:
        """Return a detail as it may be seen: a plain JSON value without secrets."""
        if value is None or isinstance(value, bool | int | float):
            return value
        return redact(str(value), *self._secrets)[:_SHOWN_CHARS]

    def _write(self, entry: Entry) -> None:
        if self._file is None:
            return
        try:
            self._file.write(json.dumps(entry) + "\n")
            self._file.flush()
        except OSError as error:  # a full disk must not stop the avatar
            logger.warning("The sandbox's log file ends here: {}", error)
            self._file = None

    def _wake(self) -> None:
        for loop, rang in self._waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(rang.set)

    def latest(self, count: int = 8) -> str:
        """Describe the latest entries on one line, for the text of an error."""
        latest = self.entries()[-count:]
        lines = (f"{entry['at_secs']:.3f} {entry['direction']} {entry['what']}" for entry in latest)
        return "Latest entries: " + ("; ".join(lines) or "none")
