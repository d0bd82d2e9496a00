"""Watches the demo from all sides: the pipeline's frames, and the sandbox's log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    TTSAudioRawFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from pipecat_agenthuman.demo.performance import Take
from pipecat_agenthuman.demo.script import ScriptLine
from pipecat_agenthuman.demo.timeline import Lane, Narrator
from pipecat_agenthuman.errors import AgentHumanError
from pipecat_agenthuman.frames import (
    AgentHumanConnectedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanErrorFrame,
    AgentHumanInterruptConfirmedFrame,
    AgentHumanSpeakConfirmedFrame,
)
from pipecat_agenthuman.playout.conversion import SpeechConverter
from pipecat_agenthuman.sandbox.log import Entry
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE


class DemoError(AgentHumanError):
    """The demo did not run as it should."""


class Recorder:
    """Takes note of what happens to each line, tells of it, and lets others wait for it.

    Attributes:
        takes: What was spoken so far, in order; the last one is going on.
        errors: What was reported.
        is_connected: Whether the session is established.
    """

    def __init__(self, narrator: Narrator) -> None:
        """Start the clock.

        Args:
            narrator: Is told of everything.
        """
        self.takes: list[Take] = []
        self.errors: list[str] = []
        self.is_connected = False
        self._narrator = narrator
        self._started_at = time.monotonic()
        self._converter = SpeechConverter()
        self._changed = asyncio.Event()

    # --- for whoever directs -----------------------------------------------------------

    def begin(self, line: ScriptLine) -> Take:
        """Begin a take of a line."""
        take = Take(line)
        self.takes.append(take)
        self._converter.reset()
        self.tell(Lane.SCRIPT, line.text)
        return take

    def interrupt(self, take: Take) -> None:
        """Take note that a take is being interrupted."""
        take.interrupted_at = time.monotonic()
        if not take.is_confirmed:
            self._tell_confirmed(take)
        self.tell(Lane.USER, "interrupts")

    def tell(self, lane: Lane, text: str, at: float | None = None) -> None:
        """Tell of an event, now or at a time of the monotonic clock."""
        at = time.monotonic() if at is None else at
        self._narrator.tell(at - self._started_at, lane, text)

    async def until(self, reached: Callable[[], bool], what: str, limit_secs: float) -> None:
        """Wait until something has happened.

        Args:
            reached: Tells whether it has; asked after everything that happens.
            what: What it is, for the error.
            limit_secs: How long to wait at most.

        Raises:
            DemoError: If it did not happen in time, or an error was reported before.
        """
        try:
            async with asyncio.timeout(limit_secs):
                while not reached():
                    if self.errors:
                        raise DemoError(self.errors[0])
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise DemoError(f"Waited {limit_secs:.0f} s in vain for {what}.") from None

    def fail(self, error: str) -> None:
        """Take note of an error."""
        if error not in self.errors:
            self.errors.append(error)
            self.tell(Lane.BOT, f"error: {error}")
        self._changed.set()

    # --- what happens ------------------------------------------------------------------

    def take_speech(self, frame: Frame) -> None:
        """Take note of what the TTS service delivers to the avatar service."""
        if not self.takes:
            return
        take = self.takes[-1]
        if isinstance(frame, TTSAudioRawFrame):
            take.first_audio_at = take.first_audio_at or time.monotonic()
            take.synthesised += self._converter.convert(
                frame.audio, frame.sample_rate, frame.num_channels
            )
        elif isinstance(frame, TTSStoppedFrame):
            take.synthesised += self._converter.flush()
            take.is_synthesised = True
        self._changed.set()

    def take_outcome(self, frame: Frame) -> None:
        """Take note of what comes out of the pipeline behind the avatar service."""
        if isinstance(frame, AgentHumanConnectedFrame):
            self.is_connected = True
            self.tell(Lane.WIRE, "session established")
        elif isinstance(frame, AgentHumanErrorFrame):
            self.fail(frame.error)
        elif isinstance(frame, AgentHumanDisconnectedFrame):
            self.fail(f"The connection was lost: {frame.reason}")
        elif self.takes:
            self._take_of_line(frame, self.takes[-1])
        self._changed.set()

    def _take_of_line(self, frame: Frame, take: Take) -> None:
        match frame:
            case AgentHumanSpeakConfirmedFrame():
                self._confirm(take, frame.audio_samples)
            case AgentHumanInterruptConfirmedFrame():
                take.interrupt_confirmed_at = time.monotonic()
                self.tell(Lane.WIRE, "interrupt confirmed")
            case BotStartedSpeakingFrame():
                take.started_at = time.monotonic()
                self.tell(Lane.BOT, "started speaking")
            case BotStoppedSpeakingFrame():
                take.stopped_at = time.monotonic()
                self.tell(Lane.BOT, "stopped speaking")
            case TTSTextFrame():
                take.words.append(frame.text)
                self._narrator.word(time.monotonic() - self._started_at, frame.text)
            case _:
                pass

    def _confirm(self, take: Take, samples: int) -> None:
        take.messages += 1
        take.confirmed_samples += samples
        if take.is_confirmed:
            self._tell_confirmed(take)

    def _tell_confirmed(self, take: Take) -> None:
        """Tell how much of a take was confirmed, in one line for all of its messages."""
        secs = take.confirmed_samples / WIRE_SAMPLE_RATE
        self.tell(Lane.WIRE, f"{secs:.2f} s confirmed in {take.messages} messages")

    def take_entry(self, entry: Entry, log_started_at: float) -> None:
        """Take note of what arrives at the sandbox."""
        at = log_started_at + entry["at_secs"]
        details: dict[str, Any] = entry
        if entry["what"] == "avatar.joined":
            self.tell(Lane.ROOM, "the avatar joined", at)
        if not self.takes or entry["direction"] == "out":
            return
        take = self.takes[-1]
        if entry["what"] == "agent.speak" and take.first_sent_at is None:
            take.first_sent_at = at
            secs = details.get("samples", 0) / WIRE_SAMPLE_RATE
            self.tell(Lane.WIRE, f"first audio arrived: {secs * 1000:.0f} ms of it", at)
        elif entry["what"] == "agent.interrupt":
            take.interrupt_sent_at = at
            self.tell(Lane.WIRE, "interrupt arrived", at)
        elif entry["what"] == "speech.cut":
            take.cut_at = at


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
