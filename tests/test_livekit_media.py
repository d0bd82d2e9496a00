"""What a bot in a LiveKit room receives, sends and asks for: the real client on loopback.

What that proves is said in ``support/livekit_server.py``.
"""

from __future__ import annotations

import pytest

pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
pytest.importorskip("livekit.protocol", reason="livekit-protocol, for tests, is not installed")
pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")

from collections.abc import AsyncIterator

import numpy as np
from pipecat.frames.frames import (
    InputTransportMessageFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserImageRawFrame,
)
from pipecat.transports.livekit.transport import LiveKitParams, LiveKitTransport

from tests.support.livekit_bot import (
    ADA,
    AVATAR,
    BOT,
    OWN,
    Bot,
    join_avatar,
    join_person,
    running,
    transport_for,
)
from tests.support.livekit_room import Room, opened_room
from tests.support.waiting import until


@pytest.fixture
async def room() -> AsyncIterator[Room]:
    async with opened_room() as room:
        yield room


# --- data ----------------------------------------------------------------------------------------


async def test_what_the_avatar_sends_is_no_message_of_a_client(room):
    transport = transport_for(room)
    messages: list[tuple[str, str]] = []
    packets: list[tuple[str, str]] = []

    @transport.event_handler("on_app_message")
    async def on_app_message(transport, message, sender):
        messages.append((message["of"], sender))

    @transport.event_handler("on_data_received")
    async def on_data_received(transport, data, sender):
        packets.append((data.decode(), sender))

    async with running(transport, room) as bot:
        avatar, ada = join_avatar(room), join_person(room, "ada")
        await bot.settle()
        avatar.send_app_message({"of": "avatar"}, topic="session.state")
        ada.send_app_message({"of": "ada"})
        room.send_data({"of": "server"})
        await until(lambda: len(packets) == 3)
        await bot.settle()
        assert messages == [("ada", "ada"), ("server", None)]
        assert packets[0] == ('{"of": "avatar"}', avatar.identity)
        told = bot.recorder.of(InputTransportMessageFrame)
        assert [frame.message["of"] for frame in told] == ["ada", "server"]


async def test_what_the_bot_sends_reaches_the_room(room):
    async with running(transport_for(room), room) as bot:
        join_avatar(room)
        await bot.transport.send_message("hello")
        await until(lambda: bot.seat.sent_data == [b"hello"])


async def test_other_events_still_cover_the_avatar(room):
    transport = transport_for(room)
    if "on_active_speaker_changed" not in transport._event_handlers:
        pytest.skip("this Pipecat does not tell who speaks")
    speakers: list[str] = []

    @transport.event_handler("on_active_speaker_changed")
    async def on_active_speaker_changed(transport, participant):
        speakers.append(participant["id"])

    async with running(transport, room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        avatar.be_active_speaker()
        await bot.settle()
        assert speakers == [avatar.identity]


# --- captures -------------------------------------------------------------------------------------


async def test_asking_for_the_avatars_audio_is_refused_with_a_warning(room, warnings):
    async with running(transport_for(room), room) as bot:
        avatar, ada = join_avatar(room), join_person(room, "ada", ADA)
        await bot.unsubscribes(avatar)
        await bot.transport.mute_participant(ada.identity)
        await bot.unsubscribes(ada)
        await bot.transport.unmute_participant(avatar.identity)
        await bot.transport.unmute_participant(ada.identity)
        await bot.hears(ADA)
        assert bot.heard() == {ADA}
        assert not bot.seat.wants(avatar)
        (warning,) = [line for line in warnings if "is the avatar" in line]
        assert avatar.identity in warning


@pytest.mark.parametrize("keep", [False, True], ids=["by default", "on request"])
async def test_the_avatars_video_is_kept_only_on_request(room, keep):
    params = LiveKitParams(audio_in_enabled=True, video_in_enabled=True)
    transport = transport_for(room, params, keep_avatar_video=keep)
    async with running(transport, room) as bot:
        avatar = join_avatar(room, has_camera=True)
        ada = join_person(room, "ada", ADA, has_camera=True)
        shown = {ada.identity, avatar.identity} if keep else {ada.identity}
        await until(lambda: {frame.user_id for frame in bot.frames(UserImageRawFrame)} >= shown)
        await bot.hears(ADA)
        await bot.unsubscribes(avatar, but="video" if keep else "")
        assert bot.heard() == {ADA}
        assert {frame.user_id for frame in bot.frames(UserImageRawFrame)} == shown
        seen = {who for name, who in bot.events if name.startswith("on_audio_track")}
        assert seen == {ada.identity}


async def test_capturing_the_avatars_video_is_refused_with_a_warning(room, warnings):
    if not hasattr(LiveKitTransport, "capture_participant_video"):
        pytest.skip("this Pipecat passes all video on")
    params = LiveKitParams(video_in_enabled=True)
    async with running(transport_for(room, params), room) as bot:
        avatar, ada = join_avatar(room, has_camera=True), join_person(room, "ada", has_camera=True)
        await bot.settle()
        await bot.transport.capture_participant_video(avatar.identity)
        await bot.transport.capture_participant_video(ada.identity)
        await until(lambda: bot.frames(UserImageRawFrame))
        assert {frame.user_id for frame in bot.frames(UserImageRawFrame)} == {ada.identity}
        (warning,) = [line for line in warnings if "is the avatar" in line]
        assert "video" in warning


# --- the bot's own voice ------------------------------------------------------------------------


async def say(bot: Bot, secs: float = 0.4) -> None:
    """Do as the service does when the voice falls back: push speech on to the output."""
    turns = np.arange(round(16000 * secs)) * OWN / 16000
    audio = (8000 * np.sin(2 * np.pi * turns)).astype(np.int16).tobytes()
    for frame in (TTSStartedFrame(), TTSAudioRawFrame(audio, 16000, 1), TTSStoppedFrame()):
        await bot.recorder.push_frame(frame)


@pytest.mark.parametrize(
    "params", [None, LiveKitParams(audio_in_enabled=True)], ids=["none", "of the caller"]
)
async def test_the_bots_microphone_is_silent_but_ready(room, params):
    async with running(transport_for(room, params), room, rate=16000) as bot:
        avatar = join_avatar(room)
        await bot.unsubscribes(avatar)
        await until(lambda: bot.seat.heard)
        assert not bot.heard_in_the_room()
        await say(bot)
        await until(lambda: bot.heard_in_the_room() == {OWN})


async def test_whoever_turns_the_bots_voice_off_is_obeyed(room):
    params = LiveKitParams(audio_in_enabled=True, audio_out_enabled=False)
    assert transport_for(room, params)._params.audio_out_enabled is False


def test_the_callers_params_are_left_alone():
    params = LiveKitParams(audio_in_enabled=True)
    transport_for(Room(), params)
    assert params.audio_out_enabled is False


def test_the_user_is_said_to_get_sound_and_video_of_the_bot():
    room = Room()
    output = transport_for(room, LiveKitParams(audio_out_enabled=False)).output()
    plain = LiveKitTransport(room.url, room.token(BOT), "room").output()
    if not hasattr(plain, "capabilities"):
        assert not hasattr(output, "capabilities")
        return
    assert (output.capabilities.audio_out, output.capabilities.video_out) == (True, True)


def test_the_service_is_told_that_it_will_hear_when_the_avatar_joins(room):
    assert transport_for(room).output().announces_avatar


async def test_an_avatar_that_never_stops_speaking_is_never_heard(room):
    """Tracks are refused where they arrive: not one packet of it is read, in any order."""
    join_avatar(room)
    ada = join_person(room, "ada", ADA)
    async with running(transport_for(room), room) as bot:
        await bot.hears(ADA)
        for _ in range(3):
            avatar = join_avatar(room)
            await bot.unsubscribes(avatar)
        ada.hush()
        assert AVATAR not in bot.heard()
