from __future__ import annotations

import asyncio
import json
import logging
import time

import pytest

from pipecat_agenthuman.sandbox import Ending, Sandbox
from tests.support.sandbox_client import (
    INTERRUPT,
    ask,
    closed,
    connect,
    create,
    established,
    init,
    receive,
    request,
    speak,
    tone,
)


@pytest.fixture(autouse=True)
def _no_errors_are_logged(caplog):
    """Neither aiohttp nor asyncio may complain, whatever a client or a fault does."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


class HandClock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def error(text: str) -> dict[str, str]:
    return {"type": "error", "error": text}


# --- session.init -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [speak(tone(10)), speak(tone(0)), INTERRUPT, {"type": "agent.shout"}],
    ids=["speech", "empty speech", "interrupt", "unknown"],
)
async def test_the_first_message_must_be_session_init(message):
    async with Sandbox() as sandbox, connect(sandbox) as socket:
        assert await ask(socket, message) == error("First message must be session.init")
        session = await create(sandbox)
        assert (await ask(socket, init(session)))["type"] == "connection.established"


async def test_an_unreadable_first_message_is_called_invalid_json():
    async with Sandbox() as sandbox, connect(sandbox) as socket:
        assert await ask(socket, "{") == error("Invalid JSON format")


async def test_session_init_without_a_session_id_is_refused():
    async with Sandbox() as sandbox, connect(sandbox) as socket:
        answer = await ask(socket, {"type": "session.init", "session_token": "x"})
        assert answer == error("Missing session id")


async def test_session_init_with_an_unknown_session_is_refused():
    async with Sandbox() as sandbox, connect(sandbox) as socket:
        answer = await ask(socket, init({"session_id": "sess_none", "session_token": "x"}))
        assert answer == error("Session not found")


async def test_session_init_with_a_wrong_token_is_refused():
    async with Sandbox() as sandbox, connect(sandbox) as socket:
        session = await create(sandbox)
        answer = await ask(socket, init({**session, "session_token": "wrong"}))
        assert answer == error("Failed to fetch video path")
        assert (await ask(socket, init(session)))["type"] == "connection.established"


async def test_session_init_with_an_ended_session_is_refused():
    async with Sandbox() as sandbox, connect(sandbox) as socket:
        session = await create(sandbox)
        await request(sandbox, "POST", f"/sessions/{session['session_id']}/end")
        assert await ask(socket, init(session)) == error("Session not found")


async def test_a_second_socket_for_a_session_is_refused_and_the_first_lives_on():
    async with Sandbox() as sandbox:
        session = await create(sandbox)
        async with connect(sandbox) as first, connect(sandbox) as second:
            await ask(first, init(session))
            assert await ask(second, init(session)) == error(
                "Invalid session id - server not assigned or session id mismatch"
            )
            await second.close()
            assert (await ask(first, INTERRUPT))["type"] == "agent.interrupt.confirmed"


async def test_a_second_session_init_on_a_socket_is_refused():
    async with Sandbox() as sandbox:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            assert (await ask(socket, init(session)))["type"] == "error"


async def test_a_socket_without_session_init_is_closed_in_the_end():
    async with Sandbox(init_deadline_secs=0.05) as sandbox, connect(sandbox) as socket:
        assert await closed(socket) == (1008, "no session.init in time")


# --- speaking and interrupting -----------------------------------------------------------


async def test_speech_is_confirmed_and_heard_sample_for_sample():
    clock = HandClock()
    async with Sandbox(clock=clock) as sandbox, established(sandbox) as socket:
        for first in (1, 1601):
            answer = await ask(socket, speak(tone(1600, first)))
            assert answer == {"type": "agent.speak.confirmed", "audio_samples": 1600}
        assert sandbox.heard().samples == 0
        clock.now += 0.5 + 0.15
        heard = sandbox.heard()
        assert heard.audio.tolist() == tone(2400).tolist()
        assert [segment.starts_at for segment in heard.segments] == [1000.5]


async def test_the_confirmation_counts_samples_after_resampling():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        answer = await ask(socket, speak(tone(4800), sample_rate=48_000))
        assert answer["audio_samples"] == 1600


async def test_an_interruption_cuts_at_the_sample_being_heard():
    clock = HandClock()
    async with Sandbox(clock=clock) as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(16_000)))
        clock.now += 0.5 + 0.25
        assert await ask(socket, INTERRUPT) == {"type": "agent.interrupt.confirmed"}
        clock.now += 10
        assert sandbox.heard().audio.tolist() == tone(4000).tolist()
        await ask(socket, speak(tone(160, 5000)))
        clock.now += 10
        assert sandbox.heard().audio.tolist() == [*tone(4000), *tone(160, 5000)]


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("{", "Invalid JSON format"),
        (b"{}", "Invalid JSON format"),
        ({"type": "agent.speak"}, "No audio data provided"),
        ({"type": "agent.speak", "audio": "?"}, "Failed to process audio: "),
        ({"type": "agent.shout"}, "Unknown message type: agent.shout"),
        ({"type": "session.init"}, "Missing session id"),
    ],
)
async def test_a_mistake_is_answered_and_the_socket_stays_open(message, text):
    async with Sandbox() as sandbox, established(sandbox) as socket:
        answer = await ask(socket, message)
        assert answer["type"] == "error"
        assert answer["error"].startswith(text)
        assert (await ask(socket, speak(tone(10))))["type"] == "agent.speak.confirmed"


async def test_a_sandbox_can_close_the_socket_after_an_error():
    async with Sandbox(error_close_code=1011) as sandbox, established(sandbox) as socket:
        assert (await ask(socket, "{"))["type"] == "error"
        assert (await closed(socket))[0] == 1011
        assert [record.ended_by for record in sandbox.sessions] == [Ending.SERVER_CLOSED]


async def test_a_message_of_ten_megabytes_is_the_largest():
    largest = json.dumps(speak(tone(3_749_000))).ljust(10_000_000)
    assert len(largest) == 10_000_000
    async with Sandbox() as sandbox, established(sandbox) as socket:
        assert (await ask(socket, largest))["type"] == "agent.speak.confirmed"
        await socket.send(largest + " ")
        assert (await closed(socket))[0] == 1009
        assert sandbox.live_sessions == []


# --- the end of a session ----------------------------------------------------------------


async def test_closing_the_socket_ends_the_session_and_silences_the_avatar():
    clock = HandClock()
    async with Sandbox(clock=clock) as sandbox:
        async with established(sandbox) as socket:
            await ask(socket, speak(tone(16_000)))
            clock.now += 0.6
        await sandbox.wait_until_ended()
        clock.now += 10
        assert sandbox.sessions[0].ended_by is Ending.CLIENT_CLOSED
        assert sandbox.sessions[0].ended_at == 1000.6
        assert sandbox.heard().samples == 1600


async def test_losing_the_socket_ends_the_session():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        socket.transport.abort()
        await sandbox.wait_until_ended()
        assert sandbox.sessions[0].ended_by is Ending.SOCKET_LOST


async def test_an_end_request_closes_the_socket():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        session_id = sandbox.live_sessions[0].id
        await request(sandbox, "POST", f"/sessions/{session_id}/end")
        assert await closed(socket) == (1000, "session ended")
        record = sandbox.sessions[0]
        assert (record.ended_by, record.end_requests) == (Ending.END_REQUEST, 1)


async def test_a_sandbox_can_leave_the_socket_of_an_ended_session_open():
    async with Sandbox(end_close_code=None) as sandbox, established(sandbox) as socket:
        await sandbox.end_session()
        assert await ask(socket, speak(tone(10))) == error("Session not found")
        assert await ask(socket, INTERRUPT) == error("Session not found")


async def test_a_session_expires():
    async with Sandbox(session_secs=0.05) as sandbox:
        await create(sandbox)
        await sandbox.wait_until_ended()
        assert sandbox.sessions[0].ended_by is Ending.EXPIRED


async def test_the_socket_of_a_session_that_expires_is_closed():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        await sandbox.end_session()
        assert (await closed(socket))[0] == 1000


async def test_an_orphaned_session_is_swept_away():
    async with Sandbox(orphan_secs=0.05) as sandbox:
        await create(sandbox)
        await sandbox.wait_until_ended()
        assert sandbox.sessions[0].ended_by is Ending.NEVER_CONNECTED


async def test_sweep_and_deadline_spare_sessions_that_are_connected():
    async with (
        Sandbox(orphan_secs=1.5, init_deadline_secs=1.5) as sandbox,
        established(sandbox) as socket,
    ):
        await asyncio.sleep(1.6)
        assert (await ask(socket, INTERRUPT))["type"] == "agent.interrupt.confirmed"


# --- what a test can do to a client ------------------------------------------------------


async def test_unsolicited_messages_arrive_as_they_are():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        await sandbox.send('{"type": "agent.sneezed",}')
        await sandbox.send(b"\x00\xff", sandbox.live_sessions[0].id)
        assert [await receive(socket), await receive(socket)] == [
            '{"type": "agent.sneezed",}',
            b"\0\xff",
        ]


async def test_a_dropped_socket_is_closed_with_the_code_of_choice_and_ends_its_session():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        await sandbox.drop(code=4321, reason="maintenance")
        assert sandbox.live_sessions == []
        assert await closed(socket) == (4321, "maintenance")


async def test_an_aborted_socket_is_reset_without_a_close_frame():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        await sandbox.drop(abort=True)
        assert (await closed(socket))[0] == 1006
        assert sandbox.sessions[0].ended_by is Ending.SERVER_CLOSED


async def test_there_is_nothing_to_drop_without_a_socket():
    async with Sandbox() as sandbox:
        with pytest.raises(LookupError):
            await sandbox.drop()
        with pytest.raises(LookupError):
            await sandbox.send("", "sess_none")


# --- the network -------------------------------------------------------------------------


async def test_everything_takes_the_round_trip_and_keeps_its_order():
    round_trip_secs = 0.2
    async with Sandbox(round_trip_secs=round_trip_secs) as sandbox:
        started = time.monotonic()
        async with established(sandbox) as socket:
            assert time.monotonic() - started >= 3 * round_trip_secs  # create, open, init
            started = time.monotonic()
            pong = await socket.ping()
            for samples in range(1, 30):
                await socket.send(json.dumps(speak(tone(samples))))
            answers = [json.loads(await receive(socket)) for _ in range(1, 30)]
            assert time.monotonic() - started >= round_trip_secs
            assert [answer["audio_samples"] for answer in answers] == list(range(1, 30))
            assert await pong >= round_trip_secs
            pinged = await sandbox.wait_for("ping")
            spoken = await sandbox.wait_for("agent.speak")
            assert pinged["number"] < spoken["number"]


async def test_losing_the_socket_is_noticed_half_a_round_trip_later():
    async with Sandbox(round_trip_secs=0.2) as sandbox, established(sandbox) as socket:
        aborted_at = time.monotonic()
        socket.transport.abort()
        await sandbox.wait_until_ended()
        assert sandbox.sessions[0].ended_at - aborted_at >= 0.1


# --- the end of the sandbox --------------------------------------------------------------


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("round_trip_secs", [0.0, 0.1])
async def test_a_sandbox_closes_while_clients_are_connected(round_trip_secs):
    before = asyncio.all_tasks()
    async with Sandbox(round_trip_secs=round_trip_secs, max_sessions=3) as sandbox:
        socket = await connect(sandbox)
        session = await create(sandbox)
        await ask(socket, init(session))
        idle = await connect(sandbox)
        mute = await connect(sandbox)
        mute.transport.pause_reading()  # will not answer the closing handshake
    assert (await closed(socket))[0] == 1001
    assert (await closed(idle))[0] == 1001
    assert sandbox.sessions[0].ended_by is Ending.SANDBOX_CLOSED
    mute.transport.abort()
    for client in (socket, idle, mute):
        await client.wait_closed()
    left = {task for task in asyncio.all_tasks() - before if "sandbox" in repr(task.get_coro())}
    assert left == set()


async def test_a_closed_sandbox_frees_its_port_and_keeps_what_was_heard():
    async with Sandbox(render_latency_secs=0.0) as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(160)))
        await sandbox.wait_until_quiet()
    assert sandbox.heard().audio.tolist() == tone(160).tolist()
    async with Sandbox(port=sandbox.port) as other:
        assert other.ws_url == sandbox.ws_url


async def test_a_sandbox_starts_once():
    async with Sandbox() as sandbox:
        with pytest.raises(RuntimeError):
            await sandbox.start()
    await sandbox.close()


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.1", "example.com", ""])
def test_only_loopback_is_listened_on(host):
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(host=host)


async def test_localhost_is_one_address():
    async with Sandbox(host="localhost") as sandbox:
        assert sandbox.api_url == f"http://127.0.0.1:{sandbox.port}/v1"
        await create(sandbox)


@pytest.mark.parametrize(
    "arguments",
    [{"round_trip_secs": -1}, {"session_secs": float("nan")}, {"before_join": "x"}],
)
def test_arguments_out_of_range_are_named(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        Sandbox(**arguments)
