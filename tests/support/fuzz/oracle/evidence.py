"""What was heard and seen in a call, in terms of its script."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from functools import cached_property

from pipecat.frames.frames import InterruptionFrame, TTSAudioRawFrame

from tests.support.fuzz import tones
from tests.support.fuzz.call import Call
from tests.support.fuzz.oracle.tolerances import (
    PASS_SECS,
    READING_SECS,
)
from tests.support.fuzz.parts import Seen
from tests.support.fuzz.script import (
    End,
    Say,
    Sound,
    Step,
)


@dataclass(frozen=True)
class Heard:
    """A stretch of sound of one cell, and whose mouth it came from."""

    at: float
    until: float
    cell: tones.Cell
    by_avatar: bool


class Evidence:
    """What was heard and seen in a call, and when.

    Args:
        call: The call.
    """

    def __init__(self, call: Call) -> None:
        self.call, self.script, self.setup = call, call.script, call.script.setup
        self.steps = [step for step in call.script.steps if step in call.fed]
        self.says = [step for step in self.steps if isinstance(step, Say)]
        self.step_of_word: dict[int, Say | Sound] = {}
        for step in self.script.steps:
            if isinstance(step, Say):
                self.step_of_word |= {number: step for number, _ in step.words}
            elif isinstance(step, Sound):
                self.step_of_word[step.word[0]] = step

    @cached_property
    def heard(self) -> list[Heard]:
        """All cells that were heard, in order of time.

        What is heard only before it came is a few milliseconds of something else, misread.
        """
        both = [(sighted, True) for sighted in self.call.avatar]
        both += [(sighted, False) for sighted in self.call.transport]
        cells = [
            Heard(sighted.at, sighted.until, sighted.cell, by_avatar)
            for sighted, by_avatar in both
            if sighted.cell.word in self.step_of_word
        ]
        came_at = {step: seen[0].at for step, seen in self.gate_of.items()}
        cells = [
            one
            for one in cells
            if one.at >= (came := came_at.get(self.step_of_word[one.cell.word], -math.inf))
            or one.until > came + READING_SECS
        ]
        return sorted(cells, key=lambda one: (one.at, one.cell))

    @cached_property
    def heard_of(self) -> dict[Step, list[Heard]]:
        found: dict[Step, list[Heard]] = defaultdict(list)
        for one in self.heard:
            found[self.step_of_word[one.cell.word]].append(one)
        return found

    @cached_property
    def heard_word(self) -> dict[int, list[Heard]]:
        found: dict[int, list[Heard]] = defaultdict(list)
        for one in self.heard:
            found[one.cell.word].append(one)
        return found

    @cached_property
    def gate_of(self) -> dict[Step, list[Seen]]:
        """The frames of each step as they came to the service."""
        found: dict[Step, list[Seen]] = defaultdict(list)
        for seen in self.call.gate:
            step = seen.frame.metadata.get("step")
            if step is not None and not seen.up:
                found[step].append(seen)
        return found

    @cached_property
    def behind_at(self) -> dict[int, float]:
        """When each frame that went down was seen behind the transport."""
        return {seen.frame.id: seen.at for seen in self.call.behind if not seen.up}

    @cached_property
    def interruptions(self) -> list[float]:
        found = [seen.at for seen in self.call.gate if isinstance(seen.frame, InterruptionFrame)]
        return sorted(found)

    @cached_property
    def cancelled_at(self) -> float:
        for step in self.steps:
            if isinstance(step, End) and step.cancel:
                return self.call.fed[step]
        return math.inf

    @cached_property
    def end_at(self) -> float:
        for step in self.steps:
            if isinstance(step, End):
                seen = self.gate_of.get(step)
                return seen[0].at if seen else self.call.fed[step]
        return math.inf

    def cut_at(self, step: Step) -> float:
        """When an interruption, or the cancelling, cut what began before it; else never."""
        seen = self.gate_of.get(step)
        if not seen:
            return -math.inf
        first = seen[0].at
        if getattr(step, "kept", False):
            return self.cancelled_at
        later = [at for at in self.interruptions if at >= first - PASS_SECS]
        return min([*later, self.cancelled_at])

    def audio_at(self, say: Say) -> list[float]:
        return [s.at for s in self.gate_of[say] if isinstance(s.frame, TTSAudioRawFrame)]

    @cached_property
    def stretches(self) -> list[tuple[float, float]]:
        """From when to when anything at all sounds."""
        both = [(pcm, 16_000) for pcm in self.call.avatar_pcm]
        both += [(pcm, self.setup.out_rate) for pcm in self.call.transport_pcm]
        return merged([(at, at + len(samples) / rate) for (at, samples), rate in both])

    @cached_property
    def queued_for(self) -> list[float]:
        """When each message of speech was to sound that a server took."""
        begun_at = self.call.sandbox_started_at
        log = self.call.sandbox_log
        return [begun_at + one["sounds_at_secs"] for one in log if one["what"] == "speech.queued"]

    def sounds_about(self, at: float, secs: float) -> bool:
        """Whether anything but silence sounds so near to a moment, be it too short to be read."""
        both = [(pcm, 16_000) for pcm in self.call.avatar_pcm]
        both += [(pcm, self.setup.out_rate) for pcm in self.call.transport_pcm]
        for (begun, samples), rate in both:
            first, last = (round((at + off - begun) * rate) for off in (-secs, secs))
            if last > 0 and samples[max(first, 0) : last].any():
                return True
        return False

    @cached_property
    def unread(self) -> list[tuple[float, float]]:
        """From when to when something sounds that is too short to be read."""
        return [span for span in self._sounds if not self._read_within(*span)]

    @cached_property
    def unread_before(self) -> list[tuple[float, float]]:
        """The same in front of what is read without a break behind it."""
        fronts = (
            (begun, min(read))
            for begun, until in self._sounds
            if (read := self._read_within(begun, until))
        )
        return [(begun, until) for begun, until in fronts if begun < until]

    @cached_property
    def _sounds(self) -> list[tuple[float, float]]:
        """From when to when the avatar sounds, or a transport that is silent in between."""
        spans = [(at, at + len(samples) / 16_000) for at, samples in self.call.avatar_pcm]
        if not self.setup.mixer:
            rate = self.setup.out_rate
            spans += [(at, at + len(samples) / rate) for at, samples in self.call.transport_pcm]
        return spans

    def _read_within(self, begun: float, until: float) -> list[float]:
        """When each cell began that was read in a stretch."""
        return [one.at for one in self.heard if begun - READING_SECS <= one.at < until]

    def subject_of(self, seen: Seen) -> str:
        step = seen.frame.metadata.get("step")
        number = self.script.steps.index(step) if step is not None else -1
        return f"{type(seen.frame).__name__} of step {number}"

    def rel(self, at: float) -> str:
        return f"{at - self.call.begun_at:.3f}"


def merged(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Put spans together that touch."""
    merged: list[tuple[float, float]] = []
    for begun, over in sorted(spans):
        if merged and begun <= merged[-1][1] + READING_SECS:
            merged[-1] = (merged[-1][0], max(merged[-1][1], over))
        else:
            merged.append((begun, over))
    return merged
