"""The REST API of the service, with its faults."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final
from urllib.parse import parse_qsl

from aiohttp import BodyPartReader, web
from pydantic import JsonValue

from pipecat_agenthuman.sandbox.account import Account, OutOfMinutes, TooManySessions
from pipecat_agenthuman.sandbox.bodies import (
    PlainRefusal,
    Refusal,
    Reply,
    json_object,
    session_wish,
)
from pipecat_agenthuman.sandbox.faces import MAX_IMAGE_BYTES, Gallery, Upload
from pipecat_agenthuman.sandbox.faults import Fault, FaultBook, RequestPoint
from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.sessions import Ending, LiveSession
from pipecat_agenthuman.sandbox.wire import abort

_DISCONNECT_POLL_SECS: Final = 0.05
_OUT_OF_MINUTES_STATUS: Final = 402
"""The service documents the code INSUFFICIENT_MINUTES, not the status."""

_PLAIN_ERROR_STATUSES: Final = (401, 429)
_LISTED: Final = ("all", "started", "ended")
_ANOTHER_SERVER: Final = "another"
_Act = Callable[[web.Request], Awaitable[Reply]]


@dataclass(frozen=True)
class RestAnswers:
    """How the API answers.

    Attributes:
        api_key: The only key that is accepted; never shown in a ``repr``.
        round_trip_secs: Simulated network, half of it each way.
        created_status: HTTP status of a created session.
        running_status: How the status of a running session reads when asked for.
        lists_metadata: Whether the list of sessions has their metadata.
        tells_try_again: Whether a create is answered with ``try_again`` for a server's address.
    """

    api_key: str = field(repr=False)
    round_trip_secs: float
    created_status: int
    running_status: str
    lists_metadata: bool = True
    tells_try_again: bool = False


class RestApi:
    """The handlers under ``/v1``."""

    def __init__(
        self,
        answers: RestAnswers,
        *,
        account: Account,
        gallery: Gallery,
        faults: FaultBook,
        log: EventLog,
        closing: asyncio.Event,
    ) -> None:
        """Prepare the API.

        Args:
            answers: How it answers.
            account: Its sessions.
            gallery: Its avatars.
            faults: What is to go wrong.
            log: Where every request is noted.
            closing: Set when the sandbox closes, so that nothing hangs for longer.
        """
        self._answers = answers
        self._account = account
        self._gallery = gallery
        self._faults = faults
        self._log = log
        self._one_way_secs = answers.round_trip_secs / 2
        self._closing = closing

    def routes(self) -> list[web.RouteDef]:
        """Return the API's routes."""
        return [
            web.post("/v1/sessions", self._handler("create", self._create)),
            web.get("/v1/sessions", self._handler("list", self._list)),
            web.get("/v1/sessions/{id}", self._handler("get", self._get)),
            web.post("/v1/sessions/{id}/end", self._handler("end", self._end)),
            web.get("/v1/avatars", self._handler("avatars", self._avatars)),
            web.post("/v1/avatars/preview", self._handler("preview", self._preview)),
            web.post("/v1/avatars/upload-face", self._handler("upload-face", self._upload)),
            web.get("/v1/usage", self._handler("usage", self._usage)),
        ]

    # --- one request ---

    def _handler(
        self, point: RequestPoint, act: _Act
    ) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            await asyncio.sleep(self._one_way_secs)
            session_id = request.match_info.get("id")
            what, asked_at = f"{request.method} {request.path}", self._log.now()
            number = self._log.add("in", what, session_id)["number"]
            response = await self._serve(request, point, act)
            after_secs = round(self._log.now() - asked_at, 6)
            seen = _seen(response) | {"answers": number, "after_secs": after_secs}
            self._log.add("out", what, session_id, **seen)
            await asyncio.sleep(self._one_way_secs)
            return response

        return handle

    async def _serve(
        self, request: web.Request, point: RequestPoint, act: _Act
    ) -> web.StreamResponse:
        fault = self._faults.strike(point)
        if fault is None:
            return _response(await self._act(request, act))
        self._log.add("sandbox", "fault", request.match_info.get("id"), on=point, kind=fault.kind)
        if fault.delayed == "command":
            await self._pause(fault.delay_secs)
        reply = await self._act(request, act) if fault.carries_out else None
        if fault.delayed == "answer":
            await self._pause(fault.delay_secs)
        return await spoilt_response(request, reply, fault, self._closing)

    async def _act(self, request: web.Request, act: _Act) -> Reply:
        try:
            if self._closing.is_set():
                raise Refusal(503, "The sandbox is closing")
            self._check_key(request)
            return await act(request)
        except Refusal as refusal:
            return refusal.reply

    def _check_key(self, request: web.Request) -> None:
        key = request.headers.get("x-api-key", "")
        if not key:
            raise PlainRefusal(401, "Missing API key: send it as x-api-key")
        if not hmac.compare_digest(key.encode(), self._answers.api_key.encode()):
            raise PlainRefusal(401, "Invalid API key")

    async def _pause(self, delay_secs: float) -> None:
        try:
            async with asyncio.timeout(delay_secs):
                await self._closing.wait()
        except TimeoutError:
            pass

    # --- the endpoints ---

    async def _create(self, request: web.Request) -> Reply:
        wish = session_wish(json_object(await _text(request)))
        try:
            session = self._account.create(wish)
        except TooManySessions:
            limit = self._account.terms.max_sessions
            raise PlainRefusal(
                429,
                f"Concurrent session limit reached: {limit} of {limit} sessions in use. "
                "A sandbox allows more with --max-sessions N, or Sandbox(max_sessions=N)",
            ) from None
        except OutOfMinutes:
            raise Refusal(
                _OUT_OF_MINUTES_STATUS,
                "No minutes remaining on this account",
                suggestion="Upgrade the plan or buy minutes.",
                code="INSUFFICIENT_MINUTES",
            ) from None
        view = self._view(session, "started")
        view["session_token"] = session.token
        if session.server is not None:
            view["server_ws_uri"] = _server_url(request, session.server)
        elif self._answers.tells_try_again:
            view["server_ws_uri"] = "try_again"
        body: dict[str, JsonValue] = {
            "success": True,
            "session": view,
            "usage": self._usage_view(),
            "message": "Session created and started",
        }
        return Reply(self._answers.created_status, body)

    async def _list(self, request: web.Request) -> Reply:
        status = request.query.get("status", "all")
        if status not in _LISTED:
            raise Refusal(400, "Invalid status", suggestion=f"Use one of {', '.join(_LISTED)}.")
        views = [
            self._look_at(session)
            for session in self._account.all()
            if status in ("all", "started" if session.is_live else "ended")
        ]
        if not self._answers.lists_metadata:
            views = [{k: v for k, v in view.items() if k != "metadata"} for view in views]
        return Reply(200, {"success": True, "sessions": views})

    async def _get(self, request: web.Request) -> Reply:
        return Reply(200, {"success": True, "session": self._look_at(self._session(request))})

    async def _end(self, request: web.Request) -> Reply:
        session = self._session(request)
        session.end_requests += 1
        self._account.end(session, Ending.END_REQUEST)
        return Reply(200, {"success": True, "session": self._view(session, "ended")})

    async def _avatars(self, request: web.Request) -> Reply:
        return Reply(200, self._gallery.listing(_pictures_url(request)))

    async def _preview(self, request: web.Request) -> Reply:
        wanted = json_object(await _text(request)).get("avatar_id")
        return Reply(200, self._gallery.preview(wanted, _pictures_url(request)))

    async def _upload(self, request: web.Request) -> Reply:
        return Reply(200, self._gallery.upload(await _uploaded(request), _pictures_url(request)))

    async def _usage(self, request: web.Request) -> Reply:
        usage: dict[str, JsonValue] = {
            "total_remaining": self._account.minutes_left(),
            "concurrency": self._usage_view()["concurrency"],
            "plan": {"name": "Sandbox"},
        }
        return Reply(200, {"success": True, "usage": usage})

    # --- views ---

    def _session(self, request: web.Request) -> LiveSession:
        session = self._account.find(request.match_info["id"])
        if session is None:
            raise Refusal(404, "Session not found", suggestion="Check the session ID.")
        return session

    def _look_at(self, session: LiveSession) -> dict[str, JsonValue]:
        view = self._view(session, self._answers.running_status)
        until = session.ended_at if session.ended_at is not None else self._log.now()
        view["duration"] = round(until - session.created_at, 3)
        return view

    def _view(self, session: LiveSession, running_status: str) -> dict[str, JsonValue]:
        life_secs = self._account.terms.session_secs
        ended_at = session.ended_at
        return {
            "session_id": session.id,
            "status": running_status if session.is_live else "ended",
            "started_at": self._log.wall(session.created_at),
            "ended_at": None if ended_at is None else self._log.wall(ended_at),
            "expiration": None
            if life_secs is None
            else self._log.wall(session.created_at + life_secs),
            "metadata": session.wish.metadata,
        }

    def _usage_view(self) -> dict[str, JsonValue]:
        current, limit = self._account.live, self._account.terms.max_sessions
        return {
            "concurrency": {"current": current, "max": limit, "available": limit - current},
            "minutes": {"total_remaining": self._account.minutes_left()},
        }


# --- answers, right and wrong ---


def _response(reply: Reply) -> web.Response:
    return web.json_response(reply.body, status=reply.status, headers=reply.headers)


def _seen(response: web.StreamResponse) -> dict[str, Any]:
    """Say what of a response the log shows: its status and the words of an error."""
    shown: dict[str, Any] = {"status": response.status}
    if response.status >= 400 and isinstance(response, web.Response) and response.text:
        shown["error"] = response.text
    return shown


async def spoilt_response(
    request: web.Request, reply: Reply | None, fault: Fault, closing: asyncio.Event
) -> web.StreamResponse:
    """Answer a request or a handshake as a fault says.

    Args:
        request: The request.
        reply: The right answer, if it was worked out.
        fault: What goes wrong.
        closing: Set when the sandbox closes, so that nothing hangs for longer.

    Returns:
        A response; after a hang, a reset or a closed connection nobody will get it.
    """
    match fault.kind:
        case "missing":
            # aiohttp does not tell a handler that its client has gone.
            while request.transport is not None and not closing.is_set():  # noqa: ASYNC110
                await asyncio.sleep(_DISCONNECT_POLL_SECS)
        case "abort":
            abort(request)
        case "close":
            if request.transport is not None:
                request.transport.close()
        case "refuse":
            return _refused(fault)
        case "wrong_server" if reply is not None:
            return _response(_naming_another_server(request, reply))
        case _ if reply is not None:
            return _response(reply)
        case _:
            pass
    return web.Response(status=503)


def _refused(fault: Fault) -> web.Response:
    body = fault.body
    if body is None:
        words = f"Refused by the sandbox with status {fault.status}"
        plain = fault.status in _PLAIN_ERROR_STATUSES
        body = {"success": False, "error": words if plain else {"message": words}}
    text = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/json", **fault.headers}
    return web.Response(status=fault.status, body=text.encode(), headers=headers)


# --- bodies ---


def _server_url(request: web.Request, name: str) -> str:
    return f"ws://{request.host}/servers/{name}"


def _naming_another_server(request: web.Request, reply: Reply) -> Reply:
    body = reply.body
    if isinstance(body, dict) and isinstance(session := body.get("session"), dict):
        moved = {**session, "server_ws_uri": _server_url(request, _ANOTHER_SERVER)}
        return replace(reply, body={**body, "session": moved})
    return reply


def _pictures_url(request: web.Request) -> str:
    return f"{request.scheme}://{request.host}/sandbox/avatars"


async def _text(request: web.Request) -> str:
    try:
        return await request.text()
    except (UnicodeDecodeError, LookupError):
        raise Refusal(400, "Request body is not UTF-8 text") from None
    except web.HTTPRequestEntityTooLarge:
        raise Refusal(400, "Request body is too large") from None


async def _uploaded(request: web.Request) -> Upload:
    if request.content_type == "multipart/form-data":
        return await _uploaded_form(request)
    text = await _text(request)
    urlencoded = request.content_type == "application/x-www-form-urlencoded"
    body = dict(parse_qsl(text)) if urlencoded else json_object(text)
    return Upload(image_url=body.get("image_url"), image_base64=body.get("image_base64"))


async def _uploaded_form(request: web.Request) -> Upload:
    found: dict[str, bytes] = {}
    try:
        async for part in await request.multipart():
            if isinstance(part, BodyPartReader) and part.name:
                found[part.name] = await _limited(part)
    except ValueError:
        raise Refusal(400, "The form is malformed") from None
    texts = {name: found[name].decode(errors="replace") for name in found if name != "file"}
    return Upload(found.get("file"), texts.get("image_url"), texts.get("image_base64"))


async def _limited(part: BodyPartReader) -> bytes:
    """Read a part of a form, one byte further than its limit at most."""
    limit = MAX_IMAGE_BYTES if part.name == "file" else MAX_IMAGE_BYTES * 4 // 3 + 100
    content = bytearray()
    while len(content) <= limit and (chunk := await part.read_chunk()):
        content += chunk
    if len(content) > limit:
        raise Refusal(400, "The image is larger than 10 MB")
    return bytes(content)
