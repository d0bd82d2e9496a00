"""Whether arguments can be right: found out when they are given, not in the middle of a call.

Each check raises an error that names the argument and what was given for it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Collection, Iterable


def check_names(owner: type, options: Iterable[str], *, settings: Collection[str] = ()) -> None:
    """Check that further keyword arguments are known to a base class.

    Pipecat ignores those that it does not know, so a misspelt one would change nothing.

    Args:
        owner: The class whose bases may know them.
        options: Their names.
        settings: What is known as a setting, and belongs into ``owner.Settings``.

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
        hint = f" Give it in settings={owner.__name__}.Settings(...)." if name in settings else ""
        raise TypeError(f"{owner.__name__} has no argument {name!r}.{hint}")


def check_kind(name: str, value: object, kind: type) -> None:
    """Check that an argument is of its class, or None; raises ``ValueError`` if not."""
    if value is not None and not isinstance(value, kind):
        raise ValueError(
            f"{name} must be an instance of {kind.__name__}, got {type(value).__name__}."
        )


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Check that an argument is one of its choices; raises ``ValueError`` if not."""
    if value not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, got {value!r}.")


def check_secs(name: str, value: object, *, positive: bool = False) -> None:
    """Check that a duration is a possible one.

    Args:
        name: Name of the argument.
        value: Seconds.
        positive: Whether it must be more than 0.

    Raises:
        ValueError: If it is not a number, not finite, or too small.
    """
    if (
        isinstance(value, bool)
        or not isinstance(value, int | float)
        or not 0 <= value < math.inf
        or (positive and value == 0)
    ):
        least = "more than 0" if positive else "0 or more"
        raise ValueError(f"{name} must be a number of seconds, {least}, got {value!r}.")


def check_count(name: str, value: object) -> None:
    """Check that an argument is a whole number from 1 on; raises ``ValueError`` if not."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number, at least 1, got {value!r}.")


def check_text(name: str, value: object, *, remedy: str = "") -> str:
    """Check that an argument is text, and that there is any.

    Args:
        name: Name of the argument.
        value: The text; it is not shown, as it may be a secret.
        remedy: What to give, a sentence for the error.

    Returns:
        The text without white space around it.

    Raises:
        ValueError: If it is not text, or empty.
    """
    if not isinstance(value, str):
        raise ValueError(f"{name} must be text, got {type(value).__name__}. {remedy}".rstrip())
    text = value.strip()
    if not text:
        raise ValueError(f"{name} must not be empty. {remedy}".rstrip())
    return text
