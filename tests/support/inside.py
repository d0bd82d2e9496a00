"""The one place where tests look into the service, or change something in it.

What a test can learn from a public name or from a frame, it asks there. The rest is here, under
names that say what is meant: only this module knows how the inside is called.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from pipecat.frames.frames import Frame

from pipecat_agenthuman import AgentHumanVideoService
from pipecat_agenthuman.client.session import Session
from pipecat_agenthuman.pipeline.announcer import Announcer
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.driver import PlayoutDriver
from pipecat_agenthuman.pipeline.rounds import Rest
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.playout import Playout
from tests.support.virtual_time import VirtualLoop

# --- looking ---------------------------------------------------------------------------


def session_of(avatar: AgentHumanVideoService) -> Session:
    """The session that the service keeps up."""
    return avatar._supervisor._session


def announcer_of(avatar: AgentHumanVideoService) -> Announcer:
    """Who tells the pipeline of the session's news."""
    return avatar._announcer


def playout_of(avatar: AgentHumanVideoService) -> Playout[Frame]:
    """What is written, sent, confirmed and heard."""
    return avatar._output.playout


def driver_of(avatar: AgentHumanVideoService) -> PlayoutDriver:
    """What runs the speech against the clock."""
    return avatar._supervisor._driver


def avatar_is_idle(avatar: AgentHumanVideoService) -> bool:
    """Whether everything that the avatar was to say was heard, and every frame released."""
    return avatar._output.idle


def avatar_speaks(avatar: AgentHumanVideoService) -> bool:
    """Whether the avatar speaks, or spoke last, and nobody else."""
    return avatar._output.speaker is avatar._output.avatar


def is_ending(avatar: AgentHumanVideoService) -> bool:
    """Whether an ``EndFrame`` has reached the service."""
    return avatar._supervisor._winding_up


def transport_is_busy(avatar: AgentHumanVideoService) -> bool:
    """Whether the transport is not done yet with all that it was given."""
    return not avatar._output.transport.idle


async def wait_until(
    avatar: AgentHumanVideoService, reached: Callable[[], bool], limit_secs: float | None
) -> bool:
    """Wait for a state of the speech, as the service itself does; returns whether it came."""
    return await avatar._output.rounds.wait_until(reached, limit_secs)


def delivery_lock(avatar: AgentHumanVideoService) -> asyncio.Lock:
    """What is held while a frame is delivered that belongs to the speech."""
    return avatar._output.lock


def untold_events(avatar: AgentHumanVideoService) -> int:
    """How many events of the session wait to be told."""
    return avatar._announcer._news.qsize()


def background_tasks(avatar: AgentHumanVideoService) -> list[asyncio.Task[None]]:
    """What the service still keeps of its background work."""
    return list(avatar._supervisor._background.tasks)


def holders_of_secrets(avatar: AgentHumanVideoService) -> list[object]:
    """Everything in the service from which a key or a token can be reached."""
    session = session_of(avatar)
    return [
        avatar._settings,
        avatar._source,
        avatar._supervisor,
        vars(avatar._supervisor),
        session,
        vars(session),
        session.connection,
        session._opened,
    ]


def renew_twice(avatar: AgentHumanVideoService) -> None:
    """Have the session replaced at a pause, and again before anything else can happen."""
    for _ in range(2):
        avatar._supervisor.renew_at_pause("a test wants it")


# --- changing --------------------------------------------------------------------------

_LIMITS = {
    "start_wait_secs": "pipecat_agenthuman.pipeline.supervisor.START_WAIT_SECS",
    "return_wait_secs": "pipecat_agenthuman.pipeline.supervisor.RETURN_WAIT_SECS",
    "untold_news": "pipecat_agenthuman.pipeline.announcer.UNTOLD_NEWS",
    "burst_secs": "pipecat_agenthuman.pipeline.announcer.BURST_SECS",
    "backlog_secs": "pipecat_agenthuman.pipeline.gate.BACKLOG_SECS",
    "held_frames": "pipecat_agenthuman.pipeline.gate.HELD_FRAMES",
    "create_timeout_secs": "pipecat_agenthuman.session_source.CREATE_TIMEOUT_SECS",
    "empty_room_secs": "pipecat_agenthuman.pipeline.supervisor.EMPTY_ROOM_SECS",
    "end_timeout_secs": "pipecat_agenthuman.client.sources.END_TIMEOUT_SECS",
}


def stumble_at_every_look(patch: pytest.MonkeyPatch, secs: float) -> None:
    """Let the machine stand still whenever an output that is made from now on asks the time.

    Only in virtual time.
    """

    def now() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.stand_still(secs)
        return loop.time()

    patch.setattr(AvatarOutput, "now", staticmethod(now))


def set_limits(monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    """Give limits that are constants another value, for services that are made after this.

    Args:
        monkeypatch: Undoes it at the end of the test.
        limits: The constants, in lower case.
    """
    for name, value in limits.items():
        monkeypatch.setattr(_LIMITS[name], value)


def put_bug_into(
    monkeypatch: pytest.MonkeyPatch, avatar: AgentHumanVideoService, where: str
) -> None:
    """Put a mistake of our own into a part of the service: it raises ``ZeroDivisionError``.

    Args:
        monkeypatch: Takes it out at the end of the test.
        avatar: The service.
        where: ``"driver"``, ``"events"`` (their telling), ``"session"`` (after a loss),
            ``"taking"`` (of what a connection tells its session) or ``"connection"`` (one that
            is made from now on).
    """

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug for the test")

    session = session_of(avatar)
    owner, name = {
        "driver": (playout_of(avatar), "next_cue"),
        "events": (announcer_of(avatar), "_tell"),
        "session": (session, "_settle"),
        "taking": (session, "_take"),
        "connection": ("pipecat_agenthuman.client.session.Connection", "_converse"),
    }[where]
    target: Any = owner
    if isinstance(owner, str):
        monkeypatch.setattr(f"{owner}.{name}", fail)
    else:
        monkeypatch.setattr(target, name, fail)


def break_listening(monkeypatch: pytest.MonkeyPatch, avatar: AgentHumanVideoService) -> None:
    """Put a mistake of our own into what judges the avatar's sound."""

    def fail(_now: float) -> None:
        raise ZeroDivisionError("a bug for the test")

    monkeypatch.setattr(playout_of(avatar).hearing, "poll", fail)


def delay_telling(
    monkeypatch: pytest.MonkeyPatch, avatar: AgentHumanVideoService
) -> Callable[[], None]:
    """Let events wait to be told; returns what lets them go on."""
    announcer, gate = announcer_of(avatar), asyncio.Event()
    tell = announcer._tell

    async def slow(event: Any) -> None:
        await gate.wait()
        await tell(event)

    monkeypatch.setattr(announcer, "_tell", slow)
    return gate.set


def note_driver_steps(
    monkeypatch: pytest.MonkeyPatch, avatar: AgentHumanVideoService
) -> list[float]:
    """When the driver's loop takes a step, from now on."""
    driver, steps = driver_of(avatar), list[float]()
    step = driver._step

    async def noted() -> Rest | None:
        steps.append(time.monotonic())
        return await step()

    monkeypatch.setattr(driver, "_step", noted)
    return steps


def note_conversions(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When any speech is converted, from now on."""
    conversions, convert = list[float](), SpeechConverter.convert

    def noted(converter: SpeechConverter, *speech: Any) -> bytes:
        conversions.append(time.monotonic())
        return convert(converter, *speech)

    monkeypatch.setattr(SpeechConverter, "convert", noted)
    return conversions
