"""The avatar's news as Pipecat frames.

All of them are system frames: they overtake queued data, and an interruption cannot eat
them. The service pushes them downstream; those about the room come from the transports.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipecat.frames.frames import InterruptionFrame, SystemFrame

from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

StartInterruptionFrame = InterruptionFrame
"""The name that ``InterruptionFrame`` had before Pipecat 1.0; the same class."""


@dataclass
class AgentHumanServerEventFrame(SystemFrame):
    """An event of the Agent Human service; itself used for events of unknown type.

    Parameters:
        event: The server's message, decoded from JSON. Empty for frames that do not come from
            the server.
    """

    event: Mapping[str, Any] = field(default_factory=dict[str, Any], kw_only=True)


@dataclass
class AgentHumanConnectedFrame(AgentHumanServerEventFrame):
    """The session is established: the avatar takes audio from now on.

    Parameters:
        session_id: Identifier of the session.
    """

    session_id: str = ""


@dataclass
class AgentHumanSpeakConfirmedFrame(AgentHumanServerEventFrame):
    """The server received and queued audio. It has not been heard yet.

    Parameters:
        audio_samples: Number of samples queued, at 16 kHz.
    """

    audio_samples: int = 0

    @property
    def duration_secs(self) -> float:
        """Duration of the confirmed audio in seconds."""
        return self.audio_samples / WIRE_SAMPLE_RATE


@dataclass
class AgentHumanInterruptConfirmedFrame(AgentHumanServerEventFrame):
    """The server stopped generation and playback."""


@dataclass
class AgentHumanErrorFrame(AgentHumanServerEventFrame):
    """The server, or the session as a whole, reported an error.

    Parameters:
        error: The server's text, free of secrets.
        code: Stable name of the error: a ``ServerErrorCode`` value for errors on the
            WebSocket, otherwise a word for what failed.
    """

    error: str = ""
    code: str = ""


@dataclass
class AgentHumanDisconnectedFrame(AgentHumanServerEventFrame):
    """The connection is gone. Ours, not the server's: ``event`` is empty.

    Parameters:
        reason: Why, as far as it is known.
        will_reconnect: Whether a new session is being brought up.
        planned: Whether nothing was wrong: the session is replaced as planned.
    """

    reason: str = ""
    will_reconnect: bool = False
    planned: bool = False


@dataclass
class AgentHumanAvatarJoinedFrame(AgentHumanServerEventFrame):
    """The avatar's participant joined the room; pushed by the transports of this package.

    Parameters:
        participant_id: Identifier of this joining: the participant's id at Daily, its ``sid``
            at LiveKit.
    """

    participant_id: str = ""


@dataclass
class AgentHumanAvatarLeftFrame(AgentHumanServerEventFrame):
    """The avatar's participant left the room; pushed by the transports of this package.

    Parameters:
        participant_id: Identifier of this joining: the participant's id at Daily, its ``sid``
            at LiveKit.
        reason: Why it left, as the transport reports it.
    """

    participant_id: str = ""
    reason: str = ""


@dataclass
class AgentHumanPersonsFrame(AgentHumanServerEventFrame):
    """Another number of persons is in the room; pushed by the transports of this package.

    None comes for a room in which there was nobody yet.

    Parameters:
        persons: How many there are now, neither bot nor avatar counted.
    """

    persons: int = 0


@dataclass
class AgentHumanBotLeftFrame(AgentHumanServerEventFrame):
    """The bot is not in the room, and did not leave it by itself; pushed by the transports.

    It neither hears nor reaches anybody, so the service ends the avatar's session.

    Parameters:
        reason: Why, as far as the transport knows.
    """

    reason: str = ""
