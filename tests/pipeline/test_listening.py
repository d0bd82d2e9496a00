"""Listening to the avatar, where that goes wrong."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

from pipecat_agenthuman.errors import AvatarUnheardError
from pipecat_agenthuman.pipeline.announcer import AvatarDoubtful
from pipecat_agenthuman.pipeline.listening import Listening
from pipecat_agenthuman.playout.hearing import Finding, Hearing
from pipecat_agenthuman.playout.passages import Verdict
from tests.support.waiting import until


class _BrokenEar:
    """An ear that raises, whatever is asked of it."""

    async def listen(self, _listener: object) -> None:
        raise RuntimeError("no listening")

    async def rest(self, _listener: object) -> None:
        raise RuntimeError("no rest")


def _listening(hearing: Hearing) -> Listening:
    output: Any = SimpleNamespace(
        playout=SimpleNamespace(hearing=hearing), measures_latency=True, now=time.monotonic
    )
    processor: Any = "the service"
    announcer: Any = None
    return Listening(processor, output=output, announcer=announcer)


async def test_an_ear_that_raises_ends_the_listening_and_nothing_else(log):
    listening = _listening(Hearing())
    listening.find(SimpleNamespace(ear=_BrokenEar()))
    await listening.run(None)  # What it raised would end the session.
    assert [line for line in log if "not listened to any more" in line]


class _Deaf(Hearing):
    """Cannot take what is heard."""

    def hear(self, audio: bytes, sample_rate: int, at: float) -> None:
        raise RuntimeError("no levels")


class _QuietEar:
    """An ear at which somebody listens, or rests."""

    def __init__(self) -> None:
        self.listeners: list[Any] = []

    async def listen(self, listener: object) -> None:
        self.listeners.append(listener)

    async def rest(self, listener: object) -> None:
        self.listeners.remove(listener)


async def test_a_bug_in_what_is_made_of_the_sound_ends_the_listening_and_nothing_else(log):
    listening = _listening(_Deaf())
    ear = _QuietEar()
    listening.find(SimpleNamespace(ear=ear))
    running = asyncio.create_task(listening.run(None))
    await until(lambda: ear.listeners)
    for _ in range(3):
        listening.hears(b"", 0.0)  # What it raised would go on to the transport, at each piece.
    await running
    assert not ear.listeners
    assert len([line for line in log if "not listened to any more" in line]) == 1


class _Doubting(Hearing):
    """Finds that the avatar was not heard, again and again, and something of it in between."""

    def __init__(self) -> None:
        super().__init__()
        self.found = [Finding(0.0, Verdict.SILENT, None, None, 1, changed=False)] * 3

    def poll(self, now: float) -> Finding | None:
        return self.found.pop() if self.found else None


async def test_an_avatar_that_is_silent_now_and_then_is_told_of_once():
    told: list[AvatarDoubtful] = []
    hearing = _Doubting()
    output: Any = SimpleNamespace(
        playout=SimpleNamespace(hearing=hearing), measures_latency=True, now=time.monotonic
    )
    processor: Any = "the service"
    announcer: Any = SimpleNamespace(take=told.append)
    listening = Listening(processor, output=output, announcer=announcer)
    running = asyncio.create_task(listening.run(None))
    await asyncio.sleep(0.01)
    running.cancel()
    assert not hearing.found
    assert [type(one.error) for one in told] == [AvatarUnheardError]
