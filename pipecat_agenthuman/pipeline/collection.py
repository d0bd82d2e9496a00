"""Speech that waits to be converted, because it makes no difference yet.

The resampler takes about as long for a message as for a single piece, and on a machine that does
other things in between, it is the dearest part of taking one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE

_MOST_SECS: Final = 0.2
"""So much is converted together: more takes as long in one go as in two."""


@dataclass(slots=True)
class Collection:
    """Pieces of one utterance and one format, in the order in which they came.

    Attributes:
        sample_rate: Samples per second and channel.
        num_channels: Number of interleaved channels.
        first_at: When the first one came.
        last_at: When the last one came.
    """

    sample_rate: int
    num_channels: int
    first_at: float
    last_at: float
    _pieces: list[bytes] = field(default_factory=list[bytes])
    _bytes: int = 0

    @property
    def count(self) -> int:
        """How many pieces there are."""
        return len(self._pieces)

    @property
    def audio(self) -> bytes:
        """All of them, one behind the other."""
        return b"".join(self._pieces)

    @property
    def is_full(self) -> bool:
        """Whether nothing is won by waiting for more."""
        frame_bytes = BYTES_PER_SAMPLE * self.num_channels
        return self._bytes >= _MOST_SECS * self.sample_rate * frame_bytes

    def add(self, audio: bytes, now: float) -> None:
        """Another piece came."""
        self._pieces.append(audio)
        self._bytes += len(audio)
        self.last_at = now
