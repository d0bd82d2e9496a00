"""The end of a pipeline, in a branch of a ``ParallelPipeline``; a ``ServiceSwitcher`` is one.

From an ``EndFrame`` on, a parallel pipeline lets nothing out until all its branches are done with
it. A service that says its last words then tells nobody of them, and the transport cannot say
them. So they are said before: the end waits in front of the parallel pipeline, where it holds
nothing up but itself, and an interruption passes it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from pipecat.frames.frames import EndFrame, Frame
from pipecat.pipeline.parallel_pipeline import ParallelPipeline
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman.pipeline.frame_traits import PassedMark, passed_mark
from pipecat_agenthuman.pipeline.in_transit import THROUGH_SECS
from pipecat_agenthuman.pipeline.surroundings.switching import SwitchWatch
from pipecat_agenthuman.pipeline.transport_output import all_within


class BranchEnd:
    """Has a service say its last words before the end closes the branch it stands in."""

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        switch: SwitchWatch,
        finish: Callable[[], Awaitable[None]],
    ) -> None:
        """Stand in no branch yet; ``find`` looks for it.

        Args:
            processor: The service.
            switch: Whether the service is given frames.
            finish: Waits until everything was heard that the service was given; bounded.
        """
        self._processor = processor
        self._switch = switch
        self._finish = finish
        self._branch: FrameProcessor | None = None
        self._mark: PassedMark | None = None
        self._arrived = asyncio.Event()

    def find(self) -> None:
        """Look for the outermost parallel pipeline, and watch it from now on. Idempotent."""
        if self._branch is not None:
            return
        parallel = _part_with(self._processor, self._processor.pipeline_worker.pipeline)
        while parallel is not None and not isinstance(parallel, ParallelPipeline):
            parallel = _part_with(self._processor, parallel)
        if parallel is not None:
            self._branch = _part_with(self._processor, parallel)
            parallel.add_event_handler("on_before_process_frame", self._comes_by)
            self._processor.add_event_handler("on_before_process_frame", self._is_taken)

    async def _comes_by(self, _: object, frame: Frame) -> None:
        if isinstance(frame, EndFrame):
            if not self._switch.is_away:
                await self._catch_up()
            await self._finish()

    async def _catch_up(self) -> None:
        """Let the service take all that is on its way to it: a mark comes behind that."""
        assert self._branch is not None, "somebody called _comes_by"
        self._arrived.clear()
        self._mark = passed_mark()
        await self._branch.queue_frame(self._mark, FrameDirection.DOWNSTREAM)
        with suppress(TimeoutError):  # Somebody in front keeps such a mark.
            async with asyncio.timeout(THROUGH_SECS):
                await self._arrived.wait()

    async def _is_taken(self, _: object, frame: Frame) -> None:
        if frame is self._mark:
            self._arrived.set()


def _part_with(processor: FrameProcessor, compound: FrameProcessor) -> FrameProcessor | None:
    """Of the parts of something, the one that is a processor or has it within; None if none."""
    for part in compound.processors:
        if part is processor or processor in all_within(part):
            return part
    return None
