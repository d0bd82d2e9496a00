"""Two pipelines on one stage: the transport plays the speech, or the avatar does.

Both are fed with the same script. What arrives behind the output, what goes up past the TTS
service and what stands in the context in the end can then be compared.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import pytest
from loguru import logger
from pipecat.frames.frames import (
    AudioRawFrame,
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    LLMTextFrame,
    MetricsFrame,
    OutputAudioRawFrame,
    StartFrame,
)
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams
from pipecat.turns.user_turn_strategies import ExternalUserTurnStrategies
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import (
    AgentHumanConnectedFrame,
    AgentHumanServerEventFrame,
    AgentHumanVideoService,
    DailyRoom,
)
from pipecat_agenthuman.sandbox import Sandbox

LIMIT_SECS = 20.0
"""No wait takes a tenth of it; it turns a hang into a failure."""

LATENCY_SECS = 0.1
"""From a confirmation to its sound, in the sandbox and in the service's settings."""

ROOM = DailyRoom("https://example.daily.co/room", "room-token")

BOT_FRAMES = (BotStartedSpeakingFrame, BotSpeakingFrame, BotStoppedSpeakingFrame)

Script = Callable[["Stage"], Awaitable[None]]
"""What happens on a stage, from its being ready to its end."""


# --- the parts of a pipeline -----------------------------------------------------------


_IN_A_ROW_SECS = 0.1
"""Writes that follow each other like this are one sound, however late a busy machine wakes."""


class SoundCard(BaseOutputTransport):
    """An output transport that plays in real time: a write returns when its sound is over."""

    def __init__(self, *, audio_out_enabled: bool = True) -> None:
        super().__init__(
            TransportParams(audio_out_enabled=audio_out_enabled, audio_out_end_silence_secs=0)
        )
        self.audio = b""
        self._plays_until = 0.0
        self._returned_at = 0.0

    async def start(self, frame: StartFrame) -> None:
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        secs = len(frame.audio) / (2 * frame.num_channels * frame.sample_rate)
        now = time.monotonic()
        if now - self._returned_at > _IN_A_ROW_SECS:
            self._plays_until = max(self._plays_until, now)
        self._plays_until += secs
        self.audio += frame.audio
        await asyncio.sleep(self._plays_until - now)
        self._returned_at = time.monotonic()
        return True


@dataclass(frozen=True)
class Sighting:
    """A frame, when it came by, and in which direction."""

    frame: Frame
    at: float
    upstream: bool

    @property
    def words(self) -> str:
        """The frame in a word, or a few if it carries text."""
        text = getattr(self.frame, "text", None)
        name = type(self.frame).__name__
        return name if text is None else f"{name} {text!r}"


class Recorder(FrameProcessor):
    """Keeps what comes by."""

    def __init__(self, name: str) -> None:
        super().__init__(name=name)
        self.sightings: list[Sighting] = []
        self._news = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        upstream = direction is FrameDirection.UPSTREAM
        self.sightings.append(Sighting(frame, time.monotonic(), upstream))
        self._news.set()
        await self.push_frame(frame, direction)

    def of(self, *kinds: type[Frame], upstream: bool = False) -> list[Sighting]:
        return [
            sighting
            for sighting in self.sightings
            if isinstance(sighting.frame, kinds) and sighting.upstream is upstream
        ]

    async def saw(
        self, kind: type[Frame], nth: int = 1, *, limit_secs: float = LIMIT_SECS
    ) -> Sighting:
        """Wait until a kind of frame came down, and return the nth of it."""
        async with asyncio.timeout(limit_secs):
            while len(self.of(kind)) < nth:
                self._news.clear()
                await self._news.wait()
        return self.of(kind)[nth - 1]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keep Pipecat from taking the scenes' time: lines at DEBUG, and libraries that it loads
    (and data that it may try to download) in the background of every pipeline."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipecat.pipeline.worker.warm_deferred_imports", lambda: None, raising=False)
        logger.disable("pipecat")
        yield
        logger.enable("pipecat")


# --- a pipeline under way --------------------------------------------------------------


@dataclass
class Stage:
    """A pipeline under way, and what can be done to it.

    ``above`` records in front of the first processor, ``behind`` behind the output.
    """

    worker: PipelineWorker
    above: Recorder
    behind: Recorder
    output: SoundCard
    context: LLMContext
    avatar: AgentHumanVideoService | None = None

    @property
    def session_id(self) -> str:
        """The session that was up first."""
        return self.behind.of(AgentHumanConnectedFrame)[0].frame.session_id

    async def feed(self, *frames: Frame) -> None:
        await self.worker.queue_frames(frames)

    async def turn(self, *texts: str) -> None:
        """Feed what an LLM answers."""
        words = [LLMTextFrame(text) for text in texts]
        await self.feed(LLMFullResponseStartFrame(), *words, LLMFullResponseEndFrame())

    async def interrupt(self) -> None:
        await self.feed(InterruptionFrame())

    async def end(self) -> None:
        await self.feed(EndFrame())

    async def started(self, nth: int = 1) -> float:
        """Wait for the nth start of speech; returns when it was seen."""
        return (await self.behind.saw(BotStartedSpeakingFrame, nth)).at

    async def stopped(self, nth: int = 1, *, limit_secs: float = LIMIT_SECS) -> float:
        """Wait for the nth end of speech; returns when it was seen."""
        return (await self.behind.saw(BotStoppedSpeakingFrame, nth, limit_secs=limit_secs)).at

    def bot_speech(self) -> list[tuple[float, float]]:
        """When speech started and stopped, as it was seen behind the output."""
        starts = self.behind.of(BotStartedSpeakingFrame)
        stops = self.behind.of(BotStoppedSpeakingFrame)
        return [(start.at, stop.at) for start, stop in zip(starts, stops, strict=False)]

    async def heard_for(self, secs: float, nth: int = 1) -> None:
        """Wait until so much of the nth speech was heard."""
        await asyncio.sleep(await self.started(nth) + secs - time.monotonic())


@dataclass(frozen=True)
class Performance:
    """What a script led to.

    Attributes:
        behind: Frames behind the output in order, without sound and what only we have.
        above: Bot speaking frames that went up past the first processor, in order.
        signs: How often ``BotSpeakingFrame`` came down and went up.
        speaking_secs: How long it spoke.
        messages: What stands in the context.
        played: Whether the transport played anything.
        timeline: The frames of ``behind``, and seconds since speech first started.
    """

    behind: list[str]
    above: list[str]
    signs: tuple[int, int]
    speaking_secs: float
    messages: list[Any]
    played: bool
    timeline: list[tuple[str, float]] = field(repr=False)


def performance(stage: Stage) -> Performance:
    """Sum up what was recorded."""
    shown = [
        sighting
        for sighting in stage.behind.sightings
        if not sighting.upstream
        and not isinstance(
            sighting.frame,
            AudioRawFrame | MetricsFrame | AgentHumanServerEventFrame | BotSpeakingFrame,
        )
    ]
    starts = stage.behind.of(BotStartedSpeakingFrame)
    first = starts[0].at if starts else 0.0
    above = stage.above.of(BotStartedSpeakingFrame, BotStoppedSpeakingFrame, upstream=True)
    return Performance(
        behind=[sighting.words for sighting in shown],
        above=[sighting.words for sighting in above],
        signs=(
            len(stage.behind.of(BotSpeakingFrame)),
            len(stage.above.of(BotSpeakingFrame, upstream=True)),
        ),
        speaking_secs=sum(stopped - started for started, stopped in stage.bot_speech()),
        messages=list(stage.context.messages),
        played=bool(stage.output.audio),
        timeline=[(sighting.words, round(sighting.at - first, 3)) for sighting in shown],
    )


def avatar_in(sandbox: Sandbox, **options: Any) -> AgentHumanVideoService:
    """A service whose avatar speaks in a sandbox; ``settings`` may hold more of them."""
    settings = {"avatar": "avat_demo", "avatar_latency_secs": LATENCY_SECS}
    settings |= options.pop("settings", {})
    return AgentHumanVideoService(
        api_key=sandbox.api_key,
        api_url=sandbox.api_url,
        ws_url=sandbox.ws_url,
        room=ROOM,
        settings=AgentHumanVideoService.Settings(**settings),
        **options,
    )


@asynccontextmanager
async def staged(
    *parts: FrameProcessor,
    avatar: AgentHumanVideoService | None = None,
    before_output: tuple[FrameProcessor, ...] = (),
    audio_out_enabled: bool = True,
    until_ready: bool = True,
) -> AsyncIterator[Stage]:
    """Run a pipeline while the context lasts; it must have ended by then, or it is cancelled.

    Args:
        parts: What stands before the avatar, for one a TTS service.
        avatar: The service, or None if the transport is to play.
        before_output: What stands between the avatar and the output.
        audio_out_enabled: Whether the transport plays audio.
        until_ready: Whether to wait for the avatar.
    """
    above, behind = Recorder("above"), Recorder("behind")
    output = SoundCard(audio_out_enabled=audio_out_enabled)
    context = LLMContext()
    # There is no user, and the default strategies load a model to listen to one.
    silent_user = LLMUserAggregatorParams(user_turn_strategies=ExternalUserTurnStrategies())
    assistant = LLMContextAggregatorPair(context, user_params=silent_user).assistant()
    avatars = () if avatar is None else (avatar,)
    worker = PipelineWorker(
        Pipeline([above, *parts, *avatars, *before_output, output, behind, assistant]),
        params=PipelineParams(audio_out_sample_rate=24_000, enable_metrics=True),
        cancel_on_idle_timeout=False,
        enable_rtvi=False,
    )
    ready = asyncio.Event()
    if avatar is not None:
        avatar.add_event_handler("on_avatar_ready", lambda _: ready.set())
    runner = WorkerRunner(handle_sigint=False)
    await runner.add_workers(worker)
    running = asyncio.create_task(runner.run())
    try:
        await behind.saw(StartFrame)
        if avatar is not None and until_ready:
            async with asyncio.timeout(LIMIT_SECS):
                await ready.wait()
        yield Stage(worker, above, behind, output, context, avatar)
        async with asyncio.timeout(LIMIT_SECS):
            await running
    finally:
        if not running.done():
            await worker.cancel()
            await running


async def perform(script: Script, *parts: FrameProcessor, **options: Any) -> Performance:
    """Play a script to its end; it has to feed an ``EndFrame`` or the like."""
    async with staged(*parts, **options) as stage:
        await script(stage)
    return performance(stage)


# --- a busy machine --------------------------------------------------------------------

_BEAT_SECS = 0.005


@dataclass
class Stumbles:
    """When the event loop itself stood still: what came then says nothing about the service.

    Attributes:
        worth_secs: What counts as one.
        spans: From when to when, in seconds of ``time.monotonic``.
    """

    worth_secs: float
    spans: list[tuple[float, float]] = field(default_factory=list)

    async def watch(self) -> None:
        """Take note until cancelled."""
        while True:
            asleep_at = time.monotonic()
            await asyncio.sleep(_BEAT_SECS)
            awake_at = time.monotonic()
            if awake_at - asleep_at - _BEAT_SECS > self.worth_secs:
                self.spans.append((asleep_at, awake_at))

    def between(self, one: float, other: float) -> bool:
        """Whether there was one between two moments, or about them."""
        first, last = min(one, other) - _BEAT_SECS, max(one, other) + _BEAT_SECS
        return any(begun < last and first < over for begun, over in self.spans)

    @property
    def worst_secs(self) -> float:
        """The longest."""
        return max((over - begun for begun, over in self.spans), default=0.0)


class WrongTimeError(AssertionError):
    """Something came too early or too late, or the machine stumbled meanwhile."""


def assert_time(came: float, wanted: float, tolerance_secs: float, what: str) -> None:
    """Assert that something came when it should.

    Raises:
        WrongTimeError: If it did not.
    """
    if abs(came - wanted) > tolerance_secs:
        raise WrongTimeError(f"{what} came {came - wanted:+.3f} s from when it should")


# --- many scenes at a time -------------------------------------------------------------

SCENES_AT_A_TIME = 10
"""Not all at once: to begin is work, and they share a processor with the sandbox."""

REPETITIONS = 4
"""How often a scene may be played again, alone, because of the time or a stumble. What is said,
and in which order, does not depend on the machine: there is no second chance for that."""

STUMBLE_SECS = 0.1
_CALM_LIMIT_SECS = 10.0

T = TypeVar("T")
Play = Callable[[Stumbles], Awaitable[T]]


def selected(request: pytest.FixtureRequest, scenes: dict[str, T]) -> dict[str, T]:
    """The scenes whose tests run, by the parameter ``name`` of the tests of this module."""
    module = request.node.nodeid
    names = {
        item.callspec.params.get("name")
        for item in request.session.items
        if item.nodeid.startswith(f"{module}::") and hasattr(item, "callspec")
    }
    return {name: scene for name, scene in scenes.items() if name in names}


def play_all(scenes: dict[str, Play[T]]) -> dict[str, T | BaseException]:
    """Play scenes, many at a time, in an event loop of their own.

    Returns:
        What each returned or raised.
    """

    async def play() -> list[T | BaseException]:
        stumbles = Stumbles(STUMBLE_SECS)
        watching = asyncio.create_task(stumbles.watch())
        places = asyncio.Semaphore(SCENES_AT_A_TIME)

        async def in_turn(scene: Play[T]) -> T:
            async with places:
                return await _play(scene, stumbles)

        found = await asyncio.gather(*map(in_turn, scenes.values()), return_exceptions=True)
        for number, scene in enumerate(scenes.values()):
            for _ in range(REPETITIONS):
                if not isinstance(found[number], WrongTimeError):
                    break
                (found[number],) = await asyncio.gather(
                    _play(scene, stumbles), return_exceptions=True
                )
        watching.cancel()
        return found

    with undisturbed():
        return dict(zip(scenes, asyncio.run(play()), strict=True))


async def _play(scene: Play[T], stumbles: Stumbles) -> T:
    """Play a scene, when the machine keeps up."""
    begins_at = time.monotonic()
    while time.monotonic() < begins_at + _CALM_LIMIT_SECS:
        asked_at = time.monotonic()
        await asyncio.sleep(10 * _BEAT_SECS)
        if not stumbles.between(asked_at, time.monotonic()):
            break
    begins_at = time.monotonic()
    try:
        return await scene(stumbles)
    except WrongTimeError:
        raise
    except AssertionError as error:
        if stumbles.between(begins_at, time.monotonic()):
            raise WrongTimeError("The machine stumbled.") from error
        raise
