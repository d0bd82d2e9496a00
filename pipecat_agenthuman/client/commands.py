"""Which command does an answer belong to, and when is it to be expected? Pure.

The protocol has no correlation ids. Commands are answered in order, so the oldest one that
waits is the natural match; but an interruption overtakes confirmations that are still under
way, and a confirmation can be late, missing or come twice. Two things keep such a one from
being credited to a later utterance: speech that an interruption overtook is remembered as
*abandoned*, and messages are sized so that the number of samples in a confirmation tells
which of them it means (see ``ambiguous_sizes``).

Where the number does not tell, because it is missing or the server counts otherwise than we
do, the order decides: speech that still waits is younger than every interrupt that was
answered, so what an interrupt overtook has been answered, or never will be.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pipecat_agenthuman.wire.protocol import Answers, ServerError

_ABANDONED_FOR_SECS: Final = 60.0
"""How long an answer to speech that was overtaken may still come."""

_REMEMBERED_ABANDONED: Final = 64
"""Messages under way when an interruption came; more than a handful rarely are."""

_REPEATED_FOR_SECS: Final = 2.0
"""How long an answer may still come a second time."""

_REMEMBERED_ANSWERS: Final = 8
"""Answers that are told from a repetition."""


class CommandKind(StrEnum):
    """What a command asks for; the values are the message types."""

    SPEAK = "agent.speak"
    INTERRUPT = "agent.interrupt"


@dataclass(slots=True, eq=False)
class Command:
    """A command that was sent.

    Attributes:
        kind: What it asks for.
        samples: Samples of speech at 16 kHz; 0 for an interrupt.
        sent_at: When it was handed to the socket.
        answered: Whether an answer came that left it among the abandoned: it can be confirmed
            once more, or in spite of an error.
        overtook: When it was answered: how much speech that was sent before still waited.
        forgotten_at: Once it is abandoned: until when an answer may come, or come once more.
    """

    kind: CommandKind
    samples: int
    sent_at: float
    answered: bool = False
    overtook: int = 0
    forgotten_at: float = field(init=False)

    def __post_init__(self) -> None:
        """Expect its answer for as long as one may be late."""
        self.forgotten_at = self.sent_at + _ABANDONED_FOR_SECS


@dataclass(frozen=True, slots=True)
class _ExpectedAnswer:
    """A confirmation that came: what it said, and when."""

    audio_samples: int
    at: float


class CommandLedger:
    """The commands without an answer, in the order in which they were sent."""

    def __init__(self, *, max_unconfirmed: int, confirm_timeout_secs: float) -> None:
        """Create an empty ledger.

        Args:
            max_unconfirmed: Most ``agent.speak`` that may wait for confirmation.
            confirm_timeout_secs: Time within which every command must be answered.
        """
        self._max_unconfirmed = max_unconfirmed
        self._confirm_timeout_secs = confirm_timeout_secs
        self._waiting: deque[Command] = deque()
        self._abandoned: deque[Command] = deque(maxlen=_REMEMBERED_ABANDONED)
        self._answers: deque[_ExpectedAnswer] = deque(maxlen=_REMEMBERED_ANSWERS)
        self._counts_differ = False

    @property
    def can_speak(self) -> bool:
        """Whether speech may leave: no interrupt waits, and not too much speech does."""
        if len(self._waiting) >= self._max_unconfirmed:
            return False
        return not any(command.kind is CommandKind.INTERRUPT for command in self._waiting)

    def ambiguous_sizes(self, now: float) -> set[int]:
        """Sizes in samples of speech that can still be answered; the next must differ."""
        self._forget_old(now)
        return {command.samples for command in (*self._abandoned, *self._speech())}

    @property
    def overtaken(self) -> int:
        """How many commands whose answer is not wanted any more are still to be answered."""
        return sum(not command.answered for command in self._abandoned)

    @property
    def oldest(self) -> Command | None:
        """The command that has waited longest."""
        return self._waiting[0] if self._waiting else None

    @property
    def deadline(self) -> float | None:
        """When the oldest command must have been answered, or None if nothing waits."""
        return self._waiting[0].sent_at + self._confirm_timeout_secs if self._waiting else None

    def speak(self, samples: int, now: float) -> None:
        """Speech was sent."""
        self._waiting.append(Command(CommandKind.SPEAK, samples, now))

    def interrupt(self, now: float, *, unsent: int = 0) -> None:
        """An interrupt was sent: speech before it is abandoned, whatever comes of it.

        Args:
            now: The time.
            unsent: How many messages of speech, the latest, never left: nothing answers them.
        """
        self._forget_old(now)
        speech = [command for command in self._waiting if command.kind is CommandKind.SPEAK]
        self._abandoned.extend(speech[: max(len(speech) - unsent, 0)])
        self._waiting = deque(
            command for command in self._waiting if command.kind is CommandKind.INTERRUPT
        )
        self._waiting.append(Command(CommandKind.INTERRUPT, 0, now))

    def confirm_speak(self, audio_samples: int | None, now: float) -> Command | None:
        """Match a speech confirmation.

        Args:
            audio_samples: The number of samples it names, or None if it names none.
            now: The time.

        Returns:
            The live command that it confirms; None if it belongs to abandoned speech, repeats
            an earlier confirmation, or answers nothing.
        """
        self._forget_old(now)
        candidates = sorted([*self._abandoned, *self._speech()], key=lambda c: c.answered)
        command = next((c for c in candidates if c.samples == audio_samples), None)
        if command is None:
            if self._repeats(audio_samples):
                return None
            command = self._next_by_order()
            self._counts_differ |= audio_samples is not None and command is not None
        if command is None:
            return None
        if audio_samples is not None:
            self._answers.append(_ExpectedAnswer(audio_samples, now))
        if command in self._abandoned:
            command.answered = True
            command.forgotten_at = now + _REPEATED_FOR_SECS
            return None
        self._take(command)
        return command

    def confirm_interrupt(self, *, unsent: int = 0) -> Command | None:
        """Match an interrupt confirmation.

        Args:
            unsent: How many interrupts, the latest, never left: nothing answers them.

        Returns:
            The interrupt that it confirms; None if none waits.
        """
        interrupts = [c for c in self._waiting if c.kind is CommandKind.INTERRUPT]
        if len(interrupts) <= unsent:
            return None
        self._waiting.remove(interrupts[0])
        return interrupts[0]

    def reject(self, error: ServerError, now: float) -> Command | None:
        """Match an error to the command that it most plausibly answers.

        Returns:
            The live command that failed; None if it answers none, or one that was abandoned.
        """
        self._forget_old(now)
        match error.entry.answers:
            case Answers.INIT:
                return None
            case Answers.SPEAK:
                command = self._next_by_order()
                if command is not None and command in self._abandoned:
                    command.answered = True
                    return None
            case Answers.NAMED:
                command = next((c for c in self._waiting if c.kind in error.error), None)
            case Answers.OLDEST:
                command = self.oldest
        if command is not None:
            self._take(command)
            if command.kind is CommandKind.SPEAK:
                # Should it be confirmed all the same, that must not be taken for another's.
                command.answered = True
                self._abandoned.append(command)
        return command

    def _take(self, command: Command) -> None:
        command.overtook = list(self._speech()).index(command) if command.samples else 0
        self._waiting.remove(command)

    def _speech(self) -> Iterator[Command]:
        return (command for command in self._waiting if command.kind is CommandKind.SPEAK)

    def _next_by_order(self) -> Command | None:
        """The speech that is answered next, if nothing else tells."""
        overtaken = (command for command in self._abandoned if not command.answered)
        return next(self._speech(), None) or next(overtaken, None)

    def _repeats(self, audio_samples: int | None) -> bool:
        """Whether a confirmation repeats one that came already."""
        if self._counts_differ:
            return False  # Different messages can have the same number then.
        return any(answer.audio_samples == audio_samples for answer in self._answers)

    def _forget_old(self, now: float) -> None:
        for command in [one for one in self._abandoned if one.forgotten_at < now]:
            self._abandoned.remove(command)
        while self._answers and self._answers[0].at + _REPEATED_FOR_SECS < now:
            self._answers.popleft()


class AnswerTime:
    """How long the server takes to confirm, smoothed as TCP smooths its round trip."""

    _GAIN: Final = 0.125
    _SPREAD_GAIN: Final = 0.25

    def __init__(self) -> None:
        """Create an estimate that knows nothing yet."""
        self._guess = 0.0
        self._mean: float | None = None
        self._spread = 0.0

    @property
    def expected_secs(self) -> float:
        """What a confirmation takes, spread included; a guess before the first measurement."""
        return self._guess if self._mean is None else self._mean + self._spread

    def guess(self, secs: float) -> None:
        """Go by something similar until there is a measurement; 0 if there is nothing."""
        self._guess = secs

    def observe(self, took_secs: float) -> None:
        """Take a measurement: a ping, or the time from a message to its confirmation."""
        if self._mean is None:
            self._mean = took_secs
            return
        error = took_secs - self._mean
        self._mean += self._GAIN * error
        self._spread += self._SPREAD_GAIN * (abs(error) - self._spread)
