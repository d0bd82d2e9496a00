"""The one place that removes secrets from text, and makes foreign text fit to be shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

REDACTED: Final = "[redacted]"

_SHORTEST_SECRET: Final = 6
"""Shorter strings are not secrets worth hiding, and replacing them would garble text."""

_TELLTALE_CHARS: Final = 12
"""So much of a secret's beginning gives it away: whoever quotes it may have cut it short, as a
WebSocket's close reason must be."""

MAX_WORDS_CHARS: Final = 300
"""Longest text of a server that an error quotes."""


def redact(text: str, *secrets: str | None) -> str:
    """Replace every occurrence of the secrets in a text, and of their beginnings.

    Args:
        text: Text that may quote a secret, for one a server's answer that echoes a request.
        *secrets: Keys and tokens; None and very short ones are skipped.

    Returns:
        The text with each secret replaced by ``[redacted]``.
    """
    known = (secret for secret in secrets if secret and len(secret) >= _SHORTEST_SECRET)
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
        if len(secret) >= 2 * _TELLTALE_CHARS:
            text = _without_beginnings(text, secret)
    return text


def _without_beginnings(text: str, secret: str) -> str:
    telltale = secret[:_TELLTALE_CHARS]
    found = text.find(telltale)
    while found >= 0:
        shown = next(
            (n for n, (a, b) in enumerate(zip(text[found:], secret, strict=False)) if a != b),
            min(len(text) - found, len(secret)),
        )
        text = text[:found] + REDACTED + text[found + shown :]
        found = text.find(telltale, found + len(REDACTED))
    return text


def quoted(text: str, redacted: Callable[[str], str], limit: int = MAX_WORDS_CHARS) -> str:
    """Make foreign text fit for an error or a log line.

    Args:
        text: Text of a server.
        redacted: Removes the secrets. It comes first, as a cut through a secret would hide
            the rest of it from the search.
        limit: Longest result in characters.

    Returns:
        One printable line.
    """
    printable = "".join(char if char.isprintable() else " " for char in redacted(text))
    line = " ".join(printable.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
