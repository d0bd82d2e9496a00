from __future__ import annotations

import asyncio
import json
import logging
import time

import aiohttp
import pytest
import websockets
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from websockets.exceptions import InvalidStatus

from pipecat_agenthuman.sandbox import Fault, Sandbox, parse_fault
from pipecat_agenthuman.sandbox.faults import FaultBook
from tests.support.sandbox_client import (
    INTERRUPT,
    WISH,
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

CONFIRMED = {"type": "agent.speak.confirmed", "audio_samples": 160}
SPEECH = speak(tone(160))


@pytest.fixture(autouse=True)
def _no_errors_are_logged(caplog):
    """Neither aiohttp nor asyncio may complain, whatever a client or a fault does."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def unanswered(socket) -> bool:
    """Whether nothing comes for a while."""
    try:
        await asyncio.wait_for(socket.recv(), 0.1)
    except TimeoutError:
        return True
    return False


# --- which occurrence -------------------------------------------------------------------


@given(
    nth=st.integers(1, 6),
    times=st.none() | st.integers(1, 6),
    before=st.integers(0, 3),
    occurrences=st.integers(0, 15),
)
def test_a_fault_strikes_from_its_nth_occurrence_on_so_many_times(nth, times, before, occurrences):
    book = FaultBook()
    fault = Fault(on="get", kind="abort", nth=nth, times=times)
    for _ in range(before):
        book.strike("get")
    book.inject(fault)
    struck = []
    for number in range(1, occurrences + 1):
        assert book.strike("end") is None
        if book.strike("get"):
            struck.append(number)
    last = occurrences if times is None else min(occurrences, nth + times - 1)
    assert struck == list(range(nth, last + 1))


def test_of_several_faults_the_first_injected_strikes_and_the_others_count():
    book = FaultBook()
    first, second = Fault(on="get", kind="abort"), Fault(on="get", kind="missing", nth=2)
    book.inject(second)
    book.inject(first)
    assert [book.strike("get") for _ in range(3)] == [first, second, None]
    book.inject(first)
    book.clear()
    assert book.strike("get") is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('{"on": "create", "kind": "silent"}', "cannot happen on 'create'"),
        ('{"on": "ping", "kind": "trailing_comma"}', "cannot happen on 'ping'"),
        ('{"on": "create", "kind": "refuse", "staus": 400}', "staus"),
        ('{"on": "nowhere", "kind": "refuse"}', "on: "),
        ('{"kind": "refuse"}', "on: "),
        ('{"on": "create", "kind": "refuse", "nth": 0}', "nth: "),
        ('{"on": "create", "kind": "delay", "delay_secs": -1}', "delay_secs: "),
        ('{"on": "get", "kind": "refuse", "headers": {"A": "b\\r\\nC: d"}}', "headers: .*CR"),
        ('{"on": "get", "kind": "refuse", "headers": {"A": "b\\nC: d"}}', "headers: .*LF"),
        ('{"on": "get", "kind": "refuse", "headers": {"A\\r": "b"}}', "headers: .*CR"),
        ('{"on": "get", "kind": "refuse", "headers": {"A\\u0000": "b"}}', "headers: .*NUL"),
        ("{", "JSON"),
        ("[]", "object"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_on_one_line(text, problem):
    with pytest.raises(ValueError, match=problem) as caught:
        parse_fault(text)
    assert "\n" not in str(caught.value)


def test_a_fault_cannot_be_changed_once_it_is_made():
    with pytest.raises(ValidationError):
        Fault(on="get", kind="abort").nth = 2


# --- on commands ------------------------------------------------------------------------


async def test_a_missing_confirmation_leaves_the_next_one_in_its_place():
    async with Sandbox(render_latency_secs=0) as sandbox, established(sandbox) as socket:
        sandbox.inject(Fault(on="agent.speak", kind="missing"))
        await socket.send(json.dumps(SPEECH))
        assert await unanswered(socket)
        assert await ask(socket, SPEECH) == CONFIRMED
        assert (await sandbox.wait_until_quiet()).samples == 320


async def test_a_missing_command_is_neither_confirmed_nor_heard():
    async with Sandbox(render_latency_secs=0) as sandbox, established(sandbox) as socket:
        sandbox.inject(Fault(on="agent.speak", kind="missing", carried_out=False))
        await socket.send(json.dumps(SPEECH))
        assert await ask(socket, SPEECH) == CONFIRMED
        assert (await sandbox.wait_until_quiet()).samples == 160


@pytest.mark.parametrize(
    ("fault", "command", "answers"),
    [
        (Fault(on="agent.speak", kind="duplicate"), SPEECH, [CONFIRMED, CONFIRMED]),
        (
            Fault(on="agent.speak", kind="error", text="No GPU"),
            SPEECH,
            [{"type": "error", "error": "No GPU"}],
        ),
        (
            Fault(on="agent.speak", kind="wrong_samples", audio_samples=-1),
            SPEECH,
            [{**CONFIRMED, "audio_samples": -1}],
        ),
        (
            Fault(on="agent.speak", kind="wrong_samples", audio_samples="many"),
            SPEECH,
            [{**CONFIRMED, "audio_samples": "many"}],
        ),
        (Fault(on="agent.speak", kind="garbage", payload="0"), SPEECH, [0]),
        (
            Fault(on="agent.speak", kind="garbage", payload="0", instead=False),
            SPEECH,
            [0, CONFIRMED],
        ),
        (
            Fault(on="agent.interrupt", kind="error"),
            INTERRUPT,
            [{"type": "error", "error": "Something went wrong"}],
        ),
    ],
)
async def test_an_answer_can_be_wrong(fault, command, answers):
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        assert await ask(socket, command) == answers[0]
        for answer in answers[1:]:
            assert json.loads(await receive(socket)) == answer
        assert (await ask(socket, INTERRUPT))["type"] == "agent.interrupt.confirmed"


async def test_garbage_can_be_binary():
    fault = parse_fault('{"on": "agent.speak", "kind": "garbage", "payload_base64": "AP8="}')
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        await socket.send(json.dumps(SPEECH))
        assert await receive(socket) == b"\x00\xff"


async def test_the_interrupt_confirmation_can_be_misprinted_as_in_the_documentation():
    fault = Fault(on="agent.interrupt", kind="trailing_comma", times=None)
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        for _ in range(3):
            await socket.send(json.dumps(INTERRUPT))
            text = str(await receive(socket))
            assert (
                text.replace(" ", "").replace("\n", "") == '{"type":"agent.interrupt.confirmed",}'
            )


async def test_an_error_means_that_the_speech_is_not_heard():
    fault = Fault(on="agent.speak", kind="error")
    async with (
        Sandbox(render_latency_secs=0, faults=[fault]) as sandbox,
        established(sandbox) as socket,
    ):
        await ask(socket, SPEECH)
        await ask(socket, speak(tone(16, 1000)))
        assert (await sandbox.wait_until_quiet()).audio.tolist() == tone(16, 1000).tolist()


async def test_a_slow_command_holds_up_those_behind_it():
    fault = Fault(on="agent.speak", kind="delay", delay_secs=0.2)
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        started = time.monotonic()
        await socket.send(json.dumps(SPEECH))
        assert (await ask(socket, INTERRUPT)) == CONFIRMED
        assert json.loads(await receive(socket))["type"] == "agent.interrupt.confirmed"
        assert time.monotonic() - started >= 0.2
        assert sandbox.heard().samples == 0


async def test_several_slow_commands_keep_their_order():
    fault = Fault(on="agent.speak", kind="delay", delay_secs=0.05, times=2)
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        for samples in (1, 2, 3, 4):
            await socket.send(json.dumps(speak(tone(samples))))
        answers = [json.loads(await receive(socket))["audio_samples"] for _ in range(4)]
        assert answers == [1, 2, 3, 4]


async def test_a_late_answer_is_overtaken():
    fault = Fault(on="agent.speak", kind="delay", delay_secs=0.2, delayed="answer")
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        await socket.send(json.dumps(SPEECH))
        assert (await ask(socket, INTERRUPT))["type"] == "agent.interrupt.confirmed"
        assert json.loads(await receive(socket)) == CONFIRMED


async def test_pings_are_answered_while_a_command_is_slow():
    fault = Fault(on="agent.speak", kind="delay", delay_secs=60)
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        await socket.send(json.dumps(SPEECH))
        await (await socket.ping())


async def test_a_session_ends_at_once_with_its_socket_although_a_command_is_slow():
    fault = Fault(on="agent.speak", kind="delay", delay_secs=60)
    async with Sandbox(faults=[fault]) as sandbox:
        async with established(sandbox) as socket:
            await socket.send(json.dumps(SPEECH))
        await sandbox.wait_until_ended()


# --- on the connection ------------------------------------------------------------------


@pytest.mark.parametrize("on", ["session.init", "agent.speak", "agent.interrupt", "ping"])
async def test_the_socket_can_be_closed_with_any_code(on):
    fault = Fault(on=on, kind="close", code=4000, reason="enough")
    async with Sandbox(faults=[fault]) as sandbox:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await socket.send(json.dumps(init(session)))
            await socket.send(json.dumps(SPEECH))
            await socket.send(json.dumps(INTERRUPT))
            await socket.ping()
            assert await closed(socket) == (4000, "enough")
        if on == "session.init":  # the session was never this socket's
            await sandbox.end_session()
        await sandbox.wait_until_ended()


@pytest.mark.parametrize("on", ["session.init", "agent.speak", "ping"])
async def test_the_connection_can_be_reset(on):
    async with Sandbox(faults=[Fault(on=on, kind="abort")]) as sandbox:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await socket.send(json.dumps(init(session)))
            await socket.send(json.dumps(SPEECH))
            await socket.ping()
            assert (await closed(socket))[0] == 1006


@pytest.mark.parametrize("on", ["session.init", "agent.speak", "ping"])
async def test_a_silent_server_reads_on_and_never_answers_again(on):
    async with Sandbox(faults=[Fault(on=on, kind="silent")]) as sandbox:
        session = await create(sandbox)
        async with connect(sandbox, close_timeout=0.1) as socket:
            if on != "session.init":
                await ask(socket, init(session))
            else:
                await socket.send(json.dumps(init(session)))
            if on == "agent.speak":
                await socket.send(json.dumps(SPEECH))
            pong = await socket.ping()
            for _ in range(100):
                await socket.send(json.dumps(speak(tone(16_000))))
            assert await unanswered(socket)
            assert not pong.done()
            seen = await sandbox.wait_for("fault")
            assert not [e for e in sandbox.log[seen["number"] :] if e["direction"] == "out"]
            started = time.monotonic()
        assert time.monotonic() - started >= 0.1  # not even the close frame
        if on == "session.init":
            await sandbox.end_session()
        await sandbox.wait_until_ended()


async def test_a_server_can_fall_silent_from_the_start():
    fault = Fault(on="connect", kind="silent")
    async with (
        Sandbox(faults=[fault]) as sandbox,
        connect(sandbox, close_timeout=0.1) as socket,
    ):
        await socket.send(json.dumps(init(await create(sandbox))))
        assert await unanswered(socket)
        assert sandbox.sessions[0].connected_at is None


async def test_speech_sent_to_a_silent_server_is_not_heard_unless_wanted():
    for carried_out, samples in ((None, 0), (True, 320)):
        fault = Fault(on="agent.speak", kind="silent", carried_out=carried_out)
        async with (
            Sandbox(render_latency_secs=0, faults=[fault]) as sandbox,
            established(sandbox, close_timeout=0.1) as socket,
        ):
            for _ in range(2):
                await socket.send(json.dumps(SPEECH))
            seen = await sandbox.wait_for("agent.speak")
            await sandbox.wait_for("agent.speak", after=seen["number"])
            assert (await sandbox.wait_until_quiet()).samples == samples


async def test_behind_a_cut_network_a_session_outlives_its_client_until_it_is_ended():
    async with Sandbox(faults=[Fault(on="ping", kind="cut")]) as sandbox:
        async with established(sandbox, close_timeout=0.1) as socket:
            assert await ask(socket, SPEECH) == CONFIRMED
            await socket.ping()
            await socket.send(json.dumps(SPEECH))
            assert await unanswered(socket)
        await sandbox.wait_for("socket.closed")
        assert len(sandbox.live_sessions) == 1
        await sandbox.end_session()
        assert not sandbox.live_sessions


async def test_behind_a_cut_network_a_session_that_nobody_ends_is_swept():
    async with Sandbox(faults=[Fault(on="ping", kind="cut")], orphan_secs=0.1) as sandbox:
        async with established(sandbox, close_timeout=0.1) as socket:
            await socket.ping()
        await sandbox.wait_until_ended()
        assert sandbox.sessions[0].ended_by == "without a client"


async def test_a_server_that_stops_reading_backs_up_the_clients_writes():
    async with Sandbox() as sandbox, established(sandbox, close_timeout=0.1) as socket:
        sandbox.inject(Fault(on="agent.speak", kind="stall_reading"))
        message = json.dumps(speak(tone(300_000)))
        sent = 0
        try:
            while sent < 200:  # 160 MB, far more than kernels buffer
                await asyncio.wait_for(socket.send(message), 0.5)
                sent += 1
        except TimeoutError:
            pass
        assert sent < 200
        assert len([e for e in sandbox.log if e["what"] == "agent.speak"]) == 1
        socket.transport.abort()


async def test_a_stalled_server_can_still_be_closed():
    fault = Fault(on="agent.speak", kind="stall_reading")
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        await socket.send(json.dumps(SPEECH))
        await sandbox.wait_for("fault")
        await socket.send(json.dumps(INTERRUPT))
        await sandbox.drop(code=4000)
        assert (await closed(socket))[0] == 4000


@pytest.mark.parametrize("kind", ["missing", "delay"])
async def test_a_pong_can_be_missing_or_late(kind):
    fault = Fault(on="ping", kind=kind, delay_secs=0.2 if kind == "delay" else 0)
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        late = await socket.ping()
        await ask(socket, INTERRUPT)
        assert not late.done()
        if kind == "delay":
            assert await late >= 0.2
        else:
            await (await socket.ping())


# --- on connecting ----------------------------------------------------------------------


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
async def test_the_handshake_can_be_refused(status):
    fault = Fault(on="connect", kind="refuse", status=status, headers={"Retry-After": "7"})
    async with Sandbox(faults=[fault]) as sandbox:
        with pytest.raises(InvalidStatus) as caught:
            await connect(sandbox)
        assert caught.value.response.status_code == status
        assert caught.value.response.headers["Retry-After"] == "7"
        async with connect(sandbox):
            pass


async def test_the_handshake_can_hang_and_be_reset():
    faults = [Fault(on="connect", kind="missing"), Fault(on="connect", kind="abort", nth=2)]
    async with Sandbox(faults=faults) as sandbox:
        with pytest.raises(TimeoutError):
            await connect(sandbox, open_timeout=0.1)
        with pytest.raises((OSError, websockets.InvalidMessage)):
            await connect(sandbox)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault(on="connect", kind="error", text="Full"), '{"type": "error", "error": "Full"}'),
        (Fault(on="connect", kind="garbage", payload="<html>"), "<html>"),
    ],
)
async def test_a_message_can_come_right_after_the_handshake(fault, message):
    async with Sandbox(faults=[fault]) as sandbox, connect(sandbox) as socket:
        assert await receive(socket) == message


async def test_the_socket_can_be_closed_right_after_the_handshake():
    fault = Fault(on="connect", kind="close", code=1013)
    async with Sandbox(faults=[fault]) as sandbox, connect(sandbox) as socket:
        assert (await closed(socket))[0] == 1013


# --- on requests ------------------------------------------------------------------------


async def ask_rest(sandbox: Sandbox, on: str, **arguments) -> aiohttp.ClientResponse:
    methods = {"get": ("GET", "/sessions/x"), "end": ("POST", "/sessions/x/end")}
    method, path = methods.get(on, ("POST", "/sessions"))
    limit = aiohttp.ClientTimeout(total=arguments.pop("timeout", 30))
    async with (
        aiohttp.ClientSession(headers={"x-api-key": sandbox.api_key}, timeout=limit) as http,
        http.request(method, sandbox.api_url + path, json=WISH) as response,
    ):
        await response.read()
        return response


@pytest.mark.parametrize("on", ["create", "get", "end"])
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503])
async def test_a_request_can_be_refused_with_any_status(on, status):
    fault = Fault(on=on, kind="refuse", status=status, headers={"X-RateLimit-Remaining": "0"})
    async with Sandbox(faults=[fault]) as sandbox:
        response = await ask_rest(sandbox, on)
        error = (await response.json())["error"]
        assert response.status == status
        assert response.headers["X-RateLimit-Remaining"] == "0"
        assert isinstance(error, str) == (status in (401, 429))
        assert sandbox.sessions == []
        assert (await ask_rest(sandbox, on)).status == {"create": 201}.get(on, 404)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("<html>", "<html>"),
        ("", ""),
        ({"error": 7}, '{"error": 7}'),
        ([1], "[1]"),
        (False, "false"),
    ],
)
async def test_a_request_can_be_answered_with_any_body(body, text):
    fault = Fault(on="create", kind="refuse", status=200, body=body)
    async with Sandbox(faults=[fault]) as sandbox:
        response = await ask_rest(sandbox, "create")
        assert (response.status, await response.text()) == (200, text)


@pytest.mark.parametrize("kind", ["abort", "close"])
@pytest.mark.parametrize("carried_out", [None, True])
async def test_a_connection_can_be_lost_before_or_after_the_session_is_created(kind, carried_out):
    fault = Fault(on="create", kind=kind, carried_out=carried_out)
    async with Sandbox(faults=[fault]) as sandbox:
        with pytest.raises(aiohttp.ClientConnectionError):
            await ask_rest(sandbox, "create")
        assert len(sandbox.live_sessions) == (1 if carried_out else 0)


async def test_a_reset_is_a_reset_and_a_close_is_not():
    faults = [Fault(on="usage", kind="abort"), Fault(on="usage", kind="close", nth=2)]
    async with Sandbox(faults=faults) as sandbox:

        async def answer() -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
            writer.write(b"GET /v1/usage HTTP/1.1\r\nHost: localhost\r\n\r\n")
            try:
                return await reader.read()
            finally:
                writer.close()

        with pytest.raises(ConnectionResetError):
            await answer()
        assert await answer() == b""


async def test_a_request_can_hang_although_the_session_is_created():
    async with Sandbox(faults=[Fault(on="create", kind="missing")]) as sandbox:
        with pytest.raises(TimeoutError):
            await ask_rest(sandbox, "create", timeout=0.2)
        await sandbox.wait_for("session.created")


async def test_a_request_can_be_carried_out_late():
    fault = Fault(on="create", kind="delay", delay_secs=0.2)
    async with Sandbox(faults=[fault]) as sandbox:
        assert (await ask_rest(sandbox, "create")).status == 201
        struck = await sandbox.wait_for("fault")
        created = await sandbox.wait_for("session.created")
        assert created["at_secs"] - struck["at_secs"] >= 0.2


async def test_a_request_can_be_carried_out_at_once_and_answered_late():
    fault = Fault(on="create", kind="delay", delay_secs=0.2, delayed="answer")
    async with Sandbox(faults=[fault]) as sandbox:
        asked = asyncio.create_task(ask_rest(sandbox, "create"))
        created_at = (await sandbox.wait_for("session.created"))["at_secs"]
        assert not asked.done()
        assert (await asked).status == 201
        assert time.monotonic() - sandbox.started_at - created_at >= 0.2


@pytest.mark.filterwarnings("error")
async def test_a_sandbox_closes_although_requests_hang():
    faults = [
        Fault(on="create", kind="missing"),
        Fault(on="create", kind="delay", delay_secs=600, nth=2),
        Fault(on="connect", kind="missing"),
    ]
    async with Sandbox(faults=faults, max_sessions=2) as sandbox:
        asked = [
            asyncio.create_task(request(sandbox, "POST", "/sessions", json=WISH)),
            asyncio.create_task(request(sandbox, "POST", "/sessions", json=WISH)),
            asyncio.create_task(asyncio.wait_for(connect(sandbox), 30)),
        ]
        for number in range(len(faults)):
            await sandbox.wait_for(
                lambda entry, number=number: (
                    entry["what"] == "fault"
                    and entry["kind"] == faults[number].kind
                    and entry["on"] == faults[number].on
                )
            )
        started = time.monotonic()
    assert time.monotonic() - started < 10
    assert sandbox.live_sessions == []
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert not any(isinstance(answer, TimeoutError) for answer in answers)
