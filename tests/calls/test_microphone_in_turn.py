"""A microphone that is published in turn: what the avatar left unsaid is heard all the same."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
from pipecat.frames.frames import BotStartedSpeakingFrame, BotStoppedSpeakingFrame, TTSAudioRawFrame
from pipecat.transports.daily.transport import DailyParams

from tests.support.calls import CUT_SECS, avatar_in, avatars
from tests.support.daily_bot import join_avatar, transport_for
from tests.support.daily_room import Room, installed_daily
from tests.support.faults import QUICK_RENEWAL, SHORT_LIMITS
from tests.support.pipelines import Recorder, running
from tests.support.sounds import RATE, counted, numbered, utterance
from tests.support.waiting import LIMIT_SECS, quiet_log, until

SECS = 1.6
SLOW_SECS = 0.45
"""How long Daily takes to publish a microphone here: more than a cut may cost."""


def slow(transport: Any) -> Any:
    """Let Daily take its time."""
    publish = transport.update_publishing

    async def slowly(settings: Any) -> str | None:
        await asyncio.sleep(SLOW_SECS)
        return await publish(settings)

    transport.update_publishing = slowly
    return transport


async def test_of_speech_that_the_avatar_left_unsaid_every_sample_is_heard_once(monkeypatch):
    with quiet_log(), installed_daily(monkeypatch, real_time=True) as daily:
        room: Room = daily.room()
        here: dict[str, Any] = {}
        sandbox = avatars(
            max_sessions=2,
            on_avatar_joined=lambda record: here.update({record.id: join_avatar(room)}),
            on_avatar_left=lambda record: here.pop(record.id).leave(),
        )
        params = DailyParams(audio_in_enabled=True, audio_out_end_silence_secs=0)
        transport = slow(transport_for(room, params, microphone="in_turn"))
        with sandbox:
            avatar = avatar_in(sandbox, limits=SHORT_LIMITS, renewal=QUICK_RENEWAL)
            behind = Recorder()
            parts = (transport.input(), avatar, transport.output(), behind)
            async with running(*parts) as (worker, ending):
                await avatar.wait_until_ready(LIMIT_SECS)
                (bot,) = (client.participant for client in room.clients)
                await until(lambda: not bot.is_publishing)
                await worker.queue_frames(said(SECS))
                started = await behind.saw(BotStartedSpeakingFrame)
                await asyncio.sleep(started.at + SECS / 2 - time.monotonic())
                await sandbox.drop()
                stopped = await behind.saw(BotStoppedSpeakingFrame)
                await worker.stop_when_done()
                await ending
            heard = counted(sandbox.heard().audio, round(SECS * RATE))
    heard = heard + counted(bot.published_audio, round(SECS * RATE))
    wrong = np.flatnonzero(heard != 1)
    # The cut is as exact as the clock, and no word of the bot's is lost while it is published.
    assert len(wrong) < CUT_SECS * RATE
    assert (heard > 0)[-round(0.5 * SECS * RATE) + round(CUT_SECS * RATE) :].all()
    assert stopped.at - started.at > SECS + SLOW_SECS - CUT_SECS


def said(secs: float) -> list[Any]:
    """An utterance of numbered samples."""
    size = round(0.04 * RATE)
    numbers = range(round(secs * RATE))
    pieces = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    return utterance(TTSAudioRawFrame(numbered(piece), RATE, 1) for piece in pieces)
