"""Pipecat's services for the demo's room: those that were chosen, or stand-ins without a key."""

from __future__ import annotations

from typing import Final, TypeVar
from urllib.parse import urlsplit

from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.settings import STTSettings

from pipecat_agenthuman.demo.dialogue import INTRODUCTION, TITLE
from pipecat_agenthuman.demo.ears import WordlessSTTService
from pipecat_agenthuman.demo.options import ModelChoice, Recogniser, RecogniserChoice
from pipecat_agenthuman.demo.scripted_llm import ScriptedLLM
from pipecat_agenthuman.errors import AgentHumanError

INSTRUCTION: Final = (
    "You are a friendly person in a video call, and everything you write is spoken aloud by an "
    "avatar. Answer in one to three short sentences, without lists, emojis or special characters."
)


AnySettings = TypeVar("AnySettings", bound=STTSettings)


class MissingServiceError(AgentHumanError):
    """What a service of Pipecat's needs is not installed."""


def make_llm(choice: ModelChoice | None) -> FrameProcessor:
    """Make who answers.

    Args:
        choice: The model; None for the script.

    Returns:
        A processor that answers contexts.
    """
    if choice is None:
        return ScriptedLLM()
    from pipecat.services.openai.llm import OpenAILLMService

    return OpenAILLMService(
        api_key=choice.api_key,
        base_url=choice.base_url,
        settings=OpenAILLMService.Settings(model=choice.model, system_instruction=INSTRUCTION),
    )


def make_stt(choice: RecogniserChoice | None) -> FrameProcessor:
    """Make who recognises speech; a model on this machine is loaded, and fetched the first time.

    Args:
        choice: The recogniser; None for nobody, which measures how long a person spoke.

    Returns:
        A processor that makes transcriptions of audio.

    Raises:
        MissingServiceError: If the extra of Pipecat that it needs is not installed.
    """
    if choice is None:
        return WordlessSTTService()
    try:
        return _make_recogniser(choice)
    except ImportError as error:  # Pipecat's services raise it for what their extra brings
        raise MissingServiceError(
            f"--stt {choice.recogniser} needs pip install 'pipecat-ai[{choice.recogniser}]'."
        ) from error


def _make_recogniser(choice: RecogniserChoice) -> FrameProcessor:
    match choice.recogniser:
        case Recogniser.WHISPER:
            from pipecat.services.whisper.stt import WhisperSTTService

            return WhisperSTTService(settings=_with_model(WhisperSTTService.Settings(), choice))
        case Recogniser.DEEPGRAM:
            from pipecat.services.deepgram.stt import DeepgramSTTService

            return DeepgramSTTService(
                api_key=choice.api_key, settings=_with_model(DeepgramSTTService.Settings(), choice)
            )
        case Recogniser.OPENAI:
            from pipecat.services.openai.stt import OpenAISTTService

            return OpenAISTTService(
                api_key=choice.api_key,
                base_url=choice.base_url,
                settings=_with_model(OpenAISTTService.Settings(), choice),
            )


def _with_model(settings: AnySettings, choice: RecogniserChoice) -> AnySettings:
    """Name the model; one that was not chosen is left to Pipecat."""
    if choice.model is not None:
        settings.model = choice.model
    return settings


def describe(model: ModelChoice | None, recogniser: RecogniserChoice | None) -> tuple[str, str]:
    """Say whom one talks to, for the page and the terminal.

    Args:
        model: The language model; None for the script.
        recogniser: The speech recogniser; None for nobody.

    Returns:
        A title, and one to three sentences. Free of keys.
    """
    if model is None:
        title, who = TITLE, INTRODUCTION
    else:
        host = urlsplit(model.base_url).hostname or ""
        title, who = model.model, f"{model.model} at {host} answers, and this face speaks for it."
    if recogniser is None:
        heard = "It hears when you speak, but not what: --stt adds that."
    else:
        heard = f"What you say is recognised by {recogniser.recogniser.title()}."
    return title, f"{who} {heard}"
