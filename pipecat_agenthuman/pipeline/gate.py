"""The way into the speech: what is let in, and what becomes of what is not."""

from __future__ import annotations

from pipecat.frames.frames import TTSAudioRawFrame, TTSStartedFrame, TTSStoppedFrame
from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman.pipeline.announcer import Announcer
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.backlog import full_report, goes_with_speech, has_room
from pipecat_agenthuman.pipeline.error_reports import ErrorReport
from pipecat_agenthuman.pipeline.fallback import Fallback
from pipecat_agenthuman.pipeline.frame_traits import Reading, Role
from pipecat_agenthuman.pipeline.metrics import Meter


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
        elif has_room(self._output.playout, reading):
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
        await self._announcer.report(full_report(self._output.playout))
        if reading.role is Role.SPEECH:
            self._meter.dropped(reading.secs)
            self._output.intake.miss()
        elif reading.role in (Role.START, Role.STOP):
            self._output.intake.finish()
        if reading.role is not Role.SPEECH and not goes_with_speech(reading.frame):
            await self._fallback.pass_on(reading.frame)
