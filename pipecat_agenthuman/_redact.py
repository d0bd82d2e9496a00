"""The one place that removes secrets from text."""

from __future__ import annotations

from typing import Final

REDACTED: Final = "[redacted]"

_SHORTEST_SECRET: Final = 6
"""Shorter strings are not secrets worth hiding, and replacing them would garble text."""


def redact(text: str, *secrets: str | None) -> str:
    """Replace every occurrence of the secrets in a text.

    Args:
        text: Text that may quote a secret, for one a server's answer that echoes a request.
        *secrets: Keys and tokens; None and very short ones are skipped.

    Returns:
        The text with each secret replaced by ``[redacted]``.
    """
    known = (secret for secret in secrets if secret and len(secret) >= _SHORTEST_SECRET)
    for secret in sorted(known, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text
