"""Who comes and goes in a room, in every order: the same scenes in a Daily and in a LiveKit room.

The Daily room is a stand-in, the LiveKit room one on loopback with the real client.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from itertools import combinations, permutations
from operator import itemgetter
from typing import Any

import pytest
from pipecat.frames.frames import ClientConnectedFrame

from pipecat_agenthuman.frames import (
    AgentHumanAvatarJoinedFrame,
    AgentHumanAvatarLeftFrame,
    AgentHumanPersonsFrame,
)
from tests.support.stages import AVATAR, Guest, Stage, opened_stage


@pytest.fixture(params=["daily", "livekit"])
async def stage(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    if request.param == "livekit":
        pytest.importorskip("livekit.rtc", reason="the extra [livekit] is not installed")
        pytest.importorskip("livekit.protocol", reason="livekit-protocol is not installed")
        pytest.importorskip("aiortc", reason="aiortc, for tests, is not installed")
    async with opened_stage(request.param, monkeypatch) as stage:
        yield stage


def orders() -> Iterator[tuple[str, ...]]:
    """Everybody joins in every order; the avatar, the person, or both may not have come yet."""
    for others in range(3):
        for chosen in combinations((AVATAR, "ada"), others):
            yield from permutations(("bot", *chosen))


WALK: tuple[str, ...] = (
    *("renewal", "ada", "avatar", "ada", "avatar", "avatar", "ada", "renewal", "ada", "renewal"),
    *("avatar", "bob", "ada", "avatar", "renewal", "bob", "ada", "avatar", "avatar", "ada"),
)
"""Who is there leaves, who is not there comes. A renewal replaces the avatar if there is one."""


@dataclass
class Scene:
    """A scene as it is played, and what the bot must notice of it."""

    stage: Stage
    has_begun: bool = False
    present: list[Guest] = field(default_factory=list)
    of_avatars: list[tuple[str, str]] = field(default_factory=list)
    of_persons: list[tuple[str, str]] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    firsts: int = 0

    def begin(self) -> None:
        """The bot joins; it notices who is there."""
        self.has_begun = True
        there, self.present = self.present, []
        for guest in there:
            self._note_joining(guest)

    def play(self, step: str) -> None:
        if step == "renewal":
            former = self._find(AVATAR)
            if former and not self.stage.renewal_overlaps:
                self._note_leaving(former)  # put out by the next one
                former = None
            self._note_joining(self.stage.enter(AVATAR))
            if former:
                self._leave(former)
        elif guest := self._find(step):
            self._leave(guest)
        else:
            self._note_joining(self.stage.enter(step))

    @property
    def persons(self) -> list[Guest]:
        return [guest for guest in self.present if guest.name != AVATAR]

    def _find(self, name: str) -> Guest | None:
        return next((guest for guest in self.present if guest.name == name), None)

    def _leave(self, guest: Guest) -> None:
        guest.participant.leave()
        self._note_leaving(guest)

    def _note_joining(self, guest: Guest) -> None:
        is_first = not self.persons and (self.stage.first_again or not self.firsts)
        self.present.append(guest)
        if not self.has_begun:
            return
        if guest.name == AVATAR:
            self.of_avatars.append(("joined", guest.joining))
            return
        self.of_persons.append(("on_client_connected", guest.called))
        self.counts.append(len(self.persons))
        self.firsts += is_first

    def _note_leaving(self, guest: Guest) -> None:
        self.present.remove(guest)
        if not self.has_begun:
            return
        if guest.name == AVATAR:
            self.of_avatars.append(("left", guest.joining))
        else:
            self.of_persons.append(("on_client_disconnected", guest.called))
            self.counts.append(len(self.persons))

    def check(self, bot: Any) -> None:
        """Compare with what the bot has noticed so far, in order."""
        assert self._told_of_avatars(bot) == self.of_avatars
        assert self._counted(bot) == self.counts
        self._check_events(bot)

    def check_roughly(self, bot: Any) -> None:
        """Compare where more happened than the bot had time for: each avatar by itself.

        Whoever is not in the room's list any more has left, so some leave a little early.
        """
        by_joining = itemgetter(1)
        told = sorted(self._told_of_avatars(bot), key=by_joining)
        assert told == sorted(self.of_avatars, key=by_joining)
        assert self._counted(bot)[-1:] == self.counts[-1:]
        self._check_events(bot)

    @staticmethod
    def _told_of_avatars(bot: Any) -> list[tuple[str, str]]:
        told = bot.recorder.of(AgentHumanAvatarJoinedFrame, AgentHumanAvatarLeftFrame)
        words = {AgentHumanAvatarJoinedFrame: "joined", AgentHumanAvatarLeftFrame: "left"}
        return [(words[type(frame)], frame.participant_id) for frame in told]

    @staticmethod
    def _counted(bot: Any) -> list[int]:
        return [frame.persons for frame in bot.frames(AgentHumanPersonsFrame)]

    def _check_events(self, bot: Any) -> None:
        events = {"on_client_connected", "on_client_disconnected"}
        assert [event for event in bot.events if event[0] in events] == self.of_persons
        connected = [name for name, _ in self.of_persons if name == "on_client_connected"]
        assert len(bot.frames(ClientConnectedFrame)) == len(connected)
        names = [name for name, _ in bot.events]
        assert names.count("on_first_participant_joined") == self.firsts
        for word, event in (("joined", "connected"), ("left", "disconnected")):
            told = [one for one, _ in self.of_avatars if one == word]
            assert names.count(f"on_avatar_{event}") == len(told)
        assert set(bot.transport.persons()) == {guest.called for guest in self.persons}


@pytest.mark.parametrize("at_once", [False, True], ids=["one by one", "all at once"])
@pytest.mark.parametrize("order", list(orders()), ids=" ".join)
async def test_everybody_who_comes_and_goes_is_taken_for_what_they_are(
    stage: Stage, order: tuple[str, ...], at_once: bool
) -> None:
    scene = Scene(stage)
    joining = order.index("bot")
    for step in order[:joining]:
        scene.play(step)
    scene.begin()
    async with stage.bot() as bot:
        scene.check(bot)
        for step in [*order[joining + 1 :], *WALK]:
            scene.play(step)
            if not at_once:
                await bot.settle()
                scene.check(bot)
        await bot.settle()
        scene.check_roughly(bot)
        assert AVATAR not in await stage.heard_by(bot, scene.present)
        for guest in scene.present:
            if guest.name == AVATAR:
                await stage.receives_nothing_of(bot, guest)
