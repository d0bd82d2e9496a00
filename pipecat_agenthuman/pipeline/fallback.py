"""Who has the floor: the avatar, or the transport while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.outputs import duration_secs, output_transport, plays_audio
from pipecat_agenthuman.pipeline.stats import ServiceStats
from pipecat_agenthuman.pipeline.transport_output import TransportOutput
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
        voice: AvatarOutput,
        stats: ServiceStats,
        avatar_may_come: Callable[[], bool],
        transport_speaks: bool,
        silence_avatar: Callable[[], None],
    ) -> None:
        """Create a floor on which the avatar speaks.

        Args:
            processor: Pushes the frames and owns the tasks.
            voice: The avatar's voice.
            stats: Counts.
            avatar_may_come: Whether speech may wait for the avatar.
            transport_speaks: Whether the transport speaks while there is no avatar, or nobody.
            silence_avatar: Tells the server to stop, if it is there.
        """
        self._silence_avatar = silence_avatar
        self.transport = TransportOutput(clock_ns=lambda: processor.get_clock().get_time())
        self._processor = processor
        self._voice = voice
        self._stats = stats
        self._avatar_may_come = avatar_may_come
        self._transport_speaks = transport_speaks
        self._speaker = _Speaker.AVATAR
        self._swallowed = False  # speech of an utterance, with on_unavailable="drop"
        self._warned_of_stream = False

    @property
    def avatar_speaks(self) -> bool:
        """Whether the avatar speaks the utterance that is being delivered."""
        return self._speaker is _Speaker.AVATAR

    async def choose(self, frame: Frame) -> None:
        """Let the avatar speak an utterance that begins, if it can and the transport is silent."""
        if isinstance(frame, TTSAudioRawFrame):
            self.transport.note_format(frame)
        unannounced = isinstance(frame, TTSAudioRawFrame) and not (
            self._voice.is_open or self.transport.is_open
        )
        if not isinstance(frame, TTSStartedFrame) and not unannounced:
            return
        if self._avatar_may_come() and (self._voice.has_unheard or not self.transport.busy):
            self._speaker = _Speaker.AVATAR
            return
        await self.fall_back()

    async def pass_on(self, frame: Frame) -> None:
        """Give a frame to the transport, behind what is being handed over to it."""
        async with self._voice.driver.turn:
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
        voice = self._voice
        await voice.driver.wait_until(lambda: voice.silent, None)
        async with voice.driver.turn:
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
        voice = self._voice
        voice.finish()
        limit_secs = voice.playout.remaining_secs(voice.driver.now()) + grace_secs
        if not await voice.driver.wait_until(lambda: voice.idle, limit_secs):
            unheard_secs = voice.playout.unheard_secs(voice.driver.now())
            fate = "the transport speaks them" if self._transport_speaks else "they are dropped"
            logger.warning(
                f"{self._processor}: {unheard_secs:.1f} s of speech were not heard within "
                f"{limit_secs:.1f} s at the end of the pipeline; {fate}."
            )
        await self.fall_back()

    async def clear(self) -> None:
        """Nobody speaks any more: what nobody heard is dropped."""
        async with self._voice.driver.turn:
            unheard = await self._voice.surrender()
            self._stats.dropped_secs += to_secs(unheard.samples)

    def warn_of_transport(self) -> None:
        """Warn if the transport cannot stand in, or would say again what was heard."""
        transport = output_transport(self._processor)
        if transport is not None and plays_audio(transport) and self._voice.passes_heard_audio:
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
        async with self._voice.driver.turn:
            if self._speaker is _Speaker.TRANSPORT:
                return
            self._speaker = _Speaker.TRANSPORT
            unheard = await self._voice.surrender()
            if unheard.sent_samples:
                self._silence_avatar()  # It must not say what the transport says now.
            if self._transport_speaks:
                self._stats.repeated_secs += to_secs(unheard.sent_samples)
            for frame in self.transport.take_over(unheard):
                await self._pass(frame)
            self.transport.go_on(unheard)

    async def _pass(self, frame: Frame) -> None:
        """Let the transport speak, or nobody."""
        if not self._transport_speaks and isinstance(frame, _SPOKEN):
            self._stats.dropped_secs += duration_secs(frame)
            self._swallowed |= isinstance(frame, TTSAudioRawFrame)
            return
        if isinstance(frame, TTSStoppedFrame) and self._swallowed:
            # Others wait for the end of what the bot was to say: paused TTS services do.
            self._swallowed = False
            await self._voice.push_speaking(BotStartedSpeakingFrame)
            await self._voice.push_speaking(BotStoppedSpeakingFrame)
        self._stats.fallback_secs += duration_secs(frame)
        self.transport.adapt(frame)
        await self._processor.push_frame(frame)
