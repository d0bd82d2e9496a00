"""An image of a face, checked and made into the body of an upload."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Final

import aiohttp

MAX_IMAGE_BYTES: Final = 10_000_000
"""An image is at most 10 MB (documented)."""

# What a file of each accepted kind begins with.
_BEGINNINGS: Final = (
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"GIF8", "image/gif"),
)


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


def _multipart(image: bytes) -> Callable[[], aiohttp.FormData]:
    if len(image) > MAX_IMAGE_BYTES:
        raise ValueError(_too_large("file", len(image)))
    content_type = _content_type(image)

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
