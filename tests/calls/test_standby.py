"""Two avatars in a ``ServiceSwitcher``, as ``docs/reference/events.md`` has it: a voice at a time.

Between them, and with the transport that says what the first could not.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from pipecat.frames.frames import (
    InterruptionFrame,
    ManuallySwitchServiceFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.pipeline.service_switcher import (
    ServiceSwitcher,
    ServiceSwitcherStrategyFailover,
    ServiceSwitcherStrategyManual,
)
from pipecat.processors.frame_processor import FrameDirection

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import CUT_SECS, Call, avatar_in, avatars, staged
from tests.support.faults import QUICK_RENEWAL, SHORT_LIMITS, fault
from tests.support.inside import avatar_is_idle
from tests.support.sounds import RATE, Counts, counted, never, once
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")

OVERLAP_SECS = 0.15
"""Between two who speak in turn, on a busy machine."""

Spans = list[tuple[float, float]]


@dataclass
class Pair:
    """A call with an avatar and one that stands by.

    Attributes:
        call: The call.
        sandboxes: Where the avatars are.
        avatars: The services.
    """

    call: Call
    sandboxes: tuple[Sandbox, Sandbox]
    avatars: tuple[AgentHumanVideoService, AgentHumanVideoService]

    async def lose_first(self) -> None:
        """The first avatar goes, and there is no other session to be had for it."""
        first, _ = self.sandboxes
        first.inject(fault("create", "refuse", status=401, times=None))
        await first.drop()

    def heard_of(self, number: int) -> Counts:
        """How often each sample was heard of an avatar."""
        return counted(self.sandboxes[number].heard().audio, self.call.said)

    def voices(self) -> list[Spans]:
        """When each avatar was heard, and the transport."""
        spans = [
            [(s.starts_at, s.starts_at + s.samples / RATE) for s in sandbox.heard().segments]
            for sandbox in self.sandboxes
        ]
        return [*spans, self.call.transport.sounded]

    def check(self) -> None:
        """One voice at a time, and starts and stops in turn."""
        first, second, transport = self.voices()
        assert overlap_secs(first, second) < OVERLAP_SECS
        assert overlap_secs(first, transport) < OVERLAP_SECS + CUT_SECS
        assert overlap_secs(second, transport) < OVERLAP_SECS
        assert not self.call.unpaired()


def overlap_secs(some: Spans, others: Spans) -> float:
    """How long some sounds last while others do."""
    return sum(
        max(0.0, min(one[1], other[1]) - max(one[0], other[0])) for one in some for other in others
    )


@asynccontextmanager
async def standing_by(strategy: type[ServiceSwitcherStrategyManual]) -> AsyncIterator[Pair]:
    async with avatars() as first, avatars() as second:
        options = {"limits": SHORT_LIMITS, "renewal": QUICK_RENEWAL}
        one, other = avatar_in(first, **options), avatar_in(second, **options)
        ready = []
        for avatar in (one, other):
            avatar.add_event_handler("on_avatar_ready", lambda _: ready.append(1))
        switch = ServiceSwitcher(services=[one, other], strategy_type=strategy)
        async with staged(switch, rate=RATE) as call:
            await until(lambda: len(ready) == 2)
            yield Pair(call, (first, second), (one, other))


@virtually
async def test_a_switch_in_mid_utterance_of_real_time_speech_leaves_nothing_open():
    async with standing_by(ServiceSwitcherStrategyFailover) as pair:
        call = pair.call
        speaking = asyncio.create_task(call.say(2.0, real_time=True))
        await call.heard_for(0.7)
        await pair.lose_first()
        words = await speaking
        await call.spoken(2)
        more = await call.say(0.5)
        await call.spoken(3)
        assert avatar_is_idle(pair.avatars[0])
        await call.end()
    pair.check()
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"] * 3
    texts = [frame.text for frame in call.behind.of(TTSTextFrame)]
    assert texts == [f"words {words.start}", f"words {more.start}"]
    assert len(call.behind.of(TTSStartedFrame)) == len(call.behind.of(TTSStoppedFrame)) == 2
    # The rest was not held back: the other avatar goes on as soon as it is its turn.
    starts = [start for start, _ in call.bot_speech()]
    assert starts[1] - call.bot_speech()[0][1] < 1.0
    both = pair.heard_of(0) + pair.heard_of(1) + call.given_to_transport()
    assert (both[words.start : words.stop] != 1).sum() / RATE < CUT_SECS
    assert once(pair.heard_of(1), more)


@virtually
async def test_a_switch_behind_speech_that_came_at_once_lets_the_transport_say_it_first():
    async with standing_by(ServiceSwitcherStrategyFailover) as pair:
        call = pair.call
        words = await call.say(2.0)
        await call.heard_for(0.7)
        await pair.lose_first()
        await until(lambda: not pair.avatars[0].is_usable)
        more = await call.say(0.5)
        await call.spoken(2)
        await call.end()
    pair.check()
    assert call.speaking(call.behind, upstream=False) == ["start", "stop"] * 2
    assert once(pair.heard_of(1), more)
    assert never(pair.heard_of(1), words)


@virtually
async def test_an_avatar_that_is_switched_to_by_hand_waits_for_the_one_that_speaks():
    async with standing_by(ServiceSwitcherStrategyManual) as pair:
        call = pair.call
        first = await call.say(1.5)
        await call.heard_for(0.3)
        await call.feed(ManuallySwitchServiceFrame(service=pair.avatars[1]))
        second = await call.say(0.5)
        await call.spoken(2)
        await call.end()
    pair.check()
    assert once(pair.heard_of(0), first)
    assert once(pair.heard_of(1), second)
    assert not call.given_to_transport().any()
    texts = [frame.text for frame in call.behind.of(TTSTextFrame)]
    assert texts == [f"words {first.start}", f"words {second.start}"]


@pytest.mark.parametrize("direction", FrameDirection, ids=lambda one: one.name.lower())
@virtually
async def test_an_interruption_silences_also_the_avatar_that_was_switched_away_from(direction):
    """The switcher keeps every frame from it, that one too."""
    async with standing_by(ServiceSwitcherStrategyManual) as pair:
        call = pair.call
        words = await call.say(3.0)
        await call.heard_for(0.3)
        await call.feed(ManuallySwitchServiceFrame(service=pair.avatars[1]))
        waits = await call.say(0.5)
        await until(lambda: pair.avatars[1].stats.taken_secs > 0.4)
        if direction is FrameDirection.DOWNSTREAM:
            await call.interrupt()
        else:
            await call.behind.push_frame(InterruptionFrame(), direction)
        await pair.sandboxes[0].wait_for("agent.interrupt")
        await call.spoken()
        more = await call.say(0.3)
        await call.spoken(2)
        await call.end()
    pair.check()
    assert never(pair.heard_of(0), range(words.stop - RATE, words.stop))
    assert never(pair.heard_of(1), waits)
    assert once(pair.heard_of(1), more)
    assert [frame.text for frame in call.behind.of(TTSTextFrame)] == [f"words {more.start}"]


@virtually
async def test_an_interruption_silences_the_transport_that_speaks_for_the_first():
    async with standing_by(ServiceSwitcherStrategyFailover) as pair:
        call = pair.call
        words = await call.say(3.0)
        await call.heard_for(0.3)
        await pair.lose_first()
        await until(lambda: not pair.avatars[0].is_usable and call.given_to_transport().any())
        await call.interrupt()
        await call.spoken()
        more = await call.say(0.3)
        await call.spoken(2)
        await call.end()
    pair.check()
    assert never(call.given_to_transport(), range(words.stop - RATE, words.stop))
    assert once(pair.heard_of(1), more)
