"""What the demo's bot answers without a language model: a small script, and it says so. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

TITLE: Final = "A small script"

INTRODUCTION: Final = (
    "This face says what you type. A small script answers a few questions; it is no language model."
)

SUGGESTIONS: Final = (
    "What can you do?",
    "Count to twenty.",
    "What do you remember?",
    "What if something goes wrong?",
)
"""What to type first; the script has an answer to each."""

GREETING: Final = "I am listening. Speak to me, and interrupt me at any time."
"""What the bot says when a microphone is on for the first time."""

NO_WORDS: Final = "of speech, and nobody here makes words of it"
"""How the memory names what was said aloud where there is no speech recognition."""

_LONGEST_REQUEST_WORDS: Final = 6
"""What is longer, and no question, is a sentence to be said, whatever words are in it."""

_NUMBERS: Final = (
    "one, two, three, four, five, six, seven, eight, nine, ten, eleven, twelve, thirteen, "
    "fourteen, fifteen, sixteen, seventeen, eighteen, nineteen, twenty"
)


_DICTATION: Final = re.compile(r"say\b[:,]?\s+(?P<text>.*\w.*)", re.IGNORECASE)
"""What is to be said as it is, even if the script has an answer to it."""


@dataclass(frozen=True)
class Topic:
    """Something that the script can talk about.

    Attributes:
        cues: Words, or words in a row, one of which must be in what was said. All in lower case.
        answer: What the bot says then.
    """

    cues: tuple[str, ...]
    answer: str


TOPICS: Final = (
    Topic(
        ("count", "numbers"),
        f"I will count to twenty, and you interrupt me: {_NUMBERS}. You let me finish.",
    ),
    Topic(
        ("stop", "wait", "quiet", "be silent", "hold on", "enough"),
        "Of course. I stopped at once, and I remember only the words that you heard.",
    ),
    Topic(
        ("interrupt",),
        "While I speak, press Escape or start to talk. The avatar falls silent at once, and my "
        "memory ends with the last word that you heard. Say count, and try it on me.",
    ),
    Topic(
        ("memory", "remember"),
        "Next to my face you see what I remember, word by word. A word gets there when it is "
        "heard, and what an interruption cuts off never does.",
    ),
    Topic(
        ("wire", "message", "messages", "timeline", "latency", "confirmation"),
        "The timeline shows each message between me and the avatar. I send speech, the service "
        "confirms it, and half a second later it sounds. From that alone I know what was heard.",
    ),
    Topic(
        ("wrong", "fail", "fails", "error", "errors", "fault", "faults", "trouble", "break"),
        "Open the troubles and choose one, while I speak. If my avatar is lost, I bring a new "
        "one, and my memory still holds what was heard, and no more.",
    ),
    Topic(
        ("voice", "microphone", "talk to you", "hear", "listen"),
        "Turn on your microphone and speak. Pipecat's own models find out when you begin and "
        "when you have finished. They run on this machine.",
    ),
    Topic(
        ("key", "real", "model", "intelligent", "language model", "gpt"),
        "I am a small script that looks for a few words, and no language model. Start the demo "
        "with a model of yours, and you can have a real conversation with this face.",
    ),
    Topic(
        ("what can", "who are", "what are you", "help", "do for", "explain", "tell me"),
        "I am a small script, not a language model. Ask me about interruptions, my memory, the "
        "wire, or what goes wrong. Everything you see runs on this machine, without a key, and "
        "without the network.",
    ),
    Topic(("how are you",), "All my frames are in order, thank you. And how are you?"),
    Topic(("hello", "hi", "hey", "good morning", "good evening"), "Hello! Nice to meet you."),
    Topic(("thank", "thanks"), "You are welcome."),
    Topic(("bye", "goodbye"), "Goodbye! I stay here until you stop the demo."),
)
"""Earlier ones come first: "stop the count" is no wish to hear numbers, so those ask for less."""


def answer(said: Sequence[str]) -> str:
    """Answer what a person has said, or say it.

    Args:
        said: What the person said since the bot spoke last, in order; typed, recognised, or
            ``wordless`` where nobody recognises speech.

    Returns:
        What the bot says.
    """
    text = " ".join(" ".join(said).split())
    if NO_WORDS in text:
        return _answer_speech(text)
    if (dictated := _DICTATION.fullmatch(text)) is not None:
        return dictated["text"]
    words = re.findall(r"[a-z]+", text.casefold())
    if len(words) <= _LONGEST_REQUEST_WORDS or text.endswith("?"):
        for topic in TOPICS:
            if any(f" {cue} " in f" {' '.join(words)} " for cue in topic.cues):
                return topic.answer
    if not any(character.isalnum() for character in text):
        return "I did not get that. Say it in words, please."
    return text


def wordless(secs: float) -> str:
    """Name what a person said, where nobody makes words of it.

    Args:
        secs: How long the person spoke.

    Returns:
        The name, which stands in the memory in place of words.
    """
    return f"({secs:.1f} s {NO_WORDS})"


def _answer_speech(text: str) -> str:
    secs = sum(float(number) for number in re.findall(r"\((\d+\.\d) s", text))
    return (
        f"I heard you speak for {_spoken(secs)}, and I knew when you had finished. Your words I "
        "cannot tell, because this demo runs without speech recognition. You can type them."
    )


def _spoken(secs: float) -> str:
    """A duration as it is said."""
    whole = max(1, round(secs))
    return "a second" if whole == 1 else f"{whole} seconds"
