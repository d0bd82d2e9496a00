import pytest

from pipecat_agenthuman import (
    AgentHumanVideoService,
    DailyRoom,
    LiveKitRoom,
    SessionCredentials,
)
from tests.support.pictures import PNG

ROOM = DailyRoom("https://example.daily.co/room", "room-token")
CREDENTIALS = SessionCredentials("sess_1", "session-token")
AVATAR = AgentHumanVideoService.Settings(avatar="avat_1")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    for name in ("API_KEY", "AVATAR", "AVATAR_LATENCY_SECS", "API_URL", "WS_URL"):
        monkeypatch.delenv(f"AGENTHUMAN_{name}", raising=False)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"api_key": "ah_live_key"}, ["room=", "credentials="]),
        ({"room": ROOM, "settings": AVATAR}, ["api_key", "AGENTHUMAN_API_KEY"]),
        ({"room": ROOM, "api_key": "ah_live_key"}, ["avatar", "AGENTHUMAN_AVATAR"]),
        ({"credentials": CREDENTIALS, "room": ROOM}, ["credentials=", "room="]),
        ({"credentials": CREDENTIALS, "api_key": "ah_live_key"}, ["credentials=", "api_key="]),
        ({"credentials": CREDENTIALS, "metadata": {}}, ["credentials=", "metadata="]),
        ({"credentials": CREDENTIALS, "api_url": "https://x.example"}, ["api_url="]),
        ({"credentials": ("sess_1", "token")}, ["credentials", "SessionCredentials"]),
        ({"credentials": CREDENTIALS, "on_unavailable": "shout"}, ["on_unavailable", "'drop'"]),
        ({"credentials": CREDENTIALS, "session_start": "later"}, ["session_start"]),
        ({"credentials": CREDENTIALS, "max_unconfirmed": 0}, ["max_unconfirmed"]),
        ({"credentials": CREDENTIALS, "ws_url": "ws://example.com"}, ["ws_url", "unencrypted"]),
        ({"credentials": CREDENTIALS, "ws_url": "example.com"}, ["ws_url", "wss://"]),
        (
            {
                "room": ROOM,
                "api_key": "ah_live_key",
                "settings": AVATAR,
                "api_url": "http://example.com",
            },
            ["api_url", "unencrypted"],
        ),
    ],
)
def test_missing_or_contradictory_arguments_are_named(arguments, named):
    with pytest.raises(ValueError) as caught:
        AgentHumanVideoService(**arguments)
    for words in named:
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"room": "https://example.daily.co/room"}, ["room", "DailyRoom", "got str"]),
        ({"room": DailyRoom}, ["room", "got DailyRoom"]),
        ({"metadata": [1]}, ["metadata", "JSON object"]),
        ({"settings": {"avatar": "avat_1"}}, ["settings", "got dict"]),
        ({"settings": AgentHumanVideoService.Settings(avatar="avat_...")}, ["placeholder"]),
        ({"api_key": "ah_live_..."}, ["api_key", "placeholder"]),
        ({"api_key": 5}, ["api_key", "got int"]),
        ({"api_url": 5}, ["api_url", "got int"]),
        ({"limits": {"confirm_timeout_secs": 1}}, ["limits", "ConnectionLimits"]),
        ({"renewal": 6}, ["renewal", "RenewalPolicy"]),
        ({"aiohttp_session": "x"}, ["aiohttp_session", "ClientSession"]),
        ({"drain_grace_secs": None}, ["drain_grace_secs", "None"]),
        ({"drain_grace_secs": -5}, ["drain_grace_secs", "-5"]),
        ({"avatar_wait_secs": float("inf")}, ["avatar_wait_secs"]),
        ({"avatar_wait_secs": "10"}, ["avatar_wait_secs"]),
        ({"max_session_secs": 0}, ["max_session_secs", "more than 0"]),
        ({"max_session_secs": "600"}, ["max_session_secs"]),
        ({"max_unconfirmed": 1.5}, ["max_unconfirmed"]),
    ],
)
def test_what_would_fail_in_the_middle_of_a_call_fails_at_once(arguments, named):
    complete = {"room": ROOM, "api_key": "ah_live_key", "settings": AVATAR}
    with pytest.raises(ValueError) as caught:
        AgentHumanVideoService(**(complete | arguments))
    for words in named:
        assert words in str(caught.value)


async def test_a_missing_await_is_recognised():
    with pytest.raises(ValueError, match="await is missing"):
        AgentHumanVideoService(room=DailyRoom.mint("https://example.daily.co/room", api_key="k"))


@pytest.mark.parametrize("name", ["on_unavailible", "foo"])
def test_an_argument_that_nobody_knows_is_refused(name):
    with pytest.raises(TypeError, match=name):
        AgentHumanVideoService(credentials=CREDENTIALS, **{name: "drop"})


def test_a_setting_that_is_given_as_an_argument_is_sent_to_its_place():
    with pytest.raises(TypeError, match=r"'avatar'.*settings=AgentHumanVideoService\.Settings"):
        AgentHumanVideoService(credentials=CREDENTIALS, avatar="avat_1")


def test_the_arguments_of_pipecat_are_known():
    service = AgentHumanVideoService(credentials=CREDENTIALS, name="face")
    assert service.name == "face"


@pytest.mark.parametrize(("url", "token"), [("https://example.daily.co/r", None), (None, "token")])
def test_a_room_is_made_of_text(url, token):
    with pytest.raises(ValueError, match="must be text, got NoneType"):
        DailyRoom(url, token)


@pytest.mark.parametrize(
    "setting",
    [
        {"avatar_latency_secs": 500},
        {"aspect_ratio": "16:9"},
        {"avatar_latency_secs": -1},
        {"max_lead_secs": float("nan")},
        {"min_first_message_secs": 0.5, "max_first_message_secs": 0.1},
        {"max_message_secs": 0},
        {"avatar_latency_secs": "soon"},
        {"avatar_latency_secs": True},
        {"avatar_latency_secs": None},
        {"listener_delay_secs": -0.1},
        {"listener_delay_secs": 200},
        {"listener_delay_secs": "measured"},
    ],
)
def test_impossible_settings_are_named(setting):
    settings = AgentHumanVideoService.Settings(avatar="avat_1", **setting)
    with pytest.raises(ValueError, match=next(iter(setting))):
        AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)


def test_a_latency_that_is_no_number_is_told_what_it_may_be():
    settings = AgentHumanVideoService.Settings(avatar="avat_1", avatar_latency_secs="heard")
    with pytest.raises(ValueError, match=r"must be 'measured' or a number of seconds, got 'heard'"):
        AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)


def test_the_latency_is_measured_unless_a_number_fixes_it():
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=AVATAR)
    assert service.settings.avatar_latency_secs == "measured"
    assert service.settings.listener_delay_secs == 0.0
    stats = service.stats
    assert (stats.avatar_latency_secs, stats.avatar_latency_source) == (0.5, "assumed")
    settings = AgentHumanVideoService.Settings(avatar="avat_1", avatar_latency_secs=0.7)
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)
    stats = service.stats
    assert (stats.avatar_latency_secs, stats.avatar_latency_source) == (0.7, "set")
    assert stats.avatar_latency_quality is None


def test_unset_arguments_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AGENTHUMAN_API_KEY", "ah_live_key")
    monkeypatch.setenv("AGENTHUMAN_AVATAR", "avat_env")
    monkeypatch.setenv("AGENTHUMAN_WS_URL", "ws://127.0.0.1:9")
    service = AgentHumanVideoService(room=ROOM)
    assert service.settings.avatar == "avat_env"


def test_a_wrong_variable_is_named_as_the_variable(monkeypatch):
    monkeypatch.setenv("AGENTHUMAN_WS_URL", "ws://example.com")
    with pytest.raises(ValueError, match="AGENTHUMAN_WS_URL"):
        AgentHumanVideoService(credentials=CREDENTIALS)


def test_an_argument_wins_over_the_environment(monkeypatch):
    monkeypatch.setenv("AGENTHUMAN_AVATAR", "avat_env")
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=AVATAR)
    assert service.settings.avatar == "avat_1"


def test_defaults_do_not_change_the_settings_object_that_was_given():
    settings = AgentHumanVideoService.Settings(avatar="avat_1", avatar_latency_secs=0.7)
    first = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)
    assert first.settings.avatar_latency_secs == 0.7
    assert first.settings.max_lead_secs == 3.0
    assert settings.given_fields().keys() == {"avatar", "avatar_latency_secs"}


def test_a_picture_that_is_none_is_named_at_once(tmp_path):
    settings = AgentHumanVideoService.Settings(avatar=tmp_path / "me.png")
    with pytest.raises(ValueError, match=r"me\.png.* cannot be read"):
        AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)
    (tmp_path / "me.png").write_bytes(PNG)
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)
    assert service.settings.given("avatar") == str(tmp_path / "me.png")


@pytest.mark.parametrize(
    ("ratio", "size", "shape"),
    [
        ("1:1", (1280, 720), "1:1"),
        ("auto", (1024, 768), "4:3"),
        ("auto", (1280, 720), "4:3"),
        ("auto", (720, 1280), "3:4"),
        ("auto", (500, 520), "1:1"),
        ("auto", (None, None), "4:3"),
    ],
)
def test_the_shape_of_the_video_may_follow_the_transport(ratio, size, shape):
    settings = AgentHumanVideoService.Settings(avatar="avat_1", aspect_ratio=ratio)
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=settings)
    assert service.settings.shape(*size) == shape


def test_the_latency_may_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("AGENTHUMAN_AVATAR_LATENCY_SECS", "0.7")
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=AVATAR)
    assert service.settings.avatar_latency_secs == 0.7
    given = AgentHumanVideoService.Settings(avatar="avat_1", avatar_latency_secs=0.2)
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=given)
    assert service.settings.avatar_latency_secs == 0.2


@pytest.mark.parametrize("latency", ["soon", "-1", "nan"])
def test_a_latency_of_the_environment_that_is_none_is_named(monkeypatch, latency):
    monkeypatch.setenv("AGENTHUMAN_AVATAR_LATENCY_SECS", latency)
    with pytest.raises(ValueError, match="AGENTHUMAN_AVATAR_LATENCY_SECS"):
        AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=AVATAR)


@pytest.mark.parametrize(("session_id", "token"), [("", "token"), ("sess_1", " ")])
def test_empty_credentials_are_refused(session_id, token):
    with pytest.raises(ValueError, match=r"SessionCredentials\.session_"):
        SessionCredentials(session_id, token)


def test_no_repr_shows_a_secret():
    service = AgentHumanVideoService(room=ROOM, api_key="ah_live_key", settings=AVATAR)
    livekit = LiveKitRoom("wss://example.livekit.cloud", "room-token")
    shown = f"{service!r} {ROOM!r} {livekit!r} {CREDENTIALS!r} {service.settings!r}"
    for secret in ("ah_live_key", "room-token", "session-token"):
        assert secret not in shown
