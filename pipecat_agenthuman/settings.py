"""What can be set while the pipeline runs."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields

from pipecat.services.settings import ServiceSettings
from pipecat.utils.types import NOT_GIVEN, NotGiven

from pipecat_agenthuman._arguments import check_choice
from pipecat_agenthuman._environment import AVATAR
from pipecat_agenthuman.client.requests import ASPECT_RATIOS
from pipecat_agenthuman.playout.pacing import Pace


def _not_given() -> NotGiven:
    return NOT_GIVEN


@dataclass
class AgentHumanVideoSettings(ServiceSettings):
    """Settings of ``AgentHumanVideoService`` that can change while the pipeline runs.

    Parameters:
        avatar: Identifier ``avat_…``; paid plans also take a public image URL or a ``data:``
            URI. A change brings a new session at the next pause.
        aspect_ratio: ``4:3``, ``3:4`` or ``1:1``. A change brings a new session too.
        avatar_latency_secs: From a confirmation to the sound in the room. An older page of
            the service claims about 0.5 s.
        max_lead_secs: Most unheard audio at the server, or None for no limit.
        min_first_message_secs: Least audio in a message that meets an empty queue.
        max_first_message_secs: Most audio that such a message waits for.
        max_message_secs: Most audio in any message.
    """

    avatar: str | NotGiven = field(default_factory=_not_given)
    aspect_ratio: str | NotGiven = field(default_factory=_not_given)
    avatar_latency_secs: float | NotGiven = field(default_factory=_not_given)
    max_lead_secs: float | NotGiven | None = field(default_factory=_not_given)
    min_first_message_secs: float | NotGiven = field(default_factory=_not_given)
    max_first_message_secs: float | NotGiven = field(default_factory=_not_given)
    max_message_secs: float | NotGiven = field(default_factory=_not_given)

    @classmethod
    def defaults(cls) -> AgentHumanVideoSettings:
        """Complete settings: the avatar from the environment, everything else built in."""
        return cls(model=None, avatar=AVATAR.text(), aspect_ratio="4:3", **asdict(Pace()))

    def given(self, name: str) -> str:
        """A textual setting, or an empty string if it was not given."""
        value: object = getattr(self, name)
        return value.strip() if isinstance(value, str) else ""

    def check(self, *, needs_avatar: bool) -> None:
        """Check what a session is made of.

        Args:
            needs_avatar: Whether sessions are made of these settings.

        Raises:
            ValueError: If the avatar is missing where one is needed, or the service does not
                know the aspect ratio.
        """
        if needs_avatar and not self.given("avatar"):
            raise ValueError(
                "No avatar: give settings=AgentHumanVideoService.Settings(avatar='avat_...'), or "
                f"set {AVATAR.name}."
            )
        ratio = self.given("aspect_ratio") or self.aspect_ratio
        check_choice("aspect_ratio", ratio, ASPECT_RATIOS)

    def pace(self) -> Pace:
        """The pace that complete settings describe.

        Raises:
            ValueError: If a value is impossible.
        """
        return Pace(**{part.name: getattr(self, part.name) for part in fields(Pace)})
