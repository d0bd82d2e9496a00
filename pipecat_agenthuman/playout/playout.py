"""What was written, sent, confirmed and heard.

Everything is a position on one axis, counted in samples at 16 kHz. Audio lies on a ``Tape``
until it was heard, ``PlayoutClock`` knows when confirmed audio sounds, and a ``CueSheet`` knows
which held item is due when. This module joins them, decides what is sent next, and does what
an interruption or a loss demands of all of them.

Pure: time is an argument (seconds on any monotonic clock), and the held items are opaque.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import Final, Generic, TypeVar

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.cues import STALL_LIMIT_SECS, Cue, CueSheet, Mark, Release
from pipecat_agenthuman.playout.pacing import (
    MIN_MESSAGE_SECS,
    REFILL_SECS,
    SLACK_SECS,
    Pace,
    distinct_size,
    leave_no_crumb,
)
from pipecat_agenthuman.playout.results import (
    Held,
    Interruption,
    Portion,
    Speech,
    SpeechMessage,
)
from pipecat_agenthuman.playout.tape import Kind, Tape
from pipecat_agenthuman.playout.utterances import Span, Utterance, Utterances
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_samples, to_secs

ItemT = TypeVar("ItemT")

_REMEMBERED_SIZES: Final = 2
"""Messages whose confirmation, should it come twice, must not be taken for the next one's."""


@dataclass(slots=True)
class _InFlight:
    """A message on its way.

    Attributes:
        end: Position behind it.
        latency_secs: From its confirmation to its sound.
        first_audio_at: If an utterance begins in it, when the first audio of that was written.
        confirmed_at: When it was confirmed, if that came before the answer to one before it.
        rejected: Whether it was refused, likewise.
    """

    end: int
    latency_secs: float
    first_audio_at: float | None
    confirmed_at: float | None = None
    rejected: bool = False


class Playout(Generic[ItemT]):
    """The clock of what the avatar says, and the memory of what it has not said yet.

    Positions only grow: heard <= confirmed <= sent <= written. Audio is remembered until it
    was heard, because an interruption or a loss can need the unheard part again.

    Write audio and hold items in the order in which they come; deliver what ``poll`` returns.
    Audio goes to one mouth at a time. To one that answers: send what ``take_message`` returns
    and report each answer. To one that plays what it is given just in time: give it what
    ``take_portion`` returns, with ``take_before`` in front of it, and tell when it ``sounds``.
    To none: ``drop_backlog``. If a mouth falls silent, ``recall`` lets another one go on.

    Attributes:
        pace: Counts for the next utterance that opens.
        confirm_secs: Estimated time from sending a message to its confirmation.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        """Create an idle playout.

        Args:
            pace: How fast to send; the defaults of ``Pace`` if None.
        """
        self.pace = pace or Pace()
        self.confirm_secs = 0.0
        self._tape = Tape()
        self._clock = PlayoutClock()
        self._cues: CueSheet[ItemT] = CueSheet(self._clock)
        self._sent = 0
        self._in_flight: deque[_InFlight] = deque()
        self._utterances = Utterances()
        self._recent_sizes: deque[int] = deque(maxlen=_REMEMBERED_SIZES)
        self._backlog_since = -math.inf
        self._written_at = -math.inf
        self._items_before = 0  # the open utterance
        self._piece_secs = 0.0
        self._run: tuple[int, Kind] | None = None  # of the latest portion
        self._early: list[tuple[Mark[ItemT], float]] = []  # timed, before the first audio

    # --- looking -----------------------------------------------------------------------

    @property
    def sounds_until(self) -> float:
        """When all is over of which it is known when it sounds."""
        return self._clock.ends_at

    @property
    def start(self) -> int:
        """Position behind all audio that ``take_heard`` returned."""
        return self._tape.start

    @property
    def end(self) -> int:
        """Position behind all audio that was written."""
        return self._tape.end

    @property
    def speaking(self) -> bool:
        """Whether a ``Started`` came whose ``Stopped`` is still due."""
        return self._cues.speaking

    @property
    def backlog_secs(self) -> float:
        """Seconds of audio that were written and not sent."""
        return to_secs(self._tape.end - self._sent)

    @property
    def held_items(self) -> int:
        """Number of items that wait for their moment."""
        return len(self._cues)

    def unheard_secs(self, now: float) -> float:
        """Seconds of audio, sent or not, that nobody has heard yet."""
        return to_secs(self._tape.end - self._clock.heard(now))

    def remaining_secs(self, now: float) -> float:
        """Seconds until all that was written is heard, if nothing goes wrong."""
        scheduled = max(self._clock.ends_at - now, 0.0)
        unconfirmed = to_secs(self._tape.end - self._clock.end)
        if not unconfirmed:
            return scheduled
        latency_secs = self._utterances.pace_at(self._sent, self.pace).avatar_latency_secs
        return max(scheduled, self.confirm_secs + latency_secs) + unconfirmed

    def under_way(self, now: float) -> bool:
        """Whether somebody speaks: what was sent is unheard yet, or speech goes on from there.

        Speech that has no end counts as over when it counts as stopped.
        """
        if self._sent > self._clock.heard(now):
            return True
        goes_on = self.speaking or now - self._written_at < STALL_LIMIT_SECS
        return goes_on and self._utterances.has_begun(self._sent)

    def finished(self, now: float) -> bool:
        """Whether everything was heard and every held item was released."""
        return not self._cues and self._clock.heard(now) == self._tape.end

    # --- writing -----------------------------------------------------------------------

    def open_utterance(self, *, interruptible: bool = True) -> None:
        """Begin an utterance; one that is still open is closed. ``pace`` counts from here."""
        self.close_utterance()
        self._utterances.begin(self._tape.end, self.pace, interruptible=interruptible)
        self._items_before = self._cues.count

    def write(
        self,
        audio: bytes,
        now: float,
        *,
        interruptible: bool = True,
        origin_secs: float | None = None,
    ) -> None:
        """Append audio to the open utterance; opens one if there is none.

        Args:
            audio: 16 kHz mono PCM.
            now: The time.
            interruptible: Whether an interruption may cut it; ends the utterance, too, if the
                latest audio is.
            origin_secs: The moment on the clock of ``hold_timed``. That of the first audio of
                an utterance, empty or not, is where its timestamps begin, unless
                ``begin_timestamps`` came before.
        """
        utterance = self._utterances.open or self._utterances.begin(
            self._tape.end, self.pace, interruptible=interruptible
        )
        utterance.interruptible = interruptible
        if utterance.first_audio_at is None:
            utterance.first_audio_at = now
        if utterance.origin_secs is None and origin_secs is not None:
            self._set_origin(utterance, origin_secs)
        samples = len(audio) // BYTES_PER_SAMPLE
        if not samples:
            return
        self._written_at = now
        if self._sent == self._tape.end:
            self._backlog_since = now
        self._piece_secs = to_secs(samples)
        self._tape.append(audio, Kind.of(interruptible=interruptible))

    def begin_timestamps(self, origin_secs: float) -> None:
        """The timestamps of the open utterance begin here, though its audio has yet to come."""
        utterance = self._utterances.open
        if utterance is not None and utterance.origin_secs is None:
            self._set_origin(utterance, origin_secs)

    def close_utterance(self) -> None:
        """End the open utterance: nothing more comes, so what is there goes out at once."""
        if self._utterances.open is None:
            return
        self._utterances.finish(self._tape.end)
        self._early.clear()
        self._cues.end_at(self._tape.end)

    def hold(
        self,
        item: ItemT,
        *,
        interruptible: bool = True,
        ends_speech: bool = False,
        bars_sound: bool = False,
        unsaid: bool = False,
    ) -> None:
        """Hold an item behind all audio written so far.

        Args:
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
            ends_speech: Whether speech stops when it is due, as with a TTS stop.
            bars_sound: Whether what sounds behind it must not be sent before it is released.
            unsaid: Whether nothing could be written of the utterance to which it belongs.
        """
        utterance = self._utterances.latest
        self._cues.hold_behind(
            self._tape.end,
            item,
            interruptible=interruptible,
            ends_speech=ends_speech,
            bars_sound=bars_sound,
            since=None if utterance is None else utterance.start,
            unsaid=unsaid,
        )

    def move_behind(self, end: int) -> None:
        """Let the items of the open utterance that stood at its end stand there again.

        Args:
            end: Where it ended before more was written.
        """
        if self._utterances.open is not None and end < self._tape.end:
            self._cues.move_behind(end, self._tape.end, since=self._items_before)

    def hold_timed(
        self,
        item: ItemT,
        at_secs: float,
        *,
        interruptible: bool = True,
        follows_sound: bool = True,
    ) -> None:
        """Hold an item until the sample of the speech to which its timestamp points.

        Args:
            item: What ``Release`` will carry.
            at_secs: Its timestamp, on the clock of ``write``'s ``origin_secs``.
            interruptible: Whether an interruption may drop it.
            follows_sound: Whether it comes with the last sound if the speech is over before, as
                a word does. Otherwise it waits until the moment that its timestamp means.
        """
        utterance = self._utterances.latest
        if utterance is None:
            # No speech to which it could belong: its moment is now.
            self._cues.hold_behind(self._tape.start, item, interruptible=interruptible, timed=True)
            return
        position = utterance.position_of(at_secs)
        mark = self._cues.hold_with(
            position, item, interruptible=interruptible, follows_sound=follows_sound
        )
        if utterance.end is not None and position >= utterance.end:
            self._cues.end_at(utterance.end)
        elif utterance.origin_secs is None:
            self._early.append((mark, at_secs))

    def hold_until(self, item: ItemT, at: float, *, interruptible: bool = True) -> None:
        """Hold an item until a moment, whatever sounds.

        Args:
            item: What ``Release`` will carry.
            at: The moment, on the clock of ``now``.
            interruptible: Whether an interruption may drop it.
        """
        self._cues.hold_until(at, item, interruptible=interruptible)

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
        self._pass_struck(now)
        if self._sent == self._limit() or self._sending_time(now) > now:
            return None
        span = self._span()
        available = span.end - self._sent
        # Rejected audio can fill the room, but the queue runs empty all the same.
        room = max(self._room(now), to_samples(REFILL_SECS))
        samples = min(available, room, to_samples(span.pace.max_message_secs))
        samples = leave_no_crumb(samples, available)
        is_rest = span.flushes and samples == available
        if not is_rest:  # What an end leaves over would come late, what goes on leaves nothing.
            avoid = {*avoid, *self._recent_sizes}
        samples = distinct_size(samples, avoid, is_rest=is_rest)
        self._recent_sizes.append(samples)
        start, self._sent = self._sent, self._sent + samples
        first_audio_at = self._utterances.first_audio_in(start, self._sent)
        latency_secs = span.pace.avatar_latency_secs
        self._in_flight.append(_InFlight(self._sent, latency_secs, first_audio_at))
        return SpeechMessage(self._tape.read(start, self._sent))

    def sending_due(self, now: float) -> float | None:
        """When ``take_message`` may have one, if nothing else happens before; None if never."""
        if self._meets_struck:
            return now
        if self._sent == self._limit():
            return None
        due = self._sending_time(now)
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
        self._pass_struck(now)
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
    def untold(self) -> bool:
        """Whether something was taken of which nobody told yet that it sounds."""
        return self._clock.end < self._sent

    @property
    def at_run_end(self) -> bool:
        """Whether what was taken is complete: what follows, if anything, is something else."""
        bar = self._cues.first_bar(or_end=True)
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

    def take_before(self, samples: int) -> list[Release[ItemT]]:
        """Take the items that stand in the next samples to sound, to be given before these."""
        return self._cues.take_before(self._clock.end + samples)

    def drop_backlog(self, now: float) -> int:
        """Nobody says what was not sent.

        Returns:
            The number of samples that are lost.
        """
        bar = self._cues.first_bar(or_end=False)
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
        bar = self._cues.first_bar(or_end=False)
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
        return samples

    # --- the clock ---------------------------------------------------------------------

    def poll(self, now: float, *, signs: bool = True) -> Cue[ItemT] | None:
        """Take the next output that is due, in order, or None.

        Outputs are taken one by one, so that an interruption between two of them still drops
        the second.

        Args:
            now: The time.
            signs: Whether the beginning and the end of speech may be taken.
        """
        self._cues.expects_more = self._expects_more
        return self._cues.poll(now, signs=signs)

    def next_due(self, *, signs: bool = True) -> float | None:
        """When ``poll`` has an output, in the past if it has one; None if only news can help."""
        self._cues.expects_more = self._expects_more
        return self._cues.next_due(signs=signs)

    def take_heard(self, now: float) -> bytes:
        """Take the audio that was heard since the last call, and forget it.

        To be called whenever ``poll`` has returned None: it is what frees memory.
        """
        end = max(self._clock.heard(now), self._tape.start)
        audible = self._tape.audible(self._tape.start, end)
        heard = b"".join(self._tape.read(piece.start, piece.end) for piece in audible)
        self._tape.forget(end)
        self._clock.forget(end)
        self._utterances.forget(end)
        return heard

    # --- ends --------------------------------------------------------------------------

    def interrupt(self, now: float) -> Interruption:
        """Forget unheard audio and held items, except what is uninterruptible.

        What stays keeps its order. If the server must be told to stop, it forgets all it has;
        uninterruptible audio is then sent again from the sample where it stopped.
        """
        heard = self.take_heard(now)
        tape = self._tape
        # What the server has decides; if it has nothing, what is left to say does.
        decisive = self._sent if self._sent > tape.start else tape.end
        send_interrupt = tape.holds(tape.start, decisive, Kind.INTERRUPTIBLE) or not tape.holds(
            tape.start, decisive, Kind.UNINTERRUPTIBLE
        )
        keeps = tape.holds(tape.start, tape.end, Kind.UNINTERRUPTIBLE)
        cut = tape.start if send_interrupt else self._sent
        relaid = tape.drop_interruptible(cut, keep_before=not send_interrupt)
        self._cues.follow(relaid)
        self._utterances.follow(relaid)
        if self._utterances.open is None:
            # Audio that items were to follow never comes.
            self._early.clear()
            self._cues.end_at(tape.end)
        self._backlog_since = now
        if send_interrupt:
            self._sent = relaid.origin
            self._in_flight.clear()
            self._clock.reset(relaid.origin, now)
        stopped = not keeps and self._cues.cut(tape.end)
        return Interruption(send_interrupt, stopped, heard, relaid.dropped)

    def hand_over(self, now: float) -> list[Speech | Held[ItemT]]:
        """Take all that was not heard, in order, with the held items in their places."""
        self.take_heard(now)
        tape = self._tape
        rest: list[Speech | Held[ItemT]] = []
        position = tape.start
        for place, held in self._cues.take_all():
            cut = min(max(place, position), tape.end)
            rest += self._speech(position, cut)
            rest.append(Held(held.item, held.unheard))
            position = cut
        rest += self._speech(position, tape.end)
        self._forget_all()
        return rest

    def end_speech(self) -> bool:
        """Nothing more is said; returns whether speech had begun whose end the caller owes."""
        return self._cues.cut(self._tape.end)

    # --- timestamps --------------------------------------------------------------------

    @property
    def has_timeline(self) -> bool:
        """Whether there is unheard speech whose timestamps mean positions."""
        utterance = self._utterances.latest
        return utterance is not None and utterance.origin_secs is not None

    # --- inside ------------------------------------------------------------------------

    def _limit(self, *, or_end: bool = False) -> int:
        """Up to where audio may be sent: what bars it must come before what sounds behind."""
        struck = self._tape.first_struck(self._sent)
        bars = (self._cues.first_bar(or_end=or_end), None if struck is None else struck.start)
        limit = min((bar for bar in bars if bar is not None), default=self._tape.end)
        return max(min(limit, self._tape.end), self._sent)

    @property
    def _meets_struck(self) -> bool:
        """Whether what comes next was refused, so that it is passed over."""
        struck = self._tape.first_struck(self._sent)
        return struck is not None and struck.start == self._sent

    def _pass_struck(self, now: float) -> None:
        """What was refused is not sent again after a recall."""
        struck = self._tape.first_struck(self._sent)
        follows = bool(self._in_flight) or self._clock.end == self._sent
        if struck is not None and struck.start == self._sent and follows:
            self._sent = struck.end
            self._in_flight.append(_InFlight(struck.end, 0.0, None, rejected=True))
            self._settle_answers(now)

    def _run_end(self) -> int:
        """Up to where audio is of one utterance and of one kind, and may be sent."""
        end = min(self._limit(or_end=True), self._utterances.end_at(self._sent, self._tape.end))
        pieces = self._tape.audible(self._sent, end)
        return next((piece.end for piece in pieces if piece.start == self._sent), self._sent)

    def _run_at(self, position: int) -> tuple[int, Kind] | None:
        """Which run a sample on the tape belongs to."""
        piece = next(self._tape.audible(position, position + 1), None)
        return piece and (self._utterances.start_at(position), piece.kind)

    @property
    def _expects_more(self) -> bool:
        """Whether the utterance goes on of which the last on the clock is."""
        return self._utterances.has_begun(self._clock.end)

    def _answered(self, overtook: int) -> _InFlight | None:
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
                self._clock.confirm(message.end, message.confirmed_at + message.latency_secs)
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

    def _set_origin(self, utterance: Utterance, origin_secs: float) -> None:
        """Now timestamps mean positions, also those that came before the first audio."""
        utterance.origin_secs = origin_secs
        early = ((mark, utterance.position_of(at_secs)) for mark, at_secs in self._early)
        self._cues.move(early)
        self._early.clear()

    def _speech(self, start: int, end: int) -> Iterator[Speech]:
        for piece in self._tape.audible(start, end):
            audio = self._tape.read(piece.start, piece.end)
            yield Speech(audio, piece.kind is Kind.INTERRUPTIBLE)

    def _forget_all(self) -> None:
        self._tape.clear()
        self._sent = self._tape.end
        self._in_flight.clear()
        self._early.clear()
        self._utterances.clear()
        self._clock.reset(self._tape.end)

    def _span(self) -> Span:
        limit = self._limit()
        span = self._utterances.span(self._sent, limit, self.pace)
        bar = self._cues.first_bar(or_end=False)
        # What stands in front of a bar waits for nothing that comes behind it.
        return replace(span, flushes=True) if bar == limit == span.end else span

    def _sending_time(self, now: float) -> float:
        """From when on the backlog may be sent; infinity if that needs news."""
        span = self._span()
        available = span.end - self._sent
        reaches_silence = self._clock.ends_at <= now + span.pace.avatar_latency_secs
        if not self._in_flight and reaches_silence:
            enough = span.pace.first_message_secs(self.confirm_secs, self._piece_secs)
            if span.flushes or to_secs(available) >= enough:
                return now
            # Until it would be full, had the audio behind the first piece come in real time.
            return self._backlog_since + max(enough - self._piece_secs, 0.0) + SLACK_SECS
        if not span.flushes and to_secs(available) < MIN_MESSAGE_SECS:
            # More comes, and goes with it, unless the TTS service stalls just here.
            if self._in_flight:
                return math.inf
            until_silence = span.pace.avatar_latency_secs + self.confirm_secs + SLACK_SECS
            return max(self._clock.ends_at - until_silence, now)
        refill = min(available, to_samples(REFILL_SECS))
        if self._room(now) >= refill:
            return now
        limit = to_samples(span.pace.lead_limit_secs(self.confirm_secs))
        refilled = self._clock.end_time(self._sent + refill - limit)
        return math.inf if refilled is None else max(refilled, now)

    def _room(self, now: float) -> int:
        """Samples that may be sent until the lead reaches its limit."""
        limit_secs = self._span().pace.lead_limit_secs(self.confirm_secs)
        if limit_secs == math.inf:
            return self._tape.end - self._sent
        return to_samples(limit_secs) - (self._sent - self._clock.heard(now))
