"""Rules for what passes everything, and for what speech waits for."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipecat.frames.frames import UserStartedSpeakingFrame, UserStoppedSpeakingFrame

from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import (
    OVERLAP_SECS,
    PASS_SECS,
)
from tests.support.fuzz.parts import PasserFrame, UpFrame
from tests.support.fuzz.script import (
    Mark,
    Message,
    Passer,
    Step,
)


def passers(known: Circumstances) -> Iterator[Finding]:
    for seen in known.call.gate:
        is_passer = isinstance(seen.frame, PasserFrame) or (
            isinstance(seen.frame, UserStartedSpeakingFrame | UserStoppedSpeakingFrame)
            and not seen.up
        )
        if is_passer:
            at = known.behind_at.get(seen.frame.id)
            if at is None:
                if known.cancelled_at == math.inf and seen.at < known.end_at:
                    yield Finding("passer late", known.subject_of(seen), "never came")
            elif at > seen.at + PASS_SECS:
                yield Finding("passer late", known.subject_of(seen), f"{at - seen.at:.3f} s")
    for step in known.steps:
        if not (isinstance(step, Passer) and step.up):
            continue
        fed = known.call.fed[step]
        if fed > min(known.end_at, known.cancelled_at) - PASS_SECS:
            continue
        at = _came_up(known, step)
        if at is None:
            yield Finding(
                "passer late", f"UpFrame of step {known.script.steps.index(step)}", "never came"
            )
        elif at > fed + PASS_SECS:
            yield Finding(
                "passer late",
                f"UpFrame of step {known.script.steps.index(step)}",
                f"{at - fed:.3f} s",
            )


def _came_up(known: Circumstances, step: Passer) -> float | None:
    """When a frame that goes up came out in front of the service."""
    if step.user is None:
        ups = (one for one in known.call.gate if isinstance(one.frame, UpFrame))
        return next((one.at for one in ups if one.frame.metadata["step"] is step), None)
    kind = UserStartedSpeakingFrame if step.user else UserStoppedSpeakingFrame
    fed = known.call.fed[step]
    ups = (one for one in known.call.gate if isinstance(one.frame, kind) and one.up)
    return next((one.at for one in ups if one.at >= fed), None)


def floor(known: Circumstances) -> Iterator[Finding]:
    """What occupies the transport occupies the floor: speech behind it waits for it."""
    for step, (begun, until) in known.call.busy_with.items():
        has_its_turn = isinstance(step, Mark) or (isinstance(step, Message) and not step.urgent)
        if begun == until or not has_its_turn or _is_amid(known, step):
            continue
        came = known.gate_of[step][0].at
        later = [
            say for say in known.says if known.gate_of.get(say) and known.gate_of[say][0].at > came
        ]
        for say in later:
            heard = known.heard_of.get(say)
            if heard and heard[0].at < until - OVERLAP_SECS - known.slack_secs:
                number = known.script.steps.index(step)
                yield Finding(
                    "busy floor",
                    f"step {number}",
                    f"w{heard[0].cell.word} is heard {until - heard[0].at:.3f} s too early",
                )
                break


def _is_amid(known: Circumstances, step: Step) -> bool:
    """Whether it stands amid an utterance that goes on after it.

    In a resampler, or because nothing told that another one began. Amid an utterance only
    sounds are worth a pause.
    """
    came = known.gate_of[step][0].at
    said = [say for say in known.says if known.gate_of[say]]
    before = [say for say in said if known.gate_of[say][0].at <= came]
    after = [say for say in said if known.gate_of[say][0].at > came]
    if not before:
        return False
    if before[-1].stopped or getattr(step, "amid", False):
        return came < min(known.told_over_at(before[-1]), default=math.inf)
    return before[-1].rate != 16_000 or (bool(after) and not after[0].started)
