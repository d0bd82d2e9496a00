"""The session's news for the pipeline: frames, event handlers, counts, errors."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from loguru import logger
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
from pipecat_agenthuman.frames import (
    AgentHumanConnectedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanInterruptConfirmedFrame,
    AgentHumanServerEventFrame,
    AgentHumanSpeakConfirmedFrame,
)
from pipecat_agenthuman.pipeline.error_reports import (
    ErrorReport,
    Reporter,
    internal_trouble,
    server_trouble,
    session_trouble,
)
from pipecat_agenthuman.pipeline.stats import ServiceStats
from pipecat_agenthuman.wire import protocol

_NOTICED_KINDS: Final = 32
"""Kinds of unexpected messages that are logged once each."""

_EXCERPT_CHARS: Final = 200


class Announcer:
    """Tells of what happened to the session.

    Attributes:
        reporter: Tells of trouble.
    """

    def __init__(
        self,
        processor: FrameProcessor,
        *,
        stats: ServiceStats,
        notify: Callable[..., Awaitable[None]],
        renewable: bool,
        transport_speaks: bool,
    ) -> None:
        """Create a teller.

        Args:
            processor: Pushes the frames.
            stats: Counts.
            notify: Calls an event handler: name, then arguments.
            renewable: Whether a lost session can be replaced at all.
            transport_speaks: Whether the transport speaks while there is no avatar.
        """
        self.reporter = Reporter(processor)
        self._processor = processor
        self._stats = stats
        self._notify = notify
        self._renewable = renewable
        self._transport_speaks = transport_speaks
        self._noticed: set[str] = set()

    async def tell(self, event: ConnectionEvent) -> None:
        """Tell of an event on the connection."""
        push = self._processor.push_frame
        match event:
            case Established():
                await self._tell_established(event)
            case SpeechConfirmed(message=message, samples=samples):
                count = samples if message.audio_samples is None else message.audio_samples
                await push(AgentHumanSpeakConfirmedFrame(count, event=message.event))
                await self._notify("on_speak_confirmed", count)
            case PlaybackStopped(message=message):
                await push(AgentHumanInterruptConfirmedFrame(event=message.event))
                await self._notify("on_interrupt_confirmed")
            case ErrorReported(error=error):
                await self._tell_error(error, speech_rejected=event.speech_rejected)
            case Unexpected(message=protocol.UnknownEvent() as message):
                self.notice(event.why, f"passed on as a frame: {_excerpt(message.event)}")
                await push(AgentHumanServerEventFrame(event=message.event))
            case Unexpected():
                self.notice(event.why, f"skipped: {_excerpt(event.message)}")

    async def tell_lost(self, event: SessionLost) -> None:
        """Tell that a session is gone, or could not be brought up."""
        if event.was_ready or not event.will_renew:
            await self.tell_disconnected(event.reason, event.will_renew, planned=event.planned)
        if event.error is None:
            return
        if event.was_ready:
            self._stats.losses += 1
        meaning = self._meaning(will_renew=event.will_renew)
        await self.tell_trouble(session_trouble(event.error, meaning, final=not event.will_renew))

    async def tell_bug(self, where: str, error: Exception) -> None:
        """Tell that a mistake of this package ended the session."""
        trouble = internal_trouble(where, error, self._meaning(will_renew=False))
        await self.tell_disconnected(trouble.error, False)
        await self.tell_trouble(trouble)

    async def tell_disconnected(
        self, reason: str, will_reconnect: bool, *, planned: bool = False
    ) -> None:
        """Tell that the connection is gone."""
        frame = AgentHumanDisconnectedFrame(reason, will_reconnect, planned)
        await self._processor.push_frame(frame)
        await self._notify("on_disconnected", reason, will_reconnect)

    async def tell_trouble(self, trouble: ErrorReport) -> None:
        """Count trouble, and report it unless it belongs to a burst that was reported."""
        self._stats.count_error(trouble.code)
        if await self.reporter.tell(trouble):
            await self._notify("on_avatar_error", trouble.error, trouble.code)

    def notice(self, kind: str, what: str) -> None:
        """Log something unexpected that changes nothing, once for each kind."""
        if kind not in self._noticed and len(self._noticed) < _NOTICED_KINDS:
            self._noticed.add(kind)
            logger.warning(f"{self._processor}: unexpected message of the server ({kind}), {what}")

    # --- inside ------------------------------------------------------------------------

    async def _tell_established(self, event: Established) -> None:
        if self._stats.sessions:
            self._stats.renewals += 1
        self._stats.sessions += 1
        session_id = event.session_id
        logger.debug(f"{self._processor}: session {session_id} established")
        frame = AgentHumanConnectedFrame(session_id, event=event.message.event)
        await self._processor.push_frame(frame)
        await self._notify("on_connected", session_id)

    async def _tell_error(self, error: protocol.ServerError, *, speech_rejected: bool) -> None:
        meaning = "That piece of speech is not heard." if speech_rejected else "The call goes on."
        await self.tell_trouble(server_trouble(error, meaning))

    def _meaning(self, *, will_renew: bool) -> str:
        """What the loss of a session means for the call."""
        voice = "the transport speaks" if self._transport_speaks else "the bot is mute"
        if will_renew:
            return f"A new session is coming; until then {voice}."
        if self._renewable:
            return f"There will be no other: from now on {voice}."
        return f"It was made elsewhere (credentials=) and cannot be renewed: from now on {voice}."


def _excerpt(what: object) -> str:
    return str(what)[:_EXCERPT_CHARS]
