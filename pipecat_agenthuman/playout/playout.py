"""What was written, sent, confirmed and heard.

Everything is a position on one axis, counted in samples at 16 kHz. Audio lies on a ``Tape``
until it was heard, ``Outgoing`` decides what is sent next, ``PlayoutClock`` knows when what was
sent sounds, and a ``CueSheet`` knows which held item is due when. This module joins them, and
does what an interruption demands of all of them.

Pure: time is an argument (seconds on any monotonic clock), and the held items are opaque.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Generic, TypeVar

from pipecat_agenthuman.playout.clock import PlayoutClock
from pipecat_agenthuman.playout.cues import STALL_LIMIT_SECS, CueSheet, Due
from pipecat_agenthuman.playout.hearing import Hearing
from pipecat_agenthuman.playout.marks import Bar, Mark, Marks
from pipecat_agenthuman.playout.outgoing import Outgoing
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.results import HeardPiece, Held, Interruption, Speech
from pipecat_agenthuman.playout.tape import Kind, Tape
from pipecat_agenthuman.playout.utterances import Utterance, Utterances
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_secs

ItemT = TypeVar("ItemT")


class Playout(Generic[ItemT]):
    """The clock of what the avatar says, and the memory of what it has not said yet.

    Positions only grow: heard <= confirmed <= sent <= written. Audio is remembered until it
    was heard, because an interruption or a loss can need the unheard part again.

    Write audio and hold items in the order in which they come; send what ``outgoing`` has, and
    take the ``next_cue`` when it is due.

    Attributes:
        outgoing: What is sent next, and what became of it.
        hearing: What is heard of it in the room, where somebody can listen.
    """

    def __init__(self, pace: Pace | None = None) -> None:
        """Create an idle playout.

        Args:
            pace: How fast to send; the defaults of ``Pace`` if None.
        """
        self._tape = Tape()
        self._clock = PlayoutClock()
        self.hearing = Hearing()
        self._utterances = Utterances(pace or Pace())
        self._marks: Marks[ItemT] = Marks()
        self._cues = CueSheet(self._marks, self._clock, self._utterances)
        self.outgoing = Outgoing(
            tape=self._tape,
            clock=self._clock,
            utterances=self._utterances,
            marks=self._marks,
            cues=self._cues,
            hearing=self.hearing,
        )
        self._written_at = -math.inf
        self._items_before = 0  # the open utterance
        self._early: list[tuple[Mark[ItemT], float]] = []  # timed, before the first audio

    # --- looking -----------------------------------------------------------------------

    @property
    def pace(self) -> Pace:
        """How fast to send; counts for the next utterance that opens."""
        return self._utterances.pace

    @pace.setter
    def pace(self, pace: Pace) -> None:
        self._utterances.pace = pace.measured(self.hearing.latency.secs)

    def adopt_latency(self) -> None:
        """Let the latency that was heard count for the next utterance that opens.

        It never counts within one: what was begun at one latency ends at it, so no moment that
        was told moves.
        """
        self.pace = self.pace

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
    def held_items(self) -> int:
        """Number of items that wait for their moment."""
        return len(self._marks)

    @property
    def awaits_moment(self) -> bool:
        """Whether an item waits for a moment, whatever sounds."""
        return self._marks.first_moment is not None

    def unheard_secs(self, now: float) -> float:
        """Seconds of audio, sent or not, that nobody has heard yet."""
        return to_secs(self._tape.end - self._clock.heard(now))

    def remaining_secs(self, now: float) -> float:
        """Seconds until all that was written is heard, if nothing goes wrong."""
        scheduled = max(self._clock.ends_at - now, 0.0)
        unconfirmed = to_secs(self._tape.end - self._clock.end)
        if not unconfirmed:
            return scheduled
        latency_secs = self._utterances.pace_at(self.outgoing.position).latency_secs
        return max(scheduled, self.outgoing.confirm_secs + latency_secs) + unconfirmed

    def under_way(self, now: float) -> bool:
        """Whether somebody speaks: what was sent is unheard yet, or speech goes on from there.

        Speech that has no end counts as over when it counts as stopped.
        """
        sent = self.outgoing.position
        if sent > self._clock.heard(now):
            return True
        goes_on = self.speaking or now - self._written_at < STALL_LIMIT_SECS
        return goes_on and self._utterances.has_begun(sent)

    def finished(self, now: float) -> bool:
        """Whether everything was heard and every held item was released."""
        return not self._marks and self._clock.heard(now) == self._tape.end

    # --- writing -----------------------------------------------------------------------

    def open_utterance(self, *, interruptible: bool = True) -> None:
        """Begin an utterance; one that is still open is closed. ``pace`` counts from here."""
        self.close_utterance()
        self._utterances.begin(self._tape.end, interruptible=interruptible)
        self._items_before = self._marks.count

    def write(
        self,
        audio: bytes,
        now: float,
        *,
        interruptible: bool = True,
        origin_secs: float | None = None,
        is_tail: bool = False,
        since: float | None = None,
        pieces: int = 1,
    ) -> None:
        """Append audio to the open utterance; opens one if there is none.

        Args:
            audio: 16 kHz mono PCM; empty if a converter holds back all that came.
            now: The time.
            interruptible: Whether an interruption may cut it; ends the utterance, too, if the
                latest audio is.
            origin_secs: The moment on the clock of ``hold_timed``. That of the first audio of
                an utterance, empty or not, is where its timestamps begin, unless
                ``begin_timestamps`` came before.
            is_tail: Whether it is what a converter held back of the audio before it. It does not
                start speech again that has stopped since all of that came.
            since: When the first of it came; ``now`` if None.
            pieces: In how many pieces it came.
        """
        utterance = self._utterances.open or self._utterances.begin(
            self._tape.end, interruptible=interruptible
        )
        utterance.interruptible = interruptible
        if utterance.first_audio_at is None:
            utterance.first_audio_at = now
        if utterance.origin_secs is None and origin_secs is not None:
            self._set_origin(utterance, origin_secs)
        if not is_tail:
            self._cues.more_came()
        samples = len(audio) // BYTES_PER_SAMPLE
        if not samples:
            return
        self._written_at = now
        piece_secs = to_secs(samples) / pieces
        self.outgoing.expect(piece_secs, now if since is None else since)
        start = self._tape.end
        self._tape.append(audio, Kind.of(interruptible=interruptible))
        if is_tail and utterance.start < start:
            self._cues.end_behind(start, self._tape.end)

    @property
    def awaits_origin(self) -> bool:
        """Whether nothing told yet where the timestamps of what is written next begin."""
        utterance = self._utterances.open
        return utterance is None or utterance.origin_secs is None

    def begin_timestamps(self, origin_secs: float) -> None:
        """The timestamps of the open utterance begin here, or earlier, also before its audio."""
        utterance = self._utterances.open
        if utterance is None:
            return
        if utterance.origin_secs is None or origin_secs < utterance.origin_secs:
            self._set_origin(utterance, origin_secs)

    def close_utterance(self) -> None:
        """End the open utterance: nothing more comes, so what is there goes out at once."""
        if self._utterances.open is None:
            return
        self._utterances.finish(self._tape.end)
        self._early.clear()
        self._marks.end_at(self._tape.end)

    def hold(
        self,
        item: ItemT,
        *,
        interruptible: bool = True,
        ends_speech: bool = False,
        bar: Bar = Bar.NEVER,
        unsaid: bool = False,
        comes_before: bool = False,
        since: int | None = None,
    ) -> None:
        """Hold an item behind all audio written so far.

        Args:
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
            ends_speech: Whether speech stops when it is due, as with a TTS stop.
            bar: Whether what sounds behind it must not be sent before it is released.
            unsaid: Whether nothing could be written of the utterance to which it belongs.
            comes_before: Whether it belongs to speech that is still to come, and not to what is
                before it.
            since: Where the speech begins to which it belongs, if that is amid the utterance.
        """
        utterance = None if comes_before else self._utterances.latest
        begins = None if utterance is None else utterance.start
        self._marks.hold_behind(
            self._tape.end,
            item,
            interruptible=interruptible,
            ends_speech=ends_speech,
            bar=bar,
            since=begins if since is None else since,
            unsaid=unsaid,
        )

    def move_behind(self, end: int) -> None:
        """Let the items of the open utterance that stood at its end stand there again.

        Args:
            end: Where it ended before more was written.
        """
        if self._utterances.open is not None and end < self._tape.end:
            self._marks.move_behind(end, self._tape.end, since=self._items_before)

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
            self._marks.hold_behind(self._tape.start, item, interruptible=interruptible, timed=True)
            return
        position = utterance.position_of(at_secs)
        mark = self._marks.hold_with(
            position, item, interruptible=interruptible, follows_sound=follows_sound
        )
        if utterance.end is not None and position >= utterance.end:
            self._marks.end_at(utterance.end)
        elif utterance.origin_secs is None:
            self._early.append((mark, at_secs))

    def hold_at_start(self, item: ItemT, *, interruptible: bool = True) -> None:
        """Hold an item until the latest utterance begins: behind all before, ahead of its sound.

        Args:
            item: What ``Release`` will carry.
            interruptible: Whether an interruption may drop it.
        """
        utterance = self._utterances.latest
        start = self._tape.end if utterance is None else utterance.start
        self._marks.hold_behind(start, item, interruptible=interruptible, timed=True)

    def hold_until(self, item: ItemT, at: float, *, interruptible: bool = True) -> None:
        """Hold an item until a moment, whatever sounds.

        Args:
            item: What ``Release`` will carry.
            at: The moment, on the clock of ``now``.
            interruptible: Whether an interruption may drop it.
        """
        self._marks.hold_until(at, item, interruptible=interruptible)

    # --- the clock ---------------------------------------------------------------------

    def next_cue(self, *, known_until: float = math.inf) -> Due[ItemT] | None:
        """The next output in order, due or not; None if only news can help.

        Outputs are taken one by one, so that an interruption between two of them still drops
        the second.

        Args:
            known_until: What sounds then, and from then on, may yet turn out to be late.
        """
        self._cues.expects_more = self._utterances.has_begun(self._clock.end)
        return self._cues.next(known_until)

    def heard(self, now: float) -> int:
        """Position behind all audio that was heard until a time."""
        return self._clock.heard(now)

    def heard_pieces(self, now: float) -> Iterator[HeardPiece]:
        """What ``take_heard`` would take, each piece with its place."""
        for piece in self._tape.audible(self._tape.start, self._clock.heard(now)):
            yield HeardPiece(piece.start, self._tape.read(piece.start, piece.end))

    def take_heard(self, now: float) -> bytes:
        """Take the audio that was heard since the last call, and forget it.

        To be called whenever no cue is due: it is what frees memory.
        """
        heard = b"".join(piece.audio for piece in self.heard_pieces(now))
        end = max(self._clock.heard(now), self._tape.start)
        if end > self._tape.start:
            self._tape.forget(end)
        self._clock.forget(self._cues.told_until(end))
        self._utterances.forget(end)
        return heard

    # --- ends --------------------------------------------------------------------------

    def interrupt(self, now: float, *, plays_on: bool = False) -> Interruption:
        """Forget unheard audio and held items, except what is uninterruptible.

        What stays keeps its order. If the server must be told to stop, it forgets all it has;
        uninterruptible audio is then sent again from the sample where it stopped.

        Args:
            now: The time.
            plays_on: Whether who speaks forgets nothing that is uninterruptible: what was sent of
                that goes on, without what was in between.
        """
        heard = self.take_heard(now)
        tape = self._tape
        # What the server has decides; if it has nothing, what is left to say does.
        sent = self.outgoing.position
        decisive = sent if sent > tape.start else tape.end
        send_interrupt = tape.holds(tape.start, decisive, Kind.INTERRUPTIBLE) or not tape.holds(
            tape.start, decisive, Kind.UNINTERRUPTIBLE
        )
        keeps = tape.holds(tape.start, tape.end, Kind.UNINTERRUPTIBLE)
        cut = tape.start if send_interrupt else sent
        starts_over = send_interrupt and not plays_on
        relaid = tape.drop_interruptible(cut, keep_before=not starts_over)
        self._marks.follow(relaid)
        self._utterances.follow(relaid)
        if self._utterances.open is None:
            # Audio that items were to follow never comes.
            self._early.clear()
            self._marks.end_at(tape.end)
        if starts_over:
            self.outgoing.restart(relaid.origin, now)
        elif send_interrupt:
            self.outgoing.follow(relaid, now)
        if send_interrupt:
            self.hearing.cut(now)
        self.outgoing.begin_backlog(now)
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

    def has_timeline(self, now: float) -> bool:
        """Whether there is unheard speech, or more to come, whose timestamps mean positions."""
        utterance = self._utterances.latest
        if utterance is None or utterance.origin_secs is None:
            return False
        return utterance.end is None or utterance.end > self._clock.heard(now)

    # --- inside ------------------------------------------------------------------------

    def _set_origin(self, utterance: Utterance, origin_secs: float) -> None:
        """Now timestamps mean positions, also those that came before the first audio."""
        utterance.origin_secs = origin_secs
        early = ((mark, utterance.position_of(at_secs)) for mark, at_secs in self._early)
        self._marks.move(early)
        self._early.clear()

    def _speech(self, start: int, end: int) -> Iterator[Speech]:
        for piece in self._tape.audible(start, end):
            audio = self._tape.read(piece.start, piece.end)
            yield Speech(audio, piece.kind is Kind.INTERRUPTIBLE)

    def _forget_all(self) -> None:
        self._tape.clear()
        self._early.clear()
        self._utterances.clear()
        self.outgoing.restart(self._tape.end, -math.inf)
        self.hearing.forget()
