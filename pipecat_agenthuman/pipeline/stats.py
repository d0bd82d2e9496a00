"""What a service counted: one snapshot to look at."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass
class ServiceStats:
    """Counters since the service started. Durations in seconds; None until measured.

    When nothing is under way, all that was taken was heard, dropped, rejected or handed to the
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
        fallback_secs: Speech that went to the transport because there was no avatar.
        repeated_secs: Of that, what had been sent to the avatar and was not heard.
        ttfb_secs: Latest time from ``TTSStartedFrame`` to the first sound.
        first_confirmation_secs: Latest time from an utterance's first audio frame to the
            first confirmation.
        time_to_join_secs: Latest time from bringing a session up to the avatar being ready.
        interrupt_secs: Latest time from an interruption to its confirmation.
        round_trip_secs: Latest WebSocket ping.
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
    errors: dict[str, int] = field(default_factory=dict[str, int])

    def count_error(self, code: str) -> int:
        """Count an error; returns how often it has been seen."""
        self.errors[code] = self.errors.get(code, 0) + 1
        return self.errors[code]

    def snapshot(self) -> ServiceStats:
        """A copy that does not change any more."""
        return replace(self, errors=dict(self.errors))
