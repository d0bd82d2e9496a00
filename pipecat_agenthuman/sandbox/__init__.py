"""A local stand-in for the whole Agent Human service, for development and tests without a key.

It is the service as far as it is documented (REST, WebSocket, limits, errors), with an avatar
whose speech can be listened to, to the sample, and with faults to order. What the documentation
leaves open is an argument of ``Sandbox``. There is no video, nobody joins the room unless a hook
does, any well-formed picture passes for a face, any well-formed avatar ID for an avatar, and
requests are not limited in their rate unless a fault says so.

Imports are lazy: importing this package costs nothing until a name is used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipecat_agenthuman.sandbox.faults import Fault, parse_fault
    from pipecat_agenthuman.sandbox.room.talk import MemoryMessage, Talk, TalkPartner, TalkTerms
    from pipecat_agenthuman.sandbox.sandbox import DEFAULT_API_KEY, Sandbox
    from pipecat_agenthuman.sandbox.sessions import Ending, SandboxSession
    from pipecat_agenthuman.sandbox.sound import Gap, Heard, Segment

__all__ = [
    "DEFAULT_API_KEY",
    "Ending",
    "Fault",
    "Gap",
    "Heard",
    "MemoryMessage",
    "Sandbox",
    "SandboxSession",
    "Segment",
    "Talk",
    "TalkPartner",
    "TalkTerms",
    "parse_fault",
]

_HOMES = {
    "DEFAULT_API_KEY": "sandbox",
    "Ending": "sessions",
    "Fault": "faults",
    "Gap": "sound",
    "Heard": "sound",
    "MemoryMessage": "room.talk",
    "Sandbox": "sandbox",
    "Segment": "sound",
    "SandboxSession": "sessions",
    "Talk": "room.talk",
    "TalkPartner": "room.talk",
    "TalkTerms": "room.talk",
    "parse_fault": "faults",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
