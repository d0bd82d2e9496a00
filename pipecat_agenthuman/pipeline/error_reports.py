"""Errors, told where they matter: to the pipeline, to the client, and in one log line."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger
from pipecat.frames.frames import ErrorFrame
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.utils.errors import ErrorCategory

from pipecat_agenthuman._credentials import MAX_WORDS_CHARS
from pipecat_agenthuman.errors import AgentHumanError, LostConnectionError
from pipecat_agenthuman.frames import AgentHumanErrorFrame
from pipecat_agenthuman.wire.protocol import ServerError, ServerErrorCode

BURST_SECS: Final = 10.0
"""The same error within this time is one burst: told once, and counted."""

_CATEGORIES: Final[Mapping[str, ErrorCategory]] = {
    "authentication": ErrorCategory.AUTHENTICATION,
    "permission_denied": ErrorCategory.AUTHORIZATION,
    "out_of_minutes": ErrorCategory.QUOTA,
    "rate_limited": ErrorCategory.RATE_LIMIT,
    "bad_request": ErrorCategory.INVALID_REQUEST,
    "not_found": ErrorCategory.INVALID_REQUEST,
    "server_failure": ErrorCategory.SERVER,
    "session_lingers": ErrorCategory.SERVER,
}
"""By the kind of an error; everything else is about the network."""

_SERVER_CATEGORIES: Final[Mapping[ServerErrorCode, ErrorCategory]] = {
    ServerErrorCode.NO_AUDIO: ErrorCategory.APPLICATION,
    ServerErrorCode.AUDIO_NOT_PROCESSED: ErrorCategory.APPLICATION,
    ServerErrorCode.INVALID_JSON: ErrorCategory.APPLICATION,
    ServerErrorCode.UNKNOWN_MESSAGE_TYPE: ErrorCategory.APPLICATION,
}
"""What a message of ours caused; everything else is the server's."""


@dataclass(frozen=True)
class ErrorReport:
    """An error on its way to whom it concerns.

    Attributes:
        code: Stable name; a burst is known by it.
        error: The server's words, or ours where it said nothing.
        told: Everything: what happened, what it means for the call, what to do.
        category: Pipecat's category.
        event: The server's message, if there was one.
        exception: What was raised, if anything.
        final: Whether the service cannot do its job any more.
    """

    code: str
    error: str
    told: str
    category: ErrorCategory
    event: Mapping[str, Any] | None = None
    exception: Exception | None = None
    final: bool = False


def server_trouble(error: ServerError, meaning: str) -> ErrorReport:
    """An error that the server reported on a connection that goes on."""
    entry = error.entry
    words = (
        error.error if len(error.error) <= MAX_WORDS_CHARS else f"{error.error[:MAX_WORDS_CHARS]}…"
    )
    told = f"Agent Human says {words!r}. {entry.meaning} {meaning} {entry.remedy}"
    category = _SERVER_CATEGORIES.get(entry.code, ErrorCategory.SERVER)
    return ErrorReport(entry.code.value, error.error, told, category, error.event)


def session_trouble(error: AgentHumanError, meaning: str, *, final: bool) -> ErrorReport:
    """A session that was lost, or could not be made."""
    told = f"{error.message} {meaning} {error.remedy}".strip()
    category, event = _CATEGORIES.get(error.kind, ErrorCategory.CONNECTIVITY), None
    if isinstance(error, LostConnectionError) and error.error is not None:
        category, event = ErrorCategory.SERVER, error.error.event
    if not final and category.is_permanent:
        # Pipecat would write the service off, which goes on trying.
        category = ErrorCategory.UNKNOWN
    return ErrorReport(error.kind, error.message, told, category, event, error, final)


def internal_trouble(where: str, error: Exception, meaning: str) -> ErrorReport:
    """A mistake of this package, which ended one of its tasks."""
    words = f"{type(error).__name__} in {where}"
    told = (
        f"A bug of pipecat-agenthuman: {words}. {meaning} Please report it, with the traceback "
        "in the log."
    )
    return ErrorReport(
        "internal_error", words, told, ErrorCategory.UNKNOWN, None, error, final=True
    )


@dataclass(slots=True)
class _Burst:
    """Errors of one kind that came close together; the first of them was told."""

    since: float
    untold: int = 0
    end: asyncio.TimerHandle | None = None


class Reporter:
    """Tells of trouble once per burst: upstream, downstream, and by one log line.

    What a burst holds beyond the first is counted, and the count is told when it is over.
    """

    def __init__(self, processor: FrameProcessor, *, burst_secs: float = BURST_SECS) -> None:
        """Create a reporter.

        Args:
            processor: Pushes the frames.
            burst_secs: The same error within this time is told once.
        """
        self._processor = processor
        self._burst_secs = burst_secs
        self._bursts: dict[str, _Burst] = {}

    async def tell(self, trouble: ErrorReport) -> bool:
        """Report trouble, unless it belongs to a burst that was reported.

        Returns:
            Whether it was told.
        """
        burst = self._bursts.get(trouble.code)
        if burst is not None and not trouble.final:
            burst.untold += 1
            return False
        self._end_burst(trouble.code)
        loop = asyncio.get_running_loop()
        end = loop.call_later(self._burst_secs, self._end_burst, trouble.code)
        self._bursts[trouble.code] = _Burst(loop.time(), end=end)
        await self._processor.push_frame(
            AgentHumanErrorFrame(trouble.error, trouble.code, event=trouble.event or {})
        )
        frame = ErrorFrame(
            error=trouble.told, exception=trouble.exception, category=trouble.category
        )
        await self._processor.push_error_frame(frame, force_treat_as_permanent=trouble.final)
        return True

    def close(self) -> None:
        """Tell what is still to be told. Idempotent."""
        for code in tuple(self._bursts):
            self._end_burst(code)

    def _end_burst(self, code: str) -> None:
        burst = self._bursts.pop(code, None)
        if burst is None:
            return
        if burst.end is not None:
            burst.end.cancel()
        if burst.untold:
            within_secs = asyncio.get_running_loop().time() - burst.since
            logger.error(
                f"{self._processor}: the error {code!r} came {burst.untold} more times within "
                f"{within_secs:.1f} s."
            )
