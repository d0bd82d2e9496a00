"""The rooms, and the tokens minted for the avatar against a stand-in of Daily's REST API."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given, settings
from hypothesis import strategies as st
from loguru import logger

from pipecat_agenthuman.client.api import Room
from pipecat_agenthuman.errors import AgentHumanError, RoomTokenError
from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME, AvatarIdentity
from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom
from pipecat_agenthuman.tokens.claims import TOKEN_EXPIRY_SECS
from tests.support.web_tokens import web_token

DAILY_KEY = "daily-key-0123456789"
LIVEKIT_SECRET = "livekit-secret-long-enough-for-a-signature"
MINTED = "minted-token-abcdefghij"
ROOM_URL = "https://example.daily.co/room"

JSON = st.recursive(
    st.none() | st.booleans() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)

Reply = Callable[[web.Request], Awaitable[web.StreamResponse]]


def says(status: int, body: object) -> Reply:
    async def reply(_request: web.Request) -> web.StreamResponse:
        if isinstance(body, str):
            return web.Response(status=status, text=body)
        return web.json_response(body, status=status)

    return reply


def room_body(**changes: Any) -> dict[str, Any]:
    return {
        "id": "r-1",
        "name": "room",
        "api_created": True,
        "privacy": "private",
        "url": ROOM_URL,
        "created_at": "2026-05-01T10:00:00.000Z",
        "config": {"start_video_off": True},
    } | changes


class Daily:
    """Daily's REST API, as far as a token needs it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.authorizations: set[str | None] = set()
        self.wanted: dict[str, Any] = {}
        self.room: Reply = says(200, room_body())
        self.token: Reply = says(200, {"token": MINTED})
        app = web.Application()
        app.router.add_get("/v1/rooms/{name}", self._get_room)
        app.router.add_post("/v1/meeting-tokens", self._make_token)
        self.server = TestServer(app)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.port}/v1"

    def _note(self, request: web.Request) -> None:
        self.asked.append(f"{request.method} {request.path}")
        self.authorizations.add(request.headers.get("Authorization"))

    async def _get_room(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        return await self.room(request)

    async def _make_token(self, request: web.Request) -> web.StreamResponse:
        self._note(request)
        self.wanted = (await request.json())["properties"]
        return await self.token(request)


@pytest.fixture
async def daily() -> AsyncIterator[Daily]:
    daily = Daily()
    await daily.server.start_server()
    yield daily
    await daily.server.close()


@pytest.fixture
def log() -> Iterator[list[str]]:
    """Everything that is logged, with the variables of every traceback."""
    logger.remove()
    lines: list[str] = []
    sink = logger.add(lines.append, level="TRACE", diagnose=True, backtrace=True)
    yield lines
    logger.remove(sink)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DAILY_API_KEY", "DAILY_API_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"):
        monkeypatch.delenv(name, raising=False)


async def mint(daily: Daily, url: str = ROOM_URL, **arguments: Any) -> DailyRoom:
    return await DailyRoom.mint(url, **{"api_key": DAILY_KEY, "api_url": daily.url} | arguments)


# --- the values --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("room", "platform"),
    [
        (DailyRoom(ROOM_URL, "secret-token"), "daily"),
        (LiveKitRoom("wss://example.livekit.cloud", "secret-token"), "livekit"),
    ],
)
def test_a_room_is_a_frozen_value_that_hides_its_token(room: Any, platform: str) -> None:
    known: Room = room
    assert known.platform == platform
    assert known.token == "secret-token"
    assert "secret-token" not in f"{room!r} {room}"
    with pytest.raises(dataclasses.FrozenInstanceError):
        room.token = "other"
    assert room == type(room)(room.url, room.token)


@pytest.mark.parametrize(
    "url",
    [
        ROOM_URL,
        "https://video.example.com/team/room",
        "http://127.0.0.1:8000/room",
        "http://localhost/room",
    ],
)
def test_daily_rooms_are_taken_at_any_https_host_and_on_loopback(url: str) -> None:
    assert DailyRoom(f" {url}/ ", "token").url == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "room",
        "https://example.daily.co",
        "https://example.daily.co//",
        "http://example.daily.co/room",
        "wss://example.daily.co/room",
        "https://user:password@example.daily.co/room",
        "https://example.daily.co/room?t=some-token",
        "https://example.daily.co/room#some-token",
    ],
)
def test_a_url_that_is_no_daily_room_is_named_and_its_secrets_are_not(url: str) -> None:
    with pytest.raises(ValueError, match="url") as caught:
        DailyRoom(url, "token")
    assert "some-token" not in str(caught.value)
    assert "password@" not in str(caught.value)


@pytest.mark.parametrize("url", ["wss://example.livekit.cloud", "ws://127.0.0.1:7880"])
def test_livekit_servers_are_taken_over_tls_and_on_loopback(url: str) -> None:
    assert LiveKitRoom(url, "token").url == url


@pytest.mark.parametrize(
    "url", ["", "https://example.livekit.cloud", "ws://example.livekit.cloud", "wss://h?token=x"]
)
def test_a_url_that_is_no_livekit_server_is_named(url: str) -> None:
    with pytest.raises(ValueError, match="url"):
        LiveKitRoom(url, "token")


@pytest.mark.parametrize("token", ["", "  ", "two words", "line\nbreak"])
def test_a_token_is_required_and_must_look_like_one(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        DailyRoom(ROOM_URL, token)
    with pytest.raises(ValueError, match="token"):
        LiveKitRoom("wss://example.livekit.cloud", token)


# --- Daily's tokens ----------------------------------------------------------------------


async def test_a_minted_token_lets_the_avatar_send_and_nothing_else(daily: Daily) -> None:
    room = await mint(daily)
    assert (room.url, room.token) == (ROOM_URL, MINTED)
    assert daily.asked == ["GET /v1/rooms/room", "POST /v1/meeting-tokens"]
    assert daily.authorizations == {f"Bearer {DAILY_KEY}"}
    wanted = dict(daily.wanted)
    wanted.pop("exp")
    assert room.identity == AvatarIdentity(wanted["user_id"], AVATAR_USER_NAME)
    assert wanted == {
        "room_name": "room",
        "user_id": room.identity.user_id,
        "user_name": AVATAR_USER_NAME,
        "is_owner": False,
        "eject_at_token_exp": False,
        "enable_screenshare": False,
        "start_audio_off": False,
        "start_video_off": False,
        "start_cloud_recording": False,
        "permissions": {"hasPresence": True, "canSend": ["audio", "video"], "canAdmin": False},
    }


async def test_key_and_url_come_from_the_environment(
    daily: Daily, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAILY_API_KEY", f"{DAILY_KEY}\n")
    monkeypatch.setenv("DAILY_API_URL", f"{daily.url}/")
    assert (await DailyRoom.mint(f"{ROOM_URL}/")).token == MINTED
    assert daily.authorizations == {f"Bearer {DAILY_KEY}"}


async def test_every_token_gives_an_identity_of_its_own(daily: Daily) -> None:
    ids = [(await mint(daily)).identity.user_id for _ in range(3)]
    assert len(set(ids)) == 3
    for user_id in ids:
        assert user_id
        assert user_id.startswith(f"{AVATAR_USER_ID}-")
        assert len(user_id) <= 36  # more, and Daily refuses


async def test_the_participant_can_be_named_otherwise(daily: Daily) -> None:
    room = await mint(daily, user_id="ava", user_name="Ava")
    assert (daily.wanted["user_id"], daily.wanted["user_name"]) == ("ava", "Ava")
    assert room.identity == AvatarIdentity("ava", "Ava")


@pytest.mark.parametrize(
    ("room_left_secs", "asked_secs", "expected_secs"),
    [
        (None, None, TOKEN_EXPIRY_SECS),
        (1800, None, 1800),
        (1800, 600, 600),
        (None, 600, 600),
    ],
)
async def test_a_token_lives_as_long_as_asked_or_as_the_room(
    daily: Daily, room_left_secs: float | None, asked_secs: float | None, expected_secs: float
) -> None:
    before = time.time()
    exp = None if room_left_secs is None else before + room_left_secs
    daily.room = says(200, room_body(config={"exp": exp}))
    await mint(daily, expiry_secs=asked_secs)
    after = time.time()
    # Daily takes whole seconds, and Pipecat rounds down.
    latest = (before if exp and not asked_secs else after) + expected_secs
    assert before + expected_secs - 1 <= daily.wanted["exp"] <= latest


async def test_a_session_of_the_caller_is_used_and_left_open(daily: Daily) -> None:
    async with aiohttp.ClientSession() as http:
        await mint(daily, aiohttp_session=http)
        assert not http.closed


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"url": "https://example.daily.co"}, "url"),
        ({"api_key": ""}, "DAILY_API_KEY"),
        ({"api_key": "key\r\nx: 1"}, "api_key"),
        ({"api_url": "http://api.example.com"}, "api_url"),
        ({"user_id": ""}, "identifier"),
        ({"user_id": "x" * 37}, "user_id"),
        ({"user_name": ""}, "name"),
        ({"expiry_secs": 0}, "expiry_secs"),
        ({"expiry_secs": float("nan")}, "expiry_secs"),
    ],
)
async def test_wrong_arguments_are_named_before_daily_is_asked(
    daily: Daily, arguments: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        await mint(daily, **arguments)
    assert daily.asked == []


async def test_a_room_that_daily_does_not_know_gets_no_token(daily: Daily) -> None:
    daily.room = says(404, {"error": "not-found"})
    with pytest.raises(RoomTokenError, match="DAILY_API_KEY"):
        await mint(daily)
    assert daily.asked == ["GET /v1/rooms/room"]


async def test_an_expired_room_gets_no_token(daily: Daily) -> None:
    daily.room = says(200, room_body(config={"exp": time.time() - 60}))
    with pytest.raises(RoomTokenError, match="expired"):
        await mint(daily)
    assert daily.asked == ["GET /v1/rooms/room"]


async def test_a_room_of_the_same_name_in_another_domain_gets_no_token(daily: Daily) -> None:
    daily.room = says(200, room_body(url="https://other.daily.co/room"))
    with pytest.raises(RoomTokenError, match=r"other\.daily\.co"):
        await mint(daily)
    assert daily.asked == ["GET /v1/rooms/room"]


async def test_a_custom_domain_is_not_taken_for_another(daily: Daily) -> None:
    room = await mint(daily, url="https://video.example.com/room")
    assert room.url == "https://video.example.com/room"


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": "invalid-request-error", "info": "no such permission"}),
        (401, {"error": "authentication-error"}),
        (500, "<html>broken</html>"),
        (200, "<html>a portal</html>"),
        (200, {}),
        (200, {"token": None}),
        (200, {"token": ""}),
        (200, []),
    ],
)
async def test_whatever_daily_answers_instead_of_a_token_is_a_clear_error(
    daily: Daily, status: int, body: object
) -> None:
    daily.token = says(status, body)
    with pytest.raises(RoomTokenError, match="Daily") as caught:
        await mint(daily)
    assert isinstance(caught.value, AgentHumanError)
    assert caught.value.remedy


@pytest.mark.parametrize(
    "config",
    [
        {"enable_recording": "rtp-tracks"},
        {"transcription_bucket": {"bucket_name": "b", "bucket_region": "r"}},
        {"enable_prejoin_ui": None, "sip": "yes", "a setting of tomorrow": [1]},
        {"exp": None, "nbf": "soon", "max_participants": "all", "permissions": "few"},
    ],
)
async def test_settings_that_a_token_does_not_depend_on_do_not_matter(
    daily: Daily, log: list[str], config: dict[str, Any]
) -> None:
    daily.room = says(200, room_body(config=config, created_at=5, privacy=None))
    assert (await mint(daily)).token == MINTED
    assert log == []


@pytest.mark.parametrize(
    ("config", "setting", "remedy"),
    [
        ({"max_participants": 2}, "max_participants", "to 3 at least"),
        ({"nbf": time.time() + 3600}, "nbf", "when the room is open"),
        ({"owner_only_broadcast": True}, "owner_only_broadcast", "off"),
        ({"permissions": {"canReceive": {"base": False}}}, "canReceive", "permissions.md"),
        ({"permissions": {"canReceive": {"base": {"audio": False}}}}, "canReceive", "user id"),
    ],
)
async def test_what_may_keep_the_avatar_out_or_mute_it_is_told_and_a_token_is_made(
    daily: Daily, log: list[str], config: dict[str, Any], setting: str, remedy: str
) -> None:
    daily.room = says(200, room_body(config=config))
    assert (await mint(daily)).token == MINTED
    (line,) = log
    assert "WARNING" in line
    assert ROOM_URL in line
    assert setting in line
    assert remedy in line


async def test_a_room_with_places_and_rights_enough_gets_no_warning(
    daily: Daily, log: list[str]
) -> None:
    config = {
        "max_participants": 3,
        "nbf": time.time() - 60,
        "owner_only_broadcast": False,
        "permissions": {"canReceive": {"base": True}, "canSend": False},
    }
    daily.room = says(200, room_body(config=config))
    await mint(daily)
    assert log == []


@pytest.mark.parametrize(
    ("asked", "status", "remedy"),
    [
        ("room", 401, "Check api_key (or DAILY_API_KEY)"),
        ("room", 404, "Check that the room exists"),
        ("room", 503, "try again later"),
        ("token", 400, "Daily's words"),
        ("token", 429, "Daily's words"),
        ("token", 502, "try again later"),
    ],
)
async def test_the_remedy_fits_what_daily_refuses(
    daily: Daily, asked: str, status: int, remedy: str
) -> None:
    setattr(daily, asked, says(status, {"error": "some-error", "info": "some words"}))
    with pytest.raises(RoomTokenError, match="some words") as caught:
        await mint(daily)
    assert remedy in caught.value.remedy


async def test_the_key_follows_no_redirect(daily: Daily) -> None:
    async def moved(_request: web.Request) -> web.StreamResponse:
        return web.Response(status=302, headers={"Location": f"{daily.url}/rooms/elsewhere"})

    daily.room = moved
    with pytest.raises(RoomTokenError, match="302"):
        await mint(daily)
    assert daily.asked == ["GET /v1/rooms/room"]


@pytest.mark.parametrize("body", ["<html>", {}, {"name": "room"}, room_body(config=None), []])
async def test_an_unreadable_room_is_a_clear_error(daily: Daily, body: object) -> None:
    daily.room = says(200, body)
    with pytest.raises(RoomTokenError, match="Daily"):
        await mint(daily)


async def test_a_silent_daily_is_given_up(daily: Daily) -> None:
    silent = asyncio.Event()

    async def wait(_request: web.Request) -> web.StreamResponse:
        await silent.wait()
        return web.Response()

    daily.room = wait
    with pytest.raises(RoomTokenError, match="within"):
        await mint(daily, timeout_secs=0.05)
    silent.set()


async def test_an_unreachable_daily_is_a_clear_error(daily: Daily) -> None:
    url = daily.url
    await daily.server.close()
    with pytest.raises(RoomTokenError, match="Cannot connect"):
        await mint(daily, api_url=url)


@pytest.mark.parametrize("failing", ["room", "token", "headers", "nothing"])
async def test_neither_key_nor_token_is_in_an_error_a_traceback_or_the_log(
    daily: Daily, log: list[str], monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    # From the environment, because the log shows the variables of this test's frames too.
    monkeypatch.setenv("DAILY_API_KEY", DAILY_KEY)

    async def reset(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(f"HTTP/1.1 {DAILY_KEY}\r\n\r\n".encode())
        request.transport.close()
        return web.Response()

    match failing:
        case "room":
            daily.room = says(200, {"name": DAILY_KEY})
        case "token":
            daily.token = says(500, {"info": f"{DAILY_KEY} {'.' * 400} {DAILY_KEY}"})
        case "headers":
            daily.token = reset
        case _:
            logger.info(await DailyRoom.mint(ROOM_URL, api_url=daily.url))
    try:
        await DailyRoom.mint(ROOM_URL, api_url=daily.url)
    except RoomTokenError as error:
        logger.exception("failed")
        log += [repr(error), traceback.format_exc(), str(vars(error))]
    else:
        assert failing == "nothing"
    shown = "".join(log)
    assert shown
    assert DAILY_KEY not in shown
    assert DAILY_KEY[:10] not in shown
    assert MINTED not in shown


def test_minting_needs_neither_pipecat_nor_daily_python() -> None:
    program = (
        "import sys; sys.modules['daily'] = None\n"
        "import pipecat_agenthuman.rooms, pipecat_agenthuman.tokens.daily\n"
        "assert 'pipecat' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=120)


# --- LiveKit's tokens --------------------------------------------------------------------


async def mint_livekit(**arguments: Any) -> LiveKitRoom:
    defaults = {"room_name": "room", "api_key": "APIkey", "api_secret": LIVEKIT_SECRET}
    return await LiveKitRoom.mint(
        arguments.pop("url", "wss://example.livekit.cloud"), **defaults | arguments
    )


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"url": "https://example.livekit.cloud"}, "url"),
        ({"room_name": " "}, "room_name"),
        ({"api_key": ""}, "LIVEKIT_API_KEY"),
        ({"api_secret": ""}, "LIVEKIT_API_SECRET"),
        ({"identity": ""}, "identifier"),
        ({"name": " "}, "name"),
        ({"bot_identity": ""}, "bot_identity"),
        ({"identity": "bot", "bot_identity": "bot"}, "Leave identity out"),
        ({"expiry_secs": -1}, "expiry_secs"),
        ({"expiry_secs": float("inf")}, "expiry_secs"),
    ],
)
async def test_wrong_livekit_arguments_are_named(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        await mint_livekit(**arguments)


async def test_without_livekit_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "livekit", None)
    monkeypatch.delitem(sys.modules, "livekit.api", raising=False)
    with pytest.raises(RoomTokenError, match=r"pipecat-agenthuman\[livekit\]"):
        await mint_livekit()


async def test_a_livekit_token_lets_the_avatar_publish_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, log: list[str]
) -> None:
    api = pytest.importorskip("livekit.api")
    monkeypatch.setenv("LIVEKIT_API_KEY", "APIkey")
    monkeypatch.setenv("LIVEKIT_API_SECRET", LIVEKIT_SECRET)
    room = await mint_livekit(api_key=None, api_secret=None)
    assert room.url == "wss://example.livekit.cloud"
    claims = api.TokenVerifier("APIkey", LIVEKIT_SECRET).verify(room.token)
    assert room.identity == AvatarIdentity(claims.identity, AVATAR_USER_NAME)
    assert claims.identity.startswith(f"{AVATAR_USER_ID}-")
    assert claims.name == AVATAR_USER_NAME
    assert claims.video.room == "room"
    assert claims.video.room_join
    assert claims.video.can_publish
    assert claims.video.can_publish_sources == ["camera", "microphone"]
    assert not any((claims.video.room_admin, claims.video.room_record, claims.video.hidden))
    assert log == []


async def test_to_livekit_the_avatar_is_an_agent_that_may_send_data_and_speaks_for_the_bot() -> (
    None
):
    api = pytest.importorskip("livekit.api")
    verifier = api.TokenVerifier("APIkey", LIVEKIT_SECRET)
    alone = verifier.verify((await mint_livekit()).token)
    assert alone.kind == "agent"
    assert alone.video.can_publish_data
    assert not alone.attributes
    for_a_bot = verifier.verify((await mint_livekit(bot_identity="the-bot")).token)
    assert for_a_bot.attributes == {"lk.publish_on_behalf": "the-bot"}


async def test_every_livekit_token_gives_an_identity_of_its_own() -> None:
    pytest.importorskip("livekit.api")
    assert (await mint_livekit()).identity != (await mint_livekit()).identity
    assert (await mint_livekit(identity="ava")).identity == AvatarIdentity("ava", AVATAR_USER_NAME)


# --- tokens that were made elsewhere --------------------------------------------------------

LIVEKIT_URL = "wss://example.livekit.cloud"


def test_a_room_learns_from_its_token_who_the_avatar_is(log: list[str]) -> None:
    token = web_token({"r": "room", "ud": "ava", "u": "Ava"})
    assert DailyRoom(ROOM_URL, token).identity == AvatarIdentity("ava", "Ava")
    token = web_token({"sub": "ava", "name": "Ava", "video": {"room": "r", "roomJoin": True}})
    assert LiveKitRoom(LIVEKIT_URL, token).identity == AvatarIdentity("ava", "Ava")
    assert log == []


@pytest.mark.parametrize("token", ["opaque", "no.web.token", web_token([1]), "e30.bnVsbA.c2ln"])
def test_a_token_that_cannot_be_read_may_be_any_avatars(log: list[str], token: str) -> None:
    assert DailyRoom(ROOM_URL, token).identity == AvatarIdentity()
    assert LiveKitRoom(LIVEKIT_URL, token).identity == AvatarIdentity()
    assert log == []


def test_an_identity_that_is_given_counts() -> None:
    mine = AvatarIdentity("mine")
    assert DailyRoom(ROOM_URL, "opaque", mine).identity == mine
    assert DailyRoom(ROOM_URL, web_token({"ud": "ava"}), mine).identity == mine
    with pytest.raises(ValueError, match="identity must be an instance of AvatarIdentity"):
        DailyRoom(ROOM_URL, "opaque", "mine")  # type: ignore[arg-type]


DAILY_TOKENS = {
    "expired": ({"ud": "ava", "exp": 1_000_000_000}, "expired", "DailyRoom.mint"),
    "not valid yet": ({"ud": "ava", "nbf": 32_503_680_000}, "becomes valid in", "at once"),
    "for another room": ({"ud": "ava", "r": "elsewhere"}, "'elsewhere', not for 'room'", "this"),
    "mute": ({"ud": "ava", "p": {"cs": "v,sv"}}, "to send audio", "DailyRoom.mint"),
    "mute and unseen": ({"ud": "ava", "p": {"cs": False}}, "audio and video", "DailyRoom.mint"),
    "the bot's own": ({"ud": "bot", "o": True}, "the bot's own", "DailyRoom.mint"),
    "without an id": ({"u": "Ava"}, "names no user id", "DailyRoom.mint"),
}
LIVEKIT_TOKENS = {
    "expired": ({"exp": 1_000_000_000}, {}, "expired"),
    "no entry": ({}, {"roomJoin": False}, "to join"),
    "mute": ({}, {"canPublish": False}, "to publish"),
    "unseen": ({}, {"canPublishSources": ["microphone"]}, "its camera"),
    "hidden": ({}, {"hidden": True}, "to be seen"),
    "without data": ({}, {"canPublishData": False}, "forbids data"),
    "the bot's own": ({}, {"agent": True}, "the bot's own"),
    "an administrator's": ({}, {"roomAdmin": True}, "an administrator"),
    "without an identity": ({"sub": ""}, {}, "names no user id"),
}


@pytest.mark.parametrize("case", DAILY_TOKENS)
def test_a_daily_token_that_is_not_the_avatars_is_named(log: list[str], case: str) -> None:
    claims, problem, remedy = DAILY_TOKENS[case]
    token = web_token(claims)
    DailyRoom(ROOM_URL, token)
    (line,) = log
    assert "WARNING" in line
    assert problem in line
    assert remedy in line
    assert token not in line


@pytest.mark.parametrize("case", LIVEKIT_TOKENS)
def test_a_livekit_token_that_is_not_the_avatars_is_named(log: list[str], case: str) -> None:
    claims, grants, problem = LIVEKIT_TOKENS[case]
    token = web_token({"sub": "ava", **claims, "video": {"room": "r", "roomJoin": True, **grants}})
    LiveKitRoom(LIVEKIT_URL, token)
    (line,) = log
    assert problem in line
    assert "LiveKitRoom.mint" in line
    assert token not in line


def test_a_token_with_neither_id_nor_name_makes_an_avatar_that_nobody_knows() -> None:
    assert DailyRoom(ROOM_URL, web_token({"r": "room"})).identity.is_empty


@settings(max_examples=200, deadline=None)
@given(
    claims=st.dictionaries(st.sampled_from([*"rudop", "ud", "exp", "nbf", "sub", "video"]), JSON)
)
def test_no_token_breaks_a_room(claims: dict[str, Any]) -> None:
    for room in (DailyRoom, LiveKitRoom):
        room(ROOM_URL if room is DailyRoom else LIVEKIT_URL, web_token(claims))
