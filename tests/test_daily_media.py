"""What is captured of the avatar, what stays as in ``DailyTransport``, and the bot's own voice."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from pipecat.frames.frames import (
    BotStoppedSpeakingFrame,
    TranscriptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    UserImageRawFrame,
    UserImageRequestFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.daily.transport import DailyInputTransport, DailyParams, DailyTransport

from pipecat_agenthuman.daily import AgentHumanDailyTransport
from tests.support.daily_bot import (
    ADA,
    AVATAR,
    AVATAR_EVENTS,
    Bot,
    join_avatar,
    running,
    transport_for,
    voice,
)
from tests.support.waiting import LIMIT_SECS

# --- captures -------------------------------------------------------------------------------


async def test_asking_for_the_avatars_audio_is_refused_with_a_warning(room, warnings):
    async with running(transport_for(room), room) as bot:
        avatar, ada = join_avatar(room), room.join("Ada")
        await bot.settle()
        await bot.transport.capture_participant_audio(avatar.id)
        await bot.transport.capture_participant_audio(ada.id)
        avatar.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)
        assert bot.heard() == {ADA}
        (warning,) = warnings
        assert avatar.id in warning


async def test_an_avatar_not_yet_announced_is_refused_too(room, warnings):
    avatar = join_avatar(room)
    transport = transport_for(room)

    @transport.event_handler("on_joined")
    async def on_joined(transport, data):
        await transport.capture_participant_audio(avatar.id)

    async with running(transport, room) as bot:
        assert not bot.received(avatar)
        assert len(warnings) == 1


@pytest.mark.parametrize("keep", [False, True])
async def test_the_avatars_video_is_kept_only_on_request(room, keep):
    params = DailyParams(audio_in_enabled=True, video_in_enabled=True)
    transport = transport_for(room, params, keep_avatar_video=keep)

    @transport.event_handler("on_avatar_connected")
    async def on_avatar_connected(transport, participant):
        await transport.capture_participant_video(participant["id"], framerate=30)

    async with running(transport, room) as bot:
        avatar, ada = join_avatar(room), room.join("Ada")
        await bot.settle()
        await transport.capture_participant_video(ada.id, framerate=30)
        avatar.show(b"\1\2\3", (1, 1))
        ada.show(b"\4\5\6", (1, 1))
        await bot.recorder.wait_for(
            lambda: any(f.user_id == ada.id for f in bot.frames(UserImageRawFrame))
        )
        shown = {frame.user_id for frame in bot.frames(UserImageRawFrame)}
        assert shown == ({avatar.id, ada.id} if keep else {ada.id})
        assert "microphone" not in bot.received(avatar)
        avatar.leave()
        await bot.settle()
        assert bot.events_of(avatar) == list(AVATAR_EVENTS)


async def test_who_waits_for_an_image_of_an_avatar_that_left_is_answered(room):
    if not hasattr(DailyInputTransport, "remove_participant_video"):
        pytest.skip("this Pipecat answers requests for images with images only")
    transport = transport_for(room, DailyParams(video_in_enabled=True), keep_avatar_video=True)
    answer: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def on_answer(result: dict[str, str]) -> None:
        answer.set_result(result)

    async with running(transport, room) as bot:
        avatar = join_avatar(room)
        await bot.settle()
        await transport.capture_participant_video(avatar.id, on_request_only=True)
        request = UserImageRequestFrame(user_id=avatar.id, result_callback=on_answer)
        await bot.recorder.push_frame(request, FrameDirection.UPSTREAM)
        avatar.leave()
        assert "error" in await asyncio.wait_for(answer, LIMIT_SECS)


async def test_video_sources_of_every_user_are_not_captured_from_the_avatar(room):
    if "video_in_sources" not in DailyParams.model_fields:
        pytest.skip("this Pipecat captures no video by itself")
    params = DailyParams(video_in_enabled=True, video_in_sources={"camera": {"framerate": 5}})
    async with running(transport_for(room, params), room) as bot:
        avatar, ada = join_avatar(room), room.join("Ada")
        await bot.settle()
        assert bot.client.rendered_media(ada.id) == {"camera"}
        assert not bot.client.rendered_media(avatar.id)
        assert not bot.received(avatar)


async def test_what_daily_transcribes_of_the_avatar_is_dropped(room, warnings):
    params = DailyParams(transcription_enabled=True)
    transport = AgentHumanDailyTransport(room.url, "token", "Bot", params)
    reported: list[str] = []

    @transport.event_handler("on_transcription_message")
    async def on_transcription_message(transport, message):
        reported.append(message["text"])

    async with running(transport, room) as bot:
        avatar, ada = join_avatar(room), room.join("Ada")
        await bot.settle()
        await transport.capture_participant_transcription(avatar.id)
        assert avatar.id in warnings[0]
        await transport.capture_participant_transcription(ada.id)
        assert bot.client.transcribed == [ada.id]
        avatar.be_transcribed("I hear myself")
        ada.be_transcribed("Hello")
        avatar.leave()
        avatar.be_transcribed("my last words, transcribed late")
        ada.be_transcribed("Bye")
        await bot.settle()
        assert [frame.text for frame in bot.frames(TranscriptionFrame)] == ["Hello", "Bye"]
        assert reported == ["Hello", "Bye"]


# --- what stays as it was --------------------------------------------------------------------


async def test_other_events_still_cover_the_avatar(room):
    transport = transport_for(room)
    seen: list[tuple[str, str]] = []

    @transport.event_handler("on_participant_updated")
    async def on_participant_updated(transport, participant):
        seen.append(("updated", participant["id"]))

    @transport.event_handler("on_active_speaker_changed")
    async def on_active_speaker_changed(transport, participant):
        seen.append(("active speaker", participant["id"]))

    @transport.event_handler("on_app_message")
    async def on_app_message(transport, message, sender):
        if sender:
            seen.append(("app message", sender))

    async with running(transport, room) as bot:
        avatar = join_avatar(room)
        avatar.rename("Eve")
        avatar.be_active_speaker()
        avatar.send_app_message({"hello": 1})
        await bot.settle()
        assert seen == [
            ("updated", avatar.id),
            ("active speaker", avatar.id),
            ("app message", avatar.id),
        ]
        assert avatar.id in transport.participants()
        assert transport.participant_counts()["present"] == 2


# --- the bot's own voice ------------------------------------------------------------------------


async def say(bot: Bot, audio: bytes) -> None:
    """Do as the service does when the voice falls back: push speech on to the output."""
    for frame in (TTSStartedFrame(), TTSAudioRawFrame(audio, 16000, 1), TTSStoppedFrame()):
        await bot.recorder.push_frame(frame)


@pytest.mark.parametrize("params", [None, DailyParams(audio_in_enabled=True)], ids=str)
async def test_the_bots_microphone_is_silent_but_ready(room, params):
    transport = AgentHumanDailyTransport(room.url, None, "Bot", params)
    async with running(transport, room, with_input=False) as bot:
        assert bot.client.microphone is not None
        assert bot.client.participant.published_audio == b""
        await say(bot, voice(ADA, duration_ms=200))
        await bot.until_any(BotStoppedSpeakingFrame)
        published = np.frombuffer(bot.client.participant.published_audio, dtype=np.int16)
        secs = np.count_nonzero(published) / bot.client.microphone.sample_rate
        # Pipecat 1.8 drops up to 60 ms at the end of an utterance.
        assert 0.13 < secs < 0.21


async def test_whoever_turns_the_bots_voice_off_is_obeyed(room):
    params = DailyParams(audio_in_enabled=True, audio_out_enabled=False)
    async with running(transport_for(room, params), room) as bot:
        assert bot.client.microphone is None


def test_the_callers_params_are_left_alone(room):
    params = DailyParams(audio_in_enabled=True)
    transport_for(room, params)
    assert params.audio_out_enabled is False


def test_the_user_is_said_to_get_sound_and_video_of_the_bot(room):
    output = transport_for(room, DailyParams(audio_out_enabled=False)).output()
    plain = DailyTransport(room.url, None, "Bot").output()
    if not hasattr(plain, "capabilities"):
        assert not hasattr(output, "capabilities")
        return
    assert (plain.capabilities.audio_out, plain.capabilities.video_out) == (False, False)
    assert (output.capabilities.audio_out, output.capabilities.video_out) == (True, True)
