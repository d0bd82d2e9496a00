"""A stand-in of OpenAI's Realtime API on loopback: as much of it as one conversation takes.

The real ``OpenAIRealtimeLLMService`` of Pipecat talks to it. It hears all audio, answers with
the synthesised voice of ``conversation.py``, and its voice activity detection is the test: it
calls ``person_starts`` and ``person_says``.
"""

from __future__ import annotations

import base64
import itertools
import json
from collections import deque
from contextlib import AsyncExitStack
from typing import Any, Self

import numpy as np
import soxr
from websockets.asyncio.server import Server, ServerConnection, serve

from tests.support.conversation import bot_speech

RATE = 24000
_DELTA_BYTES = RATE // 5 * 2


class RealtimeApi:
    """The API, with its answers.

    Attributes:
        heard: All audio that was sent to it, 24 kHz.
        told: The messages that were put into its conversation.
        truncated_at_ms: Where its answers were cut off by the client.
        keys: What the clients authorised themselves with.
    """

    def __init__(self, *answers: str) -> None:
        self.heard = bytearray()
        self.told: list[str] = []
        self.truncated_at_ms: list[int] = []
        self.keys: set[str | None] = set()
        self._answers = deque(answers)
        self._ids = itertools.count()
        self._server: Server
        self._socket: ServerConnection
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self._server = await self._stack.enter_async_context(serve(self._converse, "127.0.0.1", 0))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def url(self) -> str:
        port = next(iter(self._server.sockets)).getsockname()[1]
        return f"ws://127.0.0.1:{port}/v1/realtime"

    async def person_starts(self) -> None:
        """Detect that the person speaks."""
        await self._send("input_audio_buffer.speech_started", audio_start_ms=0, item_id="heard")

    async def person_says(self, text: str) -> None:
        """Detect that the person has finished, understand it, and answer."""
        await self._send("input_audio_buffer.speech_stopped", audio_end_ms=0, item_id="heard")
        await self._send(
            "conversation.item.input_audio_transcription.completed",
            item_id="heard",
            content_index=0,
            transcript=text,
        )
        await self._answer()

    async def _converse(self, socket: ServerConnection) -> None:
        self._socket = socket
        assert socket.request is not None
        self.keys.add(socket.request.headers.get("Authorization"))
        await self._send("session.created", session={})
        async for text in socket:
            await self._take(json.loads(text))

    async def _take(self, event: dict[str, Any]) -> None:
        match event["type"]:
            case "session.update":
                await self._send("session.updated", session={})
            case "conversation.item.create":
                self.told += [part["text"] for part in event["item"]["content"]]
                await self._send("conversation.item.added", item=event["item"])
            case "conversation.item.truncate":
                self.truncated_at_ms.append(event["audio_end_ms"])
            case "input_audio_buffer.append":
                self.heard.extend(base64.b64decode(event["audio"]))
            case "response.create":
                await self._answer()

    async def _answer(self) -> None:
        text = self._answers.popleft()
        response_id, item_id = f"resp_{next(self._ids)}", f"item_{next(self._ids)}"
        item = {"id": item_id, "type": "message", "role": "assistant", "content": []}
        await self._send("response.created", response=_response(response_id, "in_progress"))
        await self._send("conversation.item.added", item=item)
        place = {
            "response_id": response_id,
            "item_id": item_id,
            "output_index": 0,
            "content_index": 0,
        }
        await self._send("response.output_audio_transcript.delta", delta=text, **place)
        for delta in _deltas(text):
            await self._send("response.output_audio.delta", delta=delta, **place)
        await self._send("response.done", response=_response(response_id, "completed"))

    async def _send(self, kind: str, **fields: Any) -> None:
        event = {"event_id": f"event_{next(self._ids)}", "type": kind, **fields}
        await self._socket.send(json.dumps(event))


def _deltas(text: str) -> list[str]:
    speech = bot_speech(text)
    samples = np.frombuffer(speech.audio, dtype=np.int16)
    audio = soxr.resample(samples, speech.sample_rate, RATE).astype(np.int16).tobytes()
    pieces = (audio[start : start + _DELTA_BYTES] for start in range(0, len(audio), _DELTA_BYTES))
    return [base64.b64encode(piece).decode() for piece in pieces]


def _response(response_id: str, status: str) -> dict[str, Any]:
    details = {"text_tokens": 1, "audio_tokens": 1, "cached_tokens": 0}
    return {
        "id": response_id,
        "object": "realtime.response",
        "status": status,
        "status_details": None,
        "output": [],
        "usage": {
            "total_tokens": 4,
            "input_tokens": 2,
            "output_tokens": 2,
            "input_token_details": details,
            "output_token_details": details,
        },
    }
