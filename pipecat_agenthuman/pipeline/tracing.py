"""OpenTelemetry spans, where Pipecat's tracing is on: one for a session, one for an utterance.

What a span tells is in the frames that the service pushes, so the tracer only watches them.
OpenTelemetry comes with Pipecat's extra ``tracing`` and is imported when a tracer is made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from importlib import import_module
from typing import Any, Final

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.utils.tracing.tracing_context import TracingContext

from pipecat_agenthuman.frames import (
    AgentHumanConnectedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanErrorFrame,
)
from pipecat_agenthuman.pipeline.stats import ServiceStats

_NANOSECS: Final = 1_000_000_000


class CallTracer:
    """Spans ``agenthuman.session`` and ``agenthuman.utterance``, below Pipecat's own.

    A session's span lies in the conversation, with its errors as events; an utterance's span
    in the turn, from its first audio to its last sound.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        context: TracingContext | None,
        stats: Callable[[], ServiceStats],
        is_speaking: Callable[[], bool],
    ) -> None:
        """Watch a service.

        Args:
            processor: The service.
            context: Where Pipecat keeps the conversation and the turn under way.
            stats: Returns the latest figures.
            is_speaking: Whether it is the avatar that speaks.

        Raises:
            ImportError: If OpenTelemetry is not installed.
        """
        self._trace: Any = import_module("opentelemetry.trace")
        self._tracer: Any = self._trace.get_tracer("pipecat_agenthuman")
        self._context: Any = context
        self._stats = stats
        self._is_speaking = is_speaking
        self._session: Any = None
        self._session_id = ""
        self._heard_before_secs = 0.0
        self._utterance: Any = None
        self._told_ttfb_secs: float | None = None
        processor.add_event_handler("on_before_push_frame", self._watch)

    async def _watch(self, _: FrameProcessor, frame: Frame) -> None:
        match frame:
            case AgentHumanConnectedFrame():
                self._open_session(frame.session_id)
            case AgentHumanDisconnectedFrame():
                if self._session is not None and not frame.planned:
                    self._session.set_status(self._trace.StatusCode.ERROR, frame.reason)
                self._close_session(frame.reason)
            case AgentHumanErrorFrame():
                self._note_error(frame)
            case BotStartedSpeakingFrame() if self._is_speaking():
                self._open_utterance()
            case InterruptionFrame() if self._utterance is not None:
                self._utterance.set_attribute("agenthuman.interrupted", True)
            case BotStoppedSpeakingFrame():
                self._close_utterance()
            case EndFrame() | CancelFrame():
                self._close_utterance()
                self._close_session("")
            case _:
                pass

    def _open_session(self, session_id: str) -> None:
        self._close_session("replaced")
        context: Any = self._context.get_conversation_context() if self._context else None
        self._session_id = session_id
        self._heard_before_secs = self._stats().heard_secs
        self._session = self._tracer.start_span("agenthuman.session", context=context)
        self._session.set_attribute("agenthuman.session_id", session_id)

    def _close_session(self, reason: str) -> None:
        span, self._session = self._session, None
        if span is None:
            return
        stats = self._stats()
        if stats.time_to_join_secs is not None:
            span.set_attribute("agenthuman.time_to_join_secs", stats.time_to_join_secs)
        heard_secs = stats.heard_secs - self._heard_before_secs
        span.set_attribute("agenthuman.heard_secs", heard_secs)
        if reason:
            span.set_attribute("agenthuman.ended", reason)
        span.end()

    def _note_error(self, frame: AgentHumanErrorFrame) -> None:
        if self._session is not None:
            self._session.add_event("error", {"code": frame.code, "error": frame.error})
            self._session.set_status(self._trace.StatusCode.ERROR, frame.code)

    def _open_utterance(self) -> None:
        if self._utterance is not None:
            return
        # An utterance that joins another one has no wait of its own.
        latest_secs = self._stats().ttfb_secs
        ttfb_secs = None if latest_secs == self._told_ttfb_secs else latest_secs
        self._told_ttfb_secs = latest_secs
        start_ns = time.time_ns() - round((ttfb_secs or 0.0) * _NANOSECS)
        self._utterance = self._tracer.start_span(
            "agenthuman.utterance", context=self._turn(), start_time=start_ns
        )
        self._utterance.set_attribute("agenthuman.session_id", self._session_id)
        if ttfb_secs is not None:
            self._utterance.set_attribute("metrics.ttfb", ttfb_secs)

    def _turn(self) -> Any:
        if self._context is None:
            return None
        return self._context.get_turn_context() or self._context.get_conversation_context()

    def _close_utterance(self) -> None:
        span, self._utterance = self._utterance, None
        if span is None:
            return
        first_secs = self._stats().first_confirmation_secs
        if first_secs is not None:
            span.set_attribute("agenthuman.first_confirmation_secs", first_secs)
        span.end()
