"""The bot's own voice, for the page: what the transport says while there is no avatar."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from pipecat.frames.frames import Frame, InterruptionFrame, OutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE, to_secs

PLAYOUT_DELAY_SECS: Final = 0.15
"""From writing to the sound. So long may the event loop stand still without a gap in it."""

LEAST_AHEAD_SECS: Final = 0.05
"""What is written later than this before its sound would not be with a page in time."""


class OwnVoice(BaseOutputTransport):
    """An output transport whose loudspeaker is elsewhere: it writes at the pace of the sound.

    It is given speech while the avatar cannot be spoken through, and nothing else.
    """

    def __init__(
        self, play: Callable[[bytes, float], None], fall_silent: Callable[[], None]
    ) -> None:
        """Prepare to speak.

        Args:
            play: Plays 16-bit mono PCM at 16 kHz, from a moment on the monotonic clock on.
            fall_silent: Plays nothing of it that has not sounded yet.
        """
        super().__init__(
            TransportParams(
                audio_out_enabled=True,
                audio_out_sample_rate=WIRE_SAMPLE_RATE,
                audio_out_end_silence_secs=0,
            )
        )
        self._play = play
        self._fall_silent = fall_silent
        self._sounds_until = 0.0

    async def start(self, frame: StartFrame) -> None:
        """Be ready at once.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Fall silent at an interruption, and leave everything else to Pipecat.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if isinstance(frame, InterruptionFrame) and time.monotonic() < self._sounds_until:
            self._sounds_until = 0.0
            self._fall_silent()

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Play a piece; returns when the next one is due.

        Args:
            frame: The piece.

        Returns:
            True: it is played.
        """
        now = time.monotonic()
        if self._sounds_until < now + LEAST_AHEAD_SECS:  # nothing sounds, or there is a gap now
            self._sounds_until = now + PLAYOUT_DELAY_SECS
        self._play(frame.audio, self._sounds_until)
        self._sounds_until += to_secs(len(frame.audio) // BYTES_PER_SAMPLE)
        await asyncio.sleep(self._sounds_until - PLAYOUT_DELAY_SECS - time.monotonic())
        return True
