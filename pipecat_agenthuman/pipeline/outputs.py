"""What Pipecat's output transport does with the frames that it gets, and where it is."""

from __future__ import annotations

from collections.abc import Iterator

from pipecat.frames.frames import (
    AssistantImageRawFrame,
    Frame,
    MixerControlFrame,
    OutputAudioRawFrame,
    OutputImageRawFrame,
    SpriteFrame,
    TTSAudioRawFrame,
)
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport

from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE


def output_transport(processor: FrameProcessor) -> BaseOutputTransport | None:
    """The output transport behind a processor, if the pipeline shows one.

    A processor in a nested pipeline sees no further than to its end. Then the only output
    transport of the whole pipeline is the one.
    """
    behind = processor.next
    while behind is not None and not isinstance(behind, BaseOutputTransport):
        behind = behind.next
    if behind is not None:
        return behind
    transports = [
        part
        for part in _all_within(processor.pipeline_worker.pipeline)
        if isinstance(part, BaseOutputTransport)
    ]
    return transports[0] if len(transports) == 1 else None


def _all_within(compound: FrameProcessor) -> Iterator[FrameProcessor]:
    for part in compound.processors:
        yield part
        yield from _all_within(part)


def plays_audio(transport: BaseOutputTransport) -> bool:
    """Whether an output transport plays the audio that it is given."""
    params: object = getattr(transport, "_params", None)
    return bool(getattr(params, "audio_out_enabled", True))


def is_sound(frame: Frame) -> bool:
    """Whether a frame is audio that is not speech of a TTS service: the transport plays it."""
    return isinstance(frame, OutputAudioRawFrame) and not isinstance(frame, TTSAudioRawFrame)


def duration_secs(frame: Frame) -> float:
    """Seconds of audio in a frame; 0 if it carries none."""
    if not isinstance(frame, OutputAudioRawFrame):
        return 0.0
    samples = len(frame.audio) // (BYTES_PER_SAMPLE * max(frame.num_channels, 1))
    return samples / max(frame.sample_rate, 1)


def has_no_place(frame: Frame) -> bool:
    """Whether Pipecat's output transport would not queue a frame behind the audio either.

    What names another destination goes through another queue there, and is not the avatar's.
    """
    if frame.transport_destination is not None:
        return True
    if isinstance(frame, OutputImageRawFrame) and not isinstance(frame, AssistantImageRawFrame):
        return not frame.sync_with_audio
    return isinstance(frame, SpriteFrame | MixerControlFrame)
