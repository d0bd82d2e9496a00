"""Which sessions the service speaks through, by what it was given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import aiohttp
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman._arguments import check_kind
from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.client.requests import Room, check_room, create_payload
from pipecat_agenthuman.client.sources import (
    CREATE_TIMEOUT_SECS,
    GivenSession,
    OwnSessions,
    SessionCredentials,
)
from pipecat_agenthuman.pipeline.transport_output import video_size
from pipecat_agenthuman.settings import AgentHumanVideoSettings


def choose_source(
    settings: AgentHumanVideoSettings,
    *,
    room: Room | None,
    credentials: SessionCredentials | None,
    api_key: str | None,
    api_url: str | None,
    metadata: Mapping[str, Any] | None,
    aiohttp_session: aiohttp.ClientSession | None,
) -> OwnSessions | GivenSession:
    """Decide where the sessions come from, by what the service was given.

    Args:
        settings: Complete settings.
        room: Where the avatar joins, for sessions of our own.
        credentials: One session made elsewhere.
        api_key: Key of the account, or None for the environment's.
        api_url: REST base URL, or None for the environment's or the hosted service's.
        metadata: A JSON object to keep with each session.
        aiohttp_session: Used for REST and not closed.

    Raises:
        ValueError: If something is missing, impossible or contradicts something else.
    """
    if credentials is not None:
        check_kind("credentials", credentials, SessionCredentials)
        extra = {"room": room, "api_key": api_key, "api_url": api_url, "metadata": metadata}
        contradicting = [f"{name}=" for name, value in extra.items() if value is not None]
        if contradicting:
            raise ValueError(
                f"credentials= names one session made elsewhere; {', '.join(contradicting)} "
                "is for sessions that the service makes itself. Give one or the other."
            )
        return GivenSession(credentials)
    if room is None:
        raise ValueError(
            "Give room=DailyRoom(url, token) for the service to make its sessions, or "
            "credentials=SessionCredentials(...) for one made elsewhere."
        )
    check_room(room)
    settings.check(needs_avatar=True)
    avatar, aspect_ratio = settings.given("avatar"), settings.shape()
    create_payload(avatar, room, aspect_ratio, metadata)  # Raises what a create would refuse.
    return OwnSessions(
        AgentHumanApi(
            api_key,
            api_url=api_url,
            session=aiohttp_session,
            timeout_secs=CREATE_TIMEOUT_SECS,
        ),
        room=room,
        avatar=avatar,
        aspect_ratio=aspect_ratio,
        metadata=metadata,
    )


def choose_looks(
    source: OwnSessions | GivenSession,
    settings: AgentHumanVideoSettings,
    transport: BaseOutputTransport | None,
) -> None:
    """Say how the avatar of the next session is to look.

    Args:
        source: Where it comes from; one that was made elsewhere looks as it does.
        settings: Complete settings.
        transport: Whose video size counts for ``aspect_ratio="auto"``.
    """
    if isinstance(source, OwnSessions):
        source.avatar = settings.given("avatar")
        source.aspect_ratio = settings.shape(*video_size(transport))
