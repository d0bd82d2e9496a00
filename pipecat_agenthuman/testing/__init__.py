"""Test a whole bot without a key: a call in a sandbox, with people who talk to it.

``Call`` is the room: it has a transport for the bot, and people who join, speak, interrupt and
leave. The avatar is the sandbox's, and what it says there is what they hear. ``ScriptedSTT`` and
``ScriptedLLM`` stand in for services that need a key.

Imports are lazy: importing this package costs nothing until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipecat_agenthuman.testing.avatars import sandbox_avatar
    from pipecat_agenthuman.testing.call import Call
    from pipecat_agenthuman.testing.people import Person
    from pipecat_agenthuman.testing.services import ScriptedLLM, ScriptedSTT
    from pipecat_agenthuman.testing.transport import CallTransport

__all__ = ["Call", "CallTransport", "Person", "ScriptedLLM", "ScriptedSTT", "sandbox_avatar"]

_HOMES = {
    "Call": "call",
    "CallTransport": "transport",
    "Person": "people",
    "ScriptedLLM": "services",
    "ScriptedSTT": "services",
    "sandbox_avatar": "avatars",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
