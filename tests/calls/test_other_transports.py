"""A transport into no room at all: its caller hears the bot from the first word, and pays nothing.

Pipecat's own transports over a WebSocket and over WebRTC, with real callers on loopback.
"""

from __future__ import annotations

import asyncio
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from functools import partial
from itertools import product
from typing import Any, ClassVar

import numpy as np
import pytest
from pipecat.frames.frames import BotStoppedSpeakingFrame, ErrorFrame
from pipecat.pipeline.worker import PipelineWorker
from pipecat.serializers.protobuf import ProtobufFrameSerializer
from pipecat.transports.base_transport import BaseTransport, TransportParams
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.support.calls import avatar_in, avatars
from tests.support.conversation import loud
from tests.support.pipelines import Recorder, running
from tests.support.sounds import RATE, noise, utterance
from tests.support.waiting import until

SAID_SECS = 0.4


class Line(ABC):
    """A line to the bot, which a caller can take and leave.

    Attributes:
        transport: The bot's.
        calls: How often it can be taken: some transports are for one call.
        heard: What callers heard on it.
    """

    transport: BaseTransport
    calls: ClassVar[int] = 1

    def __init__(self) -> None:
        self.heard = bytearray()

    @abstractmethod
    async def call(self) -> None:
        """Call the bot."""

    @abstractmethod
    async def leave(self) -> None:
        """Ring off."""


class WebSocketLine(Line):
    """Pipecat's server for one caller over a WebSocket, as telephony services use one."""

    calls = 2

    def __init__(self) -> None:
        super().__init__()
        websocket = pytest.importorskip("pipecat.transports.websocket.server")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        params = websocket.SingleClientWebsocketServerParams(
            audio_out_enabled=True, serializer=ProtobufFrameSerializer()
        )
        self.transport = websocket.SingleClientWebsocketServerTransport(
            params, "127.0.0.1", self._port
        )
        self._caller: ClientConnection | None = None
        self._listening: asyncio.Task[None] | None = None

    async def call(self) -> None:
        while self._caller is None:
            with suppress(OSError):  # the server is not up yet
                self._caller = await connect(f"ws://127.0.0.1:{self._port}")
        self._listening = asyncio.create_task(self._listen(self._caller))

    async def leave(self) -> None:
        assert self._caller is not None
        assert self._listening is not None
        await self._caller.close()
        await self._listening
        self._caller = None

    async def _listen(self, caller: ClientConnection) -> None:
        serializer = ProtobufFrameSerializer()
        with suppress(ConnectionClosed):
            while True:
                frame = await serializer.deserialize(await caller.recv())
                self.heard += getattr(frame, "audio", b"")


class WebRTCLine(Line):
    """Pipecat's transport to one browser, without a room."""

    def __init__(self) -> None:
        super().__init__()
        self._aiortc = pytest.importorskip("aiortc")
        webrtc = pytest.importorskip("pipecat.transports.smallwebrtc.transport")
        connection = pytest.importorskip("pipecat.transports.smallwebrtc.connection")
        self._connection = connection.SmallWebRTCConnection()
        params = TransportParams(audio_out_enabled=True)
        self.transport = webrtc.SmallWebRTCTransport(self._connection, params)
        self._listening: asyncio.Task[None] | None = None

    async def call(self) -> None:
        peer = self._peer = self._aiortc.RTCPeerConnection()
        peer.createDataChannel("messages")
        for medium in ("audio", "video", "video"):
            peer.addTransceiver(medium)

        @peer.on("track")
        def on_track(track: Any) -> None:
            if track.kind == "audio":
                self._listening = asyncio.create_task(self._listen(track))

        await peer.setLocalDescription(await peer.createOffer())
        offer = peer.localDescription
        await self._connection.initialize(sdp=offer.sdp, type=offer.type)
        answer = self._connection.get_answer()
        await peer.setRemoteDescription(
            self._aiortc.RTCSessionDescription(answer["sdp"], answer["type"])
        )
        await self._connection.connect()

    async def leave(self) -> None:
        assert self._listening is not None
        await self._peer.close()
        await self._connection.disconnect()
        await self._listening

    async def _listen(self, track: Any) -> None:
        with suppress(self._aiortc.mediastreams.MediaStreamError):
            while True:
                frame = await track.recv()
                mono = frame.to_ndarray().reshape(-1, len(frame.layout.channels))[:, 0]
                self.heard += mono.astype(np.int16)[:: frame.sample_rate // RATE].tobytes()


LINES = {"a WebSocket": WebSocketLine, "WebRTC": WebRTCLine}


async def is_heard(worker: PipelineWorker, line: Line, above: Recorder) -> None:
    """Say something, and wait until it was heard, and the pipeline believes so."""
    line.heard.clear()
    turns = len(above.of(BotStoppedSpeakingFrame, upstream=True))
    await worker.queue_frames(utterance(noise(SAID_SECS)))
    await above.wait_for(lambda: len(above.of(BotStoppedSpeakingFrame, upstream=True)) > turns)
    await until(lambda: len(loud(line.heard)) > 0.9 * SAID_SECS * RATE)


@pytest.mark.parametrize(
    ("line", "session_start"), list(product(LINES, ["pipeline", "client_connected"]))
)
async def test_a_caller_who_is_in_no_room_hears_the_transport_from_the_first_word(
    line: str, session_start: str, log: list[str]
):
    bots_line = LINES[line]()
    transport = bots_line.transport
    arrived: list[object] = []

    @transport.event_handler("on_client_connected")
    async def on_client_connected(_: object, client: object) -> None:
        arrived.append(client)

    async with avatars() as sandbox:
        avatar, above = avatar_in(sandbox, session_start=session_start), Recorder("above")
        parts = [transport.input(), above, avatar, transport.output()]
        async with running(*parts, rate=RATE) as (worker, ending):
            for times in range(1, bots_line.calls + 1):
                await bots_line.call()
                await until(partial(lambda times: len(arrived) == times, times))
                await is_heard(worker, bots_line, above)
                await bots_line.leave()
            await worker.cancel()
            await ending
        assert not sandbox.sessions
        assert not [entry for entry in sandbox.log if entry["direction"] == "in"]
    errors = above.of(ErrorFrame, upstream=True)
    assert ["not with the avatar" in error.error for error in errors] == [True]
    assert "nothing is billed" in errors[0].error
    assert len([entry for entry in log if entry.startswith(f"ERROR {avatar} ")]) == 1
