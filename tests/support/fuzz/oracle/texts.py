"""Rules for words and sentences: each comes with its sound, and the context is what was heard."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator

from pipecat.frames.frames import InterruptionFrame, TTSTextFrame

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.evidence import Heard
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import (
    ANSWER_SECS,
    HELD_SECS,
    LATE_SECS,
    PASS_SECS,
    READING_SECS,
    TEXT_SECS,
)
from tests.support.fuzz.parts import Seen
from tests.support.fuzz.script import (
    Say,
)


def texts(known: Circumstances) -> Iterator[Finding]:
    for say in known.says:
        if known.is_doubtful(say) or known.left_unseen:
            continue
        seen = [s for s in known.gate_of.get(say, []) if isinstance(s.frame, TTSTextFrame)]
        for text in seen:
            if say.is_tiny:
                yield from _of_tiny(known, say, text)
                continue
            numbers = [int(word[1:]) for word in text.frame.text.split()]
            if say.texts.startswith("words"):
                yield from _word(known, say, text, numbers[0])
            else:
                yield from _sentence(known, say, text)


def _of_tiny(known: Circumstances, say: Say, text: Seen) -> Iterator[Finding]:
    """Of what is too short to be read, the text comes, in its place among other frames."""
    is_cut = known.cut_at(say) < math.inf or known.cancelled_at < math.inf
    if text.frame.id in known.behind_at or is_cut or known.may_miss or known.setup.drop:
        return
    yield Finding("text lost", text.frame.text.split()[0], "no interruption, and it never came")


def _word(known: Circumstances, say: Say, text: Seen, number: int) -> Iterator[Finding]:
    at = known.behind_at.get(text.frame.id)
    cells = known.heard_word.get(number, [])
    cut = known.cut_at(say)
    subject = f"w{number}"
    if at is None:
        if not cells:
            return
        lengths = dict(say.words)
        if known.may_miss and any(
            len({one.cell for one in known.heard_word.get(piece, [])}) < lengths[piece]
            for piece in (number - 1, number)
            if piece in lengths
        ):
            return  # A piece of it was refused, or never said, and maybe its very beginning.
        if known.may_miss and (
            _belongs_to_unheard(known, say) or all(map(known.counts_as_unheard, cells))
        ):
            return
        if cells[-1].until - cells[0].at <= READING_SECS:
            return  # A word is known by what follows its beginning, and that never came.
        due = known.let_out_at(max(known.onsets(number)[-1], text.at))
        if due < min(cut, known.cancelled_at) - TEXT_SECS:
            yield Finding("text lost", subject, f"heard at {known.rel(due)}, cut {known.rel(cut)}")
        return
    if not cells:
        before = known.heard_word.get(number - 1, [])
        boundary = before and abs(before[-1].until - at) < TEXT_SECS
        lengths = dict(say.words)
        due = [at, *_due_behind(known, before, lengths.get(number - 1, 0))]
        is_news = any(map(known.is_news, due)) or known.began_as_news(say)
        if not (boundary or is_news or _belongs_to_nothing(known, say)) and not (
            known.call.plain or (at > cut - TEXT_SECS > 0 and cut < math.inf)
        ):
            yield Finding("text unheard", subject, f"at {known.rel(at)}, and it was never said")
        return
    onsets = known.onsets(number)
    early = 0.0 if _belongs_to_nothing(known, say) else onsets[0] - at
    # It was told of at the very moment at which nobody went on.
    is_cut = say.kept and any(abs(cut - at) <= READING_SECS for cut in known.interruptions)
    tolerance = TEXT_SECS + known.unknown_secs + known.lag_secs(say)
    if early > (-TEXT_SECS if known.call.plain else tolerance) and not (
        is_cut or known.is_news(at)
    ):
        yield Finding("text early", subject, f"{early:.3f} s before its sound", early)
    due = max(onsets[-1], text.at, known.passed_at(at))
    if _follows_refused(known, say):
        answer_secs = known.setup.latency_secs + known.setup.round_trip_secs
        due = max(due, text.frame.metadata["due"] + answer_secs)
    if at > due + LATE_SECS:
        late = at - due
        yield Finding("text late", subject, f"{late:.3f} s, at {known.rel(at)}", late)


def _follows_refused(known: Circumstances, say: Say) -> bool:
    """Whether the TTS service tells of it behind speech that nobody took for new."""
    before = [one for one in known.says if known.gate_of[one] and one.at < say.at][-1:]
    return any(known.is_doubtful(one) and not known.heard_of.get(one) for one in before)


def _belongs_to_speech_before(known: Circumstances, say: Say) -> bool:
    """Whether it has neither a start nor a name, and was heard of speech that had no end yet."""
    if say.started or say.context is not None:
        return False
    before = [one for one in known.says if known.gate_of[one] and one.at < say.at]
    return bool(before) and not before[-1].stopped and bool(known.heard_of.get(before[-1]))


def _belongs_to_unheard(known: Circumstances, say: Say) -> bool:
    """Whether it has neither a start nor a name, and the speech before it was not heard to its end.

    Then its words belong to that.
    """
    if say.started or say.context is not None:
        return False
    before = [one for one in known.says if known.audio_at(one) and one.at < say.at]
    return bool(before) and not known.is_over(before[-1])


def _due_behind(known: Circumstances, before: list[Heard], cells: int) -> list[float]:
    """When a word is due that was not heard: without a pause, or with one in the word before.

    Speech goes on with the next message, also if the avatar had gone before that sounded.
    """
    if not before:
        return []
    last = before[-1]
    rest_secs = (cells - last.cell.index) * tones.CELL_SECS - (last.until - last.at)
    begins = sorted([*(begun for begun, _ in known.stretches), *known.queued_for])
    goes_on = (begun for begun in begins if begun > last.until)
    return [last.until + rest_secs, *(at + rest_secs for at in [*goes_on][:1])]


def _belongs_to_nothing(known: Circumstances, say: Say) -> bool:
    """Whether words came before speech that nobody announced.

    Then they belong to what is being said, or to nothing, and wait for their own time.
    """
    if say.started:
        return False
    texts_at = [s.at for s in known.gate_of[say] if isinstance(s.frame, TTSTextFrame)]
    audio_at = known.audio_at(say)
    return bool(texts_at) and (not audio_at or texts_at[0] <= audio_at[0])


def _sentence(known: Circumstances, say: Say, text: Seen) -> Iterator[Finding]:
    at = known.behind_at.get(text.frame.id)
    cut = known.cut_at(say)
    subject = text.frame.text.split()[0]
    if say.texts == "sentence first":
        # Without a start it may as well belong to refused speech before it.
        is_refused = known.may_miss and not (say.started and known.heard_of.get(say))
        if at is None and cut == math.inf and not (known.setup.drop or is_refused):
            yield Finding("text lost", subject, "no interruption, and it never came")
        return
    heard = known.heard_of.get(say, [])
    wanted = sum(cells for _, cells in say.words)
    may_lack = 1 if say.stopped else math.ceil(HELD_SECS / tones.CELL_SECS)
    whole = bool(heard) and len({one.cell for one in heard}) >= wanted - may_lack
    if at is None:
        is_over = bool(heard) and heard[-1].cell == tones.Cell(
            say.words[-1][0], say.words[-1][1] - 1
        )
        until = min(cut, known.cancelled_at) - TEXT_SECS
        if whole and is_over and known.let_out_at(_due(known, say, text)) < until:
            yield Finding("text lost", subject, f"all was heard by {known.rel(heard[-1].until)}")
        return
    if not heard:
        may_have_begun = known.call.plain or known.began_as_news(say) or known.went_amid_onset(say)
        if not (may_have_begun or _is_held(say) or _belongs_to_speech_before(known, say)):
            yield Finding("text unheard", subject, f"at {known.rel(at)}, and it was never said")
        return
    due = known.core(say, heard)[-1].until
    if _is_held(say):
        due = at
    tolerance = (
        known.unknown_secs + known.lag_secs(say) + (HELD_SECS if say.rate <= 8_000 else TEXT_SECS)
    )
    if say.delivery != "burst":
        tolerance += known.setup.latency_secs + known.setup.round_trip_secs
    if whole and due - at > (-TEXT_SECS if known.call.plain else tolerance):
        yield Finding("text early", subject, f"{due - at:.3f} s before its sound ends", due - at)
    may_be_less = known.may_miss or known.losses or known.call.plain
    if not whole and at < cut and not may_be_less:
        yield Finding("text unheard", subject, f"{len(heard)} of {wanted} cells were heard")
    late = at - max(_due(known, say, text), known.passed_at(at))
    if late > LATE_SECS + (ANSWER_SECS if known.is_deaf else 0.0):
        yield Finding("text late", subject, f"{late:.3f} s, at {known.rel(at)}", late)


def _due(known: Circumstances, say: Say, text: Seen) -> float:
    """When its place is reached: behind its speech, and behind sounds and tones before it."""
    over_at = _over_at(known, say, text)
    is_behind = any(text.at >= at for at in known.barred_at)
    return max(over_at, known.busy_about(over_at)[1]) if is_behind else over_at


def _over_at(known: Circumstances, say: Say, text: Seen) -> float:
    """When all of it was heard, and its text there: the last of it may come with its end."""
    over_at = max(known.said_anew_at(say), known.seemed_until(say), text.at)
    if say.rate == 16_000:
        return over_at
    answer_secs = known.setup.latency_secs + known.setup.round_trip_secs
    return max([over_at, *(at + answer_secs for at in known.told_over_at(say))])


def _is_held(say: Say) -> bool:
    """Whether all of it waits in a resampler for an end that is missing.

    Then its text goes ahead, as with a transport: that keeps such audio for ever.
    """
    return not say.stopped and say.secs <= HELD_SECS + 2 * tones.CELL_SECS


def context(known: Circumstances) -> Iterator[Finding]:
    """What stands in the context came by, and the other way round."""

    def came_by(before: float) -> Counter[str]:
        return Counter(
            word
            for seen in known.call.behind
            if isinstance(seen.frame, TTSTextFrame) and not seen.up and seen.at < before
            for word in seen.frame.text.split()
        )

    # What comes at the very moment of the cancelling is in it or not.
    surely = came_by(known.cancelled_at - PASS_SECS)
    at_most = came_by(known.cancelled_at + PASS_SECS)
    stands = Counter(known.call.context)
    # One that comes from the end is in the context before it is at the service.
    cuts = [s.at for s in known.call.behind if isinstance(s.frame, InterruptionFrame)]
    cuts += known.interruptions
    at_cut = {
        word
        for seen in known.call.behind
        if isinstance(seen.frame, TTSTextFrame)
        and any(abs(seen.at - cut) < PASS_SECS for cut in cuts)
        for word in seen.frame.text.split()
    }
    came_at = {
        word: seen.at
        for seen in known.call.behind
        if isinstance(seen.frame, TTSTextFrame)
        for word in seen.frame.text.split()
    }
    for word in surely - stands:
        say = known.step_of_word[int(word[1:])]
        assert isinstance(say, Say)
        opens = say.started or say.turn
        closed = any(at >= known.gate_of[say][0].at - PASS_SECS for at in known.interruptions)
        if not opens or _belongs_to_nothing(known, say) or (say.kept and closed) or word in at_cut:
            continue  # No turn of the assistant is open then, also with a transport.
        if known.start_was_cut(say, came_at[word]):
            continue
        yield Finding("context", word, "came by, and is not in the context")
    for word in stands - at_most:
        yield Finding("context", word, "is in the context, and never came by")
