"""What a connection and a session tell: answers matched to commands, and their ends. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from pipecat_agenthuman.errors import AgentHumanError, LossKind, LostConnectionError
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
        overtook: How many messages that were sent before it still wait for their answer.
    """

    message: protocol.SpeakConfirmed
    samples: int
    at: float
    took_secs: float
    overtook: int = 0


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
        overtook: How many messages that were sent before that still wait for their answer.
    """

    error: ServerError
    speech_rejected: bool
    overtook: int = 0


@dataclass(frozen=True, slots=True)
class Unexpected:
    """A message that changes nothing: unknown, unreadable, or an answer to nothing."""

    message: protocol.ServerMessage
    why: str


ConnectionEvent = Established | SpeechConfirmed | PlaybackStopped | ErrorReported | Unexpected


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

    def as_error(self) -> LostConnectionError:
        """The exception for a connection that should not have ended."""
        return LostConnectionError(self.reason, loss=self.kind, error=self.error, final=self.final)


# --- what a session tells besides ------------------------------------------------------

PLANNED_REASON: Final = "renewal as planned"
"""What is told of a session with which nothing was wrong."""


@dataclass(frozen=True, slots=True)
class SessionLost:
    """The session is gone, or could not be brought up.

    Attributes:
        error: What to report; None if it was given up as planned.
        will_renew: Whether another one is being brought up.
        was_ready: Whether audio could be sent before.
        why: Why it was given up as planned.
    """

    error: AgentHumanError | None
    will_renew: bool
    was_ready: bool
    why: str = PLANNED_REASON

    @property
    def planned(self) -> bool:
        """Whether nothing was wrong with it: another one takes over, or none is wanted."""
        return self.error is None

    @property
    def reason(self) -> str:
        """Why, in a sentence."""
        return self.why if self.error is None else self.error.message


SessionEvent = ConnectionEvent | SessionLost
