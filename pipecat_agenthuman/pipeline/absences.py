"""What is told when somebody is not in the room who should be."""

from __future__ import annotations

from pipecat_agenthuman.errors import AvatarAbsentError, AvatarLeftError, BotRemovedError


def bot_removed(reason: str) -> BotRemovedError:
    """The bot itself is out of the room.

    Args:
        reason: Why, as the room reports it.
    """
    return BotRemovedError(
        f"The bot is not in the room ({reason}): it neither hears nor reaches anybody, so the "
        "avatar's session is ended.",
        remedy="Check whether the bot's token or the room has expired, whether the room was "
        "full, and who may remove participants.",
    )


def avatar_left() -> AvatarLeftError:
    """The avatar was there, and stays away."""
    return AvatarLeftError(
        "The avatar left the room and did not come back.",
        remedy="Look for what removes participants from the room.",
    )


def avatar_absent(wait_secs: float) -> AvatarAbsentError:
    """The avatar did not come.

    Args:
        wait_secs: How long it was waited for.
    """
    return AvatarAbsentError(
        f"No avatar appeared in the room within {wait_secs:g} s, although its session is up.",
        remedy="Check that its token belongs to this room and has not expired, that the room has "
        "a free place, and that the transport knows its identity (avatar=AvatarIdentity(...)).",
    )
