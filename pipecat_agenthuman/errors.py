"""The exceptions of this package. Every one says what was wrong and what to do.

Each has a ``kind``: a stable name, by which errors are counted and told apart. It is that of
the class, but for a lost connection, which has one for each way of losing it.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from pipecat_agenthuman._environment import API_URL, WS_URL
from pipecat_agenthuman.wire.protocol import ServerError


class AgentHumanError(Exception):
    """Base of all exceptions of this package.

    Attributes:
        kind: Stable name of what went wrong.
        message: What went wrong.
        remedy: What to do about it, or an empty string.
    """

    kind: str = "failed"

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Create the exception.

        Args:
            message: What went wrong, free of secrets.
            remedy: What to do about it.
        """
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class MissingVariablesError(AgentHumanError, ValueError):
    """Variables of the environment are not set that a bot cannot do without."""

    kind = "missing_variables"


class ApiError(AgentHumanError):
    """The REST API refused or failed a request.

    Attributes:
        status: HTTP status, or None when no answer came.
        code: The server's error code (for example ``INSUFFICIENT_MINUTES``), or None.
    """

    kind = "request_failed"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        remedy: str = "",
    ) -> None:
        """Create the exception.

        Args:
            message: What went wrong, with the server's words, free of secrets.
            status: HTTP status, or None when no answer came.
            code: The server's error code, if it gave one.
            remedy: What to do about it.
        """
        super().__init__(message, remedy=remedy)
        self.status = status
        self.code = code


class AuthenticationError(ApiError):
    """401: the API key is missing, wrong or deactivated."""

    kind = "authentication"


class PermissionDeniedError(ApiError):
    """403: the key is valid but may not use what it asked for, for example an avatar."""

    kind = "permission_denied"


class BadRequestError(ApiError):
    """400 and other 4xx: a field is missing or wrong. Repeating it cannot help."""

    kind = "bad_request"


class NotFoundError(ApiError):
    """404: no such session or avatar."""

    kind = "not_found"


class OutOfMinutesError(ApiError):
    """The account has no minutes left (code ``INSUFFICIENT_MINUTES``, any status)."""

    kind = "out_of_minutes"


class RateLimitedError(ApiError):
    """429: too many requests, or too many sessions at once.

    Attributes:
        retry_after_secs: Seconds after which the server takes requests again, or None if it
            did not say.
    """

    kind = "rate_limited"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = 429,
        code: str | None = None,
        remedy: str = "",
        retry_after_secs: float | None = None,
    ) -> None:
        """Create the exception.

        Args:
            message: What went wrong, with the server's words, free of secrets.
            status: HTTP status.
            code: The server's error code, if it gave one.
            remedy: What to do about it.
            retry_after_secs: Seconds to wait, from the server's headers.
        """
        super().__init__(message, status=status, code=code, remedy=remedy)
        self.retry_after_secs = retry_after_secs


class ServerFailureError(ApiError):
    """5xx, or an answer that is not what the API documents."""

    kind = "server_failure"


class TransportError(ApiError):
    """No answer: connection refused, name not resolved, TLS failure or time-out.

    Attributes:
        never_sent: True when the request certainly did not reach the server, so that
            repeating it cannot start a second session.
    """

    kind = "connection_failed"

    def __init__(self, message: str, *, remedy: str = "", never_sent: bool = False) -> None:
        """Create the exception.

        Args:
            message: What went wrong.
            remedy: What to do about it.
            never_sent: Whether the request certainly did not reach the server.
        """
        super().__init__(message, remedy=remedy)
        self.never_sent = never_sent


class PermanentTransportError(TransportError):
    """No answer, and there will be none: a certificate is wrong, or the client is closed."""


class ShapeError(ValueError):
    """A body is not what the API documents. The text names fields, never their values.

    The REST client turns it into a ``ServerFailureError``.
    """

    kind = "unusable_answer"


class SessionLingersError(ApiError):
    """The session before may still run, so no other was made: there are never two at once.

    Attributes:
        gone_in_secs: Seconds after which it is certain to be gone by itself.
        asking_helps: Whether trying again may find it gone before.
    """

    kind = "session_lingers"

    def __init__(
        self, message: str, *, gone_in_secs: float, asking_helps: bool = True, remedy: str = ""
    ) -> None:
        """Create the exception.

        Args:
            message: What went wrong, free of secrets.
            gone_in_secs: Seconds after which the session is certain to be gone by itself.
            asking_helps: Whether trying again may find it gone before.
            remedy: What to do about it.
        """
        super().__init__(message, remedy=remedy)
        self.gone_in_secs = gone_in_secs
        self.asking_helps = asking_helps


class ConnectError(AgentHumanError):
    """The WebSocket could not be opened, or the server did not accept the session."""

    kind = "connection_failed"


class AvatarLeftError(ConnectError):
    """The avatar left the room although its session was up, and did not come back."""

    kind = "avatar_left"


class BotRemovedError(ConnectError):
    """The bot is not in the room, while its avatar is: nobody can be talked with."""

    kind = "bot_removed"


class AvatarAbsentError(ConnectError):
    """The avatar did not appear in the room although its session is up."""

    kind = "avatar_absent"


class AvatarUnheardError(ConnectError):
    """Speech was confirmed, and nothing of it was heard in the room."""

    kind = "avatar_unheard"


class InterruptIgnoredError(ConnectError):
    """An interruption was confirmed, and the avatar was heard going on."""

    kind = "interrupt_ignored"


class ShortLivedError(ConnectError):
    """Sessions expire almost as soon as they are made."""

    kind = "expires_at_once"


class LossKind(StrEnum):
    """Why a connection ended."""

    LEFT = "left"
    CONNECT_FAILED = "connect_failed"
    CLOSED = "closed"
    SILENT = "silent"
    SESSION_REFUSED = "session_refused"
    INTERRUPT_REFUSED = "interrupt_refused"
    SPEECH_REFUSED = "speech_refused"


_LOSS_REMEDIES: Final = {
    LossKind.LEFT: "",
    LossKind.CONNECT_FAILED: f"Check the network, the proxy, and that {WS_URL} is right.",
    LossKind.CLOSED: "Check the session's minutes and expiration if it happens again.",
    LossKind.SILENT: "Check the network between the bot and Agent Human.",
    LossKind.SESSION_REFUSED: f"Check that {API_URL} and {WS_URL} belong together.",
    LossKind.SPEECH_REFUSED: "See the server's words; check what the TTS service delivers.",
    LossKind.INTERRUPT_REFUSED: "Update pipecat-agenthuman: the protocol may have changed.",
}


class LostConnectionError(ConnectError):
    """A connection ended that should not have.

    Its ``kind`` is that of the loss, or the code of the server's error that ended the session.

    Attributes:
        error: The server's error, if it sent one that ended the session.
        final: Whether another attempt would end in the same way.
    """

    def __init__(
        self,
        reason: str,
        *,
        loss: LossKind,
        error: ServerError | None = None,
        final: bool = False,
    ) -> None:
        """Create the exception.

        Args:
            reason: How it ended, in a sentence without a full stop, free of secrets.
            loss: How it ended.
            error: The server's error, if it sent one that ended the session.
            final: Whether another attempt would end in the same way.
        """
        remedy = _LOSS_REMEDIES[loss] if error is None else error.entry.remedy
        super().__init__(f"Agent Human connection: {reason}.", remedy=remedy)
        self.kind = loss.value if error is None else error.entry.code.value
        self.error = error
        self.final = final


class RoomTokenError(AgentHumanError):
    """The token with which the avatar joins the room could not be made."""

    kind = "room_token"


class WrongPlaceError(AgentHumanError):
    """The service stands in a place of the pipeline where it cannot speak."""

    kind = "wrong_place"


class WrongRoomError(AgentHumanError):
    """The output transport is not in the avatar's room: whoever the bot talks to is elsewhere."""

    kind = "wrong_room"


class AvatarUnavailableError(AgentHumanError):
    """The avatar was waited for and will not come."""

    kind = "avatar_unavailable"
