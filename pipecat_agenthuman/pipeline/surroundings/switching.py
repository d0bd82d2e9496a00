"""Being switched away from, in a ``ServiceSwitcher``.

A switcher tells a service nothing. From a switch on, no frame that goes down reaches the service
any more, but for the end of the pipeline; not even an interruption. What it was given before, it
still has to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from pipecat.frames.frames import Frame, InterruptionFrame
from pipecat.pipeline.service_switcher import ServiceSwitcher
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.pipeline.frame_traits import HandedOnFrame
from pipecat_agenthuman.pipeline.transport_output import all_within


class SwitchWatch:
    """Watches the switcher in which a service stands, if it does."""

    def __init__(
        self, processor: FrameProcessor, *, on_interruption: Callable[[], Awaitable[None]]
    ) -> None:
        """Create a watch; ``find`` looks for the switcher.

        Args:
            processor: The service.
            on_interruption: Called for each interruption that the switcher keeps from it.
        """
        self._processor = processor
        self._on_interruption = on_interruption
        self._switcher: ServiceSwitcher[Any] | None = None

    @property
    def is_away(self) -> bool:
        """Whether another service is given the frames."""
        switcher = self._switcher
        return switcher is not None and switcher.strategy.active_service is not self._processor

    def find(self) -> None:
        """Look for the switcher in the pipeline, and watch it from now on. Idempotent."""
        if self._switcher is not None:
            return
        for part in all_within(self._processor.pipeline_worker.pipeline):
            if isinstance(part, ServiceSwitcher) and self._processor in part.services:
                self._switcher = part
                part.add_event_handler("on_before_process_frame", self._comes_by)
                part.strategy.add_event_handler("on_service_switched", self._switched)
                return

    async def _switched(self, _: object, active: FrameProcessor) -> None:
        if active is not self._processor:
            # Behind what it was given before the switch: nothing follows that.
            await self._processor.queue_frame(HandedOnFrame())

    async def _comes_by(self, _: object, frame: Frame) -> None:
        if isinstance(frame, InterruptionFrame) and self.is_away:
            await self._on_interruption()
