"""Faults to order: what goes wrong, where, and at which occurrence."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from pydantic import (
    Base64Bytes,
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    field_validator,
    model_validator,
)

RequestPoint = Literal["create", "list", "get", "end", "avatars", "preview", "upload-face", "usage"]
SocketPoint = Literal["connect", "session.init", "agent.speak", "agent.interrupt", "ping"]
Point = Literal[RequestPoint, SocketPoint]
"""Where a fault can strike: a REST request, opening a WebSocket, or a message on it."""

Kind = Literal[
    "delay",
    "missing",
    "duplicate",
    "error",
    "close",
    "abort",
    "garbage",
    "trailing_comma",
    "wrong_samples",
    "silent",
    "cut",
    "stall_reading",
    "refuse",
    "wrong_server",
]
"""What goes wrong; see ``Fault``."""

_LOSSES: Final = {"close", "abort"}
_SOCKET_LOSSES: Final = _LOSSES | {"silent", "cut", "stall_reading"}
_POSSIBLE: Final[dict[str, set[str]]] = {
    **{point: {"delay", "missing", "refuse"} | _LOSSES for point in get_args(RequestPoint)},
    "create": {"delay", "missing", "refuse", "wrong_server"} | _LOSSES,
    "connect": {"delay", "missing", "refuse", "error", "garbage"} | _SOCKET_LOSSES,
    "session.init": {"delay", "missing", "duplicate", "error", "garbage"} | _SOCKET_LOSSES,
    "agent.speak": {"delay", "missing", "duplicate", "error", "garbage", "wrong_samples"}
    | _SOCKET_LOSSES,
    "agent.interrupt": {"delay", "missing", "duplicate", "error", "garbage", "trailing_comma"}
    | _SOCKET_LOSSES,
    "ping": {"delay", "missing", "garbage"} | _SOCKET_LOSSES,
}
_HEADER_BREAKERS: Final = re.compile("[\r\n\0]")

_CARRIED_OUT: Final = {
    "delay",
    "missing",
    "duplicate",
    "garbage",
    "trailing_comma",
    "wrong_samples",
    "wrong_server",
}


class Fault(BaseModel):
    """One thing that goes wrong.

    Kinds, and the fields that they use:

    * ``delay``: the answer comes after ``delay_secs``, see ``delayed``. Every other kind may
      have a ``delay_secs`` too.
    * ``missing``: no answer to this one; a request or a handshake hangs until the client
      gives up.
    * ``duplicate``: the answer comes twice.
    * ``error``: an ``error`` message with ``text`` instead of the answer; on "connect" right
      after the handshake.
    * ``close``: the WebSocket is closed with ``code`` and ``reason``; a request's connection
      without an answer.
    * ``abort``: TCP reset, no close frame, no answer.
    * ``garbage``: ``payload`` (or ``payload_base64`` as a binary message) instead of the answer,
      or before it if ``instead`` is false.
    * ``trailing_comma``: the interrupt confirmation as the documentation misprints it.
    * ``wrong_samples``: a speech confirmation with ``audio_samples`` in place of the truth.
    * ``silent``: half open: reads everything from then on and never answers, not even pings.
    * ``cut``: the network between is cut: as ``silent``, and the server does not notice that the
      client closes the socket or is gone. Its session goes on until it is ended by request, or
      swept like one that never had a socket.
    * ``stall_reading``: stops reading, so that the client's writes back up.
    * ``refuse``: a request, or the WebSocket handshake, is answered with ``status``, ``body``
      and ``headers``.
    * ``wrong_server``: the answer to a create names the address of another server
      (``server_ws_uri``), which does not know the session.

    Attributes:
        on: Where it strikes.
        kind: What goes wrong.
        nth: At which occurrence of ``on`` since the injection it strikes first, from 1.
        times: At how many occurrences from there on; None for ever.
        delay_secs: Seconds to wait before anything else happens.
        delayed: What ``delay_secs`` holds up: the "command" (a slow server: it carries the
            command out only then, and later commands wait behind it) or only the "answer"
            (carried out at once, later commands overtake it).
        carried_out: Whether the command takes effect although it is answered wrongly, for
            example a session that is created although the answer is lost. None takes the kind's
            usual way: not for error, close, abort, silent, cut, stall_reading and refuse, else it
            does.
        text: The words of ``error``.
        payload: Text of ``garbage``.
        payload_base64: Bytes of ``garbage``, in base64.
        instead: Whether ``garbage`` replaces the answer or precedes it.
        code: Close code of ``close``.
        reason: Close reason of ``close``.
        status: HTTP status of ``refuse``.
        body: Body of ``refuse``: a string is sent as it is, None makes one of the service's
            own form, everything else is sent as JSON.
        headers: Additional headers of ``refuse``, for example ``Retry-After``.
        audio_samples: The count of ``wrong_samples``, any JSON value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    on: Point
    kind: Kind
    nth: int = Field(default=1, ge=1)
    times: int | None = Field(default=1, ge=1)
    delay_secs: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    delayed: Literal["command", "answer"] = "command"
    carried_out: bool | None = None
    text: str = "Something went wrong"
    payload: str = "\x00 not JSON"
    payload_base64: Base64Bytes | None = None
    instead: bool = True
    code: int = Field(default=1011, ge=1000, le=4999)
    reason: str = Field(default="", max_length=123)
    status: int = Field(default=503, ge=200, le=599)
    body: JsonValue = None
    headers: dict[str, str] = Field(default_factory=dict[str, str])
    audio_samples: JsonValue = None

    @field_validator("headers")
    @classmethod
    def _stay_on_their_lines(cls, headers: dict[str, str]) -> dict[str, str]:
        # Such a header would become two, or end the head of the response: no server sends it.
        if any(_HEADER_BREAKERS.search(name + value) for name, value in headers.items()):
            raise ValueError("a name or value must not contain CR, LF or NUL")
        return headers

    @model_validator(mode="after")
    def _fits_the_point(self) -> Fault:
        possible = _POSSIBLE[self.on]
        if self.kind not in possible:
            raise ValueError(
                f"{self.kind!r} cannot happen on {self.on!r}; possible: "
                + ", ".join(sorted(possible))
            )
        return self

    @property
    def carries_out(self) -> bool:
        """Whether the command that it strikes takes effect."""
        return self.kind in _CARRIED_OUT if self.carried_out is None else self.carried_out

    @property
    def garbage(self) -> str | bytes:
        """What ``garbage`` sends."""
        return self.payload if self.payload_base64 is None else self.payload_base64


def possible_kinds() -> dict[Point, list[Kind]]:
    """What can go wrong at each point."""
    return {
        point: [kind for kind in get_args(Kind) if kind in _POSSIBLE[point]]
        for point in (*get_args(RequestPoint), *get_args(SocketPoint))
    }


def parse_fault(text: str) -> Fault:
    """Read a fault from JSON text.

    Args:
        text: A JSON object with the fields of ``Fault``.

    Returns:
        The fault.

    Raises:
        ValueError: If it is not a valid fault; the text fits on one line.
    """
    try:
        return Fault.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(describe_problem(error)) from None


def describe_problem(error: ValidationError) -> str:
    """Say on one line what is wrong with a JSON body or fault.

    Args:
        error: pydantic's findings.

    Returns:
        The first finding with the path of its field, without the value.
    """
    first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{path}: {message}" if path else message


@dataclass
class ArmedFault:
    """An injected fault and how often its point has come up since.

    Attributes:
        number: Which one it is, among all that were ever injected.
        fault: The fault.
        seen: Occurrences of its point since the injection.
        struck: How often it struck.
    """

    number: int
    fault: Fault
    seen: int = 0
    struck: int = 0

    def occurs(self) -> bool:
        """Count an occurrence, and tell whether the fault is due at it."""
        self.seen += 1
        past = self.seen - self.fault.nth
        return past >= 0 and (self.fault.times is None or past < self.fault.times)

    def describe(self) -> dict[str, Any]:
        """Return the fault and its counts as JSON values."""
        fault = self.fault.model_dump(mode="json", exclude_defaults=True)
        return {
            "number": self.number,
            "fault": fault,
            "seen": self.seen,
            "struck": self.struck,
        }


class FaultBook:
    """The injected faults. Safe to use from any thread.

    At an occurrence every fault of that point counts it, and the one that was injected first
    among those that are due strikes, alone.
    """

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        """Make a book of faults.

        Args:
            faults: Those armed from the start.
        """
        self._numbers = itertools.count(1)
        self._armed = [ArmedFault(next(self._numbers), fault) for fault in faults]
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []

    def listen(self, listener: Callable[[], None]) -> None:
        """Call ``listener`` when a fault is armed, strikes or is disarmed, in whatever thread."""
        self._listeners.append(listener)

    def inject(self, *faults: Fault) -> None:
        """Arm faults; their counting starts here."""
        with self._lock:
            self._armed += [ArmedFault(next(self._numbers), fault) for fault in faults]
        self._tell()

    def disarm(self, number: int) -> None:
        """Disarm one. What it has already done stays so.

        Args:
            number: Its number, as ``armed`` tells it.

        Raises:
            LookupError: If it is not among them.
        """
        with self._lock:
            others = [armed for armed in self._armed if armed.number != number]
            if len(others) == len(self._armed):
                raise LookupError(f"No fault has the number {number}")
            self._armed = others
        self._tell()

    def clear(self) -> None:
        """Disarm all. What has already struck stays so, for example a silent connection."""
        with self._lock:
            self._armed.clear()
        self._tell()

    def strike(self, point: Point) -> Fault | None:
        """Count an occurrence of a point.

        Args:
            point: Where the sandbox has come to.

        Returns:
            The fault that strikes here, or None.
        """
        with self._lock:
            due = [armed for armed in self._armed if armed.fault.on == point and armed.occurs()]
            if not due:
                return None
            due[0].struck += 1
        self._tell()
        return due[0].fault

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()

    def armed(self) -> list[dict[str, Any]]:
        """Describe all injected faults, oldest first, spent ones included."""
        with self._lock:
            return [armed.describe() for armed in self._armed]
