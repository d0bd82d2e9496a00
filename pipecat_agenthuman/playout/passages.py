"""What listening to a part of an utterance tells. Pure.

The bot sits in the room in which the avatar speaks. When a part of an utterance would sound
without any latency follows from the confirmations. Where it is found in what is heard of the
avatar tells the latency, and whether the avatar is heard at all, and stops when it is told to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from pipecat_agenthuman.playout.envelopes import (
    HOP_SECS,
    Envelope,
    HeardSound,
    LaidSound,
    quantile,
)
from pipecat_agenthuman.playout.latency import LONGEST_HEARD_LATENCY_SECS, Reading
from pipecat_agenthuman.playout.matching import LEAST_QUALITY, match

PASSAGE_SECS: Final = 3.0
"""How much of an utterance is looked for in what is heard."""

LEAST_PASSAGE_SECS: Final = 0.8
"""Less is found in too many places."""

LEAD_SECS: Final = 0.3
"""The silence before an utterance is looked for, too: its beginning tells most."""

STOP_SECS: Final = 1.0
"""How long after an interrupt was confirmed the avatar may be heard yet."""

_LEAST_KNOWN: Final = 0.6
"""How much of the time something must be known of what was heard."""

_SURELY_KNOWN: Final = 0.95
"""The same, in order to say that it was nothing."""

_SILENCE_DB: Final = -60.0
"""Less is not heard; a voice has its bands at -50 to -20 dB."""

_SOUND_ROWS: Final = 5
"""How many steps in a row are a sound: a click is none."""

_EARLY_SECS: Final = 0.1
"""How much before its confirmation a sound is looked for, too: that is an estimate, and a peak
at the edge would be none."""

_ASIDE_SECS: Final = 0.15
"""By how much the latency of one utterance may differ when it is looked for where it should be."""


class Verdict(StrEnum):
    """What came of listening to a passage."""

    MEASURED = "measured"
    """It was found."""

    UNSURE = "unsure"
    """Something was heard, but it is not surely this."""

    SILENT = "silent"
    """Nothing at all was heard: it was confirmed, and did not sound."""

    UNJUDGED = "unjudged"
    """It was too short, or interrupted too early, or too little is known of what was heard."""


@dataclass(slots=True)
class Passage:
    """The beginning of an utterance that is listened to.

    Attributes:
        starts_at: When it would sound without any latency.
        ends_at: When it would be over; at most ``PASSAGE_SECS`` of it are looked for.
        known_from: From when on it is known what was to sound.
        cut_at: When it was interrupted, if it was.
    """

    starts_at: float
    ends_at: float
    known_from: float
    cut_at: float | None = None

    @property
    def closes_at(self) -> float:
        """Up to when what follows belongs to it."""
        return self.starts_at + PASSAGE_SECS

    @property
    def heard_until(self) -> float:
        """When the last of it was heard, however long that takes."""
        if self.cut_at is not None:
            return self.cut_at
        return min(self.ends_at, self.closes_at) + LONGEST_HEARD_LATENCY_SECS


@dataclass(frozen=True, slots=True)
class Judgement:
    """What listening to a passage told.

    Attributes:
        verdict: What came of it.
        reading: Its latency, if it was found.
        heard_after_secs: How long after its confirmation something was heard first.
    """

    verdict: Verdict
    reading: Reading | None = None
    heard_after_secs: float | None = None


def judge(passage: Passage, expected: LaidSound, heard: HeardSound) -> Judgement:
    """Look for a passage in what was heard."""
    ends_at = min(passage.ends_at, passage.closes_at)
    if ends_at - passage.starts_at < LEAST_PASSAGE_SECS:
        return Judgement(Verdict.UNJUDGED)
    start = passage.starts_at - LEAD_SECS
    # Behind an interruption nothing is known: the rest did not sound, but something else may.
    begin = start - _EARLY_SECS
    room = heard.envelope(begin, ends_at + LONGEST_HEARD_LATENCY_SECS)
    room = room.known_between(-math.inf, passage.heard_until - begin)
    since = room.part(LEAD_SECS + _EARLY_SECS)
    if since.known_share < _LEAST_KNOWN and passage.cut_at is None:
        return Judgement(Verdict.UNJUDGED)
    first_row = _first_sound(since)
    after_secs = None if first_row is None else first_row * HOP_SECS
    wanted = expected.envelope(start, ends_at).known_between(passage.known_from - start, math.inf)
    found = match(wanted, room)
    if found is not None and found.is_sure:
        secs = max(found.shift_secs - _EARLY_SECS, 0.0)
        reading = Reading(secs, found.quality, passage.starts_at)
        return Judgement(Verdict.MEASURED, reading, after_secs)
    if first_row is not None:
        return Judgement(Verdict.UNSURE, heard_after_secs=after_secs)
    is_wanted = _first_sound(wanted.part(LEAD_SECS)) is not None
    if is_wanted and since.known_share >= _SURELY_KNOWN and is_silent(since):
        return Judgement(Verdict.SILENT)
    return Judgement(Verdict.UNJUDGED)


def is_silent(heard: Envelope) -> bool:
    """Whether there was nothing to hear, as far as is known."""
    return not (heard.known & (heard.levels > _SILENCE_DB).any(axis=1)).any()


@dataclass(slots=True)
class Stop:
    """Speech that was interrupted, and what would have sounded of it.

    Attributes:
        expected: What was to sound.
        ends_at: When that would have been over without any latency.
        confirmed_at: When the interrupt was confirmed, if it was.
        listens_until: When something else was to sound, if it was.
    """

    expected: LaidSound
    ends_at: float
    confirmed_at: float | None = None
    listens_until: float = math.inf

    def heard_until(self, latency_secs: float) -> float:
        """When the last of it would be heard."""
        return min(self.ends_at + latency_secs, self.listens_until)


def went_on(stop: Stop, heard: HeardSound, latency_secs: float) -> bool | None:
    """Whether speech that was interrupted was heard all the same, long after it should be over.

    Args:
        stop: The speech.
        heard: What was heard.
        latency_secs: How long after its confirmation it sounds.

    Returns:
        True if that very speech was heard, False if nothing was, None if neither is certain.
    """
    if stop.confirmed_at is None:
        return None
    start, end = stop.confirmed_at + STOP_SECS, stop.heard_until(latency_secs)
    if end - start < LEAST_PASSAGE_SECS:
        return None
    room = heard.envelope(start - _ASIDE_SECS, end + _ASIDE_SECS)
    if room.known_share < _LEAST_KNOWN:
        return None
    expected = stop.expected.envelope(start - latency_secs, end - latency_secs)
    if is_silent(heard.envelope(start, end)) and not is_silent(expected):
        return False
    found = match(expected, room)
    return True if found is not None and found.surely >= LEAST_QUALITY else None


def _first_sound(heard: Envelope) -> int | None:
    """The row with which the first sound begins."""
    known = heard.levels[heard.known]
    if not len(known):
        return None
    noise = np.maximum(quantile(known, 0.1) + 12.0, _SILENCE_DB)
    loud = heard.known & (heard.levels > noise).any(axis=1)
    runs = np.convolve(loud.astype(np.int64), np.ones(_SOUND_ROWS, np.int64), mode="valid")
    rows = np.flatnonzero(runs == _SOUND_ROWS)
    return int(rows[0]) if len(rows) else None
