"""The times that matter: kept in the stats, and pushed as Pipecat metrics.

Pipecat has a type for the time to the first byte. For what only an avatar has there are types
here; they are ``MetricsData``, so whoever collects metrics frames gets them too.
"""

from __future__ import annotations

from collections import deque

from pipecat.frames.frames import MetricsFrame
from pipecat.metrics.metrics import MetricsData
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.stats import ServiceStats
from pipecat_agenthuman.playout.results import SpeechMessage


class TimeToJoinMetricsData(MetricsData):
    """From bringing a session up to the avatar being ready to speak.

    Parameters:
        value: Seconds.
    """

    value: float


class InterruptMetricsData(MetricsData):
    """From an interruption to the server's confirmation that playback has stopped.

    Parameters:
        value: Seconds.
    """

    value: float


class FirstConfirmationMetricsData(MetricsData):
    """From an utterance's first audio frame to the server's first confirmation of it.

    Parameters:
        value: Seconds.
    """

    value: float


class RoundTripMetricsData(MetricsData):
    """The latest WebSocket ping, told once for each utterance.

    Parameters:
        value: Seconds.
    """

    value: float


class Meter:
    """Measures; keeps the latest figure of each kind in the stats, until ``push`` tells them.

    Measuring takes no time, so it can be done at the moment itself.
    """

    def __init__(self, processor: FrameProcessor, stats: ServiceStats) -> None:
        """Create a meter.

        Args:
            processor: Pushes the metrics, if they are enabled.
            stats: Where the figures are kept.
        """
        self._processor = processor
        self._stats = stats
        self._figures: list[MetricsData] = []
        self._opening = False
        self._audio_since: float | None = None
        # For each message in flight: since when the utterance that it opens had audio.
        self._in_flight: deque[float | None] = deque()

    def open_utterance(self) -> None:
        """The next audio is the first of an utterance."""
        self._opening = True

    def take_audio(self, now: float) -> None:
        """Audio came from the TTS service."""
        if self._opening:
            self._opening, self._audio_since = False, now

    def take_message(self, message: SpeechMessage) -> None:
        """A message left."""
        since = None
        if message.opens_utterance:
            since, self._audio_since = self._audio_since, None
        self._in_flight.append(since)

    def forget_messages(self) -> None:
        """What is in flight will not be answered, or does not count any more."""
        self._in_flight.clear()

    def rejected(self) -> None:
        """The oldest message in flight was refused."""
        if self._in_flight:
            self._in_flight.popleft()

    def confirmed(self, now: float, round_trip_secs: float) -> None:
        """The oldest message in flight was confirmed."""
        self._stats.round_trip_secs = round_trip_secs
        since = self._in_flight.popleft() if self._in_flight else None
        if since is None:
            return
        self._stats.first_confirmation_secs = now - since
        name = self._processor.name
        self._figures += (
            FirstConfirmationMetricsData(processor=name, value=now - since),
            RoundTripMetricsData(processor=name, value=round_trip_secs),
        )

    def joined(self, took_secs: float) -> None:
        """The avatar is ready."""
        self._stats.time_to_join_secs = took_secs
        self._figures.append(TimeToJoinMetricsData(processor=self._processor.name, value=took_secs))

    def interrupted(self, took_secs: float) -> None:
        """An interruption was confirmed."""
        self._stats.interrupt_secs = took_secs
        self._figures.append(InterruptMetricsData(processor=self._processor.name, value=took_secs))

    async def push(self) -> None:
        """Push what was measured since the last time."""
        figures, self._figures = self._figures, []
        if figures and self._processor.metrics_enabled:
            await self._processor.push_frame(MetricsFrame(data=figures))
