"""The sandbox: a local stand-in for the whole hosted service, and what tests ask of it."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self, get_args

from aiohttp import web

from pipecat_agenthuman._credentials import is_loopback
from pipecat_agenthuman.sandbox.account import Account, AccountTerms
from pipecat_agenthuman.sandbox.chronicle import Chronicle
from pipecat_agenthuman.sandbox.control import ControlApi
from pipecat_agenthuman.sandbox.conversation import SocketManners
from pipecat_agenthuman.sandbox.faces import DEFAULT_AVATAR, Gallery
from pipecat_agenthuman.sandbox.faults import Fault, FaultBook
from pipecat_agenthuman.sandbox.intervention import Intervention
from pipecat_agenthuman.sandbox.log import EventLog
from pipecat_agenthuman.sandbox.observation import Observation
from pipecat_agenthuman.sandbox.playback import BeforeJoin
from pipecat_agenthuman.sandbox.rest import RestAnswers, RestApi
from pipecat_agenthuman.sandbox.room.files import PageFiles
from pipecat_agenthuman.sandbox.room.room import Room
from pipecat_agenthuman.sandbox.room.talk import Talk
from pipecat_agenthuman.sandbox.server import AvatarHook, AvatarHooks, Server
from pipecat_agenthuman.sandbox.sessions import describe_session
from pipecat_agenthuman.wire.pcm import WIRE_SAMPLE_RATE

DEFAULT_API_KEY: Final = "ah_live_sandbox"
"""Obviously not a real key."""

ServerAddresses = Literal["none", "assigned", "try_again"]
"""What a create's answer says of the server at which its session is spoken to."""

_THREAD_STOP_SECS: Final = 10.0


class Sandbox(Observation, Intervention):
    """A stand-in for the Agent Human service: REST, WebSocket, and an avatar that is heard.

    In a program's own event loop::

        async with Sandbox() as sandbox: ...

    With an event loop and thread of its own, for code that is not asynchronous or must not
    share a loop with the avatar::

        with Sandbox() as sandbox: ...

    All methods may be called from any thread and awaited in any event loop.
    """

    def __init__(
        self,
        *,
        # Where it listens
        host: str = "127.0.0.1",
        port: int = 0,
        beyond_loopback: bool = False,
        api_key: str | None = None,
        # The avatar
        render_latency_secs: float = 0.5,
        join_delay_secs: float | None = 0.0,
        before_join: BeforeJoin = "lost",
        on_avatar_joined: AvatarHook | None = None,
        on_avatar_left: AvatarHook | None = None,
        # The account
        max_sessions: int = 1,
        minutes: float = 1000,
        session_secs: float | None = None,
        orphan_secs: float = 180.0,
        # The network, and what goes wrong
        round_trip_secs: float = 0.0,
        faults: Iterable[Fault] = (),
        # What the documentation leaves open
        init_deadline_secs: float | None = 10.0,
        error_close_code: int | None = None,
        end_close_code: int | None = 1000,
        created_status: int = 201,
        running_status: str = "started",
        lists_metadata: bool = True,
        server_addresses: ServerAddresses = "none",
        # What is kept
        log_path: str | Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Describe a sandbox; entering it as a context manager, or ``start``, starts it.

        Args:
            host: Address to listen on, of loopback.
            port: Port to listen on; 0 takes a free one.
            beyond_loopback: Allow any ``host``, for a container whose port is published to
                loopback. Whoever reaches the port can read what is said, and order faults;
                requests must still come under a loopback name.
            api_key: The key that is accepted; None for ``DEFAULT_API_KEY``.
            render_latency_secs: From a confirmation being sent to its sound in the room.
            join_delay_secs: From a session's creation to the avatar's joining the room; None:
                it never joins.
            before_join: Whether words that are due before the avatar is in the room are "lost"
                or "held" until it is; the real service's way is unknown.
            on_avatar_joined: Called in the sandbox's event loop when the avatar joins.
            on_avatar_left: Called in the sandbox's event loop when the avatar leaves.
            max_sessions: Sessions at a time; one more is refused with 429.
            minutes: Minutes to spend; every minute begun of a session counts.
            session_secs: Sessions expire after so many seconds; None for never.
            orphan_secs: A session without a client is ended after so many seconds.
            round_trip_secs: Simulated network for requests, messages, pings and pongs; half
                of it on the way in, half on the way out. Setting up TCP takes no time.
            faults: Faults to inject from the start.
            init_deadline_secs: Sockets without ``session.init`` are closed after so many
                seconds; None for never.
            error_close_code: Close code after every ``error``; None leaves the socket open.
            end_close_code: Close code when a session ends otherwise than by its socket; None
                leaves the socket open.
            created_status: HTTP status of a created session, 200 or 201.
            running_status: What ``GET`` says of a running session, "started" or "active".
            lists_metadata: Whether the list of sessions has their metadata.
            server_addresses: Whether a create is answered with a server's address: with "none",
                with that of a server of its own, which alone knows the session ("assigned"), or
                with the word "try_again".
            log_path: File for the log, as lines of JSON; replaced if it exists.
            clock: Seconds. It times what is heard, sessions and minutes; delays and deadlines
                always run in real time.

        Raises:
            ValueError: If ``host`` is not loopback without ``beyond_loopback``, or an argument is
                out of its range.
        """
        if not (beyond_loopback or is_loopback(host)):
            raise ValueError(
                f"host must be a loopback address, got {host!r}. In a container, allow another one "
                "with beyond_loopback=True (--beyond-loopback)."
            )
        # "localhost" can be two addresses, and each would get a free port of its own.
        self._host = "127.0.0.1" if host.casefold() == "localhost" else host
        self._port = port
        self.api_key = DEFAULT_API_KEY if api_key is None else api_key
        if server_addresses not in get_args(ServerAddresses):
            raise ValueError(f"No server_addresses are called {server_addresses!r}.")
        self._answers = RestAnswers(
            self.api_key,
            round_trip_secs,
            created_status,
            running_status,
            lists_metadata,
            tells_try_again=server_addresses == "try_again",
        )
        self._log_path = log_path
        self._faults = FaultBook(faults)
        self._own_thread: tuple[threading.Thread, asyncio.Event] | None = None
        terms = AccountTerms(
            max_sessions=max_sessions,
            minutes=minutes,
            session_secs=session_secs,
            orphan_secs=orphan_secs,
            join_delay_secs=join_delay_secs,
            render_latency_secs=render_latency_secs,
            before_join=before_join,
            assigns_servers=server_addresses == "assigned",
        )
        log = EventLog(clock)
        log.hide(self.api_key)
        account = Account(terms, clock=clock, log=log)
        chronicle = Chronicle(account, log)
        self.talk = Talk(lambda: round(clock() - log.started_at, 6))
        """Where a program that runs a bot beside the sandbox takes part in the room's page."""
        self._room = Room(
            account=account,
            chronicle=chronicle,
            faults=self._faults,
            log=log,
            talk=self.talk,
            introduce=self._introduce,
        )
        self._page = PageFiles()
        self._server = Server(
            account=account,
            manners=SocketManners(
                round_trip_secs, init_deadline_secs, error_close_code, end_close_code
            ),
            hooks=AvatarHooks(on_avatar_joined, on_avatar_left),
            faults=self._faults,
            log=log,
        )
        Observation.__init__(self, account, log, clock)
        Intervention.__init__(self, account, self._server, self._faults)

    # --- life ---

    async def start(self) -> None:
        """Start to listen, in the running event loop.

        Raises:
            OSError: If the port is in use, or the log cannot be written.
            RuntimeError: If it has been started before.
        """
        if self._loop is not None:
            raise RuntimeError("A sandbox starts once; make another one.")
        self._loop = asyncio.get_running_loop()
        if self._log_path is not None:
            self._log.write_to(self._log_path)
        try:
            self._port = await self._server.start(
                self._host,
                self._port,
                self._routes(),
                front_page=self._page.front_page,
                farewell=self._room.close,
            )
        except OSError:
            self._log.close()
            raise
        self._log.add("sandbox", "sandbox.started", api_url=self.api_url)

    def _routes(self) -> list[web.RouteDef]:
        gallery = Gallery()
        rest = RestApi(
            self._answers,
            account=self._account,
            gallery=gallery,
            faults=self._faults,
            log=self._log,
            closing=self._server.closing,
        )
        control = ControlApi(
            state=self.state,
            heard=self.heard,
            faults=self._faults,
            log=self._log,
            gallery=gallery,
            intervention=self,
        )
        return [
            *rest.routes(),
            *control.routes(),
            *self._room.routes(),
            *self._page.routes(),
        ]

    def _introduce(self) -> dict[str, Any]:
        """Say what a page is told of the sandbox itself, as JSON values."""
        return {
            "api_url": self.api_url,
            "ws_url": self.ws_url,
            "max_sessions": self._account.terms.max_sessions,
            "render_latency_secs": self._account.terms.render_latency_secs,
            "round_trip_secs": self._answers.round_trip_secs,
        }

    async def close(self) -> None:
        """End every session, close every connection, stop listening; idempotent.

        What was heard, the sessions and the log stay readable.
        """
        await self._server.close()
        self._log.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __enter__(self) -> Self:
        ready: Future[asyncio.Event] = Future()
        thread = threading.Thread(
            target=lambda: asyncio.run(self._live(ready)), name="agenthuman-sandbox", daemon=True
        )
        thread.start()
        self._own_thread = thread, ready.result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._own_thread is not None, "__enter__ has returned"
        assert self._loop is not None, "__enter__ has returned"
        thread, stop = self._own_thread
        self._loop.call_soon_threadsafe(stop.set)
        thread.join(_THREAD_STOP_SECS)
        if thread.is_alive():
            raise RuntimeError(f"The sandbox did not stop within {_THREAD_STOP_SECS:g} s.")

    async def _live(self, ready: Future[asyncio.Event]) -> None:
        """Be the whole life of a sandbox on its own thread."""
        stop = asyncio.Event()
        try:
            await self.start()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            ready.set_exception(error)
            return
        ready.set_result(stop)
        await stop.wait()
        await self.close()

    # --- where it is ---

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def api_url(self) -> str:
        """Base URL of the REST API, ``http://127.0.0.1:PORT/v1``."""
        return f"http://{self._authority}/v1"

    @property
    def ws_url(self) -> str:
        """URL of the WebSocket, ``ws://127.0.0.1:PORT``."""
        return f"ws://{self._authority}"

    @property
    def room_url(self) -> str:
        """Address of the room's page, ``http://127.0.0.1:PORT/``: to be opened in a browser."""
        return f"http://{self._authority}/"

    @property
    def environment(self) -> dict[str, str]:
        """The ``AGENTHUMAN_…`` variables that lead a client here, with the latency here."""
        return {
            "AGENTHUMAN_API_KEY": self.api_key,
            "AGENTHUMAN_AVATAR": DEFAULT_AVATAR,
            "AGENTHUMAN_AVATAR_LATENCY_SECS": f"{self._account.terms.render_latency_secs:g}",
            "AGENTHUMAN_API_URL": self.api_url,
            "AGENTHUMAN_WS_URL": self.ws_url,
        }

    @property
    def _authority(self) -> str:
        # All addresses of the machine are no address to go to.
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._host, self._host)
        return f"[{host}]:{self._port}" if ":" in host else f"{host}:{self._port}"

    def state(self) -> dict[str, Any]:
        """Return the whole state as JSON values, free of tokens."""
        sessions = self.sessions
        return {
            "api_url": self.api_url,
            "ws_url": self.ws_url,
            "sessions": [describe_session(session, self.started_at) for session in sessions],
            "live_sessions": sum(session.status != "ended" for session in sessions),
            "max_sessions": self._account.terms.max_sessions,
            "minutes_left": self._account.minutes_left(),
            "heard_secs": self.heard_samples() / WIRE_SAMPLE_RATE,
            "faults": self._faults.armed(),
            "room": self._room.describe(),
            "speaking": self._account.speaking(self._clock()),
        }
