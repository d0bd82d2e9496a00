"""What a connection tells: the server's answers, matched to commands, and its end. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from pipecat_agenthuman.wire import protocol
from pipecat_agenthuman.wire.protocol import ServerError


@dataclass(frozen=True, slots=True)
class Established:
    """The server accepted the session; audio may be sent from now on.

    Attributes:
        session_id: The session.
        message: The server's message.
        took_secs: From ``session.init`` to it.
    """

    session_id: str
    message: protocol.ConnectionEstablished
    took_secs: float


@dataclass(frozen=True, slots=True)
class SpeechConfirmed:
    """A message of speech is queued at the server.

    Attributes:
        message: The server's message.
        samples: Number of samples that were sent.
        at: When the server confirmed it: half a round trip before that was received.
        took_secs: From sending to the confirmation's arrival.
    """

    message: protocol.SpeakConfirmed
    samples: int
    at: float
    took_secs: float


@dataclass(frozen=True, slots=True)
class PlaybackStopped:
    """The server stopped playback."""

    message: protocol.InterruptConfirmed
    took_secs: float


@dataclass(frozen=True, slots=True)
class ErrorReported:
    """The server reported an error; the connection goes on.

    Attributes:
        error: What it reported.
        speech_rejected: Whether a live message of speech failed with it.
    """

    error: ServerError
    speech_rejected: bool


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A message that changes nothing: unknown, unreadable, or an answer to nothing."""

    message: protocol.ServerMessage
    why: str


ConnectionEvent = Established | SpeechConfirmed | PlaybackStopped | ErrorReported | Unexpected


class LossKind(StrEnum):
    """Why a connection ended."""

    LEFT = "left"
    CONNECT_FAILED = "connect_failed"
    CLOSED = "closed"
    SILENT = "silent"
    SESSION_REFUSED = "session_refused"
    INTERRUPT_REFUSED = "interrupt_refused"
    SPEECH_REFUSED = "speech_refused"


@dataclass(frozen=True, slots=True)
class Loss:
    """The end of a connection, as far as it is known.

    Attributes:
        kind: What happened.
        reason: In a sentence, with the server's own words.
        code: WebSocket close code, or HTTP status of a refused handshake.
        error: The server's error, if it sent one that ended the session.
        final: Whether another attempt would end in the same way.
    """

    kind: LossKind
    reason: str
    code: int | None = None
    error: ServerError | None = None
    final: bool = False
