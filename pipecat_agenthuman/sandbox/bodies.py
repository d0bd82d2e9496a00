"""What callers of the REST API send, checked field by field, and the service's refusals."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, JsonValue, ValidationError, field_validator, model_validator

from pipecat_agenthuman.sandbox.faults import describe_problem
from pipecat_agenthuman.sandbox.sessions import SessionRoom, SessionWish


@dataclass(frozen=True)
class Reply:
    """An answer of the REST API.

    Attributes:
        status: HTTP status.
        body: What is sent as JSON.
        headers: Additional headers.
    """

    status: int
    body: JsonValue
    headers: dict[str, str] = field(default_factory=dict[str, str])


class Refusal(Exception):  # noqa: N818 - an answer, not an error of the sandbox
    """The request is answered with an error.

    Attributes:
        reply: That answer.
    """

    def __init__(
        self, status: int, message: str, *, suggestion: str = "", code: str | None = None
    ) -> None:
        """Refuse a request, with an ``error`` of the service's object form.

        Args:
            status: HTTP status.
            message: What is wrong.
            suggestion: What to do about it.
            code: The service's code for it.
        """
        super().__init__(message)
        error: dict[str, JsonValue] = {"message": message}
        if suggestion:
            error["suggestion"] = suggestion
        if code:
            error["code"] = code
        self.reply = Reply(status, {"success": False, "error": error})


class PlainRefusal(Refusal):
    """A refusal whose ``error`` is a plain string, as the service's 401 and 429 are."""

    def __init__(self, status: int, message: str) -> None:
        """Refuse a request.

        Args:
            status: HTTP status.
            message: What is wrong.
        """
        super().__init__(status, message)
        self.reply = Reply(status, {"success": False, "error": message})


_SCHEMES: Final = {"daily": ("https", "http"), "livekit": ("wss", "ws", "https", "http")}
_AVATAR_ID: Final = re.compile(r"avat_[A-Za-z0-9_-]+")
_PICTURE: Final = re.compile(r"(https?://[^\s/]+|data:image/)\S+")

_SUGGESTIONS: Final = {
    "avatar": "Pass an ID from GET /v1/avatars, an image URL or a data: URI.",
    "aspect_ratio": 'Use "4:3", "3:4" or "1:1".',
    "room": 'Pass "room": {"platform", "url", "token"}.',
    "room.platform": 'Use "daily" or "livekit".',
    "room.url": "Pass the Daily room URL, or the LiveKit server's WebSocket URL.",
    "room.token": "Pass a Daily meeting token or a LiveKit JWT made for the avatar.",
    "metadata": "Pass a JSON object, or leave it out.",
}


class _RoomBody(BaseModel, strict=True):
    platform: Literal["daily", "livekit"]
    url: str
    token: str = Field(min_length=1)

    @model_validator(mode="after")
    def _url_fits_platform(self) -> _RoomBody:
        try:
            parts = urlsplit(self.url)
            scheme, host = parts.scheme, parts.hostname
        except ValueError:
            scheme, host = "", None
        if scheme not in _SCHEMES[self.platform] or not host:
            raise ValueError(f"url is not the address of a {self.platform} room")
        return self


class _CreateBody(BaseModel, strict=True):
    avatar: str
    aspect_ratio: Literal["4:3", "3:4", "1:1"] = "4:3"
    room: _RoomBody
    metadata: dict[str, Any] = Field(default_factory=dict[str, Any])

    @field_validator("avatar")
    @classmethod
    def _names_an_avatar(cls, avatar: str) -> str:
        if not (_AVATAR_ID.fullmatch(avatar) or _PICTURE.fullmatch(avatar)):
            raise ValueError("neither an avatar ID nor a picture")
        return avatar


def json_object(text: str) -> dict[str, Any]:
    """Read a request's body.

    Args:
        text: The body.

    Returns:
        The JSON object in it.

    Raises:
        Refusal: 400, if it is not a JSON object.
    """
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        raise Refusal(400, "Request body is not valid JSON") from None
    if not isinstance(body, dict):
        raise Refusal(400, "Request body must be a JSON object")
    return body  # pyright: ignore[reportUnknownVariableType] - JSON keys are strings


def session_wish(body: dict[str, Any]) -> SessionWish:
    """Check the body of ``POST /v1/sessions``.

    Args:
        body: The JSON object. Unknown fields are ignored, and every well-formed avatar ID
            is accepted: the sandbox does not know which avatars an account really has.

    Returns:
        What the caller asks for.

    Raises:
        Refusal: 400, with the first field that is missing or wrong and what belongs there.
    """
    try:
        create = _CreateBody.model_validate(body)
    except ValidationError as error:
        raise _bad_field(error) from None
    room = SessionRoom(create.room.platform, create.room.url, create.room.token)
    return SessionWish(create.avatar, create.aspect_ratio, room, create.metadata)


def _bad_field(error: ValidationError) -> Refusal:
    first = error.errors(include_input=False, include_url=False)[0]
    path = ".".join(str(part) for part in first["loc"])
    if path == "room" and "url is not" in first["msg"]:
        path = "room.url"
    suggestion = _SUGGESTIONS.get(path, "")
    if first["type"] == "missing":
        return Refusal(400, f"Missing required field: {path}", suggestion=suggestion)
    problem = describe_problem(error).split(": ", 1)[-1]
    return Refusal(400, f"Invalid {path}: {problem}", suggestion=suggestion)
