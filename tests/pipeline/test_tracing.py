"""Spans for sessions and utterances, where Pipecat's tracing is on."""

from typing import Any

import pytest
from pipecat.frames.frames import (
    EndFrame,
    InterruptionFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.utils.tracing.setup import is_tracing_available

from tests.support.calls import LATENCY_SECS, avatar_in, avatars
from tests.support.faults import QUICK_RENEWAL
from tests.support.inside import avatar_is_idle
from tests.support.pipelines import SoundCard, running
from tests.support.sounds import RATE, numbered
from tests.support.waiting import until

pytestmark = pytest.mark.skipif(
    not is_tracing_available(), reason="needs OpenTelemetry: Pipecat's extra 'tracing'"
)


def exported() -> Any:
    """An exporter that keeps the spans, and a provider that nobody else uses."""
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace._TRACER_PROVIDER_SET_ONCE._done = False
    trace.set_tracer_provider(provider)
    return exporter


async def test_a_call_leaves_a_span_for_each_session_and_each_utterance(log):
    exporter = exported()
    async with avatars() as sandbox:
        avatar = avatar_in(sandbox, renewal=QUICK_RENEWAL)
        async with running(avatar, SoundCard(), enable_tracing=True) as (worker, ending):
            await until(lambda: bool(avatar.stats.sessions))
            for interrupted in (False, True):
                audio = TTSAudioRawFrame(numbered(range(8000)), RATE, 1)
                heard_secs = avatar.stats.heard_secs
                await worker.queue_frames([TTSStartedFrame(), audio, TTSStoppedFrame()])
                if interrupted:
                    await until(lambda: avatar.stats.heard_secs > heard_secs + 0.1)  # noqa: B023
                    await worker.queue_frame(InterruptionFrame())
                else:
                    await until(lambda: avatar_is_idle(avatar) and avatar.stats.heard_secs > 0)
            await sandbox.drop(code=4000, reason="by order")
            await until(lambda: avatar.stats.sessions == 2)
            await worker.queue_frame(EndFrame())
            await ending
    spans = [span for span in exporter.get_finished_spans() if "agenthuman" in span.name]
    sessions = [span for span in spans if span.name == "agenthuman.session"]
    first, second = [span for span in spans if span.name == "agenthuman.utterance"]
    ids = [record.id for record in sandbox.sessions]
    assert [span.attributes["agenthuman.session_id"] for span in sessions] == ids
    assert "4000: by order" in sessions[0].attributes["agenthuman.ended"]
    assert "agenthuman.ended" not in sessions[1].attributes
    heard = [span.attributes["agenthuman.heard_secs"] for span in sessions]
    assert heard[0] > 0.5
    assert heard[1] == 0.0
    assert [span.status.is_ok for span in sessions] == [False, True]
    assert first.attributes["agenthuman.session_id"] == ids[0]
    assert first.attributes["metrics.ttfb"] >= LATENCY_SECS
    assert first.attributes["agenthuman.first_confirmation_secs"] > 0
    assert "agenthuman.interrupted" not in first.attributes
    assert second.attributes["agenthuman.interrupted"] is True
    assert first.end_time - first.start_time >= 0.5e9
    assert all(span.parent is not None for span in (*sessions, first, second))
