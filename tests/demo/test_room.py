"""The bot in the demo's room, talked to as the page does: typed, spoken, interrupted."""

from __future__ import annotations

import numpy as np
import pytest

from pipecat_agenthuman.demo.dialogue import GREETING, NO_WORDS, answer
from pipecat_agenthuman.demo.espeak import EspeakSynthesizer
from pipecat_agenthuman.demo.options import (
    ModelChoice,
    Recogniser,
    RecogniserChoice,
)
from pipecat_agenthuman.demo.room import RoomOptions
from pipecat_agenthuman.sandbox import Fault
from tests.support.openai_chat import MODEL, OpenAiApi
from tests.support.room_guest import LONG, OWN_VOICE, inhabited, voice

REFUSED = Fault(on="create", kind="refuse", status=500, times=None)
KEY = "sk-not-a-real-key"


# --- typed --------------------------------------------------------------------------------


async def test_a_typed_sentence_is_said_and_remembered_as_it_is_heard() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.type("One two three.")
        await guest.until_remembered_all("assistant", "One two three.")
        told = [message["messages"][-1]["text"] for message in guest.page.all("memory")]
        assert set(told) <= {"One", "One two", "One two three."}
        assert len(told) > 2
        await guest.page.until(lambda: [line["is_final"] for line in guest.lines] == [True, True])
        assert [(line["who"], line["how"], line["text"]) for line in guest.lines] == [
            ("user", "typed", "One two three."),
            ("bot", "said", "One two three."),
        ]
        assert room.sandbox.heard().duration_secs > 0.5
        assert guest.logged("agent.interrupt") == []  # there was nobody to interrupt


@pytest.mark.parametrize("text", ["What can you do?", "Hello."])
async def test_the_script_answers_in_the_place_of_a_model(text: str) -> None:
    async with inhabited() as room:
        await room.guest.type(text)
        await room.guest.until_remembered("assistant", answer([text]).split()[0])


async def test_the_activity_tells_whose_turn_it_is() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.type("One.")
        await guest.page.until(lambda: guest.activity["bot_is_speaking"])
        await guest.until_quiet()
        seen = [message["activity"] for message in guest.page.all("activity")]
        assert any(each["bot_is_thinking"] for each in seen)
        assert guest.activity["bot_is_thinking"] is False


async def test_the_button_interrupts_and_the_memory_ends_with_what_was_heard() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.type(LONG)
        await guest.until_remembered("assistant", "This goes")
        await guest.interrupt()
        await guest.page.until(lambda: guest.page.all("cut"))
        await guest.until_quiet()
        heard = await room.sandbox.wait_until_quiet()
        assert heard.duration_secs < 2.5
        assert LONG.startswith(guest.memory[-1].removeprefix("assistant: "))
        assert len(guest.memory[-1].split()) < 8


async def test_what_is_typed_into_an_answer_interrupts_it_and_stands_behind_it() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.type(LONG)
        await guest.until_remembered("assistant", "This goes")
        await guest.type("Stop!")
        await guest.until_remembered("assistant", "Of course")
        assert guest.logged("agent.interrupt")
        roles = [text.partition(":")[0] for text in guest.memory]
        assert roles == ["user", "assistant", "user", "assistant"]
        assert guest.memory[2] == "user: Stop!"


# --- spoken -------------------------------------------------------------------------------


async def test_a_voice_interrupts_and_is_answered_when_it_has_finished() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.turn_microphone_on()
        await guest.type(LONG)  # into the greeting
        await guest.until_remembered("assistant", "This goes")
        cuts = len(guest.page.all("cut"))
        await guest.speak(voice("Can you hear me talking to you now?"))
        await guest.until_remembered("assistant", "I heard you")
        assert len(guest.page.all("cut")) == cuts + 1
        assert NO_WORDS in guest.memory[-2]
        assert LONG.startswith(guest.memory[-3].removeprefix("assistant: "))
        shown = [message["activity"] for message in guest.page.all("activity")]
        assert any(activity["user_is_speaking"] for activity in shown)
        (spoken,) = [line for line in guest.lines if line["how"] == "spoken"]
        assert spoken["is_final"]
        assert f"user: {spoken['text']}" == guest.memory[-2]


async def test_silence_in_the_microphone_is_nobody_s_turn() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.turn_microphone_on()
        await guest.speak(np.zeros(16_000, np.int16))
        await guest.until_remembered_all("assistant", GREETING)
        assert guest.page.all("cut") == []
        assert [line["how"] for line in guest.lines] == ["said"]


# --- a real conversation --------------------------------------------------------------------


async def test_a_model_answers_what_is_typed_and_what_is_recognised() -> None:
    async with OpenAiApi("Hello from a model.", "Good morning to you.") as api:
        options = RoomOptions(
            model=ModelChoice(MODEL, api.url, KEY),
            recogniser=RecogniserChoice(Recogniser.OPENAI, None, api.url, KEY),
        )
        async with inhabited(options) as room:
            guest = room.guest
            assert guest.talk["title"] == MODEL
            assert guest.talk["suggestions"] == []
            await guest.type("Good evening.")
            await guest.until_remembered_all("assistant", "Hello from a model.")
            await guest.turn_microphone_on()
            await guest.speak(voice("Good morning to you."))
            await guest.page.until(lambda: "user: Good morning to you." in guest.memory)
            await guest.until_remembered_all("assistant", "Hello from a model.")
        assert api.keys == {f"Bearer {KEY}"}
        assert api.chats[0][-1]["content"] == "Good evening."
        assert len(api.recordings) == 1
        assert KEY not in str(guest.page.messages)


async def test_a_refused_key_is_told_on_the_page_without_the_key() -> None:
    async with OpenAiApi("Nothing.") as api:
        api.refuses = True
        options = RoomOptions(model=ModelChoice(MODEL, api.url, KEY))
        async with inhabited(options) as room:
            guest = room.guest
            await guest.type("Good evening.")
            notice = await guest.page.message("notice")
            assert notice["level"] == "error"
            await guest.page.until(lambda: not guest.activity["bot_is_thinking"])
        assert KEY not in str(guest.page.messages)


# --- without an avatar ----------------------------------------------------------------------


async def test_while_there_is_no_avatar_the_bot_goes_on_with_its_own_voice() -> None:
    sentence = "This sentence is heard to its very end, come what may."
    async with inhabited() as room:
        guest = room.guest
        await guest.type(sentence)
        await guest.until_remembered("assistant", "This sentence")
        room.sandbox.inject(REFUSED)
        await room.sandbox.drop()
        await guest.until_remembered_all("assistant", sentence)
        await guest.until_quiet()
        made = EspeakSynthesizer(words_per_minute=175).synthesize(sentence)
        made_secs = len(made.audio) / 2 / made.sample_rate
        assert guest.own_voice_secs > 0.5
        heard_secs = room.sandbox.heard().duration_secs + guest.own_voice_secs
        assert heard_secs == pytest.approx(made_secs, abs=0.1)
        assert [line["who"] for line in guest.lines] == ["user", "bot"]
        assert "transport speaks" in guest.page.all("notice")[0]["text"]


async def test_an_interruption_silences_the_bot_s_own_voice_at_once() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.type("One.")
        await guest.until_remembered_all("assistant", "One.")
        await guest.until_quiet()
        room.sandbox.inject(REFUSED)
        await room.sandbox.drop()
        await guest.type(LONG)
        await guest.until_remembered("assistant", "This")
        await guest.interrupt()
        await guest.page.message("cut", lambda cut: cut["session_id"] == OWN_VOICE)
        await guest.until_quiet()
        assert guest.own_voice_secs < 3
        assert LONG.startswith(guest.memory[-1].removeprefix("assistant: "))


async def test_an_avatar_that_was_given_up_is_tried_again_when_somebody_talks() -> None:
    async with inhabited() as room:
        guest = room.guest
        await guest.type("One.")
        await guest.until_remembered_all("assistant", "One.")
        room.sandbox.inject(Fault(on="create", kind="refuse", status=403))
        await room.sandbox.drop()
        await guest.page.message("notice", lambda notice: "HTTP 403" in notice["text"])
        await guest.type("Two.")
        await guest.page.until(lambda: len(guest.logged("session.created")) == 2)
