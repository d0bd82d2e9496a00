"""Avatars: the public ones, and those made from an uploaded picture of a face.

There is no face detector here: every well-formed picture passes for exactly one face. The
service itself refuses pictures without a face or with several.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections import deque
from dataclasses import dataclass
from typing import Final

from pydantic import JsonValue

from pipecat_agenthuman.sandbox.bodies import Refusal

MAX_IMAGE_BYTES: Final = 10_000_000
"""A picture is at most 10 MB (documented)."""

DEFAULT_AVATAR: Final = "avat_sandbox_ada"

_KEPT_UPLOADS: Final = 1000
"""Older ones are forgotten, so that a sandbox that runs for days does not grow."""

_DATA_URI: Final = re.compile(r"data:image/[\w.+-]+;base64,")
_ACCEPTED: Final = "JPEG, PNG, GIF or WebP"

_PLACEHOLDER: Final = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 500 500">
<rect width="500" height="500" fill="#dde3ea"/><circle cx="250" cy="200" r="95" fill="#7c8ba1"/>
<path d="M80 500a170 170 0 0 1 340 0z" fill="#7c8ba1"/></svg>
"""


@dataclass(frozen=True)
class SandboxAvatar:
    """An avatar.

    Attributes:
        avatar_id: Identifier, ``avat_…``.
        tags: What it looks like, in words.
    """

    avatar_id: str
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Upload:
    """What came with ``POST /v1/avatars/upload-face``; exactly one of them is wanted.

    Attributes:
        file: A picture.
        image_url: Address of a picture.
        image_base64: A picture in base64, with or without a ``data:`` prefix.
    """

    file: bytes | None = None
    image_url: object = None
    image_base64: object = None


class Gallery:
    """The avatars of the account."""

    def __init__(self) -> None:
        # One for each face of the room's page, which knows them by these names.
        self._public = (
            SandboxAvatar(DEFAULT_AVATAR, ("woman", "studio", "friendly")),
            SandboxAvatar("avat_sandbox_alan", ("man", "office", "calm")),
            SandboxAvatar("avat_sandbox_amara", ("woman", "curls", "lively")),
            SandboxAvatar("avat_sandbox_mei", ("woman", "blazer", "attentive")),
            SandboxAvatar("avat_sandbox_ruth", ("woman", "glasses", "experienced")),
        )
        self._mine: deque[SandboxAvatar] = deque(maxlen=_KEPT_UPLOADS)

    def listing(self, pictures_url: str) -> dict[str, JsonValue]:
        """Return the answer of ``GET /v1/avatars``.

        Args:
            pictures_url: Where the placeholder pictures are served.
        """
        return {
            "success": True,
            "public_avatars": [_described(avatar, pictures_url) for avatar in self._public],
            "my_avatars": [_described(avatar, pictures_url) for avatar in self._mine],
        }

    def preview(self, avatar_id: object, pictures_url: str) -> dict[str, JsonValue]:
        """Return the answer of ``POST /v1/avatars/preview``: here, the placeholder picture.

        Args:
            avatar_id: The avatar that is to be seen.
            pictures_url: Where the placeholder pictures are served.

        Raises:
            Refusal: 400 without an ID, 404 for an avatar that the account does not have.
        """
        if not isinstance(avatar_id, str) or not avatar_id:
            raise Refusal(400, "Missing required field: avatar_id")
        if all(avatar.avatar_id != avatar_id for avatar in (*self._public, *self._mine)):
            raise Refusal(404, "Avatar not found", suggestion="Pass an ID from GET /v1/avatars.")
        return {"success": True, "url": f"{pictures_url}/{avatar_id}.svg"}

    def upload(self, upload: Upload, pictures_url: str) -> dict[str, JsonValue]:
        """Make an avatar of a picture.

        Args:
            upload: The picture. One given by its address is not fetched.
            pictures_url: Where the placeholder pictures are served.

        Returns:
            The answer of ``POST /v1/avatars/upload-face``.

        Raises:
            Refusal: 400, if it is not exactly one picture of an accepted type and size.
        """
        given = [upload.file, upload.image_url, upload.image_base64]
        if sum(one is not None for one in given) != 1:
            raise Refusal(400, "Pass exactly one of file, image_url and image_base64")
        if upload.image_url is not None:
            _check_address(upload.image_url)
        elif upload.file is not None:
            _check_picture(upload.file)
        else:
            _check_picture(_decoded(upload.image_base64))
        avatar = SandboxAvatar(f"avat_{secrets.token_hex(8)}")
        self._mine.append(avatar)
        return {"success": True, **_described(avatar, pictures_url)}

    def picture(self) -> str:
        """Return the placeholder picture that stands for all avatars, as SVG."""
        return _PLACEHOLDER


def _described(avatar: SandboxAvatar, pictures_url: str) -> dict[str, JsonValue]:
    picture_url = f"{pictures_url}/{avatar.avatar_id}.svg"
    return {
        "avatar_id": avatar.avatar_id,
        "tags": list(avatar.tags),
        "preview_url": picture_url,
        "image_url": picture_url,
    }


def _check_address(address: object) -> None:
    if not isinstance(address, str) or not re.fullmatch(r"https?://[^\s/]+\S*", address):
        raise Refusal(400, "image_url must be an http(s) URL")


def _decoded(encoded: object) -> bytes:
    if not isinstance(encoded, str):
        raise Refusal(400, "image_base64 must be a string")
    try:
        return base64.b64decode(_DATA_URI.sub("", encoded, count=1), validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(400, "image_base64 is not valid base64") from None


def _check_picture(picture: bytes) -> None:
    if len(picture) > MAX_IMAGE_BYTES:
        raise Refusal(400, "The image is larger than 10 MB")
    if not _is_complete(picture):
        raise Refusal(
            400, f"The image is not a complete {_ACCEPTED}", suggestion=f"Upload a {_ACCEPTED}."
        )


def _is_complete(picture: bytes) -> bool:
    """Tell an accepted picture by its first and last bytes, whatever its name says."""
    if picture.startswith(b"\x89PNG\r\n\x1a\n"):
        return picture[12:16] == b"IHDR" and b"IEND" in picture[-12:]
    if picture.startswith(b"\xff\xd8\xff"):
        return picture.rstrip(b"\0").endswith(b"\xff\xd9")
    if picture.startswith((b"GIF87a", b"GIF89a")):
        return picture.rstrip(b"\0").endswith(b";")
    if picture.startswith(b"RIFF") and picture[8:12] == b"WEBP":
        return int.from_bytes(picture[4:8], "little") + 8 <= len(picture)
    return False
