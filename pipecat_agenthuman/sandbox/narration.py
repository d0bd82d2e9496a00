"""The log in readable lines, for a person who watches the sandbox in a terminal."""

from __future__ import annotations

from typing import Final

from pipecat_agenthuman.sandbox.log import Entry
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

_ARROWS: Final = {"in": "->", "out": "<-", "room": "::", "sandbox": "--"}
_UNTOLD: Final = {"ping", "pong"}
_HEAD: Final = {"number", "at_secs", "wall", "session_id", "direction", "what"}
_FOR_THE_PAGE: Final = {"message", "answers", "after_secs"}
_SESSION_ID_TAIL_CHARS: Final = 6

_NEWS: Final = {
    "session.created",
    "session.ended",
    "avatar.joined",
    "avatar.left",
    "utterance",
    "fault",
    "error",
    "close",
    "lost",
    "abort",
    "hook.failed",
}
"""What tells a whole story, beside requests that are refused; the rest is its steps."""

_FIRST_REFUSAL: Final = 400


def digest(entry: Entry) -> str | None:
    """Tell an entry on one line if it is news: an utterance, and not each of its messages.

    Args:
        entry: The entry.

    Returns:
        The line, as ``narrate`` tells it; None if it is a step of something that is told as a
        whole.
    """
    refused: bool = entry.get("status", 0) >= _FIRST_REFUSAL
    return narrate(entry) if refused or entry["what"] in _NEWS else None


def narrate(entry: Entry) -> str | None:
    """Tell an entry of the log on one line.

    Args:
        entry: The entry.

    Returns:
        When, which session, which way ("->" from the client, "<-" to it, "::" in the room,
        "--" the sandbox itself), what; None for what nobody wants to read, such as pings.
    """
    if entry["what"] in _UNTOLD:
        return None
    session = (entry["session_id"] or "")[-_SESSION_ID_TAIL_CHARS:]
    line = f"{entry['at_secs']:9.3f}  {session:6}  {_ARROWS[entry['direction']]} "
    if entry["what"] == "utterance":
        return line + entry["summary"]
    line += entry["what"]
    details = ", ".join(_detail(entry, key) for key in entry if key not in _HEAD | _FOR_THE_PAGE)
    return f"{line}  ({details})" if details else line


def _detail(entry: Entry, key: str) -> str:
    value = entry[key]
    if key == "samples":
        return f"{value / entry.get('sample_rate', WIRE_SAMPLE_RATE):.3f} s"
    if key in ("audio_samples", "dropped_samples") and isinstance(value, int):
        return f"{key.removesuffix('_samples')} {value / WIRE_SAMPLE_RATE:.3f} s"
    if key == "sounds_at_secs":
        return f"sounds at {value:.3f}"
    return f"{key} {value}"
