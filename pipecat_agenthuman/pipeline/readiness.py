"""Whether the avatar is there, for whoever waits for it: it is, it may come, or it will not."""

from __future__ import annotations

from pipecat_agenthuman.errors import AgentHumanError, AvatarUnavailableError
from pipecat_agenthuman.pipeline.availability import Availability, AvatarState
from pipecat_agenthuman.pipeline.rounds import Rounds


class Readiness:
    """Answers whether the avatar may speak, and waits until it may."""

    def __init__(self, availability: Availability, rounds: Rounds) -> None:
        """Expect the avatar.

        Args:
            availability: Whether it may speak.
            rounds: Wakes who waits.
        """
        self._availability = availability
        self._rounds = rounds
        self._failure: AgentHumanError | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the avatar may speak now."""
        return self._availability.state is AvatarState.READY

    @property
    def is_hopeless(self) -> bool:
        """Whether it will not come any more."""
        return self._failure is not None

    def expected(self) -> None:
        """The avatar may come."""
        self._failure = None

    def failed(self, error: AgentHumanError) -> None:
        """It will not come any more; the first reason is the one that is told."""
        self._failure = self._failure or error
        self._rounds.wake()

    async def wait(self, timeout_secs: float | None) -> None:
        """Wait until the avatar may speak.

        Args:
            timeout_secs: How long to wait, in seconds; None for no limit.

        Raises:
            AvatarUnavailableError: If it will not come.
            TimeoutError: If it did not come in time.
        """
        await self._rounds.wait_until(lambda: self.is_ready or self.is_hopeless, timeout_secs)
        if self.is_ready:
            return
        failure = self._failure
        if failure is None:
            raise TimeoutError(
                f"The avatar was not ready within {timeout_secs:g} s. It takes over when it is."
            )
        raise AvatarUnavailableError(
            f"There will be no avatar. {failure.message}", remedy=failure.remedy
        ) from failure
