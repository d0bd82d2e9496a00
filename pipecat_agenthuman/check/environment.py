"""What a bot finds around it: the variables that ``pipecat-agenthuman check`` looks at. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
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
    LIVEKIT_API_KEY,
    LIVEKIT_API_SECRET,
    LIVEKIT_AVATAR_TOKEN,
    LIVEKIT_ROOM_NAME,
    LIVEKIT_URL,
    WS_URL,
    Variable,
    is_placeholder,
)
from pipecat_agenthuman.errors import MissingVariablesError

_MEANINGS: Final = {
    API_KEY: "the key of the Agent Human account",
    AVATAR: "an avatar, avat_...",
    DAILY_ROOM_URL: f"where the avatar joins; or --room, or {LIVEKIT_URL.name} for LiveKit",
    DAILY_API_KEY: f"to make its token; or {DAILY_AVATAR_TOKEN.name} or --token",
    LIVEKIT_ROOM_NAME: "the room at LiveKit; or --room-name",
    LIVEKIT_API_KEY: f"to sign its token; or {LIVEKIT_AVATAR_TOKEN.name} or --token",
    LIVEKIT_API_SECRET: "likewise",
}


@dataclass(frozen=True)
class DailyAccess:
    """With what the avatar gets into a Daily room.

    Attributes:
        url: The room.
        token: The avatar's token for it; empty if Daily is to be asked for one.
        api_key: For asking Daily.
        api_url: Where to ask.
    """

    url: str
    token: str = field(repr=False)
    api_key: str = field(repr=False)
    api_url: str

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return self.token, self.api_key

    @property
    def missing(self) -> list[Variable]:
        """What is not set, of all that it takes."""
        needed = {DAILY_ROOM_URL: self.url}
        if not self.token:
            needed |= {DAILY_API_KEY: self.api_key}
        return [variable for variable, value in needed.items() if not value]


@dataclass(frozen=True)
class LiveKitAccess:
    """With what the avatar gets into a LiveKit room.

    Attributes:
        url: The server.
        room_name: The room.
        token: The avatar's token for it; empty if one is to be signed.
        api_key: For signing.
        api_secret: Likewise.
    """

    url: str
    room_name: str
    token: str = field(repr=False)
    api_key: str = field(repr=False)
    api_secret: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        return self.token, self.api_secret

    @property
    def missing(self) -> list[Variable]:
        """What is not set, of all that it takes."""
        needed = {LIVEKIT_URL: self.url}
        if not self.token:
            needed |= {
                LIVEKIT_ROOM_NAME: self.room_name,
                LIVEKIT_API_KEY: self.api_key,
                LIVEKIT_API_SECRET: self.api_secret,
            }
        return [variable for variable, value in needed.items() if not value]


@dataclass(frozen=True)
class Environment:
    """Where the service is, and with what to go there.

    Attributes:
        api_key: Key of the Agent Human account.
        avatar: Identifier or image of an avatar.
        api_url: REST base URL.
        ws_url: WebSocket URL.
        access: The room that the avatar joins, or None for one that is made up, because only
            the sandbox will see it.
    """

    api_key: str = field(repr=False)
    avatar: str
    api_url: str
    ws_url: str
    access: DailyAccess | LiveKitAccess | None

    @property
    def is_loopback(self) -> bool:
        """Whether the service is on this machine: a sandbox."""
        return _is_local(self.api_url)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must never be shown."""
        of_the_room = () if self.access is None else self.access.secrets
        return tuple(secret for secret in (self.api_key, *of_the_room) if secret)


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
    access = _read_access(found)
    missing = [variable for variable in (API_KEY, AVATAR) if not variable.text(variables=found)]
    if access.missing and _is_local(api_url):
        access = None
    else:
        missing += access.missing
    _check_complete(missing)
    return Environment(
        api_key=API_KEY.key(variables=found),
        avatar=AVATAR.text(variables=found),
        api_url=api_url,
        ws_url=ws_url,
        access=access,
    )


def _read_access(found: Mapping[str, str]) -> DailyAccess | LiveKitAccess:
    daily_url, livekit_url = (
        variable.text(variables=found) for variable in (DAILY_ROOM_URL, LIVEKIT_URL)
    )
    if daily_url and livekit_url:
        raise ValueError(
            f"{DAILY_ROOM_URL.name} and {LIVEKIT_URL.name} are both set, and the avatar joins one "
            "room. Say which with --room."
        )
    if livekit_url:
        return LiveKitAccess(
            url=livekit_url,
            room_name=LIVEKIT_ROOM_NAME.text(variables=found),
            token=LIVEKIT_AVATAR_TOKEN.text(variables=found),
            api_key=LIVEKIT_API_KEY.text(variables=found),
            api_secret=LIVEKIT_API_SECRET.text(variables=found),
        )
    return DailyAccess(
        url=daily_url,
        token=DAILY_AVATAR_TOKEN.text(variables=found),
        api_key=DAILY_API_KEY.text(variables=found),
        api_url=DAILY_API_URL.text(variables=found),
    )


def _check_complete(missing: Sequence[Variable]) -> None:
    if missing:
        named = ", ".join(f"{variable.name} ({_MEANINGS[variable]})" for variable in missing)
        raise MissingVariablesError(
            f"Not set: {named}.",
            remedy="Fill in .env, for example with what pipecat-agenthuman sandbox prints.",
        )


def _is_local(url: str) -> bool:
    return is_loopback(urlsplit(url).hostname or "")
