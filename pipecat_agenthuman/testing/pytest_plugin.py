"""pytest fixtures: a running sandbox, what leads to it, and a call in which a bot talks there.

Every pytest run in an environment with this package loads this module, so it imports nothing
but pytest until a fixture is used.

``agenthuman_sandbox`` is a plain, synchronous fixture, and the sandbox runs in a thread and an
event loop of its own. It therefore serves synchronous tests, pytest-asyncio in either mode and
anyio alike, needs none of them, and a test that blocks its own event loop does not make the
avatar pause. The sandbox's awaitable methods may be awaited in any event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from pipecat_agenthuman.sandbox import Sandbox
    from pipecat_agenthuman.service import AgentHumanVideoService
    from pipecat_agenthuman.testing import Call

_FAST_RENDER_LATENCY_SECS: Final = 0.05
"""A tenth of the usual: tests wait for it."""


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker, for those who run with ``--strict-markers``."""
    config.addinivalue_line(
        "markers",
        "agenthuman_sandbox(**arguments): arguments of the Sandbox that the fixture "
        "agenthuman_sandbox starts",
    )


@pytest.fixture
def agenthuman_sandbox(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    """Run a sandbox for one test: a stand-in of the whole Agent Human service.

    Arguments other than the fast defaults come from a marker::

        @pytest.mark.agenthuman_sandbox(max_sessions=2, round_trip_secs=0.1)
        def test_two_bots(agenthuman_sandbox): ...

    Yields:
        The running ``Sandbox``.
    """
    from pipecat_agenthuman.sandbox import Sandbox

    marker: pytest.Mark | None = request.node.get_closest_marker("agenthuman_sandbox")
    arguments: dict[str, Any] = {"render_latency_secs": _FAST_RENDER_LATENCY_SECS}
    if marker is not None:
        arguments |= marker.kwargs
    with Sandbox(**arguments) as sandbox:
        yield sandbox


@pytest.fixture
def agenthuman_env(agenthuman_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Set the ``AGENTHUMAN_…`` variables so that clients use the test's sandbox.

    One of them is the sandbox's latency, so a bot's memory is exact with no setting of its own.

    Returns:
        The variables as they are set.
    """
    for name, value in agenthuman_sandbox.environment.items():
        monkeypatch.setenv(name, value)
    return agenthuman_sandbox.environment


@pytest.fixture
def agenthuman_avatar(agenthuman_sandbox: Sandbox) -> Callable[..., AgentHumanVideoService]:
    """Make a service whose avatar speaks in the test's sandbox.

    ::

        async def test_my_pipeline(agenthuman_avatar):
            avatar = agenthuman_avatar(on_unavailable="drop")

    Returns:
        Called with options of ``AgentHumanVideoService``, makes one. What is not given is the
        sandbox's: key and addresses, a room, an avatar, and the latency.
    """
    from pipecat_agenthuman.testing.avatars import sandbox_avatar

    def make(**options: Any) -> AgentHumanVideoService:
        return sandbox_avatar(agenthuman_sandbox, **options)

    return make


@pytest.fixture
def agenthuman_call(agenthuman_env: dict[str, str], agenthuman_sandbox: Sandbox) -> Call:
    """Make a call for a whole bot: a room in which people join, speak, interrupt and leave.

    ::

        async def test_my_bot(agenthuman_call):
            async with agenthuman_call as call:
                bot = call.start(run_bot(call.transport, call.room))

    Returns:
        The ``Call``, which begins when it is entered.
    """
    from pipecat_agenthuman.testing import Call

    return Call(agenthuman_sandbox)
