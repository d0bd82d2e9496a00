"""Nothing is left behind: no session, no task, no socket, on whatever path it ends."""

import asyncio
import gc
import signal
import sys
import time
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pipecat.frames.frames import BotStoppedSpeakingFrame, Frame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.calls import ROOM_TOKEN, avatar_in, avatars, calling
from tests.support.faults import fault
from tests.support.pipelines import running
from tests.support.waiting import LIMIT_SECS, until

BOUND_SECS = 15.0
"""More than every limit on the way to the end together; the default ones reach 12 s."""


pytestmark = pytest.mark.usefixtures("log")


@pytest.fixture(autouse=True)
async def _no_task_is_left():
    before = asyncio.all_tasks()
    yield
    own = asyncio.current_task()
    assert {task for task in asyncio.all_tasks() if task is not own} <= before


@asynccontextmanager
async def apart() -> AsyncIterator[Sandbox]:
    """A sandbox in a thread of its own, so that all tasks in this event loop are the call's."""
    with avatars() as sandbox:
        yield sandbox


# --- the ends of a pipeline ------------------------------------------------------------

MOMENTS = ["creating", "connecting", "before established", "idle", "speaking", "renewing", "lost"]


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("way", ["end", "cancel"])
async def test_a_pipeline_ends_at_any_moment_and_leaves_nothing(way: str, moment: str):
    early = MOMENTS.index(moment) < 3
    async with apart() as sandbox:
        if early:
            point = {"creating": "create", "connecting": "connect"}.get(moment, "session.init")
            sandbox.inject(fault(point, "delay", delay_secs=0.5))
        async with calling(sandbox, until_ready=not early) as call:
            if early:
                await sandbox.wait_for("fault")
            elif moment == "speaking":
                await call.say(1.0)
                await sandbox.wait_until_heard(0.1)
            elif moment in ("renewing", "lost"):
                status = 500 if moment == "renewing" else 401
                sandbox.inject(fault("create", "refuse", status=status))
                await sandbox.drop()
                await until(lambda: len(call.error_frames) == 2 or not call.avatar.is_usable)
            began = time.monotonic()
            if way == "end":
                await call.end()
            else:
                await call.worker.cancel()
            await call.until_over()
            assert time.monotonic() - began < BOUND_SECS
        assert not sandbox.live_sessions
        assert all(record.end_requests for record in sandbox.sessions)
    told = call.speaking(call.behind, upstream=False)
    assert told == ["start", "stop"] * (len(told) // 2)


async def test_a_session_whose_creation_outlives_the_pipeline_is_ended():
    async with apart() as sandbox:
        details = {"delay_secs": 1.0, "delayed": "answer"}
        sandbox.inject(fault("create", "delay", **details))
        async with calling(sandbox, until_ready=False) as call:
            await sandbox.wait_for("session.created")
            await call.worker.cancel()
        assert sandbox.sessions[0].end_requests == 1


async def test_a_cancelled_pipeline_says_that_the_bot_stopped_speaking():
    async with apart() as sandbox, calling(sandbox) as call:
        await call.say(2.0)
        await sandbox.wait_until_heard(0.2)
        await call.worker.cancel()
    assert len(call.between.of(BotStoppedSpeakingFrame)) == 1
    stats = call.avatar.stats
    assert stats.dropped_secs == pytest.approx(stats.taken_secs - stats.heard_secs, abs=0.001)


async def test_an_end_call_that_fails_once_is_repeated(log):
    async with apart() as sandbox:
        sandbox.inject(fault("end", "abort"))
        async with calling(sandbox) as call:
            await call.end()
        assert sandbox.sessions[0].end_requests == 1
    assert not [line for line in log if "may still run" in line]


async def test_what_cannot_be_ended_is_logged_with_its_identifier_and_holds_nobody_up(log):
    async with apart() as sandbox:
        sandbox.inject(fault("end", "missing", times=None, carried_out=False))
        async with calling(sandbox) as call:
            began = time.monotonic()
            await call.end()
            await call.until_over()
            assert time.monotonic() - began < BOUND_SECS
        session_id = sandbox.sessions[0].id
    assert [line for line in log if session_id in line and "may still run" in line]


async def test_a_server_that_answers_nothing_any_more_does_not_hold_up_the_end():
    async with apart() as sandbox, calling(sandbox, drain_grace_secs=1.0) as call:
        await call.say(0.5)
        await sandbox.wait_until_heard(0.1)
        sandbox.inject(fault("ping", "silent"))
        sandbox.inject(fault("end", "missing", times=None, carried_out=False))
        await sandbox.wait_for("fault")
        began = time.monotonic()
        await call.end()
        await call.until_over()
        assert time.monotonic() - began < BOUND_SECS


# --- pipelines that never began --------------------------------------------------------


class Blocker(FrameProcessor):
    """Keeps the ``StartFrame`` for itself."""

    def __init__(self) -> None:
        super().__init__()
        self.blocked = asyncio.Event()

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, StartFrame):
            self.blocked.set()
        else:
            await self.push_frame(frame, direction)


@pytest.mark.parametrize("place", ["before", "behind"])
async def test_a_pipeline_whose_start_frame_does_not_get_through_leaves_nothing(place: str):
    async with apart() as sandbox:
        avatar, blocker = avatar_in(sandbox), Blocker()
        parts = [blocker, avatar] if place == "before" else [avatar, blocker]
        async with running(*parts) as (worker, _):
            await blocker.blocked.wait()
            if place == "behind":
                await sandbox.wait_for("connection.established")
            await worker.cancel()
        assert not sandbox.live_sessions
        assert len(sandbox.sessions) == (1 if place == "behind" else 0)


async def test_a_service_that_no_pipeline_ever_had_is_released_without_a_warning():
    async with apart() as sandbox:
        gc.collect()  # what other tests left is not found here
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always", ResourceWarning)
            avatar = avatar_in(sandbox)
            await avatar.cleanup()
            await avatar.cleanup()
            del avatar
            gc.collect()
    assert not [w for w in found if issubclass(w.category, ResourceWarning)]


async def test_a_session_that_waits_for_the_client_is_never_made_without_one():
    async with apart() as sandbox:
        options = {"session_start": "client_connected", "until_ready": False}
        async with calling(sandbox, **options) as call:
            await call.end()
        assert not sandbox.sessions


# --- signals ---------------------------------------------------------------------------

BOT = """
import asyncio, sys
from tests.support.pipelines import SoundCard
from tests.support.waiting import undisturbed
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineWorker
from pipecat.workers.runner import WorkerRunner
from pipecat_agenthuman import AgentHumanVideoService, DailyRoom

async def main():
    avatar = AgentHumanVideoService(room=DailyRoom("https://example.daily.co/room", "{token}"))
    avatar.add_event_handler("on_avatar_ready", lambda _: print("ready", flush=True))
    worker = PipelineWorker(
        Pipeline([avatar, SoundCard()]), cancel_on_idle_timeout=False, enable_rtvi=False
    )
    runner = WorkerRunner(handle_sigint={handled}, handle_sigterm={handled})
    await runner.add_workers(worker)
    if {exits}:
        asyncio.get_running_loop().call_later(1.0, sys.exit, 3)
    await runner.run()

with undisturbed():
    asyncio.run(main())
"""


@asynccontextmanager
async def bot(sandbox: Sandbox, **how: bool) -> AsyncIterator[asyncio.subprocess.Process]:
    """A bot in a process of its own, whose avatar is ready."""
    code = BOT.format(token=ROOM_TOKEN, **({"handled": True, "exits": False} | how))
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        code,
        cwd=Path(__file__).parents[2],
        env={**sandbox.environment, "PATH": ""},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(2 * LIMIT_SECS):
            while b"ready" not in await process.stdout.readline():
                assert not process.stdout.at_eof(), (await process.communicate())[1].decode()
            yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
async def test_a_signal_under_pipecats_runner_ends_the_session(number: int):
    async with apart() as sandbox, bot(sandbox) as process:
        process.send_signal(number)
        _, log = await process.communicate()
        assert [record.end_requests for record in sandbox.sessions] == [1]
    assert process.returncode == 0
    assert b"Traceback" not in log
    assert ROOM_TOKEN.encode() not in log


async def test_an_interrupt_that_nobody_handles_ends_the_session_too():
    async with apart() as sandbox, bot(sandbox, handled=False) as process:
        process.send_signal(signal.SIGINT)
        _, log = await process.communicate()
        assert [record.end_requests for record in sandbox.sessions] == [1]
    assert ROOM_TOKEN.encode() not in log


async def test_a_program_that_exits_in_the_middle_ends_the_session_too():
    async with apart() as sandbox, bot(sandbox, handled=False, exits=True):
        # Not waited for: Pipecat's own worker can stay behind when its event loop is closed.
        await until(lambda: sandbox.sessions[0].end_requests == 1)
