"""Who the avatar is among the participants of a room, whatever kind of room it is."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

AVATAR_USER_ID: Final = "agenthuman-avatar"
"""How the ids of all avatars begin whose tokens ``mint`` makes: ``user_id`` at Daily,
``identity`` at LiveKit."""

AVATAR_USER_NAME: Final = "Agent Human avatar"
"""Name of the avatar's participant."""

_RANDOM_BYTES: Final = 8


def fresh_avatar_id() -> str:
    """Make an id that no other avatar has; it fits into the 36 characters of Daily."""
    return f"{AVATAR_USER_ID}-{secrets.token_hex(_RANDOM_BYTES)}"


@dataclass(frozen=True)
class AvatarIdentity:
    """How to tell the avatar from the other participants of a room.

    The id decides alone as soon as there is one: only a token can set it, so nobody can pass
    for the avatar. A display name is free for everybody to choose, so the name is looked at
    only when ``user_id`` is None. Use that for a token that was minted elsewhere with a name
    alone, in a room whose members you trust.

    A room knows who its avatar is: pass ``avatar=room.identity`` to the transport. Then exactly
    this avatar is the bot's, through all renewals of its session, and the avatar of another bot
    counts as another bot does.

    The default is every avatar whose token ``DailyRoom.mint`` or ``LiveKitRoom.mint`` made:
    their ids begin alike. It is right for a room in which one bot has an avatar. With neither id
    nor name no participant is recognised.

    Attributes:
        user_id: The avatar's id in its token, or None: ``user_id`` at Daily, ``identity`` at
            LiveKit.
        user_name: The avatar's name in its token, or None. Ignored when there is a
            ``user_id``.
    """

    user_id: str | None = AVATAR_USER_ID
    user_name: str | None = AVATAR_USER_NAME

    @property
    def is_empty(self) -> bool:
        """Whether nobody can be recognised by it."""
        return not (self.user_id or self.user_name)

    @property
    def whole_user_id(self) -> str | None:
        """The id that the avatar has, if more is known of it than how it begins."""
        return None if self.user_id == AVATAR_USER_ID else self.user_id

    def fits(self, user_id: str | None, user_name: str | None) -> bool:
        """Tell whether a participant is the avatar.

        Args:
            user_id: The participant's id, as its token set it.
            user_name: The participant's display name.
        """
        if self.user_id == AVATAR_USER_ID:
            return (user_id or "").startswith(AVATAR_USER_ID)
        if self.user_id:
            return user_id == self.user_id
        return bool(self.user_name) and user_name == self.user_name
