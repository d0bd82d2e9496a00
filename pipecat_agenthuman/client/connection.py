"""One WebSocket to the service: ``session.init``, commands in order, answers matched.

A connection lives once: ``run`` connects, talks, and returns why it ended. The commands are
plain calls that never wait; everything that waits has a named limit. No Pipecat here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
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
from pipecat_agenthuman.client.commands import Command, CommandKind, CommandLedger
from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    ErrorReported,
    Established,
    Loss,
    LossKind,
    PlaybackStopped,
    SpeechConfirmed,
    Unexpected,
)
from pipecat_agenthuman.client.sockets import ConnectionLimits, hang_up, open_socket
from pipecat_agenthuman.playout.pacing import AnswerTime
from pipecat_agenthuman.wire import protocol
from pipecat_agenthuman.wire.protocol import AgentInterrupt, AgentSpeak, ServerError, SessionInit

_BUSY_GRACE_SECS: Final = 0.1
"""When a limit runs out, answers that a busy event loop has not read yet still count."""

_MOST_REFUSALS: Final = 3
"""Messages of speech that the server may refuse in a row. A session that takes no more speech,
for whatever reason and in whatever words, leaves the bot mute."""


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
        self._session = session
        self._on_event = on_event
        self._limits = limits or ConnectionLimits()
        self._ledger = CommandLedger(
            max_unconfirmed=max_unconfirmed,
            confirm_timeout_secs=self._limits.confirm_timeout_secs,
        )
        self._answer_time = AnswerTime()
        self._socket: ClientConnection | None = None
        self._init_sent_at: float | None = None
        self._established = False
        self._refusals = 0  # of speech, without a confirmation between them
        self._outbox: deque[AgentSpeak | AgentInterrupt] = deque()
        self._outgoing = asyncio.Event()
        self._changed = asyncio.Event()
        self._leaving = asyncio.Event()
        self._measuring: asyncio.Task[None] | None = None

    @property
    def established(self) -> bool:
        """Whether the server accepted the session and the connection stands."""
        return self._established

    @property
    def can_speak(self) -> bool:
        """Whether ``speak`` may be called now."""
        return self._established and self._ledger.can_speak

    @property
    def ambiguous_sizes(self) -> set[int]:
        """Numbers of samples that the next ``speak`` must not have."""
        return self._ledger.ambiguous_sizes

    @property
    def round_trip_secs(self) -> float:
        """The latest WebSocket ping; 0 before the first."""
        return self._socket.latency if self._socket is not None else 0.0

    @property
    def confirm_secs(self) -> float:
        """Expected time from sending speech to its confirmation; 0 while unknown."""
        return self._answer_time.expected_secs

    async def run(self) -> Loss:
        """Connect, talk, and return why it ended. Never raises but for cancellation."""
        try:
            socket = await self._connect_unless_leaving()
        except InvalidStatus as error:
            status = error.response.status_code
            return Loss(LossKind.CONNECT_FAILED, f"the handshake got HTTP {status}", status)
        except (OSError, WebSocketException, ValueError, ImportError) as error:
            # The last two: an address that is none, and a SOCKS proxy without its library.
            # Repeating mends neither those nor a certificate, and costs a session each time.
            final = isinstance(error, InvalidProxy | InvalidURI | ValueError | ImportError)
            words = str(error) or type(error).__name__
            if final and not isinstance(error, ssl.SSLError | UnicodeError | ImportError):
                # Its own words quote the address, and that of a proxy can hold a password.
                words = f"{type(error).__name__}: ws_url, or the URL of a proxy, is none"
            reason = f"cannot connect: {self._quoted(words)}"
            return Loss(LossKind.CONNECT_FAILED, reason, final=final)
        if socket is None:
            return Loss(LossKind.LEFT, "closed by this side")
        self._socket = socket
        try:
            return await self._converse(socket)
        finally:
            self._established = False
            await hang_up(socket, self._limits)

    def speak(self, audio: bytes) -> None:
        """Send speech. Only while ``can_speak``.

        Args:
            audio: 16 kHz mono PCM.
        """
        if not self.can_speak:
            raise RuntimeError("speak() while speech must wait; check can_speak first.")
        message = AgentSpeak(audio)
        self._ledger.speak(message.samples, time.monotonic())
        self._put(message)

    def interrupt(self) -> bool:
        """Tell the server to stop, ahead of all speech that has not left yet.

        Returns:
            Whether it was sent; False while nothing is established, so nothing plays.
        """
        if not self._established:
            return False
        if any(isinstance(message, AgentInterrupt) for message in self._outbox):
            return True  # One that has not left yet does for this one, too: no speech follows it.
        unsent = len(self._outbox)
        self._outbox.clear()
        self._ledger.interrupt(time.monotonic(), unsent=unsent)
        self._put(AgentInterrupt())
        return True

    def leave(self) -> None:
        """Close the connection; ``run`` then returns."""
        self._leaving.set()

    # --- the socket --------------------------------------------------------------------

    async def _connect_unless_leaving(self) -> ClientConnection | None:
        connecting = asyncio.create_task(open_socket(self._url, self._limits))
        leaving = asyncio.create_task(self._leaving.wait())
        stands = False
        try:
            await asyncio.wait({connecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
            stands = connecting.done()
        finally:
            leaving.cancel()
            if not stands:
                connecting.add_done_callback(_abort)
                connecting.cancel()
            await asyncio.wait({connecting, leaving})
        return connecting.result() if stands else None

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
            self._established = False
            measuring = [self._measuring] if self._measuring is not None else []
            for task in (*tasks, *measuring):
                task.cancel()
            await asyncio.gather(*tasks, *measuring, return_exceptions=True)

    async def _read(self, socket: ClientConnection) -> Loss:
        try:
            while True:
                loss = self._take(protocol.decode(await socket.recv(), self._redacted))
                if loss is not None:
                    return loss
        except ConnectionClosed as closed:
            return self._closed(closed)

    async def _write(self, socket: ClientConnection) -> Loss:
        """The one place from which messages leave; ``session.init`` is the first."""
        try:
            self._init_sent_at = time.monotonic()
            self._changed.set()
            await socket.send(protocol.encode(self._session))
            while True:
                await self._outgoing.wait()
                self._outgoing.clear()
                while self._outbox:
                    await socket.send(protocol.encode(self._outbox.popleft()))
        except ConnectionClosed as closed:
            return self._closed(closed)

    async def _watch(self) -> Loss:
        """Find the server silent when an answer is overdue."""
        while True:
            self._changed.clear()
            deadline = self._deadline()
            left = None if deadline is None else deadline - time.monotonic() + _BUSY_GRACE_SECS
            if left is None or left > 0:
                try:
                    async with asyncio.timeout(left):
                        await self._changed.wait()
                except TimeoutError:
                    await asyncio.sleep(0)
                continue
            await asyncio.sleep(_BUSY_GRACE_SECS)
            if self._deadline() == deadline:
                return self._silent()

    async def _depart(self) -> Loss:
        await self._leaving.wait()
        return Loss(LossKind.LEFT, "closed by this side")

    async def _measure(self, socket: ClientConnection) -> None:
        """Take the round trip, so that the first message has the right size."""
        try:
            pong = await socket.ping()
            self._answer_time.observe(await pong)
        except ConnectionClosed:
            return  # The reader reports it.

    # --- messages ----------------------------------------------------------------------

    def _put(self, message: AgentSpeak | AgentInterrupt) -> None:
        self._outbox.append(message)
        self._outgoing.set()
        self._changed.set()

    def _take(self, message: protocol.ServerMessage) -> Loss | None:
        """Match a message of the server; a Loss if it ends the session."""
        now = time.monotonic()
        self._changed.set()
        match message:
            case protocol.ConnectionEstablished():
                return self._establish(message, now)
            case protocol.SpeakConfirmed():
                overtaken = self._ledger.overtaken
                command = self._ledger.confirm_speak(message.audio_samples, now)
                if command is not None:
                    self._on_event(self._speech_confirmed(message, command, now))
                elif self._ledger.overtaken == overtaken:
                    # Otherwise it answers what an interruption overtook, as it should.
                    self._on_event(Unexpected(message, "it confirms no speech that waits"))
            case protocol.InterruptConfirmed():
                command = self._ledger.confirm_interrupt()
                if command is None:
                    self._on_event(Unexpected(message, "no interrupt waits for it"))
                else:
                    self._on_event(PlaybackStopped(message, now - command.sent_at))
            case protocol.ServerError():
                return self._fail(message, now)
            case protocol.UnknownEvent():
                self._on_event(Unexpected(message, f"unknown type {message.type!r}"))
            case protocol.Unreadable():
                self._on_event(Unexpected(message, message.reason))
        return None

    def _establish(self, message: protocol.ConnectionEstablished, now: float) -> Loss | None:
        wanted, got = self._session.session_id, message.session_id
        if got is not None and got != wanted:
            reason = f"the server established session {self._quoted(got)}, not {wanted}"
            return Loss(LossKind.SESSION_REFUSED, reason)
        if self._established:
            self._on_event(Unexpected(message, "the session is established already"))
            return None
        if self._init_sent_at is None or self._socket is None:
            self._on_event(Unexpected(message, "session.init has not been sent yet"))
            return None
        self._established = True
        self._answer_time.guess(now - self._init_sent_at)
        self._measuring = asyncio.create_task(self._measure(self._socket))
        self._on_event(Established(wanted, message, now - self._init_sent_at))
        return None

    def _speech_confirmed(
        self, message: protocol.SpeakConfirmed, command: Command, now: float
    ) -> SpeechConfirmed:
        self._refusals = 0
        took_secs = now - command.sent_at
        self._answer_time.observe(took_secs)
        at = now - min(self.round_trip_secs, took_secs) / 2
        return SpeechConfirmed(message, command.samples, at, took_secs)

    def _fail(self, message: ServerError, now: float) -> Loss | None:
        ends_session = message.entry.answers is protocol.Answers.INIT
        if ends_session or not self._established:
            reason = f"the server refused the session: {self._quoted(message.error)}"
            return Loss(LossKind.SESSION_REFUSED, reason, error=message)
        oldest = self._ledger.oldest
        if oldest is not None and oldest.kind is CommandKind.INTERRUPT:
            return self._fail_while_interrupting(message, now)
        command = self._ledger.reject(message, now)
        rejected = command is not None and command.kind is CommandKind.SPEAK
        self._on_event(ErrorReported(message, speech_rejected=rejected))
        self._refusals += rejected
        if self._refusals < _MOST_REFUSALS:
            return None
        reason = f"the server refused {self._refusals} messages of speech in a row"
        return Loss(LossKind.SPEECH_REFUSED, f"{reason}: {self._quoted(message.error)}")

    def _fail_while_interrupting(self, message: ServerError, now: float) -> Loss | None:
        """An avatar that does not stop can only be silenced by ending its session.

        So an error counts as the answer to an interrupt only if it says so. Otherwise the
        confirmation may still come, and if it does not, that is noticed in time.
        """
        named = message.entry.answers is protocol.Answers.NAMED
        if named and CommandKind.INTERRUPT in message.error:
            reason = f"the server refused {CommandKind.INTERRUPT}: {self._quoted(message.error)}"
            return Loss(LossKind.INTERRUPT_REFUSED, reason)
        if message.entry.answers is protocol.Answers.SPEAK:
            self._ledger.reject(message, now)
        self._on_event(ErrorReported(message, speech_rejected=False))
        return None

    # --- limits ------------------------------------------------------------------------

    def _deadline(self) -> float | None:
        if self._established:
            return self._ledger.deadline
        if self._init_sent_at is None:
            return None
        return self._init_sent_at + self._limits.establish_timeout_secs

    def _silent(self) -> Loss:
        oldest = self._ledger.oldest
        if not self._established:
            limit, what = self._limits.establish_timeout_secs, "session.init"
        else:
            limit = self._limits.confirm_timeout_secs
            what = oldest.kind.value if oldest is not None else "a command"
        return Loss(LossKind.SILENT, f"the server did not answer {what} within {limit:g} s")

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


def _abort(connecting: asyncio.Task[ClientConnection]) -> None:
    """Reset a socket that came up at the very moment when nobody waited for it any more."""
    if not connecting.cancelled() and connecting.exception() is None:
        connecting.result().transport.abort()
