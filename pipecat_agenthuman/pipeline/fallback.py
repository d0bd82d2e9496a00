"""Who speaks: the avatar, the transport while there is none, or nobody.

One at a time, and it changes only in silence, or when the avatar is lost: then the clock goes on,
and what nobody heard of it is said by whoever speaks next.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import soxr
from loguru import logger
from pipecat.frames.frames import (
    Frame,
    SpeechOutputAudioRawFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.availability import Availability, AvatarState
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.frame_traits import (
    LOUDNESS,
    SPOKEN_TEXT,
    duration_secs,
    is_interruptible,
    speech_frame,
)
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.sinks import SilentSink, Sink, TransportSink
from pipecat_agenthuman.pipeline.transport_output import changes_audio, plays_audio
from pipecat_agenthuman.playout.conversion import spread
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

_SPOKEN: Final = (TTSAudioRawFrame, *SPOKEN_TEXT)
"""Speech, and the frames that say which words were spoken."""


class Fallback:
    """Decides who speaks."""

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        availability: Availability,
        output: AvatarOutput,
        meter: Meter,
        transport_speaks: bool,
    ) -> None:
        """Let nobody speak yet.

        Args:
            processor: Pushes the frames.
            availability: Whether the avatar may speak.
            output: What there is to say.
            meter: Counts.
            transport_speaks: Whether the transport speaks while there is no avatar, or nobody.
        """
        self._processor = processor
        self._availability = availability
        self._output = output
        self._meter = meter
        self._transport_speaks = transport_speaks
        self._stand_in: Sink = (
            TransportSink(
                output.playout.outgoing,
                originals=output.originals,
                transport=output.transport,
                release=output.release,
                meter=meter,
            )
            if transport_speaks
            else SilentSink(output.playout.outgoing, meter=meter)
        )
        self._is_over = False  # for the avatar: the pipeline ends
        self._bypassed = False
        self._passes_all = False
        self._format = (WIRE_SAMPLE_RATE, 1)  # of the TTS service
        self._warnings: set[str] = set()

    # --- looking -----------------------------------------------------------------------

    @property
    def fate(self) -> str:
        """What becomes of words that the avatar does not say, for the log."""
        return "the transport speaks them" if self._transport_speaks else "they are dropped"

    @property
    def bypassed(self) -> bool:
        """Whether frames go straight to the transport, because nothing else works any more."""
        return self._bypassed

    # --- who speaks --------------------------------------------------------------------

    def choose(self, now: float) -> Sink | None:
        """Who may take speech now; nobody while it has to wait.

        Args:
            now: The time.
        """
        output = self._output
        if not output.takes_floor():
            return None
        if output.speaker is not None and output.under_way(now):
            speaker, has_to_wait = output.speaker, output.transport.sounding
        else:
            speaker, has_to_wait = self._next_speaker(), output.transport.bars_speech
            if speaker is not output.speaker:
                output.let_speak(speaker, now)
        if speaker is None or has_to_wait:
            return None
        is_avatar = speaker is output.avatar
        return None if is_avatar and self._availability.state is not AvatarState.READY else speaker

    def _next_speaker(self) -> Sink | None:
        """Who is to speak next; nobody while the avatar is expected, or must not interrupt."""
        match self._availability.state:
            case _ if self._is_over:
                return self._stand_in
            case AvatarState.READY:
                return self._output.avatar if self._output.transport.idle else None
            case AvatarState.EXPECTED:
                return None
            case AvatarState.ABSENT:
                return self._stand_in

    def fall_back(self) -> None:
        """The avatar cannot go on: what nobody heard of it is said without it."""
        output = self._output
        if output.speaker is not output.avatar:
            output.rounds.wake()
            return
        samples = output.recall()
        if samples:
            output.avatar.silence()  # It must not say what somebody else says now.
            if self._transport_speaks:
                self._meter.repeated(samples)

    # --- ends --------------------------------------------------------------------------

    async def drain(self, grace_secs: float) -> None:
        """Wait until everything was heard, and let the transport say what was not in time.

        Args:
            grace_secs: How long to wait beyond the time that is still to be played.
        """
        output = self._output
        output.intake.finish()
        limit_secs = output.remaining_secs + grace_secs
        if not await self._all_heard(limit_secs):
            logger.warning(
                f"{self._processor}: {output.unheard_secs:.1f} s of speech were not heard within "
                f"{limit_secs:.1f} s at the end of the pipeline; {self.fate}."
            )
            self._is_over = True
            self.fall_back()
            limit_secs = output.unheard_secs + grace_secs
            if not await output.rounds.wait_until(lambda: output.idle, limit_secs):
                await self.pass_unheard()
            self._is_over = False
        # The end of speech overtakes frames that are on their way, each of which has its limit.
        await output.rounds.wait_until(lambda: output.transport.settled)
        async with output.lock:
            await output.pass_heard(output.now())  # Without a stop nothing else would count it.
            await output.end_speech()

    async def _all_heard(self, limit_secs: float) -> bool:
        """Wait until everything was heard, or for the first silence behind a limit.

        What is being heard was confirmed, and comes to its end: it is not begun anew.
        """
        output = self._output
        while not await output.rounds.wait_until(lambda: output.idle, limit_secs):
            limit_secs = output.playout.outgoing.sounds_until - output.now()
            if limit_secs <= 0:
                return False
        return True

    async def clear(self) -> None:
        """Nobody speaks any more: what nobody heard is dropped."""
        async with self._output.lock:
            for frame in self._output.take_unheard():
                if isinstance(frame, TTSAudioRawFrame):
                    self._meter.dropped(duration_secs(frame))
            await self._output.end_speech()

    async def pass_unheard(self) -> None:
        """Give all that nobody heard to the transport at once, speech as speech."""
        async with self._output.lock:
            await self._output.end_speech()
            for frame in self._in_format(self._output.take_unheard()):
                await self._pass(frame)

    async def bypass(self, *, passes_all: bool = False) -> None:
        """The last resort: from now on frames go straight to the transport.

        Args:
            passes_all: Whether speech passes even if the transport is not to speak: somebody
                else says it, or has said it.
        """
        if not self._bypassed:
            self._bypassed = True
            self._passes_all = passes_all
            await self.pass_unheard()

    async def pass_on(self, frame: Frame) -> None:
        """Give a frame to the transport as it is."""
        async with self._output.lock:
            await self._pass(frame)

    # --- noting ------------------------------------------------------------------------

    def note(self, frame: Frame) -> None:
        """Take note of a frame that carries sound."""
        if isinstance(frame, TTSAudioRawFrame):
            self._format = (frame.sample_rate, max(frame.num_channels, 1))
        elif isinstance(frame, SpeechOutputAudioRawFrame):
            self._warn_once(
                "speech comes as a stream (SpeechOutputAudioRawFrame). The avatar cannot say it, "
                "because nothing tells where it begins and ends; the transport plays it. Use a "
                "service that sends TTSAudioRawFrame."
            )
        elif isinstance(frame, LOUDNESS):
            self._warn_once(
                f"{type(frame).__name__} changes what the transport plays. The avatar speaks in "
                "the room by itself, as loud as before; change its volume where it is played."
            )

    def look_for_transport(self, pipeline_rate: int) -> None:
        """Look for the transport, and warn if it cannot stand in, or would say things twice.

        Args:
            pipeline_rate: The output sample rate of the pipeline.
        """
        transport = self._output.transport.find(pipeline_rate)
        if transport is not None and plays_audio(transport) and self._output.passes_heard_audio:
            logger.warning(
                f"{self._processor}: pass_heard_audio=True, and {transport} plays what it is "
                "passed, so everything is heard twice. Set audio_out_enabled=False in the "
                "transport's parameters."
            )
        if transport is not None and changes_audio(transport):
            self._warn_once(
                f"{transport} has an audio_out_filter. It changes what the transport plays, and "
                "not the avatar's voice, which does not pass through it."
            )
        if not self._transport_speaks or transport is None or plays_audio(transport):
            return
        logger.warning(
            f"{self._processor}: {transport} plays no audio, so the bot is mute while there is "
            "no avatar. Set audio_out_enabled=True in the transport's parameters, or "
            "on_unavailable='drop' if that is meant."
        )

    # --- inside ------------------------------------------------------------------------

    def _warn_once(self, what: str) -> None:
        if what not in self._warnings:
            self._warnings.add(what)
            logger.warning(f"{self._processor}: {what}")

    async def _pass(self, frame: Frame) -> None:
        secs = duration_secs(frame)
        speaks = self._transport_speaks or self._passes_all
        if not speaks and isinstance(frame, _SPOKEN):
            self._meter.dropped(secs)
            return
        self._meter.fell_back(secs)
        await self._processor.push_frame(frame)

    def _in_format(self, frames: list[Frame]) -> list[Frame]:
        """The same frames, with audio in the format of the TTS service.

        The transport is given the rest of the utterance in that format, too, and its resampler
        takes one rate.
        """
        rate, channels = self._format
        result: list[Frame] = []
        for frame in frames:
            if isinstance(frame, TTSAudioRawFrame):
                samples = np.frombuffer(frame.audio, dtype="<i2").astype(np.int16, copy=False)
                if rate != WIRE_SAMPLE_RATE:
                    samples = soxr.resample(samples, WIRE_SAMPLE_RATE, rate)
                audio = spread(samples.astype("<i2", copy=False).tobytes(), channels)
                kept = is_interruptible(frame)
                frame = speech_frame(audio, rate, interruptible=kept, num_channels=channels)
            result.append(frame)
        return result
