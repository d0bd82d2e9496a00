"""What was heard of the avatar, for whoever records the call: at the pipeline's rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.playout.results import HeardPiece
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE, to_secs


class HeardAudio:
    """Collects heard audio, and hands it over at another rate, to the sample.

    It may know more than was told: what sounded behind the end of speech waits for the stop.

    Attributes:
        sample_rate: Of what is handed over.
    """

    def __init__(self) -> None:
        """Begin with silence, at the rate of the wire."""
        self.sample_rate = WIRE_SAMPLE_RATE
        self._pieces: deque[HeardPiece] = deque()
        self._converter = SpeechConverter(WIRE_SAMPLE_RATE)

    @property
    def waiting_secs(self) -> float:
        """Seconds of audio that were heard and not handed over."""
        return to_secs(sum(piece.samples for piece in self._pieces))

    def set_rate(self, sample_rate: int) -> None:
        """Hand over at another rate from now on.

        Args:
            sample_rate: Samples a second.
        """
        self.sample_rate = sample_rate
        self._converter = SpeechConverter(sample_rate)

    def add(self, piece: HeardPiece) -> None:
        """Audio was heard: mono, at the rate of the wire; it lies behind all that was added."""
        self._pieces.append(piece)

    def take(self, *, before: int, is_over: bool) -> bytes:
        """Hand over what was heard since the last call.

        Args:
            before: Position at which it ends; what lies behind waits.
            is_over: Whether silence follows: then the end is handed over, too, which the
                resampler would keep until more is heard.
        """
        audio = b"".join(self._take_pieces(before))
        heard = self._converter.convert(audio, WIRE_SAMPLE_RATE, 1) if audio else b""
        return heard + self._converter.flush() if is_over else heard

    def _take_pieces(self, before: int) -> Iterator[bytes]:
        while self._pieces and self._pieces[0].start < before:
            piece, rest = self._pieces.popleft().cut(before)
            if rest is not None:
                self._pieces.appendleft(rest)
            yield piece.audio
