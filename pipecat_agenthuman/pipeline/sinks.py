"""Where speech goes: to the avatar, to the transport, or nowhere. One clock for all of them.

A sink takes audio from the playout and says when it sounds: the avatar by its confirmations, the
transport because it is given each piece just in time. So everything that follows from the clock
(words, bot speaking frames, interruptions, ends) is the same, whoever speaks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from pipecat.frames.frames import Frame

from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
from pipecat_agenthuman.playout.conversion import SpeechConverter, spread
from pipecat_agenthuman.playout.originals import Originals
from pipecat_agenthuman.playout.outgoing import Outgoing
from pipecat_agenthuman.playout.pacing import REFILL_SECS
from pipecat_agenthuman.playout.results import Portion
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE, to_secs

LEAD_SECS: Final = 0.2
"""How much speech the transport has ahead: enough for a busy event loop. It costs nothing, for
an interruption takes it back."""

PAD_AFTER_SECS: Final = 0.1
"""How long the beginning of a piece waits for the rest of it, once the transport has run dry."""


_PLENTY_SECS: Final = 2 * REFILL_SECS
"""So much at the server beyond what it needs, and it does not matter whether speech that waits for
more is known to the sample."""


class AvatarLine(Protocol):
    """The avatar's end of a session: a connection that is up."""

    @property
    def can_speak(self) -> bool:
        """Whether a message may leave now."""
        ...

    @property
    def ambiguous_sizes(self) -> set[int]:
        """Numbers of samples that the next message must not have."""
        ...

    @property
    def confirm_secs(self) -> float:
        """Expected time from sending to confirmation."""
        ...

    @property
    def round_trip_secs(self) -> float:
        """The latest ping; 0 before the first."""
        ...

    def speak(self, audio: bytes) -> None:
        """Send one message."""
        ...

    def interrupt(self) -> bool:
        """Tell the avatar to stop; returns whether it was told."""
        ...


class Sink(Protocol):
    """Takes speech from the playout.

    Attributes:
        plays_on: Whether it plays what is uninterruptible of what it took on, at an interruption
            that drops the rest.
    """

    plays_on: bool

    def due(self, now: float) -> float | None:
        """When ``send`` may have something to do, if nothing else happens before."""
        ...

    async def send(self, now: float) -> bool:
        """Take what may be taken now, or one step of it.

        Returns:
            Whether something else may be due now: of what was taken it is known when it sounds.
        """
        ...

    def interrupted(self, now: float) -> None:
        """What was taken was dropped by an interruption, but for what this sink plays on.

        Args:
            now: Until when it is known what was heard of it.
        """
        ...

    def heard(self, samples: int) -> None:
        """Count what was heard of it."""
        ...


class AvatarSink:
    """The avatar: message by message, each when the one before was confirmed."""

    plays_on = False

    def __init__(self, outgoing: Outgoing[Frame], *, meter: Meter) -> None:
        """Create a sink without a line.

        Args:
            outgoing: The speech that is to be sent.
            meter: Counts.
        """
        self._outgoing = outgoing
        self._meter = meter
        self._line: AvatarLine | None = None

    def attach(self, line: AvatarLine) -> None:
        """A session is up."""
        self._line = line

    def detach(self) -> None:
        """The session is gone: nothing leaves any more."""
        self._line = None

    @property
    def round_trip_secs(self) -> float:
        """The latest ping; 0 before the first, and without a connection."""
        return 0.0 if self._line is None else self._line.round_trip_secs

    @property
    def awaits_answer(self) -> bool:
        """Whether a session is up, and nothing may leave before it has answered."""
        return self._line is not None and not self._line.can_speak

    def needs_none(self, now: float, looks_at: float) -> bool:
        """Whether speech that comes now makes no difference yet.

        Args:
            now: The time.
            looks_at: When somebody looks again, if nothing else happens before.
        """
        if self.awaits_answer:
            return True  # It is news.
        seamless_until = self._outgoing.seamless_until
        has_plenty = now + _PLENTY_SECS < seamless_until and looks_at < seamless_until
        return self._line is not None and has_plenty

    def silence(self) -> None:
        """Tell the avatar to stop, also one that does not seem to be in the room."""
        if self._line is not None and self._line.interrupt():
            self._meter.silenced()

    def confirmed(self, at: float, now: float, *, overtook: int = 0) -> None:
        """A message was confirmed: now it is known when it sounds.

        Args:
            at: When the server confirmed it.
            now: The time.
            overtook: How many messages before it still wait for their answer.
        """
        first_audio_at = self._outgoing.confirmed(at, overtook=overtook)
        self._meter.confirmed(
            audio_took_secs=None if first_audio_at is None else now - first_audio_at,
            round_trip_secs=self.round_trip_secs,
        )

    def rejected(self, now: float, *, overtook: int = 0) -> None:
        """A message was refused: nobody will hear it."""
        self._meter.rejected(self._outgoing.rejected(now, overtook=overtook))

    def due(self, now: float) -> float | None:
        """When a message may leave, if nothing else happens before."""
        line = self._line
        if line is None or not line.can_speak:
            return None
        self._outgoing.confirm_secs = line.confirm_secs
        return self._outgoing.sending_due(now)

    async def send(self, now: float) -> bool:
        """Send the messages that may leave. When they sound, their confirmations tell."""
        if self._outgoing.pass_struck(now):
            return True
        line = self._line
        while line is not None and line.can_speak:
            message = self._outgoing.take_message(now, avoid=line.ambiguous_sizes)
            if message is None:
                break
            line.speak(message.audio)
            self._meter.sent(message.samples)
        return False

    def interrupted(self, now: float) -> None:
        """What was sent is forgotten; the avatar was told."""

    def heard(self, samples: int) -> None:
        """Count what was heard of the avatar."""
        self._meter.heard(samples)


class TransportSink:
    """The transport: piece by piece, each a moment before it sounds."""

    plays_on = True

    def __init__(
        self,
        outgoing: Outgoing[Frame],
        *,
        originals: Originals,
        transport: TransportOutput,
        release: Callable[..., Awaitable[None]],
        meter: Meter,
    ) -> None:
        """Create a sink with nothing in it.

        Args:
            outgoing: The speech that is to be sent.
            originals: The same speech as the TTS service delivered it, where it was kept.
            transport: Plays it.
            release: Takes a held frame that comes next; the transport keeps its order.
            meter: Counts.
        """
        self._outgoing = outgoing
        self._originals = originals
        self._transport = transport
        self._release = release
        self._meter = meter
        self._forget()

    def _forget(self) -> None:
        self._converter: SpeechConverter | None = None
        self._ready = bytearray()  # in the transport's format
        self._interruptible = True
        self._given_samples = 0  # of the transport's, since the run began
        self._told_samples = 0  # of ours, likewise
        self._took_at = 0.0

    def due(self, now: float) -> float | None:
        """When a piece may be given, if nothing else happens before."""
        if self._transport.is_behind(_most_chunks(self._transport.format.secs)):
            return None
        gives_at = self._gives_at
        has_piece = len(self._ready) >= self._transport.format.size
        is_last = self._holds_some and self._outgoing.at_run_end
        if has_piece or is_last or self._outgoing.can_take:
            return gives_at
        return max(gives_at, self._dry_at) if self._holds_some else None

    async def send(self, now: float) -> bool:
        """Give what comes next: the frames in front of a piece, then the piece."""
        chunk = self._transport.format
        if self._gives_at > now:
            return False
        if self._transport.is_behind(_most_chunks(chunk.secs)):
            return False
        if self._outgoing.backlog_secs or self._holds_some:
            releases = self._outgoing.take_before(self._piece_samples)
            for release in releases:
                await self._release(release, since=self._outgoing.sounds_until)
            if releases:
                return True
        piece = self._next_piece(now, chunk.size)
        if piece is None:
            return False
        interruptible = self._interruptible
        starts_at = await self._transport.play(piece, interruptible=interruptible)
        self._given_samples += chunk.samples
        told = round(self._given_samples * WIRE_SAMPLE_RATE / chunk.sample_rate)
        # With the last piece all is told that was taken: the resampler rounds.
        samples = told - self._told_samples if self._holds_some else self._outgoing.untold_samples
        self._outgoing.sounds(samples, starts_at)
        self._told_samples = told
        return True

    def interrupted(self, now: float) -> None:
        """What may be dropped is, also of what was taken and not given yet.

        Args:
            now: Until when it is known what was heard of it.
        """
        self._transport.interrupted(now)
        if self._interruptible:
            self._forget()

    def heard(self, samples: int) -> None:
        """Count what was heard of the transport."""
        self._meter.fell_back(to_secs(samples))

    @property
    def _holds_some(self) -> bool:
        """Whether something was taken of which no piece was made yet."""
        return bool(self._ready) or self._converter is not None

    @property
    def _gives_at(self) -> float:
        """When the next piece may be given.

        Ahead, unless something belongs in front of it that comes behind the beginning of speech:
        then that is told before.
        """
        free_at = self._transport.free_at
        if self._outgoing.awaits_beginning(self._piece_samples):
            return free_at
        return free_at - LEAD_SECS

    @property
    def _piece_samples(self) -> int:
        """Samples of ours in a piece."""
        return round(self._transport.format.secs * WIRE_SAMPLE_RATE)

    @property
    def _dry_at(self) -> float:
        """When the beginning of a piece has waited long enough for the rest."""
        return max(self._transport.free_at, self._took_at) + PAD_AFTER_SECS

    def _next_piece(self, now: float, size: int) -> bytes | None:
        while len(self._ready) < size and not (self._holds_some and self._outgoing.at_run_end):
            portion = self._outgoing.take_portion(now, round(LEAD_SECS * WIRE_SAMPLE_RATE))
            if portion is None:
                break
            self._took_at = now
            self._interruptible = portion.interruptible
            self._ready += self._converted(portion)
        if len(self._ready) < size:
            if not self._holds_some or not (self._outgoing.at_run_end or now >= self._dry_at):
                return None
            self._finish(now, size)
        piece = bytes(self._ready[:size])
        del self._ready[:size]
        return piece or None

    def _finish(self, now: float, size: int) -> None:
        """Nothing follows for the time being: make the last piece whole."""
        if self._converter is not None:
            chunk = self._transport.format
            self._ready += spread(self._converter.flush(), chunk.num_channels)
            self._converter = None
        if not self._outgoing.untold_samples:
            self._ready.clear()  # The resampler's rounding is not worth another piece.
        elif not self._ready:
            # Too little for one sample of the transport's: it is over with what came before.
            over_at = max(self._transport.free_at, now)
            self._outgoing.sounds(self._outgoing.untold_samples, over_at)
        elif over := len(self._ready) % size:
            self._ready += bytes(size - over)
        self._given_samples = self._told_samples = 0

    def _converted(self, portion: Portion) -> bytes:
        """A portion in the transport's format."""
        chunk = self._transport.format
        original = self._originals.read(
            portion.start, portion.start + portion.samples, is_last=portion.is_last
        )
        if original is None:
            audio, rate, channels = portion.audio, WIRE_SAMPLE_RATE, 1
        else:
            audio, rate, channels = original.audio, original.sample_rate, original.num_channels
        fits = rate == chunk.sample_rate and channels == chunk.num_channels
        if fits and self._converter is None:
            return audio
        if self._converter is None:
            self._converter = SpeechConverter(chunk.sample_rate)
        return spread(self._converter.convert(audio, rate, channels), chunk.num_channels)


class SilentSink:
    """Nobody: what there is to say is gone at once."""

    plays_on = False

    def __init__(self, outgoing: Outgoing[Frame], *, meter: Meter) -> None:
        """Create a sink.

        Args:
            outgoing: The speech that is to be sent.
            meter: Counts.
        """
        self._outgoing = outgoing
        self._meter = meter

    def due(self, now: float) -> float | None:
        """At once, if there is anything."""
        return now if self._outgoing.can_drop else None

    async def send(self, now: float) -> bool:
        """Let what there is to say go."""
        if not self._outgoing.can_drop:
            return False
        self._meter.dropped(to_secs(self._outgoing.drop_backlog(now)))
        return True

    def interrupted(self, now: float) -> None:
        """Nothing is left of what was taken."""

    def heard(self, samples: int) -> None:
        """Nothing is ever heard of nobody."""


def _most_chunks(chunk_secs: float) -> int:
    """Pieces that the transport may have at a time: those that lie ahead, and the one it plays."""
    return round(LEAD_SECS / chunk_secs) + 2
