"""What a call costs, counted: messages, steps of the driver, turns of the event loop.

The call is played in virtual time, so the figures are the same on every machine. They are limits
that hold off what creeps in, a little above what is needed now.
"""

import asyncio
import time
from dataclasses import dataclass

import pytest
from pipecat.frames.frames import TTSStartedFrame, TTSStoppedFrame

from tests.support.calls import avatar_in, avatars, staged
from tests.support.inside import note_conversions, note_driver_steps
from tests.support.scenes import played
from tests.support.sounds import noise
from tests.support.virtual_time import VirtualLoop

UTTERANCES = 3
UTTERANCE_SECS = 5.0


@dataclass(frozen=True)
class Cost:
    """Of a call, by the minute or the second of speech; bot and service are one process.

    Attributes:
        messages: ``agent.speak``, a minute.
        driver_steps: A second.
        conversions: How often the resampler was called, a second.
        loop_turns: A second.
        frames: Given to what stands behind the service, a second.
        silences: How often an utterance was silent in its middle.
    """

    messages: float
    driver_steps: float
    conversions: float
    loop_turns: float
    frames: float
    silences: int


def cost_of(*, speed: float, round_trip_secs: float, piece_secs: float = 0.02) -> Cost:
    """Let a bot speak whose TTS service delivers at a multiple of real time."""

    async def main() -> Cost:
        async with avatars(round_trip_secs=round_trip_secs) as sandbox:
            async with staged(avatar=avatar_in(sandbox), rate=24_000) as call:
                await sandbox.wait_for("pong")
                loop = asyncio.get_running_loop()
                assert isinstance(loop, VirtualLoop)
                steps, turns = note_driver_steps(patch, call.avatar), loop.turns
                conversions = note_conversions(patch)
                frames = len(call.between.sightings)
                for number in range(UTTERANCES):
                    begun = time.monotonic()
                    await call.feed(TTSStartedFrame())
                    speech = noise(UTTERANCE_SECS, rate=24_000, frame_secs=piece_secs)
                    for place, frame in enumerate(speech):
                        due = begun + place * piece_secs / speed
                        await asyncio.sleep(max(due - time.monotonic(), 0.0))
                        await call.feed(frame)
                    await call.feed(TTSStoppedFrame())
                    await call.stopped(number + 1)
                turns = loop.turns - turns
                frames = len(call.between.seen(object, upstream=None)) - frames
                await call.end()
            messages = sum(
                entry["what"] == "agent.speak" and entry["direction"] == "in"
                for entry in sandbox.log
            )
            segments = len(sandbox.heard().segments)
        secs = UTTERANCES * UTTERANCE_SECS
        return Cost(
            messages=messages / secs * 60,
            driver_steps=len(steps) / secs,
            conversions=len(conversions) / secs,
            loop_turns=turns / secs,
            frames=frames / secs,
            silences=segments - UTTERANCES,
        )

    with pytest.MonkeyPatch.context() as patch:
        return played(main)


def test_speech_that_comes_faster_than_it_sounds_costs_little():
    cost = cost_of(speed=3.0, round_trip_secs=0.005)
    assert cost.silences == 0
    assert cost.messages <= 200
    assert cost.driver_steps <= 24
    assert cost.conversions <= 24
    assert cost.loop_turns <= 550
    assert cost.frames <= 15


def test_speech_in_real_time_costs_a_message_for_each_round_trip():
    cost = cost_of(speed=1.0, round_trip_secs=0.05)
    assert cost.silences == 0
    assert cost.messages <= 1250
    assert cost.driver_steps <= 36
    assert cost.conversions <= 24
    assert cost.loop_turns <= 750
    assert cost.frames <= 30


def test_nothing_is_polled_while_speech_is_heard():
    """All is sent at once; what is left is to tell of it, every 200 ms."""
    cost = cost_of(speed=1000.0, round_trip_secs=0.0, piece_secs=5.0)
    assert cost.driver_steps <= 16
