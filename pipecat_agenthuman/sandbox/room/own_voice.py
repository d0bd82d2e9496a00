"""The bot's own voice, as messages to pages: what its transport says while it has no avatar.

It is no session's sound, and no part of what ``heard()`` reports: the service never had it.
"""

from __future__ import annotations

from pipecat_agenthuman.sandbox.room.reel import CONTINUES, HEAD
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_secs

_OWN_VOICE = 2


class OwnVoice:
    """Makes the messages; those of a session have an ID and a mouth, these have neither."""

    def __init__(self) -> None:
        """Begin with the first."""
        self._made = 0
        self._ends_at_secs: float | None = None

    def message(self, pcm: bytes, starts_at_secs: float) -> bytes:
        """Return the message of a piece.

        Args:
            pcm: 16-bit mono PCM at 16 kHz, little-endian.
            starts_at_secs: When its first sample sounds, since the sandbox started.
        """
        samples = len(pcm) // BYTES_PER_SAMPLE
        ends_at_secs, self._ends_at_secs = self._ends_at_secs, starts_at_secs + to_secs(samples)
        continues = ends_at_secs is not None and abs(starts_at_secs - ends_at_secs) < to_secs(1)
        flags = CONTINUES if continues else 0
        self._made += 1
        head = HEAD.pack(
            _OWN_VOICE, flags, 0, samples, starts_at_secs, starts_at_secs, 0, self._made
        )
        return head + pcm
