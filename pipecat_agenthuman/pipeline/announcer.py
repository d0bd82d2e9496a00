"""Tells the pipeline what happened to the session: frames, event handlers, errors, metrics.

Whoever has news hands it in and goes on; it is told one by one, in order, so that a slow event
handler holds up nothing but the news behind it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from loguru import logger
from pipecat.frames.frames import ErrorFrame
from pipecat.processors.frame_processor import FrameProcessor

from pipecat_agenthuman.client.events import (
    ConnectionEvent,
    ErrorReported,
    Established,
    PlaybackStopped,
    SessionLost,
    SpeechConfirmed,
    Unexpected,
)
from pipecat_agenthuman.errors import AgentHumanError, BotRemovedError, WrongPlaceError
from pipecat_agenthuman.frames import (
    AgentHumanConnectedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanErrorFrame,
    AgentHumanInterruptConfirmedFrame,
    AgentHumanServerEventFrame,
    AgentHumanSpeakConfirmedFrame,
)
from pipecat_agenthuman.pipeline.error_reports import (
    ErrorReport,
    internal_report,
    server_report,
    session_report,
)
from pipecat_agenthuman.pipeline.metrics import Meter
from pipecat_agenthuman.wire import protocol

EVENTS: Final = (
    "on_connected",
    "on_disconnected",
    "on_speak_confirmed",
    "on_interrupt_confirmed",
    "on_avatar_error",
    "on_avatar_ready",
    "on_session_ending",
    "on_minutes_low",
)
"""Names of the events for which a user may register handlers."""

UNTOLD_NEWS: Final = 256
"""News that waits to be told. Beyond, what changes nothing is skipped: a server that floods
its client must not fill the memory."""

BURST_SECS: Final = 10.0
"""The same error within this time is one burst: told once, and counted. So is what all attempts
bring until a session is up: there may be dozens while the service is down, and each takes time."""

_NOTICED_KINDS: Final = 32
"""Kinds of unexpected messages that are logged once each."""

_EXCERPT_CHARS: Final = 200


@dataclass(frozen=True, slots=True)
class AvatarReady:
    """The avatar may speak from now on."""


@dataclass(frozen=True, slots=True)
class AvatarAbsent:
    """The avatar was waited for in the room in vain; its session goes on."""

    error: AgentHumanError


@dataclass(frozen=True, slots=True)
class AvatarDoubtful:
    """The avatar did not do as it was told; its session goes on."""

    error: AgentHumanError


@dataclass(frozen=True, slots=True)
class SessionEnding:
    """The session ends soon, and no other takes over.

    Attributes:
        left_secs: How soon.
    """

    left_secs: float


@dataclass(frozen=True, slots=True)
class MinutesLow:
    """The account has few minutes left.

    Attributes:
        minutes_left: About how many.
    """

    minutes_left: float


News = (
    ConnectionEvent
    | SessionLost
    | AvatarReady
    | AvatarAbsent
    | AvatarDoubtful
    | SessionEnding
    | MinutesLow
)


class Announcer:
    """Tells of what happened to the session."""

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        meter: Meter,
        notify: Callable[..., Awaitable[None]],
        renewable: bool,
        transport_speaks: bool,
    ) -> None:
        """Create an announcer; ``run`` tells.

        Args:
            processor: Pushes the frames.
            meter: Counts, and has figures to tell.
            notify: Calls an event handler: name, then arguments.
            renewable: Whether a lost session can be replaced at all.
            transport_speaks: Whether the transport speaks while there is no avatar.
        """
        self._processor = processor
        self._meter = meter
        self._notify = notify
        self._renewable = renewable
        self._transport_speaks = transport_speaks
        self._news: asyncio.Queue[News] = asyncio.Queue()
        self._bursts = _Bursts(str(processor))
        self._noticed: set[str] = set()

    def take(self, news: News) -> None:
        """Take news; it is told when all before it was."""
        changes_nothing = isinstance(news, Unexpected) or (
            isinstance(news, ErrorReported) and not news.speech_rejected
        )
        if changes_nothing and self._news.qsize() >= UNTOLD_NEWS:
            self._notice("too many at once", "some are skipped")
            return
        self._news.put_nowait(news)

    async def run(self) -> None:
        """Tell what there is to tell, until cancelled."""
        while True:
            news = await self._news.get()
            await self._tell(news)
            await self._meter.push()

    def close(self) -> None:
        """Tell what is still to be told of errors. Idempotent."""
        self._bursts.close()

    async def report(self, report: ErrorReport) -> None:
        """Tell of an error at once, unless it belongs to a burst that was told of."""
        self._meter.failed(report.code)
        if not self._bursts.opens(report):
            return
        await self._processor.push_frame(
            AgentHumanErrorFrame(report.error, report.code, event=report.event or {})
        )
        frame = ErrorFrame(error=report.told, exception=report.exception, category=report.category)
        await self._processor.push_error_frame(frame, force_treat_as_permanent=report.final)
        await self._notify("on_avatar_error", report.error, report.code)

    async def report_misplaced(self, error: AgentHumanError) -> None:
        """Tell at once that the service cannot do its job where it is."""
        passes = "everything passes as if it were not there"
        voice = passes if isinstance(error, WrongPlaceError) else self._voice
        meaning = f"No session is made and nothing is billed; {voice}."
        await self.report(session_report(error, meaning, final=True))

    async def report_bug(self, where: str, error: Exception) -> None:
        """Tell at once that a mistake of this package ended the session."""
        report = internal_report(where, error, self._meaning(will_renew=False))
        await self._tell_disconnected(AgentHumanDisconnectedFrame(report.error))
        await self.report(report)

    # --- inside ------------------------------------------------------------------------

    async def _tell(self, news: News) -> None:
        push = self._processor.push_frame
        match news:
            case Established():
                await self._tell_established(news)
            case AvatarReady():
                await self._processor.set_usable(True)
                await self._notify("on_avatar_ready")
            case AvatarAbsent(error=error):
                meaning = (
                    f"Until it appears {self._voice}; its session goes on, and minutes with it."
                )
                await self.report(session_report(error, meaning))
            case AvatarDoubtful(error=error):
                meaning = (
                    "Its session goes on, and is replaced if that repeats."
                    if self._renewable
                    else "Its session goes on: it was made elsewhere and cannot be replaced."
                )
                await self.report(session_report(error, meaning))
            case SessionEnding(left_secs=left_secs):
                await self._notify("on_session_ending", left_secs)
            case MinutesLow(minutes_left=minutes_left):
                logger.warning(
                    f"{self._processor}: about {minutes_left:g} minutes are left on the account. "
                    f"When they are used up there is no avatar, and {self._voice}. Add minutes."
                )
                await self._notify("on_minutes_low", minutes_left)
            case SpeechConfirmed(message=message, samples=samples):
                count = samples if message.audio_samples is None else message.audio_samples
                await push(AgentHumanSpeakConfirmedFrame(count, event=message.event))
                await self._notify("on_speak_confirmed", count)
            case PlaybackStopped(message=message):
                await push(AgentHumanInterruptConfirmedFrame(event=message.event))
                await self._notify("on_interrupt_confirmed")
            case ErrorReported(error=error, speech_rejected=rejected):
                meaning = "That piece of speech is not heard." if rejected else "The call goes on."
                await self.report(server_report(error, meaning))
            case SessionLost():
                await self._tell_lost(news)
            case Unexpected(message=protocol.UnknownEvent() as message):
                self._notice(news.why, f"passed on as a frame: {_excerpt(message.event)}")
                await push(AgentHumanServerEventFrame(event=message.event))
            case Unexpected():
                self._notice(news.why, f"skipped: {_excerpt(news.message)}")

    async def _tell_established(self, event: Established) -> None:
        session_id = event.session_id
        logger.debug(f"{self._processor}: session {session_id} established")
        self._bursts.attempts_are_over()
        frame = AgentHumanConnectedFrame(session_id, event=event.message.event)
        await self._processor.push_frame(frame)
        await self._notify("on_connected", session_id)

    async def _tell_lost(self, event: SessionLost) -> None:
        """Tell that a session is gone, or could not be brought up."""
        if event.was_ready or not event.will_renew:
            await self._tell_disconnected(
                AgentHumanDisconnectedFrame(event.reason, event.will_renew, event.planned)
            )
        if event.error is None or not event.will_renew:
            self._bursts.attempts_are_over()
        if event.error is not None:
            meaning = self._meaning(will_renew=event.will_renew)
            if isinstance(event.error, BotRemovedError):
                meaning = "The conversation is over."  # the transport is out of the room, too
            await self.report(
                session_report(
                    event.error,
                    meaning,
                    may_repeat=event.will_renew,
                    final=not event.will_renew,
                )
            )

    async def _tell_disconnected(self, frame: AgentHumanDisconnectedFrame) -> None:
        await self._processor.push_frame(frame)
        await self._notify("on_disconnected", frame.reason, frame.will_reconnect)

    def _notice(self, kind: str, what: str) -> None:
        """Log something unexpected that changes nothing, once for each kind."""
        if kind not in self._noticed and len(self._noticed) < _NOTICED_KINDS:
            self._noticed.add(kind)
            logger.warning(f"{self._processor}: unexpected message of the server ({kind}), {what}")

    def _meaning(self, *, will_renew: bool) -> str:
        """What the loss of a session means for the call."""
        if will_renew:
            return f"A new session is coming; until then {self._voice}."
        if self._renewable:
            return f"There will be no other: from now on {self._voice}."
        return (
            "It was made elsewhere (credentials=) and cannot be renewed: "
            f"from now on {self._voice}."
        )

    @property
    def _voice(self) -> str:
        return "the transport speaks" if self._transport_speaks else "the bot is mute"


def _excerpt(what: object) -> str:
    return str(what)[:_EXCERPT_CHARS]


@dataclass(slots=True)
class _Burst:
    """Errors of one kind that came close together; the first of them was told.

    Attributes:
        since: When that was.
        end: Ends it; None while attempts go on, which may bring more.
        untold: How many came after it.
    """

    since: float
    end: asyncio.TimerHandle | None
    untold: int = 0


class _Bursts:
    """Which errors belong together, so that each burst is told once, and its size at its end."""

    def __init__(self, owner: str) -> None:
        """Begin without any.

        Args:
            owner: Who tells, for the log.
        """
        self._owner = owner
        self._under_way: dict[str, _Burst] = {}

    def opens(self, report: ErrorReport) -> bool:
        """Take note of an error; returns whether it is to be told."""
        burst = self._under_way.get(report.code)
        if burst is not None and not report.final:
            burst.untold += 1
            if report.may_repeat and burst.end is not None:
                burst.end.cancel()
                burst.end = None
            return False
        self._end(report.code)
        since = asyncio.get_running_loop().time()
        end = None if report.may_repeat else self._end_later(report.code)
        self._under_way[report.code] = _Burst(since, end)
        return True

    def attempts_are_over(self) -> None:
        """A session is up, or no other is brought up: no attempt brings more."""
        for code, burst in self._under_way.items():
            if burst.end is None:
                burst.end = self._end_later(code)

    def _end_later(self, code: str) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(BURST_SECS, self._end, code)

    def close(self) -> None:
        """End all of them."""
        for code in tuple(self._under_way):
            self._end(code)

    def _end(self, code: str) -> None:
        burst = self._under_way.pop(code, None)
        if burst is None:
            return
        if burst.end is not None:
            burst.end.cancel()
        if burst.untold:
            within_secs = asyncio.get_running_loop().time() - burst.since
            logger.error(
                f"{self._owner}: the error {code!r} came {burst.untold} more times within "
                f"{within_secs:.1f} s."
            )
