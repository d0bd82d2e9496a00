"""Calls in which it matters who is who in the Daily room: two avatars, a bot that is put out."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pipecat.frames.frames import EndFrame

from pipecat_agenthuman.identity import AVATAR_USER_NAME, fresh_avatar_id
from tests.calls.test_conversation import GREETING, LAST_ANSWER, TalkingBot, at_secs
from tests.support.conversation import Conversation, bot_speech, loud
from tests.support.daily_rest import holder_of
from tests.support.inside import is_ending
from tests.support.waiting import LIMIT_SECS

ANSWER = (
    "First we take a bowl and flour and water and yeast and salt and then we mix it all by hand "
    "until the dough is smooth and soft and warm and then we let it rest for an hour."
)


def anothers_avatar(call: Conversation) -> Any:
    return call.room.join(AVATAR_USER_NAME, user_id=fresh_avatar_id())


def said_by_transport(call: Conversation) -> int:
    """Samples that the bots' own microphones played."""
    return sum(
        len(loud(client.participant.published_audio))
        for client in call.room.clients
        if client.participant
    )


# --- two avatars in one room ----------------------------------------------------------------


async def test_the_first_words_wait_for_the_bots_own_avatar_and_not_for_anothers(monkeypatch):
    async with Conversation(monkeypatch, join_delay_secs=0.7) as call:
        anothers_avatar(call)
        ada = call.person("Ada")
        bot = TalkingBot(call, GREETING)
        running = call.start(bot)
        await bot.has_said(GREETING)
        assert at_secs(call, "avatar.joined") < at_secs(call, "agent.speak")
        assert bot.events.count("on_avatar_connected") == 1
        ada.leave()
        await asyncio.wait_for(running, LIMIT_SECS)


async def test_a_lost_avatar_is_missed_although_anothers_is_there(monkeypatch):
    async with Conversation(monkeypatch) as call:
        anothers_avatar(call)
        call.person("Ada")
        bot = TalkingBot(call, GREETING)
        call.start(bot)
        await bot.has_said(GREETING)
        call.avatars[0].participant.leave()
        await call.until(lambda: "on_avatar_disconnected" in bot.events)
        await bot.say(LAST_ANSWER)
        await call.until(lambda: said_by_transport(call))


async def test_a_renewed_session_joins_under_the_same_identity(monkeypatch):
    async with Conversation(monkeypatch) as call:
        ada = call.person("Ada")
        bot = TalkingBot(call, GREETING)
        running = call.start(bot)
        await bot.has_said(GREETING)
        await call.sandbox.drop()
        await call.until(lambda: bot.events.count("on_avatar_ready") == 2)
        first, second = call.avatars
        assert first.participant.user_id == second.participant.user_id
        (user_id,) = {holder_of(one.room_token)["user_id"] for one in call.sandbox.sessions}
        assert user_id == first.participant.user_id
        ada.leave()
        await call.until_ended(running)


# --- the end --------------------------------------------------------------------------------


async def test_an_avatar_that_leaves_while_the_call_ends_is_not_replaced(monkeypatch):
    """The last person has left, so the avatar's service ends the session by itself."""
    async with Conversation(monkeypatch) as call:
        call.person("Ada")
        bot = TalkingBot(call, ANSWER)
        running = call.start(bot)
        await call.until(lambda: call.heard_secs > 0.5)
        await bot.worker.queue_frame(EndFrame())
        await call.until(lambda: is_ending(bot.service))
        call.avatars[0].participant.leave()
        await asyncio.wait_for(running, LIMIT_SECS)
        assert len(call.sandbox.sessions) == 1
        assert not call.complaints
        # The rest of it was said all the same.
        heard_secs = bot.service.stats.heard_secs + bot.service.stats.fallback_secs
        assert heard_secs > bot_speech(ANSWER).duration_secs - 0.5


# --- a bot that is not in the room ------------------------------------------------------------


async def test_a_bot_outside_of_the_room_begins_no_session_and_holds_nothing_back(monkeypatch):
    async with Conversation(monkeypatch) as call:
        call.room.refusal = "the room is full"
        bot = TalkingBot(call, session_start="client_connected")
        running = call.start(bot)
        await asyncio.wait_for(bot.started.wait(), LIMIT_SECS)
        await call.until(lambda: any("bot is not in the room" in line for line in call.complaints))
        await bot.say(GREETING)
        await call.until(lambda: bot.service.stats.fallback_secs > 0)
        await bot.worker.queue_frame(EndFrame())
        await asyncio.wait_for(running, LIMIT_SECS)
        assert not call.sandbox.sessions


@pytest.mark.parametrize("when", ["spoken", "being made", "not let in"])
async def test_a_bot_outside_of_the_room_ends_its_avatars_session(monkeypatch, when):
    async with Conversation(monkeypatch, render_latency_secs=0.1) as call:
        call.person("Ada")
        errors: list[str] = []
        bot = TalkingBot(call, GREETING)
        if when == "not let in":
            call.room.refusal = "the room is full"
        call.start(bot)
        await asyncio.wait_for(bot.started.wait(), LIMIT_SECS)

        @bot.service.event_handler("on_avatar_error")
        async def on_avatar_error(service: Any, error: str, code: str) -> None:
            errors.append(code)

        match when:
            case "spoken":
                await bot.has_said(GREETING)
                call.room.eject(call.room.clients[0])
            case "being made":
                call.room.eject(call.room.clients[0])
        await call.until(lambda: any("bot is not in the room" in line for line in call.complaints))
        await call.sandbox.wait_until_ended()
        await call.until(
            lambda: not [one for one in call.avatars if one.participant in call.room.participants]
        )
        (told,) = [line for line in call.complaints if "bot is not in the room" in line]
        assert "conversation is over" in told
        assert "token or the room has expired" in told
        await call.until(lambda: bool(errors))  # Handlers are called in tasks of their own.
        assert errors == ["bot_removed"]
        if when == "spoken":
            await call.until(lambda: bot.events[-1:] == ["on_disconnected"])
        # Nothing brings up another one.
        await bot.say(LAST_ANSWER)
        await call.sandbox.wait_until_ended()
        assert len(call.sandbox.sessions) <= 1
