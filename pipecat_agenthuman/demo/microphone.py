"""The way in for a person's voice: PCM that somebody else captures, into Pipecat's pipeline."""

from __future__ import annotations

from typing import Final

from pipecat.frames.frames import CancelFrame, EndFrame, InputAudioRawFrame, StartFrame
from pipecat.transports.base_input import BaseInputTransport
from pipecat.transports.base_transport import TransportParams

MICROPHONE_SAMPLE_RATE: Final = 16_000
"""What Silero's VAD and the smart-turn model take; the page's microphone has no other."""


class MicrophoneInput(BaseInputTransport):
    """An input transport whose microphone is elsewhere: ``hear`` gives it what was captured.

    Who speaks when is found out behind it, as with any transport of Pipecat.
    """

    def __init__(self) -> None:
        """Prepare to hear."""
        super().__init__(
            TransportParams(audio_in_enabled=True, audio_in_sample_rate=MICROPHONE_SAMPLE_RATE)
        )
        self._is_listening = False

    async def start(self, frame: StartFrame) -> None:
        """Listen from now on.

        Args:
            frame: The start frame.
        """
        await super().start(frame)
        await self.set_transport_ready(frame)
        self._is_listening = True

    async def stop(self, frame: EndFrame) -> None:
        """Listen no more.

        Args:
            frame: The end frame.
        """
        self._is_listening = False
        await super().stop(frame)

    async def cancel(self, frame: CancelFrame) -> None:
        """Listen no more.

        Args:
            frame: The cancel frame.
        """
        self._is_listening = False
        await super().cancel(frame)

    async def hear(self, pcm: bytes) -> None:
        """Take what was captured; nothing comes of it before the start and after the end.

        Args:
            pcm: 16-bit mono PCM at ``MICROPHONE_SAMPLE_RATE``, whole samples.
        """
        if self._is_listening:
            await self.push_audio_frame(InputAudioRawFrame(pcm, MICROPHONE_SAMPLE_RATE, 1))
