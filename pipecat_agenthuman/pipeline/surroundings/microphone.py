"""The bot's own microphone in the avatar's room: published always, or while it is its turn.

A web client that plays one track, the one that started last, hears the avatar or the bot, and
nobody tells it which. A microphone that is published only while the bot has something to say is
the track that started last exactly then.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger

ANSWER_SECS: Final = 5.0
"""How long a room may take to publish it or not."""

OPEN_SECS: Final = 0.5
"""How long the first sound waits until the microphone is published. A room that takes longer
costs the rest of it, and not the speech that follows."""

QUIET_SECS: Final = 1.0
"""How long nothing may be played before the turn is over: longer than a pause in speech."""


class Microphone:
    """Publishes the microphone while no avatar is in the room, or something is to be played.

    It is published as the bot joins: a web client says that it is ready when it hears somebody,
    and whoever waits for that before they speak would wait for ever.
    """

    def __init__(self, owner: object, publish: Callable[[bool], Awaitable[str | None]]) -> None:
        """Create a microphone of a bot that has not joined yet.

        Args:
            owner: The transport, for the log.
            publish: Publishes it, or not; returns when that was done, with what went wrong.
        """
        self._owner = owner
        self._publish = publish
        self._is_in_room = False
        self._is_published = True
        self._has_avatar = False
        self._until_quiet: asyncio.TimerHandle | None = None  # while it is the bot's turn
        self._waits_until = 0.0  # at the beginning of that turn
        self._settling: asyncio.Task[None] | None = None

    def joined(self) -> None:
        """The bot is in the room: from now on it can be published or not."""
        self._is_in_room = True
        self._settle()

    def close(self) -> None:
        """The bot leaves: what it sends is of no matter any more."""
        self._is_in_room = False
        if self._until_quiet is not None:
            self._until_quiet.cancel()
            self._until_quiet = None

    def avatar_is_here(self, is_here: bool) -> None:
        """Take note whether an avatar is in the room."""
        self._has_avatar = is_here
        self._settle()

    async def sounds(self, audio: bytes) -> None:
        """Something is about to be played; returns when the room can hear it, or soon.

        Args:
            audio: PCM. Silence opens nothing.
        """
        if not self._is_in_room or not any(audio):
            return
        loop = asyncio.get_running_loop()
        if self._until_quiet is None:
            self._waits_until = loop.time() + OPEN_SECS
        else:
            self._until_quiet.cancel()
        self._until_quiet = loop.call_later(QUIET_SECS, self._is_quiet)
        self._settle()
        if self._settling is not None and loop.time() < self._waits_until:
            # An interruption may cancel the sound, and not the publishing.
            await asyncio.wait((self._settling,), timeout=self._waits_until - loop.time())

    def _is_quiet(self) -> None:
        self._until_quiet = None
        self._settle()

    @property
    def _is_due(self) -> bool:
        """Whether what is published is not what should be."""
        should = self._until_quiet is not None or not self._has_avatar
        return self._is_in_room and should != self._is_published

    def _settle(self) -> None:
        if self._is_due and self._settling is None:
            self._settling = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        try:
            while self._is_due:
                self._is_published = not self._is_published
                await self._tell(self._is_published)
        finally:
            self._settling = None

    async def _tell(self, is_published: bool) -> None:
        try:
            async with asyncio.timeout(ANSWER_SECS):
                error = await self._publish(is_published)
        except TimeoutError:
            error = f"no answer within {ANSWER_SECS:g} s"
        except Exception as failure:  # noqa: BLE001 - this is the task's top
            error = f"{type(failure).__name__}: {failure}"
        if error and self._is_in_room:
            what = "published" if is_published else "taken back"
            meaning = (
                "nobody may hear what the bot says itself"
                if is_published
                else "a page that plays one track only may not hear the avatar"
            )
            logger.warning(
                f"{self._owner}: the bot's microphone could not be {what} ({error}), so {meaning}. "
                'If it comes again, use microphone="always", and let the page play everybody.'
            )
