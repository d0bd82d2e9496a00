"""The bot's own voice: what its program plays in the room without an avatar."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_agenthuman.sandbox import Sandbox
from tests.support.room_client import visit
from tests.support.sandbox_client import tone

PIECE = 640


async def test_pages_get_the_bots_own_voice_with_the_time_at_which_it_sounds() -> None:
    voice = tone(3 * PIECE)
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.message("hello")
        starts_at = sandbox.started_at + 7.5
        for first in range(0, len(voice), PIECE):
            at = starts_at + first / 16_000
            sandbox.talk.play(voice[first : first + PIECE].astype("<i2").tobytes(), at)
        await page.until(lambda: len(page.speech) == 3)
        assert page.heard_of("").tolist() == voice.tolist()
        assert [one.continues for one in page.speech] == [False, True, True]
        assert [one.number for one in page.speech] == [1, 2, 3]
        assert page.speech[0].starts_at_secs == pytest.approx(7.5)
        assert all(len(one.mouth) == 0 for one in page.speech)
        assert sandbox.heard().audio.tolist() == []  # the service never had it


async def test_it_falls_silent_in_its_place() -> None:
    piece = np.zeros(PIECE, "<i2").tobytes()
    async with Sandbox() as sandbox, visit(sandbox) as page:
        await page.message("hello")
        sandbox.talk.play(piece, sandbox.started_at + 5)
        sandbox.talk.fall_silent()
        sandbox.talk.play(piece, sandbox.started_at + 6)
        await page.until(lambda: len(page.speech) == 2)
        assert [kind for kind in page.order if kind in ("speech", "cut")] == [
            "speech",
            "cut",
            "speech",
        ]
        cut = await page.message("cut")
        assert cut["session_id"] == ""
        assert 0 < cut["at_secs"] < 5


async def test_what_nobody_can_hear_is_not_kept() -> None:
    sandbox = Sandbox()
    for _ in range(1000):
        sandbox.talk.play(bytes(2 * PIECE), 0.0)
    assert len(sandbox.talk.take_voice()) <= 100
