"""A person, a bot and its avatar in one room, from the first word to the last.

The real Pipecat on both sides of the service: Daily transport, voice activity and end of turn,
context. ``conversation.py`` says what stands in for the rest of the world.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import EndFrame, InterruptionFrame, LLMRunFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import (
    LLMContextAggregatorPair,
    LLMUserAggregatorParams,
)
from pipecat.runner.types import DailyRunnerArguments
from pipecat.transports.daily.transport import DailyParams, DailyTransport
from pipecat.workers.runner import WorkerRunner

from pipecat_agenthuman import AgentHumanDailyTransport, AgentHumanVideoService, DailyRoom
from pipecat_agenthuman.sandbox import Fault
from pipecat_agenthuman.testing import ScriptedLLM
from tests.support.calls import LATENCY_SECS
from tests.support.conversation import (
    LONG_ANSWER,
    Conversation,
    bot_speech,
    loud,
    make_tts,
)
from tests.support.inside import transport_is_busy
from tests.support.sandbox_client import request
from tests.support.waiting import LIMIT_SECS

GREETING = "Hello, I am here."
LAST_ANSWER = "All right, I stop."
ROUNDING_SECS = 0.02
"""The voice is resampled twice on its way."""

WORD_TOLERANCE_SECS = 0.3
"""The service only estimates when a word sounds; that is some two words of this voice."""


class TalkingBot:
    """A bot in the shape of the examples, whose parts a test can look at.

    Attributes:
        transport: In the room as soon as it runs.
        service: The avatar.
        worker: Runs the pipeline.
        events: What the handlers of transport and service were called for, in order.
        started: Set when the pipeline runs.
    """

    transport: Any
    service: AgentHumanVideoService
    worker: PipelineWorker

    def __init__(
        self, call: Conversation, *replies: str, plain: bool = False, **service: Any
    ) -> None:
        self.llm = ScriptedLLM(*replies)
        self.events: list[str] = []
        self.started = asyncio.Event()
        self._call = call
        self._is_plain = plain
        self._service_options = service

    async def __call__(self, runner_args: DailyRunnerArguments) -> None:
        room = await DailyRoom.mint(runner_args.room_url)
        params = DailyParams(audio_in_enabled=True, audio_out_enabled=True)
        seat = (runner_args.room_url, runner_args.token, "Bot", params)
        if self._is_plain:
            self.transport = DailyTransport(*seat)
        else:
            self.transport = AgentHumanDailyTransport(*seat, avatar=room.identity)
        self.service = AgentHumanVideoService(
            room=room,
            settings=AgentHumanVideoService.Settings(avatar_latency_secs=LATENCY_SECS),
            **self._service_options,
        )
        context = LLMContext()
        user, assistant = LLMContextAggregatorPair(
            context, user_params=LLMUserAggregatorParams(vad_analyzer=SileroVADAnalyzer())
        )
        before = [self.transport.input(), self._call.stt, user, self.llm, make_tts()]
        self.worker = PipelineWorker(
            Pipeline([*before, self.service, self.transport.output(), assistant]),
            idle_timeout_secs=runner_args.pipeline_idle_timeout_secs,
        )
        runner = WorkerRunner(handle_sigint=runner_args.handle_sigint)
        await runner.add_workers(self.worker)
        self._record_events()

        @self.worker.event_handler("on_pipeline_started")
        async def on_pipeline_started(worker: PipelineWorker, frame: Any) -> None:
            self.started.set()

        @self.transport.event_handler("on_first_participant_joined")
        async def on_first_participant_joined(transport: Any, participant: Any) -> None:
            self.events.append("greets")
            await self.worker.queue_frame(LLMRunFrame())

        @self.transport.event_handler("on_client_disconnected")
        async def on_client_disconnected(transport: Any, participant: Any) -> None:
            await runner.cancel()

        await runner.run()

    async def say(self, text: str) -> None:
        await self.worker.queue_frame(TTSSpeakFrame(text))

    async def has_said(self, *texts: str) -> None:
        """Wait until texts were heard in the room, to the end, and the service knows it."""
        secs = sum(bot_speech(text).duration_secs - ROUNDING_SECS for text in texts)
        await self._call.until(lambda: self._call.heard_secs > secs)
        await self._call.until(lambda: self._unheard_secs() < 0.001)

    def _unheard_secs(self) -> float:
        stats = self.service.stats
        return stats.sent_secs - stats.heard_secs

    def _record_events(self) -> None:
        sources = {
            self.service: ("on_connected", "on_disconnected", "on_avatar_ready"),
            self.transport: ("on_avatar_connected", "on_avatar_disconnected"),
        }
        for source, names in sources.items():
            if source is self.transport and not isinstance(source, AgentHumanDailyTransport):
                continue
            for name in names:
                source.add_event_handler(name, self._recorder(name))

    def _recorder(self, name: str) -> Callable[..., Awaitable[None]]:
        async def record(*_: Any) -> None:
            self.events.append(name)

        return record


def at_secs(call: Conversation, what: str, nth: int = 0) -> float:
    """When something happened, on the sandbox's clock."""
    return [entry["at_secs"] for entry in call.sandbox.log if entry["what"] == what][nth]


# --- the whole of it --------------------------------------------------------------------------


@pytest.mark.parametrize("who_is_first", ["avatar", "person"])
async def test_a_conversation_with_a_person_who_interrupts(monkeypatch, who_is_first):
    async with Conversation(
        monkeypatch, render_latency_secs=LATENCY_SECS, join_delay_secs=0.3
    ) as call:
        if who_is_first == "person":
            ada = call.person("Ada")
            bot = TalkingBot(call, GREETING, LONG_ANSWER, LAST_ANSWER)
            running = call.start(bot)
        else:
            bot = TalkingBot(call, GREETING, LONG_ANSWER, LAST_ANSWER)
            running = call.start(bot)
            await call.until(lambda: "on_avatar_ready" in bot.events)
            assert not bot.llm.asked
            ada = call.person("Ada")
        await call.until(lambda: bot.llm.conversation[-1:] == [("assistant", GREETING)])
        assert bot.events.index("greets") == (3 if who_is_first == "avatar" else 0)

        await ada.say("How do I bake bread?", call.stt)
        greeting_secs = bot_speech(GREETING).duration_secs
        await call.until(lambda: call.heard_secs > greeting_secs + 1.0)
        await ada.say("Wait a moment please.", call.stt)
        await call.until(lambda: bot.llm.conversation[-1:] == [("assistant", LAST_ANSWER)])
        await call.sandbox.wait_until_quiet()

        heard_secs = call.heard_secs - greeting_secs - bot_speech(LAST_ANSWER).duration_secs
        interrupted = check_interrupted_answer(bot.llm, heard_secs)
        assert bot.llm.conversation == [
            ("assistant", GREETING),
            ("user", "How do I bake bread?"),
            ("assistant", interrupted),
            ("user", "Wait a moment please."),
            ("assistant", LAST_ANSWER),
        ]
        ada.leave()
        await call.until_ended(running)

        # The avatar was heard in the room, and the bot listened to Ada alone.
        (avatar,) = call.avatars
        assert len(loud(avatar.said)) > 16000
        assert call.bot_heard_only(ada)
        assert bot.events.count("greets") == 1
        (session,) = call.sandbox.sessions
        assert session.status == "ended"
        assert session.end_requests
        assert not call.complaints


def check_interrupted_answer(llm: ScriptedLLM, heard_secs: float) -> str:
    """See that the conversation has of the long answer what was heard of it, and return that."""
    (text,) = [text for who, text in llm.asked[-1] if text in LONG_ANSWER]
    starts_secs = [word.start_secs for word in bot_speech(LONG_ANSWER).words]
    kept = len(text.split())
    assert LONG_ANSWER.split()[:kept] == text.split()
    assert kept < len(starts_secs) / 2
    assert kept >= sum(start < heard_secs - WORD_TOLERANCE_SECS for start in starts_secs) > 2
    assert kept <= sum(start < heard_secs + WORD_TOLERANCE_SECS for start in starts_secs)
    return text


async def test_there_is_no_session_before_the_first_person_and_none_after_the_last(monkeypatch):
    async with Conversation(
        monkeypatch, render_latency_secs=LATENCY_SECS, join_delay_secs=0.2
    ) as call:
        bot = TalkingBot(call, LONG_ANSWER, session_start="client_connected")
        running = call.start(bot)
        await asyncio.wait_for(bot.started.wait(), LIMIT_SECS)
        # Had the service asked for a session, this would have been answered after it.
        await request(call.sandbox, "GET", "/usage")
        assert not call.sandbox.sessions

        came_at = time.monotonic()
        ada = call.person("Ada")
        await call.until(lambda: call.heard_secs > 0.2)
        (session,) = call.sandbox.sessions
        assert session.created_at > came_at

        # She leaves in the middle of a sentence.
        ada.leave()
        await call.until_ended(running)
        assert call.sandbox.sessions[0].status == "ended"
        assert call.heard_secs < bot_speech(LONG_ANSWER).duration_secs / 2
        assert not call.complaints


async def test_a_confirmation_that_an_interruption_overtakes_is_nothing_to_warn_of(monkeypatch):
    late = Fault(on="agent.speak", kind="delay", delay_secs=1.0, delayed="answer")
    async with Conversation(monkeypatch, faults=[late]) as call:
        bot = TalkingBot(call, GREETING)
        running = call.start(bot)
        await call.until(lambda: "on_avatar_ready" in bot.events)
        await bot.say(LONG_ANSWER)
        await call.until(lambda: call.commands("agent.speak"))
        await bot.worker.queue_frame(InterruptionFrame())
        await call.sandbox.wait_for("agent.speak.confirmed")
        assert at_secs(call, "agent.interrupt") < at_secs(call, "agent.speak.confirmed")
        heard_secs = call.heard_secs
        await bot.say(GREETING)
        greeting_secs = bot_speech(GREETING).duration_secs - ROUNDING_SECS
        await call.until(lambda: call.heard_secs > heard_secs + greeting_secs)
        call.person("Ada").leave()
        await call.until_ended(running)
        assert not call.complaints


async def test_an_orderly_end_says_nothing_of_an_avatar_that_left(monkeypatch):
    for _ in range(3):
        async with Conversation(monkeypatch, render_latency_secs=LATENCY_SECS) as call:
            call.person("Ada")
            bot = TalkingBot(call, GREETING)
            running = call.start(bot)
            await bot.has_said(GREETING)
            await bot.worker.queue_frame(EndFrame())
            await call.until_ended(running)
            assert not call.complaints


# --- the first words --------------------------------------------------------------------------


async def test_the_first_words_wait_for_the_avatar_and_all_of_them_are_heard(monkeypatch):
    async with Conversation(
        monkeypatch, render_latency_secs=LATENCY_SECS, join_delay_secs=0.7
    ) as call:
        ada = call.person("Ada")
        bot = TalkingBot(call, GREETING)
        running = call.start(bot)
        # What the sandbox's avatar says before it is in the room is lost.
        await bot.has_said(GREETING)
        assert at_secs(call, "session.init") < at_secs(call, "avatar.joined")
        assert at_secs(call, "avatar.joined") < at_secs(call, "agent.speak")
        assert bot.events == ["greets", "on_connected", "on_avatar_connected", "on_avatar_ready"]
        assert bot.service.stats.time_to_join_secs > 0.69
        ada.leave()
        await call.until_ended(running)
        assert not call.complaints


async def test_the_first_words_wait_no_longer_than_the_limit_and_the_bot_says_them_itself(
    monkeypatch,
):
    """The room is full, or the avatar's token has expired: its session is up, and nobody came."""
    async with Conversation(
        monkeypatch, render_latency_secs=LATENCY_SECS, join_delay_secs=None
    ) as call:
        ada = call.person("Ada")
        bot = TalkingBot(call, GREETING, avatar_wait_secs=0.4)
        running = call.start(bot)
        await call.until(lambda: bot.llm.conversation[-1:] == [("assistant", GREETING)])
        (client,) = call.room.clients

        def spoken_secs() -> float:
            return len(loud(client.participant.published_audio)) / client.microphone.sample_rate

        # The last of it may be behind the words on a busy machine.
        await call.until(lambda: spoken_secs() > 0.5)
        assert not call.commands("agent.speak")
        assert bot.events == ["greets", "on_connected"]
        assert not bot.service.ready
        (error,) = [line for line in call.complaints if line.startswith("ERROR")]
        assert "No avatar appeared in the room within 0.4 s" in error
        assert "Until it appears the transport speaks" in error
        ada.leave()
        await call.until_ended(running)


async def test_the_transport_speaks_until_a_renewed_avatar_is_in_the_room(
    monkeypatch,
):
    async with Conversation(
        monkeypatch, render_latency_secs=LATENCY_SECS, join_delay_secs=1.5
    ) as call:
        ada = call.person("Ada")
        bot = TalkingBot(call, GREETING)
        running = call.start(bot)
        await bot.has_said(GREETING)

        await call.sandbox.drop()
        await call.until(lambda: bot.events.count("on_connected") == 2)
        # The new session would take words already, but its avatar is not in the room yet.
        await bot.say(LAST_ANSWER)
        answer_secs = bot_speech(LAST_ANSWER).duration_secs
        await call.until(lambda: bot.service.stats.fallback_secs > answer_secs - ROUNDING_SECS)

        await call.until(lambda: bot.events.count("on_avatar_ready") == 2)
        await call.until(lambda: not transport_is_busy(bot.service))
        await bot.say(GREETING)
        await bot.has_said(GREETING, GREETING)
        _, second = call.sandbox.sessions
        assert second.status == "started"
        first_words = next(e for e in call.commands("agent.speak") if e["session_id"] == second.id)
        assert first_words["at_secs"] > at_secs(call, "avatar.joined", 1)
        assert bot.events.count("on_avatar_connected") == bot.events.count("on_avatar_ready") == 2
        assert bot.events.count("on_avatar_disconnected") == 1
        assert bot.events.count("greets") == 1
        ada.leave()
        await call.until_ended(running)
        assert call.sandbox.peak_live_sessions == 1


async def test_a_plain_transport_waits_for_nobody_and_hears_the_avatar(monkeypatch):
    """The control: without the avatar's transport the tests above would find its voice."""
    held = {"before_join": "held", "join_delay_secs": 1.0}
    async with Conversation(monkeypatch, **held) as call:
        ada = call.person("Ada")
        bot = TalkingBot(call, GREETING, plain=True)
        running = call.start(bot)
        # Not for more: what it hears of the avatar it takes for a person who interrupts.
        await call.until(lambda: len(loud(call.stt.heard)) > 1600)

        assert at_secs(call, "agent.speak") < at_secs(call, "avatar.joined")
        assert not call.bot_heard_only(ada)
        # The avatar is "disconnected" with the session, and a plain bot ends with it.
        ada.leave()
        await call.until_ended(running)
