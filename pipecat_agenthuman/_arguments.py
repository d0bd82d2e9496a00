"""Whether arguments can be right: found out when they are given, not in the middle of a call."""

from __future__ import annotations

import inspect
import math
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import fields
from typing import Any, cast

from pipecat_agenthuman.client.requests import Room
from pipecat_agenthuman.settings import AgentHumanVideoSettings


def check_names(owner: type, options: Iterable[str]) -> None:
    """Check that further keyword arguments are known to a base class.

    Pipecat ignores those that it does not know, so a misspelt one would change nothing.

    Args:
        owner: The class whose bases may know them.
        options: Their names.

    Raises:
        TypeError: If one is unknown, naming it.
    """
    known = {
        name
        for base in owner.__mro__[1:]
        if base is not object
        for name in inspect.signature(base).parameters
    }
    for name in options:
        if name in known:
            continue
        ours = {setting.name for setting in fields(AgentHumanVideoSettings)}
        hint = f" Give it in settings={owner.__name__}.Settings(...)." if name in ours else ""
        raise TypeError(f"{owner.__name__} has no argument {name!r}.{hint}")


def check_kind(name: str, value: object, kind: type) -> None:
    """Check that an optional argument is of its class; raises ``ValueError`` if not."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(
            f"{name} must be of the class {kind.__name__}, got {type(value).__name__}."
        )


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Check that an argument is one of its choices; raises ``ValueError`` if not."""
    if value not in choices:
        wanted = " or ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be {wanted}, got {value!r}.")


def check_secs(durations: Mapping[str, object]) -> None:
    """Check that durations are possible ones.

    Args:
        durations: Seconds by the name of their argument.

    Raises:
        ValueError: If one is no number, negative or infinite, naming it.
    """
    for name, secs in durations.items():
        if isinstance(secs, bool) or not isinstance(secs, int | float):
            raise ValueError(f"{name} must be a number of seconds, got {secs!r}.")
        if not 0 <= secs < math.inf:
            raise ValueError(f"{name} must be zero or more seconds, got {secs}.")


def check_count(name: str, value: object) -> None:
    """Check that an argument is a whole number from 1 on; raises ``ValueError`` if not."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}.")


def check_room(room: object) -> Room:
    """Check that something is a room.

    Args:
        room: What was given as one.

    Returns:
        The room.

    Raises:
        ValueError: If it is none.
    """
    if inspect.iscoroutine(room):
        cast("Coroutine[Any, Any, Any]", room).close()
        raise ValueError(
            "room is a coroutine: an await is missing, as in room=await DailyRoom.mint(url)."
        )
    parts = [getattr(room, name, None) for name in ("platform", "url", "token")]
    if isinstance(room, type) or not all(isinstance(part, str) for part in parts):
        kind = room.__name__ if isinstance(room, type) else type(room).__name__
        raise ValueError(f"room must be a DailyRoom or a LiveKitRoom, got {kind}.")
    return cast("Room", room)
