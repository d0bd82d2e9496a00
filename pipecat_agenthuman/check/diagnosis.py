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
from pipecat_agenthuman._environment import in_variables
from pipecat_agenthuman.check.environment import Environment
from pipecat_agenthuman.check.listener import CannotListenError, RoomListener, listening_in
from pipecat_agenthuman.check.room import find_room
from pipecat_agenthuman.client.api import (
    NO_RETRY,
    AgentHumanApi,
    AvatarList,
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
from pipecat_agenthuman.client.faces import avatar_id, check_image_file, is_image_file
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

_ATTACK_SECS: Final = 0.02
"""Soft to the ear, and soon enough loud for whoever measures when it begins."""
SANDBOX_PLAN: Final = "Sandbox"
"""The plan of which the sandbox says that its account has it."""

_SHOWN_AVATARS: Final = 3

_EventT = TypeVar("_EventT", Established, SpeechConfirmed, PlaybackStopped)


class Step(StrEnum):
    """What is checked, in this order."""

    ENVIRONMENT = "environment"
    API_KEY = "api_key"
    ACCOUNT = "account"
    AVATAR = "avatar"
    ROOM = "room"
    LISTENER = "listener"
    SESSION = "session"
    CONNECTION = "connection"
    APPEARANCE = "appearance"
    SPEECH = "speech"
    VOICE = "voice"
    INTERRUPT = "interrupt"
    SESSION_END = "session_end"


_BEFORE_A_SESSION: Final = (Step.API_KEY, Step.ACCOUNT, Step.AVATAR, Step.ROOM)


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
        listens: bool | None = None,
    ) -> None:
        """Prepare; ``run`` walks.

        Args:
            environment: Returns where to look, or raises ``ValueError``: the first step.
            begin: Called with each step that is about to be walked.
            tell: Called with each finding.
            listens: Whether somebody sits in the room and listens; None for wherever the service
                is no sandbox, whose avatars join no room.
        """
        self.findings: list[Finding] = []
        self._read_environment = environment
        self._begin = begin
        self._tell = tell
        self._listens = listens
        self._secrets: set[str] = set()
        self._environment: Environment | None = None
        self._listener: RoomListener | None = None
        self._room: DailyRoom | LiveKitRoom | None = None
        self._usage = Usage()
        self._avatar = ""
        self._created: CreatedSession | None = None

    @property
    def environment(self) -> Environment | None:
        """Where it looks, once that is known."""
        return self._environment

    @property
    def asked_sandbox(self) -> bool:
        """Whether it was a sandbox that answered."""
        environment = self._environment
        is_local = environment is not None and environment.is_loopback
        return is_local and self._usage.plan == SANDBOX_PLAN

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
            await self._walk(
                Step.AVATAR, lambda: self._find_avatar(api, environment.avatar), Step.API_KEY
            )
            await self._walk(Step.ROOM, lambda: self._enter_room(environment))
            async with AsyncExitStack() as seat:
                await self._walk(
                    Step.LISTENER, lambda: self._sit_down(environment, seat), Step.ROOM
                )
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
        except CannotListenError as reason:
            status, detail = Status.SKIPPED, f"skipped: {reason}"
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
            in_variables(redact(detail, *self._secrets)),
            in_variables(redact(remedy, *self._secrets)),
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
        if self.asked_sandbox:
            return "accepted by the sandbox on this machine, which bills nothing"
        return "accepted. The session below is billed like any other, by the minute begun"

    async def _look_at_usage(self) -> str:
        usage = self._usage
        minutes, free, most = usage.minutes_remaining, usage.sessions_available, usage.sessions_max
        if minutes is not None and minutes <= 0:
            raise OutOfMinutesError(
                "No minutes are left.",
                remedy="Add minutes to the account; what is left: pipecat-agenthuman usage.",
            )
        if free is not None and free <= 0:
            raise RateLimitedError(
                f"All {'sessions' if most is None else f'{most} session(s)'} are in use.",
                status=None,
                remedy="See them with: pipecat-agenthuman sessions. End one with --end ID; one "
                "that nobody uses ends by itself within 3 minutes.",
            )
        told = [] if minutes is None else [f"{minutes:g} minutes left"]
        if free is not None:
            told.append(f"{free} of {'?' if most is None else most} sessions free")
        return ", ".join(told) or "the service does not say what is left"

    async def _find_avatar(self, api: AgentHumanApi, wanted: str) -> str:
        if is_image_file(wanted):
            check_image_file(wanted)
        self._avatar = await avatar_id(api, wanted)
        if self._avatar != wanted:
            return f"a picture on this machine, uploaded as {self._avatar}"
        if wanted.startswith(("https://", "http://", "data:")):
            return "an image; the service takes it on paid plans"
        return _found(wanted, await api.list_avatars())

    async def _enter_room(self, environment: Environment) -> str:
        self._room, found = await find_room(environment.access)
        if environment.access is not None:
            self._secrets.add(self._room.token)
        return found

    async def _sit_down(self, environment: Environment, seat: AsyncExitStack) -> str:
        listens = not environment.is_loopback if self._listens is None else self._listens
        if environment.access is None or not listens:
            raise CannotListenError(
                "the avatars of a sandbox join no room"
                if environment.is_loopback
                else "nobody is to listen"
            )
        listening = listening_in(_existing(self._room), environment.access)
        self._listener = await seat.enter_async_context(listening)
        return "somebody sits in the room and listens"

    # --- the session -------------------------------------------------------------------

    async def _try_session(self, api: AgentHumanApi, environment: Environment) -> None:
        await self._walk(Step.SESSION, lambda: self._create(api, environment), *_BEFORE_A_SESSION)
        async with AsyncExitStack() as stack:
            conversation = None
            if self._created is not None:
                init = SessionInit(self._created.session_id, self._created.session_token)
                conversation = _Trial(environment.ws_url, init, self._listener)
                stack.push_async_callback(conversation.close)
            for step, look, needed in (
                (Step.CONNECTION, _Trial.connect, (Step.SESSION,)),
                (Step.APPEARANCE, _Trial.see, (Step.LISTENER, Step.CONNECTION)),
                (Step.SPEECH, _Trial.speak, (Step.CONNECTION,)),
                (Step.VOICE, _Trial.hear, (Step.APPEARANCE, Step.SPEECH)),
                (Step.INTERRUPT, _Trial.interrupt, (Step.SPEECH,)),
            ):
                await self._walk(step, lambda look=look: look(_existing(conversation)), *needed)

    async def _create(self, api: AgentHumanApi, environment: Environment) -> str:
        self._created = await api.create_session(
            avatar=self._avatar, room=_existing(self._room), retry=NO_RETRY
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

    def __init__(self, url: str, init: SessionInit, listener: RoomListener | None) -> None:
        self._listener = listener
        self._created_at = time.monotonic()
        self._confirmed_at = 0.0
        self._events: asyncio.Queue[ConnectionEvent | Loss] = asyncio.Queue()
        self._connection = Connection(url, init, on_event=self._events.put_nowait)
        self._running: asyncio.Task[None] | None = None

    async def connect(self) -> str:
        self._running = asyncio.create_task(self._run())
        established = await self._answer(Established)
        return f"established {_ms(established.took_secs)} after session.init"

    async def see(self) -> str:
        appeared_at = await _existing(self._listener).await_avatar()
        after_secs = max(appeared_at - self._created_at, 0.0)
        return f"the avatar appeared {after_secs:.1f} s after its session was created"

    async def speak(self) -> str:
        self._connection.speak(_hum(SPEECH_SECS))
        confirmed = await self._answer(SpeechConfirmed)
        self._confirmed_at = confirmed.at
        told = f"{SPEECH_SECS:g} s confirmed after {_ms(confirmed.took_secs)}"
        counted = confirmed.message.audio_samples
        if counted not in (None, confirmed.samples):
            told += f"; the server counted {counted} samples, {confirmed.samples} were sent"
        return told

    async def hear(self) -> str:
        heard_at = await _existing(self._listener).await_voice(self._confirmed_at)
        return f"its voice was heard {heard_at - self._confirmed_at:.2f} s after the confirmation"

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


def _found(wanted: str, listed: AvatarList) -> str:
    """Say whose an avatar is; raises ``ConnectError`` if the key may not use it."""
    own = {avatar.avatar_id for avatar in listed.my_avatars}
    public = {avatar.avatar_id for avatar in listed.public_avatars}
    if wanted in own:
        return f"{wanted} is one of this account's own"
    if wanted in public:
        return f"{wanted} is a public one"
    known = [*sorted(own), *sorted(public)]
    raise ConnectError(
        f"{wanted} is not one of the {len(known)} avatars that this key may use.",
        remedy=(
            f"For example {', '.join(known[:_SHOWN_AVATARS])}. See all with: "
            "pipecat-agenthuman avatars"
            if known
            else "Make one with: pipecat-agenthuman avatars --upload FILE"
        ),
    )


def _hum(secs: float) -> bytes:
    """Make a soft sound that begins at once and fades: 16 kHz mono PCM."""
    times = np.arange(round(secs * WIRE_SAMPLE_RATE)) / WIRE_SAMPLE_RATE
    hum = np.sin(2 * math.pi * 180 * times) + 0.4 * np.sin(2 * math.pi * 360 * times)
    fade = np.minimum(times / _ATTACK_SECS, 1.0) * (1.0 - times / secs)
    return np.rint(2500 * hum * fade).astype("<i2").tobytes()


_T = TypeVar("_T")


def _existing(value: _T | None) -> _T:
    assert value is not None, "the step that makes it has passed"
    return value


def _ms(secs: float) -> str:
    return f"{secs * 1000:.0f} ms"
