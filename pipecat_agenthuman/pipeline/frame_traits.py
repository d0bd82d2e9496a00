"""What a frame means to the speech: read once, when it comes.

Also what differs between the supported Pipecat releases, settled by asking for the feature.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any

from pipecat.frames import frames
from pipecat.frames.frames import (
    AssistantImageRawFrame,
    EndFrame,
    Frame,
    MixerControlFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    ServiceUpdateSettingsFrame,
    SpriteFrame,
    StopFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
)

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE


class Role(StrEnum):
    """What a frame that goes down is to the speech."""

    START = "opens an utterance"
    SPEECH = "is speech"
    STOP = "ends an utterance"
    SOUND = "is audio, but no speech of a TTS service: the transport plays it"
    FOLLOWER = "has its place behind the speech before it"
    PAUSE = "stops the pipeline for a while, when all was heard"
    SETTINGS = "changes settings of a service"
    PASSER = "has nothing to do with speech"


@dataclasses.dataclass(frozen=True, slots=True)
class Reading:
    """A frame that goes down, and what it means.

    Attributes:
        frame: The frame.
        role: What it is to the speech.
        interruptible: Whether an interruption may drop it.
        secs: Seconds of audio in it; 0 if it carries none.
    """

    frame: Frame
    role: Role
    interruptible: bool
    secs: float


def read(frame: Frame) -> Reading:
    """Find out what a frame means.

    Args:
        frame: A frame that goes down, but no interruption.
    """
    return Reading(frame, _role_of(frame), is_interruptible(frame), duration_secs(frame))


def _role_of(frame: Frame) -> Role:
    if isinstance(frame, SystemFrame | EndFrame) or _has_no_place(frame):
        return Role.PASSER
    match frame:
        case TTSAudioRawFrame():
            return Role.SPEECH
        case TTSStartedFrame():
            return Role.START
        case TTSStoppedFrame():
            return Role.STOP
        case OutputAudioRawFrame():
            return Role.SOUND
        case StopFrame():
            return Role.PAUSE
        case ServiceUpdateSettingsFrame():
            return Role.SETTINGS
        case _:
            return Role.FOLLOWER


def _has_no_place(frame: Frame) -> bool:
    """Whether Pipecat's output transport would not queue a frame behind the audio either.

    What names another destination goes through another queue there, and is not the avatar's.
    """
    if frame.transport_destination is not None:
        return True
    if isinstance(frame, OutputImageRawFrame) and not isinstance(frame, AssistantImageRawFrame):
        return not frame.sync_with_audio
    return isinstance(frame, SpriteFrame | MixerControlFrame)


def duration_secs(frame: Frame) -> float:
    """Seconds of audio in a frame; 0 if it carries none."""
    if not isinstance(frame, OutputAudioRawFrame):
        return 0.0
    samples = len(frame.audio) // (BYTES_PER_SAMPLE * max(frame.num_channels, 1))
    return samples / max(frame.sample_rate, 1)


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
