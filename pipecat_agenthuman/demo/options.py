"""Who answers in the demo's room, and who recognises speech: what the command line asks for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from pipecat_agenthuman._credentials import check_secret, check_url
from pipecat_agenthuman._environment import is_placeholder

OPENAI_API_KEY: Final = "OPENAI_API_KEY"
OPENAI_BASE_URL: Final = "OPENAI_BASE_URL"
DEEPGRAM_API_KEY: Final = "DEEPGRAM_API_KEY"

OPENAI_URL: Final = "https://api.openai.com/v1"

_NO_KEY: Final = "none"
"""Servers on one's own machine mostly want no key, and the client insists on one."""


@dataclass(frozen=True)
class ModelChoice:
    """A language model behind an OpenAI-compatible API.

    Attributes:
        model: Its name there.
        base_url: URL of the API, without ``/chat/completions``.
        api_key: The key.
    """

    model: str
    base_url: str
    api_key: str = field(repr=False)


class Recogniser(StrEnum):
    """A speech recogniser of Pipecat's."""

    WHISPER = "whisper"
    DEEPGRAM = "deepgram"
    OPENAI = "openai"


@dataclass(frozen=True)
class RecogniserChoice:
    """A speech recogniser.

    Attributes:
        recogniser: Which.
        model: Its model; None for the one that Pipecat takes.
        base_url: URL of its API; None where there is none, or one only.
        api_key: The key; empty where it needs none.
    """

    recogniser: Recogniser
    model: str | None = None
    base_url: str | None = None
    api_key: str = field(default="", repr=False)


def choose_model(model: str | None, variables: Mapping[str, str]) -> ModelChoice | None:
    """Read which language model answers.

    Args:
        model: What ``--llm`` names.
        variables: Variables by name.

    Returns:
        The model; None for the script.

    Raises:
        ValueError: If a variable is missing or cannot be right.
    """
    if model is None:
        return None
    return ModelChoice(model, *_openai(variables, needed_by="--llm"))


def choose_recogniser(name: str | None, variables: Mapping[str, str]) -> RecogniserChoice | None:
    """Read who recognises speech.

    Args:
        name: What ``--stt`` names, ``NAME`` or ``NAME:MODEL``.
        variables: Variables by name.

    Returns:
        The recogniser; None for nobody.

    Raises:
        ValueError: If there is no such recogniser, or a variable is missing or cannot be right.
    """
    if name is None:
        return None
    name, _, model = name.partition(":")
    if name not in tuple(Recogniser):
        raise ValueError(f"--stt must be one of {', '.join(Recogniser)}, got {name!r}.")
    match recogniser := Recogniser(name):
        case Recogniser.WHISPER:
            return RecogniserChoice(recogniser, model or None)
        case Recogniser.DEEPGRAM:
            api_key = _key(DEEPGRAM_API_KEY, variables, needed_by="--stt deepgram")
            return RecogniserChoice(recogniser, model or None, api_key=api_key)
        case Recogniser.OPENAI:
            return RecogniserChoice(
                recogniser, model or None, *_openai(variables, needed_by="--stt openai")
            )


def _openai(variables: Mapping[str, str], *, needed_by: str) -> tuple[str, str]:
    """URL and key of the OpenAI-compatible API; elsewhere than at OpenAI, a key may be missing."""
    given = variables.get(OPENAI_BASE_URL, "").strip()
    base_url = check_url(given or OPENAI_URL, name=OPENAI_BASE_URL, scheme="https")
    if base_url != OPENAI_URL and not variables.get(OPENAI_API_KEY, "").strip():
        return base_url, _NO_KEY
    return base_url, _key(OPENAI_API_KEY, variables, needed_by=needed_by)


def _key(name: str, variables: Mapping[str, str], *, needed_by: str) -> str:
    key = variables.get(name, "").strip()
    if not key or is_placeholder(key):
        raise ValueError(f"{needed_by} needs a key: set {name}, in the environment or in .env.")
    return check_secret(key, name=name)
