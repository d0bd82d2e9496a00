"""What is seen and heard of an avatar in the room: in time, cut at once, after a reload too."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.browser import Visit, visiting
from tests.support.page_sound import (
    ALIKE,
    Recording,
    Truth,
    heard_in,
    lag_secs,
    mouth_lag_secs,
    record,
    recorded,
    speech,
)
from tests.support.sandbox_client import INTERRUPT, ask, connect, create, init, speak
from tests.support.sounds import RATE

if TYPE_CHECKING:
    from playwright.async_api import Browser
    from websockets.asyncio.client import ClientConnection

pytestmark = pytest.mark.asyncio(loop_scope="session")

IN_TIME_SECS = 0.04
CUT_SECS = 0.1
SENTENCE = "Many people make the mouth move. Please, be my guest."
LONG_SENTENCE = "This goes on for much too long, and so somebody is going to interrupt it soon."


@asynccontextmanager
async def bot(
    sandbox: Sandbox, **wish: Any
) -> AsyncIterator[tuple[ClientConnection, dict[str, Any]]]:
    """A session with its socket."""
    session = await create(sandbox, **wish)
    async with connect(sandbox) as socket:
        await ask(socket, init(session))
        yield socket, session


async def say(socket: ClientConnection, audio: NDArray[np.int16]) -> None:
    """Send speech in messages of 0.3 s, ahead of what sounds: it must not stutter here."""
    for start in range(0, len(audio), 4800):
        await ask(socket, speak(audio[start : start + 4800]))


async def speaks(visit: Visit) -> None:
    """Wait until the stage says that the avatar speaks."""
    await visit.until("document.getElementById('status').textContent === 'Speaking'")


async def test_the_mouth_and_the_sound_are_in_time(browser: Browser) -> None:
    async with (
        Sandbox() as sandbox,
        visiting(browser, sandbox, picture_ms=20) as visit,
        bot(sandbox) as (it, _),
    ):
        await record(visit)
        await say(it, speech(SENTENCE))
        await sandbox.wait_until_quiet()
        recording = await recorded(visit)

    (truth,) = heard_in(sandbox)
    late_secs, likeness = lag_secs(recording, truth)
    assert abs(late_secs) < IN_TIME_SECS
    assert likeness > ALIKE
    mouth_late_secs, correlation = mouth_lag_secs(recording, truth)
    assert abs(mouth_late_secs) <= IN_TIME_SECS
    assert correlation >= 0.6
    drawn = recording.drawn
    assert drawn[:, 1].max() > 0.5, "the mouth opens"
    assert drawn[drawn[:, 1] < 0.1][:, 2].max() > 0.8, "the lips close on m, b, p"


async def test_an_interrupt_is_silence_and_a_closed_mouth(browser: Browser) -> None:
    silent_after: list[float] = []
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit, bot(sandbox) as (it, _):
        await record(visit)
        audio, number = speech(LONG_SENTENCE), 0
        # How long it takes is up to the machine, too: one time out of three is proof enough.
        while len(silent_after) < 3 and min(silent_after, default=1) >= CUT_SECS:
            for start in range(0, len(audio), 16_000):  # seconds ahead of what sounds
                await ask(it, speak(audio[start : start + 16_000]))
            await sandbox.wait_until_heard(sandbox.heard().duration_secs + 1.0)
            await ask(it, INTERRUPT)
            cut = await sandbox.wait_for("speech.cut", after=number)
            number = cut["number"]
            await visit.until("document.getElementById('status').textContent === 'Idle'")
            await visit.until(
                "document.querySelector('#utterances li:first-child [data-state=interrupted]')"
            )
            recording = await recorded(visit)
            at = cut["at_secs"]
            assert np.abs(recording.between(at - 0.5, at)).max() > 0.05, "it was speaking"
            silent_after.append(recording.sounds_until(at))
            after = recording.drawn[recording.drawn[:, 0] > at + silent_after[-1] + 0.05]
            assert len(after) > 1
            assert after[:, 1].max() == 0
        assert "interrupted" in await visit.page.inner_text("#utterances .summary >> nth=0")
    assert min(silent_after) < CUT_SECS


async def heard_from_here(visit: Visit) -> tuple[Recording, Truth]:
    """Record a page for the rest of an utterance, and compare with what was heard from now on."""
    await record(visit)
    begins_at = 0.3 + await visit.look("agentHumanRoom.clock.at(performance.now() / 1000)")
    await visit.sandbox.wait_until_quiet()
    recording = await recorded(visit)
    (truth,) = heard_in(visit.sandbox)
    assert truth.ends_at - begins_at > 1, "it went on speaking for a while"
    return recording, truth.since(begins_at)


async def test_a_reload_in_mid_sentence_goes_on_in_time(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit, bot(sandbox) as (it, _):
        for _ in range(2):
            await ask(it, speak(speech(LONG_SENTENCE)))
        await speaks(visit)
        await visit.page.reload()
        await visit.until("globalThis.agentHumanRoom?.room.hello")
        await speaks(visit)
        recording, rest = await heard_from_here(visit)

    late_secs, likeness = lag_secs(recording, rest)
    assert abs(late_secs) < IN_TIME_SECS
    assert likeness > ALIKE
    assert mouth_lag_secs(recording, rest)[1] >= 0.6


async def test_of_two_sessions_the_one_on_the_stage_is_heard(browser: Browser) -> None:
    async with (
        Sandbox(max_sessions=2) as sandbox,
        visiting(browser, sandbox) as visit,
        bot(sandbox, avatar="avat_first") as (first, first_session),
        bot(sandbox, avatar="avat_second") as (second, second_session),
    ):
        await visit.until("document.querySelectorAll('#sessions button').length === 2")
        await record(visit)
        await asyncio.gather(
            say(first, speech("I am the first of the two, and nobody hears me.")),
            say(second, speech(SENTENCE)),
            visit.until("document.querySelectorAll('#sessions .sounds').length === 2"),
        )
        await sandbox.wait_until_quiet()
        recording = await recorded(visit)
        # The newest took the stage, until somebody chooses.
        (shown,) = heard_in(sandbox, second_session["session_id"])
        (hidden,) = heard_in(sandbox, first_session["session_id"])
        assert lag_secs(recording, shown)[1] > ALIKE
        assert lag_secs(recording, hidden)[1] < 0.5

        await visit.page.click("#sessions button[aria-pressed='false']")
        assert await visit.text("who-avatar") == "avat_first"
        await say(first, speech("Now I am heard."))
        await sandbox.wait_until_quiet()
        recording = await recorded(visit)
        assert lag_secs(recording, heard_in(sandbox, first_session["session_id"])[-1])[1] > ALIKE


async def test_an_avatar_that_leaves_is_neither_seen_nor_heard(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit, bot(sandbox) as (it, _):
        await record(visit)
        await ask(it, speak(speech(LONG_SENTENCE)))
        await speaks(visit)
        await sandbox.remove_avatar()
        left = await sandbox.wait_for("avatar.left")
        await visit.until("document.getElementById('status').textContent === 'Not in the room'")
        absent_at = await visit.look("agentHumanRoom.clock.at(performance.now() / 1000)")
        await asyncio.sleep(0.8)
        await sandbox.return_avatar()
        back = await sandbox.wait_for(
            lambda entry: entry["what"] == "avatar.joined", after=left["number"]
        )
        await speaks(visit)
        await sandbox.wait_until_quiet()
        recording = await recorded(visit)

    absent = recording.between(absent_at + CUT_SECS, back["at_secs"])
    assert len(absent) > 0.5 * RATE
    assert np.abs(absent).max() < 1e-3
    last = heard_in(sandbox)[-1]
    assert last.starts_at == pytest.approx(back["at_secs"], abs=0.05)
    late_secs, likeness = lag_secs(recording, last)
    assert abs(late_secs) < IN_TIME_SECS, "it goes on at the right place"
    assert likeness > ALIKE


async def test_a_session_that_ends_or_is_renewed_is_shown_as_such(browser: Browser) -> None:
    async with (
        Sandbox(max_sessions=2, session_secs=1.5) as sandbox,
        visiting(browser, sandbox) as visit,
    ):
        async with bot(sandbox, aspect_ratio="3:4") as (_, first):
            await visit.until("document.getElementById('screen').dataset.ratio === '3:4'")
            await visit.until(  # once it is laid out
                "(({width, height}) => Math.abs(width / height - 3 / 4) < 0.01)"
                "(document.getElementById('portrait'))"
            )
            await visit.until("document.getElementById('status').textContent === 'Expired'")
        async with bot(sandbox, aspect_ratio="1:1") as (_, second):
            await visit.until("document.getElementById('screen').dataset.ratio === '1:1'")
            await visit.page.click("#sessions button.ended")
            await visit.until("document.getElementById('status').textContent === 'Renewed'")
            told = await visit.text("status-sentence")
        assert second["session_id"][-6:] in told
        assert await visit.text("who-session") == f"…{first['session_id'][-6:]}"


async def test_sound_catches_up_with_a_clock_that_stood_still(browser: Browser) -> None:
    async with Sandbox() as sandbox, visiting(browser, sandbox) as visit, bot(sandbox) as (it, _):
        await visit.turn_sound_on()
        for _ in range(2):
            await ask(it, speak(speech(LONG_SENTENCE)))
        await speaks(visit)
        # As on a machine that is too busy to render: the context's time stands still.
        await visit.look(
            "(async () => { const { context } = agentHumanRoom.player; await context.suspend();"
            " await new Promise((done) => setTimeout(done, 200)); await context.resume(); })()"
        )
        await visit.until("agentHumanRoom.player.resyncs > 0")
        recording, rest = await heard_from_here(visit)

    late_secs, likeness = lag_secs(recording, rest)
    assert abs(late_secs) < IN_TIME_SECS
    assert likeness > ALIKE
