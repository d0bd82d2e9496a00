"""The numbers of a call: counted in one place, kept in the stats, pushed as Pipecat metrics.

Pipecat has a type for the time to the first byte. For what only an avatar has there are types
here; they are ``MetricsData``, so whoever collects metrics frames gets them too.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace

from pipecat.frames.frames import MetricsFrame
from pipecat.metrics.metrics import MetricsData
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.playout.latency import ASSUMED_LATENCY_SECS, Latency
from pipecat_agenthuman.wire.pcm import to_secs


class TimeToJoinMetricsData(MetricsData, defer_build=True):
    """From bringing a session up to the avatar being ready to speak.

    Attributes:
        value: Seconds.
    """

    value: float


class InterruptMetricsData(MetricsData, defer_build=True):
    """From an interruption to the server's confirmation that playback has stopped.

    Attributes:
        value: Seconds.
    """

    value: float


class FirstConfirmationMetricsData(MetricsData, defer_build=True):
    """From an utterance's first audio frame to the server's first confirmation of it.

    Attributes:
        value: Seconds.
    """

    value: float


class RoundTripMetricsData(MetricsData, defer_build=True):
    """The latest WebSocket ping, told once for each utterance.

    Attributes:
        value: Seconds.
    """

    value: float


class AvatarLatencyMetricsData(MetricsData, defer_build=True):
    """From a confirmation to the sound in the room, told once for each utterance.

    Parameters:
        value: Seconds.
        source: ``heard`` in the room, ``assumed`` where nothing was heard yet, or ``set`` by
            ``avatar_latency_secs``.
        quality: If it was heard, how well what was heard fits what was said, from 0 to 1.
    """

    value: float
    source: str
    quality: float | None = None


@dataclass
class ServiceStats:
    """Counters since the service started. Durations in seconds; None until measured.

    When nothing is under way, all that was taken was heard, dropped, rejected or said by the
    transport: ``taken = heard + dropped + rejected + fallback``, but for the few milliseconds
    that an interruption finds in the resampler.

    Attributes:
        sessions: Sessions that were established.
        losses: Sessions that ended without being asked to.
        renewals: Sessions that were established after another one.
        interruptions: ``agent.interrupt`` messages sent.
        taken_secs: Speech that came from the TTS service.
        sent_secs: Speech sent to the avatar.
        heard_secs: Speech heard, as far as the playout clock knows.
        dropped_secs: Speech that nobody heard: an interruption or the pipeline's end dropped
            it, or there was no avatar and ``on_unavailable="drop"``.
        rejected_secs: Speech that the server refused.
        fallback_secs: Speech that the transport said because there was no avatar.
        repeated_secs: What had been sent to the avatar, was not heard, and is said without it.
        ttfb_secs: Latest time from ``TTSStartedFrame`` to the first sound.
        first_confirmation_secs: Latest time from an utterance's first audio frame to the
            first confirmation.
        time_to_join_secs: Latest time from bringing a session up to the avatar being ready.
        interrupt_secs: Latest time from an interruption to its confirmation.
        round_trip_secs: Latest WebSocket ping.
        avatar_latency_secs: From a confirmation to the sound in the room, as it counts for the
            next utterance.
        avatar_latency_source: Where that comes from: ``heard`` in the room, ``assumed`` where
            nothing was heard yet, or ``set`` by ``avatar_latency_secs``.
        avatar_latency_quality: If it was heard, how well what was heard fits what was said,
            from 0 to 1.
        errors: How often each error code was seen.
    """

    sessions: int = 0
    losses: int = 0
    renewals: int = 0
    interruptions: int = 0
    taken_secs: float = 0.0
    sent_secs: float = 0.0
    heard_secs: float = 0.0
    dropped_secs: float = 0.0
    rejected_secs: float = 0.0
    fallback_secs: float = 0.0
    repeated_secs: float = 0.0
    ttfb_secs: float | None = None
    first_confirmation_secs: float | None = None
    time_to_join_secs: float | None = None
    interrupt_secs: float | None = None
    round_trip_secs: float | None = None
    avatar_latency_secs: float = ASSUMED_LATENCY_SECS
    avatar_latency_source: str = "assumed"
    avatar_latency_quality: float | None = None
    errors: dict[str, int] = field(default_factory=dict[str, int])

    def snapshot(self) -> ServiceStats:
        """A copy that does not change any more."""
        return replace(self, errors=dict(self.errors))


class Meter:
    """Counts and measures: the only writer of the stats.

    What was measured is kept until ``push`` tells it. Measuring takes no time, so it can be
    done at the moment itself.
    """

    def __init__(self, processor: FrameProcessor) -> None:
        """Create a meter at zero.

        Args:
            processor: Pushes the metrics, if they are enabled.
        """
        self._processor = processor
        self._stats = ServiceStats()
        self._figures: list[MetricsData] = []
        self._announced_at: float | None = None
        self._bringing_up_since: float | None = None

    @property
    def stats(self) -> ServiceStats:
        """What was counted until now; it goes on changing."""
        return self._stats

    # --- speech ------------------------------------------------------------------------

    def took(self, secs: float) -> None:
        """Speech came from the TTS service."""
        self._stats.taken_secs += secs

    def announced(self, now: float) -> None:
        """An utterance was announced into silence: its first sound is awaited from here."""
        self._announced_at = now

    async def sounded(self, now: float) -> None:
        """Speech begins to sound: that is this service's first byte."""
        since, self._announced_at = self._announced_at, None
        if since is None:
            return
        self._stats.ttfb_secs = now - since
        # Pipecat counts from a time on the wall clock, which may have been set meanwhile.
        await self._processor.start_ttfb_metrics(start_time=time.time() - (now - since))
        await self._processor.stop_ttfb_metrics()

    def sent(self, samples: int) -> None:
        """Speech was sent to the avatar."""
        self._stats.sent_secs += to_secs(samples)

    def confirmed(self, *, audio_took_secs: float | None, round_trip_secs: float) -> None:
        """A message of speech was confirmed.

        Args:
            audio_took_secs: If an utterance begins in it, how long ago its first audio came.
            round_trip_secs: The latest WebSocket ping.
        """
        self._stats.round_trip_secs = round_trip_secs
        if audio_took_secs is None:
            return
        self._stats.first_confirmation_secs = audio_took_secs
        name = self._processor.name
        self._figures += (
            FirstConfirmationMetricsData(processor=name, value=audio_took_secs),
            RoundTripMetricsData(processor=name, value=round_trip_secs),
            AvatarLatencyMetricsData(
                processor=name,
                value=self._stats.avatar_latency_secs,
                source=self._stats.avatar_latency_source,
                quality=self._stats.avatar_latency_quality,
            ),
        )

    def believes(self, latency: Latency) -> None:
        """The clock counts with a latency, from the next utterance on."""
        self._stats.avatar_latency_secs = latency.secs
        self._stats.avatar_latency_source = latency.source.value
        self._stats.avatar_latency_quality = latency.quality

    def rejected(self, samples: int) -> None:
        """The server refused speech."""
        self._stats.rejected_secs += to_secs(samples)

    def heard(self, samples: int) -> None:
        """Speech of the avatar was heard."""
        self._stats.heard_secs += to_secs(samples)

    def dropped(self, secs: float) -> None:
        """Speech is gone that nobody heard."""
        self._stats.dropped_secs += secs

    def refused(self, secs: float) -> None:
        """Speech came late, of an utterance that was interrupted: nobody hears it."""
        self._stats.taken_secs += secs
        self._stats.dropped_secs += secs

    def fell_back(self, secs: float) -> None:
        """Speech was heard of the transport."""
        self._stats.fallback_secs += secs

    def repeated(self, samples: int) -> None:
        """Of what the transport is given, so much had been sent to the avatar."""
        self._stats.repeated_secs += to_secs(samples)

    # --- interruptions -----------------------------------------------------------------

    def interrupted(self, samples: int) -> None:
        """Speech was interrupted; nobody heard so many samples of it."""
        self._announced_at = None
        self._stats.dropped_secs += to_secs(samples)

    def silenced(self) -> None:
        """The server was told to stop."""
        self._stats.interruptions += 1

    def interrupt_confirmed(self, took_secs: float) -> None:
        """An interruption was confirmed."""
        self._stats.interrupt_secs = took_secs
        self._figures.append(InterruptMetricsData(processor=self._processor.name, value=took_secs))

    # --- sessions ----------------------------------------------------------------------

    def bringing_up(self, now: float) -> None:
        """A session is being brought up, from now on or since before."""
        if self._bringing_up_since is None:
            self._bringing_up_since = now

    def gave_up(self) -> None:
        """No session is being brought up any more."""
        self._bringing_up_since = None

    def joined(self, now: float) -> None:
        """The avatar is ready."""
        since, self._bringing_up_since = self._bringing_up_since, None
        if since is None:
            return
        self._stats.time_to_join_secs = now - since
        name = self._processor.name
        self._figures.append(TimeToJoinMetricsData(processor=name, value=now - since))

    def established(self) -> None:
        """A session is up."""
        self._stats.renewals += self._stats.sessions > 0
        self._stats.sessions += 1

    def lost(self) -> None:
        """A session ended without being asked to."""
        self._stats.losses += 1

    def failed(self, code: str) -> None:
        """An error occurred."""
        self._stats.errors[code] = self._stats.errors.get(code, 0) + 1

    async def push(self) -> None:
        """Push what was measured since the last time."""
        figures, self._figures = self._figures, []
        if figures and self._processor.metrics_enabled:
            await self._processor.push_frame(MetricsFrame(data=figures))
