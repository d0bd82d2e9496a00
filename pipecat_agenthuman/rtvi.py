"""``AgentHumanRTVI``: what the avatar is doing, told to the web clients of a call."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from loguru import logger
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    Frame,
    StartFrame,
)
from pipecat.observers.base_observer import BaseObserver, FramePushed
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.processors.frameworks.rtvi import RTVIProcessor

from pipecat_agenthuman._arguments import check_kind
from pipecat_agenthuman.frames import (
    AgentHumanAvatarLeftFrame,
    AgentHumanConnectedFrame,
    AgentHumanDisconnectedFrame,
    AgentHumanErrorFrame,
    AgentHumanPersonsFrame,
)
from pipecat_agenthuman.service import AgentHumanVideoService

__all__ = ["AgentHumanRTVI"]

MIN_INTERVAL_SECS: Final = 0.25
"""Between two messages. What changes faster is told as it is then: a page shows it to a person,
who would see a flicker."""


class _State(StrEnum):
    """What the avatar is to the person who looks at the page."""

    ABSENT = "absent"
    JOINING = "joining"
    READY = "ready"
    SPEAKING = "speaking"
    LOST = "lost"
    RETURNING = "returning"


_IS_HERE: Final = frozenset({_State.READY, _State.SPEAKING})

_REASONS: Final = {
    _State.ABSENT: "The call goes on without the avatar.",
    _State.JOINING: "The avatar is on its way.",
    _State.READY: "The avatar is here.",
    _State.SPEAKING: "The avatar is speaking.",
    _State.LOST: "The avatar is gone for a moment; the call goes on without it.",
    _State.RETURNING: "The avatar is coming back; until then the call goes on without it.",
}
_LATE: Final = "The avatar takes longer than usual; until then the call goes on without it."
"""Sentences of ours alone: no word of a server, and so no secret, can get into a page."""


@dataclass(slots=True)
class _Course:
    """How the avatar's state goes on from frame to frame, as its service passes them.

    The frames tell why something changes. That the avatar may speak, and that it never will, is
    asked of the service: so the course is right again with the next frame, whatever it missed.
    """

    state: _State | None = None  # until the pipeline has started
    is_late: bool = False
    has_persons: bool = False

    @property
    def told(self) -> tuple[str, str] | None:
        """The state, and the state in a sentence for people; None if there is none yet."""
        if self.state is None:
            return None
        late = self.state is _State.JOINING and self.is_late
        return self.state.value, _LATE if late else _REASONS[self.state]

    def take(self, frame: Frame, *, is_ready: bool, is_usable: bool) -> None:
        """Go on with a frame.

        Args:
            frame: What the service passed down.
            is_ready: Whether the avatar may speak now.
            is_usable: Whether there is any hope for it.
        """
        match frame:
            case StartFrame():
                self._expect()
            case AgentHumanDisconnectedFrame(will_reconnect=False):
                self.state = _State.ABSENT
            case AgentHumanDisconnectedFrame(planned=planned):
                self.state = _State.RETURNING if planned else _State.LOST
            case AgentHumanAvatarLeftFrame() if self.state in _IS_HERE and not is_ready:
                self.state = _State.LOST
            case AgentHumanConnectedFrame() if self.state is _State.LOST:
                self.state = _State.RETURNING
            case AgentHumanErrorFrame():
                self.is_late = True
            case AgentHumanPersonsFrame(persons=persons):
                if persons and not self.has_persons:
                    self._expect()
                self.has_persons = bool(persons)
            case BotStartedSpeakingFrame() if self.state is _State.READY:
                self.state = _State.SPEAKING
            case BotStoppedSpeakingFrame() if self.state is _State.SPEAKING:
                self.state = _State.READY
            case _:
                pass
        self.look(is_ready=is_ready, is_usable=is_usable)

    def look(self, *, is_ready: bool, is_usable: bool) -> None:
        """Go on with what the service says of itself; arguments as for ``take``."""
        if is_ready and self.state not in _IS_HERE:
            self.state = _State.READY
        elif not is_usable and not is_ready:
            self.state = _State.ABSENT

    def expect_anew(self, *, is_ready: bool, is_usable: bool) -> None:
        """There is hope again, or none any more; arguments as for ``take``."""
        self._expect()
        self.look(is_ready=is_ready, is_usable=is_usable)

    def _expect(self) -> None:
        if self.state in (None, _State.ABSENT):
            self.state, self.is_late = _State.JOINING, False


class AgentHumanRTVI(BaseObserver):
    """Tells web clients what the avatar is doing, as RTVI server messages.

    ::

        worker = PipelineWorker(pipeline, observers=[AgentHumanRTVI(avatar)])

    A client gets, each time something changes, and again when it reports that it is ready::

        {"type": "avatar-state", "state": "lost", "reason": "The avatar is gone for a moment; …",
         "avatar": "agenthuman-avatar-…", "service": "AgentHumanVideoService#0"}

    The states: ``absent`` (there is none, and none is coming), ``joining`` (for the first
    time), ``ready``, ``speaking``, ``lost`` (the transport has the voice, unless the service was
    told to drop speech), ``returning`` (a new session is taking over). ``reason`` is a sentence
    for people. ``avatar`` is the avatar's ``user_id`` at Daily, its identity at LiveKit, the same
    through all renewals; None if its room does not say, or its session was made elsewhere.
    ``service`` is the service's ``name``. Nothing else is in a message: no text of the server, no
    session, no token.

    With two services in a pipeline, as in Pipecat's ``ServiceSwitcher``, each has an observer of
    its own, and ``service`` tells whose message it is: give them names.

    Changes within 0.25 s of each other are told as one.
    """

    def __init__(self, avatar: AgentHumanVideoService, **kwargs: Any) -> None:
        """Create the observer, for the worker in whose pipeline the avatar is.

        Args:
            avatar: The service that is told of.
            **kwargs: As for ``BaseObserver``.

        Raises:
            ValueError: If ``avatar`` is something else.
        """
        super().__init__(**kwargs)
        check_kind("avatar", avatar, AgentHumanVideoService)
        self._avatar = avatar
        self._course = _Course()
        self._rtvi: RTVIProcessor | None = None
        self._told: tuple[str, str] | None = None
        self._told_at = float("-inf")
        self._telling: asyncio.Task[None] | None = None
        avatar.add_event_handler("on_usable_changed", self._on_usable_changed)

    async def on_push_frame(self, data: FramePushed) -> None:
        """Look at what the avatar's service passes down, when it has made up its mind."""
        source = data.source
        if source is self._avatar:
            if data.direction is FrameDirection.DOWNSTREAM:
                self._course.take(data.frame, **self._of_service())
                self._tell_soon()
        elif self._rtvi is None and isinstance(source, RTVIProcessor):
            self._rtvi = source
            source.add_event_handler("on_client_ready", self._on_client_ready)
            self._tell_soon()

    async def on_pipeline_started(self) -> None:
        """Say so if there is nobody to tell, or nothing to tell of."""
        if self._rtvi is None:
            logger.warning(
                f"{self}: there is no RTVI in this pipeline, so web clients are not told what the "
                "avatar is doing. Leave enable_rtvi=True, or put an RTVIProcessor into it."
            )
        elif self._course.state is None:
            logger.warning(
                f"{self}: {self._avatar} is not in this pipeline, so web clients are not told "
                "what the avatar is doing. Pass the service that is."
            )

    async def cleanup(self) -> None:
        """Tell nothing any more."""
        await super().cleanup()
        if self._telling is not None and not self._telling.done():
            await self.cancel_task(self._telling)

    # --- inside ------------------------------------------------------------------------

    async def _on_usable_changed(self, _processor: FrameProcessor, _is_usable: bool) -> None:
        self._course.expect_anew(**self._of_service())
        self._tell_soon()

    async def _on_client_ready(self, _rtvi: RTVIProcessor) -> None:
        self._told = None  # It has missed what was told before.
        self._tell_soon()

    def _of_service(self) -> dict[str, bool]:
        return {"is_ready": self._avatar.ready, "is_usable": self._avatar.is_usable}

    def _tell_soon(self) -> None:
        is_telling = self._telling is not None and not self._telling.done()
        if self._rtvi is not None and not is_telling and self._told != self._course.told:
            self._telling = self.create_task(self._tell(self._rtvi))

    async def _tell(self, rtvi: RTVIProcessor) -> None:
        now = asyncio.get_running_loop().time
        identity = self._avatar.identity
        while (told := self._course.told) is not None and told != self._told:
            wait_secs = self._told_at + MIN_INTERVAL_SECS - now()
            if wait_secs > 0:
                await asyncio.sleep(wait_secs)
                continue  # It may be another by now, or the one that was told.
            self._told, self._told_at = told, now()
            state, reason = told
            user_id = identity.whole_user_id if identity is not None else None
            message = {"type": "avatar-state", "state": state, "reason": reason}
            whose = {"avatar": user_id, "service": self._avatar.name}
            await rtvi.send_server_message(message | whose)
