"""What may be left of the session before: it is found, ended, or waited out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.client.leftovers import NONCE_KEY, UNLISTED_SECS, with_nonce
from pipecat_agenthuman.client.renewal import ORPHAN_SWEEP_SECS
from pipecat_agenthuman.client.sources import OwnSessions
from pipecat_agenthuman.errors import (
    AuthenticationError,
    ServerFailureError,
    SessionLingersError,
    TransportError,
)
from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import ROOM
from tests.support.faults import fault
from tests.support.waiting import quiet_log


@dataclass
class Maker:
    """Makes sessions in a sandbox, at a time that passes when it is told to."""

    sandbox: Sandbox
    source: OwnSessions
    now: float = 0.0

    async def lose(self, *, carried_out: bool) -> None:
        """Create a session whose answer is lost."""
        self.sandbox.inject(fault("create", "abort", carried_out=carried_out))
        with pytest.raises(TransportError):
            await self.source.open()

    async def lingers(self) -> SessionLingersError:
        with pytest.raises(SessionLingersError) as caught:
            await self.source.open()
        return caught.value

    def in_list(self, what: Any) -> None:
        """Let the list of sessions be something else."""
        body = {"success": True, "sessions": what}
        self.sandbox.inject(fault("list", "refuse", status=200, body=body, times=None))


@asynccontextmanager
async def making(*, metadata: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Maker]:
    async with Sandbox(max_sessions=3, **options) as sandbox:
        api = AgentHumanApi(sandbox.api_key, api_url=sandbox.api_url)
        source = OwnSessions(
            api,
            room=ROOM,
            avatar="avat_1",
            aspect_ratio="4:3",
            metadata=metadata,
            monotonic=lambda: maker.now,
        )
        maker = Maker(sandbox, source)
        with quiet_log():
            yield maker
            sandbox.clear_faults()
            await source.close()


async def test_a_session_whose_create_got_no_answer_is_found_by_its_nonce_and_ended():
    async with making(metadata={"call": "4711"}) as maker:
        await maker.lose(carried_out=True)
        await maker.source.open()
        lost, second = maker.sandbox.sessions
    assert lost.ended_by == "end request"
    assert lost.metadata["call"] == second.metadata["call"] == "4711"
    assert lost.metadata[NONCE_KEY] != second.metadata[NONCE_KEY]
    assert maker.sandbox.peak_live_sessions == 1


async def test_a_call_that_ends_looks_once_more_for_what_it_may_leave_behind():
    async with making() as maker:
        await maker.lose(carried_out=True)
    assert [record.ended_by for record in maker.sandbox.sessions] == ["end request"]


async def test_a_create_that_is_not_in_the_list_is_looked_for_as_long_as_it_may_take():
    async with making() as maker:
        await maker.lose(carried_out=False)
        error = await maker.lingers()
        assert error.asking_helps
        assert error.gone_in_secs == UNLISTED_SECS
        maker.now = UNLISTED_SECS - 1
        assert (await maker.lingers()).gone_in_secs == 1.0
        maker.now = UNLISTED_SECS
        await maker.source.open()
        assert len(maker.sandbox.sessions) == 1


async def test_sessions_of_others_are_left_alone():
    async with (
        making() as maker,
        AgentHumanApi(maker.sandbox.api_key, api_url=maker.sandbox.api_url) as api,
    ):
        metadata, _ = with_nonce({"call": 1})
        others = await api.create_session(avatar="avat_2", room=ROOM, metadata=metadata)
        await maker.lose(carried_out=True)
        await maker.source.open()
        assert (await api.get_session(others.session_id)).running
        await api.end_session(others.session_id)


@pytest.mark.parametrize(
    "listed",
    [
        [{"session_id": "sess_1", "status": "started"}],
        [{"session_id": "sess_1", "status": "started", "metadata": {}}],
        [{"status": "started"}],
        {"sess_1": "started"},
        None,
    ],
    ids=["no metadata", "empty metadata", "no identifier", "no list", "nothing"],
)
async def test_a_list_that_tells_nothing_leaves_the_sweep_to_wait_for(listed: Any):
    async with making() as maker:
        await maker.lose(carried_out=True)
        maker.in_list(listed)
        maker.now = 100.0
        error = await maker.lingers()
        assert not error.asking_helps
        assert error.gone_in_secs == ORPHAN_SWEEP_SECS - 100.0
        assert "not answered" in str(error)
        maker.now = ORPHAN_SWEEP_SECS
        await maker.source.open()
        assert len(maker.sandbox.sessions) == 2
        await maker.sandbox.end_session(maker.sandbox.sessions[0].id)


async def test_a_server_without_metadata_in_its_list_is_one_that_tells_nothing():
    async with making(lists_metadata=False) as maker:
        await maker.lose(carried_out=True)
        assert not (await maker.lingers()).asking_helps
        await maker.sandbox.end_session()


async def test_without_a_list_the_sweep_is_waited_for():
    async with making() as maker:
        await maker.lose(carried_out=True)
        maker.sandbox.inject(fault("list", "refuse", status=404, times=None))
        assert not (await maker.lingers()).asking_helps
        await maker.sandbox.end_session()


async def test_a_key_that_is_not_accepted_any_more_is_told_at_once():
    async with making() as maker:
        await maker.lose(carried_out=False)
        maker.sandbox.inject(fault("list", "refuse", status=401))
        with pytest.raises(AuthenticationError):
            await maker.source.open()


async def test_one_that_is_found_and_cannot_be_ended_lingers_under_its_name():
    async with making() as maker:
        await maker.lose(carried_out=True)
        maker.sandbox.inject(fault("end", "refuse", status=500))
        error = await maker.lingers()
        assert error.asking_helps
        assert "cannot be ended" in str(error)
        await maker.source.open()
    assert [record.ended_by for record in maker.sandbox.sessions] == ["end request"] * 2


async def test_what_cannot_be_ended_keeps_nobody_waiting_once_the_service_has_swept_it():
    async with making() as maker:
        await maker.source.open()
        maker.sandbox.inject(fault("end", "refuse", status=403, times=None))
        await maker.source.end()
        maker.now = ORPHAN_SWEEP_SECS - 1
        assert (await maker.lingers()).gone_in_secs == pytest.approx(1.0)
        assert len(maker.sandbox.sessions) == 1
        maker.now = ORPHAN_SWEEP_SECS + 1
        await maker.source.open()
        assert len(maker.sandbox.sessions) == 2
        maker.sandbox.clear_faults()
        await maker.source.end()
        await maker.sandbox.end_session(maker.sandbox.sessions[0].id)


async def test_a_create_that_was_refused_for_certain_leaves_nothing():
    async with making() as maker:
        maker.sandbox.inject(fault("create", "refuse", status=503))
        with pytest.raises(ServerFailureError):
            await maker.source.open()
        await maker.source.open()
    assert not [entry for entry in maker.sandbox.log if entry["what"] == "GET /v1/sessions"]
