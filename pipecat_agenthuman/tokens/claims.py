"""What the token of a room says of itself, and what is wrong with it for an avatar. Pure.

Daily's meeting tokens and LiveKit's access tokens are JSON Web Tokens: whoever holds one can
read it. Nothing is verified here, as only the room's own server can. A token that cannot be read
is left to that server. No text here quotes a token.

Daily names the claims in "Self-signing meeting tokens": ``r`` room, ``ud`` user id, ``u`` user
name, ``o`` owner, ``p`` permissions. LiveKit's are ``sub`` for the identity, ``name``, and
``video`` for the grants.
"""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import unquote, urlsplit

TOKEN_EXPIRY_SECS: Final = 6 * 60 * 60.0
"""How long a token lives if neither the caller nor the room says. It is needed for joining
only, but a session renewed late in a call joins with it again."""

_NEEDED_AT_DAILY: Final = {"a": "audio", "v": "video"}
_NEEDED_AT_LIVEKIT: Final = ("camera", "microphone")
_POWERS: Final = {
    "roomAdmin": "an administrator of the room",
    "agent": "a worker for agents",  # as Pipecat's runner makes them for bots
}


@dataclass(frozen=True, slots=True)
class TokenClaims:
    """What a token says of itself.

    Attributes:
        user_id: Identifier of whoever joins with it: ``user_id`` at Daily, ``identity`` at
            LiveKit.
        user_name: Their display name.
        room_name: The only room that it opens, or None.
        begins_at: Unix time before which it opens nothing, or None.
        expires_at: Unix time from which on it opens nothing any more, or None.
        powers: What its holder is besides a participant, in words, or empty.
        lacks: What an avatar needs and the token forbids, in words, or empty.
        forbids_data: Whether its holder may not send data messages, which an avatar may need.
    """

    user_id: str | None = None
    user_name: str | None = None
    room_name: str | None = None
    begins_at: float | None = None
    expires_at: float | None = None
    powers: str = ""
    lacks: str = ""
    forbids_data: bool = False


@dataclass(frozen=True, slots=True)
class TokenFault:
    """Something that is wrong with a token, in words for whoever uses it.

    Attributes:
        problem: What is wrong, and what it means for the call.
        remedy: What to do about it.
        bars: Whether the avatar cannot join, or not be seen and heard, for certain.
    """

    problem: str
    remedy: str
    bars: bool

    def __str__(self) -> str:
        """Both, for the log."""
        return f"{self.problem} {self.remedy}"


_CLOCK_SKEW_SECS: Final = 60.0
"""Clocks differ; servers allow for as much."""

# --- reading -----------------------------------------------------------------------------


def read_daily_token(token: str) -> TokenClaims | None:
    """Read a Daily meeting token; None if it cannot be read."""
    claims = _claims(token)
    if claims is None:
        return None
    return TokenClaims(
        user_id=_text(claims.get("ud")),
        user_name=_text(claims.get("u")),
        room_name=_text(claims.get("r")),
        begins_at=_time(claims.get("nbf")),
        expires_at=_time(claims.get("exp")),
        powers="an owner of the room" if claims.get("o") is True else "",
        lacks=_lacks_at_daily(_mapping(claims.get("p")).get("cs")),
    )


def read_livekit_token(token: str) -> TokenClaims | None:
    """Read a LiveKit access token; None if it cannot be read."""
    claims = _claims(token)
    if claims is None:
        return None
    grants = _mapping(claims.get("video"))
    return TokenClaims(
        user_id=_text(claims.get("sub")),
        user_name=_text(claims.get("name")),
        room_name=_text(grants.get("room")),
        begins_at=_time(claims.get("nbf")),
        expires_at=_time(claims.get("exp")),
        powers=next((words for grant, words in _POWERS.items() if grants.get(grant) is True), ""),
        lacks=_lacks_at_livekit(grants),
        forbids_data=grants.get("canPublishData") is False,
    )


def _claims(token: str) -> dict[str, Any] | None:
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        claims: object = json.loads(base64.urlsafe_b64decode(padded))
    except (binascii.Error, ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", claims) if isinstance(claims, dict) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value.strip() else None


def _time(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if value > 0 else None


def _lacks_at_daily(may_send: object) -> str:
    """``cs``: everything, nothing, or a list like ``v,a``."""
    if may_send is False:
        allowed = set[str]()
    elif isinstance(may_send, str):
        allowed = {medium.strip() for medium in may_send.split(",")}
    else:
        return ""
    forbidden = [name for medium, name in _NEEDED_AT_DAILY.items() if medium not in allowed]
    return f"to send {' and '.join(forbidden)}" if forbidden else ""


def _lacks_at_livekit(grants: Mapping[str, Any]) -> str:
    """Publishing and data are allowed unless a token says otherwise, joining is not."""
    sources: object = grants.get("canPublishSources")
    lacks: list[str] = []
    if grants.get("roomJoin") is not True:
        lacks.append("to join")
    if isinstance(sources, list) and sources:
        allowed = cast("list[object]", sources)
        missing = [source for source in _NEEDED_AT_LIVEKIT if source not in allowed]
        lacks += [f"to publish its {source}" for source in missing]
    elif grants.get("canPublish") is False:
        lacks.append("to publish")
    if grants.get("hidden") is True:
        lacks.append("to be seen by others")
    return ", ".join(lacks)


# --- judging -----------------------------------------------------------------------------


def faults(
    claims: TokenClaims, *, make: str, room_url: str = "", now: float | None = None
) -> list[TokenFault]:
    """Judge a token that is meant for an avatar; the worst comes first.

    Args:
        claims: What it says.
        make: What makes a right one, for the remedy: ``await DailyRoom.mint(url)``.
        room_url: URL of the room if that names it, as Daily's do.
        now: Unix time; unset, the clock's.

    Returns:
        What is wrong with it.
    """
    now = time.time() if now is None else now
    found: list[TokenFault] = []
    wanted = unquote(urlsplit(room_url).path.strip("/"))
    make_one = f"Make one for the avatar: {make}."
    if claims.expires_at is not None and claims.expires_at <= now:
        found.append(
            TokenFault(
                "The avatar's room token has expired: the avatar cannot join, and its session is "
                "billed all the same.",
                f"Make a new one for each call: {make}.",
                bars=True,
            )
        )
    if claims.begins_at is not None and claims.begins_at > now + _CLOCK_SKEW_SECS:
        found.append(
            TokenFault(
                f"The avatar's room token becomes valid in {claims.begins_at - now:.0f} s: until "
                "then the avatar cannot join, and its session is billed all the same.",
                "Start the session then, or make a token that is valid at once.",
                bars=True,
            )
        )
    if wanted and claims.room_name is not None and claims.room_name != wanted:
        found.append(
            TokenFault(
                f"The avatar's room token is for the room {claims.room_name!r}, not for "
                f"{wanted!r}: the avatar cannot join.",
                f"Make one for this room: {make}.",
                bars=True,
            )
        )
    if claims.lacks:
        found.append(
            TokenFault(
                f"The avatar's room token does not allow it {claims.lacks}: people would not see "
                "and hear it as they should.",
                make_one,
                bars=True,
            )
        )
    if claims.forbids_data:
        found.append(
            TokenFault(
                "The avatar's room token forbids data messages: the avatar may need them, and then "
                "people do not see it.",
                make_one,
                bars=False,
            )
        )
    if claims.powers:
        found.append(
            TokenFault(
                f"The avatar's room token makes its holder {claims.powers}, so it is probably the "
                "bot's own. Two who join with one token cannot be told apart, and one may put the "
                "other out.",
                make_one,
                bars=False,
            )
        )
    if claims.user_id is None:
        found.append(
            TokenFault(
                "The avatar's room token names no user id, so nothing tells the avatar from a "
                "person for certain: the bot may greet it, listen to it and wait for it in vain.",
                make_one,
                bars=False,
            )
        )
    return found
