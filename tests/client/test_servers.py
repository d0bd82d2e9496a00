"""At which server a session is spoken to."""

from __future__ import annotations

import pytest

from pipecat_agenthuman.client.servers import server_url
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import avatars, calling
from tests.support.faults import fault
from tests.support.waiting import quiet_log

HOSTED = "wss://wss.agenthuman.com"


@pytest.mark.parametrize(
    ("assigned", "configured"),
    [
        ("wss://gpu7.agenthuman.com", HOSTED),
        ("wss://agenthuman.com/7", HOSTED),
        ("wss://GPU7.AgentHuman.com", HOSTED),
        ("wss://gpu7.agenthuman.com:8443/7?token=secret", HOSTED),
        ("wss://gpu7.agenthuman.com", "wss://proxy.example"),
        ("wss://proxy.example:444/7", "wss://proxy.example"),
        ("ws://127.0.0.1:9000/7", "ws://localhost:8760"),
    ],
)
def test_the_assigned_server_is_spoken_to(assigned: str, configured: str):
    with quiet_log(level="WARNING") as lines:
        assert server_url(assigned, configured=configured) == assigned
    assert not lines


@pytest.mark.parametrize(
    "assigned",
    [
        "wss://evil.example",
        "wss://agenthuman.com.evil.example",
        "wss://notagenthuman.com",
        "ws://gpu7.agenthuman.com",
        "https://gpu7.agenthuman.com",
        "ws://127.0.0.1:9000",
        "wss://user:secret@gpu7.agenthuman.com",
        "gpu7",
        "wss://[",
        "wss://gpu7.agenthuman.com:99999",
        "wss://gpu7.agenthuman.com#secret",
        "wss://@gpu7.agenthuman.com",
        "wss://gpu 7.agenthuman.com",
        "wss://..agenthuman.com",
        "wss://evil.example%2f.agenthuman.com",
        "wss://evil.example?token=secret",
        "http://gpu7.agenthuman.com?token=secret",
        " ",
    ],
)
def test_the_token_goes_nowhere_else_and_that_is_told(assigned: str):
    with quiet_log(level="WARNING") as lines:
        assert server_url(assigned, configured=HOSTED) == HOSTED
    (line,) = lines
    assert "ws_url" in line
    assert "secret" not in line


def test_without_an_assignment_the_configured_server_is_spoken_to():
    assert server_url(None, configured=HOSTED) == HOSTED


async def test_a_session_that_only_its_own_server_knows_is_found_there():
    async with avatars(server_addresses="assigned") as sandbox, calling(sandbox) as call:
        await call.say(0.3)
        await call.end()
    assert sandbox.heard().duration_secs == pytest.approx(0.3, abs=0.02)
    assert not call.error_frames


async def test_a_server_that_is_not_assigned_yet_is_no_address():
    async with avatars(server_addresses="try_again") as sandbox, calling(sandbox) as call:
        await call.end()
    assert not call.error_frames


async def test_a_session_at_the_wrong_server_is_replaced():
    async with avatars(faults=[fault("create", "wrong_server")]) as sandbox:
        async with calling(sandbox) as call:
            await call.end()
        assert [frame.code for frame in call.error_frames] == ["invalid_session_id"]
        assert [record.end_requests for record in sandbox.sessions] == [1, 1]


def test_a_sandbox_has_only_such_addresses():
    with pytest.raises(ValueError, match="server_addresses"):
        Sandbox(server_addresses="somewhere")
