"""Speech recognition for the demo: one of Pipecat's services, or none and honest about it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator

from pipecat.frames.frames import (
    Frame,
    TranscriptionFrame,
    VADUserStartedSpeakingFrame,
    VADUserStoppedSpeakingFrame,
)
from pipecat.processors.frame_processor import FrameDirection
from pipecat.services.settings import STTSettings
from pipecat.services.stt_service import SegmentedSTTService
from pipecat.utils.time import time_now_iso8601

from pipecat_agenthuman.demo.dialogue import wordless


class WordlessSTTService(SegmentedSTTService):
    """Stands where speech recognition would: it says how long somebody spoke, and not what.

    So turns, interruptions and the memory are those of a bot that understands.
    """

    def __init__(self) -> None:
        """Prepare to measure."""
        super().__init__(
            settings=STTSettings(model=None, language=None),
            ttfs_p99_latency=0.0,  # its answer comes at once
        )
        self._began_at = 0.0
        self._spoken_secs: deque[float] = deque()  # of what is still to be named, in order

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Note when a person begins and ends to speak.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        if isinstance(frame, VADUserStartedSpeakingFrame):
            self._began_at = frame.timestamp - frame.start_secs
        elif isinstance(frame, VADUserStoppedSpeakingFrame):
            self._spoken_secs.append(frame.timestamp - frame.stop_secs - self._began_at)
        await super().process_frame(frame, direction)

    async def run_stt(self, audio: bytes) -> AsyncGenerator[Frame | None, None]:
        """Say how long it was.

        Args:
            audio: What was said, with some silence around it; nobody listens to it.

        Yields:
            What stands in the memory for it.
        """
        text = wordless(self._spoken_secs.popleft())
        yield TranscriptionFrame(text, self._user_id, time_now_iso8601())
