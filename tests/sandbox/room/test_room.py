from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from itertools import pairwise

import aiohttp
import numpy as np
import pytest

from pipecat_agenthuman.sandbox import Fault, Sandbox
from pipecat_agenthuman.sandbox.room.room import MAX_VIEWERS
from tests.support.room_client import room_ws_url, visit
from tests.support.sandbox_client import (
    INTERRUPT,
    ask,
    closed,
    connect,
    create,
    established,
    init,
    request,
    speak,
    tone,
)


@pytest.fixture(autouse=True)
def _no_errors_are_logged(caplog):
    """Neither aiohttp nor asyncio may complain, whatever a page does."""
    yield
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


# --- what a page gets ---------------------------------------------------------------------


async def test_a_page_is_greeted_with_what_it_has_to_know():
    async with Sandbox(render_latency_secs=0.25, max_sessions=3) as sandbox:
        session = await create(sandbox)
        sandbox.inject(Fault(on="create", kind="refuse"))
        async with visit(sandbox) as page:
            hello = await page.message("hello")
            await page.message("utterances")
        assert page.order[:3] == ["hello", "log", "utterances"]
        assert {key: hello[key] for key in ("protocol", "sample_rate", "mouth_rate")} == {
            "protocol": 1,
            "sample_rate": 16_000,
            "mouth_rate": 100,
        }
        assert (hello["render_latency_secs"], hello["max_sessions"]) == (0.25, 3)
        assert (hello["api_url"], hello["ws_url"]) == (sandbox.api_url, sandbox.ws_url)
        (described,) = hello["sessions"]
        assert (described["session_id"], described["avatar_in_room"]) == (
            session["session_id"],
            True,
        )
        assert [armed["fault"]["on"] for armed in hello["faults"]] == ["create"]
        assert hello["talk"]["is_hosted"] is False
        backlog = page.all("log")[0]
        assert backlog["is_backlog"] is True
        assert backlog["entries"][0]["what"] == "sandbox.started"


async def test_a_page_gets_every_sample_that_the_room_hears_at_the_time_it_sounds():
    async with Sandbox(render_latency_secs=0.2) as sandbox, visit(sandbox) as page:
        async with established(sandbox) as socket:
            for first in range(1, 9001, 900):
                await ask(socket, speak(tone(900, first)))
            heard = await sandbox.wait_until_heard(9000 / 16_000)
            session_id = sandbox.sessions[0].id
            await page.until(lambda: len(page.heard_of(session_id)) == 9000)
        assert page.heard_of(session_id).tolist() == heard.audio.tolist()
        assert [one.number for one in page.speech] == list(range(1, len(page.speech) + 1))
        # On a busy machine there are gaps between the segments; the page knows of the same.
        begun = [one.starts_at_secs for one in page.speech if not one.continues]
        segments = [segment.starts_at - sandbox.started_at for segment in heard.segments]
        assert begun == pytest.approx(segments, abs=1e-4)
        for before, after in pairwise(page.speech):
            ends_at_secs = before.starts_at_secs + len(before.audio) / 16_000
            assert not after.continues or after.starts_at_secs == pytest.approx(ends_at_secs)


async def test_a_page_has_speech_before_it_sounds():
    async with (
        Sandbox(render_latency_secs=0.5) as sandbox,
        visit(sandbox) as page,
        established(sandbox) as socket,
    ):
        await page.message("hello")
        await ask(socket, speak(tone(1600)))
        await page.until(lambda: page.speech)
        assert page.speech[0].starts_at_secs > time.monotonic() - sandbox.started_at


async def test_who_comes_in_mid_sentence_gets_what_sounds_and_will():
    async with Sandbox(render_latency_secs=0.0) as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(160_000)))
        await ask(socket, speak(tone(16_000, 2)))
        await sandbox.wait_until_heard(0.1)
        async with visit(sandbox) as first:
            await first.message("utterances")
            assert first.order[1] == "speech"
            sent = first.heard_of(sandbox.sessions[0].id)
        async with visit(sandbox) as second:  # a reload
            await second.message("utterances")
        assert sent.tolist() == [*tone(160_000), *tone(16_000, 2)]
        assert second.heard_of(sandbox.sessions[0].id).tolist() == sent.tolist()
        assert [one.number for one in second.speech] == [one.number for one in first.speech]


async def test_who_comes_after_an_interrupt_gets_nothing_of_what_was_cut():
    async with Sandbox() as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(16_000)))
        async with visit(sandbox) as watching:
            await watching.until(lambda: watching.speech)
            await ask(socket, INTERRUPT)
            await watching.message("cut")
        async with visit(sandbox) as late:
            (utterance,) = (await late.message("utterances"))["utterances"]
        assert late.speech == []
        assert (utterance["state"], utterance["summary"]) == (
            "interrupted",
            "0.0 s heard of 1.0 s, interrupted",
        )


async def test_an_interrupt_is_told_at_once_with_its_time():
    async with Sandbox(render_latency_secs=0) as sandbox, visit(sandbox) as page:
        async with established(sandbox) as socket:
            await ask(socket, speak(tone(160_000)))
            await sandbox.wait_until_heard(0.1)
            await ask(socket, INTERRUPT)
            cut = await page.message("cut")
        heard = sandbox.heard()
        assert cut["session_id"] == sandbox.sessions[0].id
        assert cut["at_secs"] == pytest.approx(
            heard.segments[0].ends_at - sandbox.started_at, abs=1e-3
        )
        assert cut["dropped_secs"] == pytest.approx(10 - heard.duration_secs, abs=1e-3)
        assert page.order.index("cut") > page.order.index("speech")


async def test_what_follows_an_interrupt_is_new_speech():
    async with (
        Sandbox(render_latency_secs=0.1) as sandbox,
        visit(sandbox) as page,
        established(sandbox) as socket,
    ):
        await ask(socket, speak(tone(16_000)))
        await page.until(lambda: page.speech)
        await ask(socket, INTERRUPT)
        await ask(socket, speak(tone(800)))
        after = await page.until(lambda: next((x for x in page.speech if len(x.audio) == 800), 0))
        assert not after.continues
        assert after.mouth_at_secs == after.starts_at_secs


async def test_coming_and_going_is_told():
    async with Sandbox(render_latency_secs=0, join_delay_secs=0.05) as sandbox:
        async with visit(sandbox) as page:
            await page.message("hello")
            async with established(sandbox):
                await page.message("session", lambda told: told["session"]["avatar_in_room"])
                await sandbox.remove_avatar()
                await page.until(lambda: not page.messages[-1].get("session", {"x": 1}).get("x"))
            ended = await page.message("session", lambda told: told["session"]["ended_by"])
            entry = await page.until(
                lambda: [e for e in entries(page) if e["what"] == "session.ended"]
            )
        states = [
            (one["session"]["avatar_in_room"], one["session"]["connected_at_secs"] is not None)
            for one in page.all("session")
        ]
        assert states[0] == (False, False)
        assert (True, True) in states
        assert ended["session"]["ended_by"] == "client closed the socket"
        assert entry[0]["session_id"] == ended["session"]["session_id"]


async def test_two_sessions_are_told_apart():
    async with Sandbox(max_sessions=2) as sandbox, visit(sandbox) as page:
        sessions = [await create(sandbox) for _ in range(2)]
        async with connect(sandbox) as one, connect(sandbox) as other:
            for socket, session in zip((one, other), sessions, strict=True):
                await ask(socket, init(session))
            await ask(one, speak(tone(1600)))
            await ask(other, speak(tone(3200)))
            ids = [session["session_id"] for session in sessions]
            await page.until(lambda: [len(page.heard_of(one)) for one in ids] == [1600, 3200])


def entries(page) -> list[dict]:
    return [entry for told in page.all("log") for entry in told["entries"]]


async def test_a_page_gets_every_entry_of_the_log_once_and_in_order():
    async with Sandbox() as sandbox:
        async with visit(sandbox) as page:
            async with established(sandbox) as socket:
                for _ in range(20):
                    await ask(socket, INTERRUPT)
            await page.until(lambda: [e for e in entries(page) if e["what"] == "socket.closed"])
        numbers = [entry["number"] for entry in entries(page)]
        assert numbers == list(range(1, len(numbers) + 1))
        assert entries(page) == sandbox.log[: len(numbers)]


async def test_answers_say_what_they_answer_and_after_what_time():
    fault = Fault(on="agent.speak", kind="delay", delay_secs=0.1, delayed="answer")
    async with Sandbox(faults=[fault]) as sandbox, established(sandbox) as socket:
        await ask(socket, speak(tone(160)))
    by_what = {(e["direction"], e["what"]): e for e in sandbox.log}
    asked = by_what["in", "agent.speak"]
    confirmed = by_what["out", "agent.speak.confirmed"]
    assert confirmed["answers"] == asked["number"]
    assert confirmed["after_secs"] == pytest.approx(
        confirmed["at_secs"] - asked["at_secs"], abs=0.01
    )
    created = by_what["out", "POST /v1/sessions"]
    assert created["answers"] == by_what["in", "POST /v1/sessions"]["number"]


async def test_messages_are_shown_without_their_audio_and_their_token():
    async with Sandbox() as sandbox:
        session = await create(sandbox)
        async with connect(sandbox) as socket:
            await ask(socket, {**init(session), "session_token": "a-wrong-token"})
            await ask(socket, init(session))
            await ask(socket, speak(tone(1600)))
            await ask(socket, "{" + "x" * 1000)
            await ask(socket, b"\x00\x01")
        shown = [entry["message"] for entry in sandbox.log if "message" in entry]
        assert all(len(text) <= 300 for text in shown)
        assert not any(secret in "".join(shown) for secret in ("a-wrong", session["session_token"]))
        assert json.loads(shown[0])["session_id"] == session["session_id"]
        assert json.loads(shown[4]) == {
            "type": "agent.speak",
            "audio": "… 3200 bytes in base64 …",
            "sample_rate": 16_000,
        }
        assert "2 bytes: 00 01" in shown


async def test_faults_are_told_when_they_are_armed_strike_and_are_cleared():
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.message("hello")
        threading.Thread(target=sandbox.inject, args=[Fault(on="usage", kind="delay")]).start()
        await page.message("faults", lambda told: told["faults"])
        await request(sandbox, "GET", "/usage")
        await page.message("faults", lambda told: told["faults"][0]["struck"] == 1)
        sandbox.clear_faults()
        await page.message("faults", lambda told: not told["faults"])


async def test_many_small_messages_of_a_bot_are_few_of_the_room():
    """A page costs little because news goes together; speech is there in time all the same."""
    async with (
        Sandbox(render_latency_secs=0.5) as sandbox,
        visit(sandbox) as page,
        established(sandbox) as socket,
    ):
        await page.message("hello")
        started = time.monotonic()
        for first in range(1, 160_001, 1600):  # on no machine slower than it sounds
            await ask(socket, speak(tone(1600, first)))
            await asyncio.sleep(0.01)
        session_id = sandbox.sessions[0].id
        await page.until(lambda: len(page.heard_of(session_id)) == 160_000)
        elapsed = time.monotonic() - started
        told = [kind for kind in page.order if kind in ("speech", "log", "utterances")]
        assert len(told) < 30 * elapsed + 10


async def test_an_entry_comes_once_to_who_comes_while_it_is_on_its_way():
    async with Sandbox() as sandbox, visit(sandbox) as first:
        await first.message("hello")
        await create(sandbox)
        async with visit(sandbox) as second:
            await request(sandbox, "GET", "/usage")
            await second.until(lambda: "GET /v1/usage" in [e["what"] for e in entries(second)])
        numbers = [entry["number"] for entry in entries(second)]
        assert numbers == sorted(set(numbers))


# --- limits -------------------------------------------------------------------------------


async def handshake(sandbox: Sandbox, **headers: str) -> int:
    """Try to come in; return the status if that fails, and 101 if it does not."""
    async with aiohttp.ClientSession() as http:
        try:
            async with http.ws_connect(room_ws_url(sandbox), headers=headers):
                return 101
        except aiohttp.WSServerHandshakeError as error:
            return error.status


async def test_more_viewers_than_there_is_room_for_are_refused():
    async with Sandbox() as sandbox, aiohttp.ClientSession() as http:
        url = room_ws_url(sandbox)
        sockets = [await http.ws_connect(url) for _ in range(MAX_VIEWERS)]
        assert await handshake(sandbox) == 503
        assert sandbox.state()["room"] == {"viewers": MAX_VIEWERS, "max_viewers": MAX_VIEWERS}
        await sockets[0].close()
        await until(lambda: sandbox.state()["room"]["viewers"] < MAX_VIEWERS)
        assert await handshake(sandbox) == 101
        for socket in sockets:
            await socket.close()


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - no event tells
            await asyncio.sleep(0.01)


async def test_pages_that_come_and_go_without_end_are_refused():
    async with Sandbox() as sandbox:
        assert 503 in [await handshake(sandbox) for _ in range(40)]


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("{", 1008),
        ("[]", 1008),
        ('{"type": 7}', 1008),
        ('{"type": "say", "text": "' + "x" * 5000 + '"}', 1008),
        ("x" * 7000, 1009),
        (b"\x00" * 6402, 1009),
        (b"\x00", 1008),
    ],
)
async def test_messages_that_are_none_of_the_page_end_the_connection(message, code):
    async with Sandbox() as sandbox, visit(sandbox) as page:
        if isinstance(message, str):
            await page.socket.send_str(message)
        else:
            await page.socket.send_bytes(message)
        assert await page.closed() == code


async def test_messages_that_a_later_page_may_send_are_ignored():
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.send(type="wave", hand="left")
        await page.send(type="ping", t=7)
        pong = await page.message("pong")
        assert pong["t"] == 7
        assert pong["now_secs"] == pytest.approx(time.monotonic() - sandbox.started_at, abs=1)


async def test_a_ping_brings_back_a_number_and_nothing_else():
    """What is nested as deep as can just be read could not be written again."""
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.socket.send_str(f'{{"type": "ping", "t": {"[" * 500}{"]" * 500}}}')
        assert (await page.message("pong"))["t"] is None


async def test_a_flood_of_messages_is_cut_off_and_disturbs_nobody():
    """The speaking session keeps its time, and other pages stay."""
    speech = tone(1600)
    async with Sandbox(render_latency_secs=0.1) as sandbox, visit(sandbox) as other:
        async with established(sandbox) as socket:
            floods = asyncio.gather(*[flood(sandbox) for _ in range(4)])
            for _ in range(10):
                await ask(socket, speak(speech))
                await asyncio.sleep(0.08)
            codes = await floods
            heard = await sandbox.wait_until_heard(1.0)
        assert codes == [1008] * 4
        assert heard.samples == 16_000
        assert not other.socket.closed


async def flood(sandbox: Sandbox) -> int | None:
    async with visit(sandbox) as page:
        with_text = json.dumps({"type": "say", "text": "now"})
        try:
            for _ in range(5000):
                await page.socket.send_str(with_text)
        except ConnectionError:
            pass
        return await page.closed()


async def test_a_page_that_reads_nothing_is_sent_away_and_nothing_piles_up():
    async with Sandbox(render_latency_secs=0, max_sessions=1) as sandbox:
        reader, writer = await asyncio.open_connection("127.0.0.1", sandbox.port)
        writer.write(
            f"GET /room/ws HTTP/1.1\r\nHost: 127.0.0.1:{sandbox.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        assert b"101" in await reader.readline()
        async with established(sandbox) as socket:
            for _ in range(40):
                if not sandbox.state()["room"]["viewers"]:
                    break
                await ask(socket, speak(np.tile(tone(16_000), 20)))
                await asyncio.sleep(0.15)
            await until(lambda: not sandbox.state()["room"]["viewers"])
            assert (await ask(socket, INTERRUPT))["type"] == "agent.interrupt.confirmed"
        writer.close()


async def test_a_sandbox_that_closes_says_goodbye():
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.message("hello")
        await create(sandbox)
        await sandbox.close()
        assert await page.closed() == 1001
        assert page.all("session")[-1]["session"]["ended_by"] == "sandbox closed"


async def test_a_socket_that_ends_while_a_page_watches_ends_as_without_one():
    async with Sandbox() as sandbox, visit(sandbox) as page, established(sandbox) as socket:
        await page.message("hello")
        await sandbox.drop(code=4000)
        assert (await closed(socket))[0] == 4000
