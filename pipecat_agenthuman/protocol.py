"""The Agent Human WebSocket protocol: messages out, messages in, the error catalogue.

Pure functions and frozen types: no asyncio, no Pipecat, no clock. Facts come from the
service's documentation of its server events; where that is silent, decoding is lenient,
because a message that cannot be understood must never end a call.

A client sends ``session.init`` (first, once), ``agent.speak`` and ``agent.interrupt``. The
server answers with ``connection.established``, ``agent.speak.confirmed``,
``agent.interrupt.confirmed`` or ``error``. Nothing carries a correlation id, and a
confirmation means *received and queued*, never *heard*.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, cast

WIRE_SAMPLE_RATE: Final = 16_000
"""Samples per second of the audio on the wire; the service resamples everything to it."""

BYTES_PER_SAMPLE: Final = 2
"""16-bit signed little-endian PCM, mono."""

MAX_MESSAGE_BYTES: Final = 10_000_000
"""A message is at most 10 MB (documented)."""

_ENVELOPE_BYTES: Final = 256
MAX_SPEAK_SAMPLES: Final = (MAX_MESSAGE_BYTES - _ENVELOPE_BYTES) // 4 * 3 // BYTES_PER_SAMPLE
"""Most samples that fit in one ``agent.speak`` after base64: about 234 seconds."""

_EXCERPT_CHARS: Final = 200


# --- client to server ------------------------------------------------------------------


@dataclass(frozen=True)
class SessionInit:
    """``session.init``: must be the first message on a socket.

    Attributes:
        session_id: Identifier from ``POST /v1/sessions``.
        session_token: Token from the same answer; never shown in a ``repr``.
    """

    session_id: str
    session_token: str = field(repr=False)


@dataclass(frozen=True)
class AgentSpeak:
    """``agent.speak``: audio for the avatar to say.

    Attributes:
        audio: 16-bit signed little-endian mono PCM, no header.
        sample_rate: Samples per second of ``audio``; always sent.
    """

    audio: bytes = field(repr=False)
    sample_rate: int = WIRE_SAMPLE_RATE

    @property
    def samples(self) -> int:
        """Number of samples in ``audio``."""
        return len(self.audio) // BYTES_PER_SAMPLE


@dataclass(frozen=True)
class AgentInterrupt:
    """``agent.interrupt``: stop generation and playback at once."""


ClientMessage = SessionInit | AgentSpeak | AgentInterrupt


def encode(message: ClientMessage) -> str:
    """Encode a client message as the text of one WebSocket message.

    Args:
        message: What to send.

    Returns:
        JSON text.

    Raises:
        ValueError: If speech is empty, not whole samples, has no positive sample rate, or
            would exceed ``MAX_MESSAGE_BYTES``.
    """
    match message:
        case SessionInit():
            body: dict[str, Any] = {
                "type": "session.init",
                "session_id": message.session_id,
                "session_token": message.session_token,
            }
        case AgentSpeak():
            _check_speech(message)
            body = {
                "type": "agent.speak",
                "audio": base64.b64encode(message.audio).decode("ascii"),
                "sample_rate": message.sample_rate,
            }
        case AgentInterrupt():
            body = {"type": "agent.interrupt"}
    return json.dumps(body, separators=(",", ":"))


def _check_speech(message: AgentSpeak) -> None:
    if not message.audio:
        raise ValueError("agent.speak needs audio: the service rejects an empty message.")
    if len(message.audio) % BYTES_PER_SAMPLE:
        raise ValueError(f"agent.speak takes whole 16-bit samples, got {len(message.audio)} bytes.")
    if message.samples > MAX_SPEAK_SAMPLES:
        raise ValueError(
            f"agent.speak of {message.samples} samples exceeds the 10 MB message limit; "
            f"send at most {MAX_SPEAK_SAMPLES} samples at a time."
        )
    if message.sample_rate <= 0:
        raise ValueError(f"agent.speak needs a positive sample_rate, got {message.sample_rate}.")


# --- the error catalogue ---------------------------------------------------------------


class ServerErrorCode(StrEnum):
    """Our stable names for the documented ``error`` texts, which carry no code themselves."""

    INIT_NOT_FIRST = "init_not_first"
    MISSING_SESSION_ID = "missing_session_id"
    INVALID_SESSION_ID = "invalid_session_id"
    VIDEO_PATH_UNAVAILABLE = "video_path_unavailable"
    SESSION_NOT_FOUND = "session_not_found"
    INVALID_JSON = "invalid_json"
    NO_AUDIO = "no_audio"
    AUDIO_NOT_PROCESSED = "audio_not_processed"
    UNKNOWN_MESSAGE_TYPE = "unknown_message_type"
    UNRECOGNIZED = "unrecognized"


class Answers(StrEnum):
    """Which command an ``error`` most plausibly answers."""

    INIT = "session.init"
    SPEAK = "agent.speak"
    OLDEST = "oldest"
    NAMED = "named in the text"


@dataclass(frozen=True)
class ErrorEntry:
    """One row of the error catalogue.

    Attributes:
        code: Stable name.
        text: The documented text, or its fixed beginning when ``is_prefix``.
        meaning: What went wrong, in a sentence.
        remedy: What to do about it.
        new_session_helps: Whether the session is beyond repair but a new one can work.
        answers: Which command the error most plausibly answers.
        is_prefix: Whether the server continues ``text`` with details.
    """

    code: ServerErrorCode
    text: str
    meaning: str
    remedy: str
    new_session_helps: bool
    answers: Answers
    is_prefix: bool = False


ERROR_CATALOGUE: Final[tuple[ErrorEntry, ...]] = (
    ErrorEntry(
        code=ServerErrorCode.INIT_NOT_FIRST,
        text="First message must be session.init",
        meaning="Another message reached the server before session.init.",
        remedy="Open a new session; session.init must be sent right after connecting.",
        new_session_helps=True,
        answers=Answers.INIT,
    ),
    ErrorEntry(
        code=ServerErrorCode.MISSING_SESSION_ID,
        text="Missing session id",
        meaning="session.init carried no session_id.",
        remedy="Pass the session_id that creating the session returned.",
        new_session_helps=False,
        answers=Answers.INIT,
    ),
    ErrorEntry(
        code=ServerErrorCode.INVALID_SESSION_ID,
        text="Invalid session id - server not assigned or session id mismatch",
        meaning="The connection reached a server to which this session is not assigned.",
        remedy="Create a new session; check that api_url and ws_url belong together.",
        new_session_helps=True,
        answers=Answers.INIT,
    ),
    ErrorEntry(
        code=ServerErrorCode.VIDEO_PATH_UNAVAILABLE,
        text="Failed to fetch video path",
        meaning="The server could not load the session's configuration.",
        remedy="Check that the session exists and that session_token belongs to it.",
        new_session_helps=True,
        answers=Answers.INIT,
    ),
    ErrorEntry(
        code=ServerErrorCode.SESSION_NOT_FOUND,
        text="Session not found",
        meaning="The server does not know the session, or it has ended.",
        remedy="Create a new session and connect again.",
        new_session_helps=True,
        answers=Answers.INIT,
    ),
    ErrorEntry(
        code=ServerErrorCode.INVALID_JSON,
        text="Invalid JSON format",
        meaning="The server could not parse a message.",
        remedy="Report this as a bug of pipecat-agenthuman, with the log.",
        new_session_helps=False,
        answers=Answers.OLDEST,
    ),
    ErrorEntry(
        code=ServerErrorCode.NO_AUDIO,
        text="No audio data provided",
        meaning="An agent.speak arrived without audio.",
        remedy="Report this as a bug of pipecat-agenthuman, with the log.",
        new_session_helps=False,
        answers=Answers.SPEAK,
    ),
    ErrorEntry(
        code=ServerErrorCode.AUDIO_NOT_PROCESSED,
        text="Failed to process audio:",
        meaning="The server could not use the audio of an agent.speak; it is not heard.",
        remedy="Audio must be 16-bit mono PCM with its true sample_rate.",
        new_session_helps=False,
        answers=Answers.SPEAK,
        is_prefix=True,
    ),
    ErrorEntry(
        code=ServerErrorCode.UNKNOWN_MESSAGE_TYPE,
        text="Unknown message type:",
        meaning="The server does not support a message it was sent.",
        remedy="Update pipecat-agenthuman: the protocol has changed.",
        new_session_helps=False,
        answers=Answers.NAMED,
        is_prefix=True,
    ),
)
"""The nine texts of the service's documentation."""

UNRECOGNIZED_ERROR: Final = ErrorEntry(
    code=ServerErrorCode.UNRECOGNIZED,
    text="",
    meaning="The server reported an error that its documentation does not list.",
    remedy="See the server's own words; if it persists, ask Agent Human's support.",
    new_session_helps=False,
    answers=Answers.OLDEST,
    is_prefix=True,
)


def classify_error(text: str) -> ErrorEntry:
    """Find the catalogue entry of an error text.

    Case, surrounding white space and a trailing full stop do not matter.

    Args:
        text: The ``error`` field as the server sent it.

    Returns:
        The matching entry, or ``UNRECOGNIZED_ERROR``.
    """
    words = _normalized(text)
    for entry in ERROR_CATALOGUE:
        known = _normalized(entry.text)
        if words == known or (entry.is_prefix and words.startswith(known)):
            return entry
    return UNRECOGNIZED_ERROR


def _normalized(text: str) -> str:
    return " ".join(text.split()).rstrip(".").casefold()


# --- server to client ------------------------------------------------------------------

Event = Mapping[str, Any]
"""A server message as it was decoded."""


@dataclass(frozen=True)
class ConnectionEstablished:
    """``connection.established``: audio may be sent from now on.

    Attributes:
        session_id: The session as echoed by the server, or None if it was missing.
        event: The whole message.
    """

    session_id: str | None
    event: Event = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True)
class SpeakConfirmed:
    """``agent.speak.confirmed``: audio was received and queued, not heard.

    Attributes:
        audio_samples: Samples queued, after resampling to 16 kHz, or None if the server sent
            no usable count (the confirmation counts all the same).
        event: The whole message.
    """

    audio_samples: int | None
    event: Event = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True)
class InterruptConfirmed:
    """``agent.interrupt.confirmed``: generation and playback have stopped."""

    event: Event = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True)
class ServerError:
    """``error``: an operation failed. It names neither a code nor the command.

    Attributes:
        error: The server's words.
        entry: What the catalogue knows about them.
        event: The whole message.
    """

    error: str
    entry: ErrorEntry
    event: Event = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True)
class UnknownEvent:
    """A well-formed message of a type that the documentation does not list."""

    type: str
    event: Event = field(default_factory=dict[str, Any], repr=False)


@dataclass(frozen=True)
class Unreadable:
    """Something that is not a JSON object with a ``type``.

    Attributes:
        reason: What is wrong with it.
        excerpt: Its beginning, for the log.
    """

    reason: str
    excerpt: str


ServerMessage = (
    ConnectionEstablished
    | SpeakConfirmed
    | InterruptConfirmed
    | ServerError
    | UnknownEvent
    | Unreadable
)


def decode(data: str | bytes) -> ServerMessage:
    """Decode one WebSocket message of the server. Never raises.

    A trailing comma is forgiven: the documentation itself prints
    ``{"type": "agent.interrupt.confirmed",}``.

    Args:
        data: Payload of a text or binary message.

    Returns:
        A typed message; ``UnknownEvent`` for an undocumented ``type``, ``Unreadable`` for
        anything that is not a JSON object with a textual ``type``.
    """
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            return Unreadable("binary data that is not UTF-8", repr(data[:_EXCERPT_CHARS]))
    else:
        text = data
    try:
        value = _parse(text)
    except RecursionError:
        return Unreadable("JSON nested too deeply", text[:_EXCERPT_CHARS])
    except ValueError as error:
        return Unreadable(f"not JSON: {error}", text[:_EXCERPT_CHARS])
    if not isinstance(value, dict):
        return Unreadable("not a JSON object", text[:_EXCERPT_CHARS])
    event = cast("dict[str, Any]", value)
    kind = event.get("type")
    if not isinstance(kind, str):
        return Unreadable("no textual type field", text[:_EXCERPT_CHARS])
    return _typed(kind, event)


def _typed(kind: str, event: Event) -> ServerMessage:
    match kind:
        case "connection.established":
            session_id = event.get("session_id")
            return ConnectionEstablished(
                session_id if isinstance(session_id, str) and session_id else None, event
            )
        case "agent.speak.confirmed":
            return SpeakConfirmed(_sample_count(event.get("audio_samples")), event)
        case "agent.interrupt.confirmed":
            return InterruptConfirmed(event)
        case "error":
            text = _error_text(event)
            return ServerError(text, classify_error(text), event)
        case _:
            return UnknownEvent(kind, event)


_TRAILING_COMMA: Final = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])', re.DOTALL)


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        mended = _TRAILING_COMMA.sub(lambda match: match.group(1) or "", text)
        if mended == text:
            raise
        return json.loads(mended)


def _sample_count(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int) and 0 <= value <= MAX_MESSAGE_BYTES:
        return value
    return None


def _error_text(event: Event) -> str:
    """Take the server's words from ``error``; REST-like objects are understood too."""
    error = event.get("error")
    if isinstance(error, Mapping):
        error = cast("Mapping[str, object]", error).get("message", error)
    if isinstance(error, str) and error.strip():
        return error
    if error is None or error == "":
        return "(the server gave no reason)"
    return repr(error)[:_EXCERPT_CHARS]
