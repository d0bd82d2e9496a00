"""What can be set while the pipeline runs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

from pipecat.frames.frames import Frame, ServiceUpdateSettingsFrame
from pipecat.services.settings import ServiceSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven

from pipecat_agenthuman._arguments import check_choice
from pipecat_agenthuman._environment import AVATAR, AVATAR_LATENCY
from pipecat_agenthuman.client.faces import check_image_file, is_image_file
from pipecat_agenthuman.client.requests import ASPECT_RATIOS, AspectRatio
from pipecat_agenthuman.playout.pacing import Pace

MEASURED: Final = "measured"

_OF_PACE: Final = (
    "avatar_latency_secs",
    "listener_delay_secs",
    "max_lead_secs",
    "min_first_message_secs",
    "max_first_message_secs",
    "max_message_secs",
)

DEFAULT_SHAPE: Final = "4:3"
_SHAPES: Final[dict[AspectRatio, float]] = {"4:3": 4 / 3, "3:4": 3 / 4, "1:1": 1.0}
"""Width by height."""


def _not_given() -> NotGiven:
    return NOT_GIVEN


@dataclass
class AgentHumanVideoSettings(ServiceSettings):
    """Settings of ``AgentHumanVideoService`` that can change while the pipeline runs.

    Parameters:
        avatar: Identifier ``avat_…``, or a picture with exactly one face on this machine, by
            its path: it is uploaded once, and its new ID told in the log. Paid plans also take
            a public image URL or a ``data:`` URI. A change brings a new session at the next
            pause.
        aspect_ratio: Shape of the video. ``auto`` is the one nearest to the video size of the
            output transport (``video_out_width``, ``video_out_height``). A change brings a new
            session too.
        avatar_latency_secs: From a confirmation to the sound in the room, in seconds;
            ``measured`` for what is heard there, 0.5 s until something was.
        listener_delay_secs: From the sound in the room to a caller's ear, in seconds: what the
            caller's device adds, which nobody here can hear.
        max_lead_secs: Most unheard audio at the server, or None for no limit.
        min_first_message_secs: Least audio in a message that meets an empty queue.
        max_first_message_secs: Most audio that such a message waits for.
        max_message_secs: Most audio in any message.
    """

    avatar: str | Path | NotGiven = field(default_factory=_not_given)
    aspect_ratio: AspectRatio | Literal["auto"] | NotGiven = field(default_factory=_not_given)
    avatar_latency_secs: float | Literal["measured"] | NotGiven = field(default_factory=_not_given)
    listener_delay_secs: float | NotGiven = field(default_factory=_not_given)
    max_lead_secs: float | NotGiven | None = field(default_factory=_not_given)
    min_first_message_secs: float | NotGiven = field(default_factory=_not_given)
    max_first_message_secs: float | NotGiven = field(default_factory=_not_given)
    max_message_secs: float | NotGiven = field(default_factory=_not_given)

    @classmethod
    def defaults(cls) -> AgentHumanVideoSettings:
        """Complete settings: avatar and latency from the environment, if set, the rest built in.

        Raises:
            ValueError: If the latency of the environment is no number of seconds.
        """
        pace = {name: value for name, value in asdict(Pace()).items() if name in _OF_PACE}
        latency_secs = AVATAR_LATENCY.secs()
        pace["avatar_latency_secs"] = MEASURED if latency_secs is None else latency_secs
        return cls(model=None, avatar=AVATAR.text(), aspect_ratio=DEFAULT_SHAPE, **pace)

    def given(self, name: str) -> str:
        """A textual setting, or an empty string if it was not given."""
        value: object = getattr(self, name)
        if isinstance(value, Path):
            return str(value.expanduser().absolute())
        return value.strip() if isinstance(value, str) else ""

    def shape(self, width: int | None = None, height: int | None = None) -> AspectRatio:
        """The shape of video to ask for.

        Args:
            width: Pixels of the output transport's video, for ``auto``; None if there is none.
            height: Likewise.
        """
        ratio = self.given("aspect_ratio")
        if ratio != "auto":
            return cast("AspectRatio", ratio)
        if not width or not height:
            return DEFAULT_SHAPE
        return min(_SHAPES, key=lambda shape: abs(math.log(_SHAPES[shape] * height / width)))

    def check(self, *, needs_avatar: bool) -> None:
        """Check what a session is made of.

        Args:
            needs_avatar: Whether sessions are made of these settings.

        Raises:
            ValueError: If the avatar is missing where one is needed, or is a picture that
                cannot be read or is none, or there is no such aspect ratio.
        """
        if needs_avatar and not self.given("avatar"):
            raise ValueError(
                "No avatar: give settings=AgentHumanVideoService.Settings(avatar='avat_...'), or "
                f"set {AVATAR.name}."
            )
        if needs_avatar and is_image_file(self.given("avatar")):
            check_image_file(self.given("avatar"))
        ratio = self.given("aspect_ratio") or self.aspect_ratio
        check_choice("aspect_ratio", ratio, (*ASPECT_RATIOS, "auto"))

    def pace(self) -> Pace:
        """The pace that complete settings describe.

        Raises:
            ValueError: If a value is impossible.
        """
        pace = {name: getattr(self, name) for name in _OF_PACE}
        latency = self.avatar_latency_secs
        if latency == MEASURED:
            del pace["avatar_latency_secs"]
        elif isinstance(latency, str):
            raise ValueError(
                f"avatar_latency_secs must be {MEASURED!r} or a number of seconds, got {latency!r}."
            )
        return Pace(**pace, measures_latency=latency == MEASURED)


def changes_for(service: object, frame: Frame) -> AgentHumanVideoSettings | None:
    """What a settings frame changes at one avatar's service.

    Args:
        service: The service. A frame that names none is for whom its settings are.
        frame: A ``ServiceUpdateSettingsFrame``.

    Returns:
        What to change, or None if the frame is meant for another.
    """
    update = cast("ServiceUpdateSettingsFrame[Any]", frame)
    ours = isinstance(update.delta, AgentHumanVideoSettings)
    if update.service is service or (update.service is None and ours):
        return update.delta or AgentHumanVideoSettings.from_mapping(update.settings)
    return None
