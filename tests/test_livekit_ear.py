"""What is heard of the avatar in a LiveKit room: by whoever listens, and never by the pipeline.

What that proves is said in ``support/livekit_server.py``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")

from collections.abc import AsyncIterator

from pipecat.transports.livekit.transport import LiveKitParams

from pipecat_agenthuman import livekit
from pipecat_agenthuman.pipeline.surroundings import subscriptions
from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE
from tests.support.livekit_bot import (
    ADA,
    AVATAR,
    join_avatar,
    join_person,
    running,
    tones,
    transport_for,
)
from tests.support.livekit_room import Room, opened_room
from tests.support.waiting import until


class Listener:
    """Somebody who listens to the avatar."""

    def __init__(self) -> None:
        self.audio = b""
        self.silences = 0

    def hears(self, audio: bytes, at: float) -> None:
        self.audio += audio

    def hears_nothing(self) -> None:
        self.silences += 1

    def heard(self) -> set[float]:
        return tones(self.audio, HEARD_SAMPLE_RATE)


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with opened_room() as room:
        yield room


@pytest.mark.parametrize("by_user", [True, False], ids=["user tracks", "mixed"])
async def test_whoever_listens_hears_the_avatar_and_the_pipeline_does_not(room, by_user, log):
    ways = LiveKitParams.model_fields
    if not by_user and "audio_in_user_tracks" not in ways:
        pytest.skip("this Pipecat does not mix")
    params = LiveKitParams(
        audio_in_enabled=True, **({} if by_user else {"audio_in_user_tracks": False})
    )
    avatar, ada = join_avatar(room), join_person(room, "ada", ADA)
    async with running(transport_for(room, params), room) as bot:
        await bot.unsubscribes(avatar)
        ear, listener = bot.transport.output().ear, Listener()
        await ear.listen(listener)
        await until(lambda: AVATAR in listener.heard())
        await bot.hears(ADA)

        await ear.rest(listener)
        await bot.unsubscribes(avatar)
        heard = len(listener.audio)
        ada.hush()
        await bot.settle()
        assert bot.heard() == {ADA}
        assert len(listener.audio) == heard
        assert {who for name, who in bot.events if "track" in name} == {"ada"}
        assert not bot.transport._subscriptions._tasks
    assert not [line for line in log if "subscribed" in line and avatar.identity in line]


async def test_a_renewed_avatar_is_heard_in_its_turn(room):
    async with running(transport_for(room), room) as bot:
        listener = Listener()
        await bot.transport.output().ear.listen(listener)
        for _ in range(2):
            join_avatar(room)
            listener.audio = b""
            await until(lambda: AVATAR in listener.heard())
        assert listener.silences == 1
        assert not bot.heard()


async def test_a_wish_that_never_reached_the_server_is_repeated(room, monkeypatch):
    monkeypatch.setattr(subscriptions, "_APART_SECS", 0.1)
    avatar, listener = join_avatar(room), Listener()
    async with running(transport_for(room), room) as bot:
        await bot.unsubscribes(avatar)
        bot.seat.overhears(2)
        await bot.transport.output().ear.listen(listener)
        await until(lambda: AVATAR in listener.heard())


async def test_a_track_that_comes_late_goes_on_to_be_heard(room, monkeypatch):
    monkeypatch.setattr(subscriptions, "_APART_SECS", 0.2)
    avatar, listener = join_avatar(room), Listener()
    async with running(transport_for(room), room) as bot:
        await bot.unsubscribes(avatar)
        bot.seat.hesitates(0.25)
        await bot.transport.output().ear.listen(listener)
        bytes_a_second = 2 * HEARD_SAMPLE_RATE
        await until(lambda: len(listener.audio) > bytes_a_second)


async def test_of_an_avatar_that_left_nothing_is_asked(room, monkeypatch):
    monkeypatch.setattr(subscriptions, "_APART_SECS", 0.1)
    avatar, listener = join_avatar(room), Listener()
    async with running(transport_for(room), room) as bot:
        await bot.transport.output().ear.listen(listener)
        await until(lambda: AVATAR in listener.heard())
        avatar.leave()
        await bot.settle()
        await until(lambda: not bot.transport._subscriptions._tasks)


async def test_a_stream_that_breaks_is_told_of_once_and_the_avatar_is_left_alone(
    room, monkeypatch, log
):
    class Broken:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def __aiter__(self) -> Broken:
            return self

        async def __anext__(self) -> object:
            raise RuntimeError("no decoder")

        async def aclose(self) -> None:
            pass

    monkeypatch.setattr(livekit.rtc, "AudioStream", Broken)
    avatar, listener = join_avatar(room), Listener()
    async with running(transport_for(room), room) as bot:
        await bot.transport.output().ear.listen(listener)
        await until(lambda: listener.silences)
        await bot.unsubscribes(avatar)
        await bot.transport.output().ear.listen(listener)
        await bot.settle()
        assert not bot.transport._subscriptions._tasks
    assert len([line for line in log if "no decoder" in line]) == 1


async def test_who_listens_again_at_once_hears_the_avatar(room):
    join_avatar(room)
    listener = Listener()
    async with running(transport_for(room), room) as bot:
        ear = bot.transport.output().ear
        for _ in range(3):
            await ear.listen(listener)
            listener.audio = b""
            await until(lambda: AVATAR in listener.heard())
            await ear.rest(listener)


async def test_with_the_bot_the_ear_leaves_the_room(room):
    join_avatar(room)
    listener = Listener()
    async with running(transport_for(room), room) as bot:
        await bot.transport.output().ear.listen(listener)
        await until(lambda: AVATAR in listener.heard())
    assert not bot.transport._subscriptions._tasks
