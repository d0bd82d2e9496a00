"""What the REST API's successful answers mean: models, and how a body becomes one.

Pure: no I/O, no clock. Unknown fields are ignored, and a field that only informs is None when
it cannot be read; only what the caller cannot do without makes an answer unusable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, TypeVar, cast

from pydantic import (
    AfterValidator,
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

from pipecat_agenthuman.errors import ShapeError

RUNNING_STATUSES = frozenset({"started", "active"})
"""The service calls a running session ``started`` in one place and ``active`` in another."""

ENDED_STATUS = "ended"

_NOT_ASSIGNED_YET: Final = "try_again"
"""What stands in the place of a server's address while the service is still looking for one."""


_IDENTIFIER: Final = re.compile(r"[!-.0-~]{1,200}")
"""Printable ASCII without a slash: it becomes a part of a path."""


def usable_identifier(value: object) -> str | None:
    """Read an identifier of the service, which is opaque to us but must fit into a path.

    Args:
        value: A string, or a number, which stands for its digits.

    Returns:
        The identifier, or None if it cannot be one.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    text = str(value)
    fits = _IDENTIFIER.fullmatch(text) is not None and text not in (".", "..")
    return text if fits else None


def _checked_identifier(value: object) -> str:
    identifier = usable_identifier(value)
    if identifier is None:
        raise ValueError("it is not an identifier")
    return identifier


def _or_none(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    try:
        return parse(value)
    except ValidationError:
        return None


def _or_empty(value: object, parse: ValidatorFunctionWrapHandler) -> object:
    try:
        return parse(value)
    except ValidationError:
        return parse({})


def _in_utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=UTC) if moment and moment.tzinfo is None else moment


_Identifier = Annotated[str, BeforeValidator(_checked_identifier)]
_Moment = Annotated[datetime | None, WrapValidator(_or_none), AfterValidator(_in_utc)]
_Number = Annotated[float | None, Field(allow_inf_nan=False), WrapValidator(_or_none)]
_Count = Annotated[int | None, WrapValidator(_or_none)]
_Text = Annotated[str | None, WrapValidator(_or_none)]
_Object = Annotated[dict[str, Any], WrapValidator(_or_empty)]


class _AnswerModel(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        # An ID is opaque to us: a service that sends a number means its digits.
        coerce_numbers_to_str=True,
        hide_input_in_errors=True,
        defer_build=True,  # of all these a bot reads one kind of answer
    )


class Usage(_AnswerModel):
    """What the account may still use. Every field is None where the service did not say.

    A create's answer has the minutes in ``minutes.total_remaining``, and ``GET /usage`` in
    ``total_remaining``, with the plan and its period.

    Attributes:
        minutes_remaining: Avatar minutes left, of the plan and bought ones together.
        sessions_current: Sessions running now.
        sessions_max: Most sessions that the plan lets run at once.
        sessions_available: How many more may be started now.
        plan: Name of the plan.
        period_ends_at: When the plan's period ends, and its minutes with it.
    """

    minutes_remaining: _Number = Field(
        default=None,
        validation_alias=AliasChoices(AliasPath("minutes", "total_remaining"), "total_remaining"),
    )
    sessions_current: _Count = Field(
        default=None, validation_alias=AliasPath("concurrency", "current")
    )
    sessions_max: _Count = Field(default=None, validation_alias=AliasPath("concurrency", "max"))
    sessions_available: _Count = Field(
        default=None, validation_alias=AliasPath("concurrency", "available")
    )
    plan: _Text = Field(default=None, validation_alias=AliasPath("plan", "name"))
    period_ends_at: _Moment = Field(default=None, validation_alias=AliasPath("period", "end"))


class SessionRecord(_AnswerModel):
    """A session as the service describes it afterwards. It never holds the token.

    Attributes:
        session_id: Identifier.
        status: ``created``, ``started``, ``active`` or ``ended``; others may appear.
        started_at: When it started; minutes count from here.
        ended_at: When it ended, or None.
        expiration: When the service will end it, or None if the plan sets no such time.
        duration_secs: How long it ran, in seconds.
        metadata: The object given at creation.
    """

    session_id: _Identifier
    status: str = Field(min_length=1)
    started_at: _Moment = None
    ended_at: _Moment = None
    expiration: _Moment = None
    duration_secs: _Number = Field(default=None, validation_alias="duration")
    metadata: _Object = Field(default_factory=dict[str, Any])

    @property
    def running(self) -> bool:
        """Whether the session runs and is billed."""
        return self.status in RUNNING_STATUSES


class _SessionList(_AnswerModel):
    sessions: tuple[SessionRecord, ...]


class CreatedSession(_AnswerModel):
    """A session that has just been created, and already runs.

    Attributes:
        session_id: Identifier.
        session_token: Credential for ``session.init``; returned only here, hidden in ``repr``.
        status: ``started`` or ``active``: both mean that it runs.
        started_at: When it started; minutes count from here.
        expiration: When the service will end it, or None if the plan sets no such time.
        metadata: The object given at creation.
        usage: What the account may still use, or None if the service did not say.
        message: The service's own remark, or None.
        ws_url: WebSocket URL of the server that this session was assigned, as the service gave
            it and not checked; None if it named none, or has not assigned one yet.
    """

    session_id: _Identifier
    session_token: str = Field(min_length=1, repr=False)
    status: str = "started"
    started_at: _Moment = None
    expiration: _Moment = None
    metadata: _Object = Field(default_factory=dict[str, Any])
    usage: Annotated[Usage | None, WrapValidator(_or_none)] = None
    message: _Text = None
    ws_url: _Text = None

    @property
    def running(self) -> bool:
        """Whether the session runs and is billed."""
        return self.status in RUNNING_STATUSES


class Avatar(_AnswerModel):
    """An avatar that the key may use.

    Attributes:
        avatar_id: Identifier for ``create_session``.
        tags: The service's keywords for it.
        preview_url: Image of 500 by 500 pixels.
        image_url: Image at most 1200 pixels wide.
    """

    avatar_id: str = Field(min_length=1)
    tags: Annotated[tuple[str, ...] | None, WrapValidator(_or_none)] = ()
    preview_url: _Text = None
    image_url: _Text = None


class AvatarList(_AnswerModel):
    """The avatars that the key may use.

    Attributes:
        public_avatars: Those that every account has.
        my_avatars: Those of this account.
    """

    public_avatars: tuple[Avatar, ...] = ()
    my_avatars: tuple[Avatar, ...] = ()


class UploadedFace(_AnswerModel):
    """An avatar made of an uploaded image.

    Attributes:
        avatar_id: Identifier for ``create_session``.
        preview_url: Image of 500 by 500 pixels.
        image_url: Image at most 1200 pixels wide.
    """

    avatar_id: str = Field(min_length=1)
    preview_url: _Text = None
    image_url: _Text = None


class AvatarPreview(_AnswerModel):
    """A link on which a person can see an avatar.

    Attributes:
        url: Opens a live session with it, once, within five minutes. Whoever has it may.
    """

    url: str = Field(min_length=1, repr=False)


def created_session(body: Mapping[str, Any]) -> CreatedSession:
    """Read the answer to ``POST /sessions``.

    Args:
        body: The JSON object.

    Returns:
        The created session.

    Raises:
        ShapeError: If the identifier or the token is missing, or the session is over already.
    """
    session = _object_in(body, "session")
    created = _validated(
        CreatedSession,
        {
            **session,
            "usage": body.get("usage"),
            "message": body.get("message"),
            "ws_url": _assigned_server({**body, **session}),
        },
    )
    if created.status == ENDED_STATUS:
        raise ShapeError("session.status says that it has ended")
    return created


def _assigned_server(fields: Mapping[str, Any]) -> str | None:
    """The address of a session's own server, under either of the names that it has had."""
    for name in ("server_ws_uri", "ws_uri"):
        address = fields.get(name)
        if isinstance(address, str) and address and address != _NOT_ASSIGNED_YET:
            return address
    return None


def session_list(body: Mapping[str, Any]) -> tuple[SessionRecord, ...]:
    """Read the answer to ``GET /sessions``.

    Args:
        body: The JSON object.

    Returns:
        The sessions.

    Raises:
        ShapeError: If there is no list, or a session in it has no identifier or status.
    """
    return _validated(_SessionList, body).sessions


def session_record(body: Mapping[str, Any]) -> SessionRecord:
    """Read the answer to ``GET /sessions/{id}``.

    Args:
        body: The JSON object.

    Returns:
        The session.

    Raises:
        ShapeError: If the identifier or the status is missing.
    """
    return _validated(SessionRecord, _object_in(body, "session"))


def ended_session(body: Mapping[str, Any], session_id: str) -> SessionRecord:
    """Read the answer to ``POST /sessions/{id}/end``: a success, unless it says otherwise.

    Args:
        body: The JSON object.
        session_id: The session that was to end.

    Returns:
        The session, with what the answer tells of it.

    Raises:
        ShapeError: If the session still runs.
    """
    wrapped = body.get("session")
    session = cast("dict[str, Any]", wrapped) if isinstance(wrapped, dict) else body
    status = session.get("status")
    if isinstance(status, str) and status in RUNNING_STATUSES:
        raise ShapeError("session.status says that it is still running")
    known = {"session_id": session_id, "status": ENDED_STATUS}
    return _validated(SessionRecord, {**session, **known})


def avatar_list(body: Mapping[str, Any]) -> AvatarList:
    """Read the answer to ``GET /avatars``.

    Args:
        body: The JSON object.

    Returns:
        The avatars.

    Raises:
        ShapeError: If neither list is there, or an avatar has no identifier.
    """
    if "public_avatars" not in body and "my_avatars" not in body:
        raise ShapeError("public_avatars and my_avatars are missing")
    # A null list is an empty one.
    return _validated(AvatarList, {name: value for name, value in body.items() if value})


def account_usage(body: Mapping[str, Any]) -> Usage:
    """Read the answer to ``GET /usage``, wrapped in ``usage`` or not: that is undocumented.

    Args:
        body: The JSON object.

    Returns:
        What the account may still use.

    Raises:
        ShapeError: If it speaks of neither minutes nor concurrency.
    """
    wrapped = body.get("usage")
    usage = cast("dict[str, Any]", wrapped) if isinstance(wrapped, dict) else body
    if usage.keys().isdisjoint(("minutes", "total_remaining", "concurrency")):
        raise ShapeError("minutes and concurrency are missing")
    return _validated(Usage, usage)


def avatar_preview(body: Mapping[str, Any]) -> AvatarPreview:
    """Read the answer to ``POST /avatars/preview``.

    Args:
        body: The JSON object.

    Returns:
        The link.

    Raises:
        ShapeError: If there is none.
    """
    return _validated(AvatarPreview, body)


def uploaded_face(body: Mapping[str, Any]) -> UploadedFace:
    """Read the answer to ``POST /avatars/upload-face``.

    Args:
        body: The JSON object.

    Returns:
        The new avatar.

    Raises:
        ShapeError: If the identifier is missing.
    """
    return _validated(UploadedFace, body)


_Model = TypeVar("_Model", bound=BaseModel)


def _validated(model: type[_Model], fields: Mapping[str, Any]) -> _Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        flaws = error.errors(include_url=False, include_context=False, include_input=False)
    # Outside the handler: the validation error must not travel along as the context.
    raise ShapeError(
        "; ".join(f"{'.'.join(map(str, flaw['loc']))}: {flaw['msg']}" for flaw in flaws)
    )


def _object_in(body: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise ShapeError(f"{name} is missing or not an object")
    return cast("dict[str, Any]", value)
