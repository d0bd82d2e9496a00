"""What differs between the supported Pipecat releases, settled by asking for the feature."""

from __future__ import annotations

import dataclasses
from typing import Any

from pipecat.frames import frames
from pipecat.frames.frames import Frame, TTSAudioRawFrame

_HAS_ATTRIBUTE = any(field.name == "interruptible" for field in dataclasses.fields(Frame))
# The marker is deprecated where the attribute exists, so it is only looked up where it counts.
_MARKER: Any = object if _HAS_ATTRIBUTE else getattr(frames, "UninterruptibleFrame")  # noqa: B009


def is_interruptible(frame: Frame) -> bool:
    """Whether an interruption may drop a frame.

    An attribute of every frame in newer releases, a marker class before.
    """
    if _HAS_ATTRIBUTE:
        return bool(getattr(frame, "interruptible", True))
    return not isinstance(frame, _MARKER)


if _HAS_ATTRIBUTE:

    def speech_frame(
        audio: bytes, sample_rate: int, *, interruptible: bool, num_channels: int = 1
    ) -> TTSAudioRawFrame:
        """Speech audio that an interruption may, or may not, drop from a queue."""
        frame: Any = TTSAudioRawFrame(audio, sample_rate, num_channels)
        frame.interruptible = interruptible
        return frame

else:

    @dataclasses.dataclass
    class _UninterruptibleSpeechFrame(TTSAudioRawFrame, _MARKER):
        pass

    def speech_frame(
        audio: bytes, sample_rate: int, *, interruptible: bool, num_channels: int = 1
    ) -> TTSAudioRawFrame:
        """Speech audio that an interruption may, or may not, drop from a queue."""
        kind = TTSAudioRawFrame if interruptible else _UninterruptibleSpeechFrame
        return kind(audio, sample_rate, num_channels)
