"""Creates under way: each session is its caller's, or it is ended.

Nothing may be left billing: not if the caller is cancelled while the answer is under way, nor
if the client is closed, nor if the answer is a success that cannot be used.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from loguru import logger

from pipecat_agenthuman.client.answers import CreatedSession, created_session
from pipecat_agenthuman.client.rest import Call, RestEndpoint
from pipecat_agenthuman.errors import ApiError


class Creations:
    """The creates of one client."""

    def __init__(
        self, rest: RestEndpoint, *, end_session: Callable[[str], Awaitable[object]]
    ) -> None:
        """Create nothing yet.

        Args:
            rest: The API.
            end_session: Ends a session by its identifier, and logs what cannot be ended.
        """
        self._rest = rest
        self._end_session = end_session
        self._closing = False
        # Creates whose session nobody has claimed yet. Whoever takes one out owns it.
        self._unclaimed: set[asyncio.Task[CreatedSession]] = set()
        # Those taken out because their caller has gone: what waits to end their sessions.
        self._stragglers: set[asyncio.Task[None]] = set()

    async def close(self, limit_secs: float) -> None:
        """End what was created for nobody. A create that is under way fails.

        Args:
            limit_secs: How long to wait at most.
        """
        self._closing = True
        for attempt in tuple(self._unclaimed):
            self._end_in_background(attempt)
        try:
            if self._stragglers:
                await asyncio.wait(self._stragglers, timeout=limit_secs)
        finally:
            late = tuple(self._stragglers)
            for straggler in late:
                straggler.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def create(self, call: Call) -> CreatedSession:
        """Create once; the session is the caller's, or it is ended.

        Args:
            call: The request.

        Raises:
            ApiError: If it fails, or the client is closed meanwhile.
        """
        if self._closing:
            raise call.closed()
        attempt = asyncio.create_task(self._created(call))
        self._unclaimed.add(attempt)
        try:
            # Not awaited itself: a cancellation must reach us and not the request.
            await asyncio.wait({attempt})
        except asyncio.CancelledError:
            self._end_in_background(attempt)
            raise
        if attempt not in self._unclaimed:
            raise call.closed()
        self._unclaimed.discard(attempt)
        return attempt.result()

    async def _created(self, call: Call) -> CreatedSession:
        answer = await self._rest.exchange(call)
        self._rest.keep_secret(*answer.session_tokens())
        try:
            created = self._rest.understood(answer, created_session, call)
            self._rest.keep_secret(created.session_token)
            return created
        except ApiError:
            session_id = answer.session_id() if answer.succeeded else None
            if session_id is not None:
                with contextlib.suppress(ApiError):  # it has logged what could not be ended
                    await self._end_session(session_id)
            raise

    def _end_in_background(self, attempt: asyncio.Task[CreatedSession]) -> None:
        """Take over a create whose caller has gone, unless it is taken over already."""
        if attempt in self._unclaimed:
            self._unclaimed.discard(attempt)
            straggler = asyncio.create_task(self._end_when_created(attempt))
            self._stragglers.add(straggler)
            straggler.add_done_callback(self._stragglers.discard)

    async def _end_when_created(self, attempt: asyncio.Task[CreatedSession]) -> None:
        try:
            created = await attempt
        except asyncio.CancelledError:
            logger.error(
                "Gave up waiting for the answer to a cancelled create. If it started a "
                "session, the service ends it within 3 minutes."
            )
            raise
        except ApiError as error:
            logger.warning(f"A cancelled create had failed anyway. {error}")
            return
        with contextlib.suppress(ApiError):  # it has logged what could not be ended
            await self._end_session(created.session_id)
