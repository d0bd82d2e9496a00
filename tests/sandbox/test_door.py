from __future__ import annotations

import asyncio

import aiohttp
import pytest

from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.sandbox_client import WISH, create

FOREIGN = [
    "https://evil.example",
    "http://127.0.0.1:1",
    "http://localhost",
    "https://{host}",
    "http://{host}.evil.example",
    "http://{host}/",
    "null",
    "",
]
"""Origins of web pages that are not the sandbox's own; ``{host}`` is where it listens."""

CHANGES = [
    ("POST", "/v1/sessions"),
    ("POST", "/v1/sessions/{session}/end"),
    ("POST", "/v1/avatars/upload-face"),
    ("POST", "/sandbox/faults"),
    ("DELETE", "/sandbox/faults"),
    ("POST", "/sandbox/sessions/{session}/end"),
    ("POST", "/sandbox/sessions/{session}/drop"),
    ("PUT", "/sandbox/faults"),
    ("PATCH", "/nothing/yet"),
]
SOCKETS = ["/", "/servers/another", "/room/ws"]


def host(sandbox: Sandbox) -> str:
    return f"127.0.0.1:{sandbox.port}"


@pytest.mark.parametrize("origin", FOREIGN)
async def test_a_foreign_page_changes_nothing(origin):
    async with Sandbox() as sandbox:
        session = (await create(sandbox))["session_id"]
        url = sandbox.api_url.removesuffix("/v1")
        headers = {"Origin": origin.format(host=host(sandbox)), "x-api-key": sandbox.api_key}
        fault = b'{"on": "create", "kind": "refuse"}'
        async with aiohttp.ClientSession(headers=headers) as http:
            for method, path in CHANGES:
                where = url + path.format(session=session)
                async with http.request(method, where, data=fault) as response:
                    assert response.status == 403, (method, path)
            for path in SOCKETS:
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await http.ws_connect(url + path)
                assert refused.value.status == 403
        assert sandbox.state()["faults"] == []
        assert [one.status for one in sandbox.sessions] == ["started"]


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_picture_in_a_foreign_page_does_not_spend_a_fault(site):
    """Such a request has no Origin; newer browsers tell all the same where it comes from."""
    fault = Fault(on="usage", kind="delay")
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors"}
    async with Sandbox(faults=[fault]) as sandbox, aiohttp.ClientSession(headers=headers) as http:
        async with http.get(f"{sandbox.api_url}/usage") as response:
            assert response.status == 403
        assert sandbox.state()["faults"][0]["seen"] == 0
        avatar = f"{sandbox.api_url.removesuffix('/v1')}/sandbox/avatars/avat_x.svg"
        async with http.get(avatar) as response:
            assert response.status == 200
            assert response.headers["Cross-Origin-Resource-Policy"] == "cross-origin"


@pytest.mark.parametrize("origin", ["http://{host}", "http://localhost:{port}", None])
async def test_its_own_page_and_programs_may_change_everything(origin):
    async with Sandbox() as sandbox:
        url = sandbox.api_url.removesuffix("/v1")
        headers = {"x-api-key": sandbox.api_key}
        if origin is not None:
            headers["Origin"] = origin.format(host=host(sandbox), port=sandbox.port)
            headers["Host"] = headers["Origin"].removeprefix("http://")
        async with aiohttp.ClientSession(headers=headers) as http:
            async with http.post(f"{url}/v1/sessions", json=WISH) as response:
                assert response.status == 201
            async with http.delete(f"{url}/sandbox/faults") as response:
                assert response.status == 200
            for path in ("/", "/room/ws"):
                async with http.ws_connect(url + path):
                    pass


async def test_every_answer_tells_browsers_to_guess_keep_and_share_nothing():
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        url = sandbox.api_url.removesuffix("/v1")
        for path in ("/v1/usage", "/sandbox/state", "/sandbox/heard.wav", "/nothing", "/"):
            async with http.get(url + path) as response:
                headers = response.headers
                assert headers["X-Content-Type-Options"] == "nosniff"
                assert headers["Cache-Control"] == "no-store"
                assert headers["Referrer-Policy"] == "no-referrer"
                assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
                assert not [name for name in headers if name.startswith("Access-Control")]


@pytest.mark.parametrize("line", ["Host: 127.0.0.1:1\x00", "Host 127.0.0.1", "Key: \x07ah_live_1"])
async def test_a_malformed_request_is_refused_and_told_in_one_line(line, caplog):
    async with Sandbox() as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
        writer.write(f"GET /v1/usage HTTP/1.1\r\n{line}\r\n\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.close()
    (told,) = [record for record in caplog.records if record.levelname == "ERROR"]
    formatted = caplog.handler.format(told)
    assert "A malformed request was refused with 400" in formatted
    assert "\n" not in formatted
    assert "ah_live" not in formatted


@pytest.mark.parametrize("host", ["[::1", "127.0.0.1:x", "a b", "user@127.0.0.1", "127.0.0.1/x"])
async def test_a_host_that_is_none_is_refused(host, caplog):
    async with Sandbox() as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
        writer.write(f"GET /v1/usage HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
        assert b" 403 " in await reader.readline()
        writer.close()
    assert not caplog.records
