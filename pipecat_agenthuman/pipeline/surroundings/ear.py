"""A transport's ear for the avatar: its sound, for whoever measures when it comes, and nobody else.

What is heard here enters no frame and no queue of the pipeline: the bot would hear itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from loguru import logger

HEARD_SAMPLE_RATE: Final = 8000
"""Samples per second of what is heard: enough for how loud the avatar is, and when."""

ANSWER_SECS: Final = 5.0
"""What a room may take to subscribe the avatar or not: who comes and goes is told behind that."""


class Listener(Protocol):
    """Somebody who listens to the avatar. Called on the event loop; it must be quick."""

    def hears(self, audio: bytes, at: float) -> None:
        """Something was heard, be it silence.

        Args:
            audio: 16-bit mono PCM at ``HEARD_SAMPLE_RATE``.
            at: When its last sample came, in seconds on the monotonic clock.
        """
        ...

    def hears_nothing(self) -> None:
        """Nothing more is heard, until something is."""
        ...


class Ear:
    """Who listens to the avatar in a room, and to which one.

    The avatar is subscribed only while somebody listens. With two of them in the room nobody could
    tell whose voice it is that is heard, as when an avatar is replaced: then nothing is heard. A
    room that refuses is asked again at the next occasion: when somebody comes, goes, or asks to
    listen once more. One whose sound broke on its way is not listened to again.

    Attributes:
        heard: The avatar that is listened to, or None.
    """

    def __init__(
        self,
        *,
        begin: Callable[[str], Awaitable[None]],
        end: Callable[[str], Awaitable[None]],
    ) -> None:
        """Create an ear that hears nothing.

        Args:
            begin: Lets what an avatar says come to ``take``; called with its id.
            end: Lets it come no more; of one that left, nothing comes by itself.
        """
        self.heard: str | None = None
        self._begin = begin
        self._end = end
        self._listeners: list[Listener] = []
        self._present: set[str] = set()
        self._broken: set[str] = set()
        self._is_closed = False
        self._settling = asyncio.Lock()

    # --- for the service -----------------------------------------------------------------

    async def listen(self, listener: Listener) -> None:
        """Let somebody hear the avatar, from soon on, and whichever it is meanwhile.

        Args:
            listener: Who; once, however often it is asked for.
        """
        if listener not in self._listeners:
            self._listeners.append(listener)
        await self._settle()

    async def rest(self, listener: Listener) -> None:
        """Let somebody hear nothing any more, from now on.

        Args:
            listener: Who; it need not be listening.
        """
        if listener in self._listeners:
            self._listeners.remove(listener)
            listener.hears_nothing()
        await self._settle()

    # --- for the transport ---------------------------------------------------------------

    async def avatar_joined(self, participant_id: str) -> None:
        """An avatar is in the room, for the first time or still."""
        self._present.add(participant_id)
        await self._settle()

    def expects(self, participant_id: str) -> bool:
        """Whether an avatar will be listened to, once it is told to be in the room."""
        return self._would_hear({participant_id} | self._present) == participant_id

    async def avatar_left(self, participant_id: str) -> None:
        """An avatar is out of the room."""
        self._present.discard(participant_id)
        self._broken.discard(participant_id)
        await self._settle()

    async def broke(self, participant_id: str, error: Exception) -> None:
        """What an avatar says comes no more: hear nothing of it for as long as it is there.

        Told of once: it would break again, and whoever listens measures with the next avatar.

        Args:
            participant_id: Whose sound it was; of one that is not heard, it is no news.
            error: What was raised where its sound is read.
        """
        if participant_id != self.heard or participant_id in self._broken:
            return
        self._broken.add(participant_id)
        logger.opt(exception=error).warning(
            f"Listening to the avatar {participant_id} failed ({error!r}): it is not listened to "
            "any more, and its latency stays as it is; avatar_latency_secs sets another. The call "
            "goes on."
        )
        await self._settle()

    def close(self) -> None:
        """Hear nothing ever more: the bot leaves the room, and all subscriptions end with that."""
        self._is_closed = True
        self._let_go()

    def take(self, participant_id: str, audio: bytes, at: float) -> None:
        """Take what an avatar said; what comes late of another is dropped.

        Args:
            participant_id: Who said it.
            audio: 16-bit mono PCM at ``HEARD_SAMPLE_RATE``.
            at: When its last sample came, in seconds on the monotonic clock.
        """
        if participant_id == self.heard:
            for listener in tuple(self._listeners):
                listener.hears(audio, at)

    # --- inside --------------------------------------------------------------------------

    @property
    def _wanted(self) -> str | None:
        return self._would_hear(self._present)

    def _would_hear(self, present: set[str]) -> str | None:
        """Who of those in the room is to be heard."""
        if self._is_closed or not self._listeners or len(present) != 1:
            return None
        (alone,) = present
        return None if alone in self._broken else alone

    def _let_go(self) -> None:
        self.heard = None
        for listener in tuple(self._listeners):
            listener.hears_nothing()

    async def _settle(self) -> None:
        """Listen to whom is wanted now, which may change while the room answers."""
        async with self._settling:
            until = asyncio.get_running_loop().time() + ANSWER_SECS
            while self.heard != (wanted := self._wanted):
                former = self.heard
                if former is not None:
                    self._let_go()
                    if former in self._present:
                        await self._ask(self._end, former, until)
                elif wanted is not None:
                    self.heard = wanted
                    if not await self._ask(self._begin, wanted, until):
                        self._let_go()
                        await self._ask(self._end, wanted, until)  # What was done in part.
                        return

    async def _ask(
        self, ask: Callable[[str], Awaitable[None]], participant_id: str, until: float
    ) -> bool:
        """Ask the room, which may refuse: then the latency stays as it is, and all else goes on."""
        try:
            async with asyncio.timeout_at(until):
                await ask(participant_id)
            return True
        except Exception as error:  # noqa: BLE001 - rooms differ in what they raise
            logger.warning(
                f"The room did not do as the ear for the avatar {participant_id} asked "
                f"({error!r}): its latency stays as it is."
            )
            return False
