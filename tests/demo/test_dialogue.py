"""What the script answers, and what it only says."""

from __future__ import annotations

import pytest

from pipecat_agenthuman.demo.dialogue import (
    GREETING,
    INTRODUCTION,
    SUGGESTIONS,
    TOPICS,
    Topic,
    answer,
    wordless,
)

ANSWERS = {topic.answer for topic in TOPICS}


@pytest.mark.parametrize("suggestion", SUGGESTIONS)
def test_what_the_page_suggests_has_an_answer(suggestion: str) -> None:
    assert answer([suggestion]) in ANSWERS


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.cues[0])
def test_every_topic_can_be_reached(topic: Topic) -> None:
    assert answer([f"{topic.cues[0].title()}!"]) == topic.answer
    assert all(answer([f"{cue}?"]) in ANSWERS for cue in topic.cues)


@pytest.mark.parametrize(
    "sentence",
    [
        "The quick brown fox jumps over the lazy dog.",
        "Thank you for calling, somebody will be with you in a minute.",
        "Grüß Gott!",
        "I have no count of the times that I said hello to you.",
    ],
)
def test_a_sentence_is_said_as_it_is(sentence: str) -> None:
    assert answer([sentence]) == sentence


@pytest.mark.parametrize("dictation", ["say hello", "Say: hello", "SAY   hello"])
def test_whatever_follows_say_is_said(dictation: str) -> None:
    assert answer([dictation]) == "hello"


def test_cues_are_whole_words() -> None:
    assert answer(["Discount!"]) == "Discount!"


@pytest.mark.parametrize("nothing", ["...", "?"])
def test_who_says_nothing_is_asked_for_words(nothing: str) -> None:
    assert answer([nothing]) == "I did not get that. Say it in words, please."


def test_a_question_in_two_breaths_is_one_question() -> None:
    assert answer(["What do", "you remember?"]) in ANSWERS


def test_speech_that_nobody_recognised_is_told_by_its_length() -> None:
    said = answer([wordless(1.4), wordless(2.2)])
    assert "4 seconds" in said
    assert "cannot tell" in said
    assert "a second," in answer([wordless(0.3)])


def test_the_script_says_that_it_is_one() -> None:
    assert "script" in INTRODUCTION
    assert "not a language model" in answer(["What can you do?"])
    assert all(text.isascii() for text in (GREETING, *ANSWERS))  # fit to be pronounced
