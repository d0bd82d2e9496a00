"""The REST client: sessions are created, looked at and ended; avatars and usage are listed.

What must hold here is that nothing is left billing. A create is repeated only where that
cannot start a second session; a session whose caller has gone, or whose answer is unusable,
is ended; and one that could not be ended is named in the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp
from loguru import logger

from pipecat_agenthuman._arguments import check_choice, check_secs
from pipecat_agenthuman._environment import API_KEY, API_URL
from pipecat_agenthuman.client.answers import (
    ENDED_STATUS,
    Avatar,
    AvatarList,
    AvatarPreview,
    CreatedSession,
    SessionRecord,
    UploadedFace,
    Usage,
    account_usage,
    avatar_list,
    avatar_preview,
    ended_session,
    session_list,
    session_record,
    uploaded_face,
)
from pipecat_agenthuman.client.creations import Creations
from pipecat_agenthuman.client.requests import (
    ASPECT_RATIOS,
    SESSION_STATUSES,
    Room,
    SessionStatus,
    create_payload,
    face_payload,
    preview_payload,
    session_path,
)
from pipecat_agenthuman.client.rest import Call, RestEndpoint
from pipecat_agenthuman.client.retry import (
    NO_RETRY,
    RetryPolicy,
    Timing,
    may_pass,
    never_took_effect,
    repeat,
)
from pipecat_agenthuman.errors import ApiError, NotFoundError

__all__ = [
    "ASPECT_RATIOS",
    "NO_RETRY",
    "AgentHumanApi",
    "Avatar",
    "AvatarList",
    "AvatarPreview",
    "CreatedSession",
    "RetryPolicy",
    "Room",
    "SessionRecord",
    "Timing",
    "UploadedFace",
    "Usage",
]

TIMEOUT_SECS: Final = 30.0
"""Creating a session allocates a GPU server before it answers."""

END_TIMEOUT_SECS: Final = 10.0
"""Ending allocates nothing, and somebody is waiting to hang up."""

CLOSE_LIMIT_SECS: Final = 15.0
"""How long ``close`` waits to end sessions whose creation was cancelled."""

_Model = TypeVar("_Model")


class AgentHumanApi:
    """Client of the Agent Human REST API.

    Use it as an async context manager, or ``await close()`` when done: closing also ends the
    sessions whose creation was cancelled while the answer was under way.

    All methods raise ``ValueError`` for arguments that cannot be right, before any request,
    and otherwise a subclass of ``ApiError``: ``AuthenticationError`` (401),
    ``PermissionDeniedError`` (403), ``NotFoundError`` (404), ``OutOfMinutesError``,
    ``RateLimitedError`` (429), ``BadRequestError`` (other 4xx), ``ServerFailureError`` (5xx,
    a redirect, or an answer that is not what the API documents) and ``TransportError`` (no
    answer).
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        api_url: str | None = None,
        session: aiohttp.ClientSession | None = None,
        # limits
        timeout_secs: float = TIMEOUT_SECS,
        close_limit_secs: float = CLOSE_LIMIT_SECS,
        retry: RetryPolicy | None = None,
        # for tests
        timing: Timing | None = None,
    ) -> None:
        """Create the client. No connection is opened yet.

        Args:
            api_key: Key of the account; unset, ``AGENTHUMAN_API_KEY``.
            api_url: Base URL; unset, ``AGENTHUMAN_API_URL``, then the hosted service. It must
                be https, or http on loopback.
            session: An aiohttp session to use; it is never closed here. Unset, one is made on
                first use.
            timeout_secs: Limit of each request, in seconds.
            close_limit_secs: Longest that ``close`` waits, in seconds.
            retry: Limits on repeating a request, unless a method is given its own.
            timing: Clock, sleep and jitter.

        Raises:
            ValueError: If the key is missing or malformed, a limit is not a positive number of
                seconds, or the URL would send the key unencrypted.
        """
        check_secs("timeout_secs", timeout_secs, positive=True)
        check_secs("close_limit_secs", close_limit_secs, positive=True)
        self._timeout_secs = timeout_secs
        self._close_limit_secs = close_limit_secs
        self._retry = retry or RetryPolicy()
        self._timing = timing or Timing()
        self._rest = RestEndpoint(
            url=API_URL.url(api_url),
            api_key=API_KEY.key(api_key),
            http=session,
            wall_clock=self._timing.wall,
        )
        self.account: Final = self._rest.account  # tells accounts apart, and shows no key
        self._creations = Creations(self._rest, end_session=self.end_session)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(api_url={self._rest.url!r})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def redacted(self, text: str) -> str:
        """Remove from a text the key and every token that this client has seen."""
        return self._rest.redacted(text)

    async def close(self) -> None:
        """End what cancelled creates left behind, then release the connections. Idempotent.

        Waits at most ``close_limit_secs``. A create that is still under way in another task
        fails with ``TransportError``, and its session is ended.
        """
        try:
            await self._creations.close(self._close_limit_secs)
        finally:
            await self._rest.close()

    # --- sessions ----------------------------------------------------------------------

    async def create_session(
        self,
        *,
        avatar: str,
        room: Room,
        aspect_ratio: str = "4:3",
        metadata: Mapping[str, Any] | None = None,
        retry: RetryPolicy | None = None,
    ) -> CreatedSession:
        """Create a session, which starts it: minutes run from here until it is ended.

        The API has no idempotency key, so a create is repeated only where that cannot start a
        second session: if the request never left, at 429 (after the wait that the server asks
        for, if it fits the limits) and at 503. After a time-out or a reset it is not.

        If this coroutine is cancelled while the answer is under way, the request finishes in
        the background and the session that it created is ended. If the answer is a success
        but unusable, a session that it names is ended before the error is raised.

        Args:
            avatar: Identifier ``avat_…``. Paid plans also take a public image URL or a
                ``data:`` URI.
            room: Where the avatar joins, with its token.
            aspect_ratio: ``4:3``, ``3:4`` or ``1:1``.
            metadata: A JSON object to keep with the session.
            retry: Limits on repeating, instead of the client's.

        Returns:
            The session and its token.

        Raises:
            ValueError: If an argument cannot be right.
            ApiError: See the class.
        """
        self._rest.keep_secret(room.token)
        call = Call(
            doing="Creating a session",
            method="POST",
            path="/sessions",
            timeout_secs=self._timeout_secs,
            payload=create_payload(avatar, room, aspect_ratio, metadata),
            unanswered=(
                "A session may have been started; the service ends one that nobody uses "
                f"within 3 minutes. Check the network and {API_URL}."
            ),
        )
        created = await self._repeated(
            lambda: self._creations.create(call), retry, never_took_effect
        )
        logger.debug(f"Created session {self._rest.quoted(created.session_id)}.")
        return created

    async def get_session(
        self, session_id: str, *, retry: RetryPolicy | None = None
    ) -> SessionRecord:
        """Look at a session.

        Args:
            session_id: Identifier.
            retry: Limits on repeating, instead of the client's.

        Returns:
            The session, without its token.

        Raises:
            ValueError: If the identifier is empty.
            ApiError: See the class.
        """
        return await self._get(
            "Looking at the session", session_path(session_id), session_record, retry
        )

    async def list_sessions(
        self,
        *,
        status: SessionStatus = "all",
        timeout_secs: float | None = None,
        retry: RetryPolicy | None = None,
    ) -> tuple[SessionRecord, ...]:
        """List the account's sessions.

        Args:
            status: ``all``, those that run (``started``), or those that have ``ended``.
            timeout_secs: Limit of each request, in seconds, instead of the client's.
            retry: Limits on repeating, instead of the client's.

        Returns:
            The sessions, without their tokens. Whether the service lists their metadata is not
            documented: it is empty where it does not.

        Raises:
            ValueError: If there is no such status, or the limit is not a positive number.
            ApiError: See the class.
        """
        check_choice("status", status, SESSION_STATUSES)
        path = f"/sessions?status={status}"
        return await self._get(
            "Listing the sessions", path, session_list, retry, timeout_secs=timeout_secs
        )

    async def end_session(
        self,
        session_id: str,
        *,
        timeout_secs: float = END_TIMEOUT_SECS,
        retry: RetryPolicy | None = None,
    ) -> SessionRecord:
        """End a session. Minutes stop here.

        Ending is idempotent, so it is repeated after every failure that may pass. One that
        has already ended is a success, and so is one that the service does not know (404):
        either way nothing runs under this key that could be ended.

        Args:
            session_id: Identifier.
            timeout_secs: Limit of each request, in seconds.
            retry: Limits on repeating, instead of the client's.

        Returns:
            The session as it ended; after a 404, or an empty answer, only its identifier and
            status.

        Raises:
            ValueError: If the identifier is empty, or the limit not a positive number.
            ApiError: If it could not be ended; its identifier is in the log.
        """
        check_secs("timeout_secs", timeout_secs, positive=True)
        call = Call("Ending the session", "POST", f"{session_path(session_id)}/end", timeout_secs)

        async def attempt() -> SessionRecord:
            answer = await self._rest.exchange(call)
            if answer.succeeded and not answer.body and not answer.fault:
                return SessionRecord(session_id=session_id, status=ENDED_STATUS)
            return self._rest.understood(answer, lambda body: ended_session(body, session_id), call)

        try:
            return await self._repeated(attempt, retry, may_pass)
        except NotFoundError:
            logger.debug(f"Session {self._rest.quoted(session_id)} is unknown: it has ended.")
            return SessionRecord(session_id=session_id, status=ENDED_STATUS)
        except (ApiError, asyncio.CancelledError) as error:
            named, reason = self._rest.quoted(session_id), str(error) or "ending was cancelled."
            logger.error(f"Session {named} may still run and be billed: {reason}")
            raise

    # --- the account -------------------------------------------------------------------

    async def list_avatars(self, *, retry: RetryPolicy | None = None) -> AvatarList:
        """List the avatars that the key may use.

        Args:
            retry: Limits on repeating, instead of the client's.

        Returns:
            The public avatars and the account's own.

        Raises:
            ApiError: See the class.
        """
        return await self._get("Listing the avatars", "/avatars", avatar_list, retry)

    async def preview_avatar(
        self, avatar_id: str, *, retry: RetryPolicy | None = None
    ) -> AvatarPreview:
        """Make a link on which a person can see an avatar, in a live session.

        Args:
            avatar_id: Identifier ``avat_…``.
            retry: Limits on repeating, instead of the client's.

        Returns:
            The link; it opens once, within five minutes.

        Raises:
            ValueError: If the identifier is empty or a placeholder.
            ApiError: See the class.
        """
        payload = preview_payload(avatar_id)
        call = Call(
            "Making a preview", "POST", "/avatars/preview", self._timeout_secs, payload=payload
        )

        return await self._answered(call, avatar_preview, retry, never_took_effect)

    async def get_usage(self, *, retry: RetryPolicy | None = None) -> Usage:
        """Ask what the account may still use.

        Args:
            retry: Limits on repeating, instead of the client's.

        Returns:
            Minutes and concurrency.

        Raises:
            ApiError: See the class.
        """
        return await self._get("Asking for the usage", "/usage", account_usage, retry)

    async def upload_face(
        self,
        *,
        file: bytes | Path | None = None,
        image_url: str | None = None,
        image_base64: str | None = None,
        retry: RetryPolicy | None = None,
    ) -> UploadedFace:
        """Make an avatar of an image with exactly one face. Give one of the three.

        Args:
            file: JPEG, PNG, GIF or WebP of at most 10 MB, or the path of one.
            image_url: Public address of such an image.
            image_base64: Such an image in base64.
            retry: Limits on repeating, instead of the client's. As with a create, only what
                cannot make a second avatar is repeated.

        Returns:
            The new avatar.

        Raises:
            ValueError: If not exactly one is given, or the file is too large or not such an image.
            OSError: If the file cannot be read.
            ApiError: See the class.
        """
        call = Call(
            doing="Uploading a face",
            method="POST",
            path="/avatars/upload-face",
            timeout_secs=self._timeout_secs,
            payload=await face_payload(file=file, image_url=image_url, image_base64=image_base64),
            unanswered="The avatar may have been made: list the avatars before trying again.",
        )

        return await self._answered(call, uploaded_face, retry, never_took_effect)

    # --- one request, repeated ---------------------------------------------------------

    async def _get(
        self,
        doing: str,
        path: str,
        parse: Callable[[Mapping[str, Any]], _Model],
        retry: RetryPolicy | None,
        timeout_secs: float | None = None,
    ) -> _Model:
        limit_secs = self._timeout_secs if timeout_secs is None else timeout_secs
        check_secs("timeout_secs", limit_secs, positive=True)
        call = Call(doing, "GET", path, limit_secs)
        return await self._answered(call, parse, retry, may_pass)

    async def _answered(
        self,
        call: Call,
        parse: Callable[[Mapping[str, Any]], _Model],
        retry: RetryPolicy | None,
        may_repeat: Callable[[ApiError], bool],
    ) -> _Model:
        async def attempt() -> _Model:
            return self._rest.understood(await self._rest.exchange(call), parse, call)

        return await self._repeated(attempt, retry, may_repeat)

    async def _repeated(
        self,
        attempt: Callable[[], Awaitable[_Model]],
        retry: RetryPolicy | None,
        may_repeat: Callable[[ApiError], bool],
    ) -> _Model:
        return await repeat(
            attempt,
            policy=retry or self._retry,
            may_repeat=may_repeat,
            timing=self._timing,
        )
