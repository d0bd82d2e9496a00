"""A stand-in of an OpenAI-compatible API on loopback: chat completions and transcriptions.

The real services of Pipecat talk to it, through OpenAI's own client.
"""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from typing import Any, Self

from aiohttp import web

MODEL = "clever"


class OpenAiApi:
    """The API, with its answers.

    Attributes:
        keys: What the clients authorised themselves with.
        chats: The messages of each request for a completion.
        recordings: The audio of each request for a transcription, as WAV files.
        refuses: Whether it takes no key.
    """

    def __init__(self, answer: str, transcription: str = "") -> None:
        self.keys: set[str | None] = set()
        self.chats: list[list[dict[str, Any]]] = []
        self.recordings: list[bytes] = []
        self.refuses = False
        self._answer = answer
        self._transcription = transcription
        self._stack = AsyncExitStack()
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(
            [
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/audio/transcriptions", self._transcribe),
            ]
        )
        runner = web.AppRunner(app, shutdown_timeout=1)
        await runner.setup()
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        self.keys.add(request.headers.get("Authorization"))
        if self.refuses:
            error = {"message": f"Incorrect API key: {request.headers['Authorization']}"}
            return web.json_response({"error": error}, status=401)
        asked = await request.json()
        assert asked["model"] == MODEL
        assert asked["stream"]
        self.chats.append(asked["messages"])
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for word in self._answer.split():
            await self._send(response, {"content": f"{word} "})
        await self._send(response, {}, finish_reason="stop")
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _send(
        self, response: web.StreamResponse, delta: dict[str, str], finish_reason: str | None = None
    ) -> None:
        choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
        chunk = {
            "id": "chat-1",
            "object": "chat.completion.chunk",
            "created": 0,
            "model": MODEL,
            "choices": [choice],
        }
        await response.write(f"data: {json.dumps(chunk)}\n\n".encode())

    async def _transcribe(self, request: web.Request) -> web.Response:
        self.keys.add(request.headers.get("Authorization"))
        form = await request.post()
        file = form["file"]
        assert isinstance(file, web.FileField)
        self.recordings.append(file.file.read())
        return web.json_response({"text": self._transcription})
