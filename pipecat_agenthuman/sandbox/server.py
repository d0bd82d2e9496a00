"""The network's side of the sandbox: one aiohttp server for REST and WebSocket."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from loguru import logger

from pipecat_agenthuman.sandbox.account import Account
from pipecat_agenthuman.sandbox.bodies import Refusal
from pipecat_agenthuman.sandbox.conversation import SocketConversation, SocketManners
from pipecat_agenthuman.sandbox.door import add_headers, guard, is_handshake
from pipecat_agenthuman.sandbox.faults import Fault, FaultBook
from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.rest import spoilt_response
from pipecat_agenthuman.sandbox.sessions import Ending, LiveSession, SandboxSession
from pipecat_agenthuman.sandbox.wire import Wire

AvatarHook = Callable[[SandboxSession], object]
"""Called with the session as it is then; may be a coroutine function."""

_GOING_AWAY: Final = 1001
_FAREWELL_SECS: Final = 0.25
"""How long clients that are still connected have to answer the closing handshake."""

_HOOK_SECS: Final = 2.0
"""How long hooks may still run when the sandbox closes."""

_CLOSE_TIMEOUT_SECS: Final = 2.0
"""How long a client may take to answer a close frame."""

_REQUEST_LIMIT_BYTES: Final = 16_000_000
"""Enough for a 10 MB picture in base64."""


class _Malformed(logging.Filter):
    """Tells of a request that is no HTTP, which aiohttp answers with 400, in one line.

    It is the client's mistake, and nothing of it is repeated: a header can hold a key.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            record.msg = f"A malformed request was refused with 400 ({type(error).__name__})."
            record.args = record.exc_info = None
        return True


_HTTP_LOG: Final = logging.getLogger(__name__)
_HTTP_LOG.addFilter(_Malformed())


@dataclass(frozen=True)
class AvatarHooks:
    """What a test does when the avatar comes and goes.

    Attributes:
        joined: Called when the avatar joins the room.
        left: Called when it leaves.
    """

    joined: AvatarHook | None = None
    left: AvatarHook | None = None


class Server:
    """Accepts clients, gives each WebSocket a conversation, and closes them all."""

    def __init__(
        self,
        *,
        account: Account,
        manners: SocketManners,
        hooks: AvatarHooks,
        faults: FaultBook,
        log: EventLog,
    ) -> None:
        """Prepare a server.

        Args:
            account: The sessions; from now on this server is told of them.
            manners: How its sockets behave where the documentation is silent.
            hooks: Who is told of the avatar.
            faults: What is to go wrong.
            log: Where everything is noted.
        """
        self.account = account
        account.observer = self
        self._manners = manners
        self._hooks = hooks
        self._faults = faults
        self._log = log
        self._conversations: list[SocketConversation] = []
        self._hook_tasks: set[asyncio.Task[None]] = set()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def start(
        self,
        host: str,
        port: int,
        routes: Iterable[web.RouteDef],
        *,
        front_page: Callable[[web.Request], Awaitable[web.StreamResponse]],
        farewell: Callable[[], Awaitable[None]],
    ) -> int:
        """Start to listen.

        Args:
            host: Loopback address.
            port: Port, 0 for a free one.
            routes: All handlers but those of the service's WebSocket.
            front_page: Answers whoever asks for the WebSocket's address with a browser.
            farewell: Closes the connections that are no conversation, when all sessions have
                ended.

        Returns:
            The port.

        Raises:
            OSError: If the port is in use or the address is not this machine's.
        """
        app = web.Application(middlewares=[guard], client_max_size=_REQUEST_LIMIT_BYTES)
        app.on_response_prepare.append(add_headers)

        async def root(request: web.Request) -> web.StreamResponse:
            answer = self._connect if is_handshake(request) else front_page
            return await answer(request)

        async def shut_down(_: web.Application) -> None:
            await farewell()

        app.on_shutdown.append(shut_down)
        app.add_routes([web.get("/", root), web.get("/servers/{name}", self._connect)])
        app.add_routes(routes)
        runner = web.AppRunner(
            app, access_log=None, logger=_HTTP_LOG, shutdown_timeout=_FAREWELL_SECS
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._runner = runner
        address: tuple[str, int] = runner.addresses[0]
        return address[1]

    async def close(self) -> None:
        """End all sessions and connections, with clients still connected too."""
        if self._runner is None:
            return
        runner, self._runner = self._runner, None
        self._closing.set()
        for conversation in list(self._conversations):
            conversation.close(_GOING_AWAY, "sandbox closing", Ending.SANDBOX_CLOSED)
        self.account.end_all()
        await runner.cleanup()  # waits for the conversations, but not for long
        await _finished(set(self._hook_tasks), _HOOK_SECS)

    def conversation(self, session_id: str | None) -> SocketConversation:
        """Find an open WebSocket.

        Args:
            session_id: Its session; None for the newest socket, with or without a session.

        Returns:
            The conversation on it.

        Raises:
            LookupError: If there is no such socket.
        """
        for conversation in reversed(self._conversations):
            fits = session_id is None or conversation.session_id == session_id
            if fits and not conversation.is_over:
                return conversation
        raise LookupError(f"No WebSocket is open for session {session_id or '(any)'}.")

    @property
    def closing(self) -> asyncio.Event:
        """Set when the server closes, so that nothing hangs for longer."""
        return self._closing

    # --- one WebSocket ---

    async def _connect(self, request: web.Request) -> web.StreamResponse:
        if not is_handshake(request):
            raise Refusal(426, "This is the WebSocket address of the sandbox; REST is under /v1")
        await asyncio.sleep(self._manners.round_trip_secs)
        fault = self._faults.strike("connect")
        if fault is not None:
            self._log.add("sandbox", "fault", on="connect", kind=fault.kind)
            await asyncio.sleep(fault.delay_secs)
            if fault.kind in ("missing", "refuse", "abort"):  # the handshake itself fails
                return await spoilt_response(request, None, fault, self._closing)
        return await self._converse(request, fault)

    async def _converse(self, request: web.Request, fault: Fault | None) -> web.StreamResponse:
        wire = Wire(
            request,
            round_trip_secs=self._manners.round_trip_secs,
            close_timeout_secs=_CLOSE_TIMEOUT_SECS,
        )
        await wire.open()
        conversation = SocketConversation(
            wire,
            account=self.account,
            faults=self._faults,
            log=self._log,
            manners=self._manners,
            server=request.match_info.get("name"),
        )
        self._conversations.append(conversation)
        try:
            await conversation.run(fault)
        finally:
            self._conversations.remove(conversation)
        return wire.response

    # --- what the account observes ---

    def avatar_joined(self, session: LiveSession) -> None:
        """Tell the test that the avatar has joined the caller's room."""
        self._call(self._hooks.joined, session)

    def avatar_left(self, session: LiveSession) -> None:
        """Tell the test that the avatar has left the caller's room."""
        self._call(self._hooks.left, session)

    def session_ended(self, session: LiveSession) -> None:
        """Let the session's socket go the way of the session."""
        for conversation in list(self._conversations):
            if conversation.session_id == session.id:
                conversation.session_ended()

    def _call(self, hook: AvatarHook | None, session: LiveSession) -> None:
        if hook is not None:
            task = asyncio.create_task(self._run_hook(hook, session.snapshot()))
            self._hook_tasks.add(task)
            task.add_done_callback(self._hook_tasks.discard)

    async def _run_hook(self, hook: AvatarHook, session: SandboxSession) -> None:
        try:
            result = hook(session)
            if inspect.isawaitable(result):
                await result
        except Exception as error:  # noqa: BLE001 - a task's top, around the caller's own code
            logger.exception("An avatar hook of the sandbox failed")
            self._log.add("sandbox", "hook.failed", session.id, error=repr(error))


async def _finished(tasks: set[asyncio.Task[None]], limit_secs: float) -> None:
    """Wait for tasks to finish; cancel those that do not."""
    if not tasks:
        return
    _done, late = await asyncio.wait(tasks, timeout=limit_secs)
    for task in late:
        task.cancel()
    await asyncio.gather(*late, return_exceptions=True)
