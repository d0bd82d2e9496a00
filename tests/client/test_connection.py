"""What only a real socket shows: against the sandbox, and against servers that lie.

What the conversation on it means is proved in virtual time, in ``test_conversation``.
"""

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from pipecat_agenthuman._credentials import redact
from pipecat_agenthuman.client.connection import Connection, ConnectionLimits
from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    ErrorReported,
    Established,
    Loss,
    SpeechConfirmed,
    Unexpected,
)
from pipecat_agenthuman.errors import LossKind
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.wire.protocol import ServerErrorCode, SessionInit
from tests.support.faults import fault
from tests.support.sounds import RATE
from tests.support.waiting import LIMIT_SECS, until

TOKEN = "a-session-token-that-nobody-may-see"
KEY = "key-0123456789-abcdefghijkl"
SESSION = SessionInit("sess_1", TOKEN)

LIMITS = ConnectionLimits(
    connect_timeout_secs=2,
    establish_timeout_secs=0.5,
    confirm_timeout_secs=0.5,
    close_timeout_secs=0.5,
    ping_interval_secs=0.3,
    ping_timeout_secs=0.7,
)
PATIENT = ConnectionLimits(close_timeout_secs=0.5)
"""The defaults, which no test here waits for."""

ESTABLISHED = json.dumps({"type": "connection.established", "session_id": "sess_1"})


def pcm(samples: int) -> bytes:
    return np.arange(1, samples + 1, dtype="<i2").tobytes()


def error(text: str) -> str:
    return json.dumps({"type": "error", "error": text})


class Line:
    """A connection that runs, and what it told."""

    def __init__(self, url: str, session: SessionInit = SESSION, **options: Any) -> None:
        self.events: list[ConnectionEvent] = []
        options = {"limits": PATIENT} | options
        self.connection = Connection(url, session, on_event=self.events.append, **options)
        self.running = asyncio.create_task(self.connection.run())

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def saw(self, kind: type[Any], nth: int = 1) -> Any:
        await until(lambda: len(self.of(kind)) >= nth or self.running.done())
        return self.of(kind)[nth - 1]

    async def loss(self) -> Loss:
        async with asyncio.timeout(LIMIT_SECS):
            return await asyncio.shield(self.running)


@asynccontextmanager
async def connected(url: str, **options: Any) -> AsyncIterator[Line]:
    line = Line(url, **options)
    try:
        yield line
    finally:
        line.connection.leave()
        await line.loss()


@asynccontextmanager
async def in_sandbox(sandbox: Sandbox, **options: Any) -> AsyncIterator[Line]:
    """A connection that is established, to a session of the sandbox."""
    room = {"platform": "daily", "url": "https://example.daily.co/room", "token": "room-token"}
    async with (
        aiohttp.ClientSession(headers={"x-api-key": sandbox.api_key}) as http,
        http.post(f"{sandbox.api_url}/sessions", json={"avatar": "avat_1", "room": room}) as answer,
    ):
        session = (await answer.json())["session"]
    init = SessionInit(session["session_id"], session["session_token"])
    async with connected(sandbox.ws_url, session=init, **options) as line:
        await line.saw(Established)
        yield line


@asynccontextmanager
async def serving(
    converse: Callable[[ServerConnection], Awaitable[None]], **options: Any
) -> AsyncIterator[str]:
    """A server on loopback that does whatever a test wants; yields its URL."""

    async def handler(socket: ServerConnection) -> None:
        try:
            await converse(socket)
        except ConnectionClosed:
            return

    async with serve(handler, "127.0.0.1", 0, close_timeout=0.5, **options) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"


# --- coming up -------------------------------------------------------------------------


async def test_session_init_is_the_first_message_and_nothing_follows_until_it_is_answered():
    received: list[str] = []
    answer = asyncio.Event()

    async def converse(socket: ServerConnection) -> None:
        async def note() -> None:
            async for message in socket:
                received.append(message)

        noting = asyncio.create_task(note())
        await answer.wait()
        await socket.send(ESTABLISHED)
        await noting

    async with serving(converse) as url, connected(url) as line:
        await until(lambda: bool(received))
        assert not line.connection.can_speak
        assert not line.connection.interrupt()
        with pytest.raises(RuntimeError):
            line.connection.speak(pcm(160))
        answer.set()
        await line.saw(Established)
        assert len(received) == 1
        line.connection.speak(pcm(160))
        await until(lambda: len(received) == 2)
    assert json.loads(received[0]) == {
        "type": "session.init",
        "session_id": "sess_1",
        "session_token": TOKEN,
    }


async def test_messages_are_not_compressed_although_the_server_offers_it():
    extensions: list[object] = []

    async def converse(socket: ServerConnection) -> None:
        extensions.append(socket.request.headers.get("Sec-WebSocket-Extensions"))
        extensions.extend(socket.protocol.extensions)
        await socket.wait_closed()

    async with serving(converse, compression="deflate") as url, connected(url):
        await until(lambda: bool(extensions))
    assert extensions == [None]


async def test_a_server_that_never_answers_the_handshake_is_given_up():
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    async with server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        limits = ConnectionLimits(connect_timeout_secs=0.5)
        loss = await Line(url, limits=limits).loss()
    assert loss.kind is LossKind.CONNECT_FAILED
    assert "timed out" in loss.reason


async def test_a_port_where_nobody_listens_is_reported():
    server = await asyncio.start_server(lambda r, w: w.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    loss = await Line(f"ws://127.0.0.1:{port}").loss()
    assert loss.kind is LossKind.CONNECT_FAILED
    assert "cannot connect" in loss.reason


@pytest.mark.parametrize("status", [401, 404, 500, 503])
async def test_a_refused_handshake_is_reported_with_its_status(status: int):
    async with Sandbox() as sandbox:
        sandbox.inject(fault("connect", "refuse", status=status))
        loss = await Line(sandbox.ws_url).loss()
    assert (loss.kind, loss.code) == (LossKind.CONNECT_FAILED, status)
    assert str(status) in loss.reason


async def test_a_redirect_is_not_followed_because_the_token_would_go_along():
    visits: list[ServerConnection] = []

    async def converse(socket: ServerConnection) -> None:
        visits.append(socket)

    async with serving(converse) as elsewhere, Sandbox() as sandbox:
        headers = {"Location": elsewhere}
        sandbox.inject(fault("connect", "refuse", status=307, headers=headers))
        loss = await Line(sandbox.ws_url).loss()
    assert (loss.kind, loss.code) == (LossKind.CONNECT_FAILED, 307)
    assert not visits


@pytest.mark.parametrize("url", ["ws://" + "x" * 70 + ".invalid", "ws://127.0.0.1:1/%zz"])
async def test_a_url_that_leads_nowhere_is_a_loss_and_not_an_exception(url: str):
    assert (await Line(url).loss()).kind is LossKind.CONNECT_FAILED


async def test_a_socks_proxy_without_its_library_is_a_loss_and_not_an_exception(monkeypatch):
    # Only a loopback address is reached without the proxies of the environment.
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "")
    loss = await Line("ws://agenthuman.invalid").loss()
    assert loss.kind is LossKind.CONNECT_FAILED


async def test_a_session_that_the_server_refuses_is_a_loss_with_its_words():
    async with Sandbox() as sandbox:
        sandbox.inject(fault("session.init", "error", text="Session not found"))
        loss = await Line(sandbox.ws_url).loss()
    assert loss.kind is LossKind.SESSION_REFUSED
    assert loss.error.entry.code is ServerErrorCode.SESSION_NOT_FOUND


async def test_audio_that_is_not_speech_is_refused_and_the_connection_goes_on():
    async with Sandbox() as sandbox, in_sandbox(sandbox) as line:
        with pytest.raises(ValueError, match=r"agent\.speak"):
            line.connection.speak(b"")
        line.connection.speak(pcm(160))
        await line.saw(SpeechConfirmed)


# --- speaking --------------------------------------------------------------------------


async def test_speech_arrives_in_order_and_to_the_sample():
    audio = pcm(4000)
    async with Sandbox(render_latency_secs=0) as sandbox, in_sandbox(sandbox) as line:
        for start in range(0, 4000, 400):
            await until(lambda: line.connection.can_speak)
            line.connection.speak(audio[2 * start : 2 * (start + 400)])
        await line.saw(SpeechConfirmed, 10)
        heard = await sandbox.wait_until_quiet()
    assert heard.audio.tobytes() == audio


async def test_a_confirmation_tells_when_and_how_long_it_took():
    async with Sandbox(round_trip_secs=0.2) as sandbox, in_sandbox(sandbox) as line:
        loop = asyncio.get_running_loop()
        await until(lambda: line.connection.round_trip_secs > 0)
        sent_at = loop.time()
        line.connection.speak(pcm(160))
        event = await line.saw(SpeechConfirmed)
        received_at = loop.time()
        queued = await sandbox.wait_for("speech.queued")
        confirmed_at = sandbox.started_at + queued["at_secs"]
    assert 0.2 <= event.took_secs <= received_at - sent_at
    assert sent_at < event.at < received_at
    assert abs(event.at - confirmed_at) < 0.15
    assert line.connection.confirm_secs >= 0.2


async def test_an_interrupt_overtakes_speech_that_has_not_left_and_waits_for_nothing():
    received: list[str] = []

    async def converse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ESTABLISHED)
        async for message in socket:
            received.append(json.loads(message)["type"])

    async with serving(converse) as url, connected(url, max_unconfirmed=3) as line:
        await line.saw(Established)
        line.connection.speak(pcm(160))
        await until(lambda: len(received) == 1)
        # No turn of the event loop lies between these: the second message has not left.
        line.connection.speak(pcm(161))
        assert line.connection.interrupt()
        await until(lambda: len(received) == 2)
        assert not line.connection.can_speak
    assert received == ["agent.speak", "agent.interrupt"]


# --- ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1012, 3000, 4999])
async def test_a_close_is_reported_with_its_code_and_reason(code: int):
    async with Sandbox() as sandbox, in_sandbox(sandbox) as line:
        await sandbox.drop(code=code, reason="because it is late")
        loss = await line.loss()
    assert (loss.kind, loss.code) == (LossKind.CLOSED, code)
    assert "because it is late" in loss.reason
    assert not line.connection.established


async def test_a_connection_that_breaks_is_reported_as_broken():
    async with Sandbox() as sandbox, in_sandbox(sandbox) as line:
        await sandbox.drop(abort=True)
        loss = await line.loss()
    assert (loss.kind, loss.code) == (LossKind.CLOSED, 1006)


@pytest.mark.parametrize("command", ["agent.speak", "agent.interrupt"])
async def test_a_command_without_an_answer_is_a_lost_connection(command: str):
    async with Sandbox() as sandbox, in_sandbox(sandbox, limits=LIMITS) as line:
        sandbox.inject(fault(command, "missing"))
        if command == "agent.speak":
            line.connection.speak(pcm(160))
        else:
            line.connection.interrupt()
        loss = await line.loss()
    assert loss.kind is LossKind.SILENT
    assert f"did not answer {command} within 0.5 s" in loss.reason


async def test_a_session_init_without_an_answer_is_a_lost_connection():
    async with Sandbox() as sandbox:
        sandbox.inject(fault("session.init", "missing"))
        loss = await Line(sandbox.ws_url, limits=LIMITS).loss()
    assert loss.kind is LossKind.SILENT
    assert "session.init" in loss.reason


async def test_a_half_open_socket_is_found_while_nothing_is_said():
    async with Sandbox() as sandbox, in_sandbox(sandbox, limits=LIMITS) as line:
        sandbox.inject(fault("ping", "silent"))
        loss = await line.loss()
    assert loss.kind is LossKind.SILENT
    assert "ping" in loss.reason


async def test_a_server_that_does_not_answer_is_not_asked_to_close():
    """Its avatar would fall silent for that, and nobody else speak before."""
    limits = replace(LIMITS, close_timeout_secs=2 * LIMIT_SECS)
    async with Sandbox() as sandbox, in_sandbox(sandbox, limits=limits) as line:
        sandbox.inject(fault("agent.speak", "silent"))
        line.connection.speak(pcm(160))
        assert (await line.loss()).kind is LossKind.SILENT


async def test_a_server_that_reads_no_more_is_found_and_left_in_time():
    async with Sandbox() as sandbox:
        options = {"limits": LIMITS, "max_unconfirmed": 2}
        async with in_sandbox(sandbox, **options) as line:
            sandbox.inject(fault("agent.speak", "stall_reading"))
            line.connection.speak(pcm(160))
            await sandbox.wait_for("fault")
            # More than the buffers on the way hold, so that sending itself blocks.
            began = time.monotonic()
            line.connection.speak(bytes(2 * 120 * RATE))
            assert (await line.loss()).kind is LossKind.SILENT
            assert time.monotonic() - began < 10


async def test_an_answer_that_a_busy_event_loop_reads_late_still_counts():
    with Sandbox() as sandbox:  # in a thread of its own, which goes on answering
        async with in_sandbox(sandbox, limits=LIMITS) as line:
            line.connection.speak(pcm(160))
            await sandbox.wait_for("agent.speak")
            time.sleep(0.8)  # noqa: ASYNC251 - that is what a busy event loop is
            await line.saw(SpeechConfirmed)
            assert not line.running.done()


async def test_leaving_closes_the_socket_and_says_so():
    async with Sandbox() as sandbox, in_sandbox(sandbox) as line:
        line.connection.leave()
        assert (await line.loss()).kind is LossKind.LEFT
        await sandbox.wait_until_ended()


async def test_leaving_before_anything_stands_works_too():
    async with Sandbox() as sandbox:
        line = Line(sandbox.ws_url)
        line.connection.leave()
        assert (await line.loss()).kind is LossKind.LEFT


async def test_leaving_a_server_that_does_not_close_takes_no_longer_than_its_limit():
    async with Sandbox() as sandbox, in_sandbox(sandbox, limits=LIMITS) as line:
        sandbox.inject(fault("ping", "silent"))
        await sandbox.wait_for("fault")
        line.connection.leave()
        assert (await line.loss()).kind is LossKind.LEFT


async def test_cancelling_leaves_no_task_and_no_socket():
    before = asyncio.all_tasks()
    async with Sandbox() as sandbox, in_sandbox(sandbox) as line:
        line.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await line.running
        await sandbox.wait_until_ended()
        line.running = asyncio.create_task(asyncio.sleep(0))
    assert asyncio.all_tasks() <= before


# --- what a server says ----------------------------------------------------------------


async def test_a_message_beyond_all_measure_ends_the_connection():
    async with Sandbox() as sandbox, in_sandbox(sandbox) as line:
        await sandbox.send("x" * 2_000_000)
        assert (await line.loss()).kind is LossKind.SILENT


async def test_a_server_that_takes_no_more_speech_is_left_whatever_its_words():
    async with Sandbox() as sandbox:
        sandbox.inject(fault("agent.speak", "error", text="The moon is full", nth=2, times=2))
        sandbox.inject(fault("agent.speak", "error", text="The moon is full", nth=5, times=None))
        async with in_sandbox(sandbox) as line:
            for number in range(1, 8):
                await until(lambda: line.connection.can_speak or line.running.done())
                if not line.running.done():
                    line.connection.speak(pcm(100 + number))
            loss = await line.loss()
        # Two in a row are no reason yet: a confirmation came after them.
        assert [event.speech_rejected for event in line.of(ErrorReported)] == [True] * 5
        assert loss.kind is LossKind.SPEECH_REFUSED
        assert "The moon is full" in loss.reason


@pytest.mark.parametrize("said", [error(f"go away, {KEY}"), b"\xff " + KEY.encode()])
async def test_what_the_server_echoes_of_secrets_that_the_caller_knows_is_not_told(said):
    async def converse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ESTABLISHED)
        await socket.send(said)
        await socket.close(4000, f"bye {KEY}")

    async with serving(converse) as url:
        line = Line(url, redacted=lambda text: redact(text, KEY, TOKEN))
        loss = await line.loss()
    assert len(line.events) == 2
    shown = f"{line.events!r} {loss!r}"
    assert KEY[:12] not in shown
    assert "[redacted]" in loss.reason


async def test_a_certificate_that_is_not_trusted_is_named_and_final(monkeypatch):
    async def untrusted(*_: object) -> None:
        raise ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate")

    monkeypatch.setattr("pipecat_agenthuman.client.connection.open_socket", untrusted)
    loss = await Line("wss://example.com").loss()
    assert loss.kind is LossKind.CONNECT_FAILED
    assert "self-signed" in loss.reason
    assert loss.final


@pytest.mark.parametrize(
    "proxy",
    ["user:geheim@host:3128", "http://user:geheim@", "http://user:geheim@127.0.0.1:99999"],
)
async def test_a_proxy_that_is_none_is_a_loss_that_does_not_tell_its_password(monkeypatch, proxy):
    monkeypatch.setenv("https_proxy", proxy)
    loss = await Line("wss://example.com").loss()
    assert loss.kind is LossKind.CONNECT_FAILED
    assert "geheim" not in loss.reason
    assert loss.final


async def test_what_the_server_echoes_of_the_token_is_not_told():
    async def converse(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(ESTABLISHED)
        await socket.send(error(f"what is {TOKEN}?"))
        await socket.send(f"{TOKEN} is not JSON")
        await socket.send(json.dumps({"type": "agent.nod", "token": TOKEN}))
        await socket.close(4000, f"bad {TOKEN}")

    async with serving(converse) as url:
        line = Line(url)
        loss = await line.loss()
    told = repr([line.events, loss, line.connection, [e.message for e in line.of(Unexpected)]])
    events = [dict(e.message.event) for e in line.of(Unexpected) if hasattr(e.message, "event")]
    assert TOKEN not in told + repr(events)
    assert "[redacted]" in loss.reason


@pytest.mark.parametrize("secs", [0, -1, float("nan"), float("inf")])
def test_limits_that_are_none_are_refused(secs: float):
    with pytest.raises(ValueError, match="confirm_timeout_secs"):
        ConnectionLimits(confirm_timeout_secs=secs)
