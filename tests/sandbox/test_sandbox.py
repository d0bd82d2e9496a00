from __future__ import annotations

import asyncio
import json
import logging
import math
import threading
import time
import wave
from io import BytesIO

import aiohttp
import pytest

import pipecat_agenthuman.sandbox
from pipecat_agenthuman.sandbox import Fault, Sandbox
from tests.support.sandbox_client import (
    INTERRUPT,
    ROOM,
    ask,
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
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- what is kept -------------------------------------------------------------------------


async def test_the_oldest_sound_of_ended_sessions_is_forgotten_in_the_end(monkeypatch):
    monkeypatch.setattr("pipecat_agenthuman.sandbox.account._KEPT_SOUND_SECS", 0.25)
    async with Sandbox(render_latency_secs=0) as sandbox:
        for _ in range(4):
            async with established(sandbox) as socket:
                await ask(socket, speak(tone(1600)))
                await sandbox.wait_until_quiet()
            await sandbox.wait_until_ended()
        ids = [session.id for session in sandbox.sessions]
        assert [sandbox.heard_samples(one) for one in ids] == [0, 0, 1600, 1600]


# --- the avatar in the room ---------------------------------------------------------------


async def test_hooks_learn_which_room_the_avatar_joins_and_leaves():
    seen = []

    async def left(record):
        await asyncio.sleep(0.05)
        seen.append(("left", record.id, record.room_token))

    async with Sandbox(
        on_avatar_joined=lambda record: seen.append(("joined", record.id, record.room_token)),
        on_avatar_left=left,
    ) as sandbox:
        session_id = (await create(sandbox))["session_id"]
    assert seen == [("joined", session_id, ROOM["token"]), ("left", session_id, ROOM["token"])]


async def test_a_failing_hook_is_reported_and_the_session_goes_on():
    def fail(record):
        raise RuntimeError(f"no room for {record.room_token}")

    async with Sandbox(on_avatar_joined=fail) as sandbox, established(sandbox) as socket:
        entry = await sandbox.wait_for("hook.failed")
        assert "RuntimeError" in entry["error"]
        assert ROOM["token"] not in entry["error"]
        assert (await ask(socket, INTERRUPT))["type"] == "agent.interrupt.confirmed"


class Moved:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(("before_join", "heard"), [("lost", range(801, 1601)), ("held", [])])
async def test_words_before_the_avatar_joins_are_lost_or_held(before_join, heard):
    clock = Moved()
    async with (
        Sandbox(clock=clock, join_delay_secs=0.55, before_join=before_join) as sandbox,
        established(sandbox) as socket,
    ):
        await ask(socket, speak(tone(1600)))
        clock.now = 0.54
        assert sandbox.heard().samples == 0
        clock.now = 0.6 if before_join == "lost" else 0.55
        assert sandbox.heard().audio.tolist() == list(heard)
        clock.now = 0.65
        assert sandbox.heard().audio.tolist() == list(heard or range(1, 1601))


async def test_the_avatar_joins_later_when_told_so():
    async with Sandbox(join_delay_secs=0.1) as sandbox:
        await create(sandbox)
        created = await sandbox.wait_for("session.created")
        joined = await sandbox.wait_for("avatar.joined")
        assert joined["at_secs"] - created["at_secs"] >= 0.1
        record = sandbox.sessions[0]
        assert record.joins_at == pytest.approx(record.created_at + 0.1)


async def test_an_avatar_that_never_joins_never_leaves():
    async with Sandbox(join_delay_secs=None) as sandbox:
        await create(sandbox)
        await sandbox.end_session()
        assert math.isinf(sandbox.sessions[0].joins_at)
        assert not [entry for entry in sandbox.log if entry["what"].startswith("avatar")]
        assert sandbox.state()["sessions"][0].get("joins_at_secs") is None


async def test_an_avatar_whose_session_ends_before_it_joins_is_never_heard():
    clock = Moved()
    async with Sandbox(clock=clock, join_delay_secs=60.0, before_join="held") as sandbox:
        async with established(sandbox) as socket:
            await ask(socket, speak(tone(1600)))
        await sandbox.wait_until_ended()
        clock.now = 1000.0
        assert sandbox.heard().samples == 0


async def test_an_avatar_can_leave_while_its_session_goes_on():
    left = []
    clock = Moved()
    async with (
        Sandbox(clock=clock, on_avatar_left=left.append) as sandbox,
        established(sandbox) as socket,
    ):
        await ask(socket, speak(tone(1600)))
        clock.now = 0.55
        await sandbox.remove_avatar()
        assert (await ask(socket, speak(tone(1600))))["audio_samples"] == 1600
        clock.now = 9.0
        assert sandbox.heard().audio.tolist() == tone(800).tolist()
        await sandbox.end_session()
    assert len(left) == 1


# --- what was heard, by session -----------------------------------------------------------


async def test_what_was_heard_can_be_asked_by_session():
    clock = Moved()
    async with Sandbox(clock=clock, max_sessions=2) as sandbox:
        async with established(sandbox) as first, established(sandbox) as second:
            await ask(second, speak(tone(160, 1000)))
            await ask(first, speak(tone(160)))
            clock.now = 1.0
        one, two = (record.id for record in sandbox.sessions)
        assert sandbox.heard(one).audio.tolist() == tone(160).tolist()
        assert sandbox.heard(two).audio.tolist() == tone(160, 1000).tolist()
        assert sandbox.heard().audio.tolist() == [*tone(160), *tone(160, 1000)]
        with pytest.raises(LookupError):
            sandbox.heard("sess_none")


# --- waiting ------------------------------------------------------------------------------


async def test_waiting_for_sound_returns_what_was_heard_by_then():
    async with (
        Sandbox(render_latency_secs=0.05) as sandbox,
        established(sandbox) as socket,
    ):
        await ask(socket, speak(tone(3200)))
        some = await sandbox.wait_until_heard()
        half = await sandbox.wait_until_heard(0.1)
        everything = await sandbox.wait_until_quiet()
        assert 1 <= some.samples <= half.samples <= everything.samples == 3200
        assert half.duration_secs >= 0.1


async def test_waiting_in_vain_says_what_happened():
    async with Sandbox() as sandbox:
        for waiting in (
            sandbox.wait_for("agent.speak", timeout_secs=0.01),
            sandbox.wait_until_heard(timeout_secs=0.01),
        ):
            with pytest.raises(TimeoutError, match=r"sandbox\.started"):
                await waiting
        await create(sandbox)
        with pytest.raises(TimeoutError, match=r"session\.created"):
            await sandbox.wait_until_ended(timeout_secs=0.01)


async def test_waiting_can_begin_after_an_entry():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        await ask(socket, INTERRUPT)
        first = await sandbox.wait_for("agent.interrupt")
        waiting = asyncio.create_task(sandbox.wait_for("agent.interrupt", after=first["number"]))
        await asyncio.sleep(0)
        assert not waiting.done()
        await ask(socket, INTERRUPT)
        assert (await waiting)["number"] > first["number"]


# --- a thread of its own ------------------------------------------------------------------


def test_a_sandbox_serves_from_a_thread_of_its_own():
    async def converse(sandbox: Sandbox) -> None:
        async with established(sandbox) as socket:
            await ask(socket, speak(tone(160)))
            session_id = sandbox.live_sessions[0].id
            assert (await sandbox.wait_until_quiet(session_id)).samples == 160
            sandbox.inject(Fault(on="agent.interrupt", kind="error", text="No"))
            assert (await ask(socket, INTERRUPT))["error"] == "No"
            await sandbox.send("unasked")
            assert await receive(socket) == "unasked"
            await sandbox.drop(code=4000)
            await socket.wait_closed()
            assert socket.close_code == 4000
            await sandbox.wait_until_ended()

    threads = []

    def left(record):
        threads.append(threading.current_thread().name)

    before = threading.active_count()
    with Sandbox(render_latency_secs=0.0, on_avatar_left=left) as sandbox:
        for _ in range(2):  # in two event loops, one after the other
            asyncio.run(converse(sandbox))
        assert sandbox.heard().samples == 320
        assert len(sandbox.sessions) == 2
        assert sandbox.state()["heard_secs"] == 320 / 16_000
    assert threads == ["agenthuman-sandbox"] * 2
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="not running"):
        asyncio.run(sandbox.send("x"))


def test_waiting_in_one_thread_sees_what_another_thread_does():
    with Sandbox() as sandbox:
        asyncio.run(create(sandbox))
        ending = threading.Timer(0.1, lambda: asyncio.run(sandbox.end_session()))
        ending.start()
        # Debugging, asyncio objects to being called from the wrong thread.
        asyncio.run(sandbox.wait_for("session.ended"), debug=True)
        ending.join()


def test_a_thread_that_cannot_listen_says_so():
    with Sandbox() as sandbox, pytest.raises(OSError, match="in use"), Sandbox(port=sandbox.port):
        pass


def test_a_sandbox_in_a_thread_can_be_read_while_it_works():
    async def chatter(sandbox: Sandbox) -> None:
        async with established(sandbox) as socket:
            for _ in range(100):
                await ask(socket, speak(tone(160)))
                await ask(socket, INTERRUPT)

    with Sandbox(render_latency_secs=0.0) as sandbox:
        talking = threading.Thread(target=asyncio.run, args=(chatter(sandbox),))
        talking.start()
        samples = 0
        while talking.is_alive():
            heard = sandbox.heard()
            assert heard.samples >= samples  # what was heard stays heard
            assert heard.samples == sum(segment.samples for segment in heard.segments)
            samples = heard.samples
            time.sleep(0.001)
            assert sandbox.state()["live_sessions"] <= 1
            assert [entry["number"] for entry in sandbox.log][:2] == [1, 2][: len(sandbox.log)]
        talking.join()


# --- the log ------------------------------------------------------------------------------


async def test_the_log_file_holds_every_entry_as_soon_as_it_is_made(tmp_path):
    path = tmp_path / "log.jsonl"
    async with Sandbox(log_path=path) as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(480), sample_rate=48_000))
        assert [json.loads(line) for line in path.read_text().splitlines()] == sandbox.log
        entry = await sandbox.wait_for("agent.speak")
        assert (entry["samples"], entry["sample_rate"]) == (480, 48_000)
        assert (entry["direction"], entry["session_id"]) == ("in", sandbox.sessions[0].id)
        confirmed = await sandbox.wait_for("agent.speak.confirmed")
        assert (confirmed["direction"], confirmed["audio_samples"]) == ("out", 160)


async def test_no_secret_reaches_the_log_however_it_is_sent(tmp_path):
    path = tmp_path / "log.jsonl"
    async with Sandbox(log_path=path) as sandbox:
        session = await create(sandbox)
        secrets = [session["session_token"], ROOM["token"], sandbox.api_key]
        async with connect(sandbox) as socket:
            await ask(socket, init(session))
            for secret in secrets:
                await ask(socket, {"type": secret})
                await ask(socket, {"type": "agent.speak", "audio": secret})
                await request(sandbox, "GET", f"/sessions/{secret}")
                await sandbox.send(json.dumps({"type": secret, "error": {"echo": secret}}))
                await receive(socket)
            await sandbox.drop(reason=session["session_token"])
        await sandbox.wait_until_ended()
    written = path.read_text()
    for secret in secrets:
        assert secret not in written
        assert secret not in repr(sandbox.log)


async def test_a_log_that_cannot_be_written_stops_the_start(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        await Sandbox(log_path=tmp_path / "nowhere" / "log.jsonl").start()


# --- control ------------------------------------------------------------------------------


async def control(sandbox: Sandbox, method: str, path: str, **arguments):
    async with (
        aiohttp.ClientSession() as http,
        http.request(
            method, sandbox.api_url.replace("/v1", f"/sandbox{path}"), **arguments
        ) as response,
    ):
        if response.content_type == "audio/wav":
            return response.status, await response.read()
        return response.status, await response.json()


async def test_the_state_can_be_read_without_a_key():
    async with Sandbox(minutes=10) as sandbox, established(sandbox):
        status, state = await control(sandbox, "GET", "/state")
        assert status == 200
        assert (state["live_sessions"], state["minutes_left"]) == (1, 9)
        (session,) = state["sessions"]
        assert session["session_id"] == sandbox.sessions[0].id
        assert session["room"] == {"platform": "daily", "url": ROOM["url"]}
        assert session["connected_at_secs"] >= session["created_at_secs"]


async def test_faults_can_be_ordered_while_the_sandbox_runs():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        one = {"on": "agent.interrupt", "kind": "error", "text": "One"}
        many = [{**one, "nth": 1, "text": "Two"}, {**one, "nth": 2, "text": "Three"}]
        assert (await control(sandbox, "POST", "/faults", json=one))[0] == 201
        assert (await ask(socket, INTERRUPT))["error"] == "One"
        assert (await control(sandbox, "POST", "/faults", json=many))[0] == 201
        assert (await ask(socket, INTERRUPT))["error"] == "Two"
        _, armed = await control(sandbox, "GET", "/faults")
        assert [(fault["seen"], fault["struck"]) for fault in armed] == [(2, 1), (1, 1), (1, 0)]
        assert await control(sandbox, "DELETE", "/faults") == (200, [])
        assert (await ask(socket, INTERRUPT))["type"] == "agent.interrupt.confirmed"


async def test_one_fault_is_disarmed_and_the_others_stay():
    async with Sandbox() as sandbox:
        many = [{"on": "create", "kind": "refuse"}, {"on": "ping", "kind": "missing"}]
        _, (refuse, missing) = await control(sandbox, "POST", "/faults", json=many)
        assert await control(sandbox, "DELETE", f"/faults/{refuse['number']}") == (200, [missing])
        status, _ = await control(sandbox, "DELETE", f"/faults/{refuse['number']}")
        assert status == 404
        (again,) = (await control(sandbox, "POST", "/faults", json=many[:1]))[1][1:]
        assert again["number"] > missing["number"]  # a number stands for one fault, for good


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "7",
        '{"on": "create", "kind": "silent"}',
        '{"on": "create", "kind": "refuse", "headers": {"Retry-After": "1\\r\\nX: y"}}',
        "[{}]",
    ],
)
async def test_a_fault_that_makes_no_sense_is_refused(body):
    async with Sandbox() as sandbox:
        status, answer = await control(sandbox, "POST", "/faults", data=body)
        assert (status, answer["success"]) == (400, False)
        assert (await control(sandbox, "GET", "/faults"))[1] == []


async def test_what_was_heard_can_be_fetched_as_a_wav_file():
    clock = Moved()
    async with Sandbox(clock=clock) as sandbox, established(sandbox) as socket:
        for first in (1, 161):
            await ask(socket, speak(tone(160, first)))
            clock.now += 1.0
        for path, samples in (
            ("/heard.wav", 16_160),
            ("/heard.wav?longest_gap_secs=0", 320),
            (f"/heard.wav?longest_gap_secs=0.5&session_id={sandbox.sessions[0].id}", 8320),
        ):
            status, wav = await control(sandbox, "GET", path)
            with wave.open(BytesIO(wav)) as file:
                assert (status, file.getnframes()) == (200, samples)
        for path, status in (
            ("?session_id=sess_none", 404),
            ("?longest_gap_secs=x", 400),
            ("?longest_gap_secs=-1", 400),
            ("?longest_gap_secs=inf", 400),
        ):
            assert (await control(sandbox, "GET", f"/heard.wav{path}"))[0] == status


async def test_the_log_can_be_fetched_from_any_entry_on():
    async with Sandbox() as sandbox, established(sandbox):
        _, entries = await control(sandbox, "GET", "/log")
        assert entries == sandbox.log
        _, later = await control(sandbox, "GET", f"/log?after={entries[2]['number']}")
        assert later == entries[3:]
        assert (await control(sandbox, "GET", f"/log?after={10**18 - 1}")) == (200, [])
        for after in ("", "x", "-1", "1.5", "\u0661", str(10**18), "9" * 5000):
            assert (await control(sandbox, "GET", f"/log?after={after}"))[0] == 400


# --- the package --------------------------------------------------------------------------


def test_every_name_of_the_package_is_there():
    for name in pipecat_agenthuman.sandbox.__all__:
        assert getattr(pipecat_agenthuman.sandbox, name) is not None
    with pytest.raises(AttributeError):
        _ = pipecat_agenthuman.sandbox.nonsense
