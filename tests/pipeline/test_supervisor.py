"""When there is no avatar: none in time, none in the room any more, or a mistake of our own."""

import asyncio
import gc

import pytest
from pipecat.frames.frames import ServiceUpdateSettingsFrame

from pipecat_agenthuman.frames import AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame
from pipecat_agenthuman.pipeline.frame_traits import StandInAudioFrame, speech_frame
from tests.support.calls import CUT_SECS, LATENCY_SECS, avatars, calling
from tests.support.faults import fault
from tests.support.inside import put_bug_into, renew_twice, set_limits, transport_is_busy
from tests.support.sounds import RATE, never, numbered, once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


# --- no session in time ----------------------------------------------------------------


@virtually
async def test_the_first_words_do_not_wait_for_ever(log, monkeypatch):
    set_limits(monkeypatch, start_wait_secs=0.3)
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=1.5, delayed="answer"))
        async with calling(sandbox, until_ready=False) as call:
            first = await call.say(0.3)
            await call.spoken()
            await call.until_ready()
            second = await call.say(0.3)
            await call.end()
        assert len(sandbox.sessions) == 1
    assert once(call.given_to_transport(), first)
    assert once(call.heard_of_avatar(), second)
    assert [line for line in log if "no session after 0.3 s" in line]


@virtually
async def test_the_first_words_wait_for_an_avatar_that_comes_in_time(log):
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "delay", delay_secs=0.5, delayed="answer"))
        async with calling(sandbox, until_ready=False) as call:
            words = await call.say(0.3)
            await call.end()
    assert once(call.heard_of_avatar(), words)
    assert never(call.given_to_transport(), words)


# --- all was said ----------------------------------------------------------------------


@virtually
async def test_an_avatar_that_makes_way_has_said_its_last_sample():
    """It sounds later than the service was told: by more than a tenth of a second."""
    async with (
        avatars(render_latency_secs=LATENCY_SECS + 0.12) as sandbox,
        calling(sandbox) as call,
    ):
        words = await call.say(0.5)
        other = call.avatar.Settings(avatar="avat_other")
        await call.feed(ServiceUpdateSettingsFrame(delta=other, service=call.avatar))
        await call.until_ready(2)
        more = await call.say(0.5)
        await call.end()
    assert once(call.heard_of_avatar(), words)
    assert once(call.heard_of_avatar(), more)


@virtually
async def test_an_avatar_at_the_end_of_the_call_has_said_its_last_sample_also_if_no_stop_came():
    """Nothing is due at the end of speech then that would have it counted as heard."""
    async with (
        avatars(render_latency_secs=LATENCY_SECS + 0.12) as sandbox,
        calling(sandbox) as call,
    ):
        call.said = RATE
        await call.feed(speech_frame(numbered(range(RATE)), RATE, interruptible=True))
        await call.end()
    assert once(call.heard_of_avatar(), range(RATE))


@virtually
async def test_a_server_that_answers_late_does_not_cost_the_last_words():
    """It looks like a slow network, whose confirmations were sent half of that time ago."""
    slow = {"delay_secs": 0.8, "times": None}
    async with avatars() as sandbox:
        sandbox.inject(fault("ping", "delay", **slow))
        async with calling(sandbox) as call:
            sandbox.inject(fault("agent.speak", "delay", **slow))
            await asyncio.sleep(1.0)  # virtual: the first ping is answered
            words = await call.say(0.3)
            await call.end()
    assert once(call.heard_of_avatar(), words)


# --- the avatar in the room ------------------------------------------------------------


@virtually
async def test_an_avatar_that_leaves_the_room_is_replaced_and_the_transport_speaks(
    log, monkeypatch
):
    set_limits(monkeypatch, return_wait_secs=0.2)
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
        await until(lambda: call.ready == 1)
        words = await call.say(1.0)
        await sandbox.wait_until_heard(0.3)
        await sandbox.remove_avatar()
        await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "hidden"))
        await until(lambda: len(sandbox.sessions) == 2)
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-2"))
        await call.until_ready(2)
        await call.spoken()
        more = await call.say(0.3)
        await call.end()
    both = call.heard_of_avatar() + call.given_to_transport()
    assert (both[words.start : words.stop] != 1).sum() / RATE < CUT_SECS
    assert call.given_to_transport()[words.stop - 1]
    assert once(call.heard_of_avatar(), more)
    assert [frame.code for frame in call.error_frames] == ["avatar_left"]
    assert not call.unpaired()


@virtually
async def test_a_renewed_avatar_that_never_appears_is_replaced_and_the_transport_speaks(log):
    async with avatars() as sandbox, calling(sandbox, avatar_wait_secs=0.3) as call:
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
        await call.say(0.2)
        await call.spoken()
        await sandbox.drop()
        await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "left"))
        await until(lambda: len(sandbox.sessions) == 2)
        words = await call.say(0.5)
        await until(lambda: len(sandbox.sessions) == 3)
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-3"))
        await call.until_ready(2)
        await until(lambda: not transport_is_busy(call.avatar))
        more = await call.say(0.3)
        await call.end()
    assert call.given_to_transport()[words.start : words.stop].all()
    assert once(call.heard_of_avatar(), more)
    assert [frame.code for frame in call.error_frames] == ["closed", "avatar_absent"]


@virtually
async def test_an_avatar_that_comes_back_is_not_replaced_and_repeats_nothing(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
        words = await call.say(1.0)
        await sandbox.wait_until_heard(0.3)
        await call.feed(AgentHumanAvatarLeftFrame("avatar-1", "network"))
        await until(lambda: call.between.of(StandInAudioFrame))
        await call.feed(AgentHumanAvatarJoinedFrame("avatar-1"))
        await call.spoken()
        more = await call.say(0.3)
        await call.end()
        assert len(sandbox.sessions) == 1
    both = call.heard_of_avatar() + call.given_to_transport()
    assert (both[words.start : words.stop] != 1).sum() / RATE < CUT_SECS
    assert call.given_to_transport()[words.stop - 1]
    assert once(call.heard_of_avatar(), more)
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"] * 2
    assert not call.error_frames


# --- a mistake of our own --------------------------------------------------------------


@pytest.mark.parametrize("where", ["driver", "events", "session"])
@virtually
async def test_a_bug_in_a_task_is_reported_and_the_transport_speaks(where, log, monkeypatch):
    async with avatars() as sandbox, calling(sandbox) as call:
        first = await call.say(0.8)
        await sandbox.wait_until_heard(0.2)
        put_bug_into(monkeypatch, call.avatar, where)
        if where == "events":
            await sandbox.send('{"type": "agent.nod"}')
        elif where == "session":
            await sandbox.drop()
        await until(lambda: bool(call.reported))
        second = await call.say(0.3)
        await call.end()
    both = call.heard_of_avatar() + call.given_to_transport()
    assert (both[first.start : first.stop] != 1).sum() / RATE < CUT_SECS
    assert once(call.given_to_transport(), second)
    assert [frame.code for frame in call.error_frames] == ["internal_error"]
    assert not call.avatar.is_usable
    assert not call.unpaired()
    assert [line for line in log if "Traceback" in line and "ZeroDivisionError" in line]
    assert not sandbox.live_sessions


async def test_work_that_is_replaced_before_its_first_step_leaves_nothing_behind(recwarn):
    async with avatars() as sandbox, calling(sandbox) as call:
        renew_twice(call.avatar)
        await call.until_ready(2)
        await call.end()
    gc.collect()
    assert not [warning for warning in recwarn if "never awaited" in str(warning.message)]
    assert len(sandbox.sessions) == 2
