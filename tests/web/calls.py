"""A real call of the service in a Daily room, written down for pages to live through."""

from __future__ import annotations

import asyncio

import pytest
from pipecat.frames.frames import BotStoppedSpeakingFrame, ServiceUpdateSettingsFrame
from pipecat.transports.daily.transport import DailyParams

from pipecat_agenthuman import AgentHumanDailyTransport, AgentHumanVideoService
from pipecat_agenthuman.daily import WhenPublished
from tests.support.calls import LATENCY_SECS, avatar_in
from tests.support.daily_avatars import DailyAvatars
from tests.support.daily_room import installed_daily
from tests.support.faults import QUICK_RENEWAL, SHORT_LIMITS
from tests.support.network import Network
from tests.support.pipelines import Recorder, running
from tests.support.room_script import RoomEvent, RoomScript
from tests.support.sounds import noise, utterance
from tests.support.waiting import LIMIT_SECS, quiet_log, until

JOIN_DELAY_SECS = 1.0
"""How long an avatar is on its way: time for the transport to speak alone."""


async def whole_call(monkeypatch: pytest.MonkeyPatch, microphone: WhenPublished) -> list[RoomEvent]:
    """A person, a bot, and four avatars one after the other; who speaks when stands in the script.

    The first avatar is lost in mid sentence, the second is replaced by another at a pause, the
    third is lost in silence: then the bot speaks by itself, and the fourth comes in the middle.
    """
    with quiet_log(), installed_daily(monkeypatch, real_time=True) as daily:
        room = daily.room()
        script = RoomScript.of(room, monkeypatch)
        service = DailyAvatars(
            room,
            Network(),
            render_latency_secs=LATENCY_SECS,
            max_sessions=4,
            join_delay_secs=JOIN_DELAY_SECS,
        )
        params = DailyParams(audio_in_enabled=True, audio_out_end_silence_secs=0)
        transport = AgentHumanDailyTransport(room.url, None, "Bot", params, microphone=microphone)
        room.join("Ada")
        with service.sandbox as sandbox:
            avatar = avatar_in(sandbox, limits=SHORT_LIMITS, renewal=QUICK_RENEWAL)
            speech = Recorder()
            parts = (transport.input(), avatar, speech, transport.output())
            async with running(*parts) as (worker, ending):

                async def say(secs: float) -> None:
                    await worker.queue_frames(utterance(noise(secs)))

                async def speaks(who: str) -> None:
                    await until(lambda: script.speaks(who))

                async def is_heard(count: int) -> None:
                    await until(lambda: len(service.participants) == count)
                    await avatar.wait_until_ready(LIMIT_SECS)
                    await say(0.5)
                    await speaks(f"avatar {count}")

                await avatar.wait_until_ready(LIMIT_SECS)
                await say(1.4)
                await speaks("avatar 1")
                await asyncio.sleep(0.5)
                await sandbox.drop()  # in mid sentence
                await speaks("bot")
                await is_heard(2)
                other = AgentHumanVideoService.Settings(avatar="avat_other")
                await worker.queue_frame(ServiceUpdateSettingsFrame(delta=other, service=avatar))
                await is_heard(3)
                await speech.saw(BotStoppedSpeakingFrame, 3)
                await sandbox.drop()  # in silence
                await until(lambda: not avatar.ready)
                await say(JOIN_DELAY_SECS + 1.5)
                await is_heard(4)
                await worker.stop_when_done()
                await ending
        return script.events()
