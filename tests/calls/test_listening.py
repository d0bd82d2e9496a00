"""The latency is heard: what the bot believes follows what a listener in the room hears.

In virtual time, so that nothing but the service itself is late; over real media the same is tested
in ``test_listening_in_rooms.py``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import numpy as np
import pytest
from numpy.typing import NDArray
from pipecat.frames.frames import ServiceUpdateSettingsFrame

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.pipeline.listening import ASKED_AGAIN_SECS
from pipecat_agenthuman.sandbox import Fault
from tests.support.calls import Call, avatar_in, staged
from tests.support.heard_speech import HeardSpeech, Utterance, p95, times_of
from tests.support.hearing_card import HearingCard
from tests.support.inside import break_listening
from tests.support.network import Network
from tests.support.sounds import RATE
from tests.support.spoken import spoken
from tests.support.virtual_time import virtually
from tests.support.waiting import until

CLOSE_MS = 40
"""How far off may be what is believed."""

APART_SECS = 12.0
"""What is so far apart is no burst of errors, of which one would be told."""

pytestmark = pytest.mark.usefixtures("log")


@asynccontextmanager
async def listening_call(
    card: HearingCard, **settings: object
) -> AsyncIterator[tuple[Call, HeardSpeech]]:
    """Run a call whose avatar is heard in the room of a card."""
    chosen = {"avatar_latency_secs": "measured"} | settings
    async with card.sandbox as sandbox:
        avatar = avatar_in(sandbox, settings=chosen)
        async with staged(avatar=avatar, sandbox=sandbox, transport=card, rate=RATE) as call:
            yield call, HeardSpeech(call.feed, call.behind)
            await call.end()


def compared(card: HearingCard, speech: HeardSpeech) -> list[Utterance]:
    """What was said in a call, beside what everybody in the room heard."""
    return speech.compared(said_at(card), lambda _: card.network.delay_secs)


def said_at(card: HearingCard) -> NDArray[np.float64]:
    return times_of((one.starts_at, one.samples) for one in card.sandbox.heard().segments)


BAD = Network(late_secs=0.03, loss=0.05, noise=20)


# --- how late the avatar is --------------------------------------------------------------------


@pytest.mark.parametrize("latency_secs", [0.2, 0.5, 1.1])
@virtually
async def test_from_the_fourth_utterance_on_what_is_believed_is_what_is_heard(latency_secs):
    card = HearingCard(network=BAD, render_latency_secs=latency_secs)
    async with listening_call(card) as (call, speech):
        assert call.avatar.stats.avatar_latency_source == "assumed"
        await speech.say(*range(8))
        stats = call.avatar.stats
    spoken_of = compared(card, speech)
    assert stats.avatar_latency_source == "heard"
    assert stats.avatar_latency_secs == pytest.approx(latency_secs + 0.06, abs=0.02)
    assert p95(spoken_of[3:]) < CLOSE_MS
    first = spoken_of[0]  # was spoken on an assumption
    assert first.starts == pytest.approx(1000 * (0.5 - latency_secs - 0.06), abs=30)


@virtually
async def test_a_number_is_believed_whatever_is_heard_and_nobody_listens():
    card = HearingCard(render_latency_secs=1.1)
    async with listening_call(card, avatar_latency_secs=0.5) as (call, speech):
        await speech.say(*range(4))
        stats = call.avatar.stats
    spoken_of = compared(card, speech)
    assert (stats.avatar_latency_secs, stats.avatar_latency_source) == (0.5, "set")
    assert all(one.starts == pytest.approx(-660, abs=30) for one in spoken_of)
    assert not card.subscriptions


@virtually
async def test_a_latency_that_changes_in_a_call_is_followed_between_utterances():
    card = HearingCard(network=BAD, render_latency_secs=0.4)
    async with listening_call(card) as (_, speech):
        await speech.say(*range(4))
        await card.sandbox.change_render_latency(1.1)
        # Few utterances are listened to now, so it takes some until that is noticed.
        await speech.say(*range(26))
    spoken_of = compared(card, speech)[4:]
    assert p95(spoken_of[-3:]) < CLOSE_MS
    for one in spoken_of:
        # Within an utterance all is equally early or late: the clock does not jump there.
        assert np.ptp([one.starts, one.stops, *one.words]) < 40


@virtually
async def test_a_latency_that_varies_is_met_in_the_middle():
    card = HearingCard(render_latency_secs=0.8)
    chance = np.random.default_rng(3)
    async with listening_call(card) as (_, speech):
        for number in range(10):
            await card.sandbox.change_render_latency(0.8 + chance.uniform(-0.1, 0.1))
            await speech.say(number)
    spoken_of = compared(card, speech)
    assert max(ms for one in spoken_of[3:] for ms in one.all) < 200 + CLOSE_MS
    assert abs(np.median([one.starts for one in spoken_of[3:]])) < 100


# --- when somebody listens -----------------------------------------------------------------------


@virtually
async def test_the_avatar_is_subscribed_until_there_is_a_value_and_seldom_afterwards():
    card = HearingCard(render_latency_secs=0.3)
    async with listening_call(card) as (_, speech):
        subscribed: list[bool] = []
        for number in range(30):
            await speech.say(number)
            subscribed.append(card.ear.heard is not None)
    assert subscribed[0]
    assert not subscribed[-1]
    begun = [one[0] for one in card.subscriptions]
    assert begun == ["+", "-", "+", "-"]  # the first ones, and one of those that follow
    assert sum(subscribed) < 10


@virtually
async def test_the_avatar_of_another_session_is_listened_to_anew():
    card = HearingCard(render_latency_secs=0.3)
    async with listening_call(card) as (call, speech):
        await speech.say(*range(7))
        assert card.ear.heard is None
        await card.sandbox.change_render_latency(0.9)
        await card.sandbox.drop()
        await call.until_ready(2)
        await speech.say(*range(5))
    spoken_of = compared(card, speech)[7:]
    assert p95(spoken_of[4:]) < CLOSE_MS  # two that agree have to contradict the value first
    assert {one[1:] for one in card.subscriptions} == {s.id for s in card.sandbox.sessions}


@virtually
async def test_nothing_is_heard_of_an_avatar_without_an_ear():
    card = HearingCard(render_latency_secs=0.5)
    card.ear = None
    async with listening_call(card) as (call, speech):
        await speech.say(*range(3))
        stats = call.avatar.stats
    spoken_of = compared(card, speech)
    assert (stats.avatar_latency_secs, stats.avatar_latency_source) == (0.5, "assumed")
    assert all(one.starts == pytest.approx(-60, abs=5) for one in spoken_of)


@virtually
async def test_who_fixes_the_latency_in_a_call_is_not_listened_to_any_more():
    card = HearingCard(render_latency_secs=0.3)
    async with listening_call(card) as (call, speech):
        await speech.say(0)
        assert card.ear.heard
        fixed = AgentHumanVideoService.Settings(avatar_latency_secs=0.7)
        await call.feed(ServiceUpdateSettingsFrame(delta=fixed))
        await until(lambda: card.ear.heard is None)
        await speech.say(1)
        measured = AgentHumanVideoService.Settings(avatar_latency_secs="measured")
        await call.feed(ServiceUpdateSettingsFrame(delta=measured))
        await until(lambda: card.ear.heard)
        stats = call.avatar.stats
    assert compared(card, speech)[1].starts == pytest.approx(340, abs=5)
    assert stats.avatar_latency_source in ("assumed", "heard")


# --- interruptions -------------------------------------------------------------------------------


@pytest.mark.parametrize("latency_secs", [0.2, 0.5, 1.1])
@virtually
async def test_the_memory_of_an_interruption_holds_what_was_heard(latency_secs):
    card = HearingCard(network=BAD, render_latency_secs=latency_secs)
    chance = np.random.default_rng(5)
    async with listening_call(card) as (_, speech):
        await speech.say(*range(3))
        for number in range(3, 11):
            await speech.interrupt(number, chance.uniform(0.3, 2.0))
    memories = speech.memories(said_at(card))
    assert len(memories) == 8
    assert all(abs(told - heard) <= 1 for told, heard in memories), memories


# --- an avatar that does not do as it was told --------------------------------------------------


@virtually
async def test_an_avatar_that_is_never_heard_is_told_of_once_and_then_replaced(log):
    card = HearingCard(render_latency_secs=0.2)
    async with listening_call(card) as (call, speech):
        await speech.say(0)
        card.is_muted = True
        for number in range(1, 3):
            await speech.say(number)
            await asyncio.sleep(APART_SECS)
            assert [frame.code for frame in call.error_frames] == ["avatar_unheard"] * number
        await call.until_ready(2)
        card.is_muted = False
        await speech.say(3)
    assert len(card.sandbox.sessions) == 2
    assert len([line for line in log if "stayed silent" in line and "ERROR" in line]) == 2


@virtually
async def test_where_another_avatar_is_not_heard_either_it_is_left_alone():
    card = HearingCard(render_latency_secs=0.2)
    card.is_muted = True
    async with listening_call(card) as (_, speech):
        for number in range(8):
            await speech.say(number)
            await asyncio.sleep(APART_SECS)
    assert len(card.sandbox.sessions) == 2


@virtually
async def test_an_avatar_that_goes_on_after_an_interruption_is_replaced_when_it_does_it_again():
    card = HearingCard(render_latency_secs=0.3)
    card.sandbox.inject(
        Fault(
            on="agent.interrupt",
            kind="garbage",
            payload='{"type": "agent.interrupt.confirmed"}',
            carried_out=False,
            times=None,
        )
    )
    async with listening_call(card) as (call, speech):
        await speech.say(*range(2))
        for times in range(1, 5):
            nth = len(call.bot_speech()) + 1
            await call.feed(*spoken(times).frames())
            await call.heard_for(0.2, nth)
            await call.interrupt()
            await asyncio.sleep(APART_SECS)
            assert len(card.sandbox.sessions) == (1 if times < 2 else 2)
    assert [frame.code for frame in call.error_frames] == ["interrupt_ignored"] * 2


@virtually
async def test_an_interruption_that_works_lets_the_ear_rest_again():
    card = HearingCard(render_latency_secs=0.3)
    card.sandbox.inject(
        Fault(
            on="agent.interrupt",
            kind="garbage",
            payload='{"type": "agent.interrupt.confirmed"}',
            carried_out=False,
        )
    )
    async with listening_call(card) as (call, speech):
        await speech.say(*range(2))
        for times in (1, 2):
            nth = len(call.bot_speech()) + 1
            await call.feed(*spoken(times).frames())
            await call.heard_for(0.2, nth)
            await call.interrupt()
            await asyncio.sleep(APART_SECS)
            await speech.say(3, 4)
            await asyncio.sleep(APART_SECS)
            # Whether it repeats, only listening tells. The second time it did as it was told.
            assert (card.ear.heard is not None) == (times == 1)
    assert len(card.sandbox.sessions) == 1
    assert [frame.code for frame in call.error_frames] == ["interrupt_ignored"]


@virtually
async def test_an_ear_that_the_room_refused_is_asked_for_again():
    card = HearingCard(render_latency_secs=1.1)
    card.refusals = 1
    async with listening_call(card) as (call, speech):
        await speech.say(0)
        assert card.ear.heard is None
        await asyncio.sleep(ASKED_AGAIN_SECS)
        await speech.say(*range(4))
        assert call.avatar.stats.avatar_latency_source == "heard"
    assert [one[0] for one in card.subscriptions][:3] == ["+", "-", "+"]


@virtually
async def test_a_bug_in_listening_costs_the_listening_and_nothing_else(monkeypatch, log):
    card = HearingCard(render_latency_secs=0.3)
    async with listening_call(card) as (call, speech):
        break_listening(monkeypatch, call.avatar)
        await speech.say(*range(3))
        assert call.avatar.ready
    spoken_of = compared(card, speech)
    assert all(one.starts == pytest.approx(140, abs=30) for one in spoken_of)
    assert [line for line in log if "Traceback" in line and "ZeroDivisionError" in line]
    assert card.ear.heard is None
