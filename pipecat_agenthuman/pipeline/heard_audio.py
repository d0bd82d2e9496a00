"""What was heard of the avatar, for whoever records the call: at the pipeline's rate."""

from __future__ import annotations

from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, WIRE_SAMPLE_RATE, to_secs


class HeardAudio:
    """Collects heard audio, and hands it over at another rate, to the sample.

    Attributes:
        sample_rate: Of what is handed over.
    """

    def __init__(self) -> None:
        """Begin with silence, at the rate of the wire."""
        self.sample_rate = WIRE_SAMPLE_RATE
        self._audio = bytearray()
        self._converter = SpeechConverter(WIRE_SAMPLE_RATE)

    @property
    def waiting_secs(self) -> float:
        """Seconds of audio that were heard and not handed over."""
        return to_secs(len(self._audio) // BYTES_PER_SAMPLE)

    def set_rate(self, sample_rate: int) -> None:
        """Hand over at another rate from now on.

        Args:
            sample_rate: Samples a second.
        """
        self.sample_rate = sample_rate
        self._converter = SpeechConverter(sample_rate)

    def add(self, audio: bytes) -> None:
        """Audio was heard: mono, at the rate of the wire."""
        self._audio += audio

    def take(self, *, is_over: bool) -> bytes:
        """Hand over what was heard since the last call.

        Args:
            is_over: Whether silence follows: then the end is handed over, too, which the
                resampler would keep until more is heard.
        """
        audio, self._audio = bytes(self._audio), bytearray()
        heard = self._converter.convert(audio, WIRE_SAMPLE_RATE, 1) if audio else b""
        return heard + self._converter.flush() if is_over else heard
