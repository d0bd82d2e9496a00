"""Where the avatar joins, and with which token.

A room is a value: a URL and the avatar's own token. ``mint`` makes that token, with a name and
an identifier of ours, so that the avatar can be told from people; nobody documents how the
service would name it otherwise.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal, Self, cast
from urllib.parse import urlsplit

import aiohttp

from pipecat_agenthuman._arguments import check_secs, check_text
from pipecat_agenthuman._credentials import check_secret, check_url, quoted, redact
from pipecat_agenthuman._environment import (
    DAILY_API_KEY,
    DAILY_API_URL,
    LIVEKIT_API_KEY,
    LIVEKIT_API_SECRET,
)
from pipecat_agenthuman.errors import RoomTokenError
from pipecat_agenthuman.identity import AVATAR_USER_ID, AVATAR_USER_NAME

if TYPE_CHECKING:
    from pipecat.transports.daily.utils import DailyMeetingTokenParams, DailyRESTHelper

TOKEN_EXPIRY_SECS: Final = 6 * 60 * 60.0
"""How long a token lives if neither the caller nor the room says. It is needed for joining
only, but a session renewed late in a call joins with it again."""

MINT_TIMEOUT_SECS: Final = 15.0
"""Limit of asking Daily for a token: two short requests."""

_MAX_DAILY_USER_ID_CHARS: Final = 36
_DAILY_DOMAIN: Final = ".daily.co"


@dataclass(frozen=True)
class DailyRoom:
    """A Daily room.

    Attributes:
        url: ``https://<domain>.daily.co/<room>``, or the same at a custom domain. Plain http
            is allowed on loopback only.
        token: The avatar's own meeting token; the service requires one in public rooms too.
            Never shown in a ``repr``.
    """

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _daily_url(self.url))
        token = _checked_token(self.token, make="await DailyRoom.mint(url)")
        object.__setattr__(self, "token", token)

    @property
    def platform(self) -> Literal["daily"]:
        """What the service calls this kind of room."""
        return "daily"

    @classmethod
    async def mint(
        cls,
        url: str,
        *,
        api_key: str | None = None,
        api_url: str | None = None,
        aiohttp_session: aiohttp.ClientSession | None = None,
        user_id: str = AVATAR_USER_ID,
        user_name: str = AVATAR_USER_NAME,
        expiry_secs: float | None = None,
        timeout_secs: float = MINT_TIMEOUT_SECS,
    ) -> Self:
        """Make the avatar's meeting token through Daily's REST API.

        The token lets its holder join this one room, send audio and video, and do nothing
        else: no owner's rights, no screen sharing, no recording.

        Args:
            url: The room's URL. The room must exist.
            api_key: Daily API key of the room's domain; unset, ``DAILY_API_KEY``.
            api_url: Base URL of Daily's REST API; unset, ``DAILY_API_URL``, then Daily's own.
            aiohttp_session: An aiohttp session to use; it is not closed. Unset, one is made.
            user_id: Identifier that Daily gives the participant, at most 36 characters.
            user_name: Name that Daily gives the participant.
            expiry_secs: Seconds in which the token lets the avatar join; unset, as long as the
                room exists, or ``TOKEN_EXPIRY_SECS`` if that has no end.
            timeout_secs: Limit of the whole, in seconds.

        Returns:
            The room with its token.

        Raises:
            ValueError: If an argument or variable is missing or cannot be right; nothing has
                been sent then.
            RoomTokenError: If Daily does not know the room, refuses, or does not answer.
        """
        room_url = _daily_url(url)
        key = DAILY_API_KEY.key(api_key)
        base_url = DAILY_API_URL.url(api_url)
        check_text("user_id", user_id, remedy=_NAMELESS)
        check_text("user_name", user_name, remedy=_NAMELESS)
        if expiry_secs is not None:
            check_secs("expiry_secs", expiry_secs, positive=True)
        check_secs("timeout_secs", timeout_secs, positive=True)
        if len(user_id) > _MAX_DAILY_USER_ID_CHARS:
            raise ValueError(f"user_id must have at most {_MAX_DAILY_USER_ID_CHARS} characters.")
        async with AsyncExitStack() as stack:
            http = aiohttp_session or await stack.enter_async_context(
                aiohttp.ClientSession(trust_env=base_url.startswith("https:"))
            )
            daily = _daily_rest(key, base_url, http)
            token = await _daily_token(
                daily, room_url, user_id, user_name, expiry_secs, timeout_secs
            )
        return cls(room_url, token)


@dataclass(frozen=True)
class LiveKitRoom:
    """A LiveKit room.

    Attributes:
        url: WebSocket URL of the LiveKit server, ``wss://…``; ``ws://`` on loopback only.
        token: The avatar's own JWT, which also names the room. Never shown in a ``repr``.
    """

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", _livekit_url(self.url))
        token = _checked_token(self.token, make="await LiveKitRoom.mint(url, room_name=…)")
        object.__setattr__(self, "token", token)

    @property
    def platform(self) -> Literal["livekit"]:
        """What the service calls this kind of room."""
        return "livekit"

    @classmethod
    async def mint(
        cls,
        url: str,
        *,
        room_name: str,
        api_key: str | None = None,
        api_secret: str | None = None,
        identity: str = AVATAR_USER_ID,
        name: str = AVATAR_USER_NAME,
        expiry_secs: float = TOKEN_EXPIRY_SECS,
    ) -> Self:
        """Sign the avatar's token. Needs ``pipecat-agenthuman[livekit]``, and no network.

        The token lets its holder join this one room and publish camera and microphone. It may
        not send data messages, nor administer or record.

        Args:
            url: WebSocket URL of the LiveKit server.
            room_name: The room to join.
            api_key: LiveKit API key; unset, ``LIVEKIT_API_KEY``.
            api_secret: LiveKit API secret; unset, ``LIVEKIT_API_SECRET``.
            identity: Identity of the participant.
            name: Name of the participant.
            expiry_secs: Seconds in which the token lets the avatar join.

        Returns:
            The room with its token.

        Raises:
            ValueError: If an argument or variable is missing or cannot be right.
            RoomTokenError: If LiveKit's ``api`` package is not installed.
        """
        server_url = _livekit_url(url)
        check_text("room_name", room_name, remedy="Pass the name of the LiveKit room.")
        key = LIVEKIT_API_KEY.key(api_key)
        secret = LIVEKIT_API_SECRET.key(api_secret)
        check_text("identity", identity, remedy=_NAMELESS)
        check_text("name", name, remedy=_NAMELESS)
        check_secs("expiry_secs", expiry_secs, positive=True)
        api = _livekit_api()
        grants = api.VideoGrants(
            room_join=True,
            room=room_name,
            can_publish=True,
            can_publish_sources=["camera", "microphone"],
            can_publish_data=False,
        )
        signed = api.AccessToken(key, secret).with_identity(identity).with_name(name)
        token = signed.with_ttl(timedelta(seconds=expiry_secs)).with_grants(grants).to_jwt()
        return cls(server_url, token)


# --- arguments ---------------------------------------------------------------------------

_NAMELESS: Final = (
    "The avatar needs an identifier and a name in the room: without them it cannot be told from "
    "people."
)


def _daily_url(url: str) -> str:
    checked = _room_url(url, scheme="https")
    if not urlsplit(checked).path.strip("/"):
        raise ValueError(
            "url names no room: a Daily room looks like https://your-domain.daily.co/room."
        )
    return checked


def _livekit_url(url: str) -> str:
    return _room_url(url, scheme="wss")


def _room_url(url: str, *, scheme: str) -> str:
    checked = check_url(url, name="url", scheme=scheme)
    parts = urlsplit(checked)
    if parts.query or parts.fragment:
        # Not quoted: Daily's own links carry the token as ?t=.
        raise ValueError("url must end with its path: pass what follows ?t= as token instead.")
    return checked


def _checked_token(token: str, *, make: str) -> str:
    remedy = f"The service requires one for the avatar: use {make}."
    return check_secret(token, name="token", remedy=remedy)


# --- tokens ------------------------------------------------------------------------------


def _daily_rest(api_key: str, api_url: str, http: aiohttp.ClientSession) -> DailyRESTHelper:
    # Here and not at the top: a room whose token exists already needs no Pipecat.
    from pipecat.transports.daily.utils import DailyRESTHelper

    return DailyRESTHelper(daily_api_key=api_key, daily_api_url=api_url, aiohttp_session=http)


async def _daily_token(
    daily: DailyRESTHelper,
    room_url: str,
    user_id: str,
    user_name: str,
    expiry_secs: float | None,
    timeout_secs: float,
) -> str:
    try:
        async with asyncio.timeout(timeout_secs):
            room = await daily.get_room_from_url(room_url)
            _check_domain(room_url, room.url)
            answered = await daily.get_token(
                room_url,
                expiry_time=_expiry_secs(room.config.exp, expiry_secs),
                owner=False,
                params=_daily_permissions(user_id, user_name),
            )
            token = cast("object", answered)  # what Daily sent, whatever Pipecat declares
            if isinstance(token, str) and token.strip():
                return token
            failure = RoomTokenError("Daily's answer holds no token.", remedy=_DAILY_REMEDY)
    except RoomTokenError as error:
        failure = error
    except TimeoutError:
        failure = RoomTokenError(
            f"Daily did not answer within {timeout_secs:g} s.", remedy="Try again later."
        )
    except Exception as error:  # noqa: BLE001 - Pipecat's client raises nothing narrower
        words = quoted(str(error), lambda text: redact(text, daily.daily_api_key))
        failure = RoomTokenError(
            f"Daily made no token for {room_url}: {type(error).__name__}: {words}",
            remedy=_DAILY_REMEDY,
        )
    # Unchained: aiohttp's exceptions hold the request's headers, and with them the key.
    raise failure from None


_DAILY_REMEDY: Final = (
    "Check that the room exists, and that api_key or DAILY_API_KEY belongs to its domain."
)


def _check_domain(asked_url: str, known_url: str) -> None:
    """Refuse a room of the same name in another domain: the key's, but not the URL's."""
    asked, known = (urlsplit(url).hostname or "" for url in (asked_url, known_url))
    # A custom domain may be known under its own name or under Daily's.
    if asked.endswith(_DAILY_DOMAIN) and known.endswith(_DAILY_DOMAIN) and asked != known:
        raise RoomTokenError(
            f"The Daily API key belongs to {known}, and the room to {asked}.",
            remedy=_DAILY_REMEDY,
        )


def _expiry_secs(room_exp: float | None, asked_secs: float | None) -> float:
    left_secs = room_exp - time.time() if room_exp else None
    if left_secs is not None and left_secs <= 0:
        raise RoomTokenError("The Daily room has expired.", remedy="Create a new room.")
    return asked_secs or left_secs or TOKEN_EXPIRY_SECS


def _daily_permissions(user_id: str, user_name: str) -> DailyMeetingTokenParams:
    from pipecat.transports.daily.utils import (
        DailyMeetingTokenParams,
        DailyMeetingTokenProperties,
    )

    return DailyMeetingTokenParams(
        properties=DailyMeetingTokenProperties(
            user_id=user_id,
            user_name=user_name,
            # Said and not left out: a room's own settings would mute the avatar otherwise.
            start_audio_off=False,
            start_video_off=False,
            enable_screenshare=False,
            start_cloud_recording=False,
            permissions={
                "hasPresence": True,
                "canSend": ["audio", "video"],
                "canAdmin": False,
            },
        )
    )


def _livekit_api() -> Any:
    try:
        from livekit import api  # pyright: ignore
    except ImportError:
        raise RoomTokenError(
            "LiveKit's api package is not installed.",
            remedy="Install pipecat-agenthuman[livekit].",
        ) from None
    return api  # pyright: ignore
