"""What the service says on one WebSocket: the protocol's rules, and the faults ordered."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Final

from pipecat_agenthuman.sandbox import messages
from pipecat_agenthuman.sandbox.account import Account, check_secs
from pipecat_agenthuman.sandbox.faults import Fault, FaultBook, SocketPoint
from pipecat_agenthuman.sandbox.log import Direction, EventLog
from pipecat_agenthuman.sandbox.messages import Init, Interrupt, Rejected, Speak
from pipecat_agenthuman.sandbox.sessions import Ending, LiveSession
from pipecat_agenthuman.sandbox.wire import (
    Abort,
    Close,
    Gone,
    HangUp,
    Incoming,
    Outgoing,
    Ping,
    Pong,
    SocketMessage,
    Wire,
)
from pipecat_agenthuman.wire.error_catalogue import ServerErrorCode
from pipecat_agenthuman.wire.protocol import MAX_MESSAGE_BYTES

_MESSAGE_TOO_BIG: Final = 1009
_POLICY_VIOLATION: Final = 1008
_SECOND_INIT: Final = "Session already initialized"
"""Not documented; the real service's words for it are unknown."""

_POINTS: Final[dict[str, SocketPoint]] = {
    "session.init": "session.init",
    "agent.speak": "agent.speak",
    "agent.interrupt": "agent.interrupt",
}


@dataclass(frozen=True)
class SocketManners:
    """The network, and what the documentation leaves open about sockets.

    Attributes:
        round_trip_secs: Simulated network, half of it each way.
        init_deadline_secs: A socket without ``session.init`` is closed after so many seconds;
            None for never.
        error_close_code: Close code after an ``error``; None leaves the socket open.
        end_close_code: Close code when the session ends otherwise (end request, expiry); None
            leaves the socket open, and commands are answered "Session not found".
    """

    round_trip_secs: float
    init_deadline_secs: float | None
    error_close_code: int | None
    end_close_code: int | None

    def __post_init__(self) -> None:
        """Check the durations; raises ValueError."""
        check_secs(round_trip_secs=self.round_trip_secs, init_deadline_secs=self.init_deadline_secs)


@dataclass(frozen=True)
class _Received:
    """A command, and its entry in the log.

    Attributes:
        command: The command.
        number: Number of the entry.
        at: When it arrived, in seconds on the sandbox's clock.
    """

    command: messages.ClientMessage
    number: int
    at: float


class _SocketPhase(Enum):
    AWAITING_INIT = auto()
    ESTABLISHED = auto()
    OVER = auto()


class SocketConversation:
    """The server's side of one socket.

    A new conversation has no session; ``session.init`` gives it one, and losing the socket
    ends that session at once.
    """

    def __init__(
        self,
        wire: Wire,
        *,
        account: Account,
        faults: FaultBook,
        log: EventLog,
        manners: SocketManners,
        server: str | None = None,
    ) -> None:
        """Prepare a conversation.

        Args:
            wire: The socket.
            account: Where its session is to be found.
            faults: What is to go wrong.
            log: Where every message is noted.
            manners: How sockets behave where the documentation is silent.
            server: Name of the server that it leads to; None for the common one.
        """
        self._wire = wire
        self._account = account
        self._faults = faults
        self._log = log
        self._manners = manners
        self._server = server
        self._phase = _SocketPhase.AWAITING_INIT
        self._session: LiveSession | None = None
        self._deaf = False
        self._is_cut = False
        self._held_up: deque[_Received] | None = None
        self._timers: list[asyncio.TimerHandle] = []

    @property
    def session_id(self) -> str | None:
        """The session of this socket, once it is established."""
        return None if self._session is None else self._session.id

    @property
    def is_over(self) -> bool:
        """Whether the socket is closed or closing."""
        return self._phase is _SocketPhase.OVER

    async def run(self, fault: Fault | None) -> None:
        """Converse until the socket is closed.

        Args:
            fault: The fault that struck on "connect", if it lets the handshake succeed.
        """
        self._note("sandbox", "socket.opened")
        if self._manners.init_deadline_secs is not None:
            self._later(self._manners.init_deadline_secs, self._check_init)
        if fault is not None:
            self._answer([], fault)
        try:
            await self._wire.run(self._receive)
        finally:
            self._finish(Ending.SOCKET_LOST)
            self._note("sandbox", "socket.closed")

    # --- what others ask of it ---

    def send(self, payload: str | bytes) -> None:
        """Send a message that no command asked for; a silent server sends nothing."""
        if not self._wire.is_silent:
            shown = messages.shown(payload)
            self._note("out", **messages.summary(payload), unsolicited=True, message=shown)
            self._wire.send(SocketMessage(payload))

    def close(self, code: int, reason: str, by: Ending = Ending.SERVER_CLOSED) -> None:
        """Close the socket with a close frame; the session ends now."""
        if not self.is_over:
            self._note("out", "close", code=code, reason=reason or None)
            self._wire.send(Close(code, reason))
            self._finish(by)

    def abort(self) -> None:
        """Reset the connection; the session ends now."""
        if not self.is_over:
            self._note("out", "abort")
            self._wire.send(Abort())
            self._finish(Ending.SERVER_CLOSED)

    def session_ended(self) -> None:
        """React to the end of the session that did not come over this socket."""
        code = self._manners.end_close_code
        if code is not None and not self.is_over and not self._wire.is_silent:
            self.close(code, "session ended")

    # --- inward ---

    def _receive(self, incoming: Incoming) -> None:
        if self.is_over and not isinstance(incoming, Gone):
            return
        match incoming:
            case SocketMessage(payload):
                self._take(payload)
            case Ping(payload):
                self._take_ping(payload)
            case Gone(code):
                self._take_end(code)

    def _take(self, payload: str | bytes) -> None:
        size = len(payload) if isinstance(payload, bytes) else len(payload.encode())
        if size > MAX_MESSAGE_BYTES:
            self._note("in", "too big", bytes=size)
            self.close(_MESSAGE_TOO_BIG, "message too big")
            return
        command = messages.read(payload)
        received = _Received(command, self._note_command(command, payload), self._log.now())
        if self._held_up is not None:
            self._held_up.append(received)
        else:
            self._start(received)

    def _start(self, received: _Received) -> None:
        if self._deaf:
            return
        point = _POINTS.get(received.command.type)
        fault = None if point is None else self._strike(point)
        if fault is not None and fault.delay_secs and fault.delayed == "command":
            self._held_up = deque()
            self._later(fault.delay_secs, lambda: self._catch_up(received, fault))
        else:
            self._carry_out(received, fault)

    def _catch_up(self, received: _Received, fault: Fault) -> None:
        """Carry out a command that was held up, then those that waited behind it."""
        waiting, self._held_up = self._held_up or deque(), None
        self._carry_out(received, fault)
        while waiting and not self.is_over:
            if self._held_up is not None:  # one of them is held up in its turn
                self._held_up.extend(waiting)
                return
            self._start(waiting.popleft())

    def _carry_out(self, received: _Received, fault: Fault | None) -> None:
        answers = [self._execute(received.command)] if fault is None or fault.carries_out else []
        if fault is not None and fault.delay_secs and fault.delayed == "answer":
            self._later(fault.delay_secs, lambda: self._answer(answers, fault, received))
        else:
            self._answer(answers, fault, received)

    def _take_ping(self, payload: bytes) -> None:
        self._note("in", "ping")
        fault = self._strike("ping")
        if fault is not None and fault.delay_secs:
            self._later(fault.delay_secs, lambda: self._answer([Pong(payload)], fault))
        else:
            self._answer([Pong(payload)], fault)

    def _take_end(self, code: int | None) -> None:
        if self.is_over:
            return
        if self._is_cut:
            self._wire.send(HangUp())
            self._lose_sight()
            return
        self._note("in", "lost" if code is None else "close", code=code)
        if code is not None and not self._wire.is_silent:
            self._wire.send(Close(code if code != 1005 else 1000))
        else:
            self._wire.send(HangUp())
        self._finish(Ending.SOCKET_LOST if code is None else Ending.CLIENT_CLOSED)

    def _check_init(self) -> None:
        if self._phase is _SocketPhase.AWAITING_INIT:
            self.close(_POLICY_VIOLATION, "no session.init in time")

    # --- the rules ---

    def _execute(self, command: messages.ClientMessage) -> Outgoing:
        """Do what a command says, and return the answer to it."""
        session = self._session
        if session is None:
            return self._execute_first(command)
        if not session.is_live:
            return _error(ServerErrorCode.SESSION_NOT_FOUND)
        match command:
            case Init():
                return SocketMessage(messages.error(_SECOND_INIT))
            case Speak():
                self._account.speak(session, command.audio)
                return SocketMessage(messages.speak_confirmed(len(command.audio)))
            case Interrupt():
                self._account.interrupt(session)
                return SocketMessage(messages.interrupt_confirmed())
            case Rejected(error):
                return SocketMessage(messages.error(error))

    def _execute_first(self, command: messages.ClientMessage) -> Outgoing:
        match command:
            case Init():
                return self._execute_init(command)
            case Rejected(error, "session.init" | "unreadable"):
                return SocketMessage(messages.error(error))
            case _:
                return _error(ServerErrorCode.INIT_NOT_FIRST)

    def _execute_init(self, command: Init) -> Outgoing:
        session = self._account.find(command.session_id)
        if session is None or not session.is_live:
            return _error(ServerErrorCode.SESSION_NOT_FOUND)
        if command.session_token != session.token:
            return _error(ServerErrorCode.VIDEO_PATH_UNAVAILABLE)
        if session.connected_at is not None or session.server != self._server:
            return _error(ServerErrorCode.INVALID_SESSION_ID)
        self._account.connect(session)
        self._session = session
        self._phase = _SocketPhase.ESTABLISHED
        return SocketMessage(messages.established(session.id))

    # --- outward ---

    def _answer(
        self, answers: list[Outgoing], fault: Fault | None, received: _Received | None = None
    ) -> None:
        if self.is_over or self._wire.is_silent:
            return
        for outgoing in answers if fault is None else self._spoilt(answers, fault):
            self._send(outgoing, received)

    def _spoilt(self, answers: list[Outgoing], fault: Fault) -> list[Outgoing]:
        """Return what is sent in place of the right answers."""
        match fault.kind:
            case "missing":
                return []
            case "duplicate":
                return answers * 2
            case "error":
                return [SocketMessage(messages.error(fault.text))]
            case "garbage":
                return [SocketMessage(fault.garbage), *([] if fault.instead else answers)]
            case "trailing_comma":
                return [SocketMessage(messages.BROKEN_INTERRUPT_CONFIRMED)]
            case "wrong_samples":
                return [SocketMessage(messages.speak_confirmed(fault.audio_samples))]
            case "close":
                return [Close(fault.code, fault.reason)]
            case "abort":
                return [Abort()]
            case "silent" | "cut":
                self._deaf = not fault.carries_out
                self._is_cut = fault.kind == "cut"
                self._wire.silence()
                return []
            case "stall_reading":
                self._wire.stall()
                return []
            case "delay" | "refuse" | "wrong_server":  # the last two are a request's
                return answers

    def _send(self, outgoing: Outgoing, received: _Received | None) -> None:
        match outgoing:
            case Close(code, reason):
                self.close(code, reason)
            case Abort():
                self.abort()
            case SocketMessage(payload):
                summary = messages.summary(payload)
                self._note(
                    "out", **summary, **self._answered(received), message=messages.shown(payload)
                )
                self._wire.send(outgoing)
                if summary["what"] == "error" and self._manners.error_close_code is not None:
                    self.close(self._manners.error_close_code, "error")
            case _:
                self._note("out", "pong")
                self._wire.send(outgoing)

    # --- small things ---

    def _strike(self, point: SocketPoint) -> Fault | None:
        fault = self._faults.strike(point)
        if fault is not None:
            self._note("sandbox", "fault", on=point, kind=fault.kind)
        return fault

    def _later(self, delay_secs: float, call: Callable[[], None]) -> None:
        self._timers.append(asyncio.get_running_loop().call_later(delay_secs, call))

    def _finish(self, by: Ending) -> None:
        """End the conversation and, if it has one, its session."""
        if self.is_over:
            return
        self._phase = _SocketPhase.OVER
        for timer in self._timers:
            timer.cancel()
        if self._session is not None:
            self._account.end(self._session, by)

    def _lose_sight(self) -> None:
        """End the conversation; its session does not know that nobody is there any more."""
        session, self._session = self._session, None
        self._finish(Ending.SOCKET_LOST)
        if session is not None:
            self._account.orphan(session)

    def _answered(self, received: _Received | None) -> dict[str, Any]:
        """Say for the log what an answer is the answer to."""
        if received is None:
            return {}
        after_secs = round(self._log.now() - received.at, 6)
        return {"answers": received.number, "after_secs": after_secs}

    def _note_command(self, command: messages.ClientMessage, payload: str | bytes) -> int:
        match command:
            case Speak(samples=samples, sample_rate=rate):
                details = {"samples": samples, "sample_rate": rate}
            case Rejected(error):
                details = {"rejected": error}
            case _:
                details = {}
        return self._note("in", command.type, **details, message=messages.shown(payload))

    def _note(self, direction: Direction, what: str, **details: object) -> int:
        return self._log.add(direction, what, self.session_id, **details)["number"]


def _error(code: ServerErrorCode) -> SocketMessage:
    return SocketMessage(messages.error(messages.ERROR_TEXT[code]))
