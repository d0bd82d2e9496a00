"""A call on this machine: a room, people in it, the avatar, and the bot that is tested."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from pipecat.runner.types import RunnerArguments
from pipecat.transports.base_transport import TransportParams

from pipecat_agenthuman.rooms import DailyRoom
from pipecat_agenthuman.sandbox import Heard, Sandbox
from pipecat_agenthuman.sandbox.log import Entry
from pipecat_agenthuman.testing.people import Person
from pipecat_agenthuman.testing.services import ScriptedSTT
from pipecat_agenthuman.testing.transport import CallTransport
from pipecat_agenthuman.wire.pcm import to_secs

LIMIT_SECS: Final = 60.0
"""Longest wait for anything, unless a test says otherwise: more than a very busy machine needs."""

_CHUNK_SECS: Final = 0.02
_POLL_SECS: Final = 0.01
_numbers = itertools.count(1)


class Call:
    """A room in which a bot is tested as a whole.

    ::

        async with Call(sandbox) as call:
            bot = call.start(run_bot(call.transport, call.room))
            ada = await call.join("Ada")
            await call.until_heard(1.0)
            await ada.interrupt("Stop, please.")
            await ada.leave()
            await call.ended(bot)

    The bot gets the room's transport instead of its own, the rest of it is as it is. Its avatar
    is the sandbox's. Everything runs in real time, and nothing leaves the machine.

    Attributes:
        transport: The bot's transport.
        room: The avatar's room, for the service; a ``DailyRoom`` that the sandbox takes.
        runner_args: What Pipecat's runner would hand to ``bot``.
        stt: Speech recognition for the bot, which understands what people ``say``.
    """

    def __init__(self, sandbox: Sandbox, *, params: TransportParams | None = None) -> None:
        """Prepare a call; entering it begins it.

        Args:
            sandbox: A running sandbox, in whatever thread.
            params: The transport's; audio is on both ways if None.
        """
        self.sandbox = sandbox
        url = f"https://sandbox.daily.co/call-{next(_numbers)}"
        self.room = DailyRoom(url, "any-token-will-do")
        self.transport = CallTransport(self.room, params)
        self.runner_args = RunnerArguments()
        self.stt = ScriptedSTT()
        self._people: dict[str, Person] = {}
        self._bots: list[asyncio.Task[Any]] = []
        self._microphones: asyncio.Task[None] | None = None
        self._avatars: asyncio.Task[None] | None = None
        self._comings: asyncio.Queue[Entry] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()

        def note(entry: Entry) -> None:  # in the sandbox's thread
            if entry["what"] in ("avatar.joined", "avatar.left") and not loop.is_closed():
                loop.call_soon_threadsafe(self._comings.put_nowait, entry)

        self.sandbox.listen(note)
        self._avatars = asyncio.create_task(self._follow_avatars())
        self._microphones = asyncio.create_task(self._transmit())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        tasks = [task for task in (*self._bots, self._microphones, self._avatars) if task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- who comes and goes ------------------------------------------------------------

    def start(self, bot: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Let the bot run.

        Args:
            bot: Such as ``run_bot(call.transport, call.room)``.

        Returns:
            The task, which ends with the conversation; cancelled when the call ends before.
        """
        self._bots.append(asyncio.create_task(bot))
        return self._bots[-1]

    async def join(self, name: str = "Ada") -> Person:
        """Let a person in, as soon as the bot is there; returns when its handlers were called.

        Args:
            name: As whom.

        Raises:
            TimeoutError: If no bot's pipeline runs in time. A bot that has failed says why.
        """
        person = Person(
            name,
            f"{name}-{next(_numbers)}",
            transport=self.transport,
            stt=self.stt,
            until_avatar_speaks=self.until_avatar_speaks,
            leave=self._leave,
        )
        await self._while_bots_run(self.transport.person_joined(person.participant_id, name))
        self._people[person.participant_id] = person
        return person

    async def _leave(self, participant_id: str) -> None:
        if self._people.pop(participant_id, None) is not None:
            await self.transport.person_left(participant_id)

    # --- what happens ------------------------------------------------------------------

    def heard(self) -> Heard:
        """What was heard of the sandbox's avatars until now, to the sample."""
        return self.sandbox.heard()

    @property
    def heard_secs(self) -> float:
        """Seconds of it."""
        return to_secs(self.sandbox.heard_samples())

    async def until(
        self, condition: Callable[[], object], *, timeout_secs: float = LIMIT_SECS
    ) -> None:
        """Wait until something is so; a bot that has failed meanwhile says why.

        Args:
            condition: What is waited for.
            timeout_secs: How long at most.

        Raises:
            TimeoutError: If it does not become so.
        """

        async def poll() -> None:
            while not condition():  # noqa: ASYNC110 - it may depend on sound and other threads
                await asyncio.sleep(_POLL_SECS)

        await self._while_bots_run(poll(), timeout_secs)

    async def until_heard(self, secs: float, *, timeout_secs: float = LIMIT_SECS) -> Heard:
        """Wait until people have heard so much of the avatar.

        Args:
            secs: Seconds of sound since the call began, silences not counted.
            timeout_secs: How long at most.

        Returns:
            What they have heard by then.

        Raises:
            TimeoutError: If they do not.
        """
        await self.until(lambda: self.heard_secs >= secs, timeout_secs=timeout_secs)
        return self.heard()

    async def until_avatar_speaks(self, *, timeout_secs: float = LIMIT_SECS) -> None:
        """Wait until the avatar is heard, from now on.

        Args:
            timeout_secs: How long at most.

        Raises:
            TimeoutError: If it is not.
        """
        before = self.sandbox.heard_samples()
        await self.until(lambda: self.sandbox.heard_samples() > before, timeout_secs=timeout_secs)

    async def ended(self, bot: asyncio.Task[Any], *, timeout_secs: float = LIMIT_SECS) -> None:
        """Wait until a bot has ended, and its session with it.

        Args:
            bot: What ``start`` returned.
            timeout_secs: How long at most.

        Raises:
            TimeoutError: If it does not.
        """
        async with asyncio.timeout(timeout_secs):
            await asyncio.shield(bot)
        await self.sandbox.wait_until_ended(timeout_secs=timeout_secs)

    # --- inside ------------------------------------------------------------------------

    async def _while_bots_run(
        self, work: Coroutine[Any, Any, None], timeout_secs: float = LIMIT_SECS
    ) -> None:
        """Do something that needs the bots; one that fails ends it with its own error."""
        task = asyncio.create_task(work)
        try:
            async with asyncio.timeout(timeout_secs):
                while not task.done():
                    for bot in self._bots:
                        if bot.done() and not bot.cancelled():
                            bot.result()
                    watched = {task, *(bot for bot in self._bots if not bot.done())}
                    await asyncio.wait(watched, return_when=asyncio.FIRST_COMPLETED)
            task.result()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _follow_avatars(self) -> None:
        """Tell the bot's transport when its avatar comes and goes."""
        ours = self.room.url
        while True:
            entry = await self._comings.get()
            session_id = str(entry["session_id"])
            urls = {session.id: session.room_url for session in self.sandbox.sessions}
            if urls.get(session_id) != ours:
                continue  # another bot's, in another call
            if entry["what"] == "avatar.joined":
                await self.transport.avatar_joined(session_id)
            else:
                await self.transport.avatar_left(session_id, "leftCall")

    async def _transmit(self) -> None:
        """Let the bot hear everybody together, in real time, as long as somebody is there."""
        await self.transport.until_started()
        samples = round(self.transport.input_sample_rate * _CHUNK_SECS)
        due = time.monotonic()
        while True:
            people = list(self._people.values())
            if people:
                mixed = sum(person.spoken(samples).astype(np.int32) for person in people)
                sound = np.clip(mixed, -32768, 32767).astype("<i2")
                await self.transport.deliver(sound.tobytes())
            due = max(due + _CHUNK_SECS, time.monotonic() - 1.0)
            await asyncio.sleep(max(due - time.monotonic(), 0.0))
