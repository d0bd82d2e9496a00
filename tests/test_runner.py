"""For Pipecat's runner: the transport and the avatar's room, and a word about missing keys."""

from __future__ import annotations

import base64
import json

import pytest
from pipecat.runner.types import (
    DailyRunnerArguments,
    LiveKitRunnerArguments,
    RunnerArguments,
)
from pipecat.transports.daily.transport import DailyParams

from pipecat_agenthuman import AgentHumanDailyTransport, AgentHumanError, MissingVariablesError
from pipecat_agenthuman.runner import create_transport, exit_without, require_variables
from pipecat_agenthuman.tokens.claims import read_livekit_token
from tests.support.daily_rest import daily_rest
from tests.support.web_tokens import web_token

ROOM_URL = "https://example.daily.co/room"


async def test_a_daily_room_has_a_transport_that_knows_its_avatar(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with daily_rest() as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        transport, room = await create_transport(
            DailyRunnerArguments(room_url=ROOM_URL, token="bot-token"),
            {"daily": lambda: DailyParams(audio_in_enabled=True)},
            microphone="in_turn",
        )
    assert isinstance(transport, AgentHumanDailyTransport)
    assert room.url == ROOM_URL
    assert transport._avatar is room.identity
    assert transport._microphone is not None


async def test_parameters_of_another_transport_are_refused_by_name() -> None:
    from pipecat.transports.base_transport import TransportParams

    arguments = DailyRunnerArguments(room_url=ROOM_URL, token="bot-token")
    with pytest.raises(ValueError, match=r"'daily' .* make DailyParams, and makes TransportParams"):
        await create_transport(arguments, {"daily": TransportParams})


async def test_a_livekit_room_has_a_token_that_says_for_whom_the_avatar_speaks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
    from pipecat.transports.livekit.transport import LiveKitParams

    from pipecat_agenthuman import AgentHumanLiveKitTransport

    monkeypatch.setenv("LIVEKIT_API_KEY", "key")
    monkeypatch.setenv("LIVEKIT_API_SECRET", "a-secret-that-is-long-enough-for-hmac")
    bot_token = web_token({"sub": "bot-7", "video": {"roomJoin": True, "room": "r"}})
    arguments = LiveKitRunnerArguments(
        room_name="r", url="wss://example.livekit.cloud", token=bot_token
    )
    transport, room = await create_transport(arguments, {"livekit": LiveKitParams})
    assert isinstance(transport, AgentHumanLiveKitTransport)
    claims = read_livekit_token(room.token)
    assert claims is not None
    assert claims.room_name == "r"
    payload = room.token.split(".")[1]
    body = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert body["attributes"]["lk.publish_on_behalf"] == "bot-7"


@pytest.mark.parametrize("arguments", [RunnerArguments(), DailyRunnerArguments(room_url=ROOM_URL)])
async def test_what_the_avatar_cannot_join_is_refused(arguments: RunnerArguments) -> None:
    with pytest.raises(ValueError, match="joins a LiveKit room: run this bot with -t livekit"):
        await create_transport(arguments, {"livekit": DailyParams})


def test_missing_variables_are_named_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEY_THAT_IS_SET", "x")
    monkeypatch.setenv("KEY_OF_THE_TEMPLATE", "ah_live_...")
    monkeypatch.setenv("KEY_THAT_IS_EMPTY", " ")
    names = ("KEY_THAT_IS_SET", "KEY_OF_THE_TEMPLATE", "KEY_THAT_IS_EMPTY", "KEY_OF_NOBODY")
    with pytest.raises(MissingVariablesError) as caught:
        require_variables(*names)
    assert isinstance(caught.value, AgentHumanError)
    assert caught.value.message == (
        "Not set: KEY_OF_THE_TEMPLATE, KEY_THAT_IS_EMPTY, KEY_OF_NOBODY."
    )
    with pytest.raises(SystemExit, match="Not set: KEY_OF_NOBODY"):
        exit_without("KEY_OF_NOBODY")
    require_variables("KEY_THAT_IS_SET")
    exit_without("KEY_THAT_IS_SET")
