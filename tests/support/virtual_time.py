"""A whole call in no time: an event loop whose clock jumps ahead when nothing is ready.

While ``run`` runs a coroutine, every clock of this process shows the loop's time. The clock
stands still but for a few microseconds in every turn of the loop; when nothing is ready, it
jumps to the next timer. What connects to a server in the same loop gets a connection in memory,
with the back-pressure, the half-closing and the resets of TCP, so no byte is ever under way
outside of the loop. What is sent to a thread is done here, and is over a moment later. So the
same program takes the same course every time, however busy the machine is.
"""

from __future__ import annotations

import asyncio
import gc
import random
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

STARTS_AT = 1_000.0
"""The time at which every run begins; any number that is not 0 will do."""

WALL_CLOCK_AT_START = 1_900_000_000.0

TURN_SECS = 10e-6
"""What a turn of the loop takes: about what it takes really. It also lets a loop end that polls
a clock."""


THREAD_SECS = 0.001
"""What a thread takes for whatever it is sent. In no time at all would be another order of things
than any machine has."""


class NothingLeftToHappenError(RuntimeError):
    """Everybody waits and no timer runs: a program that would hang for ever."""


# --- the loop ----------------------------------------------------------------------------


class _JumpingSelector(selectors.DefaultSelector):
    """Never waits: what the loop would wait for a socket is added to its clock."""

    def __init__(self) -> None:
        super().__init__()
        self.now = STARTS_AT
        self.turns = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        self.turns += 1
        self.now += TURN_SECS
        if timeout == 0:
            return []  # There are callbacks to run; no socket but the loop's own could be ready.
        ready = super().select(0)
        if ready:
            return ready
        if timeout is None:
            raise NothingLeftToHappenError("No callback, no timer, no socket: a deadlock.")
        self.now += max(timeout, 0.0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop with a clock and a network of its own."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)
        self._servers: dict[int, _Server] = {}
        self._aimed: dict[int, int] = {}
        self._next_port = 20_000

    def time(self) -> float:
        return self._jumping.now

    @property
    def turns(self) -> int:
        """How often it went round."""
        return self._jumping.turns

    def stand_still(self, secs: float) -> None:
        """The machine is busy with other things: time goes on, and nothing happens."""
        self._jumping.now += secs

    # --- threads: none ---

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:
        future = self.create_future()
        try:
            # A full collection takes longer than a whole call, and says nothing about it.
            collects = getattr(func, "args", ())[:1] == (gc.collect,)
            result = 0 if collects else func(*args)
            self.call_later(THREAD_SECS, _give, future, result)
        except Exception as error:  # noqa: BLE001 - handed to whoever awaits it
            future.set_exception(error)
        return future

    # --- network: in memory ---

    def free_port(self) -> int:
        self._next_port += 1
        return self._next_port

    async def create_server(
        self, protocol_factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:  # type: ignore[override]
        server = _Server(self, protocol_factory, host, port or self.free_port())
        self._servers[server.port] = server
        return server

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self._server_at(address[1])
        self._aimed[sock.fileno()] = address[1]

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Any,
        host: Any = None,
        port: Any = None,
        *,
        sock: Any = None,
        **_: Any,
    ) -> Any:
        if sock is not None:
            port = self._aimed.pop(sock.fileno())
            sock.close()
        server = self._server_at(port)
        address = ("127.0.0.1", self.free_port())
        near = _MemoryTransport(self, local=address, remote=("127.0.0.1", port))
        far = _MemoryTransport(self, local=("127.0.0.1", port), remote=address)
        near.peer, far.peer = far, near
        protocol = protocol_factory()
        for transport, its_protocol in ((far, server.protocol_factory()), (near, protocol)):
            transport.set_protocol(its_protocol)
            its_protocol.connection_made(transport)
        await asyncio.sleep(0)
        return near, protocol

    def _server_at(self, port: int) -> _Server:
        try:
            return self._servers[port]
        except KeyError:
            raise ConnectionRefusedError(111, f"Connect call failed: port {port}") from None


def _give(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():  # nobody waits for it any more
        future.set_result(result)


class _Socket:
    """What programs ask of a transport's socket."""

    family = socket.AF_INET
    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, local: tuple[str, int], remote: tuple[str, int] | None = None) -> None:
        self._local, self._remote = local, remote

    def getsockname(self) -> tuple[str, int]:
        return self._local

    def getpeername(self) -> tuple[str, int]:
        assert self._remote is not None
        return self._remote

    def setsockopt(self, *_: object) -> None:
        pass

    def getsockopt(self, *_: object) -> int:
        return 0

    def fileno(self) -> int:
        return -1


class _Server(asyncio.AbstractServer):
    def __init__(self, loop: VirtualLoop, protocol_factory: Any, host: Any, port: int) -> None:
        self._loop, self.protocol_factory, self.port = loop, protocol_factory, port
        self.sockets: list[_Socket] = [_Socket((host or "127.0.0.1", port))]

    def close(self) -> None:
        self._loop._servers.pop(self.port, None)

    def is_serving(self) -> bool:
        return self.port in self._loop._servers

    def get_loop(self) -> VirtualLoop:
        return self._loop

    async def start_serving(self) -> None:
        pass

    async def wait_closed(self) -> None:
        await asyncio.sleep(0)


_KERNEL_BYTES = 1 << 18
"""What two sockets take of a reader that does not read, before the writer has to wait."""

_EOF = b""


class _MemoryTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, loop: VirtualLoop, *, local: Any, remote: Any) -> None:
        super().__init__({"sockname": local, "peername": remote, "socket": _Socket(local, remote)})
        self._loop = loop
        self.peer: _MemoryTransport
        self._protocol: Any = None
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0
        self._pumping = False
        self._reading = True
        self._writing_paused = False
        self._closing = self._sent_eof = self._lost = False

    # --- what protocols use ---

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def get_protocol(self) -> Any:
        return self._protocol

    def is_closing(self) -> bool:
        return self._closing

    def is_reading(self) -> bool:
        return self._reading and not self._closing

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True
        self._pump_soon()

    def set_write_buffer_limits(self, high: Any = None, low: Any = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return max(0, self.peer._inbox_bytes - _KERNEL_BYTES)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return (1 << 14, 1 << 16)

    def write(self, data: Any) -> None:
        if self._closing or self._sent_eof or not data:
            return
        if self.peer._closing:
            self._lose_soon(ConnectionResetError(104, "Connection reset by peer"))
            return
        self.peer._take(bytes(data))
        if self.peer._inbox_bytes > _KERNEL_BYTES + (1 << 16) and not self._writing_paused:
            self._writing_paused = True
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self._sent_eof and not self._closing:
            self._sent_eof = True
            self.peer._take(_EOF)

    def close(self) -> None:
        if self._closing:
            return
        self._closing = True
        if not self._sent_eof:
            self._sent_eof = True
            self.peer._take(_EOF)
        if not self._writing_paused:
            self._lose_soon(None)

    def abort(self) -> None:
        self._closing = True
        self._lose_soon(None)
        self.peer._be_reset()

    # --- inside ---

    def _take(self, data: bytes) -> None:
        if not self._closing:
            self._inbox.append(data)
            self._inbox_bytes += len(data)
            self._pump_soon()

    def _pump_soon(self) -> None:
        if not self._pumping and self._inbox:
            self._pumping = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pumping = False
        if not self._reading or self._closing or not self._inbox:
            return
        data = self._inbox.popleft()
        self._inbox_bytes -= len(data)
        self.peer._drained()
        if data:
            self._protocol.data_received(data)
        elif not self._protocol.eof_received():
            self.close()
        self._pump_soon()

    def _drained(self) -> None:
        if self._writing_paused and self.peer._inbox_bytes <= _KERNEL_BYTES:
            self._writing_paused = False
            if self._closing:
                self._lose_soon(None)
            else:
                self._protocol.resume_writing()

    def _be_reset(self) -> None:
        if not self._lost:
            self._closing = True
            self._inbox.clear()
            self._inbox_bytes = 0
            self._lose_soon(ConnectionResetError(104, "Connection reset by peer"))

    def _lose_soon(self, error: Exception | None) -> None:
        if not self._lost:
            self._lost = self._closing = True
            self._inbox.clear()
            self._inbox_bytes = 0
            self._loop.call_soon(self._protocol.connection_lost, error)


# --- the clocks --------------------------------------------------------------------------

_REAL = {
    name: getattr(time, name)
    for name in ("monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "time", "time_ns")
}


@contextmanager
def _clocks_of(loop: VirtualLoop) -> Iterator[None]:
    """Let every clock of the process show the loop's time."""

    def monotonic() -> float:
        return loop.time()

    def monotonic_ns() -> int:
        return round(loop.time() * 1e9)

    def wall() -> float:
        return WALL_CLOCK_AT_START + loop.time() - STARTS_AT

    def wall_ns() -> int:
        return round(WALL_CLOCK_AT_START * 1e9) + round((loop.time() - STARTS_AT) * 1e9)

    virtual = {
        "monotonic": monotonic,
        "perf_counter": monotonic,
        "monotonic_ns": monotonic_ns,
        "perf_counter_ns": monotonic_ns,
        "time": wall,
        "time_ns": wall_ns,
    }
    # Arguments whose default is a clock hold the real one since their module was imported.
    by_real = {id(_REAL[name]): virtual[name] for name in _REAL}
    changed: list[tuple[FunctionType, Any, Any]] = []
    for function in _functions_with_clocks():
        changed.append((function, function.__defaults__, function.__kwdefaults__))
        function.__defaults__ = function.__defaults__ and tuple(
            by_real.get(id(value), value) for value in function.__defaults__
        )
        function.__kwdefaults__ = function.__kwdefaults__ and {
            name: by_real.get(id(value), value) for name, value in function.__kwdefaults__.items()
        }
    for name, clock in virtual.items():
        setattr(time, name, clock)
    try:
        yield
    finally:
        for name, clock in _REAL.items():
            setattr(time, name, clock)
        for function, defaults, keyword_defaults in changed:
            function.__defaults__, function.__kwdefaults__ = defaults, keyword_defaults


@cache
def _functions_with_clocks() -> tuple[FunctionType, ...]:
    """Functions of this package whose arguments have a clock by default."""
    clocks = {id(clock) for clock in _REAL.values()}
    found: dict[int, FunctionType] = {}
    for name, module in list(sys.modules.items()):
        if not name.startswith("pipecat_agenthuman"):
            continue
        for value in list(vars(module).values()):
            members = list(vars(value).values()) if isinstance(value, type) else [value]
            for member in members:
                function = getattr(member, "__func__", member)
                if not isinstance(function, FunctionType):
                    continue
                defaults = (
                    *(function.__defaults__ or ()),
                    *(function.__kwdefaults__ or {}).values(),
                )
                if any(id(default) in clocks for default in defaults):
                    found[id(function)] = function
    return tuple(found.values())


# --- running -----------------------------------------------------------------------------


def run(main: Callable[[], Coroutine[Any, Any, T]], *, seed: int = 0) -> T:
    """Run a coroutine in virtual time.

    Args:
        main: Makes the coroutine.
        seed: Of ``random``, so that pauses with jitter are the same every time.

    Returns:
        What it returned.

    Raises:
        NothingLeftToHappenError: If it would have waited for ever.
    """
    loop = VirtualLoop()
    state = random.getstate()
    random.seed(seed)
    try:
        with _clocks_of(loop):
            asyncio.set_event_loop(loop)
            try:
                return loop.run_until_complete(main())
            finally:
                _cancel_all(loop)
                loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        random.setstate(state)
        asyncio.set_event_loop(None)
        loop.close()


def virtually(test: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """Run a test in virtual time; a decorator."""

    @wraps(test)
    def in_virtual_time(*args: P.args, **kwargs: P.kwargs) -> T:
        return run(lambda: test(*args, **kwargs))

    return in_virtual_time


def _cancel_all(loop: VirtualLoop) -> None:
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        loop.run_until_complete(asyncio.wait(tasks, timeout=5))
