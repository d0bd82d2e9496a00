"""In which room an output transport is heard, and whether that is the avatar's."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.daily.transport import DailyParams, DailyTransport

from pipecat_agenthuman import AgentHumanDailyTransport, DailyRoom, LiveKitRoom
from pipecat_agenthuman.pipeline.surroundings.same_room import room_mismatch
from tests.support.pipelines import SoundCard
from tests.support.web_tokens import web_token

URL = "https://example.daily.co/room"
DAILY = DailyRoom(URL, "room-token")
CLOUD = "wss://project.livekit.cloud"


def livekit_room(url: str = CLOUD, name: str = "lobby") -> LiveKitRoom:
    return LiveKitRoom(url, web_token({"video": {"roomJoin": True, "room": name}}))


def pipecats(module: str, **parts: Any) -> BaseOutputTransport:
    """A transport whose class lies in a module of Pipecat's, or is derived from one there."""
    base = type("Output", (BaseOutputTransport,), {"__module__": f"pipecat.transports.{module}"})
    derived = type("MyOutput", (base,), {"__module__": "bot"})
    transport = derived(TransportParams())
    vars(transport).update(parts)
    return transport


def in_livekit(url: str = CLOUD, name: str = "lobby") -> BaseOutputTransport:
    token = web_token({"video": {"roomJoin": True, "room": name}})
    client = SimpleNamespace(_url=url, _token=token)
    return pipecats("livekit.transport", _client=client)


@pytest.mark.parametrize(
    "url",
    [
        URL,
        f"{URL}/",
        f"{URL}?t=token",
        "https://EXAMPLE.daily.co/Room",
        "https://meet.example.com/room",
    ],
)
@pytest.mark.parametrize("kind", [DailyTransport, AgentHumanDailyTransport])
async def test_the_same_daily_room_is_recognised(kind: type[DailyTransport], url: str):
    transport = kind(url, None, "Bot", DailyParams())
    assert room_mismatch(DAILY, transport.output()) is None


@pytest.mark.parametrize("url", ["https://example.daily.co/other", "https://other.daily.co/room"])
@pytest.mark.parametrize("kind", [DailyTransport, AgentHumanDailyTransport])
async def test_another_daily_room_is_told_with_both_addresses(kind: type[DailyTransport], url: str):
    wrong, remedy = room_mismatch(DAILY, kind(f"{url}?t=secret", None, "Bot").output()) or ("", "")
    assert URL in wrong
    assert url in wrong
    assert "same room" in remedy
    assert "secret" not in wrong + remedy
    assert "room-token" not in wrong + remedy


def test_no_secret_of_an_address_is_told():
    for url in ("https://me:secret@x.daily.co/y", "https://x.daily.co/y?t=secret#secret"):
        daily = pipecats("daily.transport", _client=SimpleNamespace(room_url=url))
        wrong, remedy = room_mismatch(DAILY, daily) or ("", "")
        assert "https://x.daily.co/y" in wrong
        assert "secret" not in wrong + remedy


@pytest.mark.parametrize(
    ("room", "transport"),
    [
        (livekit_room(), in_livekit()),
        (livekit_room(), in_livekit(f"{CLOUD}/")),
        (livekit_room(), in_livekit("https://project.eu.production.livekit.cloud")),
        # One server may have a name within a network and another one outside.
        (livekit_room("wss://livekit.example"), in_livekit("ws://livekit:7880")),
        (LiveKitRoom(CLOUD, "no-jwt"), in_livekit()),
        (LiveKitRoom(CLOUD, web_token({"video": {"roomJoin": True}})), in_livekit()),
        (LiveKitRoom(CLOUD, web_token([])), in_livekit()),
    ],
)
def test_the_same_livekit_room_is_recognised_and_doubt_is_no_error(
    room: LiveKitRoom, transport: BaseOutputTransport
):
    assert room_mismatch(room, transport) is None


@pytest.mark.parametrize(
    "transport",
    [in_livekit(name="kitchen"), in_livekit("wss://other.livekit.cloud")],
    ids=["room", "project"],
)
def test_another_livekit_room_is_told(transport: BaseOutputTransport):
    wrong, _ = room_mismatch(livekit_room(), transport) or ("", "")
    assert "'lobby' at wss://project.livekit.cloud" in wrong
    assert livekit_room().token not in wrong


def test_the_real_livekit_transport_is_known():
    pytest.importorskip("livekit.rtc")
    livekit = pytest.importorskip("pipecat.transports.livekit.transport")
    token = web_token({"video": {"roomJoin": True, "room": "kitchen"}})
    # What the caller calls the room does not matter: the token opens one, and no other.
    transport = livekit.LiveKitTransport(CLOUD, token, "lobby").output()
    assert room_mismatch(livekit_room(), transport) is not None
    assert room_mismatch(livekit_room(name="kitchen"), transport) is None
    unreadable = livekit.LiveKitTransport(CLOUD, "bots-token", "kitchen").output()
    assert room_mismatch(livekit_room(), unreadable) is None


def test_another_platform_is_told_with_the_room_that_would_fit():
    wrong, remedy = room_mismatch(DAILY, in_livekit()) or ("", "")
    assert "Daily" in wrong
    assert "LiveKit" in wrong
    assert "LiveKitRoom" in remedy
    daily = pipecats("daily.transport", _client=SimpleNamespace(room_url=URL))
    wrong, remedy = room_mismatch(livekit_room(), daily) or ("", "")
    assert "DailyRoom" in remedy


@pytest.mark.parametrize(
    "module",
    [
        "smallwebrtc.transport",
        "websocket.fastapi",
        "websocket.server",
        "local.audio",
        "tavus.transport",
        "heygen.transport",
        "vonage.video_connector",
    ],
)
@pytest.mark.parametrize("room", [DAILY, livekit_room()], ids=["daily", "livekit"])
def test_a_transport_that_is_in_no_such_room_is_told(room: Any, module: str):
    wrong, remedy = room_mismatch(room, pipecats(module)) or ("", "")
    assert "plays to" in wrong
    assert "Transport in the avatar's room" in remedy
    assert "avatar_room" in remedy


@pytest.mark.parametrize("room", [DAILY, livekit_room()], ids=["daily", "livekit"])
@pytest.mark.parametrize(
    "transport",
    [
        SoundCard(),
        pipecats("something.new"),
        pipecats("daily.transport"),
        pipecats("livekit.transport", _client=SimpleNamespace(_url=7)),
    ],
    ids=["not Pipecat's", "unknown", "Daily's, changed inside", "LiveKit's, changed inside"],
)
def test_of_what_nobody_can_know_nothing_is_said(room: Any, transport: BaseOutputTransport):
    assert room_mismatch(room, transport) is None


def test_a_transport_may_say_itself_in_which_room_its_callers_are():
    socket = pipecats("websocket.fastapi", avatar_room=DAILY)
    assert room_mismatch(DAILY, socket) is None
    assert room_mismatch(livekit_room(), socket) is not None
    card = SoundCard()
    card.avatar_room = None  # type: ignore[attr-defined]
    assert room_mismatch(DAILY, card) is not None
    card.avatar_room = livekit_room(name="kitchen")  # type: ignore[attr-defined]
    assert room_mismatch(livekit_room(), card) is not None
