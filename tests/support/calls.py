"""The rig for a call: a real pipeline with recorders in it, and an avatar in a sandbox.

Almost every test that runs a pipeline runs this one. It is fed with frames, at best with
numbered samples (``sounds.py``), and tells what came by where, and who said what.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    ErrorFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    StartFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.observers.base_observer import BaseObserver
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies

from pipecat_agenthuman import (
    AgentHumanConnectedFrame,
    AgentHumanErrorFrame,
    AgentHumanVideoService,
    DailyRoom,
)
from pipecat_agenthuman.pipeline.frame_traits import StandInAudioFrame, speech_frame
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.faults import QUICK_RENEWAL, SHORT_LIMITS
from tests.support.pipelines import Recorder, SoundCard, running
from tests.support.sounds import RATE, Counts, counted, numbered
from tests.support.waiting import LIMIT_SECS, until

LATENCY_SECS: Final = 0.1
"""From a confirmation to its sound, in the sandbox and in the service's settings."""

CUT_SECS: Final = 0.35
"""How far the moments of the cut may lie apart on a busy machine: in the room, and as the
service sees it. What is heard twice, or not at all, is at most that."""

PIECE_SECS: Final = 0.04
"""In which a TTS service that delivers in real time hands over its speech."""

ROOM_TOKEN: Final = "room-token-that-nobody-may-see"
ROOM: Final = DailyRoom("https://example.daily.co/room", ROOM_TOKEN)

_TOLD: Final = ("on_connected", "on_disconnected", "on_avatar_error", "on_avatar_ready")


def avatars(**options: Any) -> Sandbox:
    """A sandbox whose avatars speak with the latency that ``avatar_in`` tells the service."""
    return Sandbox(**{"render_latency_secs": LATENCY_SECS, **options})


def avatar_in(sandbox: Sandbox, **options: Any) -> AgentHumanVideoService:
    """A service whose avatar speaks in a sandbox; ``settings`` may hold more of them."""
    settings = {"avatar": "avat_demo", "avatar_latency_secs": LATENCY_SECS}
    settings |= options.pop("settings", {})
    if "credentials" not in options:
        options = {"room": ROOM, "api_key": sandbox.api_key, "api_url": sandbox.api_url} | options
    return AgentHumanVideoService(
        settings=AgentHumanVideoService.Settings(**settings),
        **({"ws_url": sandbox.ws_url} | options),
    )


@dataclass
class Call:
    """A pipeline under way.

    Attributes:
        worker: Runs it.
        ending: The task that ends with it.
        avatar: The service, or None if the transport plays.
        sandbox: Where the avatar is, if that was told.
        above: Records in front of the first processor.
        between: Records what the service hands to the transport.
        behind: Records behind the transport.
        transport: Plays what it is given.
        context: What the assistant has said, as the LLM will see it.
        ready: How often the avatar became ready.
        said: How many numbered samples were said.
        news: What the event handlers were told.
    """

    worker: PipelineWorker
    ending: asyncio.Task[None]
    avatar: AgentHumanVideoService | None
    sandbox: Sandbox | None
    above: Recorder
    between: Recorder
    behind: Recorder
    transport: SoundCard
    context: LLMContext
    ready: int = 0
    said: int = 0
    news: list[str] = field(default_factory=list)

    # --- doing ---

    async def feed(self, *frames: Frame) -> None:
        await self.worker.queue_frames(frames)

    async def say(
        self, secs: float, *, real_time: bool = False, interruptible: bool = True
    ) -> range:
        """Say an utterance of numbered samples; returns the numbers."""
        said = range(self.said, self.said + round(secs * RATE))
        self.said = said.stop
        await self.feed(TTSStartedFrame())
        for start in range(said.start, said.stop, round(PIECE_SECS * RATE)):
            numbers = range(start, min(start + round(PIECE_SECS * RATE), said.stop))
            await self.feed(speech_frame(numbered(numbers), RATE, interruptible=interruptible))
            if real_time:
                await asyncio.sleep(PIECE_SECS)
        await self.feed(TTSTextFrame(f"words {said.start}", "sentence"), TTSStoppedFrame())
        return said

    async def turn(self, *texts: str) -> None:
        """Feed what an LLM answers."""
        words = [LLMTextFrame(text) for text in texts]
        await self.feed(LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame())

    async def interrupt(self) -> None:
        await self.feed(InterruptionFrame())

    async def end(self) -> None:
        await self.feed(EndFrame())

    # --- waiting ---

    async def until_ready(self, nth: int = 1) -> None:
        """Wait until the avatar became ready for the nth time."""
        await until(lambda: self.ready >= nth)

    async def until_over(self) -> None:
        """Wait until the pipeline has ended."""
        async with asyncio.timeout(LIMIT_SECS):
            await asyncio.shield(self.ending)

    async def spoken(self, times: int = 1) -> None:
        """Wait until so many stretches of speech have ended, whoever spoke."""
        await until(lambda: self.speaking(self.above, upstream=True).count("stop") >= times)

    async def started(self, nth: int = 1) -> float:
        """Wait for the nth start of speech behind the transport; returns when it came."""
        return (await self.behind.saw(BotStartedSpeakingFrame, nth)).at

    async def stopped(self, nth: int = 1) -> float:
        """Wait for the nth end of speech behind the transport; returns when it came."""
        return (await self.behind.saw(BotStoppedSpeakingFrame, nth)).at

    async def heard_for(self, secs: float, nth: int = 1) -> None:
        """Wait until so much of the nth speech was heard."""
        await asyncio.sleep(await self.started(nth) + secs - time.monotonic())

    # --- looking ---

    @property
    def session_id(self) -> str:
        """The session that was up first."""
        return self.behind.of(AgentHumanConnectedFrame)[0].session_id

    def heard_of_avatar(self) -> Counts:
        """How often each sample that was said was heard of the avatars in the sandbox."""
        assert self.sandbox is not None, "this call was not told where its avatar is"
        return counted(self.sandbox.heard().audio, self.said)

    def given_to_transport(self) -> Counts:
        """How often each sample that was said was given to the transport."""
        frames = self.between.of(TTSAudioRawFrame, StandInAudioFrame)
        return counted(b"".join(frame.audio for frame in frames), self.said)

    @property
    def error_frames(self) -> list[AgentHumanErrorFrame]:
        return self.between.of(AgentHumanErrorFrame)

    @property
    def reported(self) -> list[ErrorFrame]:
        """What went upstream as an error."""
        return self.above.of(ErrorFrame, upstream=True)

    @property
    def recorders(self) -> tuple[Recorder, Recorder, Recorder]:
        return self.above, self.between, self.behind

    def bot_speech(self) -> list[tuple[float, float]]:
        """When speech started and stopped, as it was seen behind the transport."""
        starts = self.behind.seen(BotStartedSpeakingFrame)
        stops = self.behind.seen(BotStoppedSpeakingFrame)
        return [(start.at, stop.at) for start, stop in zip(starts, stops, strict=False)]

    def speaking(self, recorder: Recorder, *, upstream: bool) -> list[str]:
        """The beginnings and ends of speech that came by, as "start" and "stop"."""
        frames = recorder.of(BotStartedSpeakingFrame, BotStoppedSpeakingFrame, upstream=upstream)
        return ["start" if isinstance(f, BotStartedSpeakingFrame) else "stop" for f in frames]

    def unpaired(self) -> bool:
        """Whether starts and stops of speech do not alternate, seen from either end."""
        views = (
            self.speaking(self.above, upstream=True),
            self.speaking(self.behind, upstream=False),
        )
        return any(seen != ["start", "stop"] * (len(seen) // 2) or len(seen) % 2 for seen in views)


@asynccontextmanager
async def staged(
    *parts: FrameProcessor,
    avatar: AgentHumanVideoService | None = None,
    sandbox: Sandbox | None = None,
    before_output: tuple[FrameProcessor, ...] = (),
    transport: SoundCard | None = None,
    audio_out_enabled: bool = True,
    until_ready: bool = True,
    rate: int = 24_000,
    enable_rtvi: bool = False,
    observers: Sequence[BaseObserver] = (),
) -> AsyncIterator[Call]:
    """Run a pipeline while the context lasts; it must have ended by then, or it is cancelled.

    Args:
        parts: What stands before the avatar, for example a TTS service.
        avatar: The service, or None if the transport is to play.
        sandbox: Where the avatar is.
        before_output: What else stands between the avatar and the transport.
        transport: The transport, if it is to be a certain one.
        audio_out_enabled: Whether the transport plays audio.
        until_ready: Whether to wait for the avatar.
        rate: Samples a second of the transport.
        enable_rtvi: Whether web clients are told what happens.
        observers: Who else looks at the frames.
    """
    above, between, behind = Recorder("above"), Recorder("between"), Recorder("behind")
    transport = transport or SoundCard(audio_out_enabled=audio_out_enabled)
    context = LLMContext()
    # There is no user, and the default strategies load a model to listen to one.
    silent_user = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    assistant = LLMContextAggregatorPair(context, user_params=silent_user).assistant()
    front = (above, *parts, *(() if avatar is None else (avatar,)))
    back = (between, *before_output, transport, behind, assistant)
    options = {"rate": rate, "enable_rtvi": enable_rtvi, "observers": list(observers)}
    async with running(*front, *back, **options) as (worker, ending):
        call = Call(worker, ending, avatar, sandbox, above, between, behind, transport, context)
        if avatar is not None:
            _watch(call, avatar)
        await behind.saw(StartFrame)
        if avatar is not None and until_ready:
            await call.until_ready()
        yield call
        await call.until_over()


def calling(
    sandbox: Sandbox, *parts: FrameProcessor, **options: Any
) -> AbstractAsyncContextManager[Call]:
    """Run a call with an avatar in a sandbox that finds out soon what is wrong.

    Args:
        sandbox: Where the avatar is.
        parts: What stands before it.
        options: As for ``staged`` and ``avatar_in``.
    """
    # Numbered samples must not be resampled.
    shape = {"rate": RATE} | {name: options.pop(name) for name in _SHAPE & options.keys()}
    quick = {"limits": SHORT_LIMITS, "renewal": QUICK_RENEWAL}
    avatar = avatar_in(sandbox, **(quick | options))
    return staged(*parts, avatar=avatar, sandbox=sandbox, **shape)


_SHAPE = {"before_output", "transport", "audio_out_enabled", "until_ready", "rate", "enable_rtvi"}


def _watch(call: Call, avatar: AgentHumanVideoService) -> None:
    """Note what the avatar's event handlers are told."""

    def note(name: str) -> None:
        async def handler(_: object, *arguments: object) -> None:
            call.news.append(" ".join([name, *map(str, arguments)]))
            call.ready += name == "on_avatar_ready"

        avatar.add_event_handler(name, handler)

    for name in _TOLD:
        note(name)
