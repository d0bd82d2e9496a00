"""Which language model and which speech recognition the command line and the variables mean."""

from __future__ import annotations

import pytest

from pipecat_agenthuman.demo.options import (
    OPENAI_URL,
    ModelChoice,
    Recogniser,
    RecogniserChoice,
    choose_model,
    choose_recogniser,
)
from pipecat_agenthuman.demo.services import describe

KEY = "sk-not-a-real-key"


def test_nothing_is_chosen_unless_it_is_named() -> None:
    everything = {"OPENAI_API_KEY": KEY, "DEEPGRAM_API_KEY": KEY, "OPENAI_BASE_URL": "https://x.y"}
    assert choose_model(None, everything) is None
    assert choose_recogniser(None, everything) is None


def test_a_model_is_at_openai_unless_a_url_says_otherwise() -> None:
    assert choose_model("m", {"OPENAI_API_KEY": KEY}) == ModelChoice("m", OPENAI_URL, KEY)
    elsewhere = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "https://models.example/v1/"}
    assert choose_model("m", elsewhere) == ModelChoice("m", "https://models.example/v1", KEY)


def test_a_model_on_this_machine_needs_no_key() -> None:
    choice = choose_model("m", {"OPENAI_BASE_URL": "http://localhost:11434/v1"})
    assert choice is not None
    assert choice.base_url == "http://localhost:11434/v1"
    assert choice.api_key  # the client wants one all the same


@pytest.mark.parametrize("key", ["", "  ", "sk-..."])
def test_a_missing_key_is_named(key: str) -> None:
    with pytest.raises(ValueError, match="--llm needs a key: set OPENAI_API_KEY"):
        choose_model("m", {"OPENAI_API_KEY": key})
    with pytest.raises(ValueError, match="--stt deepgram needs a key: set DEEPGRAM_API_KEY"):
        choose_recogniser("deepgram", {"DEEPGRAM_API_KEY": key})


def test_a_key_does_not_go_over_a_network_in_the_clear() -> None:
    with pytest.raises(ValueError, match=r"OPENAI_BASE_URL is http://models\.example"):
        choose_model("m", {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": "http://models.example/v1"})


def test_a_recogniser_may_have_a_model() -> None:
    whisper = Recogniser.WHISPER
    assert choose_recogniser("whisper", {}) == RecogniserChoice(whisper)
    assert choose_recogniser("whisper:base.en", {}) == RecogniserChoice(whisper, "base.en")
    deepgram = RecogniserChoice(Recogniser.DEEPGRAM, "nova-3", api_key=KEY)
    assert choose_recogniser("deepgram:nova-3", {"DEEPGRAM_API_KEY": KEY}) == deepgram
    openai = RecogniserChoice(Recogniser.OPENAI, None, OPENAI_URL, KEY)
    assert choose_recogniser("openai", {"OPENAI_API_KEY": KEY}) == openai


def test_an_unknown_recogniser_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="one of whisper, deepgram, openai, got 'siri'"):
        choose_recogniser("siri", {})


def test_what_is_shown_of_a_choice_holds_no_key() -> None:
    model = choose_model("clever", {"OPENAI_API_KEY": KEY})
    recogniser = choose_recogniser("deepgram", {"DEEPGRAM_API_KEY": KEY})
    title, introduction = describe(model, recogniser)
    assert title == "clever"
    assert "api.openai.com" in introduction
    assert "Deepgram" in introduction
    assert KEY not in f"{model!r}{recogniser!r}{title}{introduction}"
