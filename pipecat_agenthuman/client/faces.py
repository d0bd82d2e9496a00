"""An avatar that is given as a picture on this machine: uploaded once, and known by its ID then."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Final
from weakref import WeakKeyDictionary

from loguru import logger

from pipecat_agenthuman._environment import AVATAR
from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.client.requests import MAX_IMAGE_BYTES, check_image
from pipecat_agenthuman.client.retry import NO_RETRY
from pipecat_agenthuman.errors import BadRequestError

_SUFFIXES: Final = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp"})
_ELSEWHERE: Final = ("http://", "https://", "data:")

_known: dict[tuple[object, ...], str] = {}
"""Avatars that this process has made of pictures: whose they are, and the picture's digest."""

_turns: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock] = WeakKeyDictionary()
"""One upload at a time, so that calls that begin together make one avatar."""


def is_image_file(avatar: str) -> bool:
    """Tell a picture on this machine from an ID, which may have slashes, and from an address.

    Args:
        avatar: What is given for an avatar.

    Returns:
        Whether it is an absolute path, or ends like the name of a picture.
    """
    if avatar.startswith(_ELSEWHERE):
        return False
    path = Path(avatar)
    return path.is_absolute() or avatar.startswith("~") or path.suffix.casefold() in _SUFFIXES


def check_image_file(avatar: str) -> None:
    """Check that a picture can become an avatar, as far as that can be known here.

    Args:
        avatar: Its path.

    Raises:
        ValueError: If it cannot be read, is too large, or no JPEG, PNG, GIF or WebP.
    """
    _read(avatar)


def _read(avatar: str) -> bytes:
    path = Path(avatar).expanduser()
    try:
        with path.open("rb") as file:
            image = file.read(MAX_IMAGE_BYTES + 1)
    except OSError as error:
        raise ValueError(f"avatar {avatar!r} cannot be read: {error.strerror}.") from None
    try:
        check_image(image)
    except ValueError as error:
        raise ValueError(f"avatar {avatar!r}: {error}") from None
    return image


async def avatar_id(api: AgentHumanApi, avatar: str) -> str:
    """What a session may be asked for: an ID for a picture on this machine, else as it is.

    A picture is uploaded once in a process, for each account.

    Args:
        api: The account.
        avatar: Identifier, address or path.

    Returns:
        Identifier or address.

    Raises:
        ApiError: If the picture is gone, or the service refuses it or does not answer.
    """
    if not is_image_file(avatar):
        return avatar
    try:
        image = await asyncio.to_thread(_read, avatar)
    except ValueError as error:
        raise BadRequestError(f"Creating a session: {error}") from None
    key = (api.account, hashlib.sha256(image).digest())
    async with _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock()):
        if key not in _known:
            face = await api.upload_face(file=image, retry=NO_RETRY)
            _known[key] = face.avatar_id
            logger.warning(
                f"Uploaded {avatar} as the avatar {face.avatar_id}. The next start of the program "
                f"makes another one, unless it is given the ID: {AVATAR.name}={face.avatar_id}"
            )
    return _known[key]
