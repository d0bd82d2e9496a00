"""One WebSocket to the service: the socket of a conversation, its tasks and its limits.

A connection lives once: ``run`` connects, talks, and returns why it ended. The commands are
plain calls that never wait; everything that waits has a named limit. What may be said when,
and what an answer means, is decided in ``conversation``.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import (
    ConnectionClosed,
    InvalidProxy,
    InvalidStatus,
    InvalidURI,
    WebSocketException,
)

from pipecat_agenthuman._credentials import quoted, redact
from pipecat_agenthuman.client.conversation import Conversation
from pipecat_agenthuman.client.events import ConnectionEvent, Established, Loss
from pipecat_agenthuman.client.sockets import ConnectionLimits, hang_up, open_socket
from pipecat_agenthuman.client.waiting import unless
from pipecat_agenthuman.errors import LossKind
from pipecat_agenthuman.wire.protocol import SessionInit

_BUSY_GRACE_SECS: Final = 0.1
"""When a limit runs out, answers that a busy event loop has not read yet still count."""


class Connection:
    """A WebSocket that carries one session, from connecting to its end."""

    def __init__(
        self,
        url: str,
        session: SessionInit,
        *,
        on_event: Callable[[ConnectionEvent], None],
        max_unconfirmed: int = 1,
        limits: ConnectionLimits | None = None,
        redacted: Callable[[str], str] | None = None,
    ) -> None:
        """Create a connection; ``run`` opens it.

        Args:
            url: ``wss://`` URL, checked by the caller.
            session: What to open.
            on_event: Called with each event, in order; must return at once.
            max_unconfirmed: Most ``agent.speak`` that wait for confirmation; the service's
                documentation advises 1.
            limits: How long to wait for what.
            redacted: Removes secrets from what the server says; by default the session's
                token.
        """

        def without_token(text: str) -> str:
            return redact(text, session.session_token)

        self._redacted = redacted or without_token
        self._url = url
        self._on_event = on_event
        self._limits = limits or ConnectionLimits()
        self._conversation = Conversation(
            session,
            redacted=self._redacted,
            max_unconfirmed=max_unconfirmed,
            establish_timeout_secs=self._limits.establish_timeout_secs,
            confirm_timeout_secs=self._limits.confirm_timeout_secs,
        )
        self._socket: ClientConnection | None = None
        self._outgoing = asyncio.Event()
        self._sooner = asyncio.Event()
        self._watched: float | None = None
        self._leaving = asyncio.Event()
        self._measuring: asyncio.Task[None] | None = None

    @property
    def established(self) -> bool:
        """Whether the server accepted the session and the connection stands."""
        return self._conversation.established

    @property
    def can_speak(self) -> bool:
        """Whether ``speak`` may be called now."""
        return self._conversation.can_speak

    @property
    def ambiguous_sizes(self) -> set[int]:
        """Numbers of samples that the next ``speak`` must not have."""
        return self._conversation.ambiguous_sizes(time.monotonic())

    @property
    def round_trip_secs(self) -> float:
        """The latest WebSocket ping; 0 before the first."""
        return self._socket.latency if self._socket is not None else 0.0

    @property
    def confirm_secs(self) -> float:
        """Expected time from sending speech to its confirmation; 0 while unknown."""
        return self._conversation.confirm_secs

    async def run(self) -> Loss:
        """Connect, talk, and return why it ended. Never raises but for cancellation."""
        try:
            socket = await unless(
                self._leaving, open_socket(self._url, self._limits), discard=_abort
            )
        except InvalidStatus as error:
            status = error.response.status_code
            return Loss(LossKind.CONNECT_FAILED, f"the handshake got HTTP {status}", status)
        except (OSError, WebSocketException, ValueError, ImportError) as error:
            # The last two: an address that cannot be one, a SOCKS proxy without its library.
            # Repeating mends neither those nor a certificate, and costs a session each time.
            final = isinstance(error, InvalidProxy | InvalidURI | ValueError | ImportError)
            words = str(error) or type(error).__name__
            if final and not isinstance(error, ssl.SSLError | UnicodeError | ImportError):
                # Its own words quote the address, and that of a proxy can hold a password.
                words = f"{type(error).__name__}: ws_url, or the URL of a proxy, is not valid"
            reason = f"cannot connect: {self._quoted(words)}"
            return Loss(LossKind.CONNECT_FAILED, reason, final=final)
        if socket is None:
            return Loss(LossKind.LEFT, "closed by this side")
        self._socket = socket
        loss: Loss | None = None
        try:
            loss = await self._converse(socket)
            return loss
        finally:
            self._conversation.end()
            if loss is not None and loss.kind is LossKind.SILENT:
                # It would not answer to this, either, and somebody else could speak meanwhile.
                socket.transport.abort()
            else:
                await hang_up(socket, self._limits)

    def speak(self, audio: bytes) -> None:
        """Send speech. Only while ``can_speak``.

        Args:
            audio: 16 kHz mono PCM.

        Raises:
            RuntimeError: If speech must wait.
            ValueError: If the audio is empty, not whole samples, or too long for a message.
        """
        self._conversation.speak(audio, time.monotonic())
        self._outgoing.set()
        self._look_at_deadline()

    def interrupt(self) -> bool:
        """Tell the server to stop, ahead of all speech that has not left yet.

        Returns:
            Whether it was sent; False while nothing is established, so nothing plays.
        """
        told = self._conversation.interrupt(time.monotonic())
        self._outgoing.set()
        self._look_at_deadline()
        return told

    def leave(self) -> None:
        """Close the connection; ``run`` then returns."""
        self._leaving.set()

    # --- tasks -------------------------------------------------------------------------

    async def _converse(self, socket: ClientConnection) -> Loss:
        """Run everything that the open socket needs until one of it ends."""
        parts: list[Coroutine[Any, Any, Loss]] = [
            self._read(socket),
            self._write(socket),
            self._watch(),
            self._depart(),
        ]
        tasks = [asyncio.create_task(part) for part in parts]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            return next(task.result() for task in tasks if task.done())
        finally:
            self._conversation.end()
            measuring = [self._measuring] if self._measuring is not None else []
            for task in (*tasks, *measuring):
                task.cancel()
            await asyncio.gather(*tasks, *measuring, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> Loss:
        try:
            while True:
                data = await socket.recv()
                told = self._conversation.receive(
                    data, time.monotonic(), round_trip_secs=socket.latency
                )
                self._look_at_deadline()
                for event in told:
                    if isinstance(event, Loss):
                        return event
                    if isinstance(event, Established):
                        # Before anybody hears of it, so that the ping comes before all speech.
                        self._measuring = asyncio.create_task(self._measure(socket))
                    self._on_event(event)
        except ConnectionClosed as closed:
            return self._closed(closed)

    async def _write(self, socket: ClientConnection) -> Loss:
        """The one place from which messages leave."""
        try:
            while True:
                self._outgoing.clear()
                while (message := self._conversation.to_send(time.monotonic())) is not None:
                    self._look_at_deadline()
                    await socket.send(message)
                await self._outgoing.wait()
        except ConnectionClosed as closed:
            return self._closed(closed)

    async def _watch(self) -> Loss:
        """Find the server silent when an answer is overdue."""
        while True:
            self._sooner.clear()
            self._watched = deadline = self._conversation.deadline
            left = None if deadline is None else deadline - time.monotonic() + _BUSY_GRACE_SECS
            if left is None or left > 0:
                try:
                    async with asyncio.timeout(left):
                        await self._sooner.wait()
                except TimeoutError:
                    await asyncio.sleep(0)
                continue
            await asyncio.sleep(_BUSY_GRACE_SECS)
            if self._conversation.deadline == deadline:
                return self._conversation.time_out()

    async def _depart(self) -> Loss:
        await self._leaving.wait()
        return Loss(LossKind.LEFT, "closed by this side")

    async def _measure(self, socket: ClientConnection) -> None:
        try:
            pong = await socket.ping()
            self._conversation.measured(await pong)
        except ConnectionClosed:
            return  # The reader reports it.

    def _look_at_deadline(self) -> None:
        """Have the watch look again if an answer must come earlier than it sleeps.

        A later deadline has time until the earlier one: each answer that comes makes it later.
        """
        deadline = self._conversation.deadline
        if deadline is not None and (self._watched is None or deadline < self._watched):
            self._sooner.set()

    def _closed(self, closed: ConnectionClosed) -> Loss:
        if closed.rcvd is not None:
            code, words = closed.rcvd.code, self._quoted(closed.rcvd.reason)
            reason = f"the server closed with code {code}" + (f": {words}" if words else "")
            return Loss(LossKind.CLOSED, reason, code)
        if closed.sent is not None and closed.sent.reason:
            # The library gave up on the peer: no pong in time, or a breach of WebSocket rules.
            return Loss(LossKind.SILENT, f"closed by this side: {closed.sent.reason}")
        return Loss(LossKind.CLOSED, "the connection broke without a close frame", 1006)

    def _quoted(self, text: str) -> str:
        """Words of others, fit for an error or a log line."""
        return quoted(text, self._redacted)


def _abort(socket: ClientConnection) -> None:
    """Reset a socket that came up at the very moment when nobody waited for it any more."""
    socket.transport.abort()
