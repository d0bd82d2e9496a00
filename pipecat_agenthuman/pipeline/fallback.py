"""Who speaks: the avatar, or the transport while there is none."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Final, cast

from loguru import logger
from pipecat.frames.frames import (
    AggregatedTextProgressFrame,
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    SpeechOutputAudioRawFrame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.availability import Availability, AvatarState
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.frame_traits import Reading, Role, duration_secs
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.pipeline.transport_output import (
    TransportOutput,
    output_transport,
    plays_audio,
)
from pipecat_agenthuman.wire.pcm import to_secs

_SPOKEN: Final = (TTSAudioRawFrame, TTSTextFrame, AggregatedTextProgressFrame)
"""Speech, and the frames that say which words were spoken."""


class _Speaker(StrEnum):
    """Who speaks the utterance that is being delivered."""

    AVATAR = "avatar"
    TRANSPORT = "transport"


class Fallback:
    """Decides who speaks, and hands over what nobody heard when the avatar is gone.

    Attributes:
        transport: What the transport was given to speak, and whether it still plays it.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        availability: Availability,
        output: AvatarOutput,
        meter: Meter,
        transport_speaks: bool,
    ) -> None:
        """Let the avatar speak.

        Args:
            processor: Pushes the frames and owns the tasks.
            availability: Whether the avatar may speak.
            output: What the avatar says.
            meter: Counts.
            transport_speaks: Whether the transport speaks while there is no avatar, or nobody.
        """
        self.transport = TransportOutput(clock_ns=lambda: processor.get_clock().get_time())
        self._processor = processor
        self._availability = availability
        self._output = output
        self._meter = meter
        self._transport_speaks = transport_speaks
        self._speaker = _Speaker.AVATAR
        self._swallowed = False  # speech of an utterance, with on_unavailable="drop"
        self._warned_of_stream = False

    @property
    def avatar_speaks(self) -> bool:
        """Whether the avatar speaks the utterance that is being delivered."""
        return self._speaker is _Speaker.AVATAR

    @property
    def fate(self) -> str:
        """What becomes of words that the avatar does not say, for the log."""
        return "the transport speaks them" if self._transport_speaks else "they are dropped"

    async def choose(self, reading: Reading) -> None:
        """Let the avatar speak an utterance that begins, if it can and the transport is silent."""
        if reading.role is Role.SPEECH:
            self.transport.note_format(cast("TTSAudioRawFrame", reading.frame))
        is_open = self._output.is_open or self.transport.is_open
        if reading.role is not Role.START and (reading.role is not Role.SPEECH or is_open):
            return
        may_come = self._availability.state is not AvatarState.ABSENT
        if may_come and (self._output.has_unheard or not self.transport.busy):
            self._speaker = _Speaker.AVATAR
            return
        await self.fall_back()

    async def pass_on(self, frame: Frame) -> None:
        """Give a frame to the transport, behind what is being handed over to it."""
        async with self._output.lock:
            await self._pass(frame)

    async def fall_back(self) -> None:
        """No avatar speaks: what nobody heard goes to the transport, and so does the rest.

        Whoever asks for it may be cancelled meanwhile, as an interruption cancels the handling
        of a frame; that must not split it.
        """
        falling = cast(
            "asyncio.Task[None]", self._processor.create_task(self._hand_over(), "fall-back")
        )
        await asyncio.shield(falling)

    def interrupt(self) -> None:
        """An interruption made the transport silent, but for uninterruptible speech."""
        self.transport.stop()
        self._swallowed = False

    async def sound(self, frame: Frame) -> None:
        """Let the transport play a sound, when all speech before it was heard.

        It holds up the speech behind it, as it would if the transport said that, too.
        """
        if isinstance(frame, SpeechOutputAudioRawFrame) and not self._warned_of_stream:
            self._warned_of_stream = True
            logger.warning(
                f"{self._processor}: speech comes as a stream (SpeechOutputAudioRawFrame). The "
                "avatar cannot say it, because nothing tells where it begins and ends; the "
                "transport plays it. Use a service that sends TTSAudioRawFrame."
            )
        output = self._output
        await output.wait_until(lambda: output.silent)
        async with output.lock:
            transport = output_transport(self._processor)
            if transport is not None and plays_audio(transport):
                self.transport.note_sound(frame)
            await self._processor.push_frame(frame)

    async def after_sounds(self) -> None:
        """Wait until no sound plays any more."""
        secs = self.transport.sounds_for_secs
        if secs:
            await asyncio.sleep(secs)

    async def drain(self, grace_secs: float) -> None:
        """Wait until everything was heard, and let the transport say what was not in time.

        Args:
            grace_secs: How long to wait beyond the time that is still to be played.
        """
        output = self._output
        output.finish()
        limit_secs = output.remaining_secs + grace_secs
        if not await output.wait_until(lambda: output.idle, limit_secs):
            logger.warning(
                f"{self._processor}: {output.unheard_secs:.1f} s of speech were not heard within "
                f"{limit_secs:.1f} s at the end of the pipeline; {self.fate}."
            )
        await self.fall_back()

    async def clear(self) -> None:
        """Nobody speaks any more: what nobody heard is dropped."""
        async with self._output.lock:
            unheard = await self._output.hand_over()
            self._meter.dropped(to_secs(unheard.samples))

    def warn_of_transport(self) -> None:
        """Warn if the transport cannot stand in, or would say again what was heard."""
        transport = output_transport(self._processor)
        if transport is not None and plays_audio(transport) and self._output.passes_heard_audio:
            logger.warning(
                f"{self._processor}: pass_heard_audio=True, and {transport} plays what it is "
                "passed, so everything is heard twice. Set audio_out_enabled=False in the "
                "transport's parameters."
            )
        if not self._transport_speaks or transport is None or plays_audio(transport):
            return
        logger.warning(
            f"{self._processor}: {transport} plays no audio, so the bot is mute while there is "
            "no avatar. Set audio_out_enabled=True in the transport's parameters, or "
            "on_unavailable='drop' if that is meant."
        )

    async def _hand_over(self) -> None:
        async with self._output.lock:
            if self._speaker is _Speaker.TRANSPORT:
                return
            self._speaker = _Speaker.TRANSPORT
            unheard = await self._output.hand_over()
            if unheard.sent_samples:
                self._output.silence()  # The avatar must not say what the transport says now.
            if self._transport_speaks:
                self._meter.repeated(unheard.sent_samples)
            for frame in self.transport.take_over(unheard.frames):
                await self._pass(frame)
            self.transport.go_on(
                is_open=unheard.is_open,
                timestamp_shift_ns=unheard.timestamp_shift_ns,
                last_timestamp_ns=unheard.last_timestamp_ns,
            )

    async def _pass(self, frame: Frame) -> None:
        """Let the transport speak, or nobody."""
        secs = duration_secs(frame)
        if not self._transport_speaks and isinstance(frame, _SPOKEN):
            self._meter.dropped(secs)
            self._swallowed |= isinstance(frame, TTSAudioRawFrame)
            return
        if isinstance(frame, TTSStoppedFrame) and self._swallowed:
            # Others wait for the end of what the bot was to say: paused TTS services do.
            self._swallowed = False
            await self._output.push_speaking(BotStartedSpeakingFrame)
            await self._output.push_speaking(BotStoppedSpeakingFrame)
        self._meter.fell_back(secs)
        self.transport.adapt(frame)
        await self._processor.push_frame(frame)
