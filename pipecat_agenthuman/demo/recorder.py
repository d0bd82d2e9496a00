"""Watches the demo from all sides: the pipeline's frames, and the sandbox's log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman.demo.performance import Lane, Milestone, Take
from pipecat_agenthuman.demo.script import ScriptLine
from pipecat_agenthuman.errors import AgentHumanError
from pipecat_agenthuman.frames import (
    AgentHumanConnectedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanErrorFrame,
    AgentHumanInterruptConfirmedFrame,
    AgentHumanSpeakConfirmedFrame,
)
from pipecat_agenthuman.sandbox.log import Entry
from pipecat_agenthuman.wire.pcm import to_secs

Tell = Callable[[float, Lane, str], None]
"""Shows an event: when it happened, in seconds since the demo began, and what."""

_MILESTONES_OF_FRAMES: Final[dict[type[Frame], Milestone]] = {
    AgentHumanInterruptConfirmedFrame: Milestone.INTERRUPT_CONFIRMED,
    BotStartedSpeakingFrame: Milestone.STARTED,
    BotStoppedSpeakingFrame: Milestone.STOPPED,
}
_MILESTONES_OF_ENTRIES: Final = {
    "agent.interrupt": Milestone.INTERRUPT_ARRIVED,
    "speech.cut": Milestone.SILENCED,
}


class DemoError(AgentHumanError):
    """The demo did not run as it should."""


class Recorder:
    """Takes note of what happens to each line, tells of it, and lets others wait for it.

    Attributes:
        takes: What was spoken so far, in order; the last one is going on.
        failure: What broke the demo off; None as long as nothing has.
        is_connected: Whether the session is established.
    """

    def __init__(self, tell: Tell) -> None:
        """Start the clock.

        Args:
            tell: Is called with everything that a watcher wants to know.
        """
        self.takes: list[Take] = []
        self.failure: str | None = None
        self.is_connected = False
        self._tell = tell
        self._started_at = time.monotonic()
        self._changed = asyncio.Event()

    def begin(self, line: ScriptLine) -> Take:
        """Begin a take of a line."""
        take = Take(line)
        self.takes.append(take)
        self.tell(Lane.SCRIPT, line.text)
        return take

    def interrupt(self) -> None:
        """Take note that the take that is going on is being interrupted."""
        if not self.takes[-1].is_confirmed:
            self._tell_confirmed(self.takes[-1])
        self.note(Milestone.INTERRUPTED)

    def note(self, milestone: Milestone, at: float | None = None, details: str = "") -> None:
        """Take note of a milestone of the take that is going on: now, or on the monotonic clock."""
        at = time.monotonic() if at is None else at
        self.takes[-1].milestones[milestone] = at
        lane, words = milestone.value
        if lane is not None:
            self.tell(lane, words + details, at)
        self._changed.set()

    def tell(self, lane: Lane, text: str, at: float | None = None) -> None:
        """Tell of an event: now, or on the monotonic clock."""
        self._tell((time.monotonic() if at is None else at) - self._started_at, lane, text)

    def fail(self, error: str) -> None:
        """Take note of an error; those that follow from the first are not told."""
        if self.failure is None:
            self.failure = error
            self.tell(Lane.BOT, f"error: {error}")
        self._changed.set()

    async def until(self, reached: Callable[[], bool], what: str, limit_secs: float) -> None:
        """Wait until something has happened.

        Args:
            reached: Tells whether it has; asked after everything that happens.
            what: What it is, for the error.
            limit_secs: How long to wait at most.

        Raises:
            DemoError: If it did not happen in time, or something failed before.
        """
        try:
            async with asyncio.timeout(limit_secs):
                while not reached():
                    if self.failure is not None:
                        raise DemoError(self.failure)
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DemoError(f"Waited {limit_secs:.0f} s in vain for {what}.") from None

    # --- what happens ------------------------------------------------------------------

    def take_speech(self, frame: Frame) -> None:
        """Take note of what the TTS service delivers to the avatar service."""
        if isinstance(frame, TTSAudioRawFrame):
            take = self.takes[-1]
            if not take.synthesised:
                self.note(Milestone.FIRST_AUDIO)
            take.synthesised += frame.audio
        elif isinstance(frame, TTSStoppedFrame):
            self.note(Milestone.SYNTHESISED)

    def take_outcome(self, frame: Frame) -> None:
        """Take note of what comes out of the pipeline behind the avatar service."""
        match frame:
            case AgentHumanConnectedFrame():
                self.is_connected = True
                self.tell(Lane.WIRE, "session established")
            case AgentHumanErrorFrame():
                self.fail(frame.error)
            case AgentHumanDisconnectedFrame():
                self.fail(f"The connection was lost: {frame.reason}")
            case AgentHumanSpeakConfirmedFrame():
                self._confirm(self.takes[-1], frame.audio_samples)
            case TTSTextFrame():
                self.takes[-1].words.append(frame.text)
                self.tell(Lane.HEARD, frame.text)
            case _ if type(frame) in _MILESTONES_OF_FRAMES:
                self.note(_MILESTONES_OF_FRAMES[type(frame)])
            case _:
                pass
        self._changed.set()

    def _confirm(self, take: Take, samples: int) -> None:
        take.confirmed.append(samples)
        if take.is_confirmed:
            self._tell_confirmed(take)

    def _tell_confirmed(self, take: Take) -> None:
        """Tell how much of a take was confirmed, in one line for all of its messages."""
        secs, messages = to_secs(sum(take.confirmed)), len(take.confirmed)
        self.tell(Lane.WIRE, f"{secs:.2f} s confirmed in {messages} messages")

    def take_entry(self, entry: Entry, log_started_at: float) -> None:
        """Take note of what arrives at the sandbox, and of what is heard in its room."""
        at, what = log_started_at + entry["at_secs"], entry["what"]
        if what == "avatar.joined":
            self.tell(Lane.ROOM, "the avatar joined", at)
        elif what == "agent.speak" and Milestone.ARRIVED not in self.takes[-1].milestones:
            milliseconds = to_secs(entry.get("samples", 0)) * 1000
            self.note(Milestone.ARRIVED, at, f": {milliseconds:.0f} ms of it")
        elif what in _MILESTONES_OF_ENTRIES:
            self.note(_MILESTONES_OF_ENTRIES[what], at)


class Tap(FrameProcessor):
    """Lets all frames pass, and shows those going down to somebody."""

    def __init__(self, show: Callable[[Frame], None], *, name: str) -> None:
        """Create a tap.

        Args:
            show: Is called with each frame.
            name: Name of the processor.
        """
        super().__init__(name=name)
        self._show = show

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Show a frame and pass it on.

        Args:
            frame: The frame.
            direction: Where it goes.
        """
        await super().process_frame(frame, direction)
        if direction is FrameDirection.DOWNSTREAM:
            self._show(frame)
        await self.push_frame(frame, direction)
