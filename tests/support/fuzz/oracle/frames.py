"""Rules for frames that have their place in the speech: order, and when they come."""

from __future__ import annotations

import math
from collections.abc import Iterator

from pipecat.frames.frames import (
    HeartbeatFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
    StopFrame,
    TTSAudioRawFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import (
    BOT_SECS,
    HELD_SECS,
    LATE_SECS,
    PASS_SECS,
    TEXT_SECS,
)
from tests.support.fuzz.parts import MarkFrame, Seen
from tests.support.fuzz.script import (
    Mark,
    Message,
    Say,
    Sound,
    Step,
    Tone,
)

_IN_ORDER = (
    TTSStartedFrame, TTSStoppedFrame, LLMFullResponseStartFrame, MarkFrame, StopFrame,
)  # fmt: skip


def frames(known: Circumstances) -> Iterator[Finding]:
    ordered = [
        seen
        for seen in known.call.gate
        if not seen.up
        and (
            isinstance(seen.frame, _IN_ORDER)
            or (
                isinstance(seen.frame, TTSTextFrame | LLMFullResponseEndFrame)
                and not seen.frame.pts
            )
        )
    ]
    came = {
        seen.frame.id: position for position, seen in enumerate(known.call.behind) if not seen.up
    }
    latest, latest_frame = -1, None
    for seen in ordered:
        position = came.get(seen.frame.id)
        if position is None:
            yield from _lost_frame(known, seen)
            continue
        if position < latest:
            assert latest_frame is not None
            yield Finding(
                "frame order", known.subject_of(seen), f"before {known.subject_of(latest_frame)}"
            )
        else:
            latest, latest_frame = position, seen
    yield from _when(known)
    yield from _starts(known)


def _lost_frame(known: Circumstances, seen: Seen) -> Iterator[Finding]:
    if isinstance(seen.frame, TTSTextFrame):
        return  # judged with its sound
    if known.is_doubtful(seen.frame.metadata.get("step")):
        return
    interruptible = getattr(seen.frame, "interruptible", True)
    step = seen.frame.metadata.get("step")
    if getattr(step, "kept", False) and isinstance(seen.frame, MarkFrame):
        interruptible = False
    after = [at for at in known.interruptions if at >= seen.at - PASS_SECS]
    if known.cancelled_at < math.inf or (interruptible and after):
        return
    if isinstance(step, Say) and known.cut_at(step) < math.inf:
        return  # Late frames of what was cut.
    if isinstance(step, Mark) and known.was_cut_amid(step):
        return  # An older transport drops what it is just handling, whatever it is.
    if known.setup.drop and isinstance(seen.frame, TTSStartedFrame):
        return
    yield Finding("frame lost", known.subject_of(seen), f"came at {known.rel(seen.at)}")


def _when(known: Circumstances) -> Iterator[Finding]:
    """Marks and heartbeats come when all before them was heard, and no later."""
    latest = 0.0
    previous: list[Step] = []
    begun: set[int] = set()
    heard = [
        (one, _came_at(known, one.cell, -tones.CELL_SECS), _came_at(known, one.cell, HELD_SECS))
        for one in known.heard
    ]
    for seen in known.call.gate:
        if seen.up:
            continue
        step = seen.frame.metadata.get("step")
        if isinstance(step, Say | Sound | Tone | Message) and step not in previous:
            previous.append(step)
            begun.update(word for word, of in known.step_of_word.items() if of == step)
        if not isinstance(seen.frame, MarkFrame | StopFrame | HeartbeatFrame):
            continue
        at = known.behind_at.get(seen.frame.id)
        if at is None:
            continue
        own_secs = seen.frame.secs if isinstance(seen.frame, MarkFrame) else 0.0
        came = [
            (one, surely_at)
            for one, came_at, surely_at in heard
            if one.cell.word in begun and came_at <= seen.at
        ]
        sure = (
            one.until for one, surely_at in came if surely_at <= seen.at and not known.is_crumb(one)
        )
        last = max(sure, default=0.0)
        last_at_all = max((one.until for one, _ in came), default=0.0)
        name = "heartbeat" if isinstance(seen.frame, HeartbeatFrame) else "frame"
        subject = name if name == "heartbeat" else known.subject_of(seen)
        is_cut = any(seen.at - PASS_SECS <= cut <= at + PASS_SECS for cut in known.interruptions)
        early = name == "frame" and at < last - BOT_SECS - known.slack_secs and not is_cut
        if early and not (known.losses or known.is_disturbed or known.call.plain):
            yield Finding("frame early", subject, f"{last - at:.3f} s before the sound's end")
        waits = max([seen.at, last_at_all, latest, _busy_before(known, at)])
        if any(isinstance(one, Say) and one.is_tiny for one in previous):
            unread = (until for _, until in [*known.unread, *known.unread_before])
            waits = max([waits, *(until for until in unread if seen.at <= until <= at + PASS_SECS)])
        if any(isinstance(one, Say) and _comes_with_its_end(one) for one in previous):
            # The last of it is too little to be read, and may come with what follows.
            waits += known.setup.latency_secs + known.setup.round_trip_secs
        late = at > waits + own_secs + LATE_SECS + known.slack_secs and not is_cut
        if late and not (known.may_miss or known.losses):
            yield Finding(f"{name} late", subject, f"{at - waits - own_secs:.3f} s")
        latest = max(latest, at)


def _starts(known: Circumstances) -> Iterator[Finding]:
    """Speech begins with its start: a transport lets that out in front of the first piece."""
    pieces = 1
    if known.setup.mixer:  # Each start and each end of speech comes with a piece of that.
        pieces += 2 * sum(say.is_tiny for say in known.says)
    chunk_secs = pieces * known.setup.chunks / 100
    for say in known.says:
        starts = [s for s in known.gate_of[say] if isinstance(s.frame, TTSStartedFrame)]
        heard = known.heard_of.get(say)
        if not (starts and heard) or starts[0].frame.id not in known.behind_at:
            continue
        at = known.behind_at[starts[0].frame.id]
        begun = max(heard[0].at, starts[0].at)
        due = max(begun, known.passed_at(at), known.busy_about(begun)[1])
        if at > due + chunk_secs + TEXT_SECS + known.slack_secs:
            yield Finding("start late", known.subject_of(starts[0]), f"{at - due:.3f} s")


def _comes_with_its_end(say: Say) -> bool:
    """Whether something of it waits for its end, or for what comes behind it."""
    return say.is_tiny or not say.stopped or say.rate != 16_000


def _busy_before(known: Circumstances, at: float) -> float:
    return max([until for _, until in known.call.busy if until <= at + LATE_SECS], default=0.0)


def _came_at(known: Circumstances, cell: tones.Cell, held_secs: float) -> float:
    """When the audio of a cell had come to the service, and so much more or less of its speech."""
    step = known.step_of_word[cell.word]
    if isinstance(step, Sound):
        return 0.0
    offset = 0
    for number, cells in step.words:
        if number == cell.word:
            break
        offset += cells
    ends_secs = min((offset + cell.index + 1) * tones.CELL_SECS, step.secs)
    wanted = ends_secs + held_secs
    arrived = 0.0
    for one in known.gate_of[step]:
        if isinstance(one.frame, TTSStoppedFrame):
            return one.at
        if isinstance(one.frame, TTSAudioRawFrame):
            arrived += len(one.frame.audio) / (2 * step.channels * step.rate)
            if arrived >= wanted - 1e-6:
                return one.at
    return math.inf
