"""One session: what was asked for, what it costs, how it ended."""

from __future__ import annotations

import asyncio
import math
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Literal

from pipecat_agenthuman.sandbox.playback import Playback

Status = Literal["started", "ended"]

_SECS_PER_MINUTE: Final = 60


class Ending(StrEnum):
    """How a session came to its end."""

    END_REQUEST = "end request"
    CLIENT_CLOSED = "client closed the socket"
    SOCKET_LOST = "socket lost"
    SERVER_CLOSED = "server closed the socket"
    EXPIRED = "expired"
    NEVER_CONNECTED = "never connected"
    SWEPT = "without a client"
    SANDBOX_CLOSED = "sandbox closed"


@dataclass(frozen=True)
class SessionRoom:
    """The caller's room, where the avatar joins.

    Attributes:
        platform: "daily" or "livekit".
        url: Address of the room.
        token: The avatar's token for it; never shown in a ``repr``.
    """

    platform: str
    url: str
    token: str = field(repr=False)


@dataclass(frozen=True)
class SessionWish:
    """What a caller asks for when creating a session.

    Attributes:
        avatar: Identifier or picture of the avatar.
        aspect_ratio: "4:3", "3:4" or "1:1".
        room: Where the avatar joins.
        metadata: The caller's own JSON object.
    """

    avatar: str
    aspect_ratio: str
    room: SessionRoom
    metadata: dict[str, Any]


@dataclass(frozen=True)
class SandboxSession:
    """A session as it is at the moment of asking. All times are on the sandbox's clock.

    Attributes:
        id: Identifier, ``sess_…``.
        status: "started" or "ended".
        created_at: When it was created, in seconds.
        joins_at: When the avatar joins the room, in seconds; infinity for never.
        connected_at: When ``session.init`` was accepted, or None.
        ended_at: When it ended, or None.
        ended_by: How it ended, or None.
        end_requests: How often ``POST …/end`` was called, also after it had ended.
        wish: What the caller asked for.
        token: The session token; never shown in a ``repr``.
        server: Name of the server that alone knows it; None for the common one.
        expires_at: When it will end by itself, or None.
        avatar_in_room: Whether the avatar is in the room, and what it says is heard.
    """

    id: str
    status: Status
    created_at: float
    joins_at: float
    connected_at: float | None
    ended_at: float | None
    ended_by: Ending | None
    end_requests: int
    wish: SessionWish
    token: str = field(repr=False)
    server: str | None = None
    expires_at: float | None = None
    avatar_in_room: bool = False

    @property
    def avatar(self) -> str:
        """Identifier or picture of the avatar."""
        return self.wish.avatar

    @property
    def aspect_ratio(self) -> str:
        """Shape of the video."""
        return self.wish.aspect_ratio

    @property
    def metadata(self) -> dict[str, Any]:
        """The caller's own JSON object."""
        return self.wish.metadata

    @property
    def room_platform(self) -> str:
        """The room's platform: "daily" or "livekit"."""
        return self.wish.room.platform

    @property
    def room_url(self) -> str:
        """The room's address."""
        return self.wish.room.url

    @property
    def room_token(self) -> str:
        """The avatar's token for the room."""
        return self.wish.room.token


class LiveSession:
    """A session in its course. Changed by the sandbox's thread only, read from any."""

    def __init__(
        self,
        wish: SessionWish,
        playback: Playback,
        *,
        created_at: float,
        joins_at: float,
        expires_at: float | None = None,
        server: str | None = None,
    ) -> None:
        """Create a session; the account starts it.

        Args:
            wish: What the caller asks for.
            playback: The sound of its avatar.
            created_at: Now, in seconds on the sandbox's clock.
            joins_at: When the avatar joins the room, infinity for never.
            expires_at: When it ends by itself, None for never.
            server: Name of the server that alone knows it; None for the common one.
        """
        self.id = f"sess_{secrets.token_hex(12)}"
        self.token = secrets.token_urlsafe(32)
        self.wish = wish
        self.created_at = created_at
        self.joins_at = joins_at
        self.expires_at = expires_at
        self.connected_at: float | None = None
        self.ended_at: float | None = None
        self.ended_by: Ending | None = None
        self.end_requests = 0
        self.avatar_in_room = False
        self.server = server
        self.timers: list[asyncio.TimerHandle] = []
        self.playback = playback

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.ended_by is None

    def minutes(self, now: float) -> int:
        """Return the minutes it costs until ``now``: every minute begun counts."""
        until = now if self.ended_at is None else self.ended_at
        return max(1, math.ceil((until - self.created_at) / _SECS_PER_MINUTE))

    def snapshot(self) -> SandboxSession:
        """Return the session as it is now."""
        return SandboxSession(
            id=self.id,
            status="started" if self.is_live else "ended",
            created_at=self.created_at,
            joins_at=self.joins_at,
            connected_at=self.connected_at,
            ended_at=self.ended_at,
            ended_by=self.ended_by,
            end_requests=self.end_requests,
            wish=self.wish,
            token=self.token,
            server=self.server,
            expires_at=self.expires_at,
            avatar_in_room=self.avatar_in_room,
        )


def describe_session(session: SandboxSession, since: float) -> dict[str, Any]:
    """Return a session as JSON values, without its tokens.

    Args:
        session: The session.
        since: When the sandbox started; times are given relative to it.
    """

    def relative(at: float | None) -> float | None:
        return None if at is None or math.isinf(at) else round(at - since, 6)

    return {
        "session_id": session.id,
        "status": session.status,
        "created_at_secs": relative(session.created_at),
        "joins_at_secs": relative(session.joins_at),
        "connected_at_secs": relative(session.connected_at),
        "ended_at_secs": relative(session.ended_at),
        "expires_at_secs": relative(session.expires_at),
        "ended_by": session.ended_by,
        "end_requests": session.end_requests,
        "avatar": session.avatar[:80],
        "aspect_ratio": session.aspect_ratio,
        "room": {"platform": session.room_platform, "url": session.room_url.split("?")[0]},
        "metadata": session.metadata,
        "avatar_in_room": session.avatar_in_room,
    }
