"""When tracks of a room are asked for, with a room that never answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import pytest

from pipecat_agenthuman.pipeline.surroundings.subscriptions import Subscriptions
from tests.support import virtual_time

Scene = Callable[["Room"], Awaitable[None]]


@dataclass(eq=False)
class Voice:
    """What somebody publishes."""

    sid: str = "voice"
    track: object | None = None
    wishes: list[tuple[float, bool]] = field(default_factory=list)

    def set_subscribed(self, subscribed: bool) -> None:
        now = asyncio.get_running_loop().time() - virtual_time.STARTS_AT
        self.wishes.append((round(now, 2), subscribed))


class Room:
    """Who is listened to in a room."""

    def __init__(self) -> None:
        self.voice = Voice()
        self.is_there = True
        self.sounds = asyncio.Event()
        self.listening: list[str] = []
        self.breaks: Exception | None = None
        self.breaks_at_end: Exception | None = None
        self.broken: list[tuple[str, Exception]] = []
        self.subscriptions = Subscriptions[Voice](
            listen=self._listen, is_wanted=lambda *_: self.is_there, broke=self._broke
        )

    async def _listen(self, voice: Voice, speaker: str, heard: Callable[[], None]) -> None:
        self.listening.append(speaker)
        try:
            while True:
                await self.sounds.wait()
                heard()
                await asyncio.sleep(0.01)
                if self.breaks is not None:
                    raise self.breaks
        finally:
            self.listening.remove(speaker)
            if self.breaks_at_end is not None:
                raise self.breaks_at_end

    async def _broke(self, speaker: str, error: Exception) -> None:
        self.broken.append((speaker, error))
        self.subscriptions.decline(self.voice)  # as an ear does
        await asyncio.sleep(0)
        self.broken.append((speaker, error))

    async def __aenter__(self) -> Room:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.subscriptions.close()
        assert not self.listening


def play(scene: Scene) -> None:
    async def run() -> None:
        async with Room() as room:
            await scene(room)

    virtual_time.run(run)


def test_a_track_that_does_not_come_is_asked_for_again_and_again():
    async def scene(room: Room) -> None:
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(10)
        assert room.voice.wishes == [(0.0, True), (1.0, True), (3.0, True), (7.0, True)]
        assert not room.listening

    play(scene)


def test_a_track_that_is_here_is_listened_to_and_asked_for_once():
    async def scene(room: Room) -> None:
        room.voice.track = object()
        room.sounds.set()
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(10)
        assert room.voice.wishes == [(0.0, True)]
        assert room.listening == ["avatar"]

    play(scene)


def test_a_track_that_is_here_and_silent_is_asked_for_until_it_is_heard():
    async def scene(room: Room) -> None:
        room.voice.track = object()
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(2)
        room.sounds.set()
        await asyncio.sleep(10)
        assert room.voice.wishes == [(0.0, True), (1.0, True)]
        assert room.listening == ["avatar"]

    play(scene)


def test_what_was_heard_before_a_track_was_asked_for_says_nothing():
    async def scene(room: Room) -> None:
        room.voice.track = object()
        room.sounds.set()
        room.subscriptions.decline(room.voice)
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(0.5)
        room.sounds.clear()
        await asyncio.sleep(3)
        assert room.voice.wishes == [(0.0, False), (1.0, True), (2.0, True)]

    play(scene)


@pytest.mark.parametrize("track", [None, object()], ids=["away", "here"])
def test_between_declining_a_track_and_asking_for_it_there_is_time(track: object):
    async def scene(room: Room) -> None:
        room.voice.track = track
        room.subscriptions.decline(room.voice)
        await asyncio.sleep(0.4)
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(0.8)
        assert room.voice.wishes == [(0.0, False), (1.0, True)]
        assert room.listening == ([] if track is None else ["avatar"])

    play(scene)


@pytest.mark.parametrize("how", ["end", "decline", "close"])
def test_what_has_ended_is_neither_listened_to_nor_asked_for(how: str):
    async def scene(room: Room) -> None:
        other = Voice("other", track=object())
        room.subscriptions.begin(room.voice, "avatar")
        room.subscriptions.begin(other, "other")
        await asyncio.sleep(0.5)
        for voice in (room.voice, other):
            match how:
                case "end":
                    room.subscriptions.end(voice.sid)
                case "decline":
                    room.subscriptions.decline(voice)
                case _:
                    await room.subscriptions.close()
        await asyncio.sleep(10)
        assert not room.listening
        assert [wish for _, wish in room.voice.wishes if wish] == [True]

    play(scene)


def test_a_track_that_cannot_come_any_more_is_let_go():
    async def scene(room: Room) -> None:
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(0.5)
        room.is_there = False
        await asyncio.sleep(10)
        assert room.voice.wishes == [(0.0, True)]
        assert not room.subscriptions._tasks

    play(scene)


def test_what_is_raised_while_a_track_is_listened_to_is_told_and_nothing_goes_on():
    async def scene(room: Room) -> None:
        room.voice.track = object()
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(0.5)
        room.breaks = RuntimeError("no decoder")
        room.sounds.set()
        await asyncio.sleep(10)
        assert room.broken == [("avatar", room.breaks)] * 2  # the second behind declining it
        assert room.voice.wishes == [(0.0, True), (0.51, False)]
        assert not room.listening
        assert not room.subscriptions._tasks

    play(scene)


def test_what_is_raised_of_a_track_that_nobody_wants_any_more_is_no_news():
    async def scene(room: Room) -> None:
        room.voice.track = object()
        room.breaks_at_end = RuntimeError("no stream to close")
        room.subscriptions.begin(room.voice, "avatar")
        await asyncio.sleep(0.5)
        room.subscriptions.end(room.voice.sid)
        await asyncio.sleep(1)
        assert not room.listening
        assert not room.broken

    play(scene)
