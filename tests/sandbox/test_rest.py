from __future__ import annotations

import base64
import json
import re
import struct
import time
import zlib
from io import BytesIO

import aiohttp
import pytest

from pipecat_agenthuman.sandbox import Ending, Sandbox
from tests.support.sandbox_client import ROOM, WISH, connect, create, request


def words(body: dict) -> str:
    """The words of an error, whichever of its two forms it has."""
    assert body["success"] is False
    error = body["error"]
    return error if isinstance(error, str) else error["message"]


# --- sessions ---------------------------------------------------------------------------


async def test_creating_a_session_answers_as_documented():
    async with Sandbox(max_sessions=3, minutes=100) as sandbox:
        metadata = {"caller": {"name": "Ada"}}
        status, body = await request(
            sandbox, "POST", "/sessions", json={**WISH, "metadata": metadata}
        )
        session = body["session"]
        assert (status, body["success"]) == (201, True)
        assert re.fullmatch(r"sess_\w+", session["session_id"])
        assert session["session_token"]
        assert session["status"] == "started"
        assert session["started_at"] is not None
        assert (session["ended_at"], session["expiration"]) == (None, None)
        assert session["metadata"] == metadata
        assert body["usage"] == {
            "concurrency": {"current": 1, "max": 3, "available": 2},
            "minutes": {"total_remaining": 99},
        }
        record = sandbox.sessions[0]
        assert (record.avatar, record.aspect_ratio, record.metadata) == (
            "avat_test",
            "4:3",
            metadata,
        )
        assert (record.room_platform, record.room_url, record.room_token) == tuple(ROOM.values())


async def test_the_token_is_told_once_and_shown_nowhere():
    async with Sandbox() as sandbox:
        session = await create(sandbox)
        token, path = session["session_token"], f"/sessions/{session['session_id']}"
        answers = [
            await request(sandbox, "GET", path),
            await request(sandbox, "POST", f"{path}/end"),
            await request(sandbox, "GET", path),
        ]
        shown = repr([answers, sandbox.sessions, sandbox.log, sandbox.state()])
        assert token not in shown
        assert ROOM["token"] not in shown
        assert sandbox.api_key not in shown


async def test_what_a_running_session_is_called_can_be_chosen():
    async with Sandbox(running_status="active", created_status=200) as sandbox:
        status, body = await request(sandbox, "POST", "/sessions", json=WISH)
        assert (status, body["session"]["status"]) == (200, "started")
        session_id = body["session"]["session_id"]
        _, body = await request(sandbox, "GET", f"/sessions/{session_id}")
        assert body["session"]["status"] == "active"


async def test_sessions_are_listed_by_their_status():
    async with Sandbox(max_sessions=2, running_status="active") as sandbox:
        first, second = await create(sandbox), await create(sandbox)
        await request(sandbox, "POST", f"/sessions/{first['session_id']}/end")
        found = {}
        for status in ("all", "started", "ended"):
            _, body = await request(sandbox, "GET", f"/sessions?status={status}")
            found[status] = [(view["session_id"], view["status"]) for view in body["sessions"]]
            assert not [view for view in body["sessions"] if "session_token" in view]
        ended, running = (first["session_id"], "ended"), (second["session_id"], "active")
        assert found == {"all": [ended, running], "started": [running], "ended": [ended]}
        _, body = await request(sandbox, "GET", "/sessions")
        assert len(body["sessions"]) == 2
        status, body = await request(sandbox, "GET", "/sessions?status=lost")
        assert (status, words(body)) == (400, "Invalid status")


@pytest.mark.parametrize("lists_metadata", [True, False])
async def test_whether_the_list_has_metadata_can_be_chosen(lists_metadata: bool):
    async with Sandbox(lists_metadata=lists_metadata) as sandbox:
        await request(sandbox, "POST", "/sessions", json={**WISH, "metadata": {"call": 1}})
        _, body = await request(sandbox, "GET", "/sessions")
        assert [view.get("metadata") for view in body["sessions"]] == [
            {"call": 1} if lists_metadata else None
        ]


async def test_what_is_said_of_a_sessions_server_can_be_chosen():
    for chosen, told in (("none", None), ("try_again", "try_again")):
        async with Sandbox(server_addresses=chosen) as sandbox:
            assert (await create(sandbox)).get("server_ws_uri") == told
    async with Sandbox(server_addresses="assigned", max_sessions=2) as sandbox:
        one, two = await create(sandbox), await create(sandbox)
        assert one["server_ws_uri"] == f"{sandbox.ws_url}/servers/{sandbox.sessions[0].server}"
        assert one["server_ws_uri"] != two["server_ws_uri"]


async def test_ending_a_session_twice_succeeds_twice():
    async with Sandbox() as sandbox:
        path = f"/sessions/{(await create(sandbox))['session_id']}"
        for _ in range(2):
            status, body = await request(sandbox, "POST", f"{path}/end")
            assert (status, body["session"]["status"]) == (200, "ended")
        _, body = await request(sandbox, "GET", path)
        assert body["session"]["status"] == "ended"
        assert body["session"]["ended_at"] is not None
        assert body["session"]["duration"] >= 0
        record = sandbox.sessions[0]
        assert (record.ended_by, record.end_requests) == (Ending.END_REQUEST, 2)


@pytest.mark.parametrize(("method", "end"), [("GET", ""), ("POST", "/end")])
async def test_an_unknown_session_is_not_found(method, end):
    async with Sandbox() as sandbox:
        status, body = await request(sandbox, method, f"/sessions/sess_none{end}")
        assert (status, words(body)) == (404, "Session not found")


async def test_a_session_with_a_limited_life_tells_its_end():
    async with Sandbox(session_secs=600) as sandbox:
        session = await create(sandbox)
        assert session["expiration"] > session["started_at"]


def without(path: str) -> dict:
    room = {key: value for key, value in ROOM.items() if f"room.{key}" != path}
    return {key: value for key, value in {**WISH, "room": room}.items() if key != path}


@pytest.mark.parametrize("path", ["avatar", "room", "room.platform", "room.url", "room.token"])
async def test_a_missing_field_is_named(path):
    async with Sandbox() as sandbox:
        status, body = await request(sandbox, "POST", "/sessions", json=without(path))
        assert (status, words(body)) == (400, f"Missing required field: {path}")
        assert body["error"]["suggestion"]
        assert sandbox.sessions == []


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"avatar": "amira"}, "avatar"),
        ({"avatar": ""}, "avatar"),
        ({"avatar": 7}, "avatar"),
        ({"avatar": "ftp://example.com/face.png"}, "avatar"),
        ({"aspect_ratio": "16:9"}, "aspect_ratio"),
        ({"aspect_ratio": None}, "aspect_ratio"),
        ({"room": "https://example.daily.co/room"}, "room"),
        ({"room": {**ROOM, "platform": "zoom"}}, "room.platform"),
        ({"room": {**ROOM, "url": "room"}}, "room.url"),
        ({"room": {**ROOM, "url": "wss://example.livekit.cloud"}}, "room.url"),
        ({"room": {**ROOM, "url": "https://[::"}}, "room.url"),
        ({"room": {**ROOM, "token": ""}}, "room.token"),
        ({"room": {**ROOM, "token": None}}, "room.token"),
        ({"metadata": []}, "metadata"),
        ({"metadata": "x"}, "metadata"),
        ({"metadata": None}, "metadata"),
    ],
)
async def test_a_wrong_field_is_named_with_what_belongs_there(change, path):
    async with Sandbox() as sandbox:
        status, body = await request(sandbox, "POST", "/sessions", json={**WISH, **change})
        assert status == 400
        assert words(body).startswith(f"Invalid {path}: ")
        assert body["error"]["suggestion"]
        assert ROOM["token"] not in repr(body)
        assert sandbox.sessions == []


@pytest.mark.parametrize(
    "change",
    [
        {"avatar": "https://example.com/face.png"},
        {"avatar": "data:image/png;base64,iVBORw0KGgo="},
        {"aspect_ratio": "3:4"},
        {"aspect_ratio": "1:1"},
        {"room": {"platform": "livekit", "url": "wss://example.livekit.cloud", "token": "jwt"}},
    ],
)
async def test_everything_documented_is_accepted(change):
    async with Sandbox() as sandbox:
        assert (await create(sandbox, **change))["session_id"]


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, b"\xff"])
async def test_a_body_that_is_no_json_object_is_refused(text):
    async with Sandbox() as sandbox:
        status, body = await request(sandbox, "POST", "/sessions", data=text)
        assert status == 400
        assert words(body).startswith("Request body")


# --- the account ------------------------------------------------------------------------


@pytest.mark.parametrize("key", [None, "", "ah_live_wrong", "ah_live_sandbo"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/sessions"),
        ("GET", "/sessions/sess_none"),
        ("POST", "/sessions/sess_none/end"),
        ("GET", "/avatars"),
        ("GET", "/usage"),
        ("POST", "/avatars/upload-face"),
    ],
)
async def test_without_the_right_key_every_request_is_refused(method, path, key):
    async with Sandbox() as sandbox:
        headers = {} if key is None else {"x-api-key": key}
        status, body = await request(sandbox, method, path, key=None, headers=headers, json={})
        assert status == 401
        assert isinstance(body["error"], str)


async def test_the_key_can_be_chosen():
    async with Sandbox(api_key="ah_live_mine") as sandbox:
        assert (await request(sandbox, "GET", "/usage"))[0] == 200
        assert (await request(sandbox, "GET", "/usage", key="ah_live_sandbox"))[0] == 401


async def test_more_sessions_than_allowed_are_refused_with_a_plain_string():
    async with Sandbox(max_sessions=2) as sandbox:
        first = await create(sandbox)
        await create(sandbox)
        status, body = await request(sandbox, "POST", "/sessions", json=WISH)
        assert status == 429
        assert "2 of 2" in body["error"]
        await request(sandbox, "POST", f"/sessions/{first['session_id']}/end")
        await create(sandbox)
        assert (len(sandbox.sessions), sandbox.peak_live_sessions) == (3, 2)


async def test_every_minute_begun_of_a_session_is_spent():
    now = [0.0]
    async with Sandbox(minutes=4, clock=lambda: now[0]) as sandbox:

        async def left() -> float:
            _, body = await request(sandbox, "GET", "/usage")
            return body["usage"]["total_remaining"]

        for lasted_secs, remaining in ((1.0, 3), (60.5, 1)):
            path = f"/sessions/{(await create(sandbox))['session_id']}"
            now[0] += lasted_secs
            assert await left() == remaining
            await request(sandbox, "POST", f"{path}/end")
            now[0] += 1000
            assert await left() == remaining
        await create(sandbox)
        await sandbox.end_session()
        status, body = await request(sandbox, "POST", "/sessions", json=WISH)
        assert status == 402
        assert body["error"]["code"] == "INSUFFICIENT_MINUTES"


# --- avatars ----------------------------------------------------------------------------


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(content))


PNG = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"IEND", b"")
PICTURES = {
    "png": PNG,
    "jpeg": b"\xff\xd8\xff\xe0" + bytes(20) + b"\xff\xd9",
    "gif": b"GIF89a" + bytes(20) + b";",
    "webp": b"RIFF" + struct.pack("<I", 12) + b"WEBPVP8 " + bytes(4),
}


def form(**fields: object) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields.items():
        data.add_field(name, BytesIO(value) if isinstance(value, bytes) else value)
    return data


async def upload(sandbox: Sandbox, **arguments: object) -> tuple[int, dict]:
    return await request(sandbox, "POST", "/avatars/upload-face", **arguments)


async def test_avatars_are_listed_with_pictures_that_can_be_fetched():
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        _, body = await request(sandbox, "GET", "/avatars")
        assert body["my_avatars"] == []
        for avatar in body["public_avatars"]:
            assert re.fullmatch(r"avat_\w+", avatar["avatar_id"])
            assert avatar["tags"]
            for address in (avatar["preview_url"], avatar["image_url"]):
                async with http.get(address) as picture:
                    assert picture.content_type == "image/svg+xml"
        assert sandbox.environment["AGENTHUMAN_AVATAR"] in {
            avatar["avatar_id"] for avatar in body["public_avatars"]
        }


async def test_a_preview_is_made_of_the_avatars_that_there_are():
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        wish = {"avatar_id": "avat_sandbox_ada"}
        status, body = await request(sandbox, "POST", "/avatars/preview", json=wish)
        assert (status, body["success"]) == (200, True)
        async with http.get(body["url"]) as picture:
            assert picture.status == 200
        for wrong, refusal in (({}, 400), ({"avatar_id": 5}, 400), ({"avatar_id": "avat_x"}, 404)):
            status, _ = await request(sandbox, "POST", "/avatars/preview", json=wrong)
            assert status == refusal


@pytest.mark.parametrize("kind", PICTURES)
async def test_an_uploaded_face_becomes_an_avatar(kind):
    picture = PICTURES[kind]
    encoded = base64.b64encode(picture).decode()
    async with Sandbox() as sandbox:
        bodies = [
            await upload(sandbox, data=form(file=picture)),
            await upload(sandbox, data=form(image_base64=encoded)),
            await upload(sandbox, data={"image_base64": encoded}),  # url-encoded
            await upload(sandbox, json={"image_base64": encoded}),
            await upload(sandbox, json={"image_base64": f"data:image/{kind};base64,{encoded}"}),
            await upload(sandbox, json={"image_url": f"https://example.com/face.{kind}"}),
        ]
        assert [status for status, _ in bodies] == [200] * 6
        _, listing = await request(sandbox, "GET", "/avatars")
        mine = [avatar["avatar_id"] for avatar in listing["my_avatars"]]
        assert mine == [body["avatar_id"] for _, body in bodies]
        await create(sandbox, avatar=mine[0])


@pytest.mark.parametrize(
    "arguments",
    [
        {"json": {}},
        {"json": {"image_url": "https://example.com/a.png", "image_base64": "x"}},
        {"json": {"image_url": "face.png"}},
        {"json": {"image_url": 7}},
        {"json": {"image_base64": 7}},
        {"json": {"image_base64": "?"}},
        {"json": {"image_base64": base64.b64encode(b"<svg/>").decode()}},
        {"data": "{"},
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=x"}},
        {"data": b"x", "headers": {"Content-Type": "multipart/form-data"}},
    ],
)
async def test_an_upload_that_is_not_one_picture_is_refused(arguments):
    async with Sandbox() as sandbox:
        status, body = await upload(sandbox, **arguments)
        assert (status, bool(words(body))) == (400, True)


@pytest.mark.parametrize("picture", [PNG[:-12], PICTURES["jpeg"][:-2], b"BM" + bytes(50), b"x"])
async def test_a_file_that_is_not_a_whole_picture_is_refused(picture):
    async with Sandbox() as sandbox:
        status, body = await upload(sandbox, data=form(file=picture))
        assert (status, "complete JPEG" in words(body)) == (400, True)


async def test_a_picture_of_more_than_ten_megabytes_is_refused():
    huge = PNG[:-12] + bytes(10_000_000) + PNG[-12:]
    async with Sandbox() as sandbox:
        encoded = json.dumps({"image_base64": base64.b64encode(huge).decode()})
        for data in (form(file=huge), BytesIO(encoded.encode())):
            status, body = await upload(sandbox, data=data)
            assert (status, words(body)) == (400, "The image is larger than 10 MB")


# --- the door ---------------------------------------------------------------------------


async def test_unknown_paths_and_methods_are_refused_in_the_form_of_the_service():
    async with Sandbox() as sandbox:
        assert (await request(sandbox, "GET", "/nothing"))[0] == 404
        assert (await request(sandbox, "PUT", "/sessions"))[0] == 405
        status, body = await request(sandbox, "GET", "/../servers/another")
        assert (status, "WebSocket" in words(body)) == (426, True)


FOREIGN_HOSTS = [
    "evil.example.com",
    "evil.example.com:80",
    "[::1]evil",
    "[::1].evil.example.com:80",
    "evil[::1]",
    "127.0.0.1:evil",
    "127.0.0.1.evil.example.com",
    "127.0.0.1@evil.example.com",
    "evil@127.0.0.1",
    "127.0.0.1/evil",
    "[",
    "[::1",
    "",
]


async def test_pages_of_other_hosts_are_kept_out():
    async with Sandbox() as sandbox:
        for host in FOREIGN_HOSTS:
            status, _ = await request(sandbox, "GET", "/usage", headers={"Host": host})
            assert status == 403
        for host in ("localhost", "LOCALHOST:1", "127.0.0.1", "127.0.0.1:1", "[::1]", "[::1]:80"):
            status, _ = await request(sandbox, "GET", "/usage", headers={"Host": host})
            assert status == 200


async def test_requests_take_the_round_trip():
    async with Sandbox(round_trip_secs=0.2) as sandbox:
        started = time.monotonic()
        await request(sandbox, "GET", "/usage")
        assert time.monotonic() - started >= 0.2
        started = time.monotonic()
        async with connect(sandbox):
            assert time.monotonic() - started >= 0.2
