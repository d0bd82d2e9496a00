"""Where credentials may go: over TLS, or to this machine."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str) -> bool:
    """Whether a host name or address is this machine."""
    if host.casefold() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_url(url: str, *, name: str, tls: str, plain: str) -> str:
    """Check a URL to which credentials will be sent.

    Args:
        url: The URL to check.
        name: Argument or variable that it came from, for the error.
        tls: The scheme with TLS, for one ``wss``.
        plain: The scheme without, allowed on loopback only, for one ``ws``.

    Returns:
        The URL without a trailing slash.

    Raises:
        ValueError: If it is no such URL, carries a user name, or would send credentials
            unencrypted over a network.
    """
    if not isinstance(url, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(f"{name} must be text, got {type(url).__name__}.")
    try:
        parts = urlsplit(url.strip())
        host, _port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"{name} is not a valid URL: {error}.") from None
    if parts.scheme not in (tls, plain) or not host:
        raise ValueError(f"{name} must look like {tls}://host, got {_shown(url)!r}.")
    if parts.username or parts.password:
        raise ValueError(f"{name} must not contain a user name or password.")
    if parts.scheme == plain and not is_loopback(host):
        raise ValueError(
            f"{name} is {plain}://{host}: credentials would travel unencrypted. "
            f"Use {tls}://, or a loopback address for the sandbox."
        )
    return url.strip().rstrip("/")


def _shown(url: str) -> str:
    """Show a wrong URL without the parts that can hold a secret."""
    return url.split("?")[0].rsplit("@")[-1][:80]
