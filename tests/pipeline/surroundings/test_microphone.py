"""When the bot's own microphone is published, where it gives way to an avatar."""

from __future__ import annotations

import asyncio

import pytest

from pipecat_agenthuman.pipeline.surroundings.microphone import (
    ANSWER_SECS,
    OPEN_SECS,
    QUIET_SECS,
    Microphone,
)
from tests.support.virtual_time import virtually
from tests.support.waiting import quiet_log

SOUND = b"\1\0" * 320
SILENCE = bytes(640)


class Room:
    """A room that publishes a microphone, and when it was asked for what."""

    def __init__(self, *, takes_secs: float = 0.1, error: str | None = None) -> None:
        self.asked: list[tuple[float, bool]] = []
        self.takes_secs = takes_secs
        self.error = error
        self.microphone = Microphone("transport", self.publish)
        self._began_at = asyncio.get_running_loop().time()

    async def publish(self, is_published: bool) -> str | None:
        self.asked.append((self.now, is_published))
        await asyncio.sleep(self.takes_secs)
        return self.error

    @property
    def now(self) -> float:
        return round(asyncio.get_running_loop().time() - self._began_at, 2)

    @property
    def states(self) -> list[bool]:
        return [is_published for _, is_published in self.asked]


@virtually
async def test_it_stays_published_while_there_is_no_avatar():
    room = Room()
    room.microphone.joined()
    await room.microphone.sounds(SOUND)
    await asyncio.sleep(2 * QUIET_SECS)
    assert room.asked == []


@virtually
async def test_it_gives_way_to_an_avatar_and_comes_back_when_that_has_left():
    room = Room()
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(1)
    room.microphone.avatar_is_here(False)
    await asyncio.sleep(1)
    assert room.asked == [(0.0, False), (1.0, True)]


@virtually
async def test_nothing_is_asked_for_before_the_bot_has_joined():
    """The room would set it as the joining says."""
    room = Room()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(1)
    assert room.asked == []
    room.microphone.joined()
    await asyncio.sleep(1)
    assert room.asked == [(1.0, False)]


@virtually
async def test_a_sound_beside_the_avatar_waits_until_it_is_published():
    room = Room(takes_secs=0.2)
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(1)
    await room.microphone.sounds(SOUND)
    assert room.now == 1.2
    assert room.asked[-1] == (1.0, True)


@virtually
async def test_silence_publishes_nothing():
    room = Room()
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(1)
    await room.microphone.sounds(SILENCE)
    await asyncio.sleep(1)
    assert room.states == [False]


@virtually
async def test_the_turn_is_over_when_nothing_was_played_for_a_while():
    room = Room()
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(1)
    for _ in range(3):  # a pause in speech ends nothing
        await room.microphone.sounds(SOUND)
        await asyncio.sleep(QUIET_SECS / 2)
    assert room.states == [False, True]
    await asyncio.sleep(QUIET_SECS)
    assert room.states == [False, True, False]


@virtually
async def test_speech_that_an_avatar_comes_into_is_said_to_its_end():
    room = Room()
    room.microphone.joined()
    await room.microphone.sounds(SOUND)
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(QUIET_SECS / 2)
    assert room.asked == []
    await asyncio.sleep(QUIET_SECS)
    assert room.states == [False]


@virtually
async def test_a_sound_that_comes_while_it_is_taken_back_has_it_published_again():
    room = Room(takes_secs=0.2)
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(0.1)
    await room.microphone.sounds(SOUND)
    assert room.asked == [(0.0, False), (0.2, True)]
    assert room.now == 0.4


@virtually
async def test_a_room_that_does_not_answer_holds_up_a_sound_for_a_moment_only():
    room = Room(takes_secs=60.0)
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(0.1)
    await room.microphone.sounds(SOUND)
    assert room.now == pytest.approx(0.1 + OPEN_SECS)
    await room.microphone.sounds(SOUND)  # what follows is not held up again
    assert room.now == pytest.approx(0.1 + OPEN_SECS)
    await asyncio.sleep(ANSWER_SECS - OPEN_SECS)  # and the room itself is given up
    await room.microphone.sounds(SOUND)
    assert room.states == [False, True]
    room.microphone.close()


@virtually
async def test_an_interrupted_sound_leaves_the_publishing_alone():
    room = Room()
    room.microphone.joined()
    room.microphone.avatar_is_here(True)
    await asyncio.sleep(1)
    sounding = asyncio.create_task(room.microphone.sounds(SOUND))
    await asyncio.sleep(0.05)
    sounding.cancel()
    await asyncio.sleep(0.1)
    assert room.states == [False, True]


@virtually
async def test_after_the_bot_has_left_nothing_is_asked_for():
    room = Room()
    room.microphone.joined()
    await room.microphone.sounds(SOUND)
    room.microphone.close()
    room.microphone.avatar_is_here(True)
    await room.microphone.sounds(SOUND)
    await asyncio.sleep(2 * QUIET_SECS)
    assert room.asked == []


@virtually
async def test_what_the_room_refuses_is_said_with_what_it_means():
    with quiet_log(level="WARNING") as warnings:
        room = Room(error="not allowed")
        room.microphone.joined()
        for is_here in (True, False):
            room.microphone.avatar_is_here(is_here)
            await asyncio.sleep(1)
        taken_back, published = warnings
    assert "not allowed" in taken_back
    assert "may not hear the avatar" in taken_back
    assert "nobody may hear what the bot says itself" in published
    assert 'microphone="always"' in published


@virtually
async def test_a_room_that_fails_ends_nothing_but_its_answer():
    class BrokenRoom(Room):
        async def publish(self, is_published: bool) -> str | None:
            await super().publish(is_published)
            raise RuntimeError("this object has already been released")

    with quiet_log(level="WARNING") as warnings:
        room = BrokenRoom()
        room.microphone.joined()
        room.microphone.avatar_is_here(True)
        await asyncio.sleep(0.05)
        await room.microphone.sounds(SOUND)
        await asyncio.sleep(0.5)
        assert room.states == [False, True]
        assert all("already been released" in line for line in warnings)
