"""At which server a session is spoken to: the one that it was assigned, or the configured one.

The service's documentation has the create's answer name the WebSocket address of that very
session (``server_ws_uri``); a session that is spoken to elsewhere may get "Invalid session id -
server not assigned". The session's token goes there, so an answer cannot send it anywhere.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from loguru import logger
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from pipecat_agenthuman._credentials import check_url, is_loopback

VENDOR_DOMAIN: Final = "agenthuman.com"
"""Whoever has a name in it belongs to the service."""

_HOST_NAME: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)*")


def server_url(assigned: str | None, *, configured: str) -> str:
    """Choose the address at which a session is spoken to.

    Args:
        assigned: What the service named for it, not checked; None if nothing.
        configured: The address for all sessions, checked.

    Returns:
        What was assigned, if it is an address with TLS, or on this machine, that belongs to the
        service or to the configured host; else, with a warning, the configured one.
    """
    if assigned is None:
        return configured
    try:
        url = check_url(assigned, name="server_ws_uri", scheme="wss")
        parse_uri(url)  # What it does not take ends all hope of an avatar.
        host, own = _host(url), _host(configured)
        is_name = _HOST_NAME.fullmatch(host) is not None
        is_vendors = is_name and f".{host}".endswith(f".{VENDOR_DOMAIN}")
        if is_vendors or host == own or (is_loopback(host) and is_loopback(own)):
            return url
        reason = f"{host} belongs neither to {VENDOR_DOMAIN} nor to ws_url."
    except InvalidURI:
        reason = "server_ws_uri is not a valid URL."  # The error quotes it, with its secrets.
    except ValueError as error:
        reason = str(error)
    logger.warning(
        f"The service assigned the session a server to which its token is not sent. {reason} It "
        "is spoken to at ws_url instead, and if it is not known there, the call goes on without "
        "the avatar. Set ws_url to an address at that server if you trust it."
    )
    return configured


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").casefold()
