"""The Agent Human WebSocket protocol: messages out, messages in.

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
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from pipecat_agenthuman.wire.error_catalogue import ERROR_CATALOGUE as ERROR_CATALOGUE
from pipecat_agenthuman.wire.error_catalogue import UNRECOGNIZED_ERROR as UNRECOGNIZED_ERROR
from pipecat_agenthuman.wire.error_catalogue import Answers as Answers
from pipecat_agenthuman.wire.error_catalogue import ErrorEntry as ErrorEntry
from pipecat_agenthuman.wire.error_catalogue import ServerErrorCode as ServerErrorCode
from pipecat_agenthuman.wire.error_catalogue import classify_error as classify_error
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE

MAX_MESSAGE_BYTES: Final = 10_000_000
"""A message is at most 10 MB (documented)."""

_ENVELOPE_BYTES: Final = 256
MAX_SPEAK_SAMPLES: Final = (MAX_MESSAGE_BYTES - _ENVELOPE_BYTES) // 4 * 3 // BYTES_PER_SAMPLE
"""Most samples that fit in one ``agent.speak`` after base64: about 234 seconds."""

_EXCERPT_CHARS: Final = 200

_DEEPEST_NESTING: Final = 32
"""The service's events are flat. What nests deeper would exhaust the stack of whoever prints it."""


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
            # Base64 has nothing to escape, and looking for it costs more than all the rest.
            audio = base64.b64encode(message.audio).decode("ascii")
            return f'{{"type":"agent.speak","audio":"{audio}","sample_rate":{message.sample_rate}}}'
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


def decode(data: str | bytes, redacted: Callable[[str], str] = lambda text: text) -> ServerMessage:
    """Decode one WebSocket message of the server. Never raises.

    A trailing comma is forgiven: the documentation itself prints
    ``{"type": "agent.interrupt.confirmed",}``.

    Args:
        data: Payload of a text or binary message.
        redacted: Removes secrets that the server may echo; applied to the text, and where that
            has escapes to every string of the decoded message, so that no way of escaping helps.

    Returns:
        A typed message; ``UnknownEvent`` for an undocumented ``type``, ``Unreadable`` for
        anything that is not a JSON object with a textual ``type``.
    """
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            excerpt = redacted(repr(data))[:_EXCERPT_CHARS]
            return Unreadable("binary data that is not UTF-8", excerpt)
    else:
        text = data
    text = redacted(text)
    try:
        value = _parse(text)
    except RecursionError:
        return Unreadable("JSON nested too deeply", _printable(text))
    except ValueError as error:
        return Unreadable(f"not JSON: {error}", _printable(text))
    if not isinstance(value, dict):
        return Unreadable("not a JSON object", _printable(text))
    event = cast("dict[str, Any]", value)
    if _nests_deeper(event, _DEEPEST_NESTING):
        return Unreadable("JSON nested too deeply", _printable(text))
    if "\\" in text:  # A string without an escape stands in the text, which is clean.
        event = cast("dict[str, Any]", _cleaned(event, redacted))
    kind = event.get("type")
    if not isinstance(kind, str):
        return Unreadable("no textual type field", _printable(text))
    return _typed(kind, event)


def _typed(kind: str, event: Event) -> ServerMessage:
    match kind:
        case "connection.established":
            session_id = event.get("session_id")
            named = isinstance(session_id, str) and session_id != ""
            return ConnectionEstablished(session_id if named else None, event)
        case "agent.speak.confirmed":
            return SpeakConfirmed(_sample_count(event.get("audio_samples")), event)
        case "agent.interrupt.confirmed":
            return InterruptConfirmed(event)
        case "error":
            text = _error_text(event)
            return ServerError(text, classify_error(text), event)
        case _:
            return UnknownEvent(_printable(kind), event)


# A string without an end is taken as a whole, too: else the time would grow with its square.
_TRAILING_COMMA: Final = re.compile(r'("(?:[^"\\]++|\\.)*+"?)|,(?=\s*[}\]])', re.DOTALL)


def _parse(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        mended = _TRAILING_COMMA.sub(lambda match: match.group(1) or "", text)
        if mended == text:
            raise
        return json.loads(mended)


def _nests_deeper(value: object, levels: int) -> bool:
    level = [value]
    for _ in range(levels):
        level = [child for parent in level for child in _children(parent)]
        if not level:
            return False
    return True


def _cleaned(value: object, redacted: Callable[[str], str]) -> object:
    if isinstance(value, str):
        return redacted(value)
    if isinstance(value, list):
        return [_cleaned(item, redacted) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        fields = cast("dict[str, object]", value).items()
        return {redacted(name): _cleaned(item, redacted) for name, item in fields}
    return value


def _children(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return cast("dict[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _printable(text: str) -> str:
    """The beginning of a text; half of a surrogate pair, which JSON allows, is not a character."""
    return text[:_EXCERPT_CHARS].encode(errors="replace").decode()


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
        words = cast("Mapping[str, object]", error)
        error = words.get("message", words)
    if isinstance(error, str) and error.strip():
        return error.encode(errors="replace").decode()
    if error is None or isinstance(error, str):
        return "(the server gave no reason)"
    return _printable(repr(error))
