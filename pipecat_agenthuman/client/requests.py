"""What requests about sessions ask for, checked before anything is sent."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

import aiohttp

from pipecat_agenthuman._arguments import check_choice
from pipecat_agenthuman._environment import is_placeholder

ASPECT_RATIOS: Final = ("4:3", "3:4", "1:1")
"""The shapes of video that the service offers."""

ROOM_PLATFORMS: Final = ("daily", "livekit")


class Room(Protocol):
    """Where the avatar joins: ``DailyRoom``, ``LiveKitRoom`` or anything like them."""

    @property
    def platform(self) -> str:
        """``daily`` or ``livekit``."""
        ...

    @property
    def url(self) -> str:
        """Daily room URL, or LiveKit WebSocket URL."""
        ...

    @property
    def token(self) -> str:
        """The avatar's own Daily meeting token or LiveKit JWT."""
        ...


def session_path(session_id: str) -> str:
    """The path of a session below the API's URL; raises ``ValueError`` without an identifier."""
    if not session_id:
        raise ValueError("session_id must not be empty.")
    return f"/sessions/{quote(session_id, safe='')}"


def check_room(room: object) -> Room:
    """Check that something is a room.

    Args:
        room: What was given as one.

    Returns:
        The room.

    Raises:
        ValueError: If it is not one.
    """
    if inspect.iscoroutine(room):
        cast("Coroutine[Any, Any, Any]", room).close()
        raise ValueError(
            "room is a coroutine: an await is missing, as in room=await DailyRoom.mint(url)."
        )
    parts = [getattr(room, name, None) for name in ("platform", "url", "token")]
    if isinstance(room, type) or not all(isinstance(part, str) for part in parts):
        kind = room.__name__ if isinstance(room, type) else type(room).__name__
        raise ValueError(f"room must be a DailyRoom or a LiveKitRoom, got {kind}.")
    return cast("Room", room)


def create_payload(
    avatar: str, room: Room, aspect_ratio: str, metadata: Mapping[str, Any] | None
) -> Callable[[], aiohttp.Payload]:
    """Check a create's arguments, and make what makes its body.

    The body holds a token, so no frame that an exception can pass has it as a variable.

    Args:
        avatar: Identifier, image URL or ``data:`` URI.
        room: Where the avatar joins.
        aspect_ratio: One of ``ASPECT_RATIOS``.
        metadata: A JSON object, or None.

    Returns:
        Makes the body, anew for each attempt.

    Raises:
        ValueError: For what the service would refuse.
    """
    body = _create_body(avatar, room, aspect_ratio, metadata)
    return lambda: aiohttp.JsonPayload(body)


def _create_body(
    avatar: str, room: Room, aspect_ratio: str, metadata: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The body of ``POST /sessions``, checked; it holds the room's token."""
    if not avatar.strip():
        raise ValueError("avatar must not be empty: pass an ID such as avat_…")
    if is_placeholder(avatar):
        raise ValueError(f"avatar {avatar!r} is a placeholder: give the ID of one of yours.")
    check_choice("aspect_ratio", aspect_ratio, ASPECT_RATIOS)
    check_choice("room.platform", room.platform, ROOM_PLATFORMS)
    if not room.url or not room.token:
        raise ValueError("room must have a url, and a token for the avatar.")
    body: dict[str, Any] = {
        "avatar": avatar,
        "aspect_ratio": aspect_ratio,
        "room": {"platform": room.platform, "url": room.url, "token": room.token},
    }
    if metadata is not None:
        body["metadata"] = _json_object(metadata)
    return body


def _json_object(metadata: object) -> dict[str, Any]:
    """Copy a JSON object, so that what is sent is what was checked."""
    try:
        if isinstance(metadata, Mapping):
            return json.loads(
                json.dumps(dict(cast("Mapping[str, Any]", metadata)), allow_nan=False)
            )
        reason = f"it is a {type(metadata).__name__}"
    except (TypeError, ValueError, RecursionError) as error:
        reason = str(error)
    raise ValueError(f"metadata must be a JSON object: {reason}.")
