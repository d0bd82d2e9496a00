"""What the demo says. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

DEFAULT_TEXTS: Final = (
    "Hello! I am a voice in a Pipecat pipeline, and an avatar speaks for me.",
    "Whatever you read here appears at the moment at which it is heard.",
    "This sentence goes on for much too long, so somebody is going to interrupt it, "
    "and nobody will ever hear how it was meant to end.",
    "Of course. I am listening.",
)


@dataclass(frozen=True)
class ScriptLine:
    """A text to say.

    Attributes:
        text: What is said, in one go.
        interrupted: Whether it is interrupted in its middle.
    """

    text: str
    interrupted: bool


def write_script(texts: Sequence[str]) -> tuple[ScriptLine, ...]:
    """Make a script: the last text but one is interrupted.

    Args:
        texts: What to say, in order; a single text is said to its end.

    Returns:
        The lines.

    Raises:
        ValueError: If there is no text, or one in which nothing can be pronounced.
    """
    if not texts:
        raise ValueError("There is nothing to say.")
    for text in texts:
        if not any(character.isalnum() for character in text):
            raise ValueError(f"Nothing in {text!r} can be pronounced.")
    return tuple(
        ScriptLine(" ".join(text.split()), interrupted=position == len(texts) - 2)
        for position, text in enumerate(texts)
    )
