"""Why does the avatar not appear? One step after the other, each with a reason if it fails.

Uses the very pieces that a bot uses: the REST client, the rooms, the connection. Whatever it
begins, it ends: the session that it creates is ended on every path.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar

import numpy as np

from pipecat_agenthuman._credentials import redact
from pipecat_agenthuman.check.environment import Environment
from pipecat_agenthuman.check.room import find_room
from pipecat_agenthuman.client.api import (
    NO_RETRY,
    AgentHumanApi,
    CreatedSession,
    RetryPolicy,
    Usage,
)
from pipecat_agenthuman.client.connection import Connection
from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    ErrorReported,
    Established,
    Loss,
    PlaybackStopped,
    SpeechConfirmed,
)
from pipecat_agenthuman.errors import (
    AgentHumanError,
    ConnectError,
    OutOfMinutesError,
    RateLimitedError,
    TransportError,
)
from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE
from pipecat_agenthuman.wire.protocol import SessionInit

END_POLICY: Final = RetryPolicy(max_attempts=3, max_total_secs=5.0, first_pause_secs=0.2)
"""Somebody waits in front of a terminal; what cannot be ended is named and swept."""

CLOSE_LIMIT_SECS: Final = 2.0
"""A closing handshake takes a round trip; ending the session does not depend on it."""

SPEECH_SECS: Final = 1.0

_SHOWN_AVATARS: Final = 3

_EventT = TypeVar("_EventT", Established, SpeechConfirmed, PlaybackStopped)


class Step(StrEnum):
    """What is checked, in this order."""

    ENVIRONMENT = "environment"
    API_KEY = "api_key"
    ACCOUNT = "account"
    AVATAR = "avatar"
    ROOM = "room"
    SESSION = "session"
    CONNECTION = "connection"
    SPEECH = "speech"
    INTERRUPT = "interrupt"
    SESSION_END = "session_end"


class Status(StrEnum):
    """How a step went."""

    PASSED = "passed"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True)
class Finding:
    """What a step found.

    Attributes:
        step: The step.
        status: How it went.
        secs: How long it took, in seconds.
        detail: What was found, or what is wrong; free of secrets.
        remedy: What to do about it, or an empty string.
    """

    step: Step
    status: Status
    secs: float
    detail: str
    remedy: str = ""


class Diagnosis:
    """Walks through the steps.

    Attributes:
        findings: What was found so far, in the order of the steps.
    """

    def __init__(
        self,
        environment: Callable[[], Environment],
        *,
        begin: Callable[[Step], None],
        tell: Callable[[Finding], None],
    ) -> None:
        """Prepare; ``run`` walks.

        Args:
            environment: Returns where to look, or raises ``ValueError``: the first step.
            begin: Called with each step that is about to be walked.
            tell: Called with each finding.
        """
        self.findings: list[Finding] = []
        self._read_environment = environment
        self._begin = begin
        self._tell = tell
        self._secrets: set[str] = set()
        self._environment: Environment | None = None
        self._room: DailyRoom | LiveKitRoom | None = None
        self._usage = Usage()
        self._created: CreatedSession | None = None

    @property
    def environment(self) -> Environment | None:
        """Where it looks, once that is known."""
        return self._environment

    async def run(self) -> None:
        """Walk through all steps; what cannot be walked because of a failure is skipped.

        If it is cancelled, it still ends the session that it created.
        """
        await self._walk(Step.ENVIRONMENT, self._look_around)
        environment = self._environment
        if environment is None:
            self._skip_the_rest()
            return
        api = AgentHumanApi(environment.api_key, api_url=environment.api_url, retry=NO_RETRY)
        async with api:
            await self._walk(Step.API_KEY, lambda: self._ask_usage(api, environment))
            await self._walk(Step.ACCOUNT, self._look_at_usage, Step.API_KEY)
            await self._walk(Step.AVATAR, lambda: _find_avatar(api, environment), Step.API_KEY)
            await self._walk(Step.ROOM, lambda: self._enter_room(environment))
            try:
                await self._try_session(api, environment)
            finally:
                await self._walk(Step.SESSION_END, lambda: self._end(api), Step.SESSION)

    # --- walking -----------------------------------------------------------------------

    async def _walk(self, step: Step, look: Callable[[], Awaitable[str]], *needed: Step) -> None:
        """Walk a step, if those that it needs have passed."""
        passed = {finding.step for finding in self.findings if finding.status is Status.PASSED}
        if not passed.issuperset(needed):
            self._note(step, Status.SKIPPED, 0.0, "skipped")
            return
        self._begin(step)
        started_at = time.monotonic()
        status, detail, remedy = Status.FAILED, "interrupted", ""
        try:
            detail = await look()
            status = Status.PASSED
        except AgentHumanError as error:
            detail, remedy = error.message, error.remedy
        except ValueError as error:
            detail = str(error)
        finally:  # a cancelled step is told of as well
            self._note(step, status, time.monotonic() - started_at, detail, remedy)

    def _note(self, step: Step, status: Status, secs: float, detail: str, remedy: str = "") -> None:
        finding = Finding(
            step,
            status,
            secs,
            redact(detail, *self._secrets),
            redact(remedy, *self._secrets),
        )
        self.findings.append(finding)
        self._tell(finding)

    def _skip_the_rest(self) -> None:
        walked = {finding.step for finding in self.findings}
        for step in Step:
            if step not in walked:
                self._note(step, Status.SKIPPED, 0.0, "skipped")

    # --- before a session --------------------------------------------------------------

    async def _look_around(self) -> str:
        environment = self._read_environment()
        self._secrets.update(environment.secrets)
        self._environment = environment
        return f"complete; the service is at {environment.api_url}"

    async def _ask_usage(self, api: AgentHumanApi, environment: Environment) -> str:
        try:
            self._usage = await api.get_usage()
        except TransportError as error:
            if environment.is_loopback and error.never_sent:
                raise TransportError(
                    f"Nothing answers at {environment.api_url}.",
                    remedy="Start the sandbox with: pipecat-agenthuman sandbox",
                ) from None
            raise
        return "accepted"

    async def _look_at_usage(self) -> str:
        usage = self._usage
        minutes, free, most = usage.minutes_remaining, usage.sessions_available, usage.sessions_max
        if minutes is not None and minutes <= 0:
            raise OutOfMinutesError("No minutes are left.", remedy="Add minutes to the account.")
        if free is not None and free <= 0:
            raise RateLimitedError(
                f"All {'sessions' if most is None else f'{most} session(s)'} are in use.",
                status=None,
                remedy="End one; a session that nobody uses ends by itself within 3 minutes.",
            )
        told = [] if minutes is None else [f"{minutes:g} minutes left"]
        if free is not None:
            told.append(f"{free} of {'?' if most is None else most} sessions free")
        return ", ".join(told) or "the service does not say what is left"

    async def _enter_room(self, environment: Environment) -> str:
        self._room, found = await find_room(environment.access)
        if environment.access is not None:
            self._secrets.add(self._room.token)
        return found

    # --- the session -------------------------------------------------------------------

    async def _try_session(self, api: AgentHumanApi, environment: Environment) -> None:
        before = (Step.API_KEY, Step.ACCOUNT, Step.AVATAR, Step.ROOM)
        await self._walk(Step.SESSION, lambda: self._create(api, environment), *before)
        async with AsyncExitStack() as stack:
            conversation = None
            if self._created is not None:
                init = SessionInit(self._created.session_id, self._created.session_token)
                conversation = _Trial(environment.ws_url, init)
                stack.push_async_callback(conversation.close)
            for step, look, needed in (
                (Step.CONNECTION, _Trial.connect, Step.SESSION),
                (Step.SPEECH, _Trial.speak, Step.CONNECTION),
                (Step.INTERRUPT, _Trial.interrupt, Step.SPEECH),
            ):
                await self._walk(step, lambda look=look: look(_existing(conversation)), needed)

    async def _create(self, api: AgentHumanApi, environment: Environment) -> str:
        self._created = await api.create_session(
            avatar=environment.avatar, room=_existing(self._room), retry=NO_RETRY
        )
        self._secrets.add(self._created.session_token)
        return f"{self._created.session_id} was created"

    async def _end(self, api: AgentHumanApi) -> str:
        created = _existing(self._created)
        ended = await api.end_session(created.session_id, retry=END_POLICY)
        if ended.duration_secs is None:
            return "ended"
        return f"ended; the service counted {ended.duration_secs:g} s"


class _Trial:
    """A connection, and waiting for its answers. Its own limits bound every wait."""

    def __init__(self, url: str, init: SessionInit) -> None:
        self._events: asyncio.Queue[ConnectionEvent | Loss] = asyncio.Queue()
        self._connection = Connection(url, init, on_event=self._events.put_nowait)
        self._running: asyncio.Task[None] | None = None

    async def connect(self) -> str:
        self._running = asyncio.create_task(self._run())
        established = await self._answer(Established)
        return f"established {_ms(established.took_secs)} after session.init"

    async def speak(self) -> str:
        self._connection.speak(_hum(SPEECH_SECS))
        confirmed = await self._answer(SpeechConfirmed)
        told = f"{SPEECH_SECS:g} s confirmed after {_ms(confirmed.took_secs)}"
        counted = confirmed.message.audio_samples
        if counted not in (None, confirmed.samples):
            told += f"; the server counted {counted} samples, {confirmed.samples} were sent"
        return told

    async def interrupt(self) -> str:
        self._connection.interrupt()
        confirmed = await self._answer(PlaybackStopped)
        return f"confirmed after {_ms(confirmed.took_secs)}"

    async def close(self) -> None:
        self._connection.leave()
        if self._running is not None:
            await asyncio.wait({self._running}, timeout=CLOSE_LIMIT_SECS)
            self._running.cancel()  # one that is still connecting does not leave
            await asyncio.gather(self._running, return_exceptions=True)

    async def _run(self) -> None:
        self._events.put_nowait(await self._connection.run())

    async def _answer(self, kind: type[_EventT]) -> _EventT:
        """Wait for an answer; what the server sends besides does not matter here."""
        while True:
            event = await self._events.get()
            if isinstance(event, kind):
                return event
            if isinstance(event, Loss):
                raise event.as_error()
            if isinstance(event, ErrorReported):
                entry = event.error.entry
                raise ConnectError(f"The server says: {event.error.error}.", remedy=entry.remedy)


async def _find_avatar(api: AgentHumanApi, environment: Environment) -> str:
    avatar = environment.avatar
    if avatar.startswith(("https://", "http://", "data:")):
        return "an image; the service takes it on paid plans"
    listed = await api.list_avatars()
    own = {known.avatar_id for known in listed.my_avatars}
    public = {known.avatar_id for known in listed.public_avatars}
    if avatar in own:
        return f"{avatar} is one of this account's own"
    if avatar in public:
        return f"{avatar} is a public one"
    known = [*sorted(own), *sorted(public)]
    raise ConnectError(
        f"{avatar} is not one of the {len(known)} avatars that this key may use.",
        remedy=f"For example {', '.join(known[:_SHOWN_AVATARS])}." if known else "",
    )


def _hum(secs: float) -> bytes:
    """Make a soft sound that swells and fades: 16 kHz mono PCM."""
    times = np.arange(round(secs * WIRE_SAMPLE_RATE)) / WIRE_SAMPLE_RATE
    hum = np.sin(2 * math.pi * 180 * times) + 0.4 * np.sin(2 * math.pi * 360 * times)
    swell = np.sin(math.pi * times / secs) ** 2
    return np.rint(2500 * hum * swell).astype("<i2").tobytes()


_T = TypeVar("_T")


def _existing(value: _T | None) -> _T:
    assert value is not None, "the step that makes it has passed"
    return value


def _ms(secs: float) -> str:
    return f"{secs * 1000:.0f} ms"
