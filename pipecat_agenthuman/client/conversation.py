"""The rules of one WebSocket, without a socket: who may say what when, and which answer means what.

Pure: time is an argument, and nothing waits. Whoever has the socket sends what ``to_send``
returns, hands every message of the server to ``receive``, and ends the conversation with
``time_out`` when its ``deadline`` passes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final

from pipecat_agenthuman._credentials import quoted
from pipecat_agenthuman.client.commands import AnswerTime, CommandKind, CommandLedger
from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    ErrorReported,
    Established,
    Loss,
    PlaybackStopped,
    SpeechConfirmed,
    Unexpected,
)
from pipecat_agenthuman.errors import LossKind
from pipecat_agenthuman.wire import protocol
from pipecat_agenthuman.wire.protocol import (
    AgentInterrupt,
    AgentSpeak,
    Answers,
    ServerError,
    SessionInit,
)

_MOST_REFUSALS: Final = 3
"""Messages of speech that the server may refuse in a row. A session that takes no more speech,
for whatever reason and in whatever words, leaves the bot mute."""


_INTERRUPT: Final = protocol.encode(AgentInterrupt())


class _Phase(Enum):
    SILENT = auto()
    """Not even ``session.init`` has left."""

    OPENING = auto()
    """``session.init`` waits for its answer."""

    ESTABLISHED = auto()
    OVER = auto()


class Conversation:
    """What was said on one connection, what may be said next, and what is overdue."""

    def __init__(
        self,
        session: SessionInit,
        *,
        redacted: Callable[[str], str],
        max_unconfirmed: int,
        establish_timeout_secs: float,
        confirm_timeout_secs: float,
    ) -> None:
        """Create a conversation that has not begun.

        Args:
            session: What to open.
            redacted: Removes secrets from what the server says.
            max_unconfirmed: Most ``agent.speak`` that wait for confirmation.
            establish_timeout_secs: From ``session.init`` to ``connection.established``.
            confirm_timeout_secs: From a command to its answer.
        """
        self._session = session
        self._redacted = redacted
        self._max_unconfirmed = max_unconfirmed
        self._establish_timeout_secs = establish_timeout_secs
        self._confirm_timeout_secs = confirm_timeout_secs
        self._ledger = CommandLedger(
            max_unconfirmed=max_unconfirmed, confirm_timeout_secs=confirm_timeout_secs
        )
        self._answer_time = AnswerTime()
        self._phase = _Phase.SILENT
        self._init_sent_at = 0.0
        self._refusals = 0  # of speech, without a confirmation between them
        # What has not left yet, encoded: speech, or an interrupt and nothing behind it.
        self._outbox: deque[str] = deque()

    # --- looking -----------------------------------------------------------------------

    @property
    def established(self) -> bool:
        """Whether the server accepted the session, and the conversation goes on."""
        return self._phase is _Phase.ESTABLISHED

    @property
    def can_speak(self) -> bool:
        """Whether ``speak`` may be called now."""
        # Only a server that confirms what has not left yet makes the last condition matter.
        has_room = len(self._outbox) < self._max_unconfirmed
        return self.established and self._ledger.can_speak and has_room

    def ambiguous_sizes(self, now: float) -> set[int]:
        """Numbers of samples that a ``speak`` at a moment must not have."""
        return self._ledger.ambiguous_sizes(now)

    @property
    def confirm_secs(self) -> float:
        """Expected time from sending speech to its confirmation; 0 while unknown."""
        return self._answer_time.expected_secs

    @property
    def deadline(self) -> float | None:
        """When the next answer must have come; None if none is waited for."""
        if self._phase is _Phase.OPENING:
            return self._init_sent_at + self._establish_timeout_secs
        return self._ledger.deadline if self.established else None

    # --- what this side says -----------------------------------------------------------

    def speak(self, audio: bytes, now: float) -> None:
        """Say something. Only while ``can_speak``.

        Args:
            audio: 16 kHz mono PCM.
            now: The time.

        Raises:
            RuntimeError: If speech must wait.
            ValueError: If the audio is empty, not whole samples, or too long for a message.
        """
        if not self.can_speak:
            raise RuntimeError("speak() while speech must wait; check can_speak first.")
        message = AgentSpeak(audio)
        encoded = protocol.encode(message)
        self._ledger.speak(message.samples, now)
        self._outbox.append(encoded)

    def interrupt(self, now: float) -> bool:
        """Tell the server to stop, ahead of all speech that has not left yet.

        Returns:
            Whether it is told; False while nothing is established, so nothing plays.
        """
        if not self.established:
            return False
        if self._unsent_interrupts:
            return True  # It does for this one, too: no speech follows it.
        unsent = len(self._outbox)
        self._outbox.clear()
        self._ledger.interrupt(now, unsent=unsent)
        self._outbox.append(_INTERRUPT)
        return True

    def to_send(self, now: float) -> str | None:
        """Take the next message that leaves; ``session.init`` is the first.

        Args:
            now: The time.

        Returns:
            The text of a WebSocket message, or None if there is nothing to send now.
        """
        if self._phase is _Phase.SILENT:
            self._phase = _Phase.OPENING
            self._init_sent_at = now
            return protocol.encode(self._session)
        return self._outbox.popleft() if self._outbox else None

    # --- what the server says ----------------------------------------------------------

    def receive(
        self, data: str | bytes, now: float, *, round_trip_secs: float = 0.0
    ) -> list[ConnectionEvent | Loss]:
        """Take a message of the server and match it. Never raises, whatever it is.

        Args:
            data: Payload of a text or binary message.
            now: The time.
            round_trip_secs: The latest WebSocket ping; 0 before the first.

        Returns:
            What it means, in order. A ``Loss`` is the last of it, and ends the conversation.
        """
        if self._phase is _Phase.OVER:
            return []
        message = protocol.decode(data, self._redacted)
        match message:
            case protocol.ConnectionEstablished():
                return [self._establish(message, now)]
            case protocol.SpeakConfirmed():
                return self._confirm_speech(message, now, round_trip_secs)
            case protocol.InterruptConfirmed():
                command = self._ledger.confirm_interrupt(unsent=self._unsent_interrupts)
                if command is None:
                    return [Unexpected(message, "no interrupt waits for it")]
                return [PlaybackStopped(message, now - command.sent_at)]
            case protocol.ServerError():
                return self._fail(message, now)
            case protocol.UnknownEvent():
                return [Unexpected(message, f"unknown type {message.type!r}")]
            case protocol.Unreadable():
                return [Unexpected(message, message.reason)]

    def measured(self, round_trip_secs: float) -> None:
        """Take a ping, so that the first message has the right size."""
        self._answer_time.observe(round_trip_secs)

    # --- the end -----------------------------------------------------------------------

    def time_out(self) -> Loss:
        """End the conversation, because the answer did not come before the deadline."""
        oldest = self._ledger.oldest
        if oldest is None:
            limit_secs, what = self._establish_timeout_secs, "session.init"
        else:
            limit_secs, what = self._confirm_timeout_secs, oldest.kind.value
        return self._lose(
            LossKind.SILENT, f"the server did not answer {what} within {limit_secs:g} s"
        )

    def end(self) -> None:
        """End the conversation: nothing is said any more. Idempotent."""
        self._phase = _Phase.OVER
        self._outbox.clear()

    # --- inside ------------------------------------------------------------------------

    @property
    def _unsent_interrupts(self) -> int:
        """Interrupts that have not left yet: one, as further ones add nothing, or none."""
        return self._outbox.count(_INTERRUPT)

    def _establish(
        self, message: protocol.ConnectionEstablished, now: float
    ) -> ConnectionEvent | Loss:
        wanted, got = self._session.session_id, message.session_id
        if got is not None and got != wanted:
            reason = f"the server established session {self._quoted(got)}, not {wanted}"
            return self._lose(LossKind.SESSION_REFUSED, reason)
        if self.established:
            return Unexpected(message, "the session is established already")
        if self._phase is _Phase.SILENT:
            return Unexpected(message, "session.init has not been sent yet")
        self._phase = _Phase.ESTABLISHED
        took_secs = now - self._init_sent_at
        self._answer_time.guess(took_secs)
        return Established(wanted, message, took_secs)

    def _confirm_speech(
        self, message: protocol.SpeakConfirmed, now: float, round_trip_secs: float
    ) -> list[ConnectionEvent | Loss]:
        overtaken = self._ledger.overtaken
        command = self._ledger.confirm_speak(message.audio_samples, now)
        if command is not None:
            self._refusals = 0
            took_secs = now - command.sent_at
            self._answer_time.observe(took_secs)
            at = now - min(round_trip_secs, took_secs) / 2
            return [SpeechConfirmed(message, command.samples, at, took_secs, command.overtook)]
        if self._ledger.overtaken != overtaken:
            return []  # It answers what an interruption overtook, as it should.
        return [Unexpected(message, "it confirms no speech that waits")]

    def _fail(self, message: ServerError, now: float) -> list[ConnectionEvent | Loss]:
        ends_session = message.entry.answers is Answers.INIT
        if ends_session or not self.established:
            reason = f"the server refused the session: {self._quoted(message.error)}"
            return [self._lose(LossKind.SESSION_REFUSED, reason, error=message)]
        oldest = self._ledger.oldest
        if oldest is not None and oldest.kind is CommandKind.INTERRUPT:
            return [self._fail_while_interrupting(message, now)]
        command = self._ledger.reject(message, now)
        rejected = command is not None and command.kind is CommandKind.SPEAK
        overtook = command.overtook if command is not None else 0
        told: list[ConnectionEvent | Loss] = [ErrorReported(message, rejected, overtook)]
        self._refusals += rejected
        if self._refusals == _MOST_REFUSALS:
            reason = f"the server refused {self._refusals} messages of speech in a row"
            words = self._quoted(message.error)
            told.append(self._lose(LossKind.SPEECH_REFUSED, f"{reason}: {words}"))
        return told

    def _fail_while_interrupting(self, message: ServerError, now: float) -> ConnectionEvent | Loss:
        """An avatar that does not stop can only be silenced by ending its session.

        So an error counts as the answer to an interrupt only if it says so. Otherwise the
        confirmation may still come, and if it does not, that is noticed in time.
        """
        named = message.entry.answers is Answers.NAMED
        if named and CommandKind.INTERRUPT in message.error:
            reason = f"the server refused {CommandKind.INTERRUPT}: {self._quoted(message.error)}"
            return self._lose(LossKind.INTERRUPT_REFUSED, reason)
        if message.entry.answers is Answers.SPEAK:
            self._ledger.reject(message, now)
        return ErrorReported(message, speech_rejected=False)

    def _lose(self, kind: LossKind, reason: str, *, error: ServerError | None = None) -> Loss:
        self.end()
        return Loss(kind, reason, error=error)

    def _quoted(self, text: str) -> str:
        """Words of others, fit for an error or a log line."""
        return quoted(text, self._redacted)
