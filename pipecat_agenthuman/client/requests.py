"""What requests ask for, checked before anything is sent."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast, get_args
from urllib.parse import quote

import aiohttp

from pipecat_agenthuman._arguments import check_choice
from pipecat_agenthuman._environment import is_placeholder

AspectRatio = Literal["4:3", "3:4", "1:1"]

ASPECT_RATIOS: Final = get_args(AspectRatio)
"""The shapes of video that the service offers."""

ROOM_PLATFORMS: Final = ("daily", "livekit")

SessionStatus = Literal["all", "started", "ended"]

SESSION_STATUSES: Final = get_args(SessionStatus)
"""Which sessions the service can list."""

MAX_IMAGE_BYTES: Final = 10_000_000
"""An image is at most 10 MB (documented)."""

# What a file of each accepted kind begins with.
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)


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


def preview_payload(avatar_id: str) -> Callable[[], aiohttp.Payload]:
    """Make what makes the body of ``POST /avatars/preview``; ``ValueError`` without an avatar."""
    if not avatar_id.strip() or is_placeholder(avatar_id):
        raise ValueError(f"avatar_id {avatar_id!r} is none: pass an ID such as avat_…")
    return lambda: aiohttp.JsonPayload({"avatar_id": avatar_id.strip()})


# --- an image of a face ----------------------------------------------------------------


async def face_payload(
    *, file: bytes | Path | None, image_url: str | None, image_base64: str | None
) -> Callable[[], aiohttp.Payload | aiohttp.FormData]:
    """Check an image and make the body of ``POST /avatars/upload-face``.

    Args:
        file: JPEG, PNG, GIF or WebP, or the path of one.
        image_url: Public address of such an image.
        image_base64: Such an image in base64.

    Returns:
        What makes the body, anew for each attempt.

    Raises:
        ValueError: If not exactly one is given, or the image cannot be right.
        OSError: If the file cannot be read.
    """
    given = {"image_url": image_url, "image_base64": image_base64}
    texts = {name: text for name, text in given.items() if text}
    if len(texts) + (file is not None) != 1:
        raise ValueError("Pass exactly one of file, image_url and image_base64.")
    if file is None:
        if image_base64 and len(image_base64) * 3 // 4 > MAX_IMAGE_BYTES + 2:
            raise ValueError(_too_large("image_base64", len(image_base64) * 3 // 4))
        return lambda: aiohttp.JsonPayload(texts)
    if isinstance(file, Path):
        size = (await asyncio.to_thread(file.stat)).st_size
        if size > MAX_IMAGE_BYTES:  # before it is read into memory
            raise ValueError(_too_large("file", size))
        file = await asyncio.to_thread(file.read_bytes)
    return _multipart(file)


def check_image(image: bytes) -> str:
    """Check a picture's size and kind, as far as its beginning tells it.

    Args:
        image: The file's content.

    Returns:
        Its content type.

    Raises:
        ValueError: If it is too large, or none of the kinds that the service takes.
    """
    if len(image) > MAX_IMAGE_BYTES:
        raise ValueError(_too_large("file", len(image)))
    return _content_type(image)


def _multipart(image: bytes) -> Callable[[], aiohttp.FormData]:
    content_type = check_image(image)

    def form() -> aiohttp.FormData:
        body = aiohttp.FormData()
        body.add_field(
            "file",
            image,
            filename=f"face.{content_type.removeprefix('image/')}",
            content_type=content_type,
        )
        return body

    return form


def _content_type(image: bytes) -> str:
    for beginning, content_type in _BEGINNINGS:
        if image.startswith(beginning):
            return content_type
    if image[:4] == b"RIFF" and image[8:12] == b"WEBP":
        return "image/webp"
    raise ValueError("file must be a JPEG, PNG, GIF or WebP image.")


def _too_large(name: str, size: int) -> str:
    return f"{name} is {size} bytes; the service takes at most {MAX_IMAGE_BYTES}."
