"""What a bot finds around it: the variables that ``pipecat-agenthuman check`` looks at. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from pipecat_agenthuman._credentials import check_url, is_loopback
from pipecat_agenthuman.client.requests import is_placeholder
from pipecat_agenthuman.client.rest import DEFAULT_API_URL, resolved_key
from pipecat_agenthuman.errors import AgentHumanError, RoomTokenError
from pipecat_agenthuman.rooms import DailyRoom

DEFAULT_WS_URL: Final = "wss://wss.agenthuman.com"

MADE_UP_ROOM_URL: Final = "https://sandbox.daily.co/check"
MADE_UP_TOKEN: Final = "made-up"

_MEANINGS: Final = {
    "AGENTHUMAN_API_KEY": "the key of the Agent Human account",
    "AGENTHUMAN_AVATAR": "an avatar, avat_...",
    "DAILY_ROOM_URL": "where the avatar joins; or --room",
    "DAILY_API_KEY": "to make its token; or DAILY_AVATAR_TOKEN or --token",
}


class MissingVariablesError(AgentHumanError, ValueError):
    """Something is not set that a bot cannot do without."""


@dataclass(frozen=True)
class Environment:
    """Where the service is, and with what to go there.

    Attributes:
        api_key: Key of the Agent Human account.
        avatar: Identifier or image of an avatar.
        api_url: REST base URL.
        ws_url: WebSocket URL.
        room_url: The Daily room.
        room_token: The avatar's token for it; empty if Daily is to be asked for one.
        daily_api_key: For asking Daily.
        daily_api_url: Where to ask, or empty for Daily itself.
        room_is_made_up: Whether room and token are invented, because only the sandbox will
            see them.
    """

    api_key: str = field(repr=False)
    avatar: str
    api_url: str
    ws_url: str
    room_url: str
    room_token: str = field(repr=False)
    daily_api_key: str = field(repr=False)
    daily_api_url: str
    room_is_made_up: bool

    @property
    def is_loopback(self) -> bool:
        """Whether the service is on this machine: a sandbox."""
        return _is_local(self.api_url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        token = () if self.room_is_made_up else (self.room_token,)
        return tuple(secret for secret in (self.api_key, self.daily_api_key, *token) if secret)


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Read what a bot would read, and say all that is missing at once.

    Args:
        variables: Variables by name. Those that are empty, or still as ``.env.example`` has
            them, count as unset.

    Returns:
        The environment.

    Raises:
        MissingVariablesError: If something is missing; a ``ValueError``.
        ValueError: If something cannot be right, naming the variable.
    """
    found = {name: value.strip() for name, value in variables.items() if not is_placeholder(value)}

    def get(name: str) -> str:
        return found.get(name, "")

    api_url = _service_url(get("AGENTHUMAN_API_URL") or DEFAULT_API_URL, "API", "https", "http")
    ws_url = _service_url(get("AGENTHUMAN_WS_URL") or DEFAULT_WS_URL, "WS", "wss", "ws")
    if _is_local(api_url) != _is_local(ws_url):
        raise ValueError(
            "AGENTHUMAN_API_URL and AGENTHUMAN_WS_URL lead to different places: "
            f"{api_url} and {ws_url}. Set both for the sandbox, and neither otherwise."
        )
    room_url, token = get("DAILY_ROOM_URL"), get("DAILY_AVATAR_TOKEN")
    made_up = _is_local(api_url) and not (room_url and (token or get("DAILY_API_KEY")))
    _check_complete(found, needs_room=not made_up, needs_daily_key=not token)
    return Environment(
        api_key=resolved_key(get("AGENTHUMAN_API_KEY")),
        avatar=get("AGENTHUMAN_AVATAR"),
        api_url=api_url,
        ws_url=ws_url,
        room_url=MADE_UP_ROOM_URL if made_up else room_url,
        room_token=MADE_UP_TOKEN if made_up else token,
        daily_api_key=get("DAILY_API_KEY"),
        daily_api_url=get("DAILY_API_URL"),
        room_is_made_up=made_up,
    )


def check_room_token(room: DailyRoom) -> None:
    """Check what a Daily meeting token says of itself: when it expires, and for which room.

    Args:
        room: The room with its token.

    Raises:
        RoomTokenError: If it has expired or belongs to another room. A token that cannot be
            read passes: only Daily knows.
    """
    claims = _claims(room.token)
    expires_at, name = claims.get("exp"), claims.get("r")
    if isinstance(expires_at, int | float) and expires_at <= time.time():
        raise RoomTokenError("The avatar's Daily token has expired.", remedy="Make a new one.")
    wanted = urlsplit(room.url).path.strip("/")
    if isinstance(name, str) and name != wanted:
        raise RoomTokenError(
            f"The avatar's Daily token is for the room {name!r}, not for {wanted!r}.",
            remedy="Make one for this room.",
        )


def _claims(token: str) -> dict[str, Any]:
    """Read the claims of a JSON Web Token; none if it is not one."""
    parts = token.split(".")
    if len(parts) != 3:
        return {}
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims: object = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError):
        return {}
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else {}


def _check_complete(found: Mapping[str, str], *, needs_room: bool, needs_daily_key: bool) -> None:
    needed = ["AGENTHUMAN_API_KEY", "AGENTHUMAN_AVATAR"]
    if needs_room:
        needed += ["DAILY_ROOM_URL", *(["DAILY_API_KEY"] if needs_daily_key else [])]
    missing = [f"{name} ({_MEANINGS[name]})" for name in needed if not found.get(name)]
    if missing:
        raise MissingVariablesError(
            f"Not set: {', '.join(missing)}.",
            remedy="Fill in .env, for one with what pipecat-agenthuman sandbox prints.",
        )


def _service_url(url: str, which: str, tls: str, plain: str) -> str:
    return check_url(url, name=f"AGENTHUMAN_{which}_URL", tls=tls, plain=plain)


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
