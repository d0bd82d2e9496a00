"""A transport in the avatar's room that lets the service listen, over a network as bad as wanted.

What it plays nobody hears; what the sandbox's avatars say reaches its ear, as LiveKit's or Daily's
library would deliver it: in pieces, some time later than it sounds, now and then later still, and
with holes that were filled in.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pipecat.frames.frames import Frame, StartFrame
from pipecat.processors.frame_processor import FrameDirection

from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE, Ear
from pipecat_agenthuman.sandbox import Sandbox, SandboxSession
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE
from tests.support.network import Network
from tests.support.pipelines import RoomCard


class HearingCard(RoomCard):
    """A sound card with an ear; give its ``sandbox`` to the call.

    Attributes:
        sandbox: Where the avatars are; they join this room.
        network: How the room hears them.
        is_muted: Whether the avatar's microphone is silent.
        subscriptions: Whom the ear began to listen to (``+``), and ended (``-``).
        refusals: How many more times the room refuses to let it begin.
    """

    def __init__(self, *, network: Network | None = None, **sandbox: Any) -> None:
        super().__init__()
        self.sandbox = Sandbox(on_avatar_joined=self._joined, on_avatar_left=self._left, **sandbox)
        self.is_muted = False
        self.subscriptions: list[str] = []
        self.refusals = 0
        self.ear = Ear(begin=self._begin, end=self._end)
        self.network = network or Network()
        self._microphone: asyncio.Task[None] | None = None
        self._frames: list[Frame] = []
        self._started = False

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        self._started = True
        for told in self._frames:
            await self.push_frame(told, FrameDirection.UPSTREAM)

    # --- who is in the room ---

    async def _joined(self, record: SandboxSession) -> None:
        await self._tell(AgentHumanAvatarJoinedFrame(record.id))
        await self.ear.avatar_joined(record.id)

    async def _left(self, record: SandboxSession) -> None:
        self._hush()
        await self.ear.avatar_left(record.id)
        await self._tell(AgentHumanAvatarLeftFrame(record.id, "it left"))

    async def _tell(self, frame: Frame) -> None:
        if self._started:
            await self.push_frame(frame, FrameDirection.UPSTREAM)
        else:
            self._frames.append(frame)

    # --- what is heard ---

    async def _begin(self, session_id: str) -> None:
        self.subscriptions.append(f"+{session_id}")
        if self.refusals:
            self.refusals -= 1
            raise RuntimeError("not in a call")
        self._microphone = asyncio.create_task(
            self.network.carry(partial(self._sound, session_id), partial(self._deliver, session_id))
        )

    async def _end(self, session_id: str) -> None:
        self.subscriptions.append(f"-{session_id}")
        self._hush()

    def _hush(self) -> None:
        if self._microphone is not None:
            self._microphone.cancel()

    def _deliver(self, session_id: str, pcm: bytes) -> None:
        self.ear.take(session_id, pcm, asyncio.get_running_loop().time())

    def _sound(self, session_id: str, first: float, last: float) -> NDArray[np.float64]:
        step = WIRE_SAMPLE_RATE // HEARD_SAMPLE_RATE
        heard = self.sandbox.between(session_id, first, last).reshape(-1, step).mean(axis=1)
        return np.zeros(len(heard)) if self.is_muted else heard
