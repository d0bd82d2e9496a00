"""Who listens to the avatar, to which one, and when it is subscribed."""

from __future__ import annotations

import asyncio

import pytest

from pipecat_agenthuman.pipeline.surroundings.ear import ANSWER_SECS, Ear
from tests.support.virtual_time import virtually


class Subscriptions:
    """What an ear asks of its room, which answers when it is told to.

    Attributes:
        asked: What was asked, in order.
        answers: Set while the room answers at once.
        raises: What the room raises instead of an answer.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answers = asyncio.Event()
        self.answers.set()
        self.raises: Exception | None = None
        self.ear = Ear(begin=self._begin, end=self._end)

    async def _begin(self, participant_id: str) -> None:
        self.asked.append(f"+{participant_id}")
        await self._answer()

    async def _end(self, participant_id: str) -> None:
        self.asked.append(f"-{participant_id}")
        await self._answer()

    async def _answer(self) -> None:
        if self.raises is not None:
            raise self.raises
        await self.answers.wait()


class Someone:
    """Somebody who listens."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self.silences = 0

    def hears(self, audio: bytes, at: float) -> None:
        self.heard.append(audio)

    def hears_nothing(self) -> None:
        self.silences += 1


@pytest.fixture
async def room() -> Subscriptions:
    return Subscriptions()


async def test_an_avatar_is_subscribed_only_while_somebody_listens(room):
    ear, ada, bob = room.ear, Someone(), Someone()
    await ear.avatar_joined("one")
    assert not room.asked
    await ear.listen(ada)
    await ear.listen(ada)
    await ear.listen(bob)
    assert room.asked == ["+one"]
    ear.take("one", b"hello", 1.0)
    await ear.rest(ada)
    assert (ada.heard, ada.silences) == ([b"hello"], 1)
    ear.take("one", b"again", 2.0)
    await ear.rest(bob)
    assert bob.heard == [b"hello", b"again"]
    assert room.asked == ["+one", "-one"]
    ear.take("one", b"late", 3.0)
    assert len(ada.heard) == 1


async def test_whoever_listens_hears_each_avatar_that_comes(room):
    ear, ada = room.ear, Someone()
    await ear.listen(ada)
    for avatar in ("one", "two"):
        await ear.avatar_joined(avatar)
        ear.take(avatar, avatar.encode(), 1.0)
        await ear.avatar_left(avatar)
    ear.take("two", b"late", 3.0)
    assert ada.heard == [b"one", b"two"]
    assert ada.silences == 2
    assert room.asked == ["+one", "+two"]  # who left is not sent any more by itself


async def test_of_two_avatars_none_is_heard(room):
    ear, ada = room.ear, Someone()
    await ear.listen(ada)
    await ear.avatar_joined("one")
    await ear.avatar_joined("two")
    ear.take("one", b"1", 1.0)
    ear.take("two", b"2", 1.0)
    assert not ada.heard
    await ear.avatar_left("one")
    ear.take("two", b"2", 2.0)
    assert ada.heard == [b"2"]
    assert room.asked == ["+one", "-one", "+two"]


async def test_an_avatar_is_expected_if_it_will_be_listened_to_as_soon_as_it_is_told(room):
    someone = Someone()
    assert not room.ear.expects("avatar")
    await room.ear.listen(someone)
    assert room.ear.expects("avatar")
    await room.ear.avatar_joined("another")
    assert not room.ear.expects("avatar")
    assert room.ear.expects("another")
    await room.ear.avatar_left("another")
    room.ear.close()
    assert not room.ear.expects("avatar")


async def test_what_is_wanted_may_change_while_the_room_answers(room):
    ear, ada = room.ear, Someone()
    await ear.avatar_joined("one")
    room.answers.clear()
    listening = asyncio.create_task(ear.listen(ada))
    await asyncio.sleep(0)
    resting = asyncio.create_task(ear.rest(ada))
    again = asyncio.create_task(ear.listen(ada))
    await asyncio.sleep(0)
    room.answers.set()
    await asyncio.gather(listening, resting, again)
    assert ear.heard == "one"
    await ear.rest(ada)
    assert ear.heard is None
    assert room.asked.count("+one") == room.asked.count("-one")


async def test_a_closed_ear_hears_nothing_and_asks_the_room_for_nothing(room):
    ear, ada = room.ear, Someone()
    await ear.avatar_joined("one")
    await ear.listen(ada)
    ear.close()
    ear.take("one", b"late", 1.0)
    await ear.rest(ada)
    await ear.listen(ada)
    await ear.avatar_joined("two")
    assert (ada.heard, ear.heard, room.asked) == ([], None, ["+one"])
    assert ada.silences


async def test_a_room_that_refuses_holds_up_nobody(room, log):
    ear, ada, refused = room.ear, Someone(), RuntimeError("not in a call")
    room.raises = refused
    await ear.listen(ada)
    await ear.avatar_joined("one")
    await ear.avatar_joined("two")
    await ear.avatar_left("two")
    await ear.rest(ada)
    assert room.asked == ["+one", "-one", "+one", "-one"]
    assert ear.heard is None
    assert len([line for line in log if "not in a call" in line]) == 4


async def test_a_room_that_refused_is_asked_again_when_somebody_asks_to_listen(room, log):
    ear, ada = room.ear, Someone()
    await ear.avatar_joined("one")
    room.raises = RuntimeError("not in a call")
    await ear.listen(ada)
    assert ear.heard is None
    room.raises = None
    await ear.listen(ada)
    ear.take("one", b"hello", 1.0)
    assert ada.heard == [b"hello"]
    assert room.asked == ["+one", "-one", "+one"]


async def test_whose_sound_breaks_is_told_of_once_and_not_listened_to_again(room, log):
    ear, ada = room.ear, Someone()
    await ear.avatar_joined("one")
    await ear.listen(ada)
    await asyncio.gather(*(ear.broke("one", RuntimeError("no decoder")) for _ in range(3)))
    assert (ear.heard, ada.silences, ear.expects("one")) == (None, 1, False)
    await ear.rest(ada)
    await ear.listen(ada)
    await ear.avatar_joined("one")
    assert room.asked == ["+one", "-one"]
    (line,) = [line for line in log if line.startswith("WARNING")]
    assert "no decoder" in line
    assert "its latency stays as it is" in line

    await ear.avatar_left("one")
    await ear.avatar_joined("two")
    await ear.broke("one", RuntimeError("gone by"))
    ear.take("two", b"hello", 1.0)
    assert ada.heard == [b"hello"]
    assert room.asked == ["+one", "-one", "+two"]
    assert not [line for line in log if "gone by" in line]


@virtually
async def test_a_room_that_never_answers_does_not_hide_that_the_avatar_left():
    room, ada = Subscriptions(), Someone()
    room.answers.clear()
    await room.ear.avatar_joined("one")
    listening = asyncio.create_task(room.ear.listen(ada))
    await asyncio.sleep(0)
    async with asyncio.timeout(ANSWER_SECS + 1.0):
        await room.ear.avatar_left("one")
    await listening
    assert room.ear.heard is None
