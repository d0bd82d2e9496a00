"""Pipecat's web clients in a call with an avatar: who is heard when, and who hangs up.

A real call of the service is written down, and pages with the real packages live through it in
Chromium. What they let a person hear is measured at the elements that play, and held against the
table in ``docs/guides/web-client.md``.
"""

from __future__ import annotations

from typing import Final

import pytest
import pytest_asyncio

from pipecat_agenthuman.daily import WhenPublished
from tests.support.markdown import blocks, read, table
from tests.support.room_script import RoomEvent
from tests.support.web_build import WEB
from tests.web.calls import whole_call
from tests.web.pages import Moment, built_page, in_a_call, on_the_runners_page

pytestmark = pytest.mark.asyncio(loop_scope="session")

GUIDE: Final = "docs/guides/web-client.md"

MOMENTS: Final = {
    "the avatar speaks": Moment("avatar 1"),
    "it is lost in mid sentence: the bot speaks on": Moment("bot"),
    "the next avatar speaks": Moment("avatar 2"),
    "another avatar has taken its place, and speaks": Moment("avatar 3"),
    "that one is lost in silence: the bot speaks": Moment("bot", 2),
    "an avatar comes meanwhile: the bot speaks on": Moment("bot", 2, "avatar 4 comes"),
    "that avatar speaks": Moment("avatar 4"),
}
"""The moments of the call, as the table names them."""

LATE: Final = {
    "the person joins last, and the avatar's track starts after the bot's": "avatar",
    "the person joins last, and the bot's track starts after the avatar's": "bot",
}
"""As the table names them, and whose track starts last."""

COLUMNS: Final[dict[tuple[str, WhenPublished], int]] = {
    ("plain", "always"): 1,
    ("react", "always"): 1,
    ("plain", "in_turn"): 2,
    ("react", "in_turn"): 2,
    ("voices", "always"): 3,
    ("react-voices", "in_turn"): 3,
}
"""The table's columns by client and by the bot's microphone."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def calls() -> dict[WhenPublished, list[RoomEvent]]:
    """What happened in the room, by when the bot's microphone was published."""
    built_page()  # or skip, before anything takes its time
    recorded: dict[WhenPublished, list[RoomEvent]] = {}
    for microphone in ("always", "in_turn"):
        with pytest.MonkeyPatch.context() as monkeypatch:
            recorded[microphone] = await whole_call(monkeypatch, microphone)
    return recorded


def documented(column: int) -> dict[str, bool]:
    """What the table says of a column: whether who speaks is heard, by moment."""
    return {row[0]: "not" not in row[column] for row in table(read(GUIDE), "what happens")}


@pytest.mark.parametrize(("client", "published"), COLUMNS)
async def test_who_is_heard_is_what_the_table_says(browser, calls, client, published):
    async with in_a_call(browser, client) as call:
        heard = await call.live_through(calls[published])
        assert await call.is_connected()
    # Whoever speaks, or nobody: never two at a time, and never somebody twice.
    assert all(voices in ([moment.speaker], []) for moment, voices in heard.items())
    table_says = documented(COLUMNS[client, published])
    assert {what: bool(heard[moment]) for what, moment in MOMENTS.items()} == {
        what: table_says[what] for what in MOMENTS
    }


@pytest.mark.parametrize("what", LATE)
@pytest.mark.parametrize(
    ("client", "published"), [("plain", "always"), ("plain", "in_turn"), ("voices", "always")]
)
async def test_who_joins_a_call_under_way_hears_what_the_table_says(
    browser, calls, client, published, what
):
    events = calls[published]
    at = next(number for number, event in enumerate(events) if event.what == "speaks")
    people = [event for event in events[:at] if event.who.startswith("person")]
    others = [event for event in events[:at] if event not in people]
    last = f"(people) => people.toSorted((a) => (a.session_id.startsWith('{LATE[what]}') ? 1 : -1))"
    async with in_a_call(browser, client) as call:
        await call.look(f"dailyRoom.arrivals = {last}, null")
        (heard,) = (await call.live_through([*others, *people, events[at]])).values()
    assert heard == (["avatar 1"] if documented(COLUMNS[client, published])[what] else [])


async def test_a_client_hangs_up_when_the_avatar_leaves_unless_it_is_told_not_to(browser, calls):
    async with in_a_call(browser, "plain", stays=False) as call:
        await call.live_through(_until_the_first_loss(calls["always"]))
        await call.until("page.happened.includes('Disconnected')")
        assert not await call.is_connected()


async def test_the_runners_page_hangs_up_when_the_avatar_leaves(browser, calls):
    async with on_the_runners_page(browser) as call:
        heard = await call.live_through(_until_the_first_loss(calls["always"]))
        assert heard == {Moment("avatar 1"): ["avatar 1"]}
        await call.until("dailyRoom.calls.length === 0")


def _until_the_first_loss(events: list[RoomEvent]) -> list[RoomEvent]:
    at = next(number for number, event in enumerate(events) if event.what == "leaves")
    # The page of the runner has no room before the person joins it.
    people = [event for event in events if event.who.startswith("person")]
    return [*people, *(event for event in events[: at + 1] if event not in people)]


async def test_a_client_that_is_alone_with_the_bot_is_ready_before_it_speaks(browser, calls):
    """A bot that waits for the client, which waits for a voice, would wait for ever."""
    events = calls["in_turn"]
    at = next(number for number, event in enumerate(events) if event.who == "avatar 1")
    async with in_a_call(browser, "plain") as call:
        await call.live_through(events[:at])
        await call.until("dailyRoom.sent.length")
        assert await call.is_ready()


async def test_voices_that_the_browser_forbids_are_heard_after_a_click(browser, calls):
    forbid = """
    const play = HTMLMediaElement.prototype.play;
    let isAllowed = false;
    addEventListener("click", () => (isAllowed = true), { capture: true });
    HTMLMediaElement.prototype.play = function () {
      return isAllowed ? play.call(this) : Promise.reject();
    };
    """
    events = calls["always"]
    at = next(number for number, event in enumerate(events) if event.what == "speaks")
    async with in_a_call(browser, "voices", init=forbid) as call:
        assert list((await call.live_through(events[: at + 1])).values()) == [[]]
        await call.page.mouse.click(5, 5)
        assert await call.heard() == ["avatar 1"]
        await call.look("page.end()")
        assert await call.heard() == []


async def test_the_guide_shows_the_component_that_is_tested():
    component = (WEB / "src/Voices.tsx").read_text(encoding="utf-8")
    assert component.strip() in [block.text.strip() for block in blocks(read(GUIDE))]
