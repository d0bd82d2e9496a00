from __future__ import annotations

from typing import get_args

import aiohttp
import pytest

from pipecat_agenthuman.sandbox import Fault, Sandbox
from pipecat_agenthuman.sandbox.faults import Kind
from pipecat_agenthuman.sandbox.troubles import Group, troubles
from pipecat_agenthuman.wire.error_catalogue import ERROR_CATALOGUE, classify_error
from tests.support.sandbox_client import ask, closed, create, established, speak, tone


def test_there_is_one_for_every_kind_of_fault_and_every_documented_error():
    faults = [fault for trouble in troubles() for fault in trouble.faults]
    assert {fault.kind for fault in faults} == set(get_args(Kind))
    errors = [fault.text for fault in faults if fault.kind == "error"]
    assert [classify_error(text).code for text in errors] == [one.code for one in ERROR_CATALOGUE]


def test_each_has_a_name_of_its_own_and_says_what_it_does():
    all_of_them = troubles()
    assert len({trouble.id for trouble in all_of_them}) == len(all_of_them)
    assert len({trouble.title for trouble in all_of_them}) == len(all_of_them)
    for trouble in all_of_them:
        assert trouble.faults or trouble.action
        assert trouble.sentence.endswith(".")
        assert "  " not in trouble.sentence
    groups = [trouble.group for trouble in all_of_them]
    assert groups == sorted(groups, key=list(Group).index)


def test_what_strikes_the_next_session_makes_room_for_one():
    later = {"create", "end", "connect", "session.init"}
    for trouble in troubles():
        strikes_later = any(fault.on in later for fault in trouble.faults)
        assert (trouble.action is not None) >= strikes_later, trouble.id


async def ask_control(sandbox: Sandbox, method: str, path: str, **arguments) -> tuple[int, object]:
    url = sandbox.api_url.removesuffix("/v1") + path
    async with aiohttp.ClientSession() as http, http.request(method, url, **arguments) as response:
        return response.status, await response.json()


async def test_they_can_be_fetched_and_ordered_as_they_are():
    async with Sandbox() as sandbox:
        status, offered = await ask_control(sandbox, "GET", "/sandbox/troubles")
        assert (status, len(offered)) == (200, len(troubles()))
        for trouble in offered:
            faults = trouble["faults"]
            if faults is None:
                assert trouble["action"]
                continue
            if adjust := trouble["adjust"]:
                assert adjust["min"] <= adjust["default"] <= adjust["max"]
                faults = [fault | {adjust["field"]: adjust["max"]} for fault in faults]
            status, armed = await ask_control(sandbox, "POST", "/sandbox/faults", json=faults)
            assert status == 201
            assert armed[-1]["fault"]["on"] == faults[-1]["on"]


@pytest.mark.parametrize(
    ("action", "end"),
    [
        ("end", (1000, "session ended")),
        ("drop", (1011, "")),
        ("abort", (1006, "")),
    ],
)
async def test_a_session_is_ended_unasked(action, end):
    async with Sandbox() as sandbox, established(sandbox) as socket:
        session_id = sandbox.sessions[0].id
        status, session = await ask_control(
            sandbox, "POST", f"/sandbox/sessions/{session_id}/{action}"
        )
        assert (status, session["status"]) == (200, "ended")
        assert await closed(socket) == end


async def test_an_avatar_is_sent_out_of_the_room_and_fetched_back():
    async with Sandbox(render_latency_secs=0) as sandbox, established(sandbox) as socket:
        path = f"/sandbox/sessions/{sandbox.sessions[0].id}"
        _, session = await ask_control(sandbox, "POST", f"{path}/remove_avatar")
        assert session["avatar_in_room"] is False
        await ask(socket, speak(tone(160)))
        _, session = await ask_control(sandbox, "POST", f"{path}/return_avatar")
        assert session["avatar_in_room"] is True
        await ask(socket, speak(tone(1600)))
        await sandbox.wait_until_heard(0.1)


async def test_what_cannot_be_done_to_a_session_is_refused():
    async with Sandbox() as sandbox:
        session_id = (await create(sandbox))["session_id"]
        for path, status in (
            ("sess_none/end", 404),
            (f"{session_id}/shout", 404),
            (f"{session_id}/drop", 409),
            (f"{session_id}/end", 200),
            (f"{session_id}/end", 404),
        ):
            answer = await ask_control(sandbox, "POST", f"/sandbox/sessions/{path}")
            assert answer[0] == status, path


async def test_a_flood_of_faults_is_refused():
    async with Sandbox() as sandbox:
        fault = Fault(on="usage", kind="delay").model_dump(mode="json", exclude_defaults=True)
        for status in (201, 400, 400):
            answer = await ask_control(sandbox, "POST", "/sandbox/faults", json=[fault] * 600)
            assert answer[0] == status
        assert len(sandbox.state()["faults"]) == 600
