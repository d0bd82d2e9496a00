"""What a frame means to the speech: read once, when it comes.

Also what differs between the supported Pipecat releases, settled by asking for the feature.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from functools import cache
from typing import Any, Final

from pipecat.frames import frames
from pipecat.frames.frames import (
    AggregatedTextProgressFrame,
    AssistantImageRawFrame,
    ControlFrame,
    EndFrame,
    Frame,
    HeartbeatFrame,
    MixerControlFrame,
    OutputAudioRawFrame,
    OutputDTMFFrame,
    OutputImageRawFrame,
    ServiceSwitcherRequestMetadataFrame,
    ServiceUpdateSettingsFrame,
    SpriteFrame,
    SystemFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE


class Role(StrEnum):
    """What a frame that goes down is to the speech."""

    START = "opens an utterance"
    SPEECH = "is speech"
    STOP = "ends an utterance"
    SOUND = "makes a sound that is no speech of a TTS service: the transport plays it"
    FOLLOWER = "has its place behind the speech before it"
    SETTINGS = "changes settings of a service"
    HANDED_ON = "says that another service goes on from here"
    PASSER = "has nothing to do with speech"


SOUNDS: Final = (OutputAudioRawFrame, OutputDTMFFrame)
"""What the transport plays, and what plays a tone there."""

SPOKEN_TEXT: Final = (TTSTextFrame, AggregatedTextProgressFrame)
"""Frames that say which words were spoken."""

LOUDNESS: Final = tuple(
    kind
    for name in ("VolumeFrame", "VolumeGainFrame")
    if isinstance(kind := getattr(frames, name, None), type)
)
"""What changes the volume of the transport, where Pipecat has it."""


_PASSERS: Final = (SystemFrame, EndFrame, HeartbeatFrame, ServiceSwitcherRequestMetadataFrame)
"""What has nothing to do with speech; the last is between a switcher and its services."""


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
    role = _role_of_kind(type(frame))
    return Role.PASSER if role is not Role.HANDED_ON and _has_no_place(frame) else role


_ROLES: Final[tuple[tuple[type[Frame] | tuple[type[Frame], ...], Role], ...]] = (
    (_PASSERS, Role.PASSER),
    (TTSAudioRawFrame, Role.SPEECH),
    (TTSStartedFrame, Role.START),
    (TTSStoppedFrame, Role.STOP),
    (SOUNDS, Role.SOUND),
    (ServiceUpdateSettingsFrame, Role.SETTINGS),
)


@cache
def _role_of_kind(kind: type[Frame]) -> Role:
    """What frames of a kind are, if they have a place; asked for each frame, so it is kept."""
    if issubclass(kind, HandedOnFrame):
        return Role.HANDED_ON
    return next((role for kinds, role in _ROLES if issubclass(kind, kinds)), Role.FOLLOWER)


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


class StandInAudioFrame(OutputAudioRawFrame):
    """Speech that the transport plays for the avatar.

    To Pipecat it is a sound, so that the transport makes no bot speaking frames of it. The
    pieces in which the transport plays it are of the same class.
    """


@dataclasses.dataclass
class HandedOnFrame(ControlFrame):
    """Another service goes on with the speech; never leaves the service."""


@dataclasses.dataclass
class PassedMark(ControlFrame):
    """Follows a sound through the transport, to tell when that is over."""


if _HAS_ATTRIBUTE:

    def speech_frame(
        audio: bytes, sample_rate: int, *, interruptible: bool, num_channels: int = 1
    ) -> TTSAudioRawFrame:
        """Speech audio that an interruption may, or may not, drop from a queue."""
        frame: Any = TTSAudioRawFrame(audio, sample_rate, num_channels)
        frame.interruptible = interruptible
        return frame

    def stand_in_frame(
        audio: bytes, sample_rate: int, num_channels: int, *, interruptible: bool
    ) -> StandInAudioFrame:
        """Audio for the transport, which an interruption may, or may not, drop from a queue."""
        frame: Any = StandInAudioFrame(audio, sample_rate, num_channels)
        frame.interruptible = interruptible
        return frame

    def passed_mark() -> PassedMark:
        """A mark that no interruption drops."""
        frame: Any = PassedMark()
        frame.interruptible = False
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

    class _UninterruptibleStandInFrame(StandInAudioFrame, _MARKER):
        pass

    def stand_in_frame(
        audio: bytes, sample_rate: int, num_channels: int, *, interruptible: bool
    ) -> StandInAudioFrame:
        """Audio for the transport, which an interruption may, or may not, drop from a queue."""
        kind = StandInAudioFrame if interruptible else _UninterruptibleStandInFrame
        return kind(audio, sample_rate, num_channels)

    @dataclasses.dataclass
    class _KeptPassedMark(PassedMark, _MARKER):
        pass

    def passed_mark() -> PassedMark:
        """A mark that no interruption drops."""
        return _KeptPassedMark()
