"""What the pages say of options, defaults, limits, codes and numbers is what the code says."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
import tomllib

import pytest
from pipecat.frames.frames import SystemFrame
from pipecat.utils.errors import ErrorCategory

import pipecat_agenthuman
from pipecat_agenthuman import _credentials, errors, frames, rooms, service
from pipecat_agenthuman import _environment as environment
from pipecat_agenthuman.client import (
    api,
    commands,
    connection,
    conversation,
    leftovers,
    refusals,
    renewal,
    rest,
    sockets,
    sources,
)
from pipecat_agenthuman.client.retry import RenewalPolicy, is_permanent
from pipecat_agenthuman.client.sockets import ConnectionLimits
from pipecat_agenthuman.errors import AgentHumanError, LossKind
from pipecat_agenthuman.pipeline import (
    admission,
    announcer,
    avatar_output,
    gate,
    in_transit,
    lifetime,
    minutes,
    sinks,
    supervisor,
    transport_output,
)
from pipecat_agenthuman.pipeline.error_reports import _CATEGORIES
from pipecat_agenthuman.pipeline.metrics import ServiceStats
from pipecat_agenthuman.playout import conversion, cues, originals
from pipecat_agenthuman.playout.pacing import Pace
from pipecat_agenthuman.service import AgentHumanVideoService
from pipecat_agenthuman.tokens import daily as daily_tokens
from pipecat_agenthuman.wire import protocol
from pipecat_agenthuman.wire.error_catalogue import ERROR_CATALOGUE, Answers, ServerErrorCode
from tests.support.markdown import ROOT, blocks, names, read, table

SETTINGS = AgentHumanVideoService.Settings


def numbers(cell: str) -> list[float]:
    """The numbers of a cell, in their order; those of names do not count."""
    plain = re.sub(r"`[^`]*`", "", cell)
    found = re.findall(r"(?<![\w.])\d[\d,]*(?:\.\d+)?(?![\w])", plain)
    return [float(number.replace(",", "")) for number in found]


# --- options and settings -----------------------------------------------------------------

OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(AgentHumanVideoService.__init__).parameters.items()
    if name not in ("self", "kwargs")
}
MADE = {"limits": ConnectionLimits, "renewal": RenewalPolicy}
"""What an option is if it is not given, where that is a value of its own."""


def test_every_option_is_in_the_table_with_its_default() -> None:
    rows = {names(row[0])[0]: row[1] for row in table(read("docs/reference/options.md"), "option")}
    assert set(rows) == set(OPTIONS)
    for name, default in OPTIONS.items():
        told = rows[name]
        if name in MADE:
            assert told == f"`{MADE[name].__name__}()`"
        elif default is None:
            assert not re.search(r"\d|True|False|\"", told), name
        else:
            assert ast.literal_eval(told.strip("`")) == default, name


def test_every_setting_is_in_the_table_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AGENTHUMAN_AVATAR", "AGENTHUMAN_AVATAR_LATENCY_SECS"):
        monkeypatch.delenv(variable, raising=False)
    rows = {
        names(row[0])[0]: row[1] for row in table(read("docs/reference/settings.md"), "setting")
    }
    known = {f.name for f in dataclasses.fields(SETTINGS)} - {"model", "extra"}
    assert set(rows) == known
    defaults = SETTINGS.defaults()
    for name in known - {"avatar"}:
        built_in = re.findall(r"`([^`]+)`", rows[name])[-1]
        assert ast.literal_eval(built_in) == getattr(defaults, name), name


def test_every_variable_is_in_the_table_and_in_the_example() -> None:
    known = {v.name for v in vars(environment).values() if isinstance(v, environment.Variable)}
    rows = table(read("docs/reference/options.md"), "variable")
    assert {name for row in rows for name in names(row[0])} == known
    hosts = {"DAILY_API_URL"}  # for tests and proxies
    assert known - hosts <= set(re.findall(r"^#? ?([A-Z_]+)=", read(".env.example"), re.M))


def test_what_the_pages_say_of_policies_is_their_default() -> None:
    policy = RenewalPolicy()
    values = ", ".join(
        f"{field.name}={getattr(policy, field.name):g}" for field in dataclasses.fields(policy)
    )
    assert f"`renewal=RenewalPolicy({values})`" in read("docs/reliability/losing-the-avatar.md")


# --- frames, events, numbers --------------------------------------------------------------


def test_every_frame_of_the_avatar_is_in_the_table() -> None:
    known = [
        name
        for name, kind in vars(frames).items()
        if isinstance(kind, type)
        and issubclass(kind, SystemFrame)
        and kind.__module__ == frames.__name__
    ]
    rows = table(read("docs/reference/frames.md").partition("## Frames of the avatar")[2], "frame")
    assert {name for row in rows for name in names(row[0])} == set(known)


def test_every_event_is_in_the_table() -> None:
    rows = table(read("docs/reference/events.md"), "handler")
    told = {names(row[0])[0] for row in rows}
    assert told == {*announcer.EVENTS, "on_usable_changed"}
    assert numbers(row_of(rows, "on_minutes_low")) == [minutes.LOW_MINUTES]
    assert numbers(row_of(rows, "on_session_ending")) == [lifetime.NOTICE_SECS]


def row_of(rows: list[list[str]], name: str) -> str:
    return next(row[-1] for row in rows if name in row[0])


def test_every_counter_is_in_the_table() -> None:
    rows = table(read("docs/reference/metrics.md"), "field")
    told = [name for row in rows for name in names(row[0])]
    assert sorted(told) == sorted(field.name for field in dataclasses.fields(ServiceStats))


def test_every_metric_is_named() -> None:
    page = read("docs/reference/metrics.md").partition("## Classes")[0]
    for name in pipecat_agenthuman.__all__:
        if name.endswith("MetricsData"):
            assert f"`{name}`" in page


def test_the_formats_that_are_taken_are_those_of_the_conversion() -> None:
    (row,) = [
        row for row in table(read("docs/reference/frames.md"), "frame") if "Any rate" in row[1]
    ]
    rates = [conversion.MIN_SAMPLE_RATE / 1000, conversion.MAX_SAMPLE_RATE / 1000]
    assert numbers(row[1].partition("Any rate")[2]) == [*rates, 1, conversion.MAX_CHANNELS]


# --- errors -------------------------------------------------------------------------------

ERRORS = read("docs/reliability/errors.md")
EXCEPTIONS = {
    kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, AgentHumanError)
}
NOT_TOLD = {
    "failed",  # what no exception of its own has
    "request_failed",
    "room_token",  # raised by mint, before there is a service
    "missing_variables",
    "avatar_unavailable",  # raised to who waits
    LossKind.LEFT,  # it was asked to
}


def test_every_code_is_in_a_table_and_every_code_in_a_table_can_come() -> None:
    told = {name for row in table(ERRORS, "code") for name in names(row[0])}
    known = set(ServerErrorCode) | set(LossKind) | {kind.kind for kind in EXCEPTIONS}
    for path in (ROOT / "pipecat_agenthuman").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ErrorReport":
                known |= {part.value for part in node.args[:1] if isinstance(part, ast.Constant)}
    assert told == {str(code) for code in known} - NOT_TOLD


def test_codes_have_the_categories_of_the_table() -> None:
    categories = {category.name for category in ErrorCategory}
    for row in table(ERRORS, "code"):
        (category,) = categories & {name for cell in row[1:] for name in names(cell)}
        for code in names(row[0]):
            if code in _CATEGORIES:
                assert _CATEGORIES[code].name == category, code


def test_what_the_server_says_is_quoted_as_it_is_known() -> None:
    rows = {code: row for row in table(ERRORS, "code") if len(row) == 6 for code in names(row[0])}
    for entry in ERROR_CATALOGUE:
        row = rows[entry.code]
        assert entry.text.rstrip(":") in row[1], entry.code
        if entry.answers is Answers.INIT:
            assert row[4] == ("new session" if entry.new_session_helps else "final"), entry.code


REST = {
    "authentication": errors.AuthenticationError("…", status=401),
    "permission_denied": errors.PermissionDeniedError("…", status=403),
    "bad_request": errors.BadRequestError("…", status=400),
    "not_found": errors.NotFoundError("…", status=404),
    "out_of_minutes": errors.OutOfMinutesError("…", status=402),
    "rate_limited": errors.RateLimitedError("…"),
}


@pytest.mark.parametrize("code", REST)
def test_an_answer_of_rest_is_as_final_as_the_table_says(code: str) -> None:
    (row,) = [row for row in table(ERRORS, "code") if len(row) == 5 and names(row[0]) == [code]]
    assert (row[3] == "final") is is_permanent(REST[code])


def test_every_exception_is_listed_with_its_kind() -> None:
    rows = table(read("docs/reference/errors.md"), "exception")
    assert {names(row[0])[0]: names(row[1])[0] for row in rows} == {
        kind.__name__: kind.kind for kind in EXCEPTIONS
    }


# --- limits -------------------------------------------------------------------------------

PACE, LIMITS, RENEWAL = Pace(), ConnectionLimits(), RenewalPolicy()
# Pipecat gives a task that is cancelled one second.
CLEANUP = [service.TEARDOWN_SECS, 1, leftovers.ASK_TIMEOUT_SECS, api.CLOSE_LIMIT_SECS]

EXPECTED: dict[str, list[float]] = {
    "asking for the avatar's token": [rooms.MINT_TIMEOUT_SECS],
    "creating a session": [sources.CREATE_TIMEOUT_SECS],
    "asking for the account's list": [leftovers.ASK_TIMEOUT_SECS],
    "a create without an answer, not": [leftovers.UNLISTED_SECS],
    "a create without an answer, and": [renewal.ORPHAN_SWEEP_SECS],
    "connecting to REST": [rest.CONNECT_TIMEOUT_SECS],
    "an answer of REST": [rest._MAX_ANSWER_BYTES, daily_tokens._MAX_ANSWER_BYTES],
    "a wait that a 429 asks for": [refusals._LONGEST_RESET_SECS],
    "connecting: TCP": [LIMITS.connect_timeout_secs],
    "`session.init` to": [LIMITS.establish_timeout_secs],
    "a command to its": [LIMITS.confirm_timeout_secs],
    "answers that a busy": [2 * connection._BUSY_GRACE_SECS],
    "between keepalive": [LIMITS.ping_interval_secs],
    "closing the WebSocket": [LIMITS.close_timeout_secs],
    "ending a session": [
        sources.END_TIMEOUT_SECS,
        sources.END_POLICY.max_attempts,
        sources.END_POLICY.max_total_secs,
    ],
    "`EndFrame`: waiting": [service.DRAIN_GRACE_SECS],
    "silence before the avatar": [avatar_output.END_SILENCE_SECS],
    "`EndFrame` in front of": [in_transit.THROUGH_SECS],
    "`EndFrame`: closing": [service.TEARDOWN_SECS],
    "cleanup": [*CLEANUP, sum(CLEANUP)],
    "first words waiting for a session": [supervisor.START_WAIT_SECS],
    "first words waiting for the avatar": [OPTIONS["avatar_wait_secs"]],
    "a session in a room": [lifetime.EMPTY_ROOM_SECS],
    "the avatar being there": [],
    "speech that the server refuses": [conversation._MOST_REFUSALS],
    "an avatar that left": [supervisor.RETURN_WAIT_SECS],
    "renewal": [RENEWAL.max_short_sessions, RENEWAL.max_total_secs],
    "a planned renewal": [],
    "backlog": [gate.BACKLOG_SECS],
    "speech that the transport is": [sinks.LEAD_SECS],
    "the last piece": [sinks.PAD_AFTER_SECS],
    "a frame coming out": [in_transit.THROUGH_SECS, in_transit.URGENT_SECS],
    "a piece of speech coming": [transport_output.UNTOLD_SECS],
    "unheard audio": [PACE.max_lead_secs, 0.5],
    "silence inside": [cues.STALL_LIMIT_SECS],
    "`agent.speak` without": [OPTIONS["max_unconfirmed"]],
    "frames held": [gate.HELD_FRAMES],
    "speech kept": [originals.KEPT_BYTES / 2**20],
    "audio in one": [PACE.max_message_secs],
    "a message of the server": [sockets._MAX_INCOMING_BYTES / 2**20],
    "JSON nesting": [protocol._DEEPEST_NESTING],
    "words of a server": [_credentials.MAX_WORDS_CHARS, announcer._EXCERPT_CHARS],
    "events that wait": [announcer.UNTOLD_NEWS],
    "remembered": [],
    "kinds of unexpected": [announcer._NOTICED_KINDS],
}
"""By the beginning of a row: the numbers in its limit, in their order."""


def test_every_limit_is_the_codes() -> None:
    rows = {row[0]: row[1] for row in table(read("docs/reliability/limits.md"), "what")}
    for what, limit in rows.items():
        (known,) = [words for words in EXPECTED if what.startswith(words)]
        found = numbers(re.sub(r"a 429|first", "", limit))
        assert found[: len(EXPECTED[known])] == EXPECTED[known], what
        assert len(found) == len(EXPECTED[known]), what
    assert len(rows) == len(EXPECTED)


def test_what_is_remembered_is_as_much_as_the_page_says() -> None:
    (what,) = [
        row[0]
        for row in table(read("docs/reliability/limits.md"), "what")
        if row[0].startswith("remembered")
    ]
    assert numbers(what) == [
        commands._REMEMBERED_ABANDONED,
        commands._ABANDONED_FOR_SECS,
        commands._REMEMBERED_ANSWERS,
        commands._REPEATED_FOR_SECS,
        cues._REMEMBERED_STRUCK,
        admission.REMEMBERED_CONTEXTS,
        admission.REMEMBERED_CONTEXTS,
        admission.REMEMBERED_CONTEXTS,
        rest._REMEMBERED_SECRETS,
    ]


# --- the page for Pipecat's documentation -------------------------------------------------

MDX = read("docs/pipecat-docs/agenthuman.mdx")


def test_pipecat_s_page_names_what_there_is() -> None:
    fields = re.findall(r'<ParamField path="(\w+)" type="[^"]+" default="([^"]+)">', MDX)
    for name, told in fields:
        assert str(OPTIONS[name]) == told, name
    known = {field.name for field in dataclasses.fields(SETTINGS)} - {"model", "extra"}
    assert {names(row[0])[0] for row in table(MDX, "Parameter")} == known
    assert {names(row[0])[0] for row in table(MDX, "Event")} == set(announcer.EVENTS)


def test_pipecat_s_page_has_what_their_listing_needs() -> None:
    _, head, body = MDX.split("---\n", 2)
    assert [line.partition(":")[0] for line in head.splitlines()] == [
        "title",
        "sidebarTitle",
        "description",
    ]
    sections = ["Overview", "Installation", "Prerequisites", "Configuration", "Usage"]
    assert re.findall(r"^## (.+)$", body, re.M)[:5] == sections
    assert 'import { CommunityMaintained } from "/snippets/community-maintained.mdx";' in body
    tested = re.search(r"^Tested with Pipecat (v[\d.]*\d)", read("README.md"), re.M)
    assert tested is not None
    assert f"Tested with Pipecat {tested[1]} " in body
    for block in blocks(body):
        if block.language == "python":
            compile(block.text, "agenthuman.mdx", "exec", flags=ast.PyCF_ONLY_AST)
    home = tomllib.loads(read("pyproject.toml"))["project"]["urls"]["Repository"]
    owner = home.rpartition("/")[0]
    assert f'maintainer="{owner.rpartition("/")[2]}"' in body
    assert f'maintainerUrl="{owner}"' in body
    assert f'repo="{home}"' in body
