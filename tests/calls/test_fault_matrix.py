"""Every fault at every moment of a call: the call survives, and every word is accounted for.

The matrix is data: ``MATRIX`` is a list of cells, each a fault, a moment and what is to come of
it. Cells are played in virtual time, because they mostly wait. To see them as a table::

    python -m tests.calls.test_fault_matrix
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pipecat.frames.frames import AudioRawFrame, TTSAudioRawFrame
from pydantic import ValidationError

from pipecat_agenthuman.pipeline.frame_traits import StandInAudioFrame
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.sandbox.faults import Kind
from pipecat_agenthuman.wire.protocol import ERROR_CATALOGUE
from tests.support import virtual_time
from tests.support.calls import ROOM_TOKEN, Call, avatars, calling
from tests.support.faults import fault
from tests.support.inside import set_limits
from tests.support.sounds import END_SECS, RATE
from tests.support.waiting import quiet_log, undisturbed, until

END_BOUND_SECS = 15.0
"""From the ``EndFrame`` to the end of the pipeline: what is left to say (under 2 s), the time to
find out that nobody answers (1.5 s), the drain's grace (5 s: more than it takes to find out), the
end request (3 attempts)."""

CUT_SECS = 0.4
"""How far apart the cut in the room and the cut in the service's books may be;
up to that much may be heard twice or not at all when a session is lost in the middle."""

MESSAGE_SECS = 0.2
"""Of a message at most, so that an utterance takes several."""

WORD_SECS = 0.3
"""Nothing that was said in the first so many seconds of an utterance depends on a later cut."""


class Moment(StrEnum):
    """When the fault strikes."""

    CREATING = "creating"
    CONNECTING = "connecting"
    BEFORE_ESTABLISHED = "before established"
    IDLE = "idle"
    FIRST_CHUNK = "first chunk"
    MID_UTTERANCE = "mid utterance"
    INTERRUPT_PENDING = "interrupt pending"
    DRAINING = "draining"
    TEARING_DOWN = "tearing down"


class Outcome(StrEnum):
    """What is to come of it."""

    UNHURT = "the avatar goes on"
    CHUNK_LOST = "a piece is not heard, and that is reported"
    RENEWED = "a new session"
    VOICE_ONLY = "no avatar any more, the transport speaks"
    WAITING = "a new session once none can run unknown, the transport speaks"
    OVER = "the call is over, noticed or not"


# --- the matrix ------------------------------------------------------------------------


@dataclass(frozen=True)
class Trouble:
    """A fault as the sandbox knows it, without the place where it strikes.

    Attributes:
        name: As it stands in the table.
        kind: The sandbox's name for it.
        details: The sandbox's fields of it.
        failing_ends: How many requests to end a session fail along with it.
    """

    name: str
    kind: str
    details: dict[str, Any] = field(default_factory=dict)
    failing_ends: int = 0


@dataclass(frozen=True)
class Cell:
    """One cell of the matrix.

    Attributes:
        trouble: What goes wrong.
        moment: When.
        outcome: What is to come of it.
        code: How it is reported, or empty if it is not.
        twice: Whether an unconfirmed message may be heard twice: nobody can know its fate.
    """

    trouble: Trouble
    moment: Moment
    outcome: Outcome
    code: str = ""
    twice: bool = False

    @property
    def name(self) -> str:
        return f"{self.trouble.name} / {self.moment}"

    @property
    def answers_a_command(self) -> bool:
        """Whether it strikes as the answer to speech, rather than by itself."""
        return self.trouble in ANSWERS and self.moment is not Moment.IDLE


def closed(code: int) -> Trouble:
    return Trouble(f"close {code}", "close", {"code": code, "reason": "as ordered"})


ABORT = Trouble("TCP reset", "abort")
HALF_OPEN = Trouble("half open", "silent")
CUT = Trouble("network cut", "cut")
CUT_AND_UNENDED = Trouble("network cut, end fails", "cut", failing_ends=3)
SLOW_READER = Trouble("reads no more", "stall_reading")
MISSING = Trouble("no answer", "missing")
LOST_COMMAND = Trouble("command lost", "missing", {"carried_out": False})
LATE = Trouble("late answer", "delay", {"delay_secs": 0.3, "delayed": "answer"})
LATE_COMMAND = Trouble("slow server", "delay", {"delay_secs": 0.3, "delayed": "command"})
TOO_LATE = Trouble("answer too late", "delay", {"delay_secs": 4.0, "delayed": "answer"})
DUPLICATE = Trouble("answer twice", "duplicate")
WRONG_COUNT = Trouble("wrong count", "wrong_samples", {"audio_samples": 9_999})
NO_COUNT = Trouble("no count", "wrong_samples", {"audio_samples": "many"})
MISPRINT = Trouble("trailing comma", "trailing_comma")
ANSWERS = [
    MISSING,
    LOST_COMMAND,
    LATE,
    LATE_COMMAND,
    TOO_LATE,
    DUPLICATE,
    WRONG_COUNT,
    NO_COUNT,
    SLOW_READER,
]
CLOSES = [closed(code) for code in (1000, 1001, 1008, 1011, 1012, 4000)]
UNNOTICED = [HALF_OPEN, CUT, CUT_AND_UNENDED]
LOSSES = [*CLOSES, ABORT, *UNNOTICED]
REQUEST_CLOSED = Trouble("closed", "close")
GARBAGE = [
    Trouble("garbage", "garbage", {"instead": False}),
    Trouble("binary", "garbage", {"instead": False, "payload_base64": "AP+AgQ=="}),
    Trouble("deep JSON", "garbage", {"instead": False, "payload": "[" * 100_000}),
    Trouble("unknown event", "garbage", {"instead": False, "payload": '{"type": "agent.nod"}'}),
]
OVERSIZED = Trouble("2 MB message", "garbage", {"payload": "x" * 2_000_000})
ERRORS = [
    Trouble(
        f"error {entry.code}",
        "error",
        {"text": entry.text + (" with details" if entry.text.endswith(":") else "")},
    )
    for entry in ERROR_CATALOGUE
]
NO_INTERRUPTS = Trouble(
    "error naming the interrupt", "error", {"text": "Unknown message type: agent.interrupt"}
)
STRANGE_ERROR = Trouble("error unrecognized", "error", {"text": "The moon is full"})


def refused(status: int, **details: Any) -> Trouble:
    return Trouble(f"HTTP {status}", "refuse", {"status": status, **details})


FULL_FOR_AN_HOUR = Trouble(
    "HTTP 429 for an hour", "refuse", {"status": 429, "headers": {"Retry-After": "3600"}}
)
NO_MINUTES = Trouble(
    "out of minutes",
    "refuse",
    {"status": 402, "body": {"error": {"message": "No minutes", "code": "INSUFFICIENT_MINUTES"}}},
)
WRONG_SERVER = Trouble("wrong server", "wrong_server")
MALFORMED = Trouble("malformed body", "refuse", {"status": 200, "body": "{not json"})
NO_TOKEN = Trouble("answer without a token", "refuse", {"status": 201, "body": {"session": {}}})


def _cells() -> Iterator[Cell]:
    yield from _creating()
    yield from _connecting()
    yield from _losses()
    yield from _answers()
    yield from _errors()
    yield from _tearing_down()


def _creating() -> Iterator[Cell]:
    at = Moment.CREATING
    yield Cell(refused(400), at, Outcome.VOICE_ONLY, "bad_request")
    yield Cell(refused(401), at, Outcome.VOICE_ONLY, "authentication")
    yield Cell(refused(403), at, Outcome.VOICE_ONLY, "permission_denied")
    yield Cell(refused(404), at, Outcome.VOICE_ONLY, "not_found")
    yield Cell(refused(418), at, Outcome.VOICE_ONLY, "bad_request")
    yield Cell(NO_MINUTES, at, Outcome.VOICE_ONLY, "out_of_minutes")
    yield Cell(refused(307), at, Outcome.VOICE_ONLY, "server_failure")
    yield Cell(refused(429), at, Outcome.RENEWED, "rate_limited")
    yield Cell(FULL_FOR_AN_HOUR, at, Outcome.VOICE_ONLY, "rate_limited")
    yield Cell(refused(503), at, Outcome.RENEWED, "server_failure")
    yield Cell(refused(500), at, Outcome.WAITING, "server_failure")
    yield Cell(MALFORMED, at, Outcome.WAITING, "server_failure")
    yield Cell(NO_TOKEN, at, Outcome.WAITING, "server_failure")
    yield Cell(MISSING, at, Outcome.RENEWED, "connection_failed")
    yield Cell(LOST_COMMAND, at, Outcome.WAITING, "connection_failed")
    yield Cell(ABORT, at, Outcome.WAITING, "connection_failed")
    yield Cell(REQUEST_CLOSED, at, Outcome.WAITING, "connection_failed")
    yield Cell(WRONG_SERVER, at, Outcome.RENEWED, "invalid_session_id")
    yield Cell(LATE, at, Outcome.UNHURT)
    yield Cell(LATE_COMMAND, at, Outcome.UNHURT)


def _connecting() -> Iterator[Cell]:
    at = Moment.CONNECTING
    for status in (400, 401, 403, 404, 429, 500, 503):
        yield Cell(refused(status), at, Outcome.RENEWED, "connect_failed")
    yield Cell(refused(302, headers={"Location": "/"}), at, Outcome.RENEWED, "connect_failed")
    yield Cell(MISSING, at, Outcome.RENEWED, "connect_failed")
    yield Cell(TOO_LATE, at, Outcome.RENEWED, "connect_failed")
    yield Cell(LATE, at, Outcome.UNHURT)
    yield Cell(SLOW_READER, at, Outcome.RENEWED, "silent")
    at = Moment.BEFORE_ESTABLISHED
    yield Cell(TOO_LATE, at, Outcome.RENEWED, "silent")
    yield Cell(MISSING, at, Outcome.RENEWED, "silent")
    yield Cell(LOST_COMMAND, at, Outcome.RENEWED, "silent")
    yield Cell(LATE, at, Outcome.UNHURT)
    yield Cell(LATE_COMMAND, at, Outcome.UNHURT)
    yield Cell(DUPLICATE, at, Outcome.UNHURT)
    yield Cell(SLOW_READER, at, Outcome.RENEWED, "silent")


def _losses() -> Iterator[Cell]:
    for moment in Moment:
        if moment in (Moment.CREATING, Moment.TEARING_DOWN):
            continue
        for loss in LOSSES:
            code = "silent" if loss in UNNOTICED else "closed"
            if moment is Moment.CONNECTING and loss is ABORT:
                code = "connect_failed"
            if moment is Moment.DRAINING and loss in UNNOTICED:
                # The last words are confirmed: they are heard before anybody misses an answer.
                yield Cell(loss, moment, Outcome.UNHURT)
            else:
                yield Cell(loss, moment, Outcome.RENEWED, code)
        yield Cell(OVERSIZED, moment, Outcome.RENEWED, "silent")
    for unanswered in (SLOW_READER, MISSING, TOO_LATE):  # of a ping
        yield Cell(unanswered, Moment.IDLE, Outcome.RENEWED, "silent")
    yield Cell(LATE, Moment.IDLE, Outcome.UNHURT)


def _answers() -> Iterator[Cell]:
    for at in (Moment.FIRST_CHUNK, Moment.MID_UTTERANCE, Moment.DRAINING):
        yield Cell(MISSING, at, Outcome.RENEWED, "silent", twice=True)
        yield Cell(LOST_COMMAND, at, Outcome.RENEWED, "silent")
        yield Cell(TOO_LATE, at, Outcome.RENEWED, "silent", twice=True)
        yield Cell(SLOW_READER, at, Outcome.RENEWED, "silent")
        for harmless in (LATE, LATE_COMMAND, DUPLICATE, WRONG_COUNT, NO_COUNT):
            yield Cell(harmless, at, Outcome.UNHURT)
    at = Moment.INTERRUPT_PENDING
    for lost in (MISSING, LOST_COMMAND, TOO_LATE, SLOW_READER):
        yield Cell(lost, at, Outcome.RENEWED, "silent")
    for harmless in (LATE, LATE_COMMAND, DUPLICATE, MISPRINT):
        yield Cell(harmless, at, Outcome.UNHURT)
    for at in (
        Moment.CONNECTING,
        Moment.BEFORE_ESTABLISHED,
        Moment.IDLE,
        Moment.FIRST_CHUNK,
        Moment.MID_UTTERANCE,
        Moment.INTERRUPT_PENDING,
        Moment.DRAINING,
    ):
        for harmless in GARBAGE:
            yield Cell(harmless, at, Outcome.UNHURT)


def _errors() -> Iterator[Cell]:
    for entry, trouble in zip(ERROR_CATALOGUE, ERRORS, strict=True):
        lost = Outcome.RENEWED if entry.new_session_helps else Outcome.VOICE_ONLY
        ends_session = entry.answers == "session.init"
        yield Cell(trouble, Moment.CONNECTING, lost, entry.code)
        yield Cell(trouble, Moment.BEFORE_ESTABLISHED, lost, entry.code)
        for moment in (Moment.IDLE, Moment.DRAINING):
            yield Cell(trouble, moment, lost if ends_session else Outcome.UNHURT, entry.code)
        for moment in (Moment.FIRST_CHUNK, Moment.MID_UTTERANCE):
            yield Cell(trouble, moment, lost if ends_session else _answered(entry), entry.code)
        # An interrupt that only gets an error is not confirmed, and that is a lost connection.
        outcome = lost if ends_session else Outcome.RENEWED
        yield Cell(trouble, Moment.INTERRUPT_PENDING, outcome, entry.code)
    for at in (Moment.CONNECTING, Moment.BEFORE_ESTABLISHED):
        yield Cell(STRANGE_ERROR, at, Outcome.RENEWED, "unrecognized")
    for at in (Moment.IDLE, Moment.DRAINING):
        yield Cell(STRANGE_ERROR, at, Outcome.UNHURT, "unrecognized")
    for at in (Moment.FIRST_CHUNK, Moment.MID_UTTERANCE):
        yield Cell(STRANGE_ERROR, at, Outcome.CHUNK_LOST, "unrecognized")
    yield Cell(STRANGE_ERROR, Moment.INTERRUPT_PENDING, Outcome.RENEWED, "silent")
    yield Cell(NO_INTERRUPTS, Moment.INTERRUPT_PENDING, Outcome.RENEWED, "interrupt_refused")


def _answered(entry: Any) -> Outcome:
    """An error that names no command of ours leaves it unanswered."""
    return Outcome.RENEWED if entry.answers == "named in the text" else Outcome.CHUNK_LOST


def _tearing_down() -> Iterator[Cell]:
    at = Moment.TEARING_DOWN
    for status in (302, 307, 400, 401, 403, 404, 418, 429, 500, 503):
        yield Cell(refused(status), at, Outcome.UNHURT)
    for trouble in (NO_MINUTES, FULL_FOR_AN_HOUR, MALFORMED, NO_TOKEN, ABORT, REQUEST_CLOSED):
        yield Cell(trouble, at, Outcome.UNHURT)
    for trouble in (MISSING, LOST_COMMAND, LATE, LATE_COMMAND, TOO_LATE):
        yield Cell(trouble, at, Outcome.UNHURT)
    for trouble in (*UNNOTICED, SLOW_READER, *GARBAGE):
        yield Cell(trouble, at, Outcome.UNHURT)
    for trouble in CLOSES:
        yield Cell(trouble, at, Outcome.OVER, "closed")
    yield Cell(OVERSIZED, at, Outcome.OVER, "silent")
    for entry, trouble in zip(ERROR_CATALOGUE, ERRORS, strict=True):
        yield Cell(trouble, at, Outcome.OVER, entry.code)
    yield Cell(STRANGE_ERROR, at, Outcome.OVER, "unrecognized")


MATRIX = list(_cells())


# --- one cell, played ------------------------------------------------------------------


@dataclass
class Finding:
    """What a cell led to; ``problems`` is empty if all is well."""

    cell: Cell
    secs: float = 0.0
    ending_secs: float = 0.0
    avatar_secs: float = 0.0
    transport_secs: float = 0.0
    twice_secs: float = 0.0
    never_secs: float = 0.0
    sessions: int = 0
    secrets: list[str] = field(default_factory=list, repr=False)
    codes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


@dataclass
class Script:
    """What was said: utterances that must be heard wholly, and one that was interrupted."""

    call: Call
    cell: Cell
    cut: range = range(0)
    ended_at: float = 0.0

    async def play(self) -> None:
        """Play the cell, from the pipeline's start to its ``EndFrame``."""
        match self.cell.moment:
            case Moment.CREATING | Moment.CONNECTING | Moment.BEFORE_ESTABLISHED:
                await self.call.say(0.5)
                await self.spoken(1)
            case Moment.IDLE:
                await self.strike_now()
            case Moment.FIRST_CHUNK:
                self.strike_at("agent.speak")
                await self.call.say(0.6)
                await self.spoken(1)
            case Moment.MID_UTTERANCE:
                saying = asyncio.create_task(self.call.say(1.0, real_time=True))
                await self.call.sandbox.wait_until_heard(WORD_SECS)
                self.strike_at("agent.speak")
                await saying
                await self.spoken(1)
            case Moment.INTERRUPT_PENDING:
                await self.interrupted()
            case Moment.DRAINING:
                if self.cell.answers_a_command:
                    self.strike_at("agent.speak", nth=3)
                await self.call.say(1.0)
                await self.end()
                if not self.cell.answers_a_command:
                    await self.call.sandbox.wait_until_heard(WORD_SECS)
                    await self.strike_now()
                return
            case Moment.TEARING_DOWN:
                await self.call.say(0.3)
                await self.spoken(1)
                await self.tear_down()
                return
        await self.settled()
        await self.call.say(0.3)
        await self.end()

    async def tear_down(self) -> None:
        trouble = self.cell.trouble
        if trouble in (*UNNOTICED, SLOW_READER):
            await self.strike_now()
            await self.end()
        elif trouble in CLOSES or trouble.kind in ("garbage", "error"):
            await self.end()
            with contextlib.suppress(LookupError):  # the avatar has left before
                await self.strike_now()
        else:
            self.strike_at("end")
            await self.end()

    async def interrupted(self) -> None:
        self.strike_at("agent.interrupt")
        self.cut = await self.call.say(1.2)
        await self.call.sandbox.wait_until_heard(WORD_SECS)
        await self.call.interrupt()
        await self.call.say(0.4)
        await until(lambda: len(self.call.speaking(self.call.above, upstream=True)) >= 4)

    async def spoken(self, utterances: int) -> None:
        """Wait until so many utterances were spoken to their end, whoever speaks."""
        spoken = self.call.avatar.stats

        def all_said() -> bool:
            nonlocal spoken
            spoken = self.call.avatar.stats
            done = spoken.heard_secs + spoken.rejected_secs + spoken.fallback_secs
            stops = self.call.speaking(self.call.above, upstream=True).count("stop")
            return stops >= utterances and done >= spoken.taken_secs - 0.001

        await until(all_said)

    async def settled(self) -> None:
        """Wait for what is to come of the fault."""
        match self.cell.outcome:
            case Outcome.RENEWED:
                before = self.cell.moment in (
                    Moment.CREATING,
                    Moment.CONNECTING,
                    Moment.BEFORE_ESTABLISHED,
                )
                await self.call.until_ready(1 if before else 2)
            case Outcome.VOICE_ONLY | Outcome.WAITING:
                await until(lambda: bool(self.call.error_frames))
            case Outcome.UNHURT | Outcome.CHUNK_LOST:
                await self.call.until_ready()
                if self.cell.code:
                    await until(lambda: bool(self.call.error_frames))

    async def end(self) -> None:
        self.ended_at = time.monotonic()
        await self.call.end()

    # --- striking ---

    def strike_at(self, point: str, *, nth: int = 1) -> None:
        strike(self.call.sandbox, self.cell.trouble, point, nth=nth)

    async def strike_now(self) -> None:
        """Let it happen although the client has asked for nothing."""
        sandbox, trouble = self.call.sandbox, self.cell.trouble
        match trouble.kind:
            case "close":
                await sandbox.drop(code=trouble.details["code"], reason=trouble.details["reason"])
            case "abort":
                await sandbox.drop(abort=True)
            case "garbage":
                await sandbox.send(fault("ping", "garbage", **trouble.details).garbage)
            case "error":
                await sandbox.send(json.dumps({"type": "error", "error": trouble.details["text"]}))
            case _:
                # The first ping takes the round trip; those after it look whether it lives.
                await until(lambda: any(entry["what"] == "pong" for entry in sandbox.log))
                self.strike_at("ping")
                await sandbox.wait_for("fault")


def strike(sandbox: Sandbox, trouble: Trouble, point: str, *, nth: int = 1) -> None:
    """Let a sandbox be in trouble at a point."""
    sandbox.inject(fault(point, trouble.kind, nth=nth, **trouble.details))
    if trouble.failing_ends:
        sandbox.inject(fault("end", "refuse", status=500, times=trouble.failing_ends))


POINTS = {
    Moment.CREATING: "create",
    Moment.CONNECTING: "connect",
    Moment.BEFORE_ESTABLISHED: "session.init",
}


async def play(cell: Cell) -> Finding:
    """Play a cell and look at what came of it."""
    finding, began = Finding(cell), time.monotonic()
    try:
        # More sessions than one are allowed, so that a second one would be found out.
        async with avatars(max_sessions=3) as sandbox:
            early = cell.moment in POINTS
            if early:
                strike(sandbox, cell.trouble, POINTS[cell.moment])
            async with calling(
                sandbox,
                until_ready=not early,
                settings={"max_message_secs": MESSAGE_SECS},
            ) as call:
                script = Script(call, cell)
                await script.play()
                await call.until_over()
                finding.ending_secs = time.monotonic() - script.ended_at
            judge(finding, script)
    except Exception as error:  # noqa: BLE001 - a finding like any other
        finding.problems.append(f"{type(error).__name__}: {str(error)[:300]}")
    finding.secs = time.monotonic() - began
    return finding


# --- the judgement ---------------------------------------------------------------------


def judge(finding: Finding, script: Script) -> None:
    """Look for everything that must not be."""
    call, cell, complain = script.call, finding.cell, finding.problems.append
    if finding.ending_secs > END_BOUND_SECS:
        complain(f"ended {finding.ending_secs:.1f} s after the EndFrame")
    if call.unpaired():
        complain(f"starts and stops: {call.speaking(call.behind, upstream=False)}")
    judge_sessions(finding, call)
    judge_report(finding, call)
    judge_words(finding, script)
    hopeless = cell.outcome is Outcome.VOICE_ONLY
    if call.avatar.is_usable is hopeless and cell.outcome is not Outcome.OVER:
        complain(f"usable: {call.avatar.is_usable}")
    finding.secrets = [ROOM_TOKEN, *(record.token for record in call.sandbox.sessions)]
    frames = shown(call)
    if any(secret in frames for secret in finding.secrets):
        complain("a secret stands in a frame")


def judge_sessions(finding: Finding, call: Call) -> None:
    complain = finding.problems.append
    finding.sessions = len(call.sandbox.sessions)
    if call.sandbox.live_sessions:
        complain("a session was left behind")
    if call.sandbox.peak_live_sessions > 1:
        complain("two sessions lived at once")
    # At that moment it is often the request itself that fails.
    if finding.cell.moment is not Moment.TEARING_DOWN:
        unended = [record.id for record in call.sandbox.sessions if not record.end_requests]
        if unended:
            complain(f"not ended by request: {unended}")


def judge_report(finding: Finding, call: Call) -> None:
    cell, complain = finding.cell, finding.problems.append
    finding.codes = [frame.code for frame in call.error_frames]
    may_be_silent = cell.outcome is Outcome.OVER
    if cell.code and cell.code not in finding.codes and not (may_be_silent and not finding.codes):
        complain(f"reported as {finding.codes}")
    if not cell.code and (finding.codes or call.reported):
        complain(f"reported without need: {finding.codes}")
    if len(finding.codes) != len(call.reported):
        complain(f"{len(finding.codes)} errors told down, {len(call.reported)} up")
    if "internal_error" in finding.codes:
        complain(f"a bug: {[frame.error for frame in call.reported]}")


def judge_words(finding: Finding, script: Script) -> None:
    call, cell, complain = script.call, finding.cell, finding.problems.append
    avatar, transport = call.heard_of_avatar(), call.given_to_transport()
    both = avatar + transport
    whole = np.ones(call.said, dtype=bool)
    whole[script.cut.start : script.cut.stop] = False
    whole[call.said - round(END_SECS * RATE) :] = False
    finding.avatar_secs = avatar.sum() / RATE
    finding.transport_secs = transport.sum() / RATE
    finding.twice_secs = (both > 1).sum() / RATE
    finding.never_secs = (both[whole] == 0).sum() / RATE
    stats = call.avatar.stats
    lost_while_speaking = cell.outcome in (Outcome.RENEWED, Outcome.VOICE_ONLY) and cell.moment in (
        Moment.FIRST_CHUNK,
        Moment.MID_UTTERANCE,
        Moment.DRAINING,
    )
    slack_secs = CUT_SECS if lost_while_speaking else 0.0
    if finding.twice_secs > slack_secs + (MESSAGE_SECS if cell.twice else 0.0):
        complain(f"{finding.twice_secs:.3f} s were heard twice")
    if finding.never_secs > slack_secs + stats.rejected_secs + 1e-6:
        complain(f"{finding.never_secs:.3f} s were never heard")
    if transport[script.cut.start : script.cut.stop].any():
        complain("interrupted words went to the transport")
    if cell.outcome is Outcome.CHUNK_LOST and not stats.rejected_secs:
        complain("no piece was lost")
    if cell.outcome in (Outcome.UNHURT, Outcome.CHUNK_LOST, Outcome.OVER) and transport.any():
        complain("the transport spoke")
    given = np.frombuffer(
        b"".join(f.audio for f in call.between.of(TTSAudioRawFrame, StandInAudioFrame)),
        dtype="<u2",
    ).astype(int)
    if (np.diff(given[given > 0]) <= 0).any():
        complain("the transport was given words out of order")
    accounted = stats.heard_secs + stats.dropped_secs + stats.rejected_secs + stats.fallback_secs
    if abs(accounted - stats.taken_secs) > 0.001:
        complain(f"{stats.taken_secs:.3f} s taken, {accounted:.3f} s accounted for: {stats}")


def shown(call: Call) -> str:
    """Everything that frames show when they are printed or traced, but for their sound."""
    frames = [
        sighting.frame
        for recorder in call.recorders
        for sighting in recorder.sightings
        if not isinstance(sighting.frame, AudioRawFrame)
    ]
    return "\n".join(f"{frame} {frame!r}" for frame in frames)


# --- the whole matrix ------------------------------------------------------------------


def run(cell: Cell) -> Finding:
    """Play a cell with short limits; a secret in the log is a problem, or in a frame.

    What Pipecat traces is each frame at each step, of which ``shown`` sees all that can be seen.
    """

    async def main() -> Finding:
        finding = await play(cell)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:
            finding.problems.append(f"tasks are left: {left}")
        return finding

    with pytest.MonkeyPatch.context() as patch, undisturbed(), quiet_log(level="DEBUG") as lines:
        set_limits(patch, create_timeout_secs=3.0, end_timeout_secs=0.8)
        finding = virtual_time.run(main)
    log = "\n".join(lines)
    if any(secret in log for secret in finding.secrets):
        finding.problems.append("a secret stands in the log")
    return finding


def table(findings: list[Finding]) -> str:
    """The matrix as it was found, one line for each cell."""
    head = ("fault", "moment", "outcome", "avatar", "transport", "twice", "never", "s", "reported")
    rows = [head]
    for found in findings:
        heard = (found.avatar_secs, found.transport_secs, found.twice_secs, found.never_secs)
        rows.append(
            (
                found.cell.trouble.name,
                str(found.cell.moment),
                "; ".join(found.problems).upper() or str(found.cell.outcome),
                *(f"{secs:.3f}" for secs in heard),
                f"{found.secs:.1f}",
                " ".join(found.codes),
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    widths[2] = min(widths[2], 45)
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def overview() -> str:
    """The matrix as Markdown: a row for faults that lead to the same, a column for each moment."""
    names = list(dict.fromkeys(cell.trouble.name for cell in MATRIX))
    outcomes = {(cell.trouble.name, cell.moment): SIGNS[cell.outcome] for cell in MATRIX}
    alike: dict[tuple[str, ...], list[str]] = {}
    for name in names:
        alike.setdefault(tuple(outcomes.get((name, one), "") for one in Moment), []).append(name)
    rows = [["fault", *map(str, Moment)], ["---"] * (len(Moment) + 1)]
    rows += [["; ".join(faults), *row] for row, faults in alike.items()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


SIGNS = {
    Outcome.UNHURT: "on",
    Outcome.CHUNK_LOST: "piece",
    Outcome.RENEWED: "new",
    Outcome.VOICE_ONLY: "voice",
    Outcome.WAITING: "wait",
    Outcome.OVER: "over",
}


@pytest.mark.parametrize("cell", MATRIX, ids=[cell.name for cell in MATRIX])
def test_the_call_survives(cell: Cell) -> None:
    finding = run(cell)
    assert finding.problems == [], f"\n{table([finding])}"


def test_every_cell_has_a_name_of_its_own() -> None:
    assert len({cell.name for cell in MATRIX}) == len(MATRIX)


def possible_at(point: str) -> set[str]:
    """The kinds of faults that the sandbox can produce at a point."""
    kinds: set[str] = set()
    for kind in get_args(Kind):
        with contextlib.suppress(ValidationError):
            kinds.add(fault(point, kind).kind)
    return kinds


@pytest.mark.parametrize("moment", Moment)
def test_every_kind_of_fault_is_in_the_matrix_at_every_moment_at_which_it_can_strike(moment):
    point = {
        **POINTS,
        Moment.IDLE: "ping",
        Moment.FIRST_CHUNK: "agent.speak",
        Moment.MID_UTTERANCE: "agent.speak",
        Moment.INTERRUPT_PENDING: "agent.interrupt",
        Moment.DRAINING: "agent.speak",
        Moment.TEARING_DOWN: "end",
    }[moment]
    played = {cell.trouble.kind for cell in MATRIX if cell.moment is moment}
    assert possible_at(point) - played == set()


def test_the_documentation_shows_this_matrix() -> None:
    page = Path(__file__).parents[2] / "docs" / "reliability" / "fault-matrix.md"
    assert overview() in page.read_text(encoding="utf-8"), f"it should be:\n{overview()}"


if __name__ == "__main__":
    print(table([run(cell) for cell in MATRIX]))  # noqa: T201 - that is what it is for
