"""What was said and heard while the demo ran, and whether it was as it should be. Pure.

Times are seconds on one monotonic clock, audio is 16-bit mono PCM at 16 kHz.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum, StrEnum
from statistics import median
from typing import Final

from pipecat_agenthuman.demo.script import ScriptLine
from pipecat_agenthuman.sandbox.sound import Heard
from pipecat_agenthuman.wire.pcm import BYTES_PER_SAMPLE, to_secs


class Lane(StrEnum):
    """Who an event belongs to, as it is shown."""

    SCRIPT = "says"
    WIRE = "wire"
    BOT = "bot"
    HEARD = "heard"
    USER = "user"
    ROOM = "room"


class Milestone(Enum):
    """What happens to a line, and how it is told; without a lane it is only measured."""

    FIRST_AUDIO = (None, "the avatar service has the first audio")
    SYNTHESISED = (None, "the avatar service has all audio")
    ARRIVED = (Lane.WIRE, "first audio arrived")
    STARTED = (Lane.BOT, "started speaking")
    FIRST_SOUND = (None, "the first sample begins to sound in the room")
    LAST_SOUND = (None, "the last sample has sounded in the room")
    STOPPED = (Lane.BOT, "stopped speaking")
    INTERRUPTED = (Lane.USER, "interrupts")
    INTERRUPT_ARRIVED = (Lane.WIRE, "interrupt arrived")
    SILENCED = (None, "the sandbox has silenced its avatar")
    INTERRUPT_CONFIRMED = (Lane.WIRE, "interrupt confirmed")


@dataclass
class Take:
    """A line of the script, as it was spoken.

    Attributes:
        line: The line.
        milestones: When what has happened happened.
        synthesised: The audio that the TTS service has made of it.
        confirmed: The samples of each confirmation.
        words: What was passed on as heard.
        heard: The audio of it that the room heard.
    """

    line: ScriptLine
    milestones: dict[Milestone, float] = field(default_factory=dict[Milestone, float])
    synthesised: bytearray = field(default_factory=bytearray, repr=False)
    confirmed: list[int] = field(default_factory=list[int])
    words: list[str] = field(default_factory=list[str])
    heard: bytes = field(default=b"", repr=False)

    @property
    def synthesised_secs(self) -> float:
        """Duration of the audio that the TTS service has made."""
        return _secs(self.synthesised)

    @property
    def is_confirmed(self) -> bool:
        """Whether the sandbox has all of the audio."""
        confirmed_bytes = sum(self.confirmed) * BYTES_PER_SAMPLE
        return Milestone.SYNTHESISED in self.milestones and confirmed_bytes >= len(self.synthesised)

    @property
    def single_words(self) -> list[str]:
        """The words passed on as heard, one by one."""
        return " ".join(self.words).split()

    def secs_between(self, earlier: Milestone, later: Milestone) -> float | None:
        """Seconds from one milestone to another; None unless both have come."""
        if earlier in self.milestones and later in self.milestones:
            return self.milestones[later] - self.milestones[earlier]
        return None


@dataclass(frozen=True)
class Performance:
    """The whole demo, when it is over.

    Attributes:
        takes: What was said, in order.
        heard: What a listener in the room heard.
        context: What the assistant said according to Pipecat's context, in order.
        failure: What broke the demo off; None if nothing did.
        live_sessions: Sessions that have not ended.
    """

    takes: Sequence[Take]
    heard: Heard
    context: Sequence[str]
    failure: str | None
    live_sessions: int


# --- the verdict -----------------------------------------------------------------------


def describe_success(performance: Performance) -> list[str]:
    """Say what has been verified of a performance without a flaw.

    Args:
        performance: What was said and heard.

    Returns:
        A sentence for each thing.
    """
    cut = sum(take.line.interrupted for take in performance.takes)
    whole = len(performance.takes) - cut
    texts = "the text" if whole == 1 else f"the {whole} texts"
    return [
        f"Every sample of {texts} said to the end was heard.",
        *["Nothing of the interrupted text was heard after the interrupt."] * cut,
        "The context holds the words that were heard, and no others.",
        "The session was ended, and there was no error.",
    ]


def find_flaws(performance: Performance) -> list[str]:
    """Verify that the avatar said what it should, and nothing else.

    Args:
        performance: What was said and heard.

    Returns:
        What is wrong, in the order in which to tell it; empty if all is well.
    """
    if performance.failure is not None:  # what broke off has no more to say than why
        flaws = [performance.failure]
    else:
        flaws = [*_flaws_of_sound(performance), *_flaws_of_context(performance)]
    if performance.live_sessions:
        flaws.append(f"{performance.live_sessions} session(s) never ended.")
    return flaws


def _flaws_of_sound(performance: Performance) -> Iterator[str]:
    unsaid = performance.heard.pcm
    for take in performance.takes:
        unsaid = unsaid[len(take.heard) :]
        is_whole = len(take.heard) == len(take.synthesised)
        is_right = take.synthesised.startswith(take.heard)
        if not take.line.interrupted and not (is_right and is_whole):
            yield f"What was heard is not what was synthesised: {_shortened(take.line.text)}"
        elif take.line.interrupted and (is_whole or not is_right):
            yield f"The interrupted text was not cut: {_shortened(take.line.text)}"
        elif take.line.interrupted:
            yield from _flaws_of_silence(take)
    if unsaid:
        yield f"{_secs(unsaid):.3f} s were heard that nobody said."


def _flaws_of_silence(cut: Take) -> Iterator[str]:
    """Verify that an interrupted line is not heard any more once the sandbox knew."""
    late_secs = cut.secs_between(Milestone.SILENCED, Milestone.LAST_SOUND)
    if late_secs is None:
        yield "The interrupted text was not heard, or not interrupted."
    elif late_secs > to_secs(1):
        yield f"Heard {late_secs:.3f} s of the interrupted text too much."


def _flaws_of_context(performance: Performance) -> Iterator[str]:
    heard: list[str] = []
    for take in performance.takes:
        said, passed_on = take.line.text.split(), take.single_words
        if take.line.interrupted:  # of its words, as many as were passed on
            del said[len(passed_on) :]
        if passed_on != said:
            yield f"Passed on as heard: {' '.join(passed_on)!r}"
        heard += passed_on
    held = " ".join(performance.context)
    if held.split() != heard:
        yield f"The context is not what was heard: {held!r}"


# --- the numbers -----------------------------------------------------------------------

_DELAYS: Final = {
    "First audio to the wire": (Milestone.FIRST_AUDIO, Milestone.ARRIVED),
    "First audio to the first sound in the room": (Milestone.FIRST_AUDIO, Milestone.FIRST_SOUND),
    "Interruption to the wire": (Milestone.INTERRUPTED, Milestone.INTERRUPT_ARRIVED),
    "Interruption to its confirmation": (Milestone.INTERRUPTED, Milestone.INTERRUPT_CONFIRMED),
}


def measure(performance: Performance) -> dict[str, str]:
    """Put the numbers of a performance into words.

    Args:
        performance: What was said and heard.

    Returns:
        What was measured, with its number and unit, in the order in which to tell it. Of a
        delay that came several times, it is the median.
    """
    takes = performance.takes
    delays = {
        name: [secs for take in takes if (secs := take.secs_between(earlier, later)) is not None]
        for name, (earlier, later) in _DELAYS.items()
    }
    errors = [
        abs(secs)
        for take in takes
        for told, real in (
            (Milestone.STARTED, Milestone.FIRST_SOUND),
            (Milestone.STOPPED, Milestone.LAST_SOUND),
        )
        if (secs := take.secs_between(real, told)) is not None
    ]
    synthesised_secs = sum(take.synthesised_secs for take in takes)
    return {
        **{name: _ms(median(secs) if secs else None) for name, secs in delays.items()},
        "Bot speaking frames off the real sound by at most": _ms(max(errors, default=None)),
        "Speech synthesised": f"{synthesised_secs:.2f} s",
        "Speech heard": f"{performance.heard.duration_secs:.2f} s",
    }


def _ms(secs: float | None) -> str:
    if secs is None:
        return "none"
    return f"{secs * 1000:.1f} ms" if secs < 0.01 else f"{secs * 1000:.0f} ms"


def _secs(pcm: bytes | bytearray) -> float:
    return to_secs(len(pcm) // BYTES_PER_SAMPLE)


def _shortened(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
