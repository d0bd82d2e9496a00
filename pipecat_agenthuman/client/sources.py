"""Where sessions come from: made and ended by this package, or given to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from loguru import logger

from pipecat_agenthuman._arguments import check_text
from pipecat_agenthuman._credentials import redact
from pipecat_agenthuman.client.api import AgentHumanApi, Room
from pipecat_agenthuman.client.faces import avatar_id
from pipecat_agenthuman.client.leftovers import Leftovers, with_nonce
from pipecat_agenthuman.client.retry import NO_RETRY, RetryPolicy, may_have_created
from pipecat_agenthuman.errors import ApiError, BadRequestError
from pipecat_agenthuman.wire.protocol import SessionInit

CREATE_TIMEOUT_SECS: Final = 30.0
"""Creating a session allocates a GPU server before it answers."""

END_TIMEOUT_SECS: Final = 3.0
END_POLICY: Final = RetryPolicy(max_attempts=3, max_total_secs=4.0, first_pause_secs=0.2)
"""Ending a session holds up its successor and the end of the pipeline: a few seconds at most.
What cannot be ended is logged, and swept by the service within 3 minutes."""


@dataclass(frozen=True)
class SessionCredentials:
    """One session that was made elsewhere. It cannot be renewed.

    Attributes:
        session_id: Identifier ``sess_…``.
        session_token: Token from creating the session; never shown in a ``repr``.
    """

    session_id: str
    session_token: str = field(repr=False)

    def __post_init__(self) -> None:
        """Check that neither is empty.

        Raises:
            ValueError: If one is.
        """
        remedy = "Pass what creating the session returned."
        check_text("SessionCredentials.session_id", self.session_id, remedy=remedy)
        check_text("SessionCredentials.session_token", self.session_token, remedy=remedy)


@dataclass(frozen=True)
class OpenedSession:
    """A session that runs and can be connected to.

    Attributes:
        init: What ``session.init`` carries.
        expiration: When the service will end it, or None if it did not say.
        life_secs: From its creation to its expiration, or None if it has none.
        ws_url: Where the service wants it to be spoken to, not checked; None if it did not say.
        minutes_left: Minutes of the account when it was created; None if it did not say.
    """

    init: SessionInit
    expiration: datetime | None = None
    life_secs: float | None = None
    ws_url: str | None = None
    minutes_left: float | None = None


class SessionSource(Protocol):
    """Where sessions come from, and how they are ended."""

    @property
    def renewable(self) -> bool:
        """Whether ``open`` can be called again after ``end``."""
        ...

    def redacted(self, text: str) -> str:
        """Remove from a text all secrets that the service was told."""
        ...

    async def open(self) -> OpenedSession:
        """Bring a session up, once the one before has ended. Raises ``AgentHumanError``."""
        ...

    async def end(self) -> None:
        """End the session that is up, if any. Idempotent, bounded, raises nothing."""
        ...

    async def close(self) -> None:
        """End what is up and release everything. Idempotent."""
        ...


class OwnSessions:
    """Sessions that this package creates and ends through the REST API."""

    renewable = True

    def __init__(
        self,
        api: AgentHumanApi,
        *,
        room: Room,
        avatar: str,
        aspect_ratio: str,
        metadata: Mapping[str, Any] | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Create a source; it owns ``api``.

        Args:
            api: The client; closed with the source.
            room: Where the avatar joins.
            avatar: Identifier, address, or path of a picture; counts for the next session
                that opens.
            aspect_ratio: Counts for the next session that opens.
            metadata: A JSON object to keep with each session.
            monotonic: Seconds that never run backwards.
        """
        self.avatar = avatar
        self.aspect_ratio = aspect_ratio
        self._api = api
        self._room = room
        self._metadata = metadata
        self._monotonic = monotonic
        self._live_id: str | None = None
        self._leftovers = Leftovers(api, monotonic=monotonic)

    def redacted(self, text: str) -> str:
        """Remove the key, and the tokens of rooms and sessions."""
        return self._api.redacted(text)

    async def open(self) -> OpenedSession:
        """Create a session, in one attempt: whoever calls decides about another.

        Raises:
            SessionLingersError: If the session before may run, and cannot be found or ended now.
            ApiError: If it fails.
        """
        await self._leftovers.clear()
        avatar = await avatar_id(self._api, self.avatar)
        metadata, nonce = with_nonce(self._metadata)
        sent_at = self._monotonic()
        try:
            created = await self._api.create_session(
                avatar=avatar,
                room=self._room,
                aspect_ratio=self.aspect_ratio,
                metadata=metadata,
                retry=NO_RETRY,
            )
        except ValueError as error:
            raise BadRequestError(f"Creating a session: {error}") from None
        except ApiError as error:
            if may_have_created(error):
                self._leftovers.unanswered(nonce, sent_at)
            raise
        self._live_id = created.session_id
        init = SessionInit(created.session_id, created.session_token)
        life_secs = _life_secs(created.started_at, created.expiration)
        minutes_left = created.usage and created.usage.minutes_remaining
        return OpenedSession(init, created.expiration, life_secs, created.ws_url, minutes_left)

    async def end(self) -> None:
        """End the session that runs; what cannot be ended is logged with its identifier."""
        session_id = self._live_id
        if session_id is None:
            return
        try:
            await self._api.end_session(session_id, timeout_secs=END_TIMEOUT_SECS, retry=END_POLICY)
        except ApiError as error:
            # The client has logged it as an error, with the identifier.
            logger.debug(f"The service sweeps session {session_id} within 3 minutes. {error}")
            self._leftovers.unended(session_id)
        # Not if this was cancelled: then it is still to be ended.
        self._live_id = None

    async def close(self) -> None:
        """End the session that runs, or lingers, and close the client."""
        await self.end()
        try:
            await self._leftovers.clear()
        except ApiError as error:
            logger.debug(str(error))
        await self._api.close()


def _life_secs(started_at: datetime | None, expiration: datetime | None) -> float | None:
    """How long a new session lives, by the service's own clock if it told both moments."""
    if expiration is None:
        return None
    began = started_at or datetime.now(UTC)
    life_secs = (expiration - began).total_seconds()
    if life_secs > 0:
        return life_secs
    logger.warning(
        f"The new session's expiration ({expiration}) is not after its start ({began}), so it "
        "is not relied on: the session may end without being replaced before."
    )
    return None


class GivenSession:
    """One session made elsewhere; whoever made it has the key to end it by REST.

    Closing the WebSocket ends it at the service too.
    """

    renewable = False

    def __init__(self, credentials: SessionCredentials) -> None:
        """Create a source of exactly this session."""
        self._init = SessionInit(credentials.session_id, credentials.session_token)

    def redacted(self, text: str) -> str:
        """Remove the session's token."""
        return redact(text, self._init.session_token)

    async def open(self) -> OpenedSession:
        """Return the session."""
        return OpenedSession(self._init)

    async def end(self) -> None:
        """Nothing: closing the WebSocket has ended it."""

    async def close(self) -> None:
        """Nothing."""
