"""The wire as the server sees it: client messages read, server messages written. Pure.

This is the sandbox's own reading of the protocol. It shares only the documented error texts
and the sample rate with the client, so that a mistake made twice does not cancel out.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, cast

import numpy as np
import soxr

from pipecat_agenthuman._credentials import REDACTED
from pipecat_agenthuman.sandbox.sound import Samples
from pipecat_agenthuman.wire.error_catalogue import ERROR_CATALOGUE, ServerErrorCode
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

ERROR_TEXT: Final = {entry.code: entry.text for entry in ERROR_CATALOGUE}
"""The documented ``error`` texts; those ending in a colon are continued with details."""

BROKEN_INTERRUPT_CONFIRMED: Final = '{\n  "type": "agent.interrupt.confirmed",\n}'
"""The confirmation as the documentation prints it, which is not valid JSON."""

_LOWEST_RATE: Final = 1_000
_HIGHEST_RATE: Final = 384_000
"""Sample rates outside these are taken for mistakes."""

_SHOWN_TYPE_CHARS: Final = 60
_SHOWN_CHARS: Final = 300
_MOST_SEARCHED_CHARS: Final = 10_000
"""A token that begins further behind is not shown anyway."""

_AUDIO: Final = '"audio"'
_TOKEN: Final = re.compile(r'("session_token"\s*:\s*")(?:[^"\\]|\\.)*("|$)')


# --- client to server ------------------------------------------------------------------


@dataclass(frozen=True)
class Init:
    """``session.init``."""

    session_id: str
    session_token: str = field(repr=False)
    type: str = "session.init"


@dataclass(frozen=True, eq=False)
class Speak:
    """``agent.speak``.

    Attributes:
        audio: The audio, resampled to 16 kHz.
        samples: Number of samples as they arrived.
        sample_rate: Samples per second as they arrived.
        type: The message's type.
    """

    audio: Samples = field(repr=False)
    samples: int
    sample_rate: int
    type: str = "agent.speak"


@dataclass(frozen=True)
class Interrupt:
    """``agent.interrupt``."""

    type: str = "agent.interrupt"


@dataclass(frozen=True)
class Rejected:
    """A message that the service answers with an ``error``.

    Attributes:
        error: The error's text.
        type: The message's type, as far as it could be read.
    """

    error: str
    type: str = "unreadable"


ClientMessage = Init | Speak | Interrupt | Rejected


def read(message: str | bytes) -> ClientMessage:
    """Read a message of the client. Never raises.

    Args:
        message: Payload of a text or binary message. The protocol knows text only.

    Returns:
        The command, or why it is rejected.
    """
    try:
        body = None if isinstance(message, bytes) else json.loads(message)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        return Rejected(ERROR_TEXT[ServerErrorCode.INVALID_JSON])
    fields = cast("dict[str, Any]", body)
    match fields.get("type"):
        case "session.init":
            return _init(fields)
        case "agent.speak":
            return _speak(fields)
        case "agent.interrupt":
            return Interrupt()
        case other:
            shown = str(other)[:_SHOWN_TYPE_CHARS]
            prefix = ERROR_TEXT[ServerErrorCode.UNKNOWN_MESSAGE_TYPE]
            return Rejected(f"{prefix} {shown}", type=shown)


def _init(fields: dict[str, Any]) -> Init | Rejected:
    session_id, token = fields.get("session_id"), fields.get("session_token")
    if not isinstance(session_id, str) or not session_id:
        return Rejected(ERROR_TEXT[ServerErrorCode.MISSING_SESSION_ID], type="session.init")
    return Init(session_id, token if isinstance(token, str) else "")


def _speak(fields: dict[str, Any]) -> Speak | Rejected:
    encoded = fields.get("audio")
    if encoded is None or encoded == "":
        return Rejected(ERROR_TEXT[ServerErrorCode.NO_AUDIO], type="agent.speak")
    try:
        rate = _sample_rate(fields.get("sample_rate", WIRE_SAMPLE_RATE))
        samples = _samples(encoded)
    except ValueError as error:
        prefix = ERROR_TEXT[ServerErrorCode.AUDIO_NOT_PROCESSED]
        return Rejected(f"{prefix} {error}", type="agent.speak")
    return Speak(_resampled(samples, rate), len(samples), rate)


def _sample_rate(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError("sample_rate must be an integer")
    if not _LOWEST_RATE <= value <= _HIGHEST_RATE:
        raise ValueError(f"sample_rate must be between {_LOWEST_RATE} and {_HIGHEST_RATE}")
    return value


def _samples(encoded: object) -> Samples:
    if not isinstance(encoded, str):
        raise ValueError("audio must be a base64 string")
    try:
        pcm = base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise ValueError("audio is not valid base64") from None
    if len(pcm) % 2:
        raise ValueError(f"{len(pcm)} bytes are not whole 16-bit samples")
    return np.frombuffer(pcm, dtype="<i2").astype(np.int16)


def _resampled(samples: Samples, rate: int) -> Samples:
    if rate == WIRE_SAMPLE_RATE:
        return samples
    resampled: Samples = soxr.resample(samples, rate, WIRE_SAMPLE_RATE)
    return resampled


# --- server to client ------------------------------------------------------------------


def established(session_id: str) -> str:
    """Write ``connection.established``."""
    return json.dumps({"type": "connection.established", "session_id": session_id})


def speak_confirmed(audio_samples: object) -> str:
    """Write ``agent.speak.confirmed``; a fault can put anything into ``audio_samples``."""
    return json.dumps({"type": "agent.speak.confirmed", "audio_samples": audio_samples})


def interrupt_confirmed() -> str:
    """Write ``agent.interrupt.confirmed``, as valid JSON."""
    return json.dumps({"type": "agent.interrupt.confirmed"})


def error(text: str) -> str:
    """Write ``error``."""
    return json.dumps({"type": "error", "error": text})


def summary(payload: str | bytes) -> dict[str, Any]:
    """Say what a message of the server is, for the log.

    Args:
        payload: The message.

    Returns:
        ``what``: its type, or "garbage"; with its count, its error text or its size.
    """
    try:
        body = json.loads(payload)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        if payload == BROKEN_INTERRUPT_CONFIRMED:
            return {"what": "agent.interrupt.confirmed", "trailing_comma": True}
        return {"what": "garbage", "length": len(payload)}
    fields = cast("dict[str, Any]", body)
    shown = {key: fields[key] for key in ("audio_samples", "error") if key in fields}
    return {"what": str(fields.get("type"))[:_SHOWN_TYPE_CHARS], **shown}


def shown(payload: str | bytes) -> str:
    """Return a message, either way, as a person may see it in the log.

    Args:
        payload: The message.

    Returns:
        Its text, the audio replaced by its length and the token hidden, shortened if it is
        long all the same. A binary message is described.
    """
    if isinstance(payload, bytes):
        return f"{len(payload)} bytes: {payload[:20].hex(' ')}"

    text = _without_audio(payload)
    text = _TOKEN.sub(rf"\1{REDACTED}\2", text[:_MOST_SEARCHED_CHARS])
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _without_audio(payload: str) -> str:
    """Replace the audio of a message by its length; found by its quotes, as it can be long."""
    key_ends = payload.find(_AUDIO) + len(_AUDIO)
    begins = payload.find('"', key_ends) + 1
    ends = payload.find('"', begins)
    is_there = key_ends >= len(_AUDIO) and payload[key_ends : begins - 1].strip() == ":"
    if not is_there or ends < begins:
        return payload
    bytes_ = len(payload[begins:ends].rstrip("=")) * 3 // 4
    return f"{payload[:begins]}… {bytes_} bytes in base64 …{payload[ends:]}"
