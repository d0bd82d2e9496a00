"""What is said: what was taken in comes out when it is heard.

Does what Pipecat's output transport does with audio that it plays itself: bot speaking
frames in both directions, frames held behind the audio before them, word frames at their
moment, and what an interruption demands. Who says it is another's concern: there is one clock
for the avatar and whoever stands in for it.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from typing import Final

from pipecat.frames.frames import (
    BotSpeakingFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.availability import Availability
from pipecat_agenthuman.pipeline.frame_traits import (
    SOUNDS,
    SPOKEN_TEXT,
    HandedOnFrame,
    speech_frame,
)
from pipecat_agenthuman.pipeline.heard_audio import HeardAudio
from pipecat_agenthuman.pipeline.intake import Intake
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.rounds import Rounds
from pipecat_agenthuman.pipeline.sinks import AvatarSink, Sink
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
from pipecat_agenthuman.playout.cues import Cue, Release, Speaking, Started, Stopped
from pipecat_agenthuman.playout.latency import Latency, LatencySource
from pipecat_agenthuman.playout.originals import Originals
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.playout.playout import Playout
from pipecat_agenthuman.playout.results import Interruption, Speech
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE

HEARD_PIECE_SECS: Final = 0.04
"""How often heard audio is passed on: the piece in which Pipecat's output transport plays."""

END_SILENCE_SECS: Final = 0.15
"""Before the avatar leaves: when the last sample sounded is an estimate. Pipecat's own output
plays silence at the end for the same reason."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """What there is to deliver later.

    Attributes:
        due: When; None if only news can help.
        needs_transport: Whether it waits until the transport is done with what it has.
    """

    due: float | None
    needs_transport: bool


class AvatarOutput:
    """The speech of one bot.

    Attributes:
        rounds: Wakes the driver, and lets others wait for what it brings about.
        lock: Held while something is delivered. Whoever pushes frames that belong between
            deliveries takes it; nobody holds it for longer than pushing a frame takes.
        playout: What is written, sent and heard.
        originals: The speech as the TTS service delivered it, where no avatar was in sight.
        intake: Takes what is to be said.
        avatar: The avatar, as somebody who can say it.
        heard_at: When audio was heard last.
        heard_audio: What was heard of the avatar, to be pushed downstream if that is wanted.
        passes_heard_audio: Whether audio is pushed downstream as it is heard.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        availability: Availability,
        meter: Meter,
        pace: Pace,
        pass_heard_audio: bool = False,
    ) -> None:
        """Create a silent output.

        Args:
            processor: Pushes the frames.
            availability: Whether the avatar may speak.
            meter: Counts.
            pace: How fast to send.
            pass_heard_audio: Whether to push the avatar's audio downstream as it is heard.
        """
        self._processor = processor
        self._meter = meter
        self.passes_heard_audio = pass_heard_audio
        self.rounds = Rounds()
        self.lock = asyncio.Lock()
        self.playout: Playout[Frame] = Playout(pace)
        self.originals = Originals()
        self.avatar = AvatarSink(self.playout.outgoing, meter=meter)
        self.transport = TransportOutput(
            processor,
            now=self.now,
            on_news=self.rounds.wake,
            on_through=self.rounds.came_through,
            on_late=self.playout.outgoing.delayed,
        )
        self._speaker: Sink | None = None
        self.intake = Intake(
            processor,
            availability=availability,
            playout=self.playout,
            originals=self.originals,
            transport=self.transport,
            meter=meter,
            now=self.now,
            on_news=self.rounds.wake,
            on_speech=self.rounds.wrote,
            needs_none=self._needs_none,
        )
        self.heard_at = -math.inf
        self.heard_audio = HeardAudio()
        self._meter.believes(self.latency)

    # --- looking -----------------------------------------------------------------------

    @staticmethod
    def now() -> float:
        """The time, in seconds, on the clock of the playout."""
        return time.monotonic()

    @property
    def speaker(self) -> Sink | None:
        """Who speaks, or spoke last."""
        return self._speaker

    @property
    def idle(self) -> bool:
        """Whether everything was heard and every frame released.

        Speech that no start announced has no stop either: it is over when it counts as stopped.
        """
        goes_on = self.intake.is_open and (self.intake.awaits_stop or self.playout.speaking)
        return not goes_on and self.playout.finished(self._known(self.now()))

    @property
    def has_unheard(self) -> bool:
        """Whether audio was written that nobody has heard yet."""
        return self.unheard_secs > 0

    @property
    def unheard_secs(self) -> float:
        """Seconds of audio that nobody has heard yet."""
        return self.playout.unheard_secs(self.now())

    @property
    def remaining_secs(self) -> float:
        """Seconds until all that was written is heard, if nothing goes wrong."""
        return self.playout.remaining_secs(self.now())

    @property
    def may_sound_secs(self) -> float:
        """Seconds for which the last that was heard may yet sound in the room; then it is over.

        That a confirmation took half of the round trip is a guess: a server that answers late
        looks like a slow network, and then all sounds later by the other half.
        """
        silence_secs = END_SILENCE_SECS + self.avatar.round_trip_secs / 2
        return max(self.heard_at + silence_secs - self.now(), 0.0)

    @property
    def measures_latency(self) -> bool:
        """Whether what is heard of the avatar counts, so that somebody should listen."""
        return self.playout.pace.measures_latency

    @property
    def latency(self) -> Latency:
        """From a confirmation to the sound in the room, as it counts for the next utterance."""
        if not self.measures_latency:
            return Latency(self.playout.pace.avatar_latency_secs, LatencySource.SET)
        return self.playout.hearing.latency

    # --- who speaks --------------------------------------------------------------------

    def takes_floor(self) -> bool:
        """Take the floor if there is something to say, or leave it; returns whether it is ours.

        Whoever else stands before the same transport waits meanwhile.
        """
        if self.has_unheard or self.playout.speaking or self.transport.speaks:
            return self.transport.floor.take(self.rounds)
        self.transport.floor.leave(self.rounds)
        return True

    def under_way(self, now: float) -> bool:
        """Whether somebody speaks: what was sent is unheard yet, or speech goes on from there."""
        return self.playout.under_way(self._known(now))

    async def wait_until_over(self) -> None:
        """Wait until everything was heard, for certain: then the avatar may leave."""
        await self.rounds.wait_until(lambda: self.idle)
        while (secs := self.may_sound_secs) > 0:
            await asyncio.sleep(secs)
            await self.rounds.wait_until(lambda: self.idle)

    def let_speak(self, speaker: Sink | None, now: float) -> None:
        """Let somebody speak from now on, or nobody; what was heard until now is another's."""
        self._count_heard(now)
        self._speaker = speaker
        if speaker is self.avatar:
            self.originals.clear()

    def recall(self) -> int:
        """Who speaks cannot go on: what nobody heard is to be said by somebody else.

        Returns:
            How many samples of it had been sent.
        """
        now = self.now()
        self.let_speak(None, now)
        samples = self.playout.outgoing.recall(now)
        self.rounds.wake()
        return samples

    def change_pace(self, pace: Pace) -> None:
        """Send at another pace, from the next utterance on."""
        self.playout.pace = pace
        self._meter.believes(self.latency)

    def adopt_latency(self) -> None:
        """Let what was heard count from the next utterance on, unless the latency is fixed."""
        self.playout.adopt_latency()
        self._meter.believes(self.latency)

    def settle_speech(self) -> None:
        """Take what came while it made no difference, if it may make one now."""
        if not (self._speaker is self.avatar and self.avatar.awaits_answer):
            self.intake.settle()

    # --- frames out --------------------------------------------------------------------

    async def deliver(self, now: float) -> Delivery | None:
        """Deliver the next thing that is due, if anything is. Call with the lock.

        Speech begins and ends only when all frames before that have come through: the frames
        that say so overtake others.

        Returns:
            None if anything was delivered; else what there is to deliver later.
        """
        known_until = self.transport.known_until
        cue = self.playout.next_cue(known_until=known_until)
        is_due = cue is not None and cue.at <= now
        # The last of what was heard comes before the stop, and what sounds behind it comes behind.
        until = now if cue is None else min(cue.at, now)
        is_over = is_due and cue is not None and cue.is_sign and self.playout.speaking
        # While speech sounds something is due every 200 ms: often enough to count what was heard.
        counts = is_due or self.passes_heard_audio or not self.playout.speaking
        # What is passed on comes out of the transport, and that is news: another round.
        if counts and await self.pass_heard(until, is_over=is_over, by_piece=not is_due):
            return None
        must_settle = cue is not None and cue.is_sign and not self.transport.settled
        if cue is not None and is_due and not must_settle:
            await self._deliver(cue.take())
            return None
        piece_at = None if is_due else self._next_piece_at(now)  # It waits for what is due, too.
        times = (None if cue is None or must_settle else cue.at, piece_at)
        due = min((time for time in times if time is not None), default=None)
        return Delivery(due, needs_transport=must_settle or known_until < math.inf)

    def _next_piece_at(self, now: float) -> float | None:
        """When the next piece of heard audio is passed on; None if there is none to come."""
        if not (self.passes_heard_audio and self.playout.speaking):
            return None
        return now + max(HEARD_PIECE_SECS - self.heard_audio.waiting_secs, 0.0)

    async def pass_heard(
        self, until: float, *, is_over: bool = False, by_piece: bool = False
    ) -> bool:
        """Take note of what was heard until a time, and pass it on if that is wanted.

        Args:
            until: The time.
            is_over: Whether an utterance ends there.
            by_piece: Whether what is less than a piece waits for more, if more is to come.

        Returns:
            Whether anything was passed on.
        """
        self._count_heard(until)
        if not self.passes_heard_audio:
            return False
        is_over = is_over or self.playout.outgoing.sounds_until <= until
        if by_piece and not is_over and self.heard_audio.waiting_secs < HEARD_PIECE_SECS:
            return False
        heard = self.playout.heard(self._known(until))
        audio = self.heard_audio.take(before=heard, is_over=is_over)
        if not audio:
            return False
        frame = speech_frame(audio, self.heard_audio.sample_rate, interruptible=False)
        await self.transport.give(frame, is_kept=True)
        return True

    async def release(self, release: Release[Frame], *, since: float = -math.inf) -> None:
        """Push a held frame: its moment has come.

        Args:
            release: The frame.
            since: When the sound in front of it is over, if it is pushed ahead of that to
                somebody who keeps its order with the sound.
        """
        if _is_lost(release.item, unheard=release.unheard):
            return
        held = self._due_now(release.item)
        if isinstance(held, SOUNDS):
            await self.transport.give_sound(held)
        else:
            await self.transport.give(held, since=since)

    async def push_speaking(self, kind: type[Frame]) -> None:
        """Push a bot speaking frame in both directions."""
        await self._processor.broadcast_frame(kind)

    async def _deliver(self, cue: Cue[Frame]) -> None:
        match cue:
            case Started(silent=silent):
                if not silent:
                    await self._meter.sounded(self.now())
                await self.push_speaking(BotStartedSpeakingFrame)
            case Speaking():
                await self.push_speaking(BotSpeakingFrame)
            case Stopped():
                await self.push_speaking(BotStoppedSpeakingFrame)
            case Release():
                await self.release(cue)

    def note_heard(self) -> None:
        """Take note of what was heard until now."""
        self._count_heard(self.now())

    def _count_heard(self, until: float) -> None:
        until = self._known(until)
        if self.passes_heard_audio and self._speaker is self.avatar:
            for piece in self.playout.heard_pieces(until):
                self.heard_audio.add(piece)
        audio = self.playout.take_heard(until)
        self.originals.forget(self.playout.start)
        if not audio or self._speaker is None:
            return
        self.heard_at = self.now()
        self._speaker.heard(len(audio) // BYTES_PER_SAMPLE)

    # --- ends --------------------------------------------------------------------------

    def interrupt(self) -> Interruption:
        """Cut all that an interruption may drop, and silence the avatar. Waits for nothing."""
        now = self._known(self.now())
        self._count_heard(now)
        self.intake.interrupt()
        plays_on = self._speaker is not None and self._speaker.plays_on
        interruption = self.playout.interrupt(now, plays_on=plays_on)
        self.transport.forget_interruptible()
        if interruption.send_interrupt:
            self.avatar.silence()
            if self._speaker is not None:
                self._speaker.interrupted(now)
        self._meter.interrupted(interruption.dropped_samples)
        self.rounds.wake()
        return interruption

    async def end_speech(self) -> None:
        """Nothing more is said: end speech that has no end of its own. Call with the lock."""
        if self.playout.end_speech():
            await self.push_speaking(BotStoppedSpeakingFrame)

    def take_unheard(self) -> list[Frame]:
        """Take everything that nobody heard, in order: audio at 16 kHz, and the held frames.

        For when nothing else can be done; nothing is left.
        """
        self.intake.finish()
        now = self._known(self.now())
        self.let_speak(None, now)
        self.transport.floor.leave(self.rounds)
        frames: list[Frame] = []
        for part in self.playout.hand_over(now):
            if isinstance(part, Speech):
                kept = not part.interruptible
                frames.append(speech_frame(part.audio, WIRE_SAMPLE_RATE, interruptible=not kept))
            elif not _is_lost(part.item, unheard=part.unheard):
                frames.append(self._due_now(part.item))
        return frames

    # --- inside ------------------------------------------------------------------------

    def _needs_none(self, now: float) -> bool:
        """Whether speech that comes now makes no difference before the driver looks."""
        is_avatar = self._speaker is self.avatar
        return is_avatar and self.avatar.needs_none(now, self.rounds.next_look)

    def _known(self, now: float) -> float:
        """Until when it is known, at a time, what was heard."""
        return min(now, self.transport.known_until)

    def _due_now(self, held: Frame) -> Frame:
        """A held frame whose moment is now, also if speech before it was refused or cut."""
        if held.pts:
            held.pts = min(held.pts, self._processor.get_clock().get_time())
        return held


def _is_lost(frame: Frame, *, unheard: bool) -> bool:
    """Whether a held frame does not go on: nobody heard its words, or it was meant for us."""
    return isinstance(frame, HandedOnFrame) or (unheard and isinstance(frame, SPOKEN_TEXT))
