"""Who may come in: nothing but loopback, and no web page of somebody else.

A page in a browser can reach loopback, be it under a host name of its own or as a page of
another origin. It must neither read anything here nor change anything: a fault that it orders
is as bad as a log that it reads.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import web

from pipecat_agenthuman._credentials import is_loopback
from pipecat_agenthuman.sandbox.bodies import Refusal

_HOST: Final = re.compile(
    r"(?:\[(?P<address>[0-9A-Fa-f:.]+)\]|(?P<name>[\w.-]+))(?::[0-9]+)?", re.ASCII
)
"""A Host header, whole: what ``urlsplit`` makes of a malformed one is a guess."""

_HARMLESS_METHODS: Final = {"GET", "HEAD", "OPTIONS"}

_OWN_SITES: Final = {"same-origin", "none"}
"""What ``Sec-Fetch-Site`` says of requests of the own page, and of those that a person makes."""

_HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer: nothing is guessed, kept, told on or embedded elsewhere."""


@web.middleware
async def guard(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Keep web pages of others out, and give every refusal the service's form.

    Args:
        request: The request.
        handler: Who answers it if it may come in.

    Returns:
        The answer, or the refusal.
    """
    try:
        _check_host(request)
        _check_origin(request)
        return await handler(request)
    except Refusal as refusal:
        reply = refusal.reply
    except web.HTTPException as error:
        reply = Refusal(error.status, error.reason).reply
    return web.Response(
        status=reply.status, text=json.dumps(reply.body), content_type="application/json"
    )


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put the headers that belong on every answer on one that is about to go out.

    Args:
        request: The request.
        response: Its answer; headers that it has already stay as they are.
    """
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)


def is_handshake(request: web.BaseRequest) -> bool:
    """Whether a request asks for a WebSocket."""
    return request.headers.get("Upgrade", "").casefold() == "websocket"


def _check_host(request: web.Request) -> None:
    """Refuse a page that came here under a host name of its own (DNS rebinding)."""
    parts = _HOST.fullmatch(request.host)
    if parts is None or not is_loopback(parts["address"] or parts["name"]):
        raise Refusal(403, "The sandbox answers only under a loopback address")


def _check_origin(request: web.Request) -> None:
    """Refuse what has an effect and comes from a page that is not the sandbox's own.

    Browsers say where it comes from; other programs need not. A foreign page may ask for what
    only shows something: its browser does not let it read the answer. The service's own REST is
    no such thing, for each of its requests is noted, and may be struck by a fault.
    """
    is_harmless = request.method in _HARMLESS_METHODS and not is_handshake(request)
    if is_harmless and not request.path.startswith("/v1/"):
        return
    own = f"{request.scheme}://{request.host}".casefold()
    origin = request.headers.get("Origin", own).casefold()
    site = request.headers.get("Sec-Fetch-Site", "same-origin").casefold()
    if origin != own or site not in _OWN_SITES:
        raise Refusal(403, "The sandbox takes orders from its own page and from programs only")
