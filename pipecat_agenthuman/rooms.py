"""Where the avatar joins, with which token, and as whom.

A room is a value: a URL, the avatar's own token, and the identity that this token gives it.
``mint`` makes the token, with an identity of its own for each call, so that the avatar can be
told from people, and from the avatars of other bots; nobody documents how the service would
name it otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal, Self
from urllib.parse import urlsplit

import aiohttp
from loguru import logger

from pipecat_agenthuman._arguments import check_kind, check_secs, check_text
from pipecat_agenthuman._credentials import check_secret, check_url
from pipecat_agenthuman._environment import (
    DAILY_API_KEY,
    DAILY_API_URL,
    LIVEKIT_API_KEY,
    LIVEKIT_API_SECRET,
)
from pipecat_agenthuman.identity import AVATAR_USER_NAME, AvatarIdentity, fresh_avatar_id
from pipecat_agenthuman.tokens.claims import (
    TOKEN_EXPIRY_SECS,
    TokenClaims,
    faults,
    read_daily_token,
    read_livekit_token,
)
from pipecat_agenthuman.tokens.daily import DailyRest
from pipecat_agenthuman.tokens.livekit import sign_livekit_token

MINT_TIMEOUT_SECS: Final = 15.0
"""Limit of asking Daily for a token: two short requests."""

_MAX_DAILY_USER_ID_CHARS: Final = 36
_NOT_SAID: Final = AvatarIdentity()


@dataclass(frozen=True)
class DailyRoom:
    """A Daily room.

    Attributes:
        url: ``https://<domain>.daily.co/<room>``, or the same at a custom domain. Plain http
            is allowed on loopback only.
        token: The avatar's own meeting token; the service requires one in public rooms too.
            Never shown in a ``repr``.
        identity: As whom the avatar joins; unset, what the token says of it. For the transport:
            ``AgentHumanDailyTransport(..., avatar=room.identity)``.
    """

    url: str
    token: str = field(repr=False)
    identity: AvatarIdentity = _NOT_SAID

    def __post_init__(self) -> None:
        """Check the parts, and warn of a token that is not made for an avatar."""
        url = _daily_url(self.url)
        object.__setattr__(self, "url", url)
        _take_token(self, read_daily_token, make="await DailyRoom.mint(url)", room_url=url)

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
        user_id: str | None = None,
        user_name: str = AVATAR_USER_NAME,
        expiry_secs: float | None = None,
        timeout_secs: float = MINT_TIMEOUT_SECS,
    ) -> Self:
        """Make the avatar's meeting token through Daily's REST API.

        The token lets its holder join this one room, send audio and video, and do nothing
        else: no owner's rights, no screen sharing, no recording. A warning is logged for each
        setting of the room that may keep the avatar out or mute it.

        Args:
            url: The room's URL. The room must exist.
            api_key: Daily API key of the room's domain; unset, ``DAILY_API_KEY``.
            api_url: Base URL of Daily's REST API; unset, ``DAILY_API_URL``, then Daily's own.
            aiohttp_session: An aiohttp session to use; it is not closed. Unset, one is made.
            user_id: Identifier that Daily gives the participant, at most 36 characters. Unset,
                a new one, so that two avatars in one room are told apart.
            user_name: Name that Daily gives the participant.
            expiry_secs: Seconds in which the token lets the avatar join; unset, as long as the
                room exists, or ``TOKEN_EXPIRY_SECS`` if that has no end.
            timeout_secs: Limit of the whole, in seconds.

        Returns:
            The room with its token and the avatar's identity. Sessions that are renewed join
            with the same.

        Raises:
            ValueError: If an argument or variable is missing or cannot be right; nothing has
                been sent then.
            RoomTokenError: If Daily does not know the room, refuses, or does not answer.
        """
        room_url = _daily_url(url)
        rest = DailyRest(DAILY_API_URL.url(api_url), DAILY_API_KEY.key(api_key))
        identity = _identity("user_id", user_id, "user_name", user_name)
        if expiry_secs is not None:
            check_secs("expiry_secs", expiry_secs, positive=True)
        check_secs("timeout_secs", timeout_secs, positive=True)
        if len(identity.user_id or "") > _MAX_DAILY_USER_ID_CHARS:
            raise ValueError(f"user_id must have at most {_MAX_DAILY_USER_ID_CHARS} characters.")
        token, obstacles = await rest.mint(
            room_url,
            user_id=identity.user_id or "",
            user_name=user_name,
            expiry_secs=expiry_secs,
            timeout_secs=timeout_secs,
            http=aiohttp_session,
        )
        for obstacle in obstacles:
            logger.warning(obstacle)
        return cls(room_url, token, identity)


@dataclass(frozen=True)
class LiveKitRoom:
    """A LiveKit room.

    Attributes:
        url: WebSocket URL of the LiveKit server, ``wss://…``; ``ws://`` on loopback only.
        token: The avatar's own JWT, which also names the room. Never shown in a ``repr``.
        identity: As whom the avatar joins; unset, what the token says of it. For the transport:
            ``AgentHumanLiveKitTransport(..., avatar=room.identity)``.
    """

    url: str
    token: str = field(repr=False)
    identity: AvatarIdentity = _NOT_SAID

    def __post_init__(self) -> None:
        """Check the parts, and warn of a token that is not made for an avatar."""
        object.__setattr__(self, "url", _livekit_url(self.url))
        _take_token(self, read_livekit_token, make="await LiveKitRoom.mint(url, room_name=…)")

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
        identity: str | None = None,
        name: str = AVATAR_USER_NAME,
        bot_identity: str | None = None,
        expiry_secs: float = TOKEN_EXPIRY_SECS,
    ) -> Self:
        """Sign the avatar's token. Needs ``pipecat-agenthuman[livekit]``, and no network.

        The token lets its holder join this one room as an agent, publish camera and microphone
        and send data messages, and do nothing else: it may not administer or record.

        Args:
            url: WebSocket URL of the LiveKit server.
            room_name: The room to join.
            api_key: LiveKit API key; unset, ``LIVEKIT_API_KEY``.
            api_secret: LiveKit API secret; unset, ``LIVEKIT_API_SECRET``.
            identity: Identity of the participant. Unset, a new one, so that two avatars in one
                room are told apart.
            name: Name of the participant.
            bot_identity: Identity of the bot in the room, which the avatar speaks for. LiveKit's
                clients then take the two for one.
            expiry_secs: Seconds in which the token lets the avatar join.

        Returns:
            The room with its token and the avatar's identity. Sessions that are renewed join
            with the same.

        Raises:
            ValueError: If an argument or variable is missing or cannot be right.
            RoomTokenError: If LiveKit's ``api`` package is not installed.
        """
        server_url = _livekit_url(url)
        check_text("room_name", room_name, remedy="Pass the name of the LiveKit room.")
        key = LIVEKIT_API_KEY.key(api_key)
        secret = LIVEKIT_API_SECRET.key(api_secret)
        avatar = _identity("identity", identity, "name", name)
        if bot_identity is not None:
            check_text("bot_identity", bot_identity, remedy="Pass the identity of the bot's token.")
            if bot_identity == avatar.user_id:
                raise ValueError(
                    "identity and bot_identity are the same: LiveKit puts out whoever joins first "
                    "under an identity. Leave identity out."
                )
        check_secs("expiry_secs", expiry_secs, positive=True)
        token = sign_livekit_token(
            key,
            secret,
            room_name=room_name,
            identity=avatar.user_id or "",
            name=name,
            bot_identity=bot_identity,
            expiry_secs=expiry_secs,
        )
        return cls(server_url, token, avatar)


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


def _identity(id_name: str, user_id: str | None, name_name: str, user_name: str) -> AvatarIdentity:
    """Check the identity that a token is to give, or make one."""
    check_text(name_name, user_name, remedy=_NAMELESS)
    if user_id is None:
        return AvatarIdentity(fresh_avatar_id(), user_name)
    check_text(id_name, user_id, remedy=_NAMELESS)
    return AvatarIdentity(user_id, user_name)


def _take_token(
    room: DailyRoom | LiveKitRoom,
    read: Callable[[str], TokenClaims | None],
    *,
    make: str,
    room_url: str = "",
) -> None:
    """Check a room's token, learn from it who the avatar is, and warn of what is wrong with it."""
    check_kind("identity", room.identity, AvatarIdentity)
    remedy = f"The service requires one for the avatar: use {make}."
    token = check_secret(room.token, name="token", remedy=remedy)
    object.__setattr__(room, "token", token)
    claims = read(token)
    if claims is None:
        return
    if room.identity == _NOT_SAID:
        object.__setattr__(room, "identity", AvatarIdentity(claims.user_id, claims.user_name))
    for fault in faults(claims, make=make, room_url=room_url):
        logger.warning(f"{type(room).__name__}: {fault}")
