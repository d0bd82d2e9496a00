"""Rules for what is heard: everything, once, in order, by one mouth, and nothing after a cut."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.evidence import Heard, merged
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import (
    HELD_SECS,
    LEAD_SECS,
    OVERLAP_SECS,
    READING_SECS,
    TAIL_SECS,
)
from tests.support.fuzz.script import (
    Say,
    Sound,
)


def sound(known: Circumstances) -> Iterator[Finding]:
    yield from _order(known)
    for step in known.steps:
        if not isinstance(step, Say | Sound):
            continue
        words = step.words if isinstance(step, Say) else (step.word,)
        heard = known.heard_of.get(step, [])
        yield from _twice(known, heard)
        if known.is_doubtful(step) or (known.may_miss and isinstance(step, Say)):
            continue
        if known.cut_at(step) == math.inf and not (isinstance(step, Say) and step.is_tiny):
            yield from _missing(known, words, heard)


def _order(known: Circumstances) -> Iterator[Finding]:
    latest = tones.Cell(-1, 0)
    back = 0
    for one in known.heard:
        step = known.step_of_word[one.cell.word]
        if isinstance(step, Say) and one not in known.core(step, known.heard_of[step]):
            continue  # It waits for an end that is missing.
        if isinstance(step, Sound) and step.amid:
            continue  # It has its place between two words.
        if one.by_avatar and known.after_cut(one):
            continue  # The interruption was under way: the rule of tails judges it.
        if known.counts_as_unheard(one):
            continue  # It is heard again in its place.
        if one.cell < latest and known.is_crumb(one):
            word = f"w{one.cell.word}"
            yield Finding("crumb", word, f"heard at {known.rel(one.at)}, after w{latest.word}")
            continue
        if one.cell < latest:
            back += 1
            allowed = known.most_cells * known.losses
            if back > allowed or one.cell.word < latest.word - 2:
                yield Finding("heard order", f"w{one.cell.word}", f"{one} after w{latest.word}")
                return
        latest = max(latest, one.cell)


def _twice(known: Circumstances, heard: list[Heard]) -> Iterator[Finding]:
    secs: dict[tones.Cell, float] = defaultdict(float)
    for one in heard:
        if not known.counts_as_unheard(one):
            secs[one.cell] += one.until - one.at
    twice = [cell for cell, total in secs.items() if total > 0.036]
    if len(twice) > known.most_cells * known.losses:
        yield Finding("heard twice", f"w{twice[0].word}", f"{len(twice)} cells, {twice[:4]}")


def _missing(
    known: Circumstances, words: tuple[tuple[int, int], ...], heard: list[Heard]
) -> Iterator[Finding]:
    there = {one.cell for one in heard}
    step = known.step_of_word[words[0][0]] if words else None
    by_transport = any(not one.by_avatar for one in heard)
    wanted = [tones.Cell(number, index) for number, cells in words for index in range(cells)]
    missing = [cell for cell in wanted if cell not in there]
    allowed = known.most_cells * known.losses
    if isinstance(step, Sound):
        allowed += known.crumb_cells(step)
    if by_transport and isinstance(step, Say):
        # Pipecat's transport throws away what it has not put together yet, also of the next
        # utterance, when one is over.
        allowed += math.ceil(HELD_SECS / tones.CELL_SECS)
    if len(missing) > allowed:
        yield Finding(
            "heard missing",
            f"w{missing[0].word}",
            f"{len(missing)} of {len(wanted)} cells, from {missing[0]}",
        )


def cuts(known: Circumstances) -> Iterator[Finding]:
    """Nothing of what was interrupted is heard after it."""
    for step in known.steps:
        if not isinstance(step, Say | Sound):
            continue
        cut = known.cut_at(step)
        if cut == math.inf:
            continue
        if known.is_doubtful(step):
            continue
        for one in known.heard_of.get(step, []):
            tail = TAIL_SECS + READING_SECS
            tail += known.slack_secs + known.delay_secs if one.by_avatar else 0.0
            if one.by_avatar and (known.is_deaf or cut == known.cancelled_at):
                continue
            if known.is_crumb(one) or known.shares_piece(one):
                continue
            if known.met_the_transport(cut) and not one.by_avatar:
                tail += LEAD_SECS
            if one.until > cut + tail + tones.CELL_SECS:
                by = "avatar" if one.by_avatar else "transport"
                yield Finding(
                    "tail",
                    f"w{one.cell.word}",
                    f"{by} {one.until - cut:.3f} s after the interruption at {known.rel(cut)}",
                )
                break


def one_voice(known: Circumstances) -> Iterator[Finding]:
    """Never two voices, or a voice and a tone, at a time."""
    if known.call.plain:
        return
    if known.is_deaf:
        return  # An avatar that nobody can stop goes on for as long as it has speech.
    tones_at = [
        (at, until) for at, until in known.call.busy if (at, until) not in known.call.messages
    ]
    others = [
        (one.at, one.until) for one in known.heard if not one.by_avatar and not known.is_crumb(one)
    ]
    others += tones_at
    others = merged(others)
    voice = merged([(one.at, one.until) for one in known.heard if one.by_avatar])
    for begun, over in voice:
        for other_begun, other_over in others:
            both = min(over, other_over) - max(begun, other_begun)
            if both > OVERLAP_SECS + known.slack_secs + known.delay_secs:
                at = max(begun, other_begun)
                yield Finding("two voices", known.rel(at), f"for {both:.3f} s")
                return
