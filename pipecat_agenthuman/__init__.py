"""Agent Human talking avatars for Pipecat.

Names are imported when they are first used, so that ``daily-python`` is needed only for
``AgentHumanDailyTransport``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipecat_agenthuman.client.api import AgentHumanApi
    from pipecat_agenthuman.client.sources import SessionCredentials
    from pipecat_agenthuman.daily import AgentHumanDailyTransport
    from pipecat_agenthuman.errors import AgentHumanError
    from pipecat_agenthuman.frames import (
        AgentHumanConnectedFrame,
        AgentHumanDisconnectedFrame,
        AgentHumanErrorFrame,
        AgentHumanInterruptConfirmedFrame,
        AgentHumanServerEventFrame,
        AgentHumanSpeakConfirmedFrame,
        StartInterruptionFrame,
    )
    from pipecat_agenthuman.rooms import DailyRoom, LiveKitRoom
    from pipecat_agenthuman.service import AgentHumanVideoService

_HOMES = {
    "AgentHumanApi": "client.api",
    "AgentHumanConnectedFrame": "frames",
    "AgentHumanDailyTransport": "daily",
    "AgentHumanDisconnectedFrame": "frames",
    "AgentHumanError": "errors",
    "AgentHumanErrorFrame": "frames",
    "AgentHumanInterruptConfirmedFrame": "frames",
    "AgentHumanServerEventFrame": "frames",
    "AgentHumanSpeakConfirmedFrame": "frames",
    "AgentHumanVideoService": "service",
    "DailyRoom": "rooms",
    "LiveKitRoom": "rooms",
    "SessionCredentials": "client.sources",
    "StartInterruptionFrame": "frames",
}

__all__ = [
    "AgentHumanApi",
    "AgentHumanConnectedFrame",
    "AgentHumanDailyTransport",
    "AgentHumanDisconnectedFrame",
    "AgentHumanError",
    "AgentHumanErrorFrame",
    "AgentHumanInterruptConfirmedFrame",
    "AgentHumanServerEventFrame",
    "AgentHumanSpeakConfirmedFrame",
    "AgentHumanVideoService",
    "DailyRoom",
    "LiveKitRoom",
    "SessionCredentials",
    "StartInterruptionFrame",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
