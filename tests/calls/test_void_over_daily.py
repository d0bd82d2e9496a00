"""Nobody speaks into a void in a Daily room: the avatar is elsewhere, or everybody has left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from pipecat.frames.frames import ErrorFrame
from pipecat.transports.daily.transport import DailyParams, DailyTransport

from pipecat_agenthuman import AgentHumanDailyTransport
from pipecat_agenthuman.sandbox import SandboxSession
from tests.support.calls import ROOM, avatar_in, avatars
from tests.support.conversation import loud
from tests.support.daily_bot import join_avatar
from tests.support.daily_room import DailyStandIn, Participant, installed_daily
from tests.support.inside import set_limits
from tests.support.pipelines import Recorder, running
from tests.support.sounds import RATE, noise, utterance
from tests.support.waiting import LIMIT_SECS, quiet_log, until


@pytest.fixture
def daily(monkeypatch: pytest.MonkeyPatch) -> Iterator[DailyStandIn]:
    with quiet_log(), installed_daily(monkeypatch) as daily:
        yield daily


@pytest.mark.parametrize("kind", [DailyTransport, AgentHumanDailyTransport])
async def test_a_bot_in_another_room_speaks_itself_and_nothing_is_billed(
    daily: DailyStandIn, kind: type[DailyTransport]
):
    room = daily.room("https://example.daily.co/other")
    transport = kind(room.url, None, "Bot", DailyParams(audio_out_enabled=True))
    async with avatars() as sandbox:
        avatar, above = avatar_in(sandbox), Recorder("above")
        async with running(above, avatar, transport.output()) as (worker, ending):
            await until(lambda: room.clients)
            (bot,) = room.participants
            await worker.queue_frames(utterance(noise(0.3)))
            await worker.stop_when_done()
            await ending
        assert not sandbox.sessions
    assert len(loud(bot.published_audio)) > 0.2 * RATE
    (error,) = above.of(ErrorFrame, upstream=True)
    assert ROOM.url in error.error
    assert room.url in error.error


async def test_a_room_that_everybody_leaves_has_no_avatar_until_somebody_comes(
    daily: DailyStandIn, monkeypatch
):
    set_limits(monkeypatch, empty_room_secs=0.2)
    room = daily.room(ROOM.url)
    present: dict[str, Participant] = {}

    def joined(record: SandboxSession) -> None:
        present[record.id] = join_avatar(room)

    def left(record: SandboxSession) -> None:
        present.pop(record.id).leave()

    transport = AgentHumanDailyTransport(room.url, None, "Bot", DailyParams(audio_in_enabled=True))
    async with avatars(on_avatar_joined=joined, on_avatar_left=left) as sandbox:
        avatar = avatar_in(sandbox)
        parts = [transport.input(), avatar, transport.output()]
        async with running(*parts) as (worker, ending):
            ada, bob = room.join("Ada"), room.join("Bob")
            await avatar.wait_until_ready(LIMIT_SECS)
            ada.leave()
            bob.leave()
            await until(lambda: not sandbox.live_sessions and not avatar.ready)
            room.join("Carol")
            await avatar.wait_until_ready(LIMIT_SECS)
            await worker.queue_frames(utterance(noise(0.3)))
            await worker.stop_when_done()
            await ending
        assert len(sandbox.sessions) == 2
        assert sandbox.peak_live_sessions == 1
    assert sandbox.heard().duration_secs == pytest.approx(0.3, abs=0.02)
