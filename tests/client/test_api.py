"""The REST client against a real server on loopback, which counts what it is asked."""

from __future__ import annotations

import asyncio
import base64
import json
import math
import socket
import ssl
import traceback
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from unittest.mock import Mock

import aiohttp
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver
from aiohttp.client_reqrep import ConnectionKey
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st
from loguru import logger
from pydantic import ValidationError

from pipecat_agenthuman.client.api import (
    NO_RETRY,
    AgentHumanApi,
    CreatedSession,
    RetryPolicy,
    Timing,
)
from pipecat_agenthuman.client.retry import RenewalPolicy, backoff_secs
from pipecat_agenthuman.errors import (
    AgentHumanError,
    ApiError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OutOfMinutesError,
    PermissionDeniedError,
    RateLimitedError,
    ServerFailureError,
    TransportError,
)

KEY = "ah_live_key_0123456789"
ROOM_TOKEN = "room-token-abcdefghij"
SESSION_TOKEN = "session-token-klmnopqrst"
SECRETS = (KEY, ROOM_TOKEN, SESSION_TOKEN)

NOW_SECS = 1_790_000_000.0
PATIENCE_SECS = 60.0
"""How long a test waits for what must happen; only a failing test waits that long."""

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True)
class Room:
    platform: str = "daily"
    url: str = "https://example.daily.co/room"
    token: str = field(default=ROOM_TOKEN, repr=False)


def session_body(**changes: Any) -> dict[str, Any]:
    session = {
        "session_id": "sess_1",
        "status": "started",
        "session_token": SESSION_TOKEN,
        "started_at": "2026-05-01T10:00:00.000Z",
        "ended_at": None,
        "expiration": "2026-05-01T10:30:00Z",
        "metadata": {"call": "c-1"},
    }
    return {
        "success": True,
        "session": session | changes,
        "usage": {
            "concurrency": {"current": 1, "max": 5, "available": 4},
            "minutes": {"total_remaining": 12.5},
        },
        "message": "Session started",
    }


ENDED = {"success": True, "session": {"session_id": "sess_1", "status": "ended", "duration": 61}}


def says(status: int, body: object = None, headers: dict[str, str] | None = None) -> Reply:
    """Answer with a body: JSON for an object, as it is for text and bytes."""

    async def reply(_request: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes | str):
            raw = body.encode() if isinstance(body, str) else body
        else:
            raw = b"" if body is None else json.dumps(body).encode()
        return web.Response(status=status, body=raw, headers=headers)

    return reply


async def hangs_up(request: web.Request) -> web.StreamResponse:
    """Read the request and reset the connection instead of answering."""
    await request.read()
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def talks_nonsense(request: web.Request) -> web.StreamResponse:
    """Answer with something that is not HTTP, and quotes the key."""
    assert request.transport is not None
    request.transport.write(f"HTTP/1.1 {request.headers['x-api-key']}\r\n\r\n".encode())
    request.transport.close()
    return web.Response()


def breaks_off(body: bytes) -> Reply:
    """Promise a longer body than is sent."""

    async def reply(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=201, headers={"Content-Length": str(len(body) + 100)})
        await response.prepare(request)
        await response.write(body)
        assert request.transport is not None
        request.transport.close()
        return response

    return reply


class Held:
    """Answer only when released."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self.released = asyncio.Event()

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        await self.released.wait()
        return await self._reply(request)


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Server:
    """An API whose answers are scripted; the last one of a route goes on for ever."""

    def __init__(self, port: int | None = None) -> None:
        self.asked: list[Asked] = []
        self._scripts: dict[str, list[Reply]] = {}
        self._arrivals: dict[str, asyncio.Event] = defaultdict(asyncio.Event)
        app = web.Application(client_max_size=20_000_000)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._server = TestServer(app, port=port)
        self.on("POST /v1/sessions", says(201, session_body()))
        self.on("POST /v1/sessions/sess_1/end", says(200, ENDED))

    def on(self, route: str, *replies: Reply) -> None:
        self._scripts[route] = list(replies)

    def count(self, route: str) -> int:
        return sum(f"{asked.method} {asked.path}" == route for asked in self.asked)

    @property
    def creates(self) -> int:
        return self.count("POST /v1/sessions")

    @property
    def ends(self) -> int:
        return self.count("POST /v1/sessions/sess_1/end")

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.port}/v1"

    async def arrival(self, route: str) -> None:
        async with asyncio.timeout(PATIENCE_SECS):
            await self._arrivals[route].wait()

    async def start(self) -> None:
        await self._server.start_server()

    async def stop(self) -> None:
        await self._server.close()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        self.asked.append(Asked(request.method, request.path, dict(request.headers), body))
        route = f"{request.method} {request.path}"
        self._arrivals[route].set()
        script = self._scripts.get(route)
        if not script:
            return web.json_response({"error": "no such route"}, status=404)
        return await (script.pop(0) if len(script) > 1 else script[0])(request)


class FakeTime:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now_secs = 0.0
        self.pauses: list[float] = []
        self.on_sleep: Callable[[], Awaitable[None]] | None = None

    async def sleep(self, secs: float) -> None:
        self.pauses.append(secs)
        self.now_secs += secs
        if self.on_sleep is not None:
            await self.on_sleep()

    def timing(self, jitter: float = 1.0) -> Timing:
        return Timing(
            monotonic=lambda: self.now_secs,
            wall=lambda: NOW_SECS + self.now_secs,
            sleep=self.sleep,
            jitter=lambda: jitter,
        )


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    server = Server()
    await server.start()
    yield server
    await server.stop()


@pytest.fixture
def clock() -> FakeTime:
    return FakeTime()


@pytest.fixture
async def api(server: Server, clock: FakeTime) -> AsyncIterator[AgentHumanApi]:
    async with AgentHumanApi(KEY, api_url=server.url, timing=clock.timing()) as api:
        yield api


@pytest.fixture
def deaf() -> Iterator[socket.socket]:
    """A port that nobody else gets, and that refuses connections."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield reserved


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Everything that is logged, with the variables of every traceback."""
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", diagnose=True, backtrace=True)
    yield lines
    logger.remove(sink)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AGENTHUMAN_API_KEY", "AGENTHUMAN_API_URL", "HTTP_PROXY", "http_proxy"):
        monkeypatch.delenv(name, raising=False)


async def create(api: AgentHumanApi, **arguments: Any) -> CreatedSession:
    return await api.create_session(**{"avatar": "avat_1", "room": Room()} | arguments)


# --- the client itself -------------------------------------------------------------------


def test_a_missing_key_names_the_argument_and_the_variable() -> None:
    with pytest.raises(ValueError, match=r"api_key.*AGENTHUMAN_API_KEY"):
        AgentHumanApi()


def test_a_key_that_cannot_be_one_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="api_key") as caught:
        AgentHumanApi("ah_live_secret\r\nx-evil: 1")
    assert "ah_live_secret" not in str(caught.value)


@pytest.mark.parametrize("url", ["http://api.example.com", "ftp://x", "https://user:pw@host"])
def test_the_key_is_not_sent_to_an_unsafe_url(url: str) -> None:
    with pytest.raises(ValueError, match="api_url"):
        AgentHumanApi(KEY, api_url=url)


def test_an_unsafe_url_in_the_environment_is_blamed_on_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AGENTHUMAN_API_URL", "http://api.example.com")
    with pytest.raises(ValueError, match="AGENTHUMAN_API_URL"):
        AgentHumanApi(KEY)


def test_limits_must_be_positive() -> None:
    with pytest.raises(ValueError, match="timeout_secs"):
        AgentHumanApi(KEY, timeout_secs=0)


def test_the_repr_shows_the_url_and_no_key() -> None:
    shown = repr(AgentHumanApi(KEY))
    assert "https://api.agenthuman.com/v1" in shown
    assert KEY not in shown


async def test_key_and_url_come_from_the_environment(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENTHUMAN_API_KEY", f" {KEY}\n")
    monkeypatch.setenv("AGENTHUMAN_API_URL", server.url)
    async with AgentHumanApi() as api:
        await create(api)
    assert server.asked[0].headers["x-api-key"] == KEY


async def test_a_session_of_the_caller_is_used_and_left_open(server: Server) -> None:
    async with aiohttp.ClientSession(raise_for_status=True) as http:
        async with AgentHumanApi(KEY, api_url=server.url, session=http) as api:
            await create(api)
            server.on("GET /v1/usage", says(401, {"error": "bad key"}))
            with pytest.raises(AuthenticationError):
                await api.get_usage()
        assert not http.closed


async def test_plain_http_on_loopback_ignores_a_proxy_of_the_environment(
    server: Server, deaf: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{deaf.getsockname()[1]}")
    monkeypatch.setenv("no_proxy", "")
    async with AgentHumanApi(KEY, api_url=server.url, retry=NO_RETRY) as api:
        await create(api)


async def test_no_request_depends_on_a_connection_that_the_server_may_be_closing(
    api: AgentHumanApi, server: Server
) -> None:
    peers: list[object] = []

    async def reply(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        peers.append(request.transport.get_extra_info("peername"))
        return web.json_response(session_body())

    server.on("POST /v1/sessions", reply)
    await create(api)
    await create(api)
    assert len(set(peers)) == 2


async def test_a_closed_client_refuses_and_sends_nothing(server: Server) -> None:
    api = AgentHumanApi(KEY, api_url=server.url)
    await create(api)
    await api.close()
    await api.close()
    with pytest.raises(TransportError, match="closed"):
        await create(api)
    with pytest.raises(TransportError, match="closed"):
        await api.get_usage()
    assert len(server.asked) == 1


# --- creating ----------------------------------------------------------------------------


async def test_a_create_sends_the_documented_request(api: AgentHumanApi, server: Server) -> None:
    await create(api, aspect_ratio="1:1", metadata={"who": "Zoë", "n": [1, None]})
    (asked,) = server.asked
    assert asked.headers["x-api-key"] == KEY
    assert asked.headers["Content-Type"].startswith("application/json")
    assert asked.json == {
        "avatar": "avat_1",
        "aspect_ratio": "1:1",
        "room": {"platform": "daily", "url": "https://example.daily.co/room", "token": ROOM_TOKEN},
        "metadata": {"who": "Zoë", "n": [1, None]},
    }


@pytest.mark.parametrize("http_status", [200, 201])
@pytest.mark.parametrize("status", ["started", "active"])
async def test_a_created_session_is_read_in_full(
    api: AgentHumanApi, server: Server, http_status: int, status: str
) -> None:
    server.on("POST /v1/sessions", says(http_status, session_body(status=status, novelty=[1])))
    created = await create(api)
    assert (created.session_id, created.session_token) == ("sess_1", SESSION_TOKEN)
    assert created.running
    assert created.expiration is not None
    assert created.started_at is not None
    assert (created.expiration - created.started_at).total_seconds() == 1800
    assert created.metadata == {"call": "c-1"}
    assert created.message == "Session started"
    assert created.usage is not None
    assert created.usage.minutes_remaining == 12.5
    assert created.usage.sessions_current == 1
    assert created.usage.sessions_max == 5
    assert created.usage.sessions_available == 4


@pytest.mark.parametrize("where", ["session", "body"])
@pytest.mark.parametrize("name", ["server_ws_uri", "ws_uri"])
async def test_the_address_of_the_sessions_own_server_is_read_wherever_it_stands(
    api: AgentHumanApi, server: Server, name: str, where: str
) -> None:
    named = {name: "wss://gpu7.agenthuman.com"}
    body = session_body(**named) if where == "session" else session_body() | named
    server.on("POST /v1/sessions", says(201, body))
    assert (await create(api)).ws_url == "wss://gpu7.agenthuman.com"


@pytest.mark.parametrize("address", [None, "", "try_again", 7])
async def test_a_server_that_is_not_assigned_has_no_address(
    api: AgentHumanApi, server: Server, address: object
) -> None:
    server.on("POST /v1/sessions", says(201, session_body(server_ws_uri=address)))
    assert (await create(api)).ws_url is None


async def test_a_created_session_is_frozen_and_hides_its_token(api: AgentHumanApi) -> None:
    created = await create(api)
    assert SESSION_TOKEN not in f"{created!r} {created}"
    with pytest.raises(ValidationError):
        created.session_id = "other"  # type: ignore[misc]


async def test_fields_that_only_inform_may_be_missing_or_wrong(
    api: AgentHumanApi, server: Server
) -> None:
    body = session_body(started_at="yesterday", expiration={}, metadata=None) | {"usage": 7}
    del body["message"]
    server.on("POST /v1/sessions", says(201, body))
    created = await create(api)
    assert created.started_at is None
    assert created.expiration is None
    assert created.metadata == {}
    assert created.usage is None
    assert created.message is None


async def test_usage_of_a_wrong_shape_is_unknown(api: AgentHumanApi, server: Server) -> None:
    body = session_body() | {"usage": {"minutes": 5, "concurrency": {"max": "many"}}}
    server.on("POST /v1/sessions", says(201, body))
    created = await create(api)
    assert created.usage is not None
    assert created.usage.minutes_remaining is None
    assert created.usage.sessions_max is None


@pytest.mark.parametrize("minutes", [math.nan, "nan", math.inf])
async def test_minutes_that_are_no_number_are_unknown(
    api: AgentHumanApi, server: Server, minutes: object
) -> None:
    server.on("GET /v1/usage", says(200, {"minutes": {"total_remaining": minutes}}))
    assert (await api.get_usage()).minutes_remaining is None


async def test_a_time_without_a_zone_is_utc(api: AgentHumanApi, server: Server) -> None:
    server.on("POST /v1/sessions", says(201, session_body(expiration="2026-05-01T10:30:00")))
    expiration = (await create(api)).expiration
    assert expiration is not None
    assert expiration.isoformat() == "2026-05-01T10:30:00+00:00"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"avatar": " "}, "avatar"),
        ({"aspect_ratio": "16:9"}, "aspect_ratio"),
        ({"room": Room(platform="zoom")}, "room.platform"),
        ({"room": Room(token="")}, "token"),
        ({"metadata": ["a"]}, "metadata"),
        ({"metadata": "a"}, "metadata"),
        ({"metadata": {"a": float("nan")}}, "metadata"),
        ({"metadata": {"a": object()}}, "metadata"),
    ],
)
async def test_wrong_arguments_are_named_before_any_request(
    api: AgentHumanApi, server: Server, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await create(api, **arguments)
    assert server.asked == []


# --- refusals ----------------------------------------------------------------------------


STATUSES = [
    (400, BadRequestError),
    (401, AuthenticationError),
    (402, OutOfMinutesError),
    (403, PermissionDeniedError),
    (404, NotFoundError),
    (409, BadRequestError),
    (422, BadRequestError),
    (429, RateLimitedError),
    (500, ServerFailureError),
    (503, ServerFailureError),
]


@pytest.mark.parametrize(("status", "kind"), STATUSES)
@pytest.mark.parametrize(
    "body",
    [
        {"success": False, "error": "it is so"},
        {"success": False, "error": {"message": "it is so", "suggestion": "Do that."}},
        {"error": {"message": "it is so", "code": "SOME_CODE", "details": {"field": "avatar"}}},
    ],
)
async def test_a_refusal_is_the_exception_that_fits_with_the_servers_words_and_a_remedy(
    api: AgentHumanApi, server: Server, status: int, kind: type[ApiError], body: dict[str, Any]
) -> None:
    server.on("POST /v1/sessions", says(status, body))
    with pytest.raises(kind) as caught:
        await create(api, retry=NO_RETRY)
    error = caught.value
    assert type(error) is kind
    assert error.status == status
    assert "it is so" in error.message
    assert error.remedy
    reason = body["error"] if isinstance(body["error"], dict) else {}
    assert error.code == reason.get("code")
    assert reason.get("suggestion", "") in error.remedy
    if "details" in reason:
        assert '"field": "avatar"' in error.message


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500])
@pytest.mark.parametrize(
    "body",
    [
        "<html><body>Bad gateway</body></html>",
        "",
        "null",
        "[1, 2]",
        '"text"',
        "{",
        b"\xff\xfe\x00",
        '{"error": null}',
        '{"error": {}}',
        '{"error": ["a"]}',
        '{"error": {"message": {"x": 1}, "code": 5, "suggestion": []}}',
        '{"error": "\\ud800 \\u0007 alone"}',
        "[" * 100_000,
    ],
)
async def test_a_refusal_of_any_shape_is_still_the_exception_that_fits(
    api: AgentHumanApi, server: Server, status: int, body: str | bytes
) -> None:
    server.on("POST /v1/sessions", says(status, body))
    with pytest.raises(dict(STATUSES)[status]) as caught:
        await create(api)
    assert str(status) in caught.value.message
    assert str(caught.value).isprintable()
    str(caught.value).encode()


async def test_the_servers_words_are_cut_to_a_sane_length(
    api: AgentHumanApi, server: Server
) -> None:
    server.on("POST /v1/sessions", says(400, {"error": {"message": "x" * 5000, "code": "y" * 999}}))
    with pytest.raises(BadRequestError) as caught:
        await create(api)
    assert len(str(caught.value)) < 600
    assert caught.value.code is not None
    assert len(caught.value.code) < 100


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (403, {"message": "no", "code": "INSUFFICIENT_MINUTES"}),
        (429, {"message": "no", "code": "INSUFFICIENT_MINUTES"}),
        (400, "Insufficient minutes remaining"),
        (403, {"message": "You have no remaining minutes."}),
        (500, "Your minutes are all used up"),
        (402, "pay"),
        (200, {"message": "Not enough minutes"}),
    ],
)
async def test_out_of_minutes_is_recognised_at_any_status_and_never_repeated(
    api: AgentHumanApi, server: Server, status: int, error: object
) -> None:
    server.on("POST /v1/sessions", says(status, {"success": False, "error": error}))
    with pytest.raises(OutOfMinutesError):
        await create(api)
    assert server.creates == 1


@pytest.mark.parametrize(
    "words", ["No more than 60 requests in 2 minutes", "Too many requests: wait 5 minutes"]
)
async def test_a_rate_limit_in_minutes_is_no_lack_of_minutes(
    api: AgentHumanApi, server: Server, words: str
) -> None:
    server.on("POST /v1/sessions", says(429, {"error": words}))
    with pytest.raises(RateLimitedError):
        await create(api, retry=NO_RETRY)


DATED = {"Date": formatdate(NOW_SECS, usegmt=True)}


@pytest.mark.parametrize(
    ("headers", "secs"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": formatdate(NOW_SECS + 20, usegmt=True), **DATED}, 20.0),
        ({"Retry-After": formatdate(NOW_SECS + 20)[:25], **DATED}, 20.0),
        ({"X-RateLimit-Reset": "9"}, 9.0),
        ({"X-RateLimit-Reset": str(int(NOW_SECS + 11)), **DATED}, 11.0),
        ({"X-RateLimit-Reset": str(int((NOW_SECS + 13) * 1000)), **DATED}, 13.0),
        ({"X-RateLimit-Reset": str(int(NOW_SECS + 13)), "Date": "yesterday"}, 13.0),
        ({"X-RateLimit-Reset": "9", "X-RateLimit-Remaining": "0"}, 9.0),
        ({"X-RateLimit-Reset": "9", "X-RateLimit-Remaining": "57"}, None),
        ({"X-RateLimit-Reset": "9", "X-RateLimit-Remaining": "few"}, 9.0),
        ({"X-RateLimit-Reset": "900"}, 60.0),
        ({"Retry-After": "4", "X-RateLimit-Reset": "50"}, 4.0),
        ({"Retry-After": "soon", "X-RateLimit-Reset": "8"}, 8.0),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "inf"}, None),
        ({}, None),
    ],
)
async def test_the_wait_that_a_rate_limit_asks_for_is_read(
    api: AgentHumanApi, server: Server, headers: dict[str, str], secs: float | None
) -> None:
    server.on("POST /v1/sessions", says(429, {"error": "slow down"}, headers))
    with pytest.raises(RateLimitedError) as caught:
        await create(api, retry=NO_RETRY)
    assert caught.value.retry_after_secs == secs


async def test_a_redirect_is_not_followed(api: AgentHumanApi, server: Server) -> None:
    other = Server()
    await other.start()
    try:
        server.on("POST /v1/sessions", says(307, None, {"Location": f"{other.url}/sessions"}))
        server.on("GET /v1/usage", says(302, None, {"Location": f"{other.url}/usage"}))
        with pytest.raises(ServerFailureError, match="api_url"):
            await create(api)
        with pytest.raises(ServerFailureError, match="api_url"):
            await api.get_usage()
        assert other.asked == []
        assert len(server.asked) == 2
    finally:
        await other.stop()


# --- repeating a create ------------------------------------------------------------------


async def test_a_refused_connection_is_tried_again_with_growing_pauses(
    clock: FakeTime, deaf: socket.socket
) -> None:
    url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
    retry = RetryPolicy(max_attempts=6, first_pause_secs=1, max_pause_secs=4)
    async with AgentHumanApi(KEY, api_url=url, retry=retry, timing=clock.timing()) as api:
        with pytest.raises(TransportError) as caught:
            await create(api)
    assert caught.value.never_sent
    assert caught.value.status is None
    assert clock.pauses == [1, 2, 4, 4, 4]


async def test_a_server_that_comes_up_meanwhile_is_reached(
    clock: FakeTime, deaf: socket.socket
) -> None:
    port = deaf.getsockname()[1]
    server = Server(port)

    async def come_up() -> None:
        if len(clock.pauses) == 2:
            deaf.close()
            await server.start()

    clock.on_sleep = come_up
    url = f"http://127.0.0.1:{port}/v1"
    async with AgentHumanApi(KEY, api_url=url, timing=clock.timing()) as api:
        assert (await create(api)).session_id == "sess_1"
    assert server.creates == 1
    await server.stop()


class _KnowsNoName(AbstractResolver):
    asked = 0

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> Any:
        self.asked += 1
        raise OSError("Name or service not known")

    async def close(self) -> None:
        pass


async def test_a_name_that_is_not_resolved_is_tried_again(clock: FakeTime) -> None:
    resolver = _KnowsNoName()
    connector = aiohttp.TCPConnector(resolver=resolver)
    async with aiohttp.ClientSession(connector=connector) as http:
        api = AgentHumanApi(KEY, api_url="https://api.invalid", session=http, timing=clock.timing())
        with pytest.raises(TransportError) as caught:
            await create(api, retry=RetryPolicy(max_attempts=3))
        await api.close()
    assert caught.value.never_sent
    assert resolver.asked == 3


async def test_a_tls_failure_is_final(server: Server, clock: FakeTime) -> None:
    url = server.url.replace("http:", "https:")
    async with AgentHumanApi(KEY, api_url=url, timing=clock.timing()) as api:
        with pytest.raises(TransportError) as caught:
            await create(api)
        assert caught.value.never_sent
        with pytest.raises(TransportError):
            await api.get_usage()
    assert clock.pauses == []


async def test_the_wait_of_a_rate_limit_is_honoured(
    api: AgentHumanApi, server: Server, clock: FakeTime
) -> None:
    busy = says(429, {"error": "Too many sessions at once"}, {"Retry-After": "9"})
    server.on("POST /v1/sessions", busy, says(503), says(201, session_body()))
    assert (await create(api)).session_id == "sess_1"
    assert clock.pauses == [9.0 + 9.0 / 4, 1.0]  # with all of the jitter


async def test_a_wait_beyond_the_limit_is_not_begun(
    api: AgentHumanApi, server: Server, clock: FakeTime
) -> None:
    server.on("POST /v1/sessions", says(429, {"error": "slow"}, {"Retry-After": "31"}))
    with pytest.raises(RateLimitedError) as caught:
        await create(api, retry=RetryPolicy(max_total_secs=30))
    assert caught.value.retry_after_secs == 31
    assert clock.pauses == []
    assert server.creates == 1


async def test_the_total_time_bounds_the_attempts(
    api: AgentHumanApi, server: Server, clock: FakeTime
) -> None:
    server.on("POST /v1/sessions", says(503, {"error": "no server free"}))
    with pytest.raises(ServerFailureError):
        await create(api, retry=RetryPolicy(max_attempts=1000, max_total_secs=20))
    assert clock.now_secs <= 20
    assert clock.pauses == [0.5, 1, 2, 4, 8]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 500, 502, 504])
async def test_other_refusals_are_not_repeated(
    api: AgentHumanApi, server: Server, status: int
) -> None:
    server.on("POST /v1/sessions", says(status, {"error": "no"}))
    with pytest.raises(ApiError):
        await create(api)
    assert server.creates == 1


async def test_a_create_is_not_repeated_after_a_time_out(server: Server, clock: FakeTime) -> None:
    held = Held(says(201, session_body()))
    server.on("POST /v1/sessions", held)
    async with AgentHumanApi(KEY, api_url=server.url, timeout_secs=1, timing=clock.timing()) as api:
        with pytest.raises(TransportError, match="within 1 s") as caught:
            await create(api)
    held.released.set()
    assert not caught.value.never_sent
    assert "may have been started" in caught.value.remedy
    assert server.creates == 1


async def test_a_create_is_not_repeated_after_a_reset(api: AgentHumanApi, server: Server) -> None:
    server.on("POST /v1/sessions", hangs_up)
    with pytest.raises(TransportError) as caught:
        await create(api)
    assert not caught.value.never_sent
    assert server.creates == 1


async def test_an_answer_that_is_not_http_is_a_transport_error(
    api: AgentHumanApi, server: Server
) -> None:
    server.on("POST /v1/sessions", talks_nonsense)
    with pytest.raises(TransportError) as caught:
        await create(api)
    assert not caught.value.never_sent
    assert server.creates == 1


@given(
    attempts=st.integers(1, 5000),
    jitter=st.floats(0, 1),
    asked=st.none() | st.floats(0, 1e6),
    first=st.floats(0, 10),
    longest=st.floats(0, 60),
)
def test_a_pause_is_never_shorter_than_asked_nor_longer_than_allowed(
    attempts: int, jitter: float, asked: float | None, first: float, longest: float
) -> None:
    policy = RetryPolicy(first_pause_secs=first, max_pause_secs=longest)
    error = RateLimitedError("full", retry_after_secs=asked)
    pause = backoff_secs(policy, attempts, error, jitter=jitter)
    grown = min(first * 2 ** min(attempts - 1, 64), longest)
    most_asked = (asked or 0) + min((asked or 0) / 4, longest)
    assert max(asked or 0, grown / 2) <= pause <= max(most_asked, grown)


@pytest.mark.parametrize(
    ("policy", "limits"),
    [
        (RetryPolicy, {"max_attempts": 0}),
        (RenewalPolicy, {"max_short_sessions": 0}),
        *(
            (policy, limits)
            for policy in (RetryPolicy, RenewalPolicy)
            for limits in ({"max_total_secs": -1}, {"first_pause_secs": float("nan")})
        ),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(policy: type, limits: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(limits))):
        policy(**limits)


# --- nothing is left billing -------------------------------------------------------------


TOKENLESS = session_body()
del TOKENLESS["session"]["session_token"]


@pytest.mark.parametrize(
    "reply",
    [
        says(201, TOKENLESS),
        says(200, session_body(session_token="")),
        says(200, session_body(session_token=None)),
        says(200, session_body(session_id={"v": 1}) | {"session_id": "sess_1"}),
        says(201, session_body(status="ended")),
        says(201, session_body(status={})),
        says(201, {"session_id": "sess_1"}),
        says(201, {"result": {"session_id": "sess_1"}}),
        says(201, [session_body()]),
        says(201, session_body() | {"success": False, "error": "half done"}),
        says(201, '<p>{"session_id": "sess_1", "x":'),
        breaks_off(b'{"success": true, "session": {"session_id": "sess_1", "session_tok'),
    ],
)
async def test_an_unusable_success_ends_the_session_that_it_names(
    api: AgentHumanApi, server: Server, reply: Reply
) -> None:
    server.on("POST /v1/sessions", reply)
    with pytest.raises(ServerFailureError):
        await create(api)
    assert (server.creates, server.ends) == (1, 1)


@pytest.mark.parametrize(
    "reply",
    [
        says(200),
        says(200, "<html>welcome</html>"),
        says(201, {"success": True}),
        says(201, {"session": {"metadata": {"session_id": "sess_1"}, "session_id": 0}}),
        says(201, '{"metadata": {"session_id": "sess_1"}, "session_id": "sess_2",'),
        breaks_off(b'{"session": {"session_id": "sess_'),
    ],
)
async def test_a_session_in_doubt_is_not_ended(
    api: AgentHumanApi, server: Server, reply: Reply
) -> None:
    server.on("POST /v1/sessions", reply)
    with pytest.raises(ServerFailureError):
        await create(api)
    assert len(server.asked) == 1


async def test_an_endless_answer_is_cut_off(api: AgentHumanApi, server: Server) -> None:
    server.on("GET /v1/usage", says(200, b" " * 9_000_000))
    with pytest.raises(ServerFailureError, match="longer"):
        await api.get_usage(retry=NO_RETRY)


async def test_a_number_for_an_identifier_is_taken(api: AgentHumanApi, server: Server) -> None:
    server.on("POST /v1/sessions", says(201, session_body(session_id=17)))
    assert (await create(api)).session_id == "17"


async def test_a_create_cancelled_under_way_ends_the_session_in_the_background(
    api: AgentHumanApi, server: Server
) -> None:
    held = Held(says(201, session_body()))
    server.on("POST /v1/sessions", held)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert server.ends == 0
    held.released.set()
    await server.arrival("POST /v1/sessions/sess_1/end")
    await api.close()
    assert (server.creates, server.ends) == (1, 1)


async def test_a_create_cancelled_as_its_answer_is_read_ends_the_session(
    api: AgentHumanApi, server: Server
) -> None:
    held = Held(says(201, session_body()))
    server.on("POST /v1/sessions", held)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    (attempt,) = api._creations._unclaimed
    # The answer is there, and the caller is cancelled before it wakes up to see it.
    attempt.add_done_callback(lambda _: task.cancel())
    held.released.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    await api.close()
    assert server.ends == 1


async def test_close_waits_for_the_answer_to_a_cancelled_create(
    api: AgentHumanApi, server: Server
) -> None:
    held = Held(says(201, session_body()))
    server.on("POST /v1/sessions", held)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    task.cancel()
    closing = asyncio.create_task(api.close())
    await asyncio.wait({task})
    assert not closing.done()
    held.released.set()
    await closing
    assert server.ends == 1


async def test_close_ends_the_session_of_a_create_in_another_task(
    api: AgentHumanApi, server: Server
) -> None:
    held = Held(says(201, session_body()))
    server.on("POST /v1/sessions", held)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    closing = asyncio.create_task(api.close())
    await asyncio.sleep(0)
    held.released.set()
    await closing
    with pytest.raises(TransportError, match="closed"):
        await task
    assert server.ends == 1


async def test_close_gives_up_after_its_limit_and_says_so(server: Server, log: list[str]) -> None:
    held = Held(says(201, session_body()))
    server.on("POST /v1/sessions", held)
    api = AgentHumanApi(KEY, api_url=server.url, close_limit_secs=0.05)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    task.cancel()
    async with asyncio.timeout(PATIENCE_SECS):
        await api.close()
    assert any("Gave up waiting" in line for line in log)
    held.released.set()


async def test_close_names_the_session_that_it_could_not_end(
    server: Server, log: list[str]
) -> None:
    held = Held(says(200, ENDED))
    server.on("POST /v1/sessions/sess_1/end", held)
    server.on("POST /v1/sessions", creating := Held(says(201, session_body())))
    api = AgentHumanApi(KEY, api_url=server.url, close_limit_secs=0.5)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    task.cancel()
    creating.released.set()
    await server.arrival("POST /v1/sessions/sess_1/end")
    await api.close()
    assert any("sess_1" in line and "billed" in line for line in log)
    held.released.set()


async def test_a_create_cancelled_during_a_pause_sends_no_more(
    api: AgentHumanApi, server: Server, clock: FakeTime
) -> None:
    server.on("POST /v1/sessions", says(503))
    paused = asyncio.Event()

    async def stay() -> None:
        paused.set()
        await asyncio.Event().wait()

    clock.on_sleep = stay
    task = asyncio.create_task(create(api))
    async with asyncio.timeout(PATIENCE_SECS):
        await paused.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await api.close()
    assert len(server.asked) == 1


async def test_a_cancelled_create_that_fails_anyway_ends_nothing(
    api: AgentHumanApi, server: Server
) -> None:
    held = Held(says(503))
    server.on("POST /v1/sessions", held)
    task = asyncio.create_task(create(api))
    await server.arrival("POST /v1/sessions")
    task.cancel()
    held.released.set()
    await api.close()
    assert task.cancelled()
    assert len(server.asked) == 1


# --- looking and ending ------------------------------------------------------------------


async def test_a_session_is_looked_at(api: AgentHumanApi, server: Server) -> None:
    record = session_body(status="active", duration=3.5)
    del record["session"]["session_token"]
    server.on("GET /v1/sessions/sess_1", says(500), hangs_up, says(200, record))
    found = await api.get_session("sess_1")
    assert found.running
    assert found.duration_secs == 3.5
    assert server.count("GET /v1/sessions/sess_1") == 3


async def test_the_sessions_are_listed_as_far_as_they_tell_of_themselves(
    api: AgentHumanApi, server: Server
) -> None:
    sessions = [
        {"session_id": "sess_1", "status": "active", "metadata": {"call": 1}, "novelty": 1},
        {"session_id": "sess_2", "status": "ended", "metadata": None},
    ]
    server.on("GET /v1/sessions", says(500), says(200, {"success": True, "sessions": sessions}))
    first, second = await api.list_sessions()
    assert (first.session_id, first.running, first.metadata) == ("sess_1", True, {"call": 1})
    assert (second.session_id, second.running, second.metadata) == ("sess_2", False, {})
    assert server.count("GET /v1/sessions") == 2


@pytest.mark.parametrize("body", [{}, {"sessions": None}, {"sessions": [{"status": "started"}]}])
async def test_a_list_of_another_shape_is_a_failure_of_the_server(
    api: AgentHumanApi, server: Server, body: dict[str, Any]
) -> None:
    server.on("GET /v1/sessions", says(200, body))
    with pytest.raises(ServerFailureError):
        await api.list_sessions(retry=NO_RETRY)


async def test_only_such_sessions_are_listed_as_the_service_knows(api: AgentHumanApi) -> None:
    with pytest.raises(ValueError, match="status must be 'all' or 'started' or 'ended'"):
        await api.list_sessions(status="running")  # type: ignore[arg-type]


async def test_an_unknown_session_is_not_found(api: AgentHumanApi) -> None:
    with pytest.raises(NotFoundError):
        await api.get_session("sess_9")


async def test_an_identifier_cannot_change_the_path(api: AgentHumanApi, server: Server) -> None:
    with pytest.raises(NotFoundError):
        await api.get_session("a/b?c#d")
    assert server.asked[0].path == "/v1/sessions/a/b?c#d"  # decoded: one segment, no query
    with pytest.raises(ValueError, match="session_id"):
        await api.end_session("")


async def test_ending_is_posted_once_and_returns_the_session(
    api: AgentHumanApi, server: Server
) -> None:
    ended = await api.end_session("sess_1")
    assert (ended.session_id, ended.status, ended.duration_secs) == ("sess_1", "ended", 61)
    assert not ended.running
    assert server.ends == 1


@pytest.mark.parametrize("reply", [says(404, {"error": "no such session"}), says(204), says(200)])
async def test_a_session_that_is_gone_counts_as_ended(
    api: AgentHumanApi, server: Server, reply: Reply
) -> None:
    server.on("POST /v1/sessions/sess_1/end", reply)
    assert (await api.end_session("sess_1")).status == "ended"
    assert server.ends == 1


@pytest.mark.parametrize(
    "failure",
    [
        says(500),
        says(503, "<html>"),
        says(429, {"error": "slow"}),
        hangs_up,
        says(200, "<html>a portal</html>"),
        says(200, session_body(status="started")),
        breaks_off(b'{"session"'),
    ],
)
async def test_ending_is_repeated_after_what_may_pass(
    api: AgentHumanApi, server: Server, failure: Reply
) -> None:
    server.on("POST /v1/sessions/sess_1/end", failure, says(200, ENDED))
    assert (await api.end_session("sess_1")).status == "ended"
    assert server.ends == 2


@pytest.mark.parametrize(
    "body",
    [
        {"success": True, "message": "Session ended"},
        {"success": True, "session": {"session_id": "sess_1"}},
        {"status": "ended"},
        {"session": {"session_id": "another", "status": "stopping"}},
        {},
    ],
)
async def test_an_end_that_succeeds_in_other_words_is_a_success(
    api: AgentHumanApi, server: Server, body: Any
) -> None:
    server.on("POST /v1/sessions/sess_1/end", says(200, body))
    ended = await api.end_session("sess_1")
    assert (ended.session_id, ended.status) == ("sess_1", "ended")
    assert server.ends == 1


@pytest.mark.parametrize("name", ["sess_\ud800", "a/b", "..", ".", "", True, "x" * 201, "a b", {}])
async def test_what_cannot_be_an_identifier_makes_an_answer_unusable(
    api: AgentHumanApi, server: Server, name: Any
) -> None:
    session = {"session_id": name, "session_token": SESSION_TOKEN}
    server.on("POST /v1/sessions", says(201, json.dumps({"session": session})))
    with pytest.raises(ServerFailureError, match="session_id"):
        await create(api)
    assert server.ends == 0


async def test_ending_is_repeated_after_a_time_out(api: AgentHumanApi, server: Server) -> None:
    held = Held(says(200, ENDED))
    server.on("POST /v1/sessions/sess_1/end", held, says(200, ENDED))
    await api.end_session("sess_1", timeout_secs=1)
    assert server.ends == 2
    held.released.set()


async def test_ending_is_bounded_and_the_session_is_named(
    api: AgentHumanApi, server: Server, log: list[str]
) -> None:
    server.on("POST /v1/sessions/sess_1/end", says(500, {"error": "broken"}))
    with pytest.raises(ServerFailureError):
        await api.end_session("sess_1", retry=RetryPolicy(max_attempts=3))
    assert server.ends == 3
    assert any("sess_1" in line and "billed" in line for line in log)


async def test_a_refusal_to_end_is_not_repeated(
    api: AgentHumanApi, server: Server, log: list[str]
) -> None:
    server.on("POST /v1/sessions/sess_1/end", says(401, {"error": "key deactivated"}))
    with pytest.raises(AuthenticationError):
        await api.end_session("sess_1")
    assert server.ends == 1
    assert any("sess_1" in line and "billed" in line for line in log)


async def test_a_cancelled_end_names_the_session(
    api: AgentHumanApi, server: Server, log: list[str]
) -> None:
    held = Held(says(200, ENDED))
    server.on("POST /v1/sessions/sess_1/end", held)
    task = asyncio.create_task(api.end_session("sess_1"))
    await server.arrival("POST /v1/sessions/sess_1/end")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert any("sess_1" in line and "cancelled" in line for line in log)
    held.released.set()


# --- the account -------------------------------------------------------------------------


async def test_avatars_are_listed(api: AgentHumanApi, server: Server) -> None:
    body = {
        "success": True,
        "public_avatars": [{"avatar_id": "avat_1", "tags": ["calm"], "preview_url": "https://p"}],
        "my_avatars": [{"avatar_id": "avat_2", "tags": None, "image_url": 5, "extra": 1}],
    }
    server.on("GET /v1/avatars", says(200, body))
    avatars = await api.list_avatars()
    assert avatars.public_avatars[0].tags == ("calm",)
    assert avatars.my_avatars[0].avatar_id == "avat_2"
    server.on("GET /v1/avatars", says(200, {"public_avatars": [], "my_avatars": None}))
    assert (await api.list_avatars()).my_avatars == ()
    server.on("GET /v1/avatars", says(200, {"success": True}))
    with pytest.raises(ServerFailureError, match="my_avatars"):
        await api.list_avatars(retry=NO_RETRY)


@pytest.mark.parametrize("wrapped", [True, False])
async def test_usage_is_read_wrapped_or_not(
    api: AgentHumanApi, server: Server, wrapped: bool
) -> None:
    usage = session_body()["usage"]
    server.on("GET /v1/usage", says(200, {"usage": usage} if wrapped else usage))
    assert (await api.get_usage()).minutes_remaining == 12.5
    server.on("GET /v1/usage", says(200, {"success": True}))
    with pytest.raises(ServerFailureError, match="minutes"):
        await api.get_usage(retry=NO_RETRY)


async def test_usage_is_read_as_the_service_documents_it(
    api: AgentHumanApi, server: Server
) -> None:
    usage = {
        "period": {"start": "2026-01-01T00:00:00.000Z", "end": "2026-01-31T23:59:59.000Z"},
        "included_minutes": {"total": 120, "used": 75, "remaining": 45},
        "purchased_minutes": {"total": 100, "remaining": 100},
        "total_remaining": 145,
        "active_sessions": [],
        "concurrency": {"current": 1, "max": 20, "available": 19},
        "plan": {"key": "pro", "name": "Pro"},
    }
    server.on("GET /v1/usage", says(200, {"success": True, "usage": usage}))
    read = await api.get_usage()
    assert (read.minutes_remaining, read.sessions_available, read.plan) == (145, 19, "Pro")
    assert read.period_ends_at is not None
    assert read.period_ends_at.isoformat() == "2026-01-31T23:59:59+00:00"


async def test_a_preview_is_asked_for_by_the_avatars_id(api: AgentHumanApi, server: Server) -> None:
    server.on("POST /v1/avatars/preview", says(200, {"success": True, "url": "https://one-time"}))
    preview = await api.preview_avatar(" avat_1 ")
    assert preview.url == "https://one-time"
    assert "one-time" not in repr(preview)  # whoever has it may open it
    assert [asked.json for asked in server.asked] == [{"avatar_id": "avat_1"}]
    server.on("POST /v1/avatars/preview", says(200, {"success": True}))
    with pytest.raises(ServerFailureError, match="url"):
        await api.preview_avatar("avat_1")
    for nobody in ("", "avat_..."):
        with pytest.raises(ValueError, match="avat_"):
            await api.preview_avatar(nobody)


FACE = {
    "success": True,
    "avatar_id": "avat_3",
    "preview_url": "https://p",
    "image_url": "https://i",
}
PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


async def test_a_face_is_uploaded_as_a_file(
    api: AgentHumanApi, server: Server, tmp_path: Any
) -> None:
    server.on("POST /v1/avatars/upload-face", says(503), says(201, FACE))
    path = tmp_path / "me.png"
    path.write_bytes(PNG)
    assert (await api.upload_face(file=path)).avatar_id == "avat_3"
    for asked in server.asked:
        assert asked.headers["Content-Type"].startswith("multipart/form-data")
        assert b'name="file"' in asked.body
        assert b"image/png" in asked.body
        assert PNG in asked.body
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("kind", "content_type"),
    [
        (b"\xff\xd8\xff\xe0", b"image/jpeg"),
        (b"GIF89a", b"image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"image/webp"),
    ],
)
async def test_the_kind_of_an_image_is_told_by_its_beginning(
    api: AgentHumanApi, server: Server, kind: bytes, content_type: bytes
) -> None:
    server.on("POST /v1/avatars/upload-face", says(201, FACE))
    await api.upload_face(file=kind + bytes(64))
    assert content_type in server.asked[0].body


async def test_a_face_is_uploaded_as_an_address_or_as_base64(
    api: AgentHumanApi, server: Server
) -> None:
    server.on("POST /v1/avatars/upload-face", says(201, FACE))
    await api.upload_face(image_url="https://example.com/me.png")
    encoded = base64.b64encode(PNG).decode()
    await api.upload_face(image_base64=encoded)
    assert [asked.json for asked in server.asked] == [
        {"image_url": "https://example.com/me.png"},
        {"image_base64": encoded},
    ]


async def test_an_upload_is_not_repeated_when_it_may_have_worked(
    api: AgentHumanApi, server: Server
) -> None:
    server.on("POST /v1/avatars/upload-face", hangs_up)
    with pytest.raises(TransportError, match="may have been made"):
        await api.upload_face(file=PNG)
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"file": PNG, "image_url": "https://x"},
        {"file": b"%PDF-1.7"},
        {"file": PNG + bytes(10_000_000)},
        {"image_base64": "A" * 13_400_000},
    ],
)
async def test_a_wrong_image_is_refused_before_any_request(
    api: AgentHumanApi, server: Server, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"file|image_base64"):
        await api.upload_face(**arguments)
    assert server.asked == []


# --- secrets -----------------------------------------------------------------------------


ECHO = f"you sent {KEY} and {ROOM_TOKEN}" + "." * 270 + f"{KEY}{SESSION_TOKEN}"
LEAKS: list[Reply] = [
    says(400, {"error": ECHO}),
    says(401, {"error": {"message": ECHO, "suggestion": ECHO, "code": KEY, "details": [ECHO]}}),
    says(403, {"error": {"message": {"session_token": SESSION_TOKEN}}}),
    says(500, f"<html>{ECHO}</html>"),
    says(429, {"error": ECHO}, {"Retry-After": "1"}),
    says(201, TOKENLESS | {"message": ECHO}),
    says(201, f'{{"session_token": "{SESSION_TOKEN}", "session_id": "sess_1", {ECHO}'),
    says(201, session_body(status={"token": SESSION_TOKEN, "key": KEY})),
    says(302, ECHO, {"Location": f"https://example.com/?key={KEY}"}),
    hangs_up,
    talks_nonsense,
]


@pytest.mark.parametrize("reply", LEAKS)
async def test_no_secret_is_in_an_error_a_traceback_or_the_log(
    server: Server, clock: FakeTime, log: list[str], reply: Reply
) -> None:
    server.on("GET /v1/sessions/sess_1", says(400, {"error": ECHO}))
    server.on("POST /v1/sessions/sess_1/end", says(500, {"error": ECHO}))
    async with AgentHumanApi(KEY, api_url=server.url, timing=clock.timing()) as api:
        await create(api)  # from here on the session's token is known
        server.on("POST /v1/sessions", reply)
        for failing in (
            lambda: create(api),
            lambda: api.end_session("sess_1"),
            lambda: api.get_session("sess_1"),
        ):
            try:
                await failing()
            except AgentHumanError as error:
                logger.exception("failed")
                log += [repr(error), str(error), traceback.format_exc(), str(vars(error))]
            else:
                pytest.fail("it should have failed")
    shown = "".join(log)
    assert "Traceback" in shown
    assert [secret for secret in SECRETS if secret in shown or secret[:12] in shown] == []


@pytest.mark.parametrize("reply", LEAKS)
async def test_no_secret_is_a_variable_of_a_frame_that_an_exception_passed(
    server: Server, clock: FakeTime, reply: Reply
) -> None:
    """Some error reports and terminals show the variables of every frame."""
    server.on("POST /v1/sessions", reply)
    async with AgentHumanApi(KEY, api_url=server.url, timing=clock.timing()) as api:
        with pytest.raises(AgentHumanError) as caught:
            await create(api)
    report = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    # The frames of this package: what the test's own helpers have is theirs.
    ours = [frame for frame in report.stack if "pipecat_agenthuman" in frame.filename]
    shown = str([frame.locals for frame in ours])
    assert ours
    assert [secret for secret in SECRETS if secret in shown] == []


async def test_a_certificate_that_is_not_trusted_is_named_and_final(
    monkeypatch: pytest.MonkeyPatch, clock: FakeTime
) -> None:
    words = "certificate verify failed: self-signed certificate"
    key = ConnectionKey("example.com", 443, True, True, None, None, None)
    untrusted = aiohttp.ClientConnectorCertificateError(key, ssl.SSLCertVerificationError(words))
    monkeypatch.setattr(aiohttp.ClientSession, "request", Mock(side_effect=untrusted))
    async with AgentHumanApi(KEY, api_url="https://example.com/v1", timing=clock.timing()) as api:
        with pytest.raises(TransportError, match="self-signed") as caught:
            await create(api)
    assert caught.value.never_sent
    assert not clock.pauses


@pytest.mark.parametrize("proxy", ["user:geheim@host:3128", "http://user:geheim@127.0.0.1:99999"])
async def test_a_proxy_that_is_none_is_final_and_does_not_tell_its_password(
    monkeypatch: pytest.MonkeyPatch, clock: FakeTime, proxy: str
) -> None:
    monkeypatch.setenv("https_proxy", proxy)
    async with AgentHumanApi(KEY, api_url="https://example.com/v1", timing=clock.timing()) as api:
        with pytest.raises(TransportError, match="proxy") as caught:
            await create(api)
    assert "geheim" not in str(caught.value)
    assert not clock.pauses


async def test_no_secret_is_shown_when_there_is_no_server(
    clock: FakeTime, deaf: socket.socket, log: list[str]
) -> None:
    url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
    async with AgentHumanApi(KEY, api_url=url, timing=clock.timing()) as api:
        try:
            await create(api)
        except TransportError:
            logger.exception("failed")
    shown = "".join(log)
    assert "again in" in shown
    assert [secret for secret in SECRETS if secret in shown] == []
