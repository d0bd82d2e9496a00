"""Rules for what is passed on to a recorder: what was heard of the avatar, when it was heard."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import BOT_SECS, READING_SECS

_WIRE_RATE = 16_000


def recorded(known: Circumstances) -> Iterator[Finding]:
    if known.call.plain or not known.setup.recorded:
        return
    rate = known.setup.out_rate
    passed = [np.frombuffer(frame.audio, np.int16) for _, frame in known.call.passed]
    sound = np.concatenate(passed) if passed else np.zeros(0, np.int16)
    heard = [samples for _, samples in known.call.avatar_pcm]
    voice = np.concatenate(heard) if heard else np.zeros(0, np.int16)
    if any(frame.sample_rate != rate for _, frame in known.call.passed):
        yield Finding("recorded", "rate", f"it is not {rate}")
        return
    is_cut = bool(known.interruptions) or known.cancelled_at < math.inf
    if not is_cut:
        yield from _exact(known, sound, voice)
    yield from _cells(known, sound, voice, is_cut=is_cut)
    yield from _moments(known)


def _exact(known: Circumstances, sound: tones.Samples, voice: tones.Samples) -> Iterator[Finding]:
    if known.setup.out_rate == _WIRE_RATE and not np.array_equal(sound, voice):
        yield Finding("recorded", "samples", f"{len(sound)} passed on, {len(voice)} heard")
    wanted = len(voice) * known.setup.out_rate / _WIRE_RATE
    if abs(len(sound) - wanted) > len(known.says) + 1:
        yield Finding("recorded", "length", f"{len(sound)} passed on, {wanted:.1f} heard")


def _cells(
    known: Circumstances, sound: tones.Samples, voice: tones.Samples, *, is_cut: bool
) -> Iterator[Finding]:
    """Each cell for as long as it was heard; at a cut nobody knows to the sample what was."""
    ours = _lengths(tones.read([(0.0, sound)], known.setup.out_rate))
    theirs = _lengths(tones.read([(0.0, voice)], _WIRE_RATE))
    # At a cut a bit of a tone may be left, which is read as another.
    both = ours.keys() & theirs.keys()
    sure = {cell for cell in both if abs(ours[cell] - theirs[cell]) < READING_SECS / 2}
    if [cell for cell in ours if cell in sure] != [cell for cell in theirs if cell in sure]:
        yield Finding("recorded", "order", "it is not that of what was heard")
    off: dict[int, float] = defaultdict(float)
    for cell in ours.keys() | theirs.keys():
        off[cell.word] += ours.get(cell, 0.0) - theirs.get(cell, 0.0)
    for word, secs in off.items():
        cells = len({cell.index for cell in ours.keys() | theirs.keys() if cell.word == word})
        allowed = READING_SECS * (2 + cells / 4)
        if is_cut:
            allowed += known.tail_secs
        if abs(secs) > allowed:
            yield Finding("recorded", f"w{word}", f"{secs:+.3f} s of it were passed on")
            return


def _lengths(sighted: list[tones.Sighted]) -> dict[tones.Cell, float]:
    found: dict[tones.Cell, float] = {}
    for one in sighted:
        found[one.cell] = found.get(one.cell, 0.0) + one.until - one.at
    return found


def _moments(known: Circumstances) -> Iterator[Finding]:
    """A piece comes when it was heard, and no sooner."""
    so_far = 0.0
    spans = [(at, at + len(samples) / _WIRE_RATE) for at, samples in known.call.avatar_pcm]
    for at, frame in known.call.passed:
        so_far += len(frame.audio) / 2 / frame.sample_rate
        latest = at + BOT_SECS + known.slack_secs
        heard = sum(max(min(until, latest) - begun, 0.0) for begun, until in spans)
        if so_far > heard + BOT_SECS * (1 + len(known.interruptions)):
            yield Finding("recorded early", known.rel(at), f"{so_far:.3f} s, heard {heard:.3f} s")
            return
