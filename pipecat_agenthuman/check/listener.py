"""Somebody who sits in the avatar's room for a check: did it appear, and is its voice heard?

Joins as a bot does, with this package's own transports, and says nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from importlib.util import find_spec
from typing import Any, Final

import numpy as np

from pipecat_agenthuman._environment import DAILY_API_KEY, LIVEKIT_API_KEY, LIVEKIT_API_SECRET
from pipecat_agenthuman.check.environment import DailyAccess, LiveKitAccess
from pipecat_agenthuman.errors import AvatarAbsentError, AvatarUnheardError, RoomTokenError
from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE, Ear
from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom

JOIN_SECS: Final = 15.0
"""What joining a room may take."""

APPEAR_SECS: Final = 20.0
"""What an avatar may take to appear: a bot's first words wait half as long."""

HEAR_SECS: Final = 5.0
"""What its voice may take; twice what any latency is believed to be."""

CLOSE_SECS: Final = 5.0
"""What leaving the room may take; nothing depends on it."""

_NAME: Final = "pipecat-agenthuman check"
_LOUD: Final = 200
"""Root of the mean square from which a voice is one; what is spoken is ten times as loud."""

_PIECE_SAMPLES: Final = HEARD_SAMPLE_RATE // 100


class CannotListenError(Exception):
    """There is no way to sit in the room; the text says why."""


class RoomListener:
    """Listens to the avatar of a session, once it is there."""

    def __init__(self, ear: Ear) -> None:
        """Wait for an avatar.

        Args:
            ear: The transport's.
        """
        self._ear = ear
        self._appeared: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._sounded: asyncio.Future[float] = asyncio.get_running_loop().create_future()
        self._from = 0.0

    def appeared(self) -> None:
        """The avatar is in the room."""
        if not self._appeared.done():
            self._appeared.set_result(time.monotonic())

    async def await_avatar(self) -> float:
        """Wait until the avatar is in the room, and listen to it.

        Returns:
            When it appeared, in seconds on the monotonic clock.

        Raises:
            AvatarAbsentError: If it did not appear.
        """
        try:
            async with asyncio.timeout(APPEAR_SECS):
                appeared_at = await asyncio.shield(self._appeared)
        except TimeoutError:
            raise AvatarAbsentError(
                f"No avatar appeared in the room within {APPEAR_SECS:g} s, although its session "
                "is up.",
                remedy="Check that its token belongs to this room and has not expired, and that "
                "the room has a free place.",
            ) from None
        await self._ear.listen(self)
        return appeared_at

    async def await_voice(self, since: float) -> float:
        """Wait until the avatar is heard.

        Args:
            since: From when on, in seconds on the monotonic clock.

        Returns:
            When its first sound came, in seconds on the monotonic clock.

        Raises:
            AvatarUnheardError: If it was not heard.
        """
        try:
            async with asyncio.timeout(max(since + HEAR_SECS - time.monotonic(), 0.0)):
                return await asyncio.shield(self._sounded)
        except TimeoutError:
            raise AvatarUnheardError(
                f"The avatar confirmed speech, and nothing of it was heard in the room within "
                f"{HEAR_SECS:g} s.",
                remedy="Check whether the avatar's token lets it send audio, and whether it is "
                "muted in the room.",
            ) from None

    # --- what the ear brings -------------------------------------------------------------

    def hears(self, audio: bytes, at: float) -> None:
        """Look whether there is a voice in it."""
        samples = np.frombuffer(audio, np.int16).astype(np.float64)
        pieces = samples[: len(samples) // _PIECE_SAMPLES * _PIECE_SAMPLES]
        loud = np.sqrt((pieces.reshape(-1, _PIECE_SAMPLES) ** 2).mean(axis=1)) > _LOUD
        if loud.any() and not self._sounded.done():
            before_end = len(samples) - int(np.argmax(loud)) * _PIECE_SAMPLES
            self._sounded.set_result(at - before_end / HEARD_SAMPLE_RATE)

    def hears_nothing(self) -> None:
        """Nothing is heard: there is nothing to do."""


@asynccontextmanager
async def listening_in(
    room: DailyRoom | LiveKitRoom, access: DailyAccess | LiveKitAccess
) -> AsyncGenerator[RoomListener]:
    """Sit in the avatar's room while the context lasts.

    Args:
        room: The room, with the avatar's token.
        access: With what a token for the listener can be made.

    Raises:
        CannotListenError: If there is no token for it, or no client for such a room.
        RoomTokenError: If the room does not let it in.
    """
    # Pipecat is loaded by whoever needs it, and a check needs it here only.
    from pipecat.pipeline.pipeline import Pipeline
    from pipecat.pipeline.worker import PipelineParams, PipelineWorker
    from pipecat.workers.runner import WorkerRunner

    transport = await _transport(room, access)
    output = transport.output()
    if output.ear is None:
        raise CannotListenError("the transport does not let anybody listen")
    listener, joined = RoomListener(output.ear), asyncio.Event()

    async def on_joined(_transport: object, *_: object) -> None:
        joined.set()

    async def on_avatar(_transport: object, _avatar: object) -> None:
        listener.appeared()

    transport.add_event_handler("on_avatar_connected", on_avatar)
    joins = "on_joined" if isinstance(access, DailyAccess) else "on_connected"
    transport.add_event_handler(joins, on_joined)
    worker = PipelineWorker(
        Pipeline([output]),
        params=PipelineParams(),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        try:
            async with asyncio.timeout(JOIN_SECS):
                await joined.wait()
        except TimeoutError:
            raise RoomTokenError(
                f"Nobody could join the room within {JOIN_SECS:g} s, to listen to the avatar.",
                remedy="Check that the room exists and has a free place; a bot would not get in "
                "either.",
            ) from None
        yield listener
    finally:
        await worker.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECS):
                await running


async def _transport(room: DailyRoom | LiveKitRoom, access: DailyAccess | LiveKitAccess) -> Any:
    if isinstance(room, DailyRoom):
        assert isinstance(access, DailyAccess)
        return await _daily_transport(room, access)
    assert isinstance(access, LiveKitAccess)
    return await _livekit_transport(room, access)


async def _daily_transport(room: DailyRoom, access: DailyAccess) -> Any:
    if not access.api_key:
        raise CannotListenError(f"set {DAILY_API_KEY.name} to have somebody listen in the room")
    from pipecat.transports.daily.transport import DailyParams

    from pipecat_agenthuman.daily import AgentHumanDailyTransport

    seat = await DailyRoom.mint(
        access.url, api_key=access.api_key, api_url=access.api_url, user_name=_NAME
    )
    params = DailyParams(audio_out_enabled=False)
    return AgentHumanDailyTransport(room.url, seat.token, _NAME, params, avatar=room.identity)


async def _livekit_transport(room: LiveKitRoom, access: LiveKitAccess) -> Any:
    if not (access.room_name and access.api_key and access.api_secret):
        raise CannotListenError(
            f"set {LIVEKIT_API_KEY.name} and {LIVEKIT_API_SECRET.name} to have somebody listen in "
            "the room"
        )
    # `livekit` alone may be no more than LiveKit's api package, which signs tokens.
    if find_spec("livekit") is None or find_spec("livekit.rtc") is None:
        raise CannotListenError(
            "install pipecat-agenthuman[livekit] to have somebody listen in the room"
        )
    from pipecat.transports.livekit.transport import LiveKitParams

    from pipecat_agenthuman.livekit import AgentHumanLiveKitTransport

    seat = await LiveKitRoom.mint(
        access.url,
        room_name=access.room_name,
        api_key=access.api_key,
        api_secret=access.api_secret,
        name=_NAME,
    )
    params = LiveKitParams(audio_out_enabled=False)
    return AgentHumanLiveKitTransport(
        access.url, seat.token, access.room_name, params, avatar=room.identity
    )
