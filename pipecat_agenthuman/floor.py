"""Who has the floor: the avatar, or the transport while there is none."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import cast

from loguru import logger
from pipecat.frames.frames import (
    Frame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.fallback import (
    TransportVoice,
    duration_secs,
    output_transport,
    plays_audio,
)
from pipecat_agenthuman.schedule import to_secs
from pipecat_agenthuman.stats import ServiceStats
from pipecat_agenthuman.voice import Voice


class _Speaker(StrEnum):
    """Who speaks the utterance that is being delivered."""

    AVATAR = "avatar"
    TRANSPORT = "transport"


class Floor:
    """Decides who speaks, and hands over what nobody heard when the avatar is gone.

    Attributes:
        transport: What the transport was given to speak, and whether it still plays it.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        voice: Voice,
        stats: ServiceStats,
        avatar_may_come: Callable[[], bool],
        transport_speaks: bool,
    ) -> None:
        """Create a floor on which the avatar speaks.

        Args:
            processor: Pushes the frames and owns the tasks.
            voice: The avatar's voice.
            stats: Counts.
            avatar_may_come: Whether speech may wait for the avatar.
            transport_speaks: Whether the transport speaks while there is no avatar, or nobody.
        """
        self.transport = TransportVoice()
        self._processor = processor
        self._voice = voice
        self._stats = stats
        self._avatar_may_come = avatar_may_come
        self._transport_speaks = transport_speaks
        self._speaker = _Speaker.AVATAR

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
        if self._avatar_may_come() and not self.transport.busy:
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

    async def clear(self) -> None:
        """Nobody speaks any more: what nobody heard is dropped."""
        async with self._voice.driver.turn:
            unheard = await self._voice.surrender()
            self._stats.dropped_secs += to_secs(unheard.samples)

    def warn_if_voiceless(self) -> None:
        """Say that the fallback has nobody to speak, if the transport plays no audio."""
        transport = output_transport(self._processor)
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
            if self._transport_speaks:
                self._stats.repeated_secs += to_secs(unheard.sent_samples)
            for frame in self.transport.take_over(unheard):
                await self._pass(frame)
            self.transport.go_on(unheard)

    async def _pass(self, frame: Frame) -> None:
        """Let the transport speak, or nobody."""
        if not self._transport_speaks and isinstance(frame, TTSAudioRawFrame | TTSTextFrame):
            self._stats.dropped_secs += duration_secs(frame)
            return
        self._stats.fallback_secs += duration_secs(frame)
        self.transport.adapt(frame)
        await self._processor.push_frame(frame)
