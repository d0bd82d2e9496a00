"""How a session's life is to end, and when something must be done about it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

NOTICE_SECS: Final = 30.0
"""How long before its end a session is replaced, which needs a pause, or its end is told, so that
a bot can say goodbye. Of a life of less than two minutes it is a quarter."""

EMPTY_ROOM_SECS: Final = 10.0
"""How long a session goes on when everybody has left the room: a page that is reloaded is back
before, and another session would cost another minute."""


class EndKind(StrEnum):
    """What comes at the end of a session's life."""

    REPLACED = "replaced"
    """Another one, before it expires."""

    EXPIRED = "expired"
    """The service ends it in the middle of the call."""

    CAPPED = "capped"
    """It is ended, because it may not live longer."""


@dataclass(frozen=True, slots=True)
class LifeEnd:
    """The end of a session's life.

    Attributes:
        kind: What comes then.
        in_secs: When.
        notice_secs: How long before that something is done about it.
    """

    kind: EndKind
    in_secs: float
    notice_secs: float


def life_end(
    *, expires_in_secs: float | None, capped_in_secs: float | None, replaces: bool
) -> LifeEnd | None:
    """Tell how a session's life is to end.

    Args:
        expires_in_secs: Seconds until the service ends it; None if it does not.
        capped_in_secs: Seconds until it may not go on; None if it always may.
        replaces: Whether it is replaced before it expires.

    Returns:
        Its end; None if none is set.
    """
    if capped_in_secs is not None and (expires_in_secs is None or capped_in_secs < expires_in_secs):
        kind, in_secs = EndKind.CAPPED, capped_in_secs
    elif expires_in_secs is not None:
        kind = EndKind.REPLACED if replaces else EndKind.EXPIRED
        in_secs = expires_in_secs
    else:
        return None
    in_secs = max(in_secs, 0.0)
    return LifeEnd(kind, in_secs, min(NOTICE_SECS, in_secs / 4))


class Stay:
    """How long the avatar has been there without a break, and how long it may be."""

    def __init__(self, limit_secs: float | None) -> None:
        """Begin with an avatar that is not there.

        Args:
            limit_secs: How long it may be there, replacements included; None for no limit.
        """
        self._limit_secs = limit_secs
        self._since: float | None = None

    def begin(self, now: float) -> None:
        """It is there; a replacement goes on where the one before ended."""
        if self._since is None:
            self._since = now

    def end(self) -> None:
        """There was a break: the next one begins anew."""
        self._since = None

    def left_secs(self, now: float) -> float | None:
        """Seconds until it may not be there any longer; None if it always may."""
        if self._limit_secs is None or self._since is None:
            return None
        return max(self._since + self._limit_secs - now, 0.0)
