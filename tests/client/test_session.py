"""The life of a session: how often and how long it is tried, and that no session is left."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipecat.frames.frames import ServiceUpdateSettingsFrame

from pipecat_agenthuman import AgentHumanVideoService, SessionCredentials
from pipecat_agenthuman.client.api import AgentHumanApi
from pipecat_agenthuman.client.events import Established, Loss, SessionEvent, SessionLost
from pipecat_agenthuman.client.renewal import (
    ORPHAN_SWEEP_SECS,
    QUICK_FAILURE_SECS,
    Attempts,
)
from pipecat_agenthuman.client.retry import RenewalPolicy, Timing, backoff_secs
from pipecat_agenthuman.client.session import Session, SessionState
from pipecat_agenthuman.client.sources import GivenSession, OwnSessions
from pipecat_agenthuman.errors import (
    AuthenticationError,
    AvatarLeftError,
    BadRequestError,
    LossKind,
    LostConnectionError,
    NotFoundError,
    OutOfMinutesError,
    PermissionDeniedError,
    RateLimitedError,
    RoomTokenError,
    ServerFailureError,
    SessionLingersError,
    TransportError,
)
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.wire.protocol import ERROR_CATALOGUE, ServerError, classify_error
from tests.support.calls import LATENCY_SECS, ROOM, calling
from tests.support.faults import SHORT_LIMITS, fault
from tests.support.sounds import once
from tests.support.virtual_time import virtually
from tests.support.waiting import LIMIT_SECS, quiet_log, undisturbed, until

RENEWAL = RenewalPolicy()

# --- the decision ----------------------------------------------------------------------


@dataclass
class Clock:
    """A time that passes when it is told to."""

    now: float = 0.0

    def timing(self, jitter: float = 1.0) -> Timing:
        return Timing(monotonic=lambda: self.now, jitter=lambda: jitter)


def lost(kind: LossKind = LossKind.CLOSED, error: str | None = None) -> LostConnectionError:
    said = None if error is None else ServerError(error, classify_error(error))
    return Loss(kind, "it broke", error=said).as_error()


def pauses(clock: Clock, attempts: Attempts, error: Exception) -> list[float]:
    """The pauses until there is no hope, with every attempt failing at once."""
    found: list[float] = []
    while (pause := attempts.pause_secs(error, renewable=True, ready_since=None)) is not None:
        found.append(pause)
        clock.now += pause
    return found


def test_after_a_loss_the_first_attempt_comes_at_once_and_the_pauses_grow():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    clock.now = 3600.0
    first = attempts.pause_secs(lost(), renewable=True, ready_since=1.0)
    assert first == 0.0
    assert pauses(clock, attempts, lost()) == [1.0, 2.0, 4.0, 8.0, 16.0]


def test_without_a_first_session_the_first_pause_is_short_and_not_none():
    clock = Clock()
    error = TransportError("refused", never_sent=True)
    found = pauses(clock, Attempts(RENEWAL, clock.timing()), error)
    assert found[:8] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(jitter=st.floats(0, 1), failures=st.integers(1, 12))
def test_jitter_spreads_a_pause_by_half(jitter: float, failures: int):
    grown = min(0.5 * 2 ** (failures - 1), RENEWAL.max_pause_secs)
    pause = backoff_secs(RENEWAL, failures, lost(), jitter=jitter)
    assert grown / 2 <= pause <= grown


@given(
    policy=st.builds(
        RenewalPolicy,
        max_short_sessions=st.integers(1, 20),
        max_total_secs=st.floats(0, 100),
        first_pause_secs=st.floats(0, 5),
        max_pause_secs=st.floats(0, 30),
    ),
    took_secs=st.floats(0, 5),
    jitter=st.floats(0, 1),
)
def test_sessions_that_are_lost_are_bounded_in_number_and_in_time(policy, took_secs, jitter):
    clock = Clock()
    attempts = Attempts(policy, clock.timing(jitter))
    sessions, began = 1, clock.now
    while (pause := attempts.pause_secs(lost(), renewable=True, ready_since=None)) is not None:
        clock.now += pause
        assert clock.now - began <= policy.max_total_secs + 1e-6
        sessions += 1
        clock.now += took_secs
    assert sessions <= policy.max_short_sessions


FREE = [
    RateLimitedError("full"),
    ServerFailureError("busy", status=503),
    TransportError("refused", never_sent=True),
    RoomTokenError("Daily is busy."),
]
"""What becomes of attempts that start no session."""


@pytest.mark.parametrize("error", FREE, ids=lambda error: f"{error.kind}")
def test_what_costs_nothing_is_tried_until_the_time_is_over(error):
    clock = Clock()
    found = pauses(clock, Attempts(RENEWAL, clock.timing()), error)
    assert max(found) == RENEWAL.max_pause_secs
    assert clock.now > RENEWAL.max_total_secs - RENEWAL.max_pause_secs


@pytest.mark.parametrize("error", FREE, ids=lambda error: f"{error.kind}")
def test_what_costs_nothing_uses_up_no_session(error):
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing(jitter=0.0))
    sessions = 0
    while True:
        for _ in range(3):
            assert attempts.pause_secs(error, renewable=True, ready_since=None) is not None
        sessions += 1
        if attempts.pause_secs(lost(), renewable=True, ready_since=clock.now) is None:
            break
    assert sessions == RENEWAL.max_short_sessions


@pytest.mark.parametrize(
    "error",
    [ServerFailureError("what?", status=500), TransportError("no answer"), AvatarLeftError("gone")],
    ids=lambda error: f"{error.kind}",
)
def test_what_may_have_cost_a_session_is_bounded_in_number(error):
    clock = Clock()
    found = pauses(clock, Attempts(RENEWAL, clock.timing()), error)
    assert len(found) == RENEWAL.max_short_sessions - 1


def test_twenty_calls_in_a_long_outage_stay_below_sixty_requests_a_minute():
    chance = random.Random(1)
    asked: list[float] = []
    for _ in range(20):
        clock = Clock()
        timing = Timing(monotonic=lambda clock=clock: clock.now, jitter=chance.random)
        attempts = Attempts(RENEWAL, timing)
        error = ServerFailureError("busy", status=503)
        while clock.now < 900:
            clock.now += attempts.pause_secs(error, renewable=True, ready_since=None) or 900
            asked.append(clock.now)
    assert max(sum(at <= one < at + 60 for one in asked) for at in range(120, 840)) <= 60


def test_time_with_a_session_does_not_count_against_the_limit_and_quick_failures_do():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    number = 0
    while attempts.pause_secs(lost(), renewable=True, ready_since=clock.now - 30) is not None:
        clock.now += 30
        number += 1
    assert number == RENEWAL.max_short_sessions - 1


def test_a_session_that_lived_long_enough_is_a_recovery():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    for _ in range(100):
        ready_since = clock.now
        clock.now += QUICK_FAILURE_SECS
        assert attempts.pause_secs(lost(), renewable=True, ready_since=ready_since) == 0.0


@pytest.mark.parametrize(
    "error",
    [
        AuthenticationError("no", status=401),
        PermissionDeniedError("no", status=403),
        OutOfMinutesError("no", status=402),
        BadRequestError("no", status=400),
        NotFoundError("no", status=404),
        ServerFailureError("moved", status=302),
        *(lost(error=e.text) for e in ERROR_CATALOGUE if not e.new_session_helps),
    ],
    ids=lambda error: f"{type(error).__name__}: {error}",
)
def test_what_cannot_get_better_stops_at_once(error):
    attempts = Attempts(RENEWAL, Clock().timing())
    assert attempts.pause_secs(error, renewable=True, ready_since=None) is None


@pytest.mark.parametrize(
    "error",
    [
        RateLimitedError("full"),
        ServerFailureError("busy", status=503),
        TransportError("refused", never_sent=True),
        AvatarLeftError("gone"),
        lost(LossKind.SILENT),
        lost(error="The moon is full"),
        *(lost(error=e.text) for e in ERROR_CATALOGUE if e.new_session_helps),
    ],
    ids=lambda error: f"{type(error).__name__}: {error}",
)
def test_what_may_get_better_is_tried_again(error):
    attempts = Attempts(RENEWAL, Clock().timing())
    pause = attempts.pause_secs(error, renewable=True, ready_since=None)
    assert pause is not None
    assert pause <= RENEWAL.first_pause_secs


def test_the_wait_that_the_server_asks_for_is_kept_or_not_begun():
    attempts = Attempts(RENEWAL, Clock().timing(jitter=0.0))
    patient = RateLimitedError("full", retry_after_secs=20)
    assert attempts.pause_secs(patient, renewable=True, ready_since=None) == 20
    endless = RateLimitedError("full", retry_after_secs=3600)
    assert attempts.pause_secs(endless, renewable=True, ready_since=None) is None


def test_those_whom_a_rate_limit_sent_away_do_not_all_come_back_at_its_moment():
    patient = RateLimitedError("full", retry_after_secs=20)
    pauses = [backoff_secs(RENEWAL, 1, patient, jitter=jitter / 100) for jitter in range(101)]
    assert min(pauses) == 20
    assert max(pauses) == 25
    assert len(set(pauses)) == 101


def test_what_asking_does_not_find_is_waited_out_and_that_time_does_not_count():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    error = SessionLingersError("Who knows?", gone_in_secs=ORPHAN_SWEEP_SECS, asking_helps=False)
    assert attempts.pause_secs(error, renewable=True, ready_since=None) == ORPHAN_SWEEP_SECS
    clock.now += ORPHAN_SWEEP_SECS
    refused = TransportError("refused", never_sent=True)
    assert attempts.pause_secs(refused, renewable=True, ready_since=None) == 1.0


@pytest.mark.parametrize(
    "error",
    [TransportError("reset"), ServerFailureError("what?", status=500)],
    ids=lambda error: type(error).__name__,
)
def test_a_create_of_unknown_fate_is_asked_for_soon_however_long_it_was_waited_for(error):
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    clock.now = RENEWAL.max_total_secs
    assert attempts.pause_secs(error, renewable=True, ready_since=None) == 0.5


def test_after_a_planned_renewal_a_failure_is_the_first_one():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    clock.now = 600.0
    assert attempts.planned_pause_secs(ready_since=1.0, expires=True) == 0.0
    refused = RateLimitedError("the old session still counts")
    assert attempts.pause_secs(refused, renewable=True, ready_since=None) == 0.5


def test_sessions_that_expire_as_soon_as_they_are_made_are_not_made_for_ever():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    number = 0
    while attempts.planned_pause_secs(ready_since=clock.now, expires=True) is not None:
        clock.now += 1.0
        number += 1
    assert number == RENEWAL.max_short_sessions - 1


def test_an_avatar_may_be_changed_as_often_as_anybody_likes():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    for _ in range(100):
        clock.now += 1.0
        assert attempts.planned_pause_secs(ready_since=clock.now, expires=False) == 0.0


def while_it_lingers(clock: Clock, attempts: Attempts) -> list[float]:
    """The pauses until the service has swept a session that cannot be ended."""
    found: list[float] = []
    while clock.now < ORPHAN_SWEEP_SECS:
        gone_in_secs = ORPHAN_SWEEP_SECS - clock.now
        error = SessionLingersError("It cannot be ended.", gone_in_secs=gone_in_secs)
        found.append(attempts.pause_secs(error, renewable=True, ready_since=None))
        clock.now += found[-1]
    return found


def test_a_session_that_lingers_is_waited_for_no_longer_than_it_can():
    clock = Clock()
    found = while_it_lingers(clock, Attempts(RENEWAL, clock.timing()))
    assert found == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, *[30.0] * 4, ORPHAN_SWEEP_SECS - 151.5]


def test_a_session_that_lingers_is_waited_for_when_all_time_is_spent():
    clock = Clock()
    attempts = Attempts(RenewalPolicy(max_total_secs=60.0), clock.timing())
    found = while_it_lingers(clock, attempts)
    assert found == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, ORPHAN_SWEEP_SECS - 31.5]
    refused = TransportError("refused", never_sent=True)
    assert attempts.pause_secs(refused, renewable=True, ready_since=None) is None


def test_what_ends_a_connection_for_good_is_not_tried_again():
    attempts = Attempts(RENEWAL, Clock().timing())
    untrusted = Loss(LossKind.CONNECT_FAILED, "not trusted", final=True).as_error()
    assert attempts.pause_secs(untrusted, renewable=True, ready_since=None) is None


def test_a_session_made_elsewhere_is_not_renewed():
    attempts = Attempts(RENEWAL, Clock().timing())
    assert attempts.pause_secs(lost(), renewable=False, ready_since=None) is None


# --- the life --------------------------------------------------------------------------


@dataclass
class Life:
    """A session that runs against a sandbox, and what it told."""

    sandbox: Sandbox
    session: Session
    source: OwnSessions | GivenSession
    running: asyncio.Task[None]
    events: list[SessionEvent]
    slept: list[float] = field(default_factory=list)

    def of(self, kind: type[Any]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    async def saw(self, kind: type[Any], nth: int = 1) -> Any:
        await until(lambda: len(self.of(kind)) >= nth)
        return self.of(kind)[nth - 1]

    async def over(self) -> None:
        async with asyncio.timeout(LIMIT_SECS):
            await asyncio.shield(self.running)


def own_sessions(sandbox: Sandbox, **options: Any) -> OwnSessions:
    api = AgentHumanApi(sandbox.api_key, api_url=sandbox.api_url)
    return OwnSessions(api, room=ROOM, avatar="avat_1", aspect_ratio="4:3", **options)


@asynccontextmanager
async def living(
    sandbox: Sandbox,
    *,
    source: OwnSessions | GivenSession | None = None,
    renewal: RenewalPolicy | None = None,
    sleep: Callable[[float], Any] = asyncio.sleep,
) -> AsyncIterator[Life]:
    source = source or own_sessions(sandbox)
    events: list[SessionEvent] = []
    slept: list[float] = []

    async def sleeping(secs: float) -> None:
        slept.append(secs)
        await sleep(0 if secs <= RENEWAL.max_pause_secs else secs)

    session = Session(
        source,
        ws_url=sandbox.ws_url,
        on_event=events.append,
        limits=SHORT_LIMITS,
        renewal=renewal,
        timing=Timing(sleep=sleeping, jitter=lambda: 1.0),
    )
    running = asyncio.create_task(session.run())
    life = Life(sandbox, session, source, running, events, slept)
    try:
        yield life
    finally:
        session.end()
        await life.over()
        await source.close()
        assert session.state is SessionState.ENDED
        assert session.connection is None
        assert not sandbox.live_sessions
        assert sandbox.peak_live_sessions <= 1


def is_waited_out(life: Life) -> bool:
    """Whether it waits until the service has swept a session that nobody knows."""
    return bool(life.slept) and life.slept[-1] > ORPHAN_SWEEP_SECS - LIMIT_SECS


@virtually
async def test_a_session_is_created_connected_and_ended():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        established = await life.saw(Established)
        assert life.session.state is SessionState.READY
        assert life.session.session_id == established.session_id == sandbox.sessions[0].id
    assert sandbox.sessions[0].end_requests == 1


@virtually
async def test_a_lost_session_is_ended_before_its_successor_is_created():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        for number in range(1, 4):
            await life.saw(Established, number)
            await sandbox.drop(abort=True)
        await life.saw(Established, 4)
        assert len(sandbox.sessions) == 4
    assert all(record.end_requests for record in sandbox.sessions)
    assert life.slept[0] == 0.0
    assert [event.will_renew for event in life.of(SessionLost)] == [True] * 3


@virtually
async def test_a_server_that_drops_every_session_is_left_after_so_many():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        sandbox.inject(fault("session.init", "close", code=1011, times=None))
        await life.over()
        assert len(sandbox.sessions) == RENEWAL.max_short_sessions
    assert life.slept == [0.0, 1.0, 2.0, 4.0, 8.0]
    assert [event.will_renew for event in life.of(SessionLost)] == [True] * 5 + [False]


@virtually
async def test_hope_is_given_up_before_anybody_hears_of_it():
    async with Sandbox(max_sessions=3) as sandbox:
        source = own_sessions(sandbox)
        states: list[SessionState] = []
        session = Session(
            source,
            ws_url=sandbox.ws_url,
            on_event=lambda event: states.append(session.state),
        )
        sandbox.inject(fault("create", "refuse", status=401))
        await session.run()
        await source.close()
    assert states == [SessionState.ENDED]


@virtually
async def test_a_create_is_not_repeated_behind_the_back_of_the_policy():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("create", "refuse", status=503, times=None))
        async with living(sandbox, renewal=RenewalPolicy(max_total_secs=0.9)) as life:
            await life.over()
            creates = [e for e in sandbox.log if e["what"] == "POST /v1/sessions"]
        assert len([e for e in creates if e["direction"] == "in"]) == 2


@virtually
async def test_a_planned_renewal_is_no_failure():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        await life.saw(Established)
        life.session.renew()
        await life.saw(Established, 2)
        event = await life.saw(SessionLost)
        assert (event.error, event.will_renew, event.was_ready) == (None, True, True)
        assert event.planned


@virtually
async def test_a_session_can_be_declared_lost():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        await life.saw(Established)
        error = AvatarLeftError("The avatar left.")
        life.session.renew(error)
        await life.saw(Established, 2)
        event = await life.saw(SessionLost)
        assert event.error is error
        assert not event.planned


@virtually
async def test_a_session_can_be_run_again_after_there_was_no_hope():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        sandbox.inject(fault("create", "refuse", status=403, nth=2))
        await life.saw(Established)
        await sandbox.drop()
        await life.over()
        life.running = asyncio.create_task(life.session.run())
        await life.saw(Established, 2)


@pytest.mark.parametrize(
    ("point", "kind"),
    [("create", "missing"), ("connect", "missing"), ("session.init", "missing")],
)
@virtually
async def test_the_end_acts_while_a_session_comes_up(point: str, kind: str):
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault(point, kind))
        async with living(sandbox) as life:
            await sandbox.wait_for("fault")
            if point == "create":
                # Its answer never comes; whoever closes the source waits for it, bounded.
                life.source._api._close_limit_secs = 0.2
            life.session.end()
            await life.over()
            if point == "create":
                await life.source.close()
                await sandbox.end_session()


@virtually
async def test_the_end_acts_during_a_pause():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("create", "refuse", status=500))
        sandbox.inject(fault("list", "refuse", status=404, times=None))
        async with living(sandbox) as life:
            await until(lambda: is_waited_out(life))
            life.session.end()
            await life.over()


@virtually
async def test_a_session_whose_creation_is_cancelled_half_way_is_ended_when_it_comes_up():
    async with Sandbox(max_sessions=3) as sandbox:
        details = {"delay_secs": 0.3, "delayed": "answer"}
        sandbox.inject(fault("create", "delay", **details))
        async with living(sandbox) as life:
            await sandbox.wait_for("session.created")
            life.session.end()
            await life.over()
        assert sandbox.sessions[0].end_requests == 1


@virtually
async def test_a_cancelled_session_is_ended_all_the_same():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        await life.saw(Established)
        life.running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await life.running
        assert not sandbox.live_sessions
        assert sandbox.sessions[0].end_requests == 1
        life.running = asyncio.create_task(life.session.run())


@virtually
async def test_ending_is_repeated_until_it_succeeds():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("end", "refuse", status=500))
        async with living(sandbox) as life:
            await life.saw(Established)
        assert sandbox.sessions[0].end_requests == 1


@virtually
async def test_no_session_is_made_while_the_one_before_cannot_be_ended():
    """The network is cut: the server does not know that the client has gone."""
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        await life.saw(Established)
        sandbox.inject(fault("end", "refuse", status=500, times=5))
        sandbox.inject(fault("ping", "cut"))
        await life.saw(Established, 2)
        first = sandbox.sessions[0]
        lost = life.of(SessionLost)
        assert {type(event.error) for event in lost[1:]} == {SessionLingersError}
        assert all(event.will_renew for event in lost)
        assert first.ended_by == "end request"
    assert len(sandbox.sessions) == 2


@virtually
async def test_a_create_whose_answer_was_lost_is_found_and_ended_before_the_next():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("create", "abort", carried_out=True))
        async with living(sandbox) as life:
            await life.saw(Established)
            assert [type(event.error) for event in life.of(SessionLost)] == [TransportError]
            assert max(life.slept) <= RENEWAL.first_pause_secs
        assert [record.end_requests for record in sandbox.sessions] == [1, 1]


@pytest.mark.parametrize("expiration", ["2020-01-01T00:00:00Z", "1970-01-01T00:00:00Z"])
@virtually
async def test_an_expiration_before_the_start_is_not_relied_on(expiration: str):
    session = {"session_id": "sess_1", "session_token": "token-4711", "expiration": expiration}
    body = {"success": True, "session": session}
    async with Sandbox() as sandbox:
        sandbox.inject(fault("create", "refuse", status=201, body=body))
        source = own_sessions(sandbox)
        with quiet_log(level="WARNING") as lines:
            opened = await source.open()
            await source.close()
    assert opened.life_secs is None
    assert len([line for line in lines if "not relied on" in line]) == 1


@virtually
async def test_sessions_that_expire_at_once_end_in_an_error_that_says_so():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        for number in range(1, 100):
            await until(lambda n=number: len(life.of(Established)) >= n or life.running.done())
            if life.running.done():
                break
            life.session.renew(expires=True)
        last = life.of(SessionLost)[-1]
        assert "expired shortly after" in str(last.error)
        assert not last.will_renew
        assert len(sandbox.sessions) == RENEWAL.max_short_sessions


@virtually
async def test_the_life_of_a_session_counts_from_its_start_and_not_from_the_answer():
    async with Sandbox(session_secs=60) as sandbox:
        details = {"delay_secs": 0.4, "delayed": "answer"}
        sandbox.inject(fault("create", "delay", **details))
        async with living(sandbox) as life:
            await life.saw(Established)
            assert life.session.expires_in_secs < 59.7


@virtually
async def test_a_session_that_is_cancelled_in_a_pause_leaves_no_task():
    async with Sandbox() as sandbox:
        sandbox.inject(fault("create", "refuse", status=500))
        sandbox.inject(fault("list", "refuse", status=404, times=None))
        async with living(sandbox) as life:
            await until(lambda: is_waited_out(life))
            before = asyncio.all_tasks()
            life.running.cancel()
            await asyncio.wait({life.running})
            left = {task for task in asyncio.all_tasks() & before if not task.done()}
            assert left == {asyncio.current_task()}
            life.session.end()
            life.running = asyncio.create_task(life.session.run())


@virtually
async def test_a_key_that_is_refused_even_for_ending_is_the_end_of_all_hope():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        await life.saw(Established)
        sandbox.inject(fault("end", "refuse", status=401, times=2))
        sandbox.inject(fault("ping", "cut"))
        await life.over()
        last = life.of(SessionLost)[-1]
        assert isinstance(last.error, AuthenticationError)
        assert not last.will_renew
    # Once more at the very end, when the fault is over.
    assert sandbox.sessions[0].ended_by == "end request"


@virtually
async def test_what_cannot_be_ended_is_logged_with_its_identifier():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("end", "refuse", status=500, times=None))
        with quiet_log(level="ERROR") as lines:
            async with living(sandbox) as life:
                await life.saw(Established)
        session_id = sandbox.sessions[0].id
    assert any(session_id in line and "may still run" in line for line in lines)


def test_a_session_is_ended_while_its_event_loop_is_being_closed():
    with Sandbox() as sandbox:

        async def die_early() -> None:
            source = own_sessions(sandbox)
            session = Session(source, ws_url=sandbox.ws_url, on_event=lambda event: None)
            keep.append(asyncio.create_task(session.run()))
            await until(lambda: session.state is SessionState.READY)

        keep: list[asyncio.Task[None]] = []
        asyncio.run(die_early())
        assert sandbox.sessions[0].end_requests == 1


def test_an_end_request_that_a_closing_event_loop_cancels_is_made_again():
    with Sandbox() as sandbox:
        sandbox.inject(fault("end", "delay", delay_secs=0.5))

        async def die_while_ending() -> None:
            source = own_sessions(sandbox)
            session = Session(source, ws_url=sandbox.ws_url, on_event=lambda event: None)
            keep.append(asyncio.create_task(session.run()))
            await until(lambda: session.state is SessionState.READY)
            session.end()
            await sandbox.wait_for("fault")

        keep: list[asyncio.Task[None]] = []
        with quiet_log():
            asyncio.run(die_while_ending())
        assert sandbox.sessions[0].end_requests >= 1


@virtually
async def test_sessions_that_come_and_go_at_random_are_never_two_and_all_ended():
    chance = random.Random(4)
    async with Sandbox(max_sessions=3) as sandbox:
        policy = RenewalPolicy(max_short_sessions=1000)
        async with living(sandbox, renewal=policy) as life:
            for _ in range(40):
                await until(lambda: bool(sandbox.live_sessions))
                await asyncio.sleep(chance.random() * 0.01)
                act = chance.choice(["drop", "abort", "renew", "fault"])
                if act == "renew":
                    life.session.renew()
                elif act == "fault":
                    point = chance.choice(["create", "connect", "end"])
                    sandbox.inject(fault(point, "refuse", status=503))
                    life.session.renew()
                else:
                    try:
                        await sandbox.drop(abort=act == "abort")
                    except LookupError:
                        continue
        assert len(sandbox.sessions) > 5


# --- in a pipeline ---------------------------------------------------------------------


@pytest.fixture
def _quiet():
    with undisturbed(), quiet_log():
        yield


@pytest.mark.usefixtures("_quiet")
@virtually
async def test_a_session_is_replaced_in_a_pause_shortly_before_it_expires():
    async with Sandbox(render_latency_secs=LATENCY_SECS, session_secs=6) as sandbox:
        async with calling(sandbox) as call:
            # Its last quarter begins at 4.5 s, in the middle of these words.
            await asyncio.sleep(3.8)
            words = await call.say(1.2)
            await call.until_ready(2)
            await call.end()
        first, second = sandbox.sessions
        assert str(first.ended_by) == "client closed the socket"
        assert second.created_at >= first.ended_at
        assert once(call.heard_of_avatar(), words)
        assert not call.given_to_transport().any()
        assert not call.error_frames
        assert call.avatar.stats.losses == 0
        assert call.avatar.stats.renewals == 1


@virtually
async def test_without_renewal_before_expiry_there_is_a_warning_and_then_a_loss():
    async with Sandbox(session_secs=1.5) as sandbox:
        with undisturbed(), quiet_log(level="WARNING") as lines:
            async with calling(sandbox, renew_before_expiry=False) as call:
                await call.until_ready(2)
                await call.end()
    assert len([line for line in lines if "renew_before_expiry is off" in line]) >= 1
    assert [frame.code for frame in call.error_frames] == ["closed"]


@pytest.mark.usefixtures("_quiet")
@virtually
async def test_a_given_session_is_used_once_and_that_it_cannot_be_renewed_is_said():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        async with AgentHumanApi(sandbox.api_key, api_url=sandbox.api_url) as api:
            made = await api.create_session(avatar="avat_1", room=ROOM)
            credentials = SessionCredentials(made.session_id, made.session_token)
            async with calling(sandbox, credentials=credentials) as call:
                await call.say(0.2)
                await until(lambda: "stop" in call.speaking(call.behind, upstream=False))
                await sandbox.drop()
                await until(lambda: bool(call.reported))
                words = await call.say(0.2)
                await call.end()
        assert len(sandbox.sessions) == 1
    assert "cannot be renewed" in call.reported[0].error
    assert not call.avatar.is_usable
    assert call.news[-1].startswith("on_avatar_error")
    assert any(line.startswith("on_disconnected") and line.endswith("False") for line in call.news)
    assert (call.given_to_transport()[words.start :] == 1).all()


def new_avatar(avatar: str) -> ServiceUpdateSettingsFrame:
    return ServiceUpdateSettingsFrame(delta=AgentHumanVideoService.Settings(avatar=avatar))


@pytest.mark.usefixtures("_quiet")
@virtually
async def test_another_avatar_takes_over_at_the_next_pause():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        first = await call.say(0.6)
        await sandbox.wait_until_heard(0.1)
        await call.feed(new_avatar("avat_other"))
        await call.until_ready(2)
        second = await call.say(0.2)
        await call.end()
        assert [record.avatar for record in sandbox.sessions] == ["avat_demo", "avat_other"]
    heard = call.heard_of_avatar()
    assert once(heard, first)
    assert once(heard, second)
    assert not call.error_frames


@pytest.mark.usefixtures("_quiet")
@virtually
async def test_another_avatar_is_tried_after_there_was_no_hope():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        sandbox.inject(fault("create", "refuse", status=403))
        async with calling(sandbox, until_ready=False) as call:
            await until(lambda: not call.avatar.is_usable)
            await call.feed(new_avatar("avat_allowed"))
            await call.until_ready()
            words = await call.say(0.2)
            await call.end()
        assert [record.avatar for record in sandbox.sessions] == ["avat_allowed"]
    assert once(call.heard_of_avatar(), words)
    assert call.avatar.is_usable


@pytest.mark.usefixtures("_quiet")
@virtually
async def test_the_same_avatar_is_tried_again_after_there_was_no_hope():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        sandbox.inject(fault("create", "refuse", status=402))
        async with calling(sandbox, until_ready=False) as call:
            await until(lambda: not call.avatar.is_usable)
            same = AgentHumanVideoService.Settings(avatar="avat_demo")
            await call.feed(ServiceUpdateSettingsFrame(delta=same, service=call.avatar))
            await call.until_ready()
            assert call.avatar.is_usable
            words = await call.say(0.3)
            await call.end()
    assert once(call.heard_of_avatar(), words)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("avatar", ["", "  ", 5])
@virtually
async def test_an_avatar_that_is_none_changes_nothing(avatar):
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox, calling(sandbox) as call:
        delta = AgentHumanVideoService.Settings(avatar=avatar)
        await call.feed(ServiceUpdateSettingsFrame(delta=delta, service=call.avatar))
        await until(lambda: bool(call.error_frames))
        words = await call.say(0.3)
        await call.end()
    assert [frame.code for frame in call.error_frames] == ["bad_settings"]
    assert len(sandbox.sessions) == 1
    assert once(call.heard_of_avatar(), words)


@virtually
async def test_another_avatar_for_a_session_made_elsewhere_is_a_warning():
    async with Sandbox(render_latency_secs=LATENCY_SECS) as sandbox:
        async with AgentHumanApi(sandbox.api_key, api_url=sandbox.api_url) as api:
            made = await api.create_session(avatar="avat_1", room=ROOM)
            credentials = SessionCredentials(made.session_id, made.session_token)
            with undisturbed(), quiet_log(level="WARNING") as lines:
                async with calling(sandbox, credentials=credentials) as call:
                    await call.feed(new_avatar("avat_other"))
                    await until(lambda: any("cannot be replaced" in line for line in lines))
                    await call.end()
        assert len(sandbox.sessions) == 1


# --- wanted or not ---------------------------------------------------------------------


async def test_a_session_that_rests_ends_and_comes_again_when_it_is_wanted():
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        for number in range(1, 4):
            await life.saw(Established, number)
            life.session.rest("nobody is there")
            lost = await life.saw(SessionLost, number)
            assert (lost.error, lost.will_renew, lost.planned) == (None, False, True)
            assert lost.reason == "nobody is there"
            await until(lambda: not sandbox.live_sessions)
            assert life.session.state is SessionState.RESTING
            assert len(sandbox.sessions) == number
            assert life.session.resume()
        await life.saw(Established, 4)


@pytest.mark.parametrize("loss", ["connection", "avatar"])
async def test_a_session_that_is_held_goes_on_and_is_not_replaced_when_it_is_lost(loss: str):
    async with Sandbox(max_sessions=3) as sandbox, living(sandbox) as life:
        await life.saw(Established)
        life.session.hold("nobody is there")
        assert life.session.state is SessionState.READY
        if loss == "avatar":
            life.session.renew(AvatarLeftError("It left with the others."))
        else:
            await sandbox.drop(abort=True)
        lost = await life.saw(SessionLost)
        assert (lost.error, lost.will_renew) == (None, False)
        assert life.session.resume()
        await life.saw(Established, 2)
        assert not life.session.resume()


async def test_a_refusal_is_told_also_while_no_session_is_wanted():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("create", "refuse", status=401))
        async with living(sandbox) as life:
            life.session.hold("nobody is there")
            lost = await life.saw(SessionLost)
            assert isinstance(lost.error, AuthenticationError)
            await life.over()


async def test_a_session_rests_after_a_failure_too_and_the_end_acts_then():
    async with Sandbox(max_sessions=3) as sandbox:
        sandbox.inject(fault("create", "refuse", status=503))
        async with living(sandbox) as life:
            life.session.rest("nobody is there")
            await life.saw(SessionLost)
            await until(lambda: life.session.state is SessionState.RESTING)
            assert not sandbox.sessions
            failed, rests = life.of(SessionLost)
            assert failed.will_renew
            assert (rests.error, rests.will_renew, rests.reason) == (None, False, "nobody is there")
            life.session.end()
            await life.over()


async def test_a_session_made_elsewhere_that_rests_is_over():
    async with Sandbox() as sandbox:
        made = await own_sessions(sandbox).open()
        credentials = SessionCredentials(made.init.session_id, made.init.session_token)
        async with living(sandbox, source=GivenSession(credentials)) as life:
            await life.saw(Established)
            life.session.rest("it may not live longer")
            await life.over()
            assert not life.of(SessionLost)[0].will_renew


def test_time_in_which_no_session_is_wanted_does_not_count():
    clock = Clock()
    attempts = Attempts(RENEWAL, clock.timing())
    clock.now = 10 * RENEWAL.max_total_secs
    attempts.wanted_again()
    refused = TransportError("refused", never_sent=True)
    assert attempts.pause_secs(refused, renewable=True, ready_since=None) == 0.5
