"""What a test does to a sandbox: faults, and what a service does without being asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from pipecat_agenthuman.sandbox.account import Account
from pipecat_agenthuman.sandbox.faults import Fault, FaultBook
from pipecat_agenthuman.sandbox.server import Server
from pipecat_agenthuman.sandbox.sessions import Ending

T = TypeVar("T")


class Intervention:
    """Everything that can be made to happen, from any thread and event loop."""

    def __init__(self, account: Account, server: Server, faults: FaultBook) -> None:
        """Reach into a sandbox; it sets ``_loop`` when it starts.

        Args:
            account: Whose sessions are changed.
            server: Whose sockets are used.
            faults: Where faults are injected.
        """
        self._account = account
        self._server = server
        self._faults = faults
        self._loop: asyncio.AbstractEventLoop | None = None

    def inject(self, fault: Fault) -> None:
        """Let something go wrong; its ``nth`` counts from here."""
        self._faults.inject(fault)

    def clear_faults(self) -> None:
        """Disarm all faults. What has struck stays so, for example a silent connection."""
        self._faults.clear()

    async def send(self, payload: str | bytes, session_id: str | None = None) -> None:
        """Send a message to the client that it did not ask for.

        Args:
            payload: A text message (str) or a binary one (bytes), as it is.
            session_id: To which session's socket; None for the newest open socket.

        Raises:
            LookupError: If there is no such socket.
        """
        await self._in_loop(lambda: self._server.conversation(session_id).send(payload))

    async def drop(
        self,
        *,
        code: int = 1011,
        reason: str = "",
        abort: bool = False,
        session_id: str | None = None,
    ) -> None:
        """Close a client's WebSocket; its session ends now.

        Args:
            code: Close code.
            reason: Close reason.
            abort: Reset the TCP connection, without a close frame.
            session_id: Which session's socket; None for the newest open socket.

        Raises:
            LookupError: If there is no such socket.
        """

        def drop() -> None:
            conversation = self._server.conversation(session_id)
            if abort:
                conversation.abort()
            else:
                conversation.close(code, reason)

        await self._in_loop(drop)

    async def change_render_latency(self, secs: float) -> None:
        """Let what is confirmed from now on take longer to sound in the room, or less long.

        Args:
            secs: From a confirmation being sent to its sound.

        Raises:
            ValueError: If it is no possible duration.
        """
        await self._in_loop(lambda: self._account.change_render_latency(secs))

    async def remove_avatar(self, session_id: str | None = None) -> None:
        """Let the avatar leave the room while its session goes on: nothing more is heard.

        Args:
            session_id: Which session's avatar; None for the newest live session.

        Raises:
            LookupError: If there is no such session.
        """
        await self._in_loop(lambda: self._account.leave(self._account.live_session(session_id)))

    async def return_avatar(self, session_id: str | None = None) -> None:
        """Let an avatar that left the room come back: it is heard again.

        Args:
            session_id: Which session's avatar; None for the newest live session.

        Raises:
            LookupError: If there is no such session.
        """
        await self._in_loop(lambda: self._account.come_back(self._account.live_session(session_id)))

    async def end_session(self, session_id: str | None = None) -> None:
        """End a session from the service's side, as at its expiration.

        Args:
            session_id: Which one; None for the newest live session.

        Raises:
            LookupError: If there is no such session.
        """
        await self._in_loop(
            lambda: self._account.end(self._account.live_session(session_id), Ending.EXPIRED)
        )

    async def _in_loop(self, call: Callable[[], T]) -> T:
        """Call something in the sandbox's event loop, wherever the caller is."""
        if self._loop is None or self._loop.is_closed():
            raise RuntimeError("The sandbox is not running.")
        if self._loop is asyncio.get_running_loop():
            return call()

        async def there() -> T:
            return call()

        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(there(), self._loop))
