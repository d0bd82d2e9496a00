"""Which frames still count: an interruption overtakes frames of its utterance on their way."""

from __future__ import annotations

from collections import deque
from typing import Final

from loguru import logger
from pipecat.frames.frames import LLMFullResponseStartFrame

from pipecat_agenthuman.pipeline.frame_traits import SPOKEN_TEXT, Reading, Role

REMEMBERED_CONTEXTS: Final = 64
"""TTS contexts of which it is known where they began, that they go on, or that they were
interrupted."""


class Admission:
    """Lets frames in, unless they belong to speech that was interrupted."""

    def __init__(self, owner: object) -> None:
        """Let everything in.

        Args:
            owner: Who asks, for the log.
        """
        self._owner = owner
        self._going_on: deque[str] = deque(maxlen=REMEMBERED_CONTEXTS)
        self._interrupted: deque[str] = deque(maxlen=REMEMBERED_CONTEXTS)
        self._awaits_start = False
        self._told_of: str | None = None  # the context of which the log told last

    def interrupt(self, *, kept: str | None = None) -> None:
        """An interruption came: what comes late of what was announced and has no end is not said.

        That can be more than the utterance that is open: contexts may be said in turns.

        Args:
            kept: The name of what goes on all the same, also if its start and its stop are
                interruptible.
        """
        for context_id in self._going_on:
            if context_id != kept:
                self._refuse(context_id)
        self._going_on.clear()

    def interrupted(self, context_id: str | None, *, announced: bool) -> None:
        """The utterance that is open was interrupted: what comes late of it is not said.

        Args:
            context_id: The TTS service's name for it.
            announced: Whether a start opened it.
        """
        if context_id is not None:
            self._refuse(context_id)
        # Without a name only the next start, or that of the next answer, tells late frames from
        # new ones.
        self._awaits_start = announced and context_id is None

    def admits(self, reading: Reading) -> bool:
        """Whether a frame may be said; a start lets in what follows it under the same name."""
        context_id: str | None = getattr(reading.frame, "context_id", None)
        if reading.role is Role.START or isinstance(reading.frame, LLMFullResponseStartFrame):
            self._awaits_start = False
        if reading.role is Role.START and context_id in self._interrupted:
            self._interrupted.remove(context_id)
        if not reading.interruptible:
            return True
        if reading.role is Role.START:
            if context_id is not None and context_id not in self._going_on:
                self._going_on.append(context_id)
            return True
        if reading.role is Role.STOP and context_id in self._going_on:
            self._going_on.remove(context_id)
        if context_id is None or context_id not in self._interrupted:
            return not (self._awaits_start and _is_of_speech(reading, context_id))
        if context_id != self._told_of:
            self._told_of = context_id
            logger.debug(
                f"{self._owner}: {context_id} was interrupted; what still comes of it is "
                "dropped until it starts anew."
            )
        return False

    def _refuse(self, context_id: str) -> None:
        if context_id not in self._interrupted:
            self._interrupted.append(context_id)


def _is_of_speech(reading: Reading, context_id: str | None) -> bool:
    """Whether a frame is speech, its end, or words of speech that has no name.

    Words that have one can come before the start of their speech.
    """
    if reading.role in (Role.SPEECH, Role.STOP):
        return True
    return context_id is None and isinstance(reading.frame, SPOKEN_TEXT)
