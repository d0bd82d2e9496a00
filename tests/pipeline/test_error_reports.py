"""What goes wrong is told where it matters, once, with what it means and what to do."""

import asyncio

import pytest
from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman import RenewalPolicy
from pipecat_agenthuman.frames import (
    AgentHumanDisconnectedFrame,
)
from pipecat_agenthuman.wire.protocol import ERROR_CATALOGUE
from tests.support.calls import avatars, calling
from tests.support.faults import fault, server_error
from tests.support.inside import set_limits
from tests.support.virtual_time import virtually
from tests.support.waiting import until

SHORT_OF_TIME = RenewalPolicy(max_total_secs=1.0, first_pause_secs=0.02)

pytestmark = pytest.mark.usefixtures("log")


def told(log: list[str], words: str) -> list[str]:
    """The service's own error lines with these words; Pipecat's worker repeats each."""
    return [line for line in log if line.startswith("ERROR") and words in line]


@pytest.mark.parametrize("entry", ERROR_CATALOGUE, ids=lambda entry: entry.code)
async def test_a_server_error_is_told_once_on_every_way_with_its_remedy(entry, log):
    text = entry.text + (" details" if entry.text.endswith(":") else "")
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.send(server_error(text))
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
            await sandbox.send(server_error(f"Failed to process audio: {number}"))
        await until(lambda: call.avatar.stats.errors.get("audio_not_processed") == 20)
        await call.end()
    assert len(call.reported) == len(call.error_frames) == 1
    assert len([news for news in call.news if news.startswith("on_avatar_error")]) == 1
    assert len(told(log, "came 19 more times")) == 1


async def test_the_rest_of_a_burst_is_told_when_it_is_over(log, monkeypatch):
    set_limits(monkeypatch, burst_secs=1.0)
    async with avatars() as sandbox, calling(sandbox) as call:
        for _ in range(3):
            await sandbox.send(server_error("No audio data provided"))
        await until(lambda: len(told(log, "came 2 more times")) == 1)
        await sandbox.send(server_error("No audio data provided"))
        await until(lambda: len(call.reported) == 2)
        await call.end()


@virtually
async def test_an_outage_is_one_burst_however_long_it_lasts(log):
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=503, times=40))
        async with calling(sandbox, until_ready=False, renewal=RenewalPolicy()) as call:
            await asyncio.sleep(40 * RenewalPolicy().max_pause_secs)
            assert call.ready == 1
            assert len(call.reported) == len(call.error_frames) == 1
            assert len(told(log, "came 39 more times")) == 1
            await call.end()


@virtually
async def test_an_outage_is_one_burst_however_long_each_attempt_takes(log):
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=503, times=20, delay_secs=20.0))
        async with calling(sandbox, until_ready=False, renewal=RenewalPolicy()) as call:
            await asyncio.sleep(20 * (20.0 + RenewalPolicy().max_pause_secs))
            assert call.ready == 1
            assert len(call.reported) == len(call.error_frames) == 1
            assert len(told(log, "came 19 more times")) == 1
            await call.end()


@virtually
async def test_an_outage_that_shows_in_two_ways_in_turns_is_told_once_of_each(log):
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "missing", times=None))
        async with calling(sandbox, until_ready=False, renewal=RenewalPolicy()) as call:
            await asyncio.sleep(1000.0)
            assert len(call.reported) == len(call.error_frames) == 2
            await call.end()


async def test_different_errors_are_no_burst():
    async with avatars() as sandbox, calling(sandbox) as call:
        await sandbox.send(server_error("No audio data provided"))
        await sandbox.send(server_error("Invalid JSON format"))
        await until(lambda: len(call.reported) == 2)
        await call.end()


async def test_the_end_of_all_hope_is_told_even_in_a_burst():
    async with avatars() as sandbox:
        sandbox.inject(fault("create", "refuse", status=503, times=None))
        async with calling(sandbox, until_ready=False, renewal=SHORT_OF_TIME) as call:
            await until(lambda: not call.avatar.is_usable)
            await call.end()
        refused = [entry for entry in sandbox.log if entry["what"] == "fault"]
    assert len(call.reported) == 2
    assert "from now on the transport speaks" in call.reported[-1].error
    assert call.avatar.stats.errors["server_failure"] == len(refused) > 2
