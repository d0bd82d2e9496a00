"""What requests about sessions ask for, checked before anything is sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, cast
from urllib.parse import quote

import aiohttp

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


def is_placeholder(value: str) -> bool:
    """Tell what ``.env.example`` has from what somebody filled in."""
    return value.strip().endswith("...") or "//your-domain." in value


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
    if aspect_ratio not in ASPECT_RATIOS:
        raise ValueError(
            f"aspect_ratio must be one of {', '.join(ASPECT_RATIOS)}, got {aspect_ratio!r}."
        )
    if room.platform not in ROOM_PLATFORMS:
        raise ValueError(
            f"room.platform must be one of {', '.join(ROOM_PLATFORMS)}, got {room.platform!r}."
        )
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
