"""Errors in words, told where they matter: to the pipeline, to the client, in one log line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman._credentials import MAX_WORDS_CHARS
from pipecat_agenthuman.errors import (
    AgentHumanError,
    AvatarAbsentError,
    AvatarLeftError,
    AvatarUnheardError,
    BotRemovedError,
    InterruptIgnoredError,
    LostConnectionError,
)
from pipecat_agenthuman.wire.protocol import ServerError, ServerErrorCode

_CATEGORIES: Final[Mapping[str, ErrorCategory]] = {
    "authentication": ErrorCategory.AUTHENTICATION,
    "permission_denied": ErrorCategory.AUTHORIZATION,
    "out_of_minutes": ErrorCategory.QUOTA,
    "rate_limited": ErrorCategory.RATE_LIMIT,
    "bad_request": ErrorCategory.INVALID_REQUEST,
    "not_found": ErrorCategory.INVALID_REQUEST,
    "server_failure": ErrorCategory.SERVER,
    "session_lingers": ErrorCategory.SERVER,
    "wrong_place": ErrorCategory.APPLICATION,
    "wrong_room": ErrorCategory.APPLICATION,
    # What a message of ours caused on the WebSocket.
    ServerErrorCode.NO_AUDIO: ErrorCategory.APPLICATION,
    ServerErrorCode.AUDIO_NOT_PROCESSED: ErrorCategory.APPLICATION,
    ServerErrorCode.INVALID_JSON: ErrorCategory.APPLICATION,
    ServerErrorCode.UNKNOWN_MESSAGE_TYPE: ErrorCategory.APPLICATION,
}
"""By the kind of an error. Of the rest, what the server says is about the server, and everything
else about the network."""


@dataclass(frozen=True)
class ErrorReport:
    """An error on its way to whom it concerns.

    Attributes:
        code: Stable name; a burst is known by it.
        error: The server's words, or ours where it said nothing.
        told: Everything: what happened, what it means for the call, what to do.
        category: Pipecat's category.
        event: The server's message, if there was one.
        exception: What was raised, if anything.
        may_repeat: Whether attempts follow, which may bring the same again.
        final: Whether the service cannot do its job any more.
    """

    code: str
    error: str
    told: str
    category: ErrorCategory
    event: Mapping[str, Any] | None = None
    exception: Exception | None = None
    may_repeat: bool = False
    final: bool = False


def server_report(error: ServerError, meaning: str) -> ErrorReport:
    """An error that the server reported on a connection that goes on."""
    entry = error.entry
    words = (
        error.error if len(error.error) <= MAX_WORDS_CHARS else f"{error.error[:MAX_WORDS_CHARS]}…"
    )
    told = f"Agent Human says {words!r}. {entry.meaning} {meaning} {entry.remedy}"
    category = _CATEGORIES.get(entry.code, ErrorCategory.SERVER)
    return ErrorReport(entry.code.value, error.error, told, category, error.event)


def session_report(
    error: AgentHumanError,
    meaning: str,
    *,
    may_repeat: bool = False,
    final: bool = False,
) -> ErrorReport:
    """A session that was lost, or could not be made, or whose avatar does not do as it was told."""
    told = f"{error.message} {meaning} {error.remedy}".strip()
    category, event = _CATEGORIES.get(error.kind, ErrorCategory.CONNECTIVITY), None
    if isinstance(error, LostConnectionError) and error.error is not None:
        category, event = ErrorCategory.SERVER, error.error.event
    if not final and category.is_permanent:
        # Pipecat would write the service off, which goes on trying.
        category = ErrorCategory.UNKNOWN
    return ErrorReport(error.kind, error.message, told, category, event, error, may_repeat, final)


def internal_report(where: str, error: Exception, meaning: str) -> ErrorReport:
    """A mistake of this package, which ended one of its tasks."""
    words = f"{type(error).__name__} in {where}"
    told = (
        f"A bug of pipecat-agenthuman: {words}. {meaning} Please report it, with the traceback "
        "in the log."
    )
    return ErrorReport(
        "internal_error", words, told, ErrorCategory.UNKNOWN, None, error, final=True
    )


# --- somebody is not in the room who should be -------------------------------------------


def bot_removed(reason: str) -> BotRemovedError:
    """The bot itself is out of the room.

    Args:
        reason: Why, as the room reports it.
    """
    return BotRemovedError(
        f"The bot is not in the room ({reason}): it neither hears nor reaches anybody, so "
        "its avatar has no session any more.",
        remedy="Check whether the bot's token or the room has expired, whether the room was "
        "full, and who may remove participants.",
    )


def avatar_left() -> AvatarLeftError:
    """The avatar was there, and stays away."""
    return AvatarLeftError(
        "The avatar left the room and did not come back.",
        remedy="Look for what removes participants from the room.",
    )


def avatar_absent(wait_secs: float) -> AvatarAbsentError:
    """The avatar did not come.

    Args:
        wait_secs: How long it was waited for.
    """
    return AvatarAbsentError(
        f"No avatar appeared in the room within {wait_secs:g} s, although its session is up.",
        remedy="Check that its token belongs to this room and has not expired, that the room has "
        "a free place, and that the transport knows its identity (avatar=AvatarIdentity(...)).",
    )


# --- somebody does not do as they were told ----------------------------------------------


def avatar_unheard() -> AvatarUnheardError:
    """Nothing came out of the room."""
    return AvatarUnheardError(
        "The avatar confirmed speech, and its microphone in the room stayed silent.",
        remedy="Check whether its microphone is muted in the room, and tell Agent Human the "
        "session's id if it goes on.",
    )


def interrupt_ignored() -> InterruptIgnoredError:
    """What was interrupted went on."""
    return InterruptIgnoredError(
        "The avatar confirmed an interruption, and was heard going on with what it was to stop.",
        remedy="Tell Agent Human the session's id if it goes on.",
    )
