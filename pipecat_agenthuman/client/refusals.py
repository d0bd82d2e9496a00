"""What went wrong when the REST API did not do what it was asked: answers become exceptions.

Pure: no I/O; the wall clock is an argument. The service's ``error`` field is an object
(``message``, sometimes ``suggestion``, ``code``, ``details``) or a plain string, and anything
between the service and us may answer with HTML or with nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any, Final, cast

from pipecat_agenthuman._credentials import quoted
from pipecat_agenthuman._environment import API_KEY, API_URL
from pipecat_agenthuman.client.answers import usable_identifier
from pipecat_agenthuman.errors import (
    ApiError,
    AuthenticationError,
    BadRequestError,
    NotFoundError,
    OutOfMinutesError,
    PermissionDeniedError,
    RateLimitedError,
    ServerFailureError,
)

_MAX_CODE_CHARS: Final = 80
_OUT_OF_MINUTES_CODE: Final = "INSUFFICIENT_MINUTES"
# Whole phrases: a rate limit also speaks of minutes ("60 requests in 2 minutes").
_OUT_OF_MINUTES: Final = re.compile(
    r"\b(?:insufficient|not enough|out of|no more|no remaining|no)\s+(?:\w+\s+)?minutes\b"
    r"|\bminutes\s+(?:(?:are|were|have|has|been|all)\s+)*(?:exhausted|used up|depleted)\b",
    re.IGNORECASE,
)
_SESSION_ID: Final = re.compile(r'"session_id"\s*:\s*"?([^"\\\s,{}\[\]]{1,200})["\s,}]')
_SESSION_TOKEN: Final = re.compile(r'"session_token"\s*:\s*"([^"]+)')

# X-RateLimit-Reset is undocumented: seconds to wait, or a point in time in s or ms since 1970.
_SMALLEST_EPOCH_SECS: Final = 1e9
_SMALLEST_EPOCH_MS: Final = 1e12

_LONGEST_RESET_SECS: Final = 60.0
"""An older page of the service counts requests by the minute, so no longer is plausible."""


@dataclass(frozen=True)
class HttpAnswer:
    """An HTTP answer, read as far as it came.

    Attributes:
        status: HTTP status.
        headers: Headers, looked up without regard to case.
        body: What arrived of the body; may quote credentials.
        fault: Why the body is incomplete, or an empty string.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    fault: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether the status is one of success."""
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode("utf-8", errors="replace")

    def json_object(self) -> dict[str, Any] | None:
        """Parse the body.

        Returns:
            The JSON object, or None if it is anything else.
        """
        try:
            value = json.loads(self.body)
        except (ValueError, RecursionError):
            return None
        return cast("dict[str, Any]", value) if isinstance(value, dict) else None

    def session_id(self) -> str | None:
        """Find a session's identifier in a body of whatever shape, complete or not.

        Returns:
            The identifier, or None if there is none or it is in doubt: ``metadata`` may hold a
            field of the same name.
        """
        body = self.json_object() or {}
        for place in (body.get("session"), body):
            if isinstance(place, dict):
                session_id = cast("dict[str, Any]", place).get("session_id")
                identifier = usable_identifier(session_id) if session_id else None
                if identifier is not None:
                    return identifier
        found = set(_SESSION_ID.findall(self.text)) - {"null", "true", "false"}
        return usable_identifier(found.pop()) if len(found) == 1 else None

    def session_tokens(self) -> list[str]:
        """Find the session tokens in a body of whatever shape, to keep them out of errors."""
        return _SESSION_TOKEN.findall(self.text)


@dataclass(frozen=True)
class _Words:
    """What the server said about its refusal."""

    message: str
    suggestion: str = ""
    code: str | None = None


def refusal(
    answer: HttpAnswer, *, doing: str, redacted: Callable[[str], str], now_secs: float
) -> ApiError:
    """Turn an answer that is not a success into the exception that fits.

    Args:
        answer: The answer; its status may be a success if its body says otherwise.
        doing: What was asked for, for example ``Creating a session``.
        redacted: Removes the secrets from a text.
        now_secs: Seconds since 1970, to read a point in time in the headers.

    Returns:
        The exception to raise.
    """
    words = _words(answer, redacted)
    message = f"{doing} failed with HTTP {answer.status}: {words.message}"
    status, code = answer.status, words.code
    if status == 402 or code == _OUT_OF_MINUTES_CODE or _OUT_OF_MINUTES.search(words.message):
        kind: type[ApiError] = OutOfMinutesError
    else:
        kind = _kind_of(status)
    remedy = f"{words.suggestion} {_REMEDIES[kind]}".strip()
    if kind is RateLimitedError:
        return RateLimitedError(
            message,
            status=status,
            code=code,
            remedy=remedy,
            retry_after_secs=_retry_after_secs(answer.headers, now_secs),
        )
    if 300 <= status < 400:
        remedy = f"Set {API_URL} to the service's own address: redirects take the key along."
    return kind(message, status=status, code=code, remedy=remedy)


_REMEDIES: Final[Mapping[type[ApiError], str]] = {
    AuthenticationError: f"Check that {API_KEY} is an active key.",
    PermissionDeniedError: "Use an avatar that belongs to this key's account and plan.",
    NotFoundError: f"Check the identifier, {API_URL}, and that the key's account owns it.",
    BadRequestError: "Correct the request; repeating it unchanged cannot help.",
    OutOfMinutesError: "Add minutes to the Agent Human account.",
    RateLimitedError: "Try again later, or end other sessions: the plan limits both.",
    ServerFailureError: "Try again later; if it persists, ask Agent Human's support.",
}


def _kind_of(status: int) -> type[ApiError]:
    match status:
        case 401:
            return AuthenticationError
        case 403:
            return PermissionDeniedError
        case 404:
            return NotFoundError
        case 429:
            return RateLimitedError
        case _:
            return BadRequestError if 400 <= status < 500 else ServerFailureError


def _words(answer: HttpAnswer, redacted: Callable[[str], str]) -> _Words:
    body = answer.json_object()
    if body is None:
        excerpt = quoted(answer.text, redacted)
        return _Words(f"no JSON object but {excerpt!r}." if excerpt else "an empty body.")
    error = body.get("error", body)
    if not isinstance(error, dict):
        return _Words(_sentence(quoted(_text_of(error), redacted)) or "no reason given.")
    fields = cast("dict[str, Any]", error)
    message = _sentence(quoted(_text_of(fields.get("message")), redacted)) or "no reason given."
    if details := quoted(_text_of(fields.get("details")), redacted):
        message = f"{message} ({details})"
    code = quoted(_text_of(fields.get("code")), redacted, _MAX_CODE_CHARS)
    suggestion = _sentence(quoted(_text_of(fields.get("suggestion")), redacted))
    return _Words(message, suggestion, code or None)


def _text_of(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError:
        return ""


def _sentence(text: str) -> str:
    return text if not text or text[-1] in ".!?…" else f"{text}."


def _retry_after_secs(headers: Mapping[str, str], now_secs: float) -> float | None:
    """The wait that a rate limit asks for, in seconds."""
    # By the server's own clock, which is the one that it names moments on.
    now_secs = _moment_secs(headers.get("Date", "")) or now_secs
    wait_secs = _wait_secs(headers.get("Retry-After", ""), now_secs)
    if wait_secs is None and not _requests_remain(headers):
        wait_secs = _wait_secs(headers.get("X-RateLimit-Reset", ""), now_secs)
        wait_secs = None if wait_secs is None else min(wait_secs, _LONGEST_RESET_SECS)
    return None if wait_secs is None else max(wait_secs, 0.0)


def _requests_remain(headers: Mapping[str, str]) -> bool:
    """Whether the limit that was hit is another one than that of requests."""
    try:
        return float(headers.get("X-RateLimit-Remaining", "0")) > 0
    except ValueError:
        return False


def _wait_secs(value: str, now_secs: float) -> float | None:
    try:
        number = float(value.strip())
    except ValueError:
        moment_secs = _moment_secs(value)
        return None if moment_secs is None else moment_secs - now_secs
    if not isfinite(number):
        return None
    if number >= _SMALLEST_EPOCH_MS:
        return number / 1000 - now_secs
    return number - now_secs if number >= _SMALLEST_EPOCH_SECS else number


def _moment_secs(value: str) -> float | None:
    """Read a date of HTTP, which is in UTC whether it says so or not."""
    try:
        moment = parsedate_to_datetime(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
