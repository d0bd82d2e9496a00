"""Opening and closing a WebSocket to the service: how, and for how long."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, fields
from importlib.metadata import version
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.client import ClientConnection, connect

from pipecat_agenthuman._arguments import check_secs
from pipecat_agenthuman._credentials import is_loopback

_MAX_INCOMING_BYTES: Final = 1 << 20
"""The server's events are small; a message beyond this is not one of them."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """How long to wait for what, in seconds.

    Attributes:
        connect_timeout_secs: TCP, TLS and the WebSocket handshake.
        establish_timeout_secs: From ``session.init`` to ``connection.established``.
        confirm_timeout_secs: From a command to its answer. The service's documentation uses
            5 seconds; a confirmation that takes longer counts as a lost connection.
        close_timeout_secs: The closing handshake.
        ping_interval_secs: Between keepalive pings; they find a dead peer while idle.
        ping_timeout_secs: From a ping to its pong.
    """

    connect_timeout_secs: float = 10.0
    establish_timeout_secs: float = 10.0
    confirm_timeout_secs: float = 5.0
    close_timeout_secs: float = 1.0
    ping_interval_secs: float = 10.0
    ping_timeout_secs: float = 10.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            ValueError: If one is not a positive number of seconds.
        """
        for limit in fields(self):
            check_secs(limit.name, getattr(self, limit.name), positive=True)


class _NoFrameDumps(logging.LoggerAdapter[logging.Logger]):
    """Keeps ``websockets`` from writing whole messages, and so the token, at DEBUG."""

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802 - the name is logging's
        return level > logging.DEBUG and super().isEnabledFor(level)


class _Connect(connect):
    """Opens a WebSocket where it was told to, and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Never follow a redirect: it would take the session's token along."""
        return exc


_LOGGER: Final = _NoFrameDumps(logging.getLogger("pipecat_agenthuman.websocket"), {})
_USER_AGENT: Final = f"pipecat-agenthuman/{version('pipecat-agenthuman')}"


async def open_socket(url: str, limits: ConnectionLimits) -> ClientConnection:
    """Open a WebSocket.

    Args:
        url: ``wss://`` URL, or ``ws://`` on loopback, checked by the caller.
        limits: How long that, and its closing, may take.

    Returns:
        The open socket.

    Raises:
        OSError: If the TCP connection or TLS fails, or takes too long.
        WebSocketException: If the handshake fails.
        UnicodeError: If the host name cannot be one.
        ImportError: If the environment names a SOCKS proxy and its library is missing.
    """
    return await _Connect(
        url,
        # Base64 of audio gains nothing from it, and it costs CPU for every message.
        compression=None,
        proxy=None if is_loopback(urlsplit(url).hostname or "") else True,
        open_timeout=limits.connect_timeout_secs,
        close_timeout=limits.close_timeout_secs,
        ping_interval=limits.ping_interval_secs,
        ping_timeout=limits.ping_timeout_secs,
        max_size=_MAX_INCOMING_BYTES,
        user_agent_header=_USER_AGENT,
        logger=_LOGGER,
    )


async def hang_up(socket: ClientConnection, limits: ConnectionLimits) -> None:
    """Close a WebSocket, and reset one that does not let itself be closed.

    The library's own limit does not count while a peer that reads no more holds up the writing
    of the close frame.

    Args:
        socket: What to close.
        limits: How long that may take.
    """
    closed = False
    try:
        async with asyncio.timeout(2 * limits.close_timeout_secs):
            await socket.close()
            closed = True
    except TimeoutError:
        pass
    finally:
        if not closed:
            socket.transport.abort()
