"""Credentials: what they look like, where they may go, and how they are kept out of texts.

The one place that removes secrets from text, and makes foreign text fit to be shown.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from pipecat_agenthuman._arguments import check_text

REDACTED: Final = "[redacted]"

_SHORTEST_SECRET: Final = 6
"""Shorter strings are not secrets worth hiding, and replacing them would garble text."""

_TELLTALE_CHARS: Final = 12
"""So much of a secret's beginning gives it away: whoever quotes it may have cut it short, as a
WebSocket's close reason must be."""

MAX_WORDS_CHARS: Final = 300
"""Longest text of a server that an error quotes."""

# --- where they may go, and what they look like ------------------------------------------


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, name: str, scheme: str) -> str:
    """Check a URL to which credentials will be sent: over TLS, or to this machine.

    Args:
        url: The URL to check.
        name: Argument or variable that it came from, for the error.
        scheme: The scheme with TLS: ``https`` or ``wss``. On loopback the one without, ``http``
            or ``ws``, is allowed as well.

    Returns:
        The URL without a trailing slash.

    Raises:
        ValueError: If it is not such a URL, carries a user name, or would send credentials
            unencrypted over a network.
    """
    example = f"It must look like {scheme}://host."
    url = check_text(name, url, remedy=example)
    plain = scheme.removesuffix("s")
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{name} is not a valid URL: {error}. {example}") from None
    if parts.scheme not in (scheme, plain) or not host:
        raise ValueError(f"{name} is not a valid URL: got {_shown(url)!r}. {example}")
    if parts.username or parts.password:
        raise ValueError(f"{name} must not contain a user name or password.")
    if parts.scheme == plain and not is_loopback(host):
        raise ValueError(
            f"{name} is {plain}://{host}: credentials would travel unencrypted. "
            f"Use {scheme}://, or a loopback address for the sandbox."
        )
    return url.rstrip("/")


def _shown(url: str) -> str:
    """Show a wrong URL without the parts that can hold a secret."""
    return url.split("?")[0].rsplit("@")[-1][:80]


def check_secret(secret: str, *, name: str, remedy: str = "") -> str:
    """Check that a key or token looks like one.

    Args:
        secret: The key or token; never shown.
        name: Argument or variable that it came from, for the error.
        remedy: What to give instead, a sentence for the error.

    Returns:
        It without white space around it.

    Raises:
        ValueError: If it is empty, or has characters that neither has.
    """
    secret = check_text(name, secret, remedy=remedy)
    if not (secret.isascii() and secret.isprintable()) or " " in secret:
        raise ValueError(f"{name} has characters that no key or token has. {remedy}".rstrip())
    return secret


# --- kept out of texts -------------------------------------------------------------------


def redact(text: str, *secrets: str | None) -> str:
    """Replace every occurrence of the secrets in a text, and of their beginnings.

    Args:
        text: Text that may quote a secret, for example a server's answer that echoes a request.
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
