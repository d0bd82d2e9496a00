"""What is sent next, and what becomes of it. Pure.

Audio leaves the tape at one position, in one of three ways: in messages that are answered, in
portions that are played when they are given, or not at all. What an answer or a player tells
puts it on the clock; what was refused, or nobody is to say, is struck.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection
from dataclasses import replace
from typing import Final, Generic, TypeVar

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.cues import CueSheet, Release
from pipecat_agenthuman.playout.hearing import Hearing
from pipecat_agenthuman.playout.in_flight import InFlight
from pipecat_agenthuman.playout.marks import Marks
from pipecat_agenthuman.playout.pacing import (
    MIN_MESSAGE_SECS,
    REFILL_SECS,
    SLACK_SECS,
    Pace,
    Reserve,
    distinct_size,
    leave_no_crumb,
)
from pipecat_agenthuman.playout.results import Portion, SpeechMessage
from pipecat_agenthuman.playout.tape import Kind, Relaid, Tape
from pipecat_agenthuman.playout.utterances import Span, Utterances
from pipecat_agenthuman.wire.pcm import to_samples, to_secs

ItemT = TypeVar("ItemT")

_REMEMBERED_SIZES: Final = 2
"""Messages whose confirmation, should it come twice, must not be taken for the next one's."""


class Outgoing(Generic[ItemT]):
    """The way from the tape to the clock.

    Audio goes to one sink at a time. To one that answers: send what ``take_message`` returns
    and report each answer. To one that plays what it is given just in time: give it what
    ``take_portion`` returns, with ``take_before`` in front of it, and tell when it ``sounds``.
    To none: ``drop_backlog``. If a sink falls silent, ``recall`` lets another one go on.

    Attributes:
        confirm_secs: Estimated time from sending a message to its confirmation.
    """

    def __init__(
        self,
        *,
        tape: Tape,
        clock: PlayoutClock,
        utterances: Utterances,
        marks: Marks[ItemT],
        cues: CueSheet[ItemT],
        hearing: Hearing,
    ) -> None:
        """Send nothing yet.

        Args:
            tape: What was written.
            clock: When it sounds.
            utterances: Where they begin and end, and at what pace they go.
            marks: What bars the way.
            cues: What else is due.
            hearing: Is told what is to sound where it can be heard.
        """
        self.confirm_secs = 0.0
        self._tape = tape
        self._clock = clock
        self._utterances = utterances
        self._marks = marks
        self._cues = cues
        self._hearing = hearing
        self._sent = 0
        self._in_flight: deque[InFlight] = deque()
        self._recent_sizes: deque[int] = deque(maxlen=_REMEMBERED_SIZES)
        self._backlog_since = -math.inf
        self._piece_secs = 0.0
        self._reserve = Reserve()
        self._run: tuple[int, Kind] | None = None  # of the latest portion

    # --- looking -----------------------------------------------------------------------

    @property
    def position(self) -> int:
        """Position behind all audio that was sent."""
        return self._sent

    @property
    def sounds_until(self) -> float:
        """When all is over of which it is known when it sounds."""
        return self._clock.ends_at

    @property
    def backlog_secs(self) -> float:
        """Seconds of audio that were written and not sent."""
        return to_secs(self._tape.end - self._sent)

    # --- sending -----------------------------------------------------------------------

    def take_message(self, now: float, *, avoid: Collection[int] = ()) -> SpeechMessage | None:
        """Take the audio that should be sent now; the caller sends it.

        Args:
            now: The time.
            avoid: Sizes in samples that the message must not have, because a late answer to
                an earlier message of that size could be mistaken for its own.

        Returns:
            The next message, or None if there is nothing to send or a reason to wait.
        """
        self.pass_struck(now)
        span = self._span()
        available = span.end - self._sent
        if not available or self._sending_time(span, now) > now:
            return None
        # Rejected audio can fill the room, but the queue runs empty all the same.
        room = max(self._room(span, now), to_samples(REFILL_SECS))
        samples = min(available, room, to_samples(span.pace.max_message_secs))
        samples = leave_no_crumb(samples, available)
        is_rest = span.flushes and samples == available
        if not is_rest:  # What an end leaves over would come late, what goes on leaves nothing.
            avoid = {*avoid, *self._recent_sizes}
        samples = distinct_size(samples, avoid, is_rest=is_rest)
        self._recent_sizes.append(samples)
        start, self._sent = self._sent, self._sent + samples
        first_audio_at = self._utterances.first_audio_in(start, self._sent)
        latency_secs = span.pace.latency_secs
        reserve_secs = to_secs(samples) - self.confirm_secs - self._piece_secs
        self._in_flight.append(InFlight(self._sent, latency_secs, first_audio_at, reserve_secs))
        return SpeechMessage(self._tape.read(start, self._sent))

    @property
    def seamless_until(self) -> float:
        """When the next message has to leave, at the latest, so that there is no gap."""
        return self._seamless_until(self._utterances.pace_at(self._sent))

    def pass_struck(self, now: float) -> bool:
        """Pass over what was refused: it is not sent again after a recall.

        Args:
            now: The time.

        Returns:
            Whether there was any. What stands behind it may be due now.
        """
        struck = self._tape.first_struck(self._sent)
        follows = bool(self._in_flight) or self._clock.end == self._sent
        if struck is None or struck.start != self._sent or not follows:
            return False
        self._sent = struck.end
        self._in_flight.append(InFlight(struck.end, 0.0, None, rejected=True))
        self._settle_answers(now)
        return True

    def sending_due(self, now: float) -> float | None:
        """When ``take_message`` may have one, if nothing else happens before; None if never."""
        if self._meets_struck:
            return now
        span = self._span()
        if span.end == self._sent:
            return None
        due = self._sending_time(span, now)
        return None if due == math.inf else due

    def confirmed(self, at: float, *, overtook: int = 0) -> float | None:
        """A message in flight was confirmed: it stands on the clock when all before it do.

        Args:
            at: When the server confirmed it: half a round trip before that was received.
            overtook: How many messages before it still wait for their answer.

        Returns:
            If an utterance begins in it, when the first audio of that was written.
        """
        message = self._answered(overtook)
        if message is None:
            return None
        message.confirmed_at = at
        self._settle_answers(at)
        return message.first_audio_at

    def rejected(self, now: float, *, overtook: int = 0) -> int:
        """A message in flight was refused: it will not sound.

        Args:
            now: The time.
            overtook: How many messages before it still wait for their answer.

        Returns:
            The number of samples that are lost.
        """
        message = self._answered(overtook)
        if message is None:
            return 0
        ends = [self._clock.end, *(one.end for one in self._in_flight)]
        start = max(end for end in ends if end < message.end)
        message.rejected = True
        self._tape.strike(start, message.end)  # also if answers before it are still to come
        self._settle_answers(now)
        return message.end - start

    # --- giving, just in time ----------------------------------------------------------

    def take_portion(self, now: float, samples: int) -> Portion | None:
        """Take audio for somebody who plays it when it is given; then tell that it ``sounds``.

        Args:
            now: The time.
            samples: How much at most.

        Returns:
            Audio of one utterance and of one kind; None if there is none to take.
        """
        self.pass_struck(now)
        start, end = self._sent, min(self._run_end(), self._sent + samples)
        if end == start:
            return None
        self._sent, self._run = end, self._run_at(start)
        interruptible = not self._tape.holds(start, end, Kind.UNINTERRUPTIBLE)
        is_last = not self._utterances.has_begun(end)
        return Portion(start, self._tape.read(start, end), interruptible, is_last)

    @property
    def can_take(self) -> bool:
        """Whether ``take_portion`` would have something, or there is something to pass over."""
        return self._run_end() > self._sent or self._meets_struck

    @property
    def untold_samples(self) -> int:
        """How much was taken of which nobody told yet that it sounds."""
        return max(self._sent - self._clock.end, 0)

    @property
    def at_run_end(self) -> bool:
        """Whether what was taken is complete: what follows, if anything, is something else."""
        bar = self._marks.first_bar(or_end=True)
        if bar is not None and bar <= self._sent:
            return True
        if self._sent < self._tape.end:
            return self._run_at(self._sent) != self._run
        return not self._utterances.has_begun(self._sent)

    def sounds(self, samples: int, at: float) -> None:
        """What was taken and does not stand on the clock yet sounds.

        Args:
            samples: How much of it.
            at: When its first sample sounds.
        """
        end = min(self._clock.end + samples, self._sent)
        if end > self._clock.end:
            self._clock.confirm(end, at)

    def delayed(self, now: float, secs: float) -> None:
        """What was taken and has not sounded yet sounds later than was told."""
        self._clock.delay(now, secs)

    def take_before(self, samples: int) -> list[Release[ItemT]]:
        """Take the items that stand in the next samples to sound, to be given before these."""
        return self._cues.take_before(self._clock.end + samples)

    def awaits_beginning(self, samples: int) -> bool:
        """Whether more stands in the next samples, but behind a beginning that was not told yet."""
        return self._cues.awaits_beginning(self._clock.end + samples)

    def drop_backlog(self, now: float) -> int:
        """Nobody says what was not sent.

        Returns:
            The number of samples that are lost.
        """
        bar = self._marks.first_bar(or_end=False)
        start, end = self._sent, self._tape.end if bar is None else min(bar, self._tape.end)
        if end <= start:
            return 0
        samples = sum(piece.end - piece.start for piece in self._tape.audible(start, end))
        self._sent = end
        self._skip(end, now)
        return samples

    @property
    def can_drop(self) -> bool:
        """Whether ``drop_backlog`` would have something to drop."""
        bar = self._marks.first_bar(or_end=False)
        return self._sent < (self._tape.end if bar is None else min(bar, self._tape.end))

    def recall(self, now: float) -> int:
        """What was sent and not heard counts as unsent again: somebody else is to say it.

        Returns:
            Its number of samples.
        """
        heard = self._clock.heard(now)
        samples = sum(piece.end - piece.start for piece in self._tape.audible(heard, self._sent))
        self._sent = heard
        self._in_flight.clear()
        self._clock.recall(now)
        self._hearing.forget()
        return samples

    # --- the tape changes --------------------------------------------------------------

    def expect(self, piece_secs: float, since: float) -> None:
        """Audio is about to be written.

        Args:
            piece_secs: The length of the pieces in which it came.
            since: When the first of them came.
        """
        if self._sent == self._tape.end:
            self._backlog_since = since
        self._piece_secs = piece_secs

    def restart(self, position: int, now: float) -> None:
        """The server forgets all that it has: what is left to send begins at a position."""
        self._sent = position
        self._in_flight.clear()
        self._clock.reset(position, now)

    def follow(self, relaid: Relaid, now: float) -> None:
        """What is uninterruptible of what was given, or taken to be given, goes on."""
        self._clock.follow(relaid, now)
        self._sent = relaid.moved(self._sent)
        self._run = self._run_at(self._sent - 1)

    def begin_backlog(self, now: float) -> None:
        """What is left to send waits from now on."""
        self._backlog_since = now

    # --- inside ------------------------------------------------------------------------

    def _limit(self, *, or_end: bool = False) -> int:
        """Up to where audio may be sent: what bars it must come before what sounds behind."""
        struck = self._tape.first_struck(self._sent)
        bars = (self._marks.first_bar(or_end=or_end), None if struck is None else struck.start)
        limit = min((bar for bar in bars if bar is not None), default=self._tape.end)
        return max(min(limit, self._tape.end), self._sent)

    @property
    def _meets_struck(self) -> bool:
        """Whether what comes next was refused, so that it is passed over."""
        struck = self._tape.first_struck(self._sent)
        return struck is not None and struck.start == self._sent

    def _run_end(self) -> int:
        """Up to where audio is of one utterance and of one kind, and may be sent."""
        end = min(self._limit(or_end=True), self._utterances.end_at(self._sent, self._tape.end))
        pieces = self._tape.audible(self._sent, end)
        return next((piece.end for piece in pieces if piece.start == self._sent), self._sent)

    def _run_at(self, position: int) -> tuple[int, Kind] | None:
        """Which run a sample on the tape belongs to."""
        piece = next(self._tape.audible(position, position + 1), None)
        return piece and (self._utterances.start_at(position), piece.kind)

    def _answered(self, overtook: int) -> InFlight | None:
        """The message that an answer means."""
        waiting = [m for m in self._in_flight if m.confirmed_at is None and not m.rejected]
        return waiting[overtook] if overtook < len(waiting) else None

    def _settle_answers(self, now: float) -> None:
        """Put on the clock what is answered, and all before it, too."""
        while self._in_flight:
            message = self._in_flight[0]
            if message.rejected:
                self._skip(message.end, now)
            elif message.confirmed_at is not None:
                if message.first_audio_at is None:
                    self._reserve.note(self._clock.runs_dry_at - message.confirmed_at)
                else:
                    self._reserve.begin(message.reserve_secs)
                self._hearing.confirmed(
                    self._tape.read(self._clock.end, message.end),
                    message.confirmed_at,
                    begins=message.first_audio_at is not None,
                )
                self._clock.confirm(message.end, message.confirmed_at, message.latency_secs)
            else:
                return
            self._in_flight.popleft()

    def _skip(self, end: int, now: float) -> None:
        """What comes next on the clock, up to a position, is not heard of anybody."""
        start = self._clock.end
        if end > start:
            self._tape.strike(start, end)
            self._cues.strike(start, end)
            self._clock.skip(end, now)

    def _span(self) -> Span:
        limit = self._limit()
        span = self._utterances.span(self._sent, limit)
        bar = self._marks.first_bar(or_end=False)
        # What stands in front of a bar waits for nothing that comes behind it.
        return replace(span, flushes=True) if bar == limit == span.end else span

    def _sending_time(self, span: Span, now: float) -> float:
        """From when on of a span something may be sent; infinity if that needs news."""
        available = span.end - self._sent
        reaches_silence = self._clock.ends_at <= now + span.pace.latency_secs
        if not self._in_flight and reaches_silence:
            enough = span.pace.first_message_secs(
                self.confirm_secs, self._piece_secs, self._reserve.secs
            )
            if span.flushes or to_secs(available) >= enough:
                return now
            # Until it would be full, had the audio behind the first piece come in real time.
            return self._backlog_since + max(enough - self._piece_secs, 0.0) + SLACK_SECS
        if not span.flushes:
            # More comes, and goes with it, unless the TTS service stalls just here.
            waits_until = self._waits_until(to_secs(available), span.pace)
            if waits_until > now:
                return waits_until
        refill = min(available, to_samples(REFILL_SECS))
        if self._room(span, now) >= refill:
            return now
        limit = to_samples(span.pace.lead_limit_secs(self.confirm_secs))
        refilled = self._clock.end_time(self._sent + refill - limit)
        return math.inf if refilled is None else max(refilled, now)

    def _waits_until(self, secs: float, pace: Pace) -> float:
        """How long audio may wait for more to go with it.

        Not longer than it is certain to be seamless, and while the server has more than that in
        reserve: so a stall tears no gap unless it takes half of all that there is.
        """
        if secs >= REFILL_SECS:
            return -math.inf
        is_crumb = secs < MIN_MESSAGE_SECS
        if is_crumb and self._in_flight:
            return math.inf  # Its answer is news.
        seamless_until = self._seamless_until(pace)
        return seamless_until if is_crumb else seamless_until - secs

    def _seamless_until(self, pace: Pace) -> float:
        """When the next message has to leave, at the latest, so that there is no gap."""
        sounds_until = self._clock.ends_at + to_secs(self._sent - self._clock.end)
        return sounds_until - pace.latency_secs - self.confirm_secs - SLACK_SECS

    def _room(self, span: Span, now: float) -> int:
        """Samples that may be sent until the lead reaches its limit."""
        limit_secs = span.pace.lead_limit_secs(self.confirm_secs)
        if limit_secs == math.inf:
            return self._tape.end - self._sent
        return to_samples(limit_secs) - (self._sent - self._clock.heard(now))
