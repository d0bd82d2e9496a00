"""The exceptions of this package. Every one says what was wrong and what to do."""

from __future__ import annotations


class AgentHumanError(Exception):
    """Base of all exceptions of this package.

    Attributes:
        message: What went wrong.
        remedy: What to do about it, or an empty string.
    """

    def __init__(self, message: str, *, remedy: str = "") -> None:
        """Create the exception.

        Args:
            message: What went wrong, free of secrets.
            remedy: What to do about it.
        """
        super().__init__(f"{message} {remedy}".strip())
        self.message = message
        self.remedy = remedy


class ApiError(AgentHumanError):
    """The REST API refused or failed a request.

    Attributes:
        status: HTTP status, or None when no answer came.
        code: The server's error code (for one ``INSUFFICIENT_MINUTES``), or None.
    """

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


class PermissionDeniedError(ApiError):
    """403: the key is valid but may not use what it asked for, for one an avatar."""


class BadRequestError(ApiError):
    """400 and other 4xx: a field is missing or wrong. Repeating it cannot help."""


class NotFoundError(ApiError):
    """404: no such session or avatar."""


class OutOfMinutesError(ApiError):
    """The account has no minutes left (code ``INSUFFICIENT_MINUTES``, any status)."""


class RateLimitedError(ApiError):
    """429: too many requests, or too many sessions at once.

    Attributes:
        retry_after_secs: Seconds after which the server takes requests again, or None if it
            did not say.
    """

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


class TransportError(ApiError):
    """No answer: connection refused, name not resolved, TLS failure or time-out.

    Attributes:
        never_sent: True when the request certainly did not reach the server, so that
            repeating it cannot start a second session.
    """

    def __init__(self, message: str, *, remedy: str = "", never_sent: bool = False) -> None:
        """Create the exception.

        Args:
            message: What went wrong.
            remedy: What to do about it.
            never_sent: Whether the request certainly did not reach the server.
        """
        super().__init__(message, remedy=remedy)
        self.never_sent = never_sent


class SessionLingersError(ApiError):
    """The session before could not be ended, so no other was made: there are never two at once.

    Attributes:
        gone_in_secs: Seconds after which the service has ended it by itself.
    """

    def __init__(self, message: str, *, gone_in_secs: float, remedy: str = "") -> None:
        """Create the exception.

        Args:
            message: What went wrong, free of secrets.
            gone_in_secs: Seconds after which the service has ended the session by itself.
            remedy: What to do about it.
        """
        super().__init__(message, remedy=remedy)
        self.gone_in_secs = gone_in_secs


class ConnectError(AgentHumanError):
    """The WebSocket could not be opened, or the server did not accept the session."""


class RoomTokenError(AgentHumanError):
    """The token with which the avatar joins the room could not be made."""
