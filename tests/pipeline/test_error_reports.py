"""What goes wrong is told where it matters, once, with what it means and what to do."""

import asyncio
import json

import pytest
from pipecat.frames.frames import MetricsFrame
from pipecat.metrics.metrics import TTFBMetricsData
from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman import AgentHumanServerEventFrame
from pipecat_agenthuman.frames import (
    AgentHumanDisconnectedFrame,
    AgentHumanInterruptConfirmedFrame,
    AgentHumanSpeakConfirmedFrame,
)
from pipecat_agenthuman.pipeline.metrics import (
    FirstConfirmationMetricsData,
    InterruptMetricsData,
    RoundTripMetricsData,
    TimeToJoinMetricsData,
)
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.wire.protocol import ERROR_CATALOGUE
from tests.support.faults import (
    LATENCY_SECS,
    Call,
    calling,
    fault,
    once,
    quiet_log,
    undisturbed,
    until,
)


@pytest.fixture(autouse=True)
def log():
    with undisturbed(), quiet_log() as lines:
        yield lines


def avatars(**options) -> Sandbox:
    return Sandbox(render_latency_secs=LATENCY_SECS, **options)


def error(text: str) -> str:
    return json.dumps({"type": "error", "error": text})


def told(log: list[str], words: str) -> list[str]:
    """The service's own error lines with these words; Pipecat's worker repeats each."""
    return [line for line in log if line.startswith("ERROR") and words in line]


# --- errors ----------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ERROR_CATALOGUE, ids=lambda entry: entry.code)
async def test_a_server_error_is_told_once_on_every_way_with_its_remedy(entry, log):
    text = entry.text + (" details" if entry.text.endswith(":") else "")
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.send(error(text))
        await until(lambda: bool(call.reported))
        await call.end()
    (frame,), (reported,) = call.error_frames, call.reported
    assert frame.code == entry.code
    assert text in frame.error
    assert text in reported.error
    assert entry.remedy in reported.error
    assert reported.category is not None
    assert reported.processor is call.avatar
    assert call.avatar.stats.errors == {entry.code: 1}
    assert len(told(log, entry.remedy)) == 1
    assert len([line for line in call.news if line.startswith("on_avatar_error")]) == 1


@pytest.mark.parametrize(
    ("status", "code", "category", "usable"),
    [
        (400, "bad_request", ErrorCategory.INVALID_REQUEST, False),
        (401, "authentication", ErrorCategory.AUTHENTICATION, False),
        (402, "out_of_minutes", ErrorCategory.QUOTA, False),
        (403, "permission_denied", ErrorCategory.AUTHORIZATION, False),
        (404, "not_found", ErrorCategory.INVALID_REQUEST, False),
        (429, "rate_limited", ErrorCategory.RATE_LIMIT, True),
        (500, "server_failure", ErrorCategory.SERVER, True),
        (503, "server_failure", ErrorCategory.SERVER, True),
    ],
)
async def test_a_refused_create_is_told_with_pipecats_category(status, code, category, usable):
    async with avatars() as sandbox:
        body = {"error": {"message": "the server's words", "suggestion": "the server's advice"}}
        sandbox.inject(fault("create", "refuse", status=status, body=body))
        async with calling(sandbox, until_ready=False) as call:
            await until(lambda: bool(call.reported))
            assert call.avatar.is_usable is usable
            await call.end()
    reported = call.reported[0]
    assert reported.category is category
    assert "the server's words" in reported.error
    assert "the server's advice" in reported.error
    assert "the transport speaks" in reported.error
    assert call.error_frames[0].code == code
    disconnected = call.between.of(AgentHumanDisconnectedFrame)
    assert [frame.will_reconnect for frame in disconnected] == ([] if usable else [False])


async def test_a_burst_is_told_once_and_its_rest_is_counted_in_the_end(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        for number in range(20):
            await sandbox.send(error(f"Failed to process audio: {number}"))
        await until(lambda: call.avatar.stats.errors.get("audio_not_processed") == 20)
        await call.end()
    assert len(call.reported) == len(call.error_frames) == 1
    assert len([news for news in call.news if news.startswith("on_avatar_error")]) == 1
    assert len(told(log, "came 19 more times")) == 1


async def test_the_rest_of_a_burst_is_told_when_it_is_over(log, monkeypatch):
    monkeypatch.setattr("pipecat_agenthuman.pipeline.announcer.BURST_SECS", 0.3)
    async with avatars() as sandbox, calling(sandbox) as call:
        for _ in range(3):
            await sandbox.send(error("No audio data provided"))
        await until(lambda: len(told(log, "came 2 more times")) == 1)
        await sandbox.send(error("No audio data provided"))
        await until(lambda: len(call.reported) == 2)
        await call.end()


async def test_different_errors_are_no_burst():
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.send(error("No audio data provided"))
        await sandbox.send(error("Invalid JSON format"))
        await until(lambda: len(call.reported) == 2)
        await call.end()


async def test_the_end_of_all_hope_is_told_even_in_a_burst():
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=503, times=None))
        async with calling(sandbox, until_ready=False) as call:
            await until(lambda: not call.avatar.is_usable)
            await call.end()
    assert len(call.reported) == 2
    assert "from now on the transport speaks" in call.reported[-1].error
    assert call.avatar.stats.errors["server_failure"] == 5


async def test_a_loss_is_told_as_a_disconnection_with_what_follows():
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.drop(code=4001, reason="by order")
        await call.until_ready(2)
        await call.end()
    (frame,) = call.between.of(AgentHumanDisconnectedFrame)
    assert frame.will_reconnect
    assert "4001: by order" in frame.reason
    assert f"on_disconnected {frame.reason} True" in call.news


async def test_words_of_a_server_without_measure_are_cut_in_the_log(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.send(error("blah " * 20_000))
        await sandbox.send("x" * 100_000)
        await until(lambda: bool(call.reported))
        await call.end()
    assert max(map(len, log)) < 5000


async def test_a_flood_of_events_does_not_fill_the_memory(log, monkeypatch):
    monkeypatch.setattr("pipecat_agenthuman.pipeline.announcer.UNTOLD_NEWS", 10)
    async with avatars() as sandbox, calling(sandbox) as call:
        held = asyncio.Event()
        call.avatar.add_event_handler("on_speak_confirmed", lambda *_: held.wait())
        teller = call.avatar._announcer
        telling, gate = teller._tell, asyncio.Event()

        async def slow(event: object) -> None:
            await gate.wait()
            await telling(event)

        monkeypatch.setattr(teller, "_tell", slow)
        for _ in range(200):
            await sandbox.send('{"type": "agent.nod"}')
        await until(lambda: any("too many at once" in line for line in log))
        assert call.avatar._announcer._news.qsize() <= 10
        held.set()
        gate.set()
        await call.say(0.3)
        await call.end()
    assert once(call.heard_of_avatar(), range(call.said))


async def test_unknown_events_go_down_as_frames_and_are_noticed_once(log):
    async with avatars() as sandbox, calling(sandbox) as call:
        for number in range(3):
            await sandbox.send(json.dumps({"type": "agent.nod", "times": number}))
        await until(lambda: len(events(call)) == 3)
        await call.end()
    assert [frame.event["times"] for frame in events(call)] == [0, 1, 2]
    assert len([line for line in log if "agent.nod" in line]) == 1


def events(call: Call) -> list[AgentHumanServerEventFrame]:
    frames = call.between.of(AgentHumanServerEventFrame)
    return [frame for frame in frames if type(frame) is AgentHumanServerEventFrame]


# --- numbers ---------------------------------------------------------------------------


async def test_the_times_that_matter_are_metrics_and_in_the_stats():
    async with avatars(round_trip_secs=0.1) as sandbox, calling(sandbox) as call:
        await call.say(0.4)
        await until(lambda: bool(call.between.of(AgentHumanSpeakConfirmedFrame)))
        await call.say(1.0)
        await sandbox.wait_until_heard(0.5)
        await call.interrupt()
        await until(lambda: bool(call.between.of(AgentHumanInterruptConfirmedFrame)))
        await call.end()
    figures = [figure for frame in call.between.of(MetricsFrame) for figure in frame.data]
    ours = [figure for figure in figures if figure.processor == call.avatar.name]
    stats = call.avatar.stats

    def values(kind: type) -> list[float]:
        return [figure.value for figure in ours if isinstance(figure, kind)]

    assert values(TimeToJoinMetricsData) == [stats.time_to_join_secs]
    assert values(InterruptMetricsData) == [stats.interrupt_secs]
    first = values(FirstConfirmationMetricsData)
    assert len(first) == 2
    assert first[-1] == stats.first_confirmation_secs
    assert len(values(RoundTripMetricsData)) == 2
    assert stats.time_to_join_secs >= 0.2
    assert stats.interrupt_secs >= 0.1
    assert all(secs >= 0.1 for secs in first)
    assert stats.round_trip_secs >= 0.1
    # The second utterance joined the first, so its first sound is nobody's wait.
    assert len([value for value in values(TTFBMetricsData) if value]) == 1
    assert stats.ttfb_secs >= 0.05 + LATENCY_SECS
    assert stats.interruptions == 1
    assert stats.sessions == 1


async def test_the_stats_are_a_snapshot():
    async with avatars() as sandbox, calling(sandbox) as call:
        before = call.avatar.stats
        await call.say(0.1)
        await sandbox.send(error("No audio data provided"))
        await until(lambda: bool(call.reported))
        await call.end()
    assert before.taken_secs == 0
    assert before.errors == {}
    assert call.avatar.stats.taken_secs == pytest.approx(0.1)
