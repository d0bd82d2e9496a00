"""The stand-in of daily-python behaves like daily-python where the transport could notice."""

from __future__ import annotations

import inspect
import queue
import threading
import time
from typing import Any

import daily as real_daily
import numpy as np
import pytest

from tests.support.daily_python import (
    StandInAudioSource,
    StandInCallClient,
    StandInSpeaker,
    StandInVideoSource,
)
from tests.support.daily_room import DailyStandIn, Room, installed_daily
from tests.support.waiting import LIMIT_SECS


class Listener:
    """An event handler, and a completion, that keeps what it was called with and where."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[tuple[str, tuple[Any, ...], threading.Thread]]
        self.calls = queue.SimpleQueue()

    def __getattr__(self, name: str) -> Any:
        return lambda *args: self.calls.put((name, args, threading.current_thread()))

    def next(self) -> tuple[str, tuple[Any, ...]]:
        name, args, thread = self.calls.get(timeout=LIMIT_SECS)
        assert thread is not threading.current_thread()
        return name, args


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def client(daily: DailyStandIn, listener: Listener) -> StandInCallClient:
    return StandInCallClient(daily, listener)


def enter(client: StandInCallClient, room: Room, listener: Listener) -> list[tuple[str, Any]]:
    """Join, and give everything reported until that was complete."""
    client.join(room.url, completion=listener.join_completed)
    reported = [listener.next()]
    while reported[-1][0] != "join_completed":
        reported.append(listener.next())
    return reported


@pytest.mark.parametrize(
    ("stand_in", "real"),
    [
        (StandInCallClient, real_daily.CallClient),
        (StandInAudioSource, real_daily.CustomAudioSource),
        (StandInVideoSource, real_daily.CustomVideoSource),
        (StandInSpeaker, real_daily.VirtualSpeakerDevice),
        (DailyStandIn, real_daily.Daily),
    ],
)
def test_methods_take_the_arguments_of_daily_python(stand_in, real):
    shared = [
        name
        for name in vars(stand_in)
        if not name.startswith("_") and callable(getattr(real, name, None))
    ]
    assert shared
    for name in shared:
        ours = list(inspect.signature(getattr(stand_in, name)).parameters)
        theirs = list(inspect.signature(getattr(real, name)).parameters)
        assert [p for p in ours if p != "self"] == [p for p in theirs if p != "self"], name


def test_who_is_there_already_is_announced_before_the_joining_is_complete(client, room, listener):
    ada = room.join("Ada", user_id="user-ada")
    eve = room.join("Eve")
    reported = enter(client, room, listener)
    assert [name for name, _ in reported] == [
        "on_call_state_updated",
        "on_participant_joined",
        "on_participant_joined",
        "on_call_state_updated",
        "join_completed",
    ]
    announced = [args[0] for name, args in reported if name == "on_participant_joined"]
    assert [someone["info"]["userId"] for someone in announced] == ["user-ada", eve.id]
    data, error = reported[-1][1]
    assert error is None
    assert set(data["participants"]) == {"local", ada.id, eve.id}
    assert data["participants"]["local"]["info"]["isLocal"]


def test_joining_leaving_and_renaming_are_reported_in_order(client, room, listener):
    enter(client, room, listener)
    ada = room.join("Ada")
    ada.rename("Countess")
    ada.leave("hidden")
    assert [listener.next()[0] for _ in range(2)] == [
        "on_participant_joined",
        "on_participant_updated",
    ]
    name, (participant, reason) = listener.next()
    assert (name, participant["id"], reason) == ("on_participant_left", ada.id, "hidden")


@pytest.mark.parametrize(
    ("settings", "is_valid"),
    [
        ({"media": {"microphone": "unsubscribed", "camera": "unsubscribed"}}, True),
        ({"media": {"camera": {"subscriptionState": "unsubscribed"}}, "profile": "base"}, True),
        ({"media": {"customAudio": {"music": "unsubscribed"}}}, True),
        ({"media": {"customAudio": "unsubscribed"}}, False),
        ({"media": {"microphone": "never"}}, False),
        ({"microphone": "unsubscribed"}, False),
    ],
)
def test_malformed_subscriptions_are_answered_with_an_error(
    client, room, listener, settings, is_valid
):
    enter(client, room, listener)
    ada = room.join("Ada")
    listener.next()
    client.update_subscriptions({ada.id: settings}, completion=listener.answered)
    _, (error,) = listener.next()
    assert (error is None) is is_valid


def test_an_id_that_is_no_uuid_is_answered_with_an_error(client, room, listener):
    enter(client, room, listener)
    client.update_subscriptions({"ada": {"media": {}}}, completion=listener.answered)
    assert listener.next()[1][0]


def test_a_renderer_gets_what_is_subscribed_and_nothing_else(client, room, listener):
    enter(client, room, listener)
    ada = room.join("Ada")
    listener.next()
    client.set_audio_renderer(ada.id, listener.rendered, sample_rate=8000)
    for state in ("unsubscribed", "subscribed"):
        client.update_subscriptions({ada.id: {"media": {"microphone": state}}}, None, listener.done)
        listener.next()
        ada.speak(np.full(320, 1 if state == "unsubscribed" else 1000, np.int16).tobytes())
    name, (participant_id, audio, source) = listener.next()
    assert (name, participant_id, source) == ("rendered", ada.id, "microphone")
    assert (audio.sample_rate, audio.num_audio_frames) == (8000, 160)
    assert np.frombuffer(audio.audio_frames, np.int16).max() > 500


def test_the_speaker_mixes_the_subscribed_microphones(daily, client, room, listener):
    speaker = daily.create_speaker_device("speaker", non_blocking=True)
    daily.select_speaker_device("speaker")
    enter(client, room, listener)
    ada, bob, avatar = room.join("Ada"), room.join("Bob"), room.join("Avatar")
    for _ in range(3):
        listener.next()
    silent = {"media": {"microphone": "unsubscribed"}}
    client.update_subscriptions({avatar.id: silent}, completion=listener.done)
    listener.next()
    for someone, value in ((ada, 1), (bob, 2), (avatar, 4)):
        someone.speak(np.full(320, value, np.int16).tobytes())
    for _ in range(2):
        speaker.read_frames(320, completion=listener.read)
    assert set(np.frombuffer(listener.next()[1][0], np.int16).tolist()) == {3}
    assert listener.next()[1][0] == b""


@pytest.mark.parametrize("real_time", [False, True])
def test_a_write_completes_when_it_was_played_if_that_is_asked_for(
    monkeypatch, listener, real_time
):
    with installed_daily(monkeypatch, real_time=real_time) as daily:
        source = StandInAudioSource(daily, 16000, 1)
        started = time.monotonic()
        for _ in range(2):
            source.write_frames(bytes(2 * 1600), completion=listener.written)
        assert [listener.next() for _ in range(2)] == [("written", (1600,))] * 2
        if real_time:
            assert time.monotonic() - started >= 0.2


def test_a_client_that_is_released_leaves_no_answer_of_a_device_behind(daily, client):
    """The event loop of whoever waits for it may be closed right after that."""
    speaker = daily.create_speaker_device("speaker")
    release, answered = threading.Event(), []

    def answer(audio: bytes) -> None:
        assert release.wait(LIMIT_SECS)
        answered.append(audio)

    speaker.read_frames(160, completion=answer)
    releasing = threading.Thread(target=client.release)
    releasing.start()
    release.set()
    releasing.join(LIMIT_SECS)
    assert answered == [b""]


def test_what_a_callback_raises_comes_up_at_the_end(monkeypatch):
    def fail() -> None:
        raise LookupError("in Daily's thread")

    with pytest.raises(ExceptionGroup) as raised, installed_daily(monkeypatch) as daily:
        daily.new_worker("worker").post(fail)
    assert raised.group_contains(LookupError)
