"""What transports into the avatar's room have in common, whatever kind of room it is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeVar

from pipecat.frames.frames import OutputAudioRawFrame, StartFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_output import BaseOutputTransport
from pipecat.transports.base_transport import TransportParams

from pipecat_agenthuman.frames import AgentHumanServerEventFrame
from pipecat_agenthuman.pipeline.surroundings.ear import Ear
from pipecat_agenthuman.pipeline.surroundings.microphone import Microphone

if TYPE_CHECKING:
    from pipecat.pipeline.capabilities import BotCapabilities

Params = TypeVar("Params", bound=TransportParams)


class AvatarRoomOutput(BaseOutputTransport):
    """The output of a transport that knows the avatar; it comes before Pipecat's own class.

    Attributes:
        announces_avatar: Tells the service that it will hear when the avatar joins, so that
            the first words can wait for that.
        ear: Lets the service listen to the avatar; None if it would be heard elsewhere, too.
        microphone: The bot's, where it is published only while it is its turn.
        on_started: Called when frames can be pushed. Joining comes before the pipeline starts,
            and Pipecat starts it whatever came of that.
    """

    announces_avatar = True
    ear: Ear | None = None
    microphone: Microphone | None = None
    on_started: Callable[[], Awaitable[None]] | None = None

    async def start(self, frame: StartFrame) -> None:
        """Start sending; whoever waits for that is called."""
        await super().start(frame)
        if self.on_started is not None:
            await self.on_started()

    async def write_audio_frame(self, frame: OutputAudioRawFrame) -> bool:
        """Play audio, on a microphone that is published."""
        if self.microphone is not None and not frame.transport_destination:
            await self.microphone.sounds(frame.audio)
        return await super().write_audio_frame(frame)

    # Pipecat releases without capabilities never ask for them, and `super()` then raises the
    # same AttributeError as before.
    @property
    def capabilities(self) -> BotCapabilities:
        """What the user receives: the avatar's sound and video, though others send them."""
        return super().capabilities.model_copy(update={"audio_out": True, "video_out": True})


def with_voice(params: Params) -> Params:
    """Publish the bot's own microphone unless the caller decided about it.

    Args:
        params: The caller's parameters, which are left alone.
    """
    if "audio_out_enabled" in params.model_fields_set:
        return params
    return params.model_copy(update={"audio_out_enabled": True})


async def push_to_service(
    frame: AgentHumanServerEventFrame,
    *,
    from_input: FrameProcessor | None,
    from_output: FrameProcessor | None,
) -> None:
    """Push a frame from a transport to the service, which sits between its input and output.

    Args:
        frame: The news.
        from_input: The transport's input, if the pipeline has one.
        from_output: Its output, for a pipeline that only speaks.
    """
    if from_input:
        await from_input.push_frame(frame)
    elif from_output:
        await from_output.push_frame(frame, FrameDirection.UPSTREAM)
