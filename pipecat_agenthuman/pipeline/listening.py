"""Listens to the avatar in the room: how late it is, and whether it says what it was given.

The transport has the ear, the playout knows what was to sound. Here the two meet, and what follows
from it is passed on: to the clock, to whoever is told, and to the session if the avatar is deaf or
mute.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from loguru import logger
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.errors import AgentHumanError
from pipecat_agenthuman.pipeline.announcer import Announcer, AvatarDoubtful
from pipecat_agenthuman.pipeline.avatar_output import AvatarOutput
from pipecat_agenthuman.pipeline.error_reports import avatar_unheard, interrupt_ignored
from pipecat_agenthuman.pipeline.surroundings.ear import HEARD_SAMPLE_RATE, Ear
from pipecat_agenthuman.playout.hearing import Finding, Obeyed, WentOn
from pipecat_agenthuman.playout.passages import Verdict

REPORTED_AT: Final = 1
"""At which occurrence in a call something odd is told of: it may have been chance."""

REPLACED_AT: Final = 2
"""At which the session is replaced. Not again at the third: what another session does not mend
lies with the room, or with what this bot may hear there."""

ASKED_AGAIN_SECS: Final = 30.0
"""After which an ear that brings nothing is asked again: the room may have refused it."""

REST_SECS: Final = 2.0
"""What unsubscribing may take in the end; the room may be gone already."""

Replace = Callable[[AgentHumanError], None]


class Listening:
    """What becomes of what the avatar is heard saying.

    Without an ear, or with a latency that the user fixed, it does nothing.
    """

    def __init__(
        self, processor: FrameProcessor, *, output: AvatarOutput, announcer: Announcer
    ) -> None:
        """Begin deaf; ``find`` looks for an ear, ``run`` listens.

        Args:
            processor: The service, for the log.
            output: Knows what was to sound, and takes the latency that was heard.
            announcer: Tells of an avatar that does not do as it was told.
        """
        self._processor = processor
        self._output = output
        self._announcer = announcer
        self._hearing = output.playout.hearing
        self._ear: Ear | None = None
        self._asked_at: float | None = None  # when the ear was asked to listen; None: it rests
        self._hears = False
        self._bug: Exception | None = None  # of ours, in what is made of what is heard
        self._went_on = 0  # times in a row
        self._told: set[type[AgentHumanError]] = set()
        self._news = asyncio.Event()

    def find(self, transport: object) -> None:
        """Take the ear of an output transport, if it has one."""
        self._ear = getattr(transport, "ear", None)
        self.look()

    def look(self) -> None:
        """Something happened to session or speech: look what is to be done; nothing when deaf."""
        if self._ear is not None:
            self._news.set()

    def expect_another(self) -> None:
        """The avatar of another session comes: it may be slower, or quicker."""
        if self._went_on < REPLACED_AT:
            self._went_on = 0
        self._hearing.begin_anew()
        self.look()

    async def run(self, replace: Replace | None) -> None:
        """Listen until cancelled.

        Args:
            replace: Gives the session up for another one; None if there can be no other.
        """
        try:
            while True:
                self._news.clear()
                if self._bug is not None:
                    raise self._bug
                self._judge(replace)
                await self._settle_ear()
                await self._sleep()
        except Exception:  # noqa: BLE001 - the call goes on as if there were no ear
            logger.exception(
                f"{self._processor}: a bug of pipecat-agenthuman in listening: the "
                "avatar is not listened to any more, and its latency stays as it is."
            )
        finally:
            if self._ear is not None:
                # Whatever it raises: a service whose avatar speaks does not end of that.
                with suppress(Exception):
                    async with asyncio.timeout(REST_SECS):
                        await self._ear.rest(self)

    # --- what the ear brings -------------------------------------------------------------

    def hears(self, audio: bytes, at: float) -> None:
        """Take what was heard of the avatar."""
        if self._bug is not None:
            return
        try:
            if not self._hears:
                self._hears = True
                self._hearing.open(self._output.now())
            self._hearing.hear(audio, HEARD_SAMPLE_RATE, at)
        except Exception as bug:  # noqa: BLE001 - the transport that calls knows nothing of it
            self._bug = bug
            self.look()

    def hears_nothing(self) -> None:
        """The avatar is not heard any more."""
        self._hears = False
        self._hearing.close()
        self.look()

    # --- inside --------------------------------------------------------------------------

    def _judge(self, replace: Replace | None) -> None:
        while (found := self._hearing.poll(self._output.now())) is not None:
            match found:
                case Finding(verdict=Verdict.SILENT):
                    self._doubt(avatar_unheard(), found.silent_in_a_row, replace)
                case Finding(changed=True):
                    self._output.adopt_latency()
                case WentOn():
                    self._went_on += 1
                    self._doubt(interrupt_ignored(), self._went_on, replace)
                case Obeyed():
                    self._went_on = 0
                case _:
                    pass
            if self._went_on == REPORTED_AT:
                self._hearing.begin_anew()  # Whether it repeats, only listening tells.

    def _doubt(self, error: AgentHumanError, times: int, replace: Replace | None) -> None:
        """The avatar does not do as it was told: tell of it, and replace it if that repeats."""
        if times == REPORTED_AT:
            # Once in a call: one whose sound comes later than is looked for begins to count anew
            # with each utterance.
            if type(error) not in self._told:
                self._told.add(type(error))
                self._announcer.take(AvatarDoubtful(error))
        elif times == REPLACED_AT and replace is not None:
            replace(error)

    async def _settle_ear(self) -> None:
        if self._ear is None:
            return
        if not (self._output.measures_latency and self._hearing.wants_ear):
            if self._asked_at is not None:
                self._asked_at = None
                await self._ear.rest(self)
            return
        now = self._output.now()
        is_due = self._asked_at is None or now - self._asked_at >= ASKED_AGAIN_SECS
        if is_due and not self._hears:
            self._asked_at = now
            await self._ear.listen(self)

    async def _sleep(self) -> None:
        due = self._hearing.next_due
        limit_secs = None if due is None else max(due - self._output.now(), 0.0)
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_secs):
                await self._news.wait()
