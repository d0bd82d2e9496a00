"""An avatar's meeting token, made through Daily's REST API.

Of what Daily says of a room only that is read which matters to an avatar. Everything else may
be as it likes: settings that this package does not know must not keep an avatar out.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

import aiohttp

from pipecat_agenthuman._credentials import quoted, redact
from pipecat_agenthuman._environment import DAILY_API_KEY, DAILY_API_URL
from pipecat_agenthuman.errors import RoomTokenError
from pipecat_agenthuman.tokens.claims import TOKEN_EXPIRY_SECS

FEWEST_SEATS: Final = 3
"""Whoever talks, the bot and the avatar."""

_DAILY_DOMAIN: Final = ".daily.co"
_MAX_ANSWER_BYTES: Final = 1_000_000

_WRONG_ROOM: Final = f"Check that the room exists, and that {DAILY_API_KEY} belongs to its domain."
_WRONG_KEY: Final = f"Check {DAILY_API_KEY}: it is the key of the room's Daily domain."
_WRONG_SERVER: Final = (
    f"Check that {DAILY_API_URL}, if set, leads to Daily's REST API; else try again later."
)


@dataclass(frozen=True)
class DailyRest:
    """Daily's REST API, spoken to with one key.

    Attributes:
        url: Base URL, checked, without a trailing slash.
        api_key: The key of the room's domain.
    """

    url: str
    api_key: str = field(repr=False)

    async def mint(
        self,
        room_url: str,
        *,
        user_id: str,
        user_name: str,
        expiry_secs: float | None,
        timeout_secs: float,
        http: aiohttp.ClientSession | None = None,
    ) -> tuple[str, list[str]]:
        """Make an avatar's meeting token.

        Args:
            room_url: The room.
            user_id: Identifier of the avatar's participant.
            user_name: Its name.
            expiry_secs: Seconds in which the token lets it join, or None for the room's.
            timeout_secs: Limit of the whole, in seconds.
            http: An aiohttp session to use, or None to make one.

        Returns:
            The token, and what about the room may keep the avatar out or mute it, in words.

        Raises:
            RoomTokenError: If Daily does not know the room, refuses, or does not answer.
        """
        try:
            async with asyncio.timeout(timeout_secs), AsyncExitStack() as stack:
                http = http or await stack.enter_async_context(
                    aiohttp.ClientSession(trust_env=self.url.startswith("https:"))
                )
                name = urlsplit(room_url).path.strip("/")
                room = await self._ask(http, "GET", f"/rooms/{name}")
                config = _checked_room(room, room_url)
                properties = _token_properties(unquote(name), user_id, user_name)
                properties["exp"] = int(time.time() + _lifetime_secs(config, expiry_secs))
                answer = await self._ask(
                    http, "POST", "/meeting-tokens", {"properties": properties}
                )
                token: object = answer.get("token")
                if isinstance(token, str) and token.strip():
                    return token, _obstacles(config, room_url)
                failure = RoomTokenError("Daily's answer holds no token.", remedy=_WRONG_SERVER)
        except RoomTokenError as error:
            failure = error.with_traceback(None)  # its frames hold what Daily said
        except TimeoutError:
            failure = RoomTokenError(
                f"Daily did not answer within {timeout_secs:g} s, so there is no token for the "
                "avatar.",
                remedy="Check the network, and try again later.",
            )
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = RoomTokenError(
                f"Daily made no token for {room_url}: {type(error).__name__}: "
                f"{self._quoted(str(error))}",
                remedy=_WRONG_SERVER,
            )
        # Unchained: aiohttp's exceptions hold the request's headers, and with them the key.
        raise failure from None

    async def _ask(
        self,
        http: aiohttp.ClientSession,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        async with http.request(
            method,
            f"{self.url}{path}",
            headers={"Authorization": f"Bearer {self.api_key}"},
            json=body,
            allow_redirects=False,
        ) as response:
            text = (await _read(response)).decode(errors="replace")
            if response.status != 200:
                raise self._refusal(response.status, path, text)
        answer: object = json.loads(text)
        if not isinstance(answer, dict):
            raise RoomTokenError("Daily's answer is not a JSON object.", remedy=_WRONG_SERVER)
        return cast("dict[str, Any]", answer)

    def _refusal(self, status: int, path: str, text: str) -> RoomTokenError:
        words = self._quoted(text)
        if status in (401, 403):
            return RoomTokenError(f"Daily refuses the key ({status}: {words}).", remedy=_WRONG_KEY)
        if status == 404 and path.startswith("/rooms/"):
            return RoomTokenError(f"Daily does not know the room ({words}).", remedy=_WRONG_ROOM)
        remedy = _WRONG_SERVER
        if 400 <= status < 500:
            remedy = (
                "See Daily's words; a token that you make yourself may do: DailyRoom(url, token)."
            )
        return RoomTokenError(f"Daily made no token ({status}: {words}).", remedy=remedy)

    def _quoted(self, text: str) -> str:
        return quoted(text, lambda foreign: redact(foreign, self.api_key)) or "no words"


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read an answer, and no more of it than an honest one has."""
    body = bytearray()
    async for chunk in response.content.iter_chunked(65536):
        body += chunk
        if len(body) > _MAX_ANSWER_BYTES:
            raise RoomTokenError("Daily's answer has no end.", remedy=_WRONG_SERVER)
    return bytes(body)


def _checked_room(room: Mapping[str, Any], asked_url: str) -> Mapping[str, Any]:
    """Check that it is the room that was asked for; returns its settings."""
    known_url: object = room.get("url")
    config: object = room.get("config")
    if not isinstance(known_url, str) or not isinstance(config, dict):
        raise RoomTokenError("Daily's answer describes no room.", remedy=_WRONG_SERVER)
    asked, known = (urlsplit(url).hostname or "" for url in (asked_url, known_url))
    # One of the same name in another domain: the key's, but not the URL's. A custom domain may
    # be known under its own name or under Daily's.
    if asked.endswith(_DAILY_DOMAIN) and known.endswith(_DAILY_DOMAIN) and asked != known:
        raise RoomTokenError(
            f"The Daily API key belongs to {known}, and the room to {asked}.", remedy=_WRONG_ROOM
        )
    return cast("dict[str, Any]", config)


def _lifetime_secs(config: Mapping[str, Any], asked_secs: float | None) -> float:
    expires_at = _number(config.get("exp"))
    left_secs = expires_at - time.time() if expires_at else None
    if left_secs is not None and left_secs <= 0:
        raise RoomTokenError("The Daily room has expired.", remedy="Create a new room.")
    return asked_secs or left_secs or TOKEN_EXPIRY_SECS


def _token_properties(room_name: str, user_id: str, user_name: str) -> dict[str, Any]:
    return {
        "room_name": room_name,
        "user_id": user_id,
        "user_name": user_name,
        "is_owner": False,
        "eject_at_token_exp": False,
        # Said and not left out: a room's own settings would mute the avatar otherwise.
        "start_audio_off": False,
        "start_video_off": False,
        "enable_screenshare": False,
        "start_cloud_recording": False,
        "permissions": {
            "hasPresence": True,
            "canSend": ["audio", "video"],
            "canAdmin": False,
        },
    }


def _obstacles(config: Mapping[str, Any], room_url: str) -> list[str]:
    """What a room's settings may do to an avatar, each with its consequence and remedy."""
    found: list[str] = []
    seats = _number(config.get("max_participants"))
    if seats and seats < FEWEST_SEATS:
        found.append(
            f"The Daily room {room_url} takes {seats:g} participants (max_participants). With the "
            "bot and whoever talks it is full, and the avatar stays outside while its session is "
            f"billed. Set max_participants to {FEWEST_SEATS} at least."
        )
    opens_at = _number(config.get("nbf"))
    if opens_at and opens_at > time.time():
        found.append(
            f"The Daily room {room_url} opens in {opens_at - time.time():.0f} s (nbf). Until then "
            "the avatar cannot join it, and its session is billed all the same. Start the "
            "bot when the room is open, or remove nbf."
        )
    if config.get("owner_only_broadcast") is True:
        found.append(
            f"In the Daily room {room_url} only owners may send (owner_only_broadcast), and the "
            "avatar is none: people may neither see nor hear it. Turn owner_only_broadcast off, "
            "and limit what the others may send by their permissions."
        )
    if _receives_not_everybody(config.get("permissions")):
        found.append(
            f"In the Daily room {room_url} people do not receive everybody (permissions, "
            "canReceive): they may neither see nor hear the avatar. Allow them to receive its "
            "user id; docs/guides/permissions.md says how."
        )
    return found


def _receives_not_everybody(permissions: object) -> bool:
    if not isinstance(permissions, dict):
        return False
    receive: object = cast("dict[str, Any]", permissions).get("canReceive")
    if not isinstance(receive, dict):
        return receive is False
    base: object = cast("dict[str, Any]", receive).get("base")
    if isinstance(base, dict):
        media = cast("dict[str, Any]", base)
        return any(media.get(medium) is False for medium in ("audio", "video"))
    return base is False


def _number(value: object) -> float | None:
    """A setting that should be a number; what is none counts as not set."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None
