"""The times that matter, and the numbers in the end."""

import time

import pytest
from pipecat.frames.frames import (
    MetricsFrame,
    ServiceUpdateSettingsFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)
from pipecat.metrics.metrics import MetricsData, TTFBMetricsData

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.frames import (
    AgentHumanInterruptConfirmedFrame,
    AgentHumanSpeakConfirmedFrame,
)
from pipecat_agenthuman.pipeline.metrics import (
    AvatarLatencyMetricsData,
    FirstConfirmationMetricsData,
    InterruptMetricsData,
    RoundTripMetricsData,
    TimeToJoinMetricsData,
)
from pipecat_agenthuman.playout.latency import Reading
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import LATENCY_SECS, Call, avatars, calling
from tests.support.faults import server_error
from tests.support.inside import stumble_at_every_look
from tests.support.sounds import RATE, numbered
from tests.support.virtual_time import virtually
from tests.support.waiting import until

pytestmark = pytest.mark.usefixtures("log")


def values(call: Call, kind: type[MetricsData]) -> list[float]:
    """The service's own figures of a kind, in order."""
    figures = [figure for frame in call.between.of(MetricsFrame) for figure in frame.data]
    ours = [figure for figure in figures if figure.processor == call.avatar.name]
    return [figure.value for figure in ours if isinstance(figure, kind)]


@virtually
async def test_the_times_that_matter_are_metrics_and_in_the_stats():
    async with avatars(round_trip_secs=0.1) as sandbox, calling(sandbox) as call:
        await call.say(1.5)
        await until(lambda: bool(call.between.of(AgentHumanSpeakConfirmedFrame)))
        await call.say(1.5)
        await until(lambda: len(values(call, FirstConfirmationMetricsData)) == 2)
        await sandbox.wait_until_heard(0.1)
        await call.interrupt()
        await until(lambda: bool(call.between.of(AgentHumanInterruptConfirmedFrame)))
        await call.end()
    stats = call.avatar.stats
    assert values(call, TimeToJoinMetricsData) == [stats.time_to_join_secs]
    assert values(call, InterruptMetricsData) == [stats.interrupt_secs]
    first = values(call, FirstConfirmationMetricsData)
    assert len(first) == 2
    assert first[-1] == stats.first_confirmation_secs
    assert len(values(call, RoundTripMetricsData)) == 2
    assert stats.time_to_join_secs >= 0.2
    assert stats.interrupt_secs >= 0.1
    assert all(secs >= 0.1 for secs in first)
    assert stats.round_trip_secs >= 0.1
    # The second utterance joined the first, so its first sound is nobody's wait.
    assert len([value for value in values(call, TTFBMetricsData) if value]) == 1
    assert stats.ttfb_secs >= 0.05 + LATENCY_SECS
    assert stats.interruptions == 1
    assert stats.sessions == 1


@virtually
async def test_a_wall_clock_that_is_set_back_makes_no_time_negative(monkeypatch):
    wall = time.time
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.feed(TTSStartedFrame())
        await call.behind.saw(TTSStartedFrame)
        monkeypatch.setattr(time, "time", lambda: wall() - 3600)
        await call.feed(TTSAudioRawFrame(numbered(range(8000)), RATE, 1), TTSStoppedFrame())
        await call.spoken()
        await call.end()
    first = [value for value in values(call, TTFBMetricsData) if value]
    assert len(first) == 1
    assert first[0] == pytest.approx(call.avatar.stats.ttfb_secs, abs=0.05)
    assert LATENCY_SECS <= call.avatar.stats.ttfb_secs < 5.0


@virtually
async def test_the_stats_are_a_snapshot():
    async with avatars() as sandbox, calling(sandbox) as call:
        before = call.avatar.stats
        await call.say(0.1)
        await sandbox.send(server_error("No audio data provided"))
        await until(lambda: bool(call.reported))
        await call.end()
    assert before.taken_secs == 0
    assert before.errors == {}
    assert call.avatar.stats.taken_secs == pytest.approx(0.1)


@virtually
async def test_every_sample_is_in_the_books_however_slow_the_machine_is(monkeypatch):
    """Between two looks at the clock some is heard, too."""
    stumble_at_every_look(monkeypatch, 0.003)
    async with avatars() as sandbox, calling(sandbox) as call:
        await call.say(1.0)
        await sandbox.wait_until_heard(0.3)
        await call.interrupt()
        await call.say(1.0)
        await sandbox.wait_until_heard(0.6)
        await sandbox.drop(abort=True)
        await call.until_ready(2)
        await call.say(1.0)
        await call.end()
    stats = call.avatar.stats
    assert min(stats.heard_secs, stats.dropped_secs, stats.fallback_secs) > 0.1
    accounted = stats.heard_secs + stats.dropped_secs + stats.fallback_secs
    assert accounted == pytest.approx(stats.taken_secs, abs=1e-6)


def latencies(call: Call) -> list[tuple[float, str, float | None]]:
    """What counted for each utterance, how it was known, and how well."""
    figures = [figure for frame in call.between.of(MetricsFrame) for figure in frame.data]
    ours = [figure for figure in figures if isinstance(figure, AvatarLatencyMetricsData)]
    return [(figure.value, figure.source, figure.quality) for figure in ours]


def late_secs(call: Call, sandbox: Sandbox) -> list[float]:
    """How much later than it sounded each utterance of half a second was told to begin."""
    begins = {segment.first_sample: segment.starts_at for segment in sandbox.heard().segments}
    return [told - begins[n * RATE // 2] for n, (told, _) in enumerate(call.bot_speech())]


@virtually
async def test_every_utterance_tells_the_latency_that_counts_for_it_and_how_that_is_known():
    settings = {"avatar_latency_secs": "measured", "listener_delay_secs": 0.2}
    async with (
        avatars(render_latency_secs=0.5) as sandbox,
        calling(sandbox, settings=settings) as call,
    ):
        await call.say(0.5)
        await call.stopped()
        output = call.avatar._output
        for quality in (0.8, 0.9, 0.9):
            output.playout.hearing._estimator.add(Reading(0.7, quality, 0.0))
        output.adopt_latency()
        await call.say(0.5)
        await call.stopped(2)
        delta = AgentHumanVideoService.Settings(avatar_latency_secs=0.3)
        await call.feed(ServiceUpdateSettingsFrame(delta=delta, service=call.avatar))
        await call.say(0.5)
        await call.stopped(3)
        await call.end()
    assert latencies(call) == [(0.5, "assumed", None), (0.7, "heard", 0.9), (0.3, "set", None)]
    stats = call.avatar.stats
    assert (stats.avatar_latency_secs, stats.avatar_latency_source) == (0.3, "set")
    # What the listener's device adds counts on top, for the clock alone.
    assert late_secs(call, sandbox) == pytest.approx([0.2, 0.4, 0.0], abs=0.03)


@virtually
async def test_where_nobody_listens_the_latency_is_what_was_assumed():
    settings = {"avatar_latency_secs": "measured"}
    async with (
        avatars(render_latency_secs=0.5) as sandbox,
        calling(sandbox, settings=settings) as call,
    ):
        for number in range(3):
            await call.say(0.5)
            await call.stopped(number + 1)
        await call.end()
    assert late_secs(call, sandbox) == pytest.approx([0.0] * 3, abs=0.01)
    assert latencies(call) == [(0.5, "assumed", None)] * 3
