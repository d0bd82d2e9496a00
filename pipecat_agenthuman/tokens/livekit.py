"""An avatar's access token for a LiveKit room, signed here: that needs no network."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from pipecat_agenthuman.errors import RoomTokenError

PUBLISH_ON_BEHALF: Final = "lk.publish_on_behalf"
"""LiveKit's attribute of an avatar's participant: the identity of the agent it speaks for."""


def sign_livekit_token(
    api_key: str,
    api_secret: str,
    *,
    room_name: str,
    identity: str,
    name: str,
    bot_identity: str | None,
    expiry_secs: float,
) -> str:
    """Sign an avatar's access token. Needs no network.

    Args:
        api_key: LiveKit API key.
        api_secret: LiveKit API secret.
        room_name: The room.
        identity: Identity of the avatar's participant.
        name: Its name.
        bot_identity: Identity of the bot that it speaks for, or None.
        expiry_secs: Seconds in which the token lets it join.

    Returns:
        The token.

    Raises:
        RoomTokenError: If LiveKit's ``api`` package is not installed.
    """
    api = _livekit_api()
    # Data is allowed, as in the tokens of all avatar vendors: the avatar tells its state by it.
    grants = api.VideoGrants(
        room_join=True,
        room=room_name,
        can_publish=True,
        can_publish_sources=["camera", "microphone"],
        can_publish_data=True,
    )
    signed = api.AccessToken(api_key, api_secret).with_identity(identity).with_name(name)
    # To LiveKit an agent is no person: it keeps no empty room open, and takes nobody's seat.
    signed = signed.with_kind("agent").with_grants(grants).with_ttl(timedelta(seconds=expiry_secs))
    if bot_identity is not None:
        signed = signed.with_attributes({PUBLISH_ON_BEHALF: bot_identity})
    return signed.to_jwt()


def _livekit_api() -> Any:
    try:
        from livekit import api  # pyright: ignore
    except ImportError:
        raise RoomTokenError(
            "LiveKit's api package is not installed, so the avatar's token cannot be signed.",
            remedy="Install pipecat-agenthuman[livekit].",
        ) from None
    return api  # pyright: ignore
