"""A session that may still run although nobody holds it any more: found, ended, or waited out.

There must never be two at a time, so no other is made before it is gone. One that could not be
ended is asked to end again. One whose creation was not answered has no name: it is looked for in
the account's list of sessions, by a nonce that its metadata carries.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from loguru import logger

from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.client.renewal import ORPHAN_SWEEP_SECS
from pipecat_agenthuman.client.retry import NO_RETRY
from pipecat_agenthuman.errors import ApiError, AuthenticationError, SessionLingersError

NONCE_KEY: Final = "pipecat_agenthuman_create"
"""The field of the metadata by which a session is found again."""

ASK_TIMEOUT_SECS: Final = 3.0
"""Limit of each request: the next session waits for it."""

UNLISTED_SECS: Final = 45.0
"""A create that has left no trace in the list so long after it was sent has done nothing: it takes
at most about 30 s to allocate a server."""


@dataclass(frozen=True, slots=True)
class _Leftover:
    """A session that may still run.

    Attributes:
        session_id: Its identifier; None if the answer that named it was lost.
        nonce: What its metadata carries.
        gone_at: When the service has ended it by itself, on a monotonic clock.
        listed_by: When the list would show it, if it runs.
    """

    session_id: str | None
    nonce: str
    gone_at: float
    listed_by: float


class Leftovers:
    """What may be left of the session before."""

    def __init__(self, api: AgentHumanApi, *, monotonic: Callable[[], float]) -> None:
        """Begin with nothing left.

        Args:
            api: Lists and ends.
            monotonic: Seconds that never run backwards.
        """
        self._api = api
        self._monotonic = monotonic
        self._left: _Leftover | None = None

    def unended(self, session_id: str) -> None:
        """A session could not be ended."""
        now = self._monotonic()
        self._left = _Leftover(session_id, "", now + ORPHAN_SWEEP_SECS, now)

    def unanswered(self, nonce: str, sent_at: float) -> None:
        """The answer to a create was lost.

        Args:
            nonce: What the session's metadata carries.
            sent_at: When the create was sent.
        """
        gone_at = self._monotonic() + ORPHAN_SWEEP_SECS
        self._left = _Leftover(None, nonce, gone_at, sent_at + UNLISTED_SECS)

    async def clear(self) -> None:
        """See to it that nothing is left.

        Raises:
            SessionLingersError: If something may be; it says for how long.
            AuthenticationError: If the key is not accepted any more.
        """
        if self._left is not None and self._left.session_id is None:
            await self._look_for(self._left)
        left = self._left
        if left is not None and left.session_id is not None:
            await self._end(left.session_id, left.gone_at - self._monotonic())

    async def _look_for(self, left: _Leftover) -> None:
        """Find out what has become of a create whose answer was lost."""
        try:
            listed = await self._api.list_sessions(
                status="started", timeout_secs=ASK_TIMEOUT_SECS, retry=NO_RETRY
            )
        except AuthenticationError:
            raise  # No other session could be made either.
        except ApiError as error:
            logger.debug(f"The list of sessions tells nothing of the one before. {error}")
            self._wait_out(left.gone_at)
            return
        for session in listed:
            if session.metadata.get(NONCE_KEY) == left.nonce:
                logger.info(f"Found the session {session.session_id}, whose create got no answer.")
                self.unended(session.session_id)
                return
        tells = all(session.metadata for session in listed)  # else it may be one of these
        self._wait_out(left.listed_by if tells else left.gone_at, asking_helps=tells)

    def _wait_out(self, until: float, *, asking_helps: bool = False) -> None:
        gone_in_secs = until - self._monotonic()
        if gone_in_secs > 0:
            raise SessionLingersError(
                "No session was made, because one may run whose creation was not answered.",
                gone_in_secs=gone_in_secs,
                asking_helps=asking_helps,
                remedy=f"That is certain to be over within {gone_in_secs:.0f} s.",
            )
        self._left = None

    async def _end(self, session_id: str, gone_in_secs: float) -> None:
        if gone_in_secs <= 0:
            self._left = None
            return
        try:
            await self._api.end_session(session_id, timeout_secs=ASK_TIMEOUT_SECS, retry=NO_RETRY)
        except AuthenticationError:
            raise
        except ApiError as error:
            raise SessionLingersError(
                f"No session was made, because the one before cannot be ended: {error.message}",
                gone_in_secs=gone_in_secs,
                remedy=error.remedy,
            ) from None
        self._left = None


def with_nonce(metadata: Mapping[str, Any] | None) -> tuple[dict[str, Any], str]:
    """Mark the metadata of a session that is to be created, so that it can be found again.

    Args:
        metadata: The caller's own.

    Returns:
        It, and the nonce in it.
    """
    nonce = secrets.token_hex(8)
    return {**(metadata or {}), NONCE_KEY: nonce}, nonce
