"""The session's news come as frames, and a server without measure does no harm."""

import json

import pytest

from pipecat_agenthuman import AgentHumanDisconnectedFrame, AgentHumanServerEventFrame
from tests.support.calls import Call, avatars, calling
from tests.support.faults import server_error
from tests.support.inside import delay_telling, set_limits, untold_events
from tests.support.sounds import once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


@virtually
async def test_a_loss_is_told_as_a_disconnection_with_what_follows():
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.drop(code=4001, reason="by order")
        await call.until_ready(2)
        await call.end()
    (frame,) = call.between.of(AgentHumanDisconnectedFrame)
    assert frame.will_reconnect
    assert "4001: by order" in frame.reason
    assert f"on_disconnected {frame.reason} True" in call.news


@virtually
async def test_words_of_a_server_without_measure_are_cut_in_the_log(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.send(server_error("blah " * 20_000))
        await sandbox.send("x" * 100_000)
        await until(lambda: bool(call.reported))
        await call.end()
    assert max(map(len, log)) < 5000


@virtually
async def test_a_flood_of_events_does_not_fill_the_memory(log, monkeypatch):
    set_limits(monkeypatch, untold_news=10)
    async with avatars() as sandbox, calling(sandbox) as call:
        go_on = delay_telling(monkeypatch, call.avatar)
        for _ in range(200):
            await sandbox.send('{"type": "agent.nod"}')
        await until(lambda: any("too many at once" in line for line in log))
        assert untold_events(call.avatar) <= 10
        go_on()
        await call.say(0.3)
        await call.end()
    assert once(call.heard_of_avatar(), range(call.said))


@virtually
async def test_unknown_events_go_down_as_frames_and_are_noticed_once(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        for number in range(3):
            await sandbox.send(json.dumps({"type": "agent.nod", "times": number}))
        await until(lambda: len(events(call)) == 3)
        await call.end()
    assert [frame.event["times"] for frame in events(call)] == [0, 1, 2]
    assert len([line for line in log if "agent.nod" in line]) == 1


def events(call: Call) -> list[AgentHumanServerEventFrame]:
    frames = call.between.of(AgentHumanServerEventFrame)
    return [frame for frame in frames if type(frame) is AgentHumanServerEventFrame]
