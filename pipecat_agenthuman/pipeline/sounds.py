"""Sounds that are no speech, made to fit the pieces in which the transport plays.

A transport plays whole pieces. What does not fill one it keeps, in its buffer and in its
resampler, until something follows: the end of a sound would be heard behind the speech of an
avatar, or never. So the transport is given sounds at its own rate, and what it keeps is known.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import soxr
from pipecat.frames.frames import OutputAudioRawFrame

from pipecat_agenthuman.pipeline.frame_traits import is_interruptible
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE


class SoundFitter:
    """Knows what the transport keeps of the sounds that it was given."""

    def __init__(self) -> None:
        """Begin with a transport that keeps nothing."""
        self._latest: OutputAudioRawFrame | None = None
        self._stream: soxr.ResampleStream | None = None
        self._stream_rate = 0
        self._kept_bytes = 0

    def fit(self, frame: OutputAudioRawFrame, *, sample_rate: int, size: int) -> Any:
        """A sound at the transport's rate.

        Args:
            frame: The sound.
            sample_rate: The transport's.
            size: Bytes of a piece.

        Returns:
            The frame itself if it has that rate, or a copy of it with other audio.
        """
        audio = frame.audio
        if frame.sample_rate != sample_rate:
            audio = self._resampled(frame, sample_rate)
        self._latest = frame
        self._kept_bytes = (self._kept_bytes + len(audio)) % size
        if audio is frame.audio:
            return frame
        fitted: Any = copy.copy(frame)
        fitted.audio, fitted.sample_rate = audio, sample_rate
        fitted.num_frames = len(audio) // (BYTES_PER_SAMPLE * max(frame.num_channels, 1))
        return fitted

    def rest(self, *, sample_rate: int, size: int) -> OutputAudioRawFrame | None:
        """What completes the last piece: the end of the sound, and silence.

        Args:
            sample_rate: The transport's.
            size: Bytes of a piece.

        Returns:
            A sound to give to the transport, or None if it keeps nothing.
        """
        latest, stream = self._latest, self._stream
        kept_bytes, self._kept_bytes = self._kept_bytes, 0
        self._latest = self._stream = None
        if latest is None:
            return None
        channels = max(latest.num_channels, 1)
        tail = b""
        if stream is not None:
            ending = stream.resample_chunk(np.empty((0, channels), dtype=np.int16), last=True)
            tail = ending.astype("<i2", copy=False).tobytes()
        over = (kept_bytes + len(tail)) % size
        if not tail and not over:
            return None
        audio = tail + bytes(size - over if over else 0)
        frame: Any = OutputAudioRawFrame(audio, sample_rate, channels)
        if hasattr(frame, "interruptible"):
            frame.interruptible = is_interruptible(latest)
        return frame

    def flushed(self) -> None:
        """The transport was made to play what it keeps."""
        self._kept_bytes = 0
        self._latest = self._stream = None

    def interrupted(self) -> None:
        """An interruption made the transport forget what it keeps, if it may be dropped.

        Where frames do not say whether they may, a transport keeps it all the same.
        """
        latest = self._latest
        if latest is not None and hasattr(latest, "interruptible") and is_interruptible(latest):
            self.flushed()

    def _resampled(self, frame: OutputAudioRawFrame, sample_rate: int) -> bytes:
        channels = max(frame.num_channels, 1)
        latest = self._latest
        alike = latest is not None and latest.num_channels == frame.num_channels
        if self._stream is None or self._stream_rate != frame.sample_rate or not alike:
            self._stream_rate = frame.sample_rate
            self._stream = soxr.ResampleStream(
                frame.sample_rate, sample_rate, channels, dtype="int16", quality="HQ"
            )
        whole = len(frame.audio) - len(frame.audio) % (BYTES_PER_SAMPLE * channels)
        samples = np.frombuffer(frame.audio[:whole], dtype="<i2").astype(np.int16, copy=False)
        resampled = self._stream.resample_chunk(samples.reshape(-1, channels))
        return resampled.astype("<i2", copy=False).tobytes()
