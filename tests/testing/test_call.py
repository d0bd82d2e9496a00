"""A whole bot in a call on this machine, as somebody who uses the package tests theirs."""

from __future__ import annotations

import re
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from pipecat_agenthuman import AgentHumanError
from pipecat_agenthuman.demo.espeak import _engine
from pipecat_agenthuman.sandbox import Sandbox
from pipecat_agenthuman.testing import Call, ScriptedLLM
from tests.support.conversation import (
    LONG_ANSWER,
    _persons_speech,
    bot_speech,
    keep_tokenizer_offline,
)
from tests.support.sounds import RATE
from tests.testing.bots import run_bot

GREETING = "Hello, I am here."
ANSWER = "With flour and water."
QUESTION = "How do I bake bread?"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, agenthuman_env: dict[str, str]) -> None:
    keep_tokenizer_offline(monkeypatch)


async def test_a_bot_greets_answers_and_ends(agenthuman_call: Call) -> None:
    llm, seen = ScriptedLLM(GREETING, ANSWER), list[str]()
    async with agenthuman_call as call:
        bot = call.start(run_bot(call.transport, call.room, call.stt, llm, seen=seen))
        ada = await call.join("Ada")
        await call.until(lambda: llm.conversation[-1:] == [("assistant", GREETING)])
        await ada.say(QUESTION)
        await call.until(lambda: llm.conversation[-1:] == [("assistant", ANSWER)])
        assert llm.conversation[-2] == ("user", QUESTION)
        said_secs = sum(bot_speech(text).duration_secs for text in (GREETING, ANSWER))
        heard = await call.until_heard(said_secs - 0.05)
        assert heard.duration_secs == pytest.approx(said_secs, abs=0.1)
        await ada.leave()
        await call.ended(bot)
    assert "on_avatar_connected" in seen
    seen.remove("on_avatar_connected")
    assert seen == ["on_first_participant_joined", "Ada came", "Ada went"]
    assert not call.transport.played.strip(b"\0")


async def test_an_interruption_leaves_what_was_heard_in_the_memory(agenthuman_call: Call) -> None:
    """With nothing set: sandbox and service agree about the latency."""
    llm = ScriptedLLM(LONG_ANSWER, ANSWER)
    async with agenthuman_call as call:
        bot = call.start(run_bot(call.transport, call.room, call.stt, llm))
        ada = await call.join()
        await ada.interrupt("Wait a moment please.", after_secs=1.0)
        await call.sandbox.wait_until_quiet()
        heard_secs = call.heard_secs
        await call.until(lambda: llm.conversation[-1:] == [("assistant", ANSWER)])
        cut = llm.conversation[0][1]
        await ada.leave()
        await call.ended(bot)
    assert LONG_ANSWER.startswith(cut)
    begun = [word for word in bot_speech(LONG_ANSWER).words if word.start_secs < heard_secs]
    # The cut falls into a word; the voice is the one that was heard, to a word at its edge.
    assert abs(len(cut.split()) - len(begun)) <= 2


async def test_what_is_said_may_be_a_recording(agenthuman_call: Call, tmp_path: Path) -> None:
    speech = np.frombuffer(_persons_speech(QUESTION), np.int16)
    path = tmp_path / "question.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(RATE)
        silence = np.zeros(RATE // 2, np.int16)
        file.writeframes(np.repeat(np.concatenate([silence, speech, silence]), 2).tobytes())
    llm = ScriptedLLM(GREETING, ANSWER)
    async with agenthuman_call as call:
        call.start(run_bot(call.transport, call.room, call.stt, llm))
        ada = await call.join()
        await call.until(lambda: llm.conversation[-1:] == [("assistant", GREETING)])
        await ada.say(QUESTION, audio=path)
        await call.until(lambda: ("user", QUESTION) in llm.conversation)
    heard = np.frombuffer(bytes(call.stt.heard), np.int16)
    assert np.abs(heard).max() > 1000


async def test_the_voice_goes_on_where_a_test_can_hear_it(agenthuman_call: Call) -> None:
    llm = ScriptedLLM(LONG_ANSWER)
    async with agenthuman_call as call:
        call.start(run_bot(call.transport, call.room, call.stt, llm))
        await call.join()
        await call.until_heard(0.5)
        await call.sandbox.drop()
        await call.until(lambda: call.transport.played.strip(b"\0"))


async def test_people_come_and_go(agenthuman_call: Call) -> None:
    llm, seen = ScriptedLLM(), list[str]()
    async with agenthuman_call as call:
        bot = call.start(run_bot(call.transport, call.room, call.stt, llm, seen=seen))
        ada, bob = await call.join("Ada"), await call.join("Bob")
        assert len(call.transport.persons()) == 2
        await ada.leave()
        await ada.leave()  # nothing more happens
        assert call.transport.get_client_id({"id": bob.participant_id}) in call.transport.persons()
        await bob.leave()
        await call.ended(bot)
    assert [line for line in seen if not line.startswith("on_")] == [
        "Ada came",
        "Bob came",
        "Ada went",
        "Bob went",
    ]


@pytest.mark.agenthuman_sandbox(max_sessions=2)
async def test_two_calls_of_a_sandbox_know_their_own_avatars(agenthuman_sandbox: Sandbox) -> None:
    first, second = list[str](), list[str]()
    async with Call(agenthuman_sandbox) as one, Call(agenthuman_sandbox) as two:
        one.start(run_bot(one.transport, one.room, one.stt, ScriptedLLM(), seen=first))
        await one.join()
        await one.until(lambda: "on_avatar_connected" in first)
        two.start(run_bot(two.transport, two.room, two.stt, ScriptedLLM(), seen=second))
        await two.join()
        await two.until(lambda: "on_avatar_connected" in second)
        assert first.count("on_avatar_connected") == 1


# --- what goes wrong in a test ------------------------------------------------------------


async def test_a_bot_that_fails_says_why(agenthuman_call: Call) -> None:
    async def broken() -> None:
        raise ZeroDivisionError("in the bot")

    async with agenthuman_call as call:
        bot = call.start(broken())
        with pytest.raises(ZeroDivisionError, match="in the bot"):
            await call.join()
        assert bot.done()
        with pytest.raises(ZeroDivisionError, match="in the bot"):
            await call.until(lambda: False)


async def test_a_wait_in_vain_has_a_limit(agenthuman_call: Call) -> None:
    async with agenthuman_call as call:
        with pytest.raises(TimeoutError):
            await call.until(lambda: False, timeout_secs=0.05)


async def test_a_recording_that_is_none_is_said(agenthuman_call: Call, tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("words")
    with wave.open(str(tmp_path / "silent.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(bytes(RATE))
    async with agenthuman_call as call:
        call.start(run_bot(call.transport, call.room, call.stt, ScriptedLLM()))
        ada = await call.join()
        for name, words in (("text", "no WAV file"), ("silent", "no speech in")):
            with pytest.raises(ValueError, match=words):
                await ada.say(audio=tmp_path / f"{name}.wav")
        with pytest.raises(OSError, match=re.escape("none.wav")):
            await ada.say(audio=tmp_path / "none.wav")
        with pytest.raises(ValueError, match="Give words"):
            await ada.say()


async def test_without_the_extra_a_recording_is_asked_for(
    agenthuman_call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with agenthuman_call as call:
        call.start(run_bot(call.transport, call.room, call.stt, ScriptedLLM()))
        ada = await call.join()
        monkeypatch.setitem(sys.modules, "espeakng_loader", None)
        _engine.cache_clear()
        with pytest.raises(AgentHumanError, match=r"audio=, a WAV file"):
            await ada.say("Words that were never said before.")
