"""A service whose avatar speaks in a sandbox, in one line."""

from __future__ import annotations

from typing import Any, Final

from pipecat_agenthuman.rooms import DailyRoom
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.service import AgentHumanVideoService

ROOM: Final = DailyRoom("https://sandbox.daily.co/test", "any-token-will-do")
"""The sandbox takes any room and token."""


def sandbox_avatar(sandbox: Sandbox, **options: Any) -> AgentHumanVideoService:
    """Make a service whose avatar speaks in a sandbox.

    Args:
        sandbox: A running one.
        **options: As for ``AgentHumanVideoService``. What is not given is the sandbox's; so are
            the settings that ``settings`` leaves open.

    Returns:
        The service. It assumes the latency that the sandbox has, so its memory is exact.
    """
    environment = sandbox.environment
    settings = AgentHumanVideoService.Settings(
        avatar=environment["AGENTHUMAN_AVATAR"],
        avatar_latency_secs=float(environment["AGENTHUMAN_AVATAR_LATENCY_SECS"]),
    )
    if options.get("settings") is not None:
        settings.apply_update(options.pop("settings"))
    ours: dict[str, Any] = {"ws_url": sandbox.ws_url, "settings": settings}
    if "credentials" not in options:
        ours |= {"room": ROOM, "api_key": sandbox.api_key, "api_url": sandbox.api_url}
    return AgentHumanVideoService(**(ours | options))
