"""When the bot's microphone is published in a Daily room."""

from __future__ import annotations

import pytest
from pipecat.frames.frames import OutputAudioRawFrame
from pipecat.transports.daily.transport import DailyParams

from pipecat_agenthuman import AgentHumanDailyTransport
from tests.support.conversation import loud
from tests.support.daily_bot import Bot, join_avatar, running, transport_for
from tests.support.daily_room import Room
from tests.support.sounds import RATE, noise
from tests.support.waiting import until

SECS = 0.4


def is_published(bot: Bot) -> bool:
    return bot.client.microphone is not None


async def play(bot: Bot) -> None:
    """Let the transport play a sound of the bot's own."""
    for piece in noise(SECS):
        await bot.recorder.push_frame(OutputAudioRawFrame(piece.audio, RATE, 1))


async def test_it_is_published_with_and_without_an_avatar(room):
    async with running(transport_for(room), room) as bot:
        assert is_published(bot)
        avatar = join_avatar(room)
        await bot.settle()
        assert is_published(bot)
        avatar.leave()
        await bot.settle()
        assert is_published(bot)


async def test_in_turn_it_gives_way_to_an_avatar_whichever_came_first(room):
    first = join_avatar(room)
    async with running(transport_for(room, microphone="in_turn"), room) as bot:
        await until(lambda: not is_published(bot))
        first.leave()
        await until(lambda: is_published(bot))
        join_avatar(room)
        await until(lambda: not is_published(bot))


async def test_in_turn_it_comes_back_for_an_avatar_that_left_without_a_word(room):
    async with running(transport_for(room, microphone="in_turn"), room) as bot:
        avatar = join_avatar(room)
        await until(lambda: not is_published(bot))
        room.lose(avatar)
        room.join("Ada").leave()
        await until(lambda: is_published(bot))


async def test_in_turn_a_sound_beside_the_avatar_is_heard_from_its_first_sample_on(room):
    async with running(transport_for(room, microphone="in_turn"), room) as bot:
        join_avatar(room)
        await until(lambda: not is_published(bot))
        await play(bot)
        await until(lambda: is_published(bot))
        heard = bot.client.participant
        await until(lambda: len(loud(heard.published_audio)) >= 0.99 * SECS * RATE)
        await until(lambda: not is_published(bot))


async def test_in_turn_a_bot_without_a_voice_of_its_own_publishes_none(room):
    params = DailyParams(audio_in_enabled=True, audio_out_enabled=False)
    async with running(transport_for(room, params, microphone="in_turn"), room) as bot:
        join_avatar(room).leave()
        await bot.settle()
        assert not is_published(bot)


def test_another_word_for_when_is_refused(room: Room):
    with pytest.raises(ValueError, match="microphone must be 'always' or 'in_turn', got 'never'"):
        AgentHumanDailyTransport(room.url, None, "Bot", microphone="never")
