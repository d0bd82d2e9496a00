"""Tracks of a room that somebody listens to: wished for until they are heard, and declined.

For rooms whose client takes wishes and answers none of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

_APART_SECS: Final = 1.0
"""From declining a track to asking for it, and from there to asking again, the first time."""


class Publication(Protocol):
    """What somebody in the room publishes."""

    @property
    def sid(self) -> str:
        """Names it in the room."""
        ...

    @property
    def track(self) -> object | None:
        """The track, if it is here."""
        ...

    def set_subscribed(self, subscribed: bool) -> None:
        """Wish for the track, or for none of it; when that counts, nobody tells."""
        ...


PublicationT = TypeVar("PublicationT", bound=Publication)


class Subscriptions(Generic[PublicationT]):
    """Tracks that are listened to, and asked for until they are heard, by their sid.

    Wishes for a track may overtake each other on their way to the server, or meet there: to decline
    it and to want it in the same moment may leave it declined, or change nothing there while it is
    gone here. A track that was declined before it came is taken back untold: it is here then, and
    nothing comes of it. So a track is asked for in some distance, also if it is here.
    """

    def __init__(
        self,
        *,
        listen: Callable[[PublicationT, str, Callable[[], None]], Coroutine[Any, Any, None]],
        is_wanted: Callable[[PublicationT, str], bool],
        broke: Callable[[str, Exception], Awaitable[None]],
    ) -> None:
        """Create subscriptions of nothing.

        Args:
            listen: Listens to a track that is here, until it is cancelled or the track ends; calls
                what it is given whenever something of the track is heard.
            is_wanted: Whether a track is still to be listened to, and can be.
            broke: Told of whose track is neither listened to nor asked for any more because
                something was raised there, and of what: it must raise nothing.
        """
        self._listen = listen
        self._is_wanted = is_wanted
        self._broke = broke
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._declined_at = WeakKeyDictionary[PublicationT, float]()

    def begin(self, publication: PublicationT, speaker: str) -> None:
        """Listen to a track if it is here; ask for it until it is heard, or begun again."""
        track_sid = publication.sid
        self.end(track_sid)
        task = asyncio.create_task(self._hear(publication, speaker))
        self._tasks[track_sid] = task
        task.add_done_callback(lambda ended: self._forget(track_sid, ended))

    def end(self, track_sid: str) -> None:
        """Listen to a track no more, and do not ask for it; it need not be known."""
        task = self._tasks.pop(track_sid, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def decline(self, publication: PublicationT) -> None:
        """Let a track come no more, of whatever kind it is."""
        self.end(publication.sid)
        self._declined_at[publication] = time.monotonic()
        publication.set_subscribed(False)

    async def close(self) -> None:
        """Listen to nothing any more, and wait until that is so."""
        tasks = tuple(self._tasks.values())
        for track_sid in tuple(self._tasks):
            self.end(track_sid)
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- inside --------------------------------------------------------------------------

    def _forget(self, track_sid: str, ended: asyncio.Task[None]) -> None:
        """A task ended, maybe by itself: its track, or whoever sent it, has gone."""
        if self._tasks.get(track_sid) is ended:
            del self._tasks[track_sid]

    async def _hear(self, publication: PublicationT, speaker: str) -> None:
        heard = asyncio.Event()
        try:
            async with asyncio.TaskGroup() as jobs:
                jobs.create_task(self._ask(publication, speaker, heard))
                if publication.track is not None:
                    jobs.create_task(self._listen(publication, speaker, heard.set))
        except ExceptionGroup as raised:
            # One that was ended meanwhile, nobody misses.
            if self._tasks.get(publication.sid) is asyncio.current_task():
                await self._broke(speaker, raised.exceptions[0])

    async def _ask(self, publication: PublicationT, speaker: str, heard: asyncio.Event) -> None:
        """Ask for a track as long as it is wanted, until something is heard that came since."""
        declined_at = self._declined_at.get(publication, -math.inf)
        await asyncio.sleep(max(declined_at + _APART_SECS - time.monotonic(), 0.0))
        patience_secs = _APART_SECS
        while self._is_wanted(publication, speaker):
            heard.clear()
            publication.set_subscribed(True)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_secs):
                    await heard.wait()
                return
            patience_secs *= 2
