"""What is heard of the avatar in a Daily room: by whoever listens, and never by the pipeline."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pipecat.transports.daily.transport import DailyParams

from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE
from tests.support.daily_bot import ADA, AVATAR, join_avatar, running, transport_for, voice
from tests.support.waiting import until


class Listener:
    """Somebody who listens to the avatar."""

    def __init__(self) -> None:
        self.audio = b""
        self.came_at: list[float] = []
        self.silences = 0

    def hears(self, audio: bytes, at: float) -> None:
        self.audio += audio
        self.came_at.append(at)

    def hears_nothing(self) -> None:
        self.silences += 1

    @property
    def secs(self) -> float:
        return len(self.audio) / 2 / HEARD_SAMPLE_RATE

    def hears_voice(self, value: int) -> bool:
        samples = np.frombuffer(self.audio, np.int16).astype(int)
        return bool((abs(samples - value) < value // 20).any())


async def test_whoever_listens_hears_the_avatar_and_the_pipeline_does_not(room, log):
    avatar, ada = join_avatar(room), room.join("Ada")
    async with running(transport_for(room), room) as bot:
        ear, listener = bot.transport.output().ear, Listener()
        await ear.listen(listener)
        assert bot.received(avatar) == {"microphone"}
        before = time.monotonic()
        avatar.speak(voice(AVATAR, duration_ms=400))
        await until(lambda: listener.secs >= 0.4)
        assert listener.hears_voice(AVATAR)
        assert all(before <= at <= time.monotonic() for at in listener.came_at)

        await ear.rest(listener)
        assert not bot.received(avatar)
        avatar.speak(voice(AVATAR))
        ada.speak(voice(ADA))
        await bot.hears(ADA)
        await bot.settle()
        assert listener.secs == pytest.approx(0.4)
        assert bot.heard() == {ADA}
        assert bot.client.rendered_media(avatar.id) == {"microphone"}
    assert listener.silences
    assert not [line for line in log if line.startswith(("WARNING", "ERROR"))]


async def test_where_the_sound_of_the_room_is_mixed_the_avatar_is_not_listened_to(room):
    avatar = join_avatar(room)
    params = DailyParams(audio_in_enabled=True, audio_in_user_tracks=False)
    async with running(transport_for(room, params), room) as bot:
        assert bot.transport.output().ear is None
        assert not bot.received(avatar)


@pytest.mark.parametrize("with_input", [True, False], ids=["hears persons", "only speaks"])
async def test_a_bot_that_hears_nobody_can_listen_to_its_avatar(room, with_input):
    avatar = join_avatar(room)
    params = DailyParams(audio_in_enabled=False)
    async with running(transport_for(room, params), room, with_input=with_input) as bot:
        listener = Listener()
        await bot.transport.output().ear.listen(listener)
        await until(lambda: bot.client.rendered_media(avatar.id))
        avatar.speak(voice(AVATAR))
        await until(lambda: listener.hears_voice(AVATAR))
        assert not bot.heard()


async def test_each_avatar_is_heard_and_of_two_none(room):
    async with running(transport_for(room), room) as bot:
        ear, listener = bot.transport.output().ear, Listener()
        await ear.listen(listener)
        first = join_avatar(room)
        await bot.settle()
        second = join_avatar(room)
        await bot.settle()
        assert not bot.received(first) | bot.received(second)
        room.lose(first)  # and nobody was told
        room.join("Ada").leave()
        heard = {"microphone"}
        await until(lambda: bot.received(second) == bot.client.rendered_media(second.id) == heard)
        second.speak(voice(AVATAR))
        await until(lambda: listener.hears_voice(AVATAR))
        second.announce_again()
        await bot.settle()
        assert bot.received(second) == {"microphone"}
        assert not bot.heard()


async def test_subscriptions_of_the_user_leave_the_ear_alone(room, warnings):
    avatar = join_avatar(room)
    async with running(transport_for(room, keep_avatar_video=True), room) as bot:
        listener = Listener()
        await bot.transport.output().ear.listen(listener)
        await bot.transport.update_subscriptions({avatar.id: {"media": {"camera": "subscribed"}}})
        assert bot.received(avatar) == {"microphone", "camera"}
        assert not warnings


async def test_sound_of_several_channels_is_heard_as_one(room):
    avatar = join_avatar(room)
    transport = transport_for(room)
    async with running(transport, room):
        listener = Listener()
        await transport.output().ear.listen(listener)

        class Stereo:
            audio_frames = np.array([[1, 9], [2, 9]], np.int16).tobytes()
            num_channels = 2

        transport._render(avatar.id, Stereo(), "microphone")
        await until(lambda: listener.audio)
        assert np.frombuffer(listener.audio, np.int16).tolist() == [1, 2]


async def test_sound_that_cannot_be_read_is_told_of_once_and_the_avatar_is_left_alone(room, log):
    avatar = join_avatar(room)
    transport = transport_for(room)
    async with running(transport, room) as bot:
        listener = Listener()
        await transport.output().ear.listen(listener)

        class Odd:
            audio_frames = b"odd"
            num_channels = 2

        for _ in range(3):
            transport._render(avatar.id, Odd(), "microphone")
        await until(lambda: listener.silences and not bot.received(avatar))
        await bot.settle()
    (line,) = [line for line in log if line.startswith(("WARNING", "ERROR"))]
    assert "its latency stays as it is" in line
