"""Services of peers as they ship, with another end of their network.

Each opens one WebSocket to a place and says there what it would say to its service. What is
replaced is said in ``subjects.py``, and once more where it is done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest.mock import patch

import aiohttp
from pipecat.processors.frame_processor import FrameProcessor
from websockets.asyncio.client import ClientConnection, connect

from benchmarks.stage.far_end import Place


@contextmanager
def _replaced(owner: Any, **members: Any) -> Iterator[None]:
    with patch.multiple(owner, **members):
        yield


# --- HeyGen: its session and its LiveKit room ----------------------------------------------


@asynccontextmanager
async def heygen(place: Place) -> AsyncIterator[FrameProcessor]:
    from pipecat.services.heygen.api_interactive_avatar import HeyGenApi
    from pipecat.services.heygen.base_api import StandardSessionResponse
    from pipecat.services.heygen.client import HeyGenClient
    from pipecat.services.heygen.video import HeyGenVideoService

    async def new_session(*_: Any) -> StandardSessionResponse:
        return StandardSessionResponse(
            session_id="session",
            access_token="token",
            livekit_agent_token="token",
            livekit_url="wss://nowhere.invalid",
            ws_url=place.ws_url,
            raw_response=None,
        )

    async def nothing(*_: Any) -> None:
        pass

    with (
        _replaced(HeyGenApi, new_session=new_session, close_session=nothing),
        _replaced(HeyGenClient, _livekit_connect=nothing),
    ):
        async with aiohttp.ClientSession() as session:
            yield HeyGenVideoService(api_key="key", session=session)


# --- Tavus: its conversation and the Daily client ------------------------------------------


class _DailyClient:
    """A Daily client whose app messages go through a WebSocket."""

    def __init__(self, url: str, _: Any, __: str, params: Any, callbacks: Any, *___: Any) -> None:
        self._url, self._params, self._callbacks = url, params, callbacks
        self._socket: ClientConnection | None = None
        self.in_sample_rate = self.out_sample_rate = 0

    async def setup(self, setup: Any) -> None:
        self.in_sample_rate = self._params.audio_in_sample_rate or setup.audio_in_sample_rate
        self.out_sample_rate = self._params.audio_out_sample_rate or setup.audio_out_sample_rate
        self._socket = await connect(self._url)

    async def join(self) -> None:
        await self._callbacks.on_joined({})

    async def send_message(self, frame: Any) -> None:
        assert self._socket is not None
        await self._socket.send(json.dumps(frame.message))

    async def leave(self) -> None:
        pass

    async def cleanup(self) -> None:
        if self._socket is not None:
            await self._socket.close()


@asynccontextmanager
async def tavus(place: Place) -> AsyncIterator[FrameProcessor]:
    from pipecat.services.tavus.video import TavusVideoService
    from pipecat.transports.tavus import transport

    async def create(*_: Any) -> dict[str, str]:
        return {"conversation_id": "conversation", "conversation_url": place.ws_url}

    async def nothing(*_: Any) -> None:
        pass

    with (
        _replaced(transport.TavusApi, create_conversation=create, end_conversation=nothing),
        _replaced(transport, DailyTransportClient=_DailyClient),
    ):
        async with aiohttp.ClientSession() as session:
            yield TavusVideoService(api_key="key", replica_id="replica", session=session)


# --- Simli: its connection -----------------------------------------------------------------


class _SimliConnection:
    """A connection whose WebSocket leads to a place, and through which nothing comes back."""

    def __init__(self, socket: ClientConnection) -> None:
        self.wsConnection = socket

    async def stop(self) -> None:
        await self.wsConnection.close()

    async def _nothing(self) -> AsyncIterator[Any]:
        await asyncio.Event().wait()
        yield None

    AudioFrameIterator = VideoFrameIterator = _nothing


@asynccontextmanager
async def simli(place: Place) -> AsyncIterator[FrameProcessor]:
    from pipecat.services.simli.video import SimliVideoService
    from simli import SimliClient

    async def start(client: Any) -> Any:
        client.Connection = _SimliConnection(await connect(place.ws_url))
        return client

    with _replaced(SimliClient, start=start):
        yield SimliVideoService(api_key="key", face_id="face")
