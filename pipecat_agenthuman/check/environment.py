"""What a bot finds around it: the variables that ``pipecat-agenthuman check`` looks at. Pure."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import urlsplit

from pipecat_agenthuman._credentials import is_loopback
from pipecat_agenthuman._environment import (
    API_KEY,
    API_URL,
    AVATAR,
    DAILY_API_KEY,
    DAILY_API_URL,
    DAILY_AVATAR_TOKEN,
    DAILY_ROOM_URL,
    WS_URL,
    Variable,
    is_placeholder,
)
from pipecat_agenthuman.errors import AgentHumanError, RoomTokenError
from pipecat_agenthuman.rooms import DailyRoom

MADE_UP_ROOM_URL: Final = "https://sandbox.daily.co/check"
MADE_UP_TOKEN: Final = "made-up"

_MEANINGS: Final = {
    API_KEY: "the key of the Agent Human account",
    AVATAR: "an avatar, avat_...",
    DAILY_ROOM_URL: "where the avatar joins; or --room",
    DAILY_API_KEY: f"to make its token; or {DAILY_AVATAR_TOKEN.name} or --token",
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
        daily_api_url: Where to ask.
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
    found = {name: value for name, value in variables.items() if not is_placeholder(value)}
    api_url, ws_url = API_URL.url(variables=found), WS_URL.url(variables=found)
    if _is_local(api_url) != _is_local(ws_url):
        raise ValueError(
            f"{API_URL.name} and {WS_URL.name} lead to different places: "
            f"{api_url} and {ws_url}. Set both for the sandbox, and neither otherwise."
        )
    room_url = DAILY_ROOM_URL.text(variables=found)
    token = DAILY_AVATAR_TOKEN.text(variables=found)
    daily_api_key = DAILY_API_KEY.text(variables=found)
    made_up = _is_local(api_url) and not (room_url and (token or daily_api_key))
    needed = [API_KEY, AVATAR]
    if not made_up:
        needed += [DAILY_ROOM_URL] if token else [DAILY_ROOM_URL, DAILY_API_KEY]
    _check_complete(needed, found)
    return Environment(
        api_key=API_KEY.key(variables=found),
        avatar=AVATAR.text(variables=found),
        api_url=api_url,
        ws_url=ws_url,
        room_url=MADE_UP_ROOM_URL if made_up else room_url,
        room_token=MADE_UP_TOKEN if made_up else token,
        daily_api_key=daily_api_key,
        daily_api_url=DAILY_API_URL.text(variables=found),
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


def _check_complete(needed: Sequence[Variable], found: Mapping[str, str]) -> None:
    missing = [
        f"{variable.name} ({_MEANINGS[variable]})"
        for variable in needed
        if not variable.text(variables=found)
    ]
    if missing:
        raise MissingVariablesError(
            f"Not set: {', '.join(missing)}.",
            remedy="Fill in .env, for example with what pipecat-agenthuman sandbox prints.",
        )


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
