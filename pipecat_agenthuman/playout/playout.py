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
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.cues import Cue, CueSheet, Mark
from pipecat_agenthuman.playout.pacing import (
    MIN_MESSAGE_SECS,
    REFILL_SECS,
    SLACK_SECS,
    Pace,
    distinct_size,
    leave_no_crumb,
)
from pipecat_agenthuman.playout.results import Held, Interruption, Speech, SpeechMessage, Surrender
from pipecat_agenthuman.playout.tape import Kind, Tape
from pipecat_agenthuman.playout.utterances import Span, Utterance, Utterances
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_samples, to_secs

ItemT = TypeVar("ItemT")

_REMEMBERED_SIZES: Final = 2
"""Messages whose confirmation, should it come twice, must not be taken for the next one's."""


@dataclass(frozen=True, slots=True)
class _InFlight:
    end: int
    latency_secs: float
    first_audio_at: float | None


class Playout(Generic[ItemT]):
    """The clock of what the avatar says, and the memory of what it has not said yet.

    Positions only grow: heard <= confirmed <= sent <= written. Audio is remembered until it
    was heard, because an interruption or a loss can need the unheard part again.

    Write audio and hold items in the order in which they come; send what ``take_message``
    returns and report each answer; deliver what ``poll`` returns.

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
        self._piece_secs = 0.0
        self._early: list[tuple[Mark[ItemT], float]] = []  # timed, before the first audio

    # --- looking -----------------------------------------------------------------------

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

    def finished(self, now: float) -> bool:
        """Whether everything was heard and every held item was released."""
        return not self._cues and self._clock.heard(now) == self._tape.end

    # --- writing -----------------------------------------------------------------------

    def open_utterance(self, *, interruptible: bool = True) -> None:
        """Begin an utterance; one that is still open is closed. ``pace`` counts from here."""
        self.close_utterance()
        self._utterances.begin(self._tape.end, self.pace, interruptible=interruptible)

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
        unsaid: bool = False,
    ) -> None:
        """Hold an item behind all audio written so far.

        Args:
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
            ends_speech: Whether speech stops when it is due, as with a TTS stop.
            unsaid: Whether nothing could be written of the utterance to which it belongs.
        """
        utterance = self._utterances.latest
        self._cues.hold_behind(
            self._tape.end,
            item,
            interruptible=interruptible,
            ends_speech=ends_speech,
            since=None if utterance is None else utterance.start,
            unsaid=unsaid,
        )

    def hold_timed(self, item: ItemT, at_secs: float, *, interruptible: bool = True) -> None:
        """Hold an item until the sample of the speech to which its timestamp points.

        Args:
            item: What ``Release`` will carry.
            at_secs: Its timestamp, on the clock of ``write``'s ``origin_secs``.
            interruptible: Whether an interruption may drop it.
        """
        utterance = self._utterances.latest
        if utterance is None:
            # No speech to which it could belong: its moment is now.
            self._cues.hold_behind(self._tape.start, item, interruptible=interruptible)
            return
        position = utterance.position_of(at_secs)
        if utterance.end is not None and position >= utterance.end:
            self._cues.hold_behind(utterance.end, item, interruptible=interruptible)
            return
        mark = self._cues.hold_with(position, item, interruptible=interruptible)
        if utterance.origin_secs is None:
            self._early.append((mark, at_secs))

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
        if self._sent == self._tape.end or self._sending_time(now) > now:
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

    def confirmed(self, at: float) -> float | None:
        """The oldest message in flight was confirmed: now it stands on the clock.

        Args:
            at: When the server confirmed it: half a round trip before that was received.

        Returns:
            If an utterance begins in it, when the first audio of that was written.
        """
        if not self._in_flight:
            return None
        message = self._in_flight.popleft()
        self._clock.confirm(message.end, at + message.latency_secs)
        return message.first_audio_at

    def rejected(self, now: float) -> int:
        """The oldest message in flight was refused: it will not sound.

        Returns:
            The number of samples that are lost.
        """
        if not self._in_flight:
            return 0
        start, end = self._clock.end, self._in_flight.popleft().end
        self._tape.strike(start, end)
        self._cues.strike(start, end)
        self._clock.skip(end, now)
        return end - start

    # --- the clock ---------------------------------------------------------------------

    def poll(self, now: float) -> Cue[ItemT] | None:
        """Take the next output that is due, in order, or None.

        Outputs are taken one by one, so that an interruption between two of them still drops
        the second.
        """
        return self._cues.poll(now)

    def next_due(self, now: float, *, can_send: bool = True) -> float | None:
        """When to look again if nothing else happens before.

        Args:
            now: The time.
            can_send: Whether a message could be sent at all.

        Returns:
            A time, in the past if something is due already, or None if only news can help.
        """
        times = [self._cues.next_due()]
        if can_send and self._sent < self._tape.end:
            times.append(self._sending_time(now))
        known = (time for time in times if time is not None and time < math.inf)
        return min(known, default=None)

    def take_heard(self, now: float) -> bytes:
        """Take the audio that was heard since the last call, and forget it.

        To be called whenever ``poll`` has returned None: it is what frees memory.
        """
        end = self._clock.heard(now)
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

    def surrender(self, now: float) -> Surrender[ItemT]:
        """Give up on the avatar: hand over what was not heard, and be idle."""
        heard = self.take_heard(now)
        tape = self._tape
        sent = sum(piece.end - piece.start for piece in tape.audible(tape.start, self._sent))
        rest: list[Speech | Held[ItemT]] = []
        position = tape.start
        for place, held in self._cues.take_all():
            cut = min(max(place, position), tape.end)
            rest += self._speech(position, cut)
            rest.append(Held(held.item, held.unheard))
            position = cut
        rest += self._speech(position, tape.end)
        was_speaking = self._cues.cut(tape.end)
        self._forget_all()
        return Surrender(heard, rest, sent, was_speaking)

    # --- timestamps --------------------------------------------------------------------

    @property
    def timed(self) -> bool:
        """Whether the timestamps of the open utterance mean positions by now."""
        utterance = self._utterances.open
        return utterance is not None and utterance.origin_secs is not None

    def timestamp_shift_secs(self, now: float, clock_secs: float) -> float:
        """How far the open utterance's timestamps lie before its playout, were it played on now.

        Args:
            now: The time.
            clock_secs: The same moment on the clock of the timestamps.
        """
        utterance = self._utterances.open
        if utterance is None or utterance.origin_secs is None:
            return 0.0
        heard_secs = to_secs(max(self._clock.heard(now) - utterance.start, 0))
        return clock_secs - utterance.origin_secs - heard_secs

    # --- inside ------------------------------------------------------------------------

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
        return self._utterances.span(self._sent, self._tape.end, self.pace)

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
