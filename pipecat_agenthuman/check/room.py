"""Does the avatar get into its room? Asked of the room's own server, as far as that tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

import aiohttp

from pipecat_agenthuman._credentials import quoted, redact
from pipecat_agenthuman._environment import (
    DAILY_API_KEY,
    DAILY_ROOM_URL,
    LIVEKIT_API_KEY,
    LIVEKIT_API_SECRET,
    LIVEKIT_ROOM_NAME,
    LIVEKIT_URL,
)
from pipecat_agenthuman.check.environment import DailyAccess, LiveKitAccess
from pipecat_agenthuman.errors import RoomTokenError
from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom
from pipecat_agenthuman.tokens.claims import (
    TokenClaims,
    faults,
    read_daily_token,
    read_livekit_token,
)

ASK_TIMEOUT_SECS: Final = 10.0
"""One short request."""

_MADE_UP_URL: Final = "https://sandbox.daily.co/check"
_MADE_UP_TOKEN: Final = "made-up"
_WORDS_BYTES: Final = 2000


async def find_room(
    access: DailyAccess | LiveKitAccess | None,
) -> tuple[DailyRoom | LiveKitRoom, str]:
    """Make the room that the avatar is to join, with its token.

    Args:
        access: With what it gets in; None for a room that only the sandbox will see.

    Returns:
        The room, and what was found out about it.

    Raises:
        RoomTokenError: If the avatar would not get in.
    """
    try:
        match access:
            case None:
                room = DailyRoom(_MADE_UP_URL, _MADE_UP_TOKEN)
                return room, "made up: the sandbox takes any room and token"
            case DailyAccess():
                return await _find_daily_room(access)
            case LiveKitAccess():
                return await _find_livekit_room(access)
    except ValueError as error:
        named = LIVEKIT_URL if isinstance(access, LiveKitAccess) else DAILY_ROOM_URL
        raise RoomTokenError(f"{named.name}: {error}") from None


async def _find_daily_room(access: DailyAccess) -> tuple[DailyRoom, str]:
    if access.token:
        _judge(
            access.token,
            read_daily_token,
            make=f"set {DAILY_API_KEY.name}, and no token",
            url=access.url,
        )
        room = DailyRoom(access.url, access.token)
        return room, f"{room.url}, with the token that was given"
    room = await DailyRoom.mint(access.url, api_key=access.api_key, api_url=access.api_url)
    return room, f"{room.url}, with a token from Daily"


async def _find_livekit_room(access: LiveKitAccess) -> tuple[LiveKitRoom, str]:
    if access.token:
        claims = _judge(
            access.token,
            read_livekit_token,
            make=f"set {LIVEKIT_API_KEY.name} and {LIVEKIT_API_SECRET.name}, and no token",
        )
        room, name = LiveKitRoom(access.url, access.token), claims.room_name if claims else None
        if access.room_name and name is not None and name != access.room_name:
            raise RoomTokenError(
                f"The avatar's room token is for the room {name!r}, and {LIVEKIT_ROOM_NAME.name} "
                f"says {access.room_name!r}: the avatar would join another room than the bot.",
                remedy="Make one for this room.",
            )
        whose = "the token that was given"
    else:
        room = await LiveKitRoom.mint(
            access.url,
            room_name=access.room_name,
            api_key=access.api_key,
            api_secret=access.api_secret,
        )
        name, whose = access.room_name, "a token signed with the secret"
    where = room.url if name is None else f"{room.url}, room {name!r}"
    return room, f"{where}, with {whose}; {await _ask_livekit(room)}"


def _judge(
    token: str, read: Callable[[str], TokenClaims | None], *, make: str, url: str = ""
) -> TokenClaims | None:
    """Refuse a token with which the avatar does not get in; the rest the room warns of."""
    claims = read(token)
    for fault in faults(claims, make=make, room_url=url) if claims is not None else ():
        if fault.bars:
            raise RoomTokenError(fault.problem, remedy=fault.remedy)
    return claims


async def _ask_livekit(room: LiveKitRoom) -> str:
    """Ask LiveKit's server about a token, without joining; returns what it says.

    ``/rtc/validate`` is where LiveKit's clients ask why they were not let in.
    """
    server = urlsplit(room.url)
    scheme = "https" if server.scheme == "wss" else "http"
    url = f"{scheme}://{server.netloc}{server.path}/rtc/validate"
    try:
        async with (
            aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(ASK_TIMEOUT_SECS), trust_env=scheme == "https"
            ) as http,
            http.get(
                url, headers={"Authorization": f"Bearer {room.token}"}, allow_redirects=False
            ) as answer,
        ):
            said = (await answer.content.read(_WORDS_BYTES)).decode(errors="replace")
            status = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise RoomTokenError(
            f"LiveKit's server does not answer at {server.netloc} ({type(error).__name__}), so "
            "neither bot nor avatar would get in.",
            remedy=f"Check {LIVEKIT_URL.name} and the network.",
        ) from None
    if status in (401, 403):
        words = quoted(said, lambda text: redact(text, room.token)) or "no words"
        raise RoomTokenError(
            f"LiveKit's server refuses the avatar's token ({status}: {words}): the avatar would "
            "not get in.",
            remedy="Check that key and secret, or the token, belong to the project of this URL.",
        )
    if status == 200:
        return "its server takes it. Whether the room is full, only joining shows"
    return f"its server does not say whether it takes it ({status}); only joining shows"
