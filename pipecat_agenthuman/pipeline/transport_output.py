"""What the output transport was given, and what came out of it.

Nothing here guesses what the transport is doing. Its frames come out in the order in which it
was given them, each when it is done with it, and every processor tells when it pushes a frame:
that is watched. Where no transport is in sight, or one does not tell, durations count instead.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from pipecat.frames.frames import (
    Frame,
    OutputAudioRawFrame,
    OutputTransportMessageFrame,
    TTSStoppedFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman.pipeline.frame_traits import (
    SOUNDS,
    StandInAudioFrame,
    duration_secs,
    passed_mark,
    stand_in_frame,
)
from pipecat_agenthuman.pipeline.in_transit import THROUGH_SECS, InTransit
from pipecat_agenthuman.pipeline.sounds import SoundFitter
from pipecat_agenthuman.pipeline.surroundings.floor import Floor, floor_of
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE

UNTOLD_SECS: Final = 1.0
"""How much later than it should a piece of speech may come out, before durations count."""

_ROUNDING_SECS: Final = 1e-3
"""By how much sounds may seem to begin before the piece with which they do."""

_CHUNKS_OF_10_MS: Final = 4
"""In what pieces a transport plays, unless it says otherwise."""

_DTMF_SECS: Final = 1.0
"""How long a tone may take, before it is not waited for any more."""


def output_transport(processor: FrameProcessor) -> BaseOutputTransport | None:
    """The output transport behind a processor, if the pipeline shows one.

    A processor in a nested pipeline sees no further than to its end. Then the only output
    transport of the whole pipeline is the one.
    """
    behind = processor.next
    while behind is not None and not isinstance(behind, BaseOutputTransport):
        behind = behind.next
    if behind is not None:
        return behind
    transports = [
        part
        for part in all_within(processor.pipeline_worker.pipeline)
        if isinstance(part, BaseOutputTransport)
    ]
    return transports[0] if len(transports) == 1 else None


def all_within(compound: FrameProcessor) -> Iterator[FrameProcessor]:
    """All processors of a pipeline, those of nested ones too."""
    for part in compound.processors:
        yield part
        yield from all_within(part)


def plays_audio(transport: BaseOutputTransport) -> bool:
    """Whether an output transport plays the audio that it is given."""
    params: object = getattr(transport, "_params", None)
    return bool(getattr(params, "audio_out_enabled", True))


def changes_audio(transport: BaseOutputTransport) -> bool:
    """Whether an output transport changes the audio that it plays."""
    params: object = getattr(transport, "_params", None)
    return getattr(params, "audio_out_filter", None) is not None


def video_size(transport: BaseOutputTransport | None) -> tuple[int | None, int | None]:
    """Width and height of an output transport's video in pixels, as far as it tells."""
    params: object = getattr(transport, "_params", None)
    width, height = (getattr(params, f"video_out_{side}", None) for side in ("width", "height"))
    return width, height


@dataclass(frozen=True, slots=True)
class ChunkFormat:
    """The pieces in which a transport plays.

    Attributes:
        sample_rate: Samples per second and channel.
        num_channels: Number of interleaved channels.
        samples: Samples of each channel in a piece.
    """

    sample_rate: int
    num_channels: int
    samples: int

    @property
    def size(self) -> int:
        """Bytes of a piece."""
        return self.samples * self.num_channels * BYTES_PER_SAMPLE

    @property
    def secs(self) -> float:
        """Duration of a piece."""
        return self.samples / self.sample_rate


@dataclass(frozen=True, slots=True)
class _Piece:
    """A piece of speech that has not come out yet.

    Attributes:
        order: Its place among all that the transport was given.
        ends_at: When it is to end.
        interruptible: Whether an interruption drops it.
    """

    order: int
    ends_at: float
    interruptible: bool


class TransportOutput:
    """The output transport, as seen from the service.

    Attributes:
        floor: Shared with the other services before it.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        now: Callable[[], float],
        on_news: Callable[[], None],
        on_through: Callable[[], None],
        on_late: Callable[[float, float], None],
    ) -> None:
        """Create an idle transport; ``find`` looks for it.

        Args:
            processor: Pushes the frames.
            now: The time, in seconds.
            on_news: Called when a piece of speech came out.
            on_through: Called when something else came out.
            on_late: Called with the time at which the rest of the speech was believed to sound,
                and with how much later it does.
        """
        self.floor = Floor()
        self._processor = processor
        self._now = now
        self._on_news = on_news
        self._on_through = on_through
        self._on_late = on_late
        self._transport: BaseOutputTransport | None = None
        self._pipeline_rate = 0
        self._in_transit = InTransit()
        self._chunks: deque[_Piece] = deque()
        self._free_at = -math.inf
        self._fitter = SoundFitter()
        self._was_busy = False  # with something that an interruption drops, if it can

    def find(self, pipeline_rate: int) -> BaseOutputTransport | None:
        """Look for the transport in the pipeline, and watch it from now on. Idempotent.

        Args:
            pipeline_rate: The output sample rate of the pipeline, for when there is none.
        """
        self._pipeline_rate = pipeline_rate
        if self._transport is None:
            self._transport = output_transport(self._processor)
            if self._transport is not None:
                self.floor = floor_of(self._transport)
                self._transport.add_event_handler("on_after_push_frame", self._came_out)
                self._transport.add_event_handler("on_before_process_frame", self._is_taken)
                self._transport.add_event_handler("on_after_process_frame", self._was_taken)
        return self._transport

    # --- looking -----------------------------------------------------------------------

    @property
    def format(self) -> ChunkFormat:
        """The pieces in which the transport plays."""
        transport = self._transport
        rate = (transport.sample_rate if transport is not None else 0) or self._pipeline_rate
        params: object = getattr(transport, "_params", None)
        channels = int(getattr(params, "audio_out_channels", 1))
        tens = int(getattr(params, "audio_out_10ms_chunks", _CHUNKS_OF_10_MS))
        return ChunkFormat(rate, channels, int(rate / 100) * tens)

    @property
    def free_at(self) -> float:
        """When all the speech that it was given has sounded."""
        return self._free_at

    @property
    def unplayed_secs(self) -> float:
        """Seconds of the speech that it was given and that has yet to sound."""
        return max(self._free_at - self._now(), 0.0)

    @property
    def known_until(self) -> float:
        """Until when it is known what sounds of the speech that it was given.

        A piece has sounded when it comes out, and sounds when all before it did. What comes next
        may be late: the transport can be busy with a message in between.
        """
        if not self.is_behind(1):
            return math.inf
        piece = self._chunks[0]
        waits = self._in_transit.waits_for_some(piece.order, self._now())
        return (piece.ends_at - self.format.secs if waits else piece.ends_at) - _ROUNDING_SECS

    def is_behind(self, chunks: int) -> bool:
        """Whether so many pieces of speech have not come out, and some may yet."""
        now = self._now()
        while self._chunks and self._chunks[0].ends_at + UNTOLD_SECS < now:
            self._chunks.popleft()  # It does not tell.
        return len(self._chunks) >= chunks

    @property
    def settled(self) -> bool:
        """Whether every frame came out whose turn it was."""
        return self._in_transit.is_settled(self._now())

    @property
    def sounding(self) -> bool:
        """Whether it makes a sound that is no speech, or will after what it was given before."""
        return self._in_transit.is_sounding(self._now())

    @property
    def bars_speech(self) -> bool:
        """Whether it is busy with something, or will be, for which speech has to wait."""
        return self._in_transit.bars_speech(self._now())

    @property
    def idle(self) -> bool:
        """Whether it is done with everything."""
        return self._in_transit.is_empty(self._now()) and not self.speaks

    @property
    def speaks(self) -> bool:
        """Whether speech that it was given has yet to sound, or to come out."""
        return bool(self.is_behind(1) or self.unplayed_secs)

    @property
    def next_change(self) -> float | None:
        """When time alone changes one of the answers; None if only news does."""
        now = self._now()
        change = self._in_transit.next_change(now)
        times = [] if change is None else [change]
        if self.is_behind(1):
            times.append(self._chunks[0].ends_at + UNTOLD_SECS)
        if self._free_at > now:
            times.append(self._free_at)
        return min(times, default=None)

    def takes_time(self, frame: Frame) -> bool:
        """Whether a frame may keep the transport busy, so that speech behind it waits for it.

        Sounds do, messages may, and so may whatever a transport handles that is not Pipecat's.
        """
        if isinstance(frame, SOUNDS):
            return True
        if self._transport is None:
            return False
        if isinstance(frame, OutputTransportMessageFrame):
            return True
        handles = type(self._transport).write_transport_frame
        is_known = type(frame).__module__.startswith(("pipecat.", "pipecat_agenthuman."))
        return handles is not BaseOutputTransport.write_transport_frame and not is_known

    # --- giving ------------------------------------------------------------------------

    async def give(self, frame: Frame, *, since: float = -math.inf, is_kept: bool = False) -> None:
        """Pass a frame on, and watch for it to come out.

        Args:
            frame: The frame.
            since: When the sound in front of it is over, if it is given ahead of that.
            is_kept: Whether the transport keeps it, so that it has only to get there.
        """
        if self._transport is not None:
            until = self._busy_until() + THROUGH_SECS
            bars = self.takes_time(frame)
            self._in_transit.add(frame, until, bars=bars, since=since, is_kept=is_kept)
        if isinstance(frame, TTSStoppedFrame):
            self._fitter.flushed()
        await self._processor.push_frame(frame)

    async def give_sound(self, frame: Frame) -> None:
        """Pass a sound on, and watch for it to be over."""
        if self._transport is not None and isinstance(frame, OutputAudioRawFrame):
            if not plays_audio(self._transport):
                await self._processor.push_frame(frame)
                return
            chunk = self.format
            frame = self._fitter.fit(frame, sample_rate=chunk.sample_rate, size=chunk.size)
        await self._give_sound(frame)

    async def finish_sound(self) -> bool:
        """Let the end of a sound be heard that does not fill a piece: the transport keeps it.

        Returns:
            Whether there was any.
        """
        chunk = self.format
        rest = self._fitter.rest(sample_rate=chunk.sample_rate, size=chunk.size)
        if rest is None:
            return False
        await self._give_sound(rest)
        return True

    async def _give_sound(self, frame: Frame) -> None:
        secs = duration_secs(frame)
        if not isinstance(frame, OutputAudioRawFrame):
            secs = _DTMF_SECS * max(len(getattr(frame, "buttons", None) or ()), 1)
        until = self._busy_until() + secs
        await self._processor.push_frame(frame)
        await self._push_mark(until)

    async def _push_mark(self, until: float) -> None:
        """Let a mark tell when the transport is done with all before it, at about a time."""
        mark = passed_mark()
        if self._transport is None:
            self._in_transit.add(mark, until, bars=True)
        else:
            self._in_transit.add(mark, until + THROUGH_SECS, bars=True)
            await self._processor.push_frame(mark)

    async def play(self, audio: bytes, *, interruptible: bool) -> float:
        """Let it play one piece of speech.

        Args:
            audio: A piece in the transport's format.
            interruptible: Whether an interruption may cut it.

        Returns:
            When it begins to sound.
        """
        chunk = self.format
        starts_at = max(self._free_at, self._now())
        self._free_at = starts_at + chunk.secs
        if self._transport is not None and plays_audio(self._transport):
            order = self._in_transit.next_order()
            self._chunks.append(_Piece(order, self._free_at, interruptible))
        await self._processor.push_frame(
            stand_in_frame(
                audio, chunk.sample_rate, chunk.num_channels, interruptible=interruptible
            )
        )
        return starts_at

    def interrupted(self, now: float) -> None:
        """An interruption dropped the speech that it was given, but for what it may not drop.

        Args:
            now: Until when it is known what sounded of it.
        """
        secs = self.format.secs
        if all(piece.interruptible for piece in self._chunks):
            self._chunks.clear()
            # The piece that is being played is played to its end.
            self._free_at = min(self._free_at, self._now() + secs)
        else:
            ends_at = self._chunks[0].ends_at - secs
            stays: deque[_Piece] = deque()
            for piece in self._chunks:
                if not piece.interruptible or piece.ends_at - secs <= now:
                    ends_at += secs
                    stays.append(replace(piece, ends_at=ends_at))
            self._chunks, self._free_at = stays, ends_at
        self._in_transit.silent_from(self._free_at)

    def forget_interruptible(self) -> None:
        """An interruption comes: the frames that it drops do not come out any more."""
        self._was_busy = self._in_transit.drop_interruptible()
        self._fitter.interrupted()

    async def follow_interruption(self) -> None:
        """An interruption was pushed: what the transport is just doing it may do to its end."""
        if self._was_busy:
            self._was_busy = False
            await self._push_mark(self._now())

    # --- watching ----------------------------------------------------------------------

    async def _came_out(self, _: FrameProcessor, frame: Frame) -> None:
        now = self._now()
        if not isinstance(frame, StandInAudioFrame):
            is_ours = self._in_transit.came_out(frame, now)
        elif is_ours := bool(self._chunks):
            self._in_transit.got_to(self._chunks.popleft().order, now)
        if not is_ours:
            return
        if not frame.pts:  # Else it went its own way, past the sound.
            self._note_lateness(now)
        if isinstance(frame, StandInAudioFrame):
            self._on_news()
        else:
            self._on_through()

    def _note_lateness(self, now: float) -> None:
        """Something came out: the pieces behind it cannot have sounded before."""
        if not self._chunks:
            return
        chunk_secs = self.format.secs
        late_secs = now + len(self._chunks) * chunk_secs - self._free_at
        if late_secs > 0:
            self._on_late(min(self._chunks[0].ends_at - chunk_secs, now), late_secs)
            self._free_at += late_secs
            self._chunks = deque(replace(p, ends_at=p.ends_at + late_secs) for p in self._chunks)

    async def _is_taken(self, _: FrameProcessor, frame: Frame) -> None:
        self._in_transit.begins(frame, self._now())

    async def _was_taken(self, _: FrameProcessor, frame: Frame) -> None:
        self._in_transit.ends(frame, self._now())
        if self._in_transit.was_taken(frame):
            self._on_through()

    def _busy_until(self) -> float:
        """When it is done with all speech and sounds that it was given, at the latest."""
        return max(self._now(), self._free_at, self._in_transit.barred_until())
