"""In which room an output transport is heard, and whether that is the avatar's.

The avatar speaks in its room, whatever the bot's own transport is connected to. A caller who is
somewhere else hears nobody, so it must be known before the first word. Where it cannot be known,
nothing is said: an unknown transport, a server under two addresses.

No transport is imported to find out: Pipecat's own are known by the module of their class.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, cast
from urllib.parse import urlsplit

from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman.client.requests import Room
from pipecat_agenthuman.tokens.claims import read_livekit_token

_PIPECATS: Final = "pipecat.transports."

_ELSEWHERE: Final = {
    "heygen": "HeyGen's own room",
    "lemonslice": "LemonSlice's own room",
    "local": "this machine",
    "moq": "a MoQ relay",
    "smallwebrtc": "one peer, directly",
    "tavus": "Tavus's own room",
    "vonage": "a Vonage session",
    "websocket": "a WebSocket",
    "whatsapp": "a WhatsApp call",
}
"""Where Pipecat's transports play that are in no room which an avatar can join."""

_NAMES: Final = {"daily": "Daily", "livekit": "LiveKit"}

_REMEDIES: Final = {
    "daily": "Use AgentHumanDailyTransport in the avatar's room, and let the caller join it",
    "livekit": "Use AgentHumanLiveKitTransport in the avatar's room, and let the caller join it",
}


@dataclass(frozen=True, slots=True)
class _Address:
    """A room.

    Attributes:
        platform: ``daily`` or ``livekit``.
        url: Its URL, or that of its server.
        name: Its name, where the URL does not tell; empty if it is not known.
    """

    platform: str
    url: str
    name: str = ""

    @property
    def shown(self) -> str:
        """The room in words, free of secrets: a URL can carry a token, or a password."""
        name = f"{self.name!r} at " if self.name else ""
        url = self.url.partition("?")[0].partition("#")[0]
        scheme, _, rest = url.rpartition("://")
        url = f"{scheme}://{rest.rpartition('@')[2]}" if scheme else rest
        return f"the {_NAMES.get(self.platform, self.platform)} room {name}{url}"


def room_mismatch(room: Room, transport: BaseOutputTransport) -> tuple[str, str] | None:
    """Find out whether what an output transport plays is heard in the avatar's room.

    An attribute ``avatar_room`` of the transport decides, if there is one: the room in which
    its callers see and hear the avatar (a ``DailyRoom`` or the like), or None if they do not.

    Args:
        room: Where the avatar joins.
        transport: Where the bot speaks.

    Returns:
        What is wrong and what to do, as sentences; None if it is, or nobody can know.
    """
    avatars = _address_of(room)
    elsewhere = _elsewhere(transport)
    if elsewhere is not None:
        wrong = f"{transport} plays to {elsewhere}, and the avatar joins {avatars.shown}."
        remedy = _REMEDIES.get(room.platform, "Use a transport in the avatar's room")
        return wrong, (
            f"{remedy}. If callers see that room in another way, set avatar_room=room on the "
            "output transport."
        )
    bots = _address(transport)
    if bots is None or not _differ(avatars, bots):
        return None
    wrong = f"{transport} is in {bots.shown}, and the avatar joins {avatars.shown}."
    if bots.platform != avatars.platform:
        return wrong, (
            f"Give the service a room of the transport's: {_room_class(bots.platform)}, or "
            f"speak through a {_NAMES.get(avatars.platform, avatars.platform)} transport."
        )
    return wrong, "Give the transport and room= the same room, each with a token for it."


def _address_of(room: Room) -> _Address:
    """The address of a room; at LiveKit only the token names it."""
    return _Address(room.platform, room.url, _named_by(room.token))


def _named_by(token: str) -> str:
    """The room that a LiveKit token opens; empty if it names none."""
    claims = read_livekit_token(token)
    return (claims.room_name if claims else None) or ""


_UNSET: Final = object()


def _elsewhere(transport: BaseOutputTransport) -> str | None:
    """Where a transport plays that is in no room; None if it is in one, or nobody can know."""
    told = getattr(transport, "avatar_room", _UNSET)
    if told is not _UNSET:
        return "no room that the avatar can join" if told is None else None
    return _ELSEWHERE.get(_kind(transport))


def _address(transport: BaseOutputTransport) -> _Address | None:
    """The room of a transport; None if nobody can know."""
    told = cast("Room | None", getattr(transport, "avatar_room", None))
    if told is not None:
        return _address_of(told)
    client: object = getattr(transport, "_client", None)
    kind = _kind(transport)
    if kind == "daily":
        url = getattr(client, "room_url", None)
        return _Address(kind, url) if isinstance(url, str) and url else None
    if kind == "livekit":
        # The token decides which room that is; the name given beside it is for Pipecat's log.
        url, token = getattr(client, "_url", None), getattr(client, "_token", None)
        if isinstance(url, str) and isinstance(token, str):
            return _Address(kind, url, _named_by(token))
    return None


def _kind(transport: BaseOutputTransport) -> str:
    """Which of Pipecat's transports it is, or is made of; empty if none."""
    for base in type(transport).__mro__:
        if base is BaseOutputTransport:
            break
        if base.__module__.startswith(_PIPECATS):
            return base.__module__.removeprefix(_PIPECATS).partition(".")[0]
    return ""


def _room_class(platform: str) -> str:
    return "LiveKitRoom" if platform == "livekit" else "DailyRoom"


# --- the same room or not ----------------------------------------------------------------


def _differ(one: _Address, other: _Address) -> bool:
    """Whether two rooms are certainly not the same."""
    if one.platform != other.platform:
        return True
    if one.platform == "daily":
        return _daily_differ(one.url, other.url)
    return _servers_differ(one.url, other.url) or _names_differ(one.name, other.name)


def _daily_differ(one: str, other: str) -> bool:
    """By the room's name; and by the domain, unless one is under a domain of the customer's."""
    parts, others = urlsplit(one), urlsplit(other)
    if _names_differ(parts.path.strip("/").casefold(), others.path.strip("/").casefold()):
        return True
    hosts = {(parts.hostname or "").casefold(), (others.hostname or "").casefold()}
    return len(hosts) > 1 and all(host.endswith(".daily.co") for host in hosts)


def _servers_differ(one: str, other: str) -> bool:
    """Only LiveKit's cloud tells: its own server may have one name within a network, one outside.

    There the first part of the host is the project; regions follow it.
    """
    hosts = [(urlsplit(url).hostname or "").casefold() for url in (one, other)]
    if not all(host.endswith(".livekit.cloud") for host in hosts):
        return False
    return hosts[0].partition(".")[0] != hosts[1].partition(".")[0]


def _names_differ(one: str, other: str) -> bool:
    return bool(one and other) and one != other
