"""What each service says on the wire: speech, an interruption, or something else."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

AGENTHUMAN_RATE: Final = 16_000
HEYGEN_RATE: Final = 24_000
SIMLI_RATE: Final = 16_000
_SIMLI_AT_ONCE: Final = b"PLAY_IMMEDIATE"


class Kind(StrEnum):
    SPEECH = "speech"
    INTERRUPTION = "interruption"
    OTHER = "other"


@dataclass(frozen=True)
class Said:
    """A message.

    Attributes:
        kind: What it is.
        audio: 16-bit mono samples, of speech.
        rate: Samples a second.
    """

    kind: Kind
    audio: bytes = b""
    rate: int = AGENTHUMAN_RATE

    @property
    def secs(self) -> float:
        return len(self.audio) / (2 * self.rate)


_OTHER: Final = Said(Kind.OTHER)
_INTERRUPTION: Final = Said(Kind.INTERRUPTION)


def _agenthuman(message: str | bytes) -> Said:
    told = json.loads(message)
    if told["type"] == "agent.speak":
        audio = base64.b64decode(told["audio"])
        return Said(Kind.SPEECH, audio, told.get("sample_rate", AGENTHUMAN_RATE))
    return _INTERRUPTION if told["type"] == "agent.interrupt" else _OTHER


def _heygen(message: str | bytes) -> Said:
    told = json.loads(message)
    if told["type"] == "agent.speak":
        return Said(Kind.SPEECH, base64.b64decode(told["audio"]), HEYGEN_RATE)
    return _INTERRUPTION if told["type"] == "agent.interrupt" else _OTHER


def _tavus(message: str | bytes) -> Said:
    told: dict[str, Any] = json.loads(message)
    if told["event_type"] == "conversation.interrupt":
        return _INTERRUPTION
    properties = told.get("properties", {})
    if "audio" not in properties or properties["done"]:  # What is done is a bit of silence.
        return _OTHER
    return Said(Kind.SPEECH, base64.b64decode(properties["audio"]), int(properties["sample_rate"]))


def _simli(message: str | bytes) -> Said:
    if isinstance(message, str):
        return _INTERRUPTION if message == "SKIP" else _OTHER
    return Said(Kind.SPEECH, message.removeprefix(_SIMLI_AT_ONCE), SIMLI_RATE)


DIALECTS: Final[dict[str, Callable[[str | bytes], Said]]] = {
    "agenthuman": _agenthuman,
    "heygen": _heygen,
    "tavus": _tavus,
    "simli": _simli,
}
