"""Who is measured, and how much of each: only the network's end is another than in a call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, Final

from pipecat.frames.frames import Frame, InterruptionFrame, UserStartedSpeakingFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from benchmarks.stage.breakage import Breakage
from benchmarks.stage.far_end import RENDER_LATENCY_SECS, Place

Made = AbstractAsyncContextManager[FrameProcessor]


@dataclass(frozen=True)
class Subject:
    """A processor that takes the speech of a bot.

    Attributes:
        name: As it is called on the command line and in figures.
        title: As it is called in tables.
        dialect: What it speaks over the wire; None if it speaks to nobody.
        made: Makes one that speaks to a place.
        included: How much of it runs here.
        interruption: What it takes for one; it follows it before anything else.
        module: What must be installed.
    """

    name: str
    title: str
    dialect: str | None
    made: Callable[[Any], Made]
    included: str
    interruption: Callable[[], Frame] = InterruptionFrame
    module: str | None = None

    @property
    def is_here(self) -> bool:
        return self.module is None or find_spec(self.module) is not None


class _Identity(FrameProcessor):
    """Hands on everything: the transport plays the speech."""

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        await self.push_frame(frame, direction)


@asynccontextmanager
async def _identity(_: Place) -> AsyncIterator[FrameProcessor]:
    yield _Identity()


def _agenthuman(**options: Any) -> Callable[[Place], Made]:
    @asynccontextmanager
    async def made(place: Place) -> AsyncIterator[FrameProcessor]:
        from pipecat_agenthuman import AgentHumanVideoService, DailyRoom

        settings = {"avatar": "avat_demo", "avatar_latency_secs": RENDER_LATENCY_SECS}
        yield AgentHumanVideoService(
            api_key=place.api_key,
            room=DailyRoom("https://example.daily.co/room", "token-of-the-avatar"),
            api_url=place.api_url,
            ws_url=place.ws_url,
            settings=AgentHumanVideoService.Settings(**(settings | options.get("settings", {}))),
            **{name: value for name, value in options.items() if name != "settings"},
        )

    return made


def _peer(name: str) -> Callable[[Place], Made]:
    def made(place: Place) -> Made:
        from benchmarks.stage import peers

        return getattr(peers, name)(place)

    return made


IDENTITY: Final = "identity"
OURS: Final = "agenthuman"

SUBJECTS: Final = {
    subject.name: subject
    for subject in (
        Subject(
            IDENTITY,
            "no avatar",
            None,
            _identity,
            "A processor that hands on every frame. The output transport plays the speech, as in "
            "a bot without an avatar.",
        ),
        Subject(
            OURS,
            "Agent Human",
            "agenthuman",
            _agenthuman(),
            "All of this package: session, WebSocket, clock, words. The sandbox is the service.",
        ),
        Subject(
            "agenthuman-2",
            "Agent Human, `max_unconfirmed=2`",
            "agenthuman",
            _agenthuman(max_unconfirmed=2),
            "The same, with two messages under way at a time.",
        ),
        Subject(
            "heygen",
            "HeyGen",
            "heygen",
            _peer("heygen"),
            "Pipecat's `HeyGenVideoService` and its client. Creating a session and the LiveKit "
            "room are replaced; its WebSocket leads to a server that takes notes. Receiving "
            "the avatar's picture and sound, which a call costs on top, is not included.",
            interruption=UserStartedSpeakingFrame,
            module="livekit",
        ),
        Subject(
            "tavus",
            "Tavus",
            "tavus",
            _peer("tavus"),
            "Pipecat's `TavusVideoService` and its client. Creating a conversation and the Daily "
            "client beneath are replaced; an app message goes through a WebSocket instead. "
            "Receiving picture and sound is not included.",
            module="daily",
        ),
        Subject(
            "simli",
            "Simli",
            "simli",
            _peer("simli"),
            "Pipecat's `SimliVideoService` and Simli's own client. Its connection is replaced: "
            "the WebSocket leads to a server that takes notes, WebRTC is left out. Receiving "
            "picture and sound is not included.",
            module="simli",
        ),
    )
}


def broken_subject(subject: Subject, broken: Breakage) -> Subject:
    """The same with other arguments, if there are any: only ours can be broken in that way."""
    if not broken.options:
        return subject
    assert subject.name == OURS, subject.name
    return replace(subject, made=_agenthuman(**broken.options))
