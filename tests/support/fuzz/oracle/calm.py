"""Rules for a call that nothing disturbs: the avatar says everything, to the sample."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.messages import went_in_two
from tests.support.fuzz.parts import sound_of
from tests.support.fuzz.script import (
    Say,
)


def calm(known: Circumstances) -> Iterator[Finding]:
    if known.call.plain or known.is_disturbed or known.delay_secs:
        return
    for one in known.heard:
        step = known.step_of_word[one.cell.word]
        if not one.by_avatar and isinstance(step, Say):
            yield Finding("avatar silent", f"w{one.cell.word}", "the transport said it")
            break
    yield from _gaps(known)
    yield from _exact(known)


def _gaps(known: Circumstances) -> Iterator[Finding]:
    for say in known.says:
        if say.delivery != "burst" or (say.kept and known.interruptions):
            continue  # To silence what follows it, the avatar has to begin it anew.
        heard = known.core(say, known.heard_of.get(say, []))
        for one, next_one in pairwise(heard):
            if next_one.at - one.until > 0.08 and not went_in_two(known.call, next_one.at):
                yield Finding("gap", f"w{next_one.cell.word}", f"{next_one.at - one.until:.3f} s")
                break


def _exact(known: Circumstances) -> Iterator[Finding]:
    if any(say.rate != 16_000 or say.channels != 1 for say in known.says):
        return
    if known.interruptions or known.cancelled_at < math.inf:
        return
    wanted = [sound_of(say) for say in known.says if say.words]
    heard = [samples for _, samples in known.call.avatar_pcm]
    if not wanted and not heard:
        return
    all_wanted = np.concatenate(wanted) if wanted else np.zeros(0, np.int16)
    all_heard = np.concatenate(heard) if heard else np.zeros(0, np.int16)
    if not np.array_equal(all_wanted, all_heard):
        yield Finding("samples", "all", f"{len(all_heard)} heard, {len(all_wanted)} said")
