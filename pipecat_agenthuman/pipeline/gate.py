"""The way into the speech: what is let in, and what becomes of what is not.

Nothing ever waits for room: frames that have nothing to do with speech would wait behind it. A
transport takes whatever it is given; here only memory is guarded.
"""

from __future__ import annotations

from typing import Final

from pipecat.frames.frames import Frame, TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame
from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman.pipeline.announcer import Announcer
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.error_reports import ErrorReport
from pipecat_agenthuman.pipeline.fallback import Fallback
from pipecat_agenthuman.pipeline.frame_traits import SOUNDS, SPOKEN_TEXT, Reading, Role
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.playout.playout import Playout

BACKLOG_SECS: Final = 600.0
"""Speech kept until it can be said: far more than a bot ever has to say."""

HELD_FRAMES: Final = 20_000
"""Frames held behind audio."""


class Gate:
    """Takes frames that have their place in the speech. None ever waits here."""

    def __init__(
        self, *, output: AvatarOutput, fallback: Fallback, announcer: Announcer, meter: Meter
    ) -> None:
        """Open the gate.

        Args:
            output: The speech.
            fallback: Passes on what is not let in.
            announcer: Tells of what is refused.
            meter: Counts.
        """
        self._output = output
        self._fallback = fallback
        self._announcer = announcer
        self._meter = meter

    async def take(self, reading: Reading) -> None:
        """Let a frame in, or go on without it.

        Args:
            reading: The frame, and what it means.
        """
        if not self._output.intake.admission.admits(reading):
            self._meter.refused(reading.secs)
            return
        self._fallback.note(reading.frame)
        if reading.role is Role.SPEECH:
            self._meter.took(reading.secs)
        if self._fallback.bypassed:
            await self._fallback.pass_on(reading.frame)
        elif _has_room(self._output.playout, reading):
            await self._let_in(reading)
        else:
            await self._go_on_without(reading)

    async def _let_in(self, reading: Reading) -> None:
        """Have speech said, and hold what belongs to it."""
        frame, interruptible = reading.frame, reading.interruptible
        match frame:
            case TTSAudioRawFrame():
                try:
                    self._output.intake.say(frame, interruptible=interruptible)
                    await self._output.rounds.give_way(self._output.now())
                except ValueError as error:
                    told = f"{error} This piece of speech is not heard."
                    await self._announcer.report(
                        ErrorReport("bad_audio", str(error), told, ErrorCategory.APPLICATION)
                    )
                    self._meter.dropped(reading.secs)
                    self._output.intake.miss()
            case TTSStartedFrame():
                self._output.intake.start(frame, interruptible=interruptible)
            case TTSStoppedFrame():
                self._output.intake.stop(frame, interruptible=interruptible)
            case _:
                self._output.intake.hold(frame, interruptible=interruptible)

    async def _go_on_without(self, reading: Reading) -> None:
        """There is no room for a frame."""
        await self._announcer.report(_full_report(self._output.playout))
        if reading.role is Role.SPEECH:
            self._meter.dropped(reading.secs)
            self._output.intake.miss()
        elif reading.role in (Role.START, Role.STOP):
            self._output.intake.finish()
        if reading.role is not Role.SPEECH and not _goes_with_speech(reading.frame):
            await self._fallback.pass_on(reading.frame)


def _has_room(playout: Playout[Frame], reading: Reading) -> bool:
    """Whether a frame may be kept until its moment comes."""
    if reading.role is Role.SPEECH:
        return playout.outgoing.backlog_secs < BACKLOG_SECS
    return playout.held_items < HELD_FRAMES


def _goes_with_speech(frame: Frame) -> bool:
    """Whether a frame is of no use ahead of the speech before it: unheard words, and sounds.

    What else there is no room for passes at once, for somebody may count on it.
    """
    return isinstance(frame, SPOKEN_TEXT + SOUNDS)


def _full_report(playout: Playout[Frame]) -> ErrorReport:
    """There is no room for a frame."""
    words = (
        f"{playout.outgoing.backlog_secs:.0f} s of speech and {playout.held_items} frames wait "
        "to be said."
    )
    told = (
        f"{words} No more is kept: further speech and words are dropped, and other frames pass "
        "ahead of it. Look for what holds the speech up, or for a TTS service that does not stop."
    )
    return ErrorReport("backlog_full", words, told, ErrorCategory.APPLICATION)
