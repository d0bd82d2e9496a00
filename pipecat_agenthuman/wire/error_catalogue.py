"""The errors that the Agent Human service documents for its WebSocket. Pure.

An ``error`` event carries words and nothing else: no code, no link to the command that caused
it. The service's documentation lists nine texts; this is what each of them means.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from pipecat_agenthuman._environment import API_URL, WS_URL


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
        text: The documented text, as far as it is fixed.
        meaning: What went wrong, in a sentence.
        remedy: What to do about it.
        answers: Which command the error most plausibly answers.
        new_session_helps: Whether the session is beyond repair but a new one can work.
        core: Words that suffice, wherever they stand; in lower case. Only for what nothing else
            can mean: the documentation's own example looks for them in just that way.
    """

    code: ServerErrorCode
    text: str
    meaning: str
    remedy: str
    answers: Answers
    new_session_helps: bool = False
    core: str = ""

    def matches(self, error: str) -> bool:
        """Whether a server's text is this one.

        Details may stand behind punctuation, and anything may stand around ``core``.
        """
        words, known = _normalized(error), _normalized(self.text)
        if self.core and self.core in words:
            return True
        details = words.removeprefix(known)
        return words.startswith(known) and not details.lstrip()[:1].isalnum()


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
        answers=Answers.INIT,
    ),
    ErrorEntry(
        code=ServerErrorCode.INVALID_SESSION_ID,
        text="Invalid session id - server not assigned or session id mismatch",
        core="invalid session id",
        meaning="The connection reached a server to which this session is not assigned.",
        remedy=f"Create a new session; check that {API_URL} and {WS_URL} belong together.",
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
        core="session not found",
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
        answers=Answers.OLDEST,
    ),
    ErrorEntry(
        code=ServerErrorCode.NO_AUDIO,
        text="No audio data provided",
        meaning="An agent.speak arrived without audio.",
        remedy="Report this as a bug of pipecat-agenthuman, with the log.",
        answers=Answers.SPEAK,
    ),
    ErrorEntry(
        code=ServerErrorCode.AUDIO_NOT_PROCESSED,
        text="Failed to process audio:",
        meaning="The server could not use the audio of an agent.speak; it is not heard.",
        remedy="Audio must be 16-bit mono PCM with its true sample_rate.",
        answers=Answers.SPEAK,
    ),
    ErrorEntry(
        code=ServerErrorCode.UNKNOWN_MESSAGE_TYPE,
        text="Unknown message type:",
        meaning="The server does not support a message it was sent.",
        remedy="Update pipecat-agenthuman: the protocol has changed.",
        answers=Answers.NAMED,
    ),
)
"""The nine texts of the service's documentation."""

UNRECOGNIZED_ERROR: Final = ErrorEntry(
    code=ServerErrorCode.UNRECOGNIZED,
    text="",
    meaning="The server reported an error that its documentation does not list.",
    remedy="See the server's own words; if it persists, ask Agent Human's support.",
    answers=Answers.OLDEST,
)


def classify_error(text: str) -> ErrorEntry:
    """Find the catalogue entry of an error text.

    Case, white space and a trailing full stop do not matter.

    Args:
        text: The ``error`` field as the server sent it.

    Returns:
        The matching entry, or ``UNRECOGNIZED_ERROR``.
    """
    return next((entry for entry in ERROR_CATALOGUE if entry.matches(text)), UNRECOGNIZED_ERROR)


def _normalized(text: str) -> str:
    return " ".join(text.split()).rstrip(".:").casefold()
