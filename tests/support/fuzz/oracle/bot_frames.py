"""Rules for the bot's speaking frames: in pairs, around what is heard."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise

from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    TTSStartedFrame,
    TTSStoppedFrame,
    TTSTextFrame,
)

from tests.support.fuzz import tones
from tests.support.fuzz.oracle.circumstances import Circumstances
from tests.support.fuzz.oracle.evidence import Heard, merged
from tests.support.fuzz.oracle.finding import Finding
from tests.support.fuzz.oracle.tolerances import (
    BOT_SECS,
    HELD_SECS,
    NO_STOP_SECS,
    PASS_SECS,
    READING_SECS,
    STOP_SECS,
    TEXT_SECS,
)
from tests.support.fuzz.parts import Seen
from tests.support.fuzz.script import (
    Say,
)


def bot(known: Circumstances) -> Iterator[Finding]:
    went_down = [s for s in known.call.behind if not s.up]
    down = _spans(went_down)
    yield from _pairs(known, went_down, "down")
    yield from _pairs(known, [s for s in known.call.gate if s.up], "up")
    cells = [one for one in known.heard if isinstance(known.step_of_word[one.cell.word], Say)]
    starts = [start for start, _ in down]
    unknown_secs = known.unknown_secs
    for one in cells:
        position = bisect_right(starts, one.at + BOT_SECS + unknown_secs) - 1
        if (
            position < 0
            or one.until
            > down[position][1] + BOT_SECS + max(known.slack_secs, unknown_secs) + tones.CELL_SECS
        ):
            if one.until > known.cancelled_at or (known.is_deaf and one.by_avatar):
                continue
            if known.after_cut(one) or (one.by_avatar and known.on_its_way(one)):
                continue
            if _is_rest_behind_stop(known, one) or _waits_for_slow_frame(known, one):
                continue
            yield Finding("speech unannounced", f"w{one.cell.word}", known.rel(one.at))
            break
    for start, stop in down:
        sounds_from = _sounds_from(known, start)
        within = [one for one in cells if sounds_from <= one.at <= stop + BOT_SECS]
        if _begins_unread(known, start) and (not within or within[0].at > start + BOT_SECS):
            continue
        if not within:
            if stop - start > BOT_SECS and not (known.setup.drop or known.losses or known.may_miss):
                yield Finding("bot silent", known.rel(start), f"until {known.rel(stop)}")
            continue
        if within[0].at > start + BOT_SECS and not known.losses:
            yield Finding("bot early", f"w{within[0].cell.word}", f"{within[0].at - start:.3f} s")
        last = within[-1]
        say = known.step_of_word[last.cell.word]
        assert isinstance(say, Say)
        stopped = [s.at for s in known.gate_of[say] if isinstance(s.frame, TTSStoppedFrame)]
        silence = STOP_SECS if stopped else NO_STOP_SECS + STOP_SECS
        answer_secs = known.setup.latency_secs + known.setup.round_trip_secs
        due = max([last.until, *(at + answer_secs for at in stopped)])
        if not stopped and say.rate != 16_000:
            # What a resampler holds of it comes with what follows it, and sounds, too.
            given = (at for at in known.rest_given_at(say) if at - last.until < NO_STOP_SECS)
            due = max([due, *(at + answer_secs for at in given)])
        if stopped and stopped[0] - last.until > NO_STOP_SECS:
            due = last.until + NO_STOP_SECS
        # What is too short to be read sounds, too, and may have no end.
        tiny = [one for one in known.says if one.is_tiny]
        if tiny or any(known.is_said_anew_behind(one, last.until) for one in known.says):
            due = max([due, *(until for begun, until in known.unread if due <= begun <= stop)])
        silence += sum(_delivery_secs(one) for one in tiny)
        limit = due + silence + known.slack_secs + known.delay_secs
        over = due + silence - STOP_SECS
        if _is_busy(known, over, stop) or _is_cut(known, due, over, stop):
            continue
        if stop > limit and not known.losses and stop < math.inf:
            yield Finding("bot late", f"w{last.cell.word}", f"{stop - due:.3f} s after its sound")
    yield from _stop_before_text(known, down)


def _is_busy(known: Circumstances, due: float, stop: float) -> bool:
    """Whether the transport was busy without a pause until the very stop.

    Speech ends when all before it came out: tones, messages, sounds, slow frames.
    """
    is_through = any(abs(stop - until) <= PASS_SECS for _, until in known.occupied)
    return is_through and stop <= known.busy_about(due)[1] + PASS_SECS


def _is_cut(known: Circumstances, due: float, over: float, stop: float) -> bool:
    """Whether more had come before the silence was an end, and was cut before it was heard.

    What had come behind a tone or a sound waited for that.
    """
    if not any(abs(stop - cut) <= PASS_SECS for cut in [*known.interruptions, known.cancelled_at]):
        return False
    answer_secs = known.setup.latency_secs + known.setup.round_trip_secs
    heard_from = stop - answer_secs - known.delay_secs - BOT_SECS
    latest = due + NO_STOP_SECS + READING_SECS
    busy_from, busy_until = known.busy_about(over)
    before = max((at for _, at in merged(known.occupied) if at < busy_from), default=-math.inf)
    bars = [at for at in known.barred_at if at <= busy_from + PASS_SECS]
    # Of several that came since the transport was busy before, the first begins what it does.
    behind = min((at for at in bars if at > before), default=max(bars, default=math.inf))
    return any(
        heard_from < (max(at, busy_until) if at >= behind else at) and at <= latest
        for say in known.says
        for at in known.audio_at(say)
    )


def _delivery_secs(tiny: Say) -> float:
    """From the first sound of what is too short to be read to its end."""
    if not tiny.stopped:
        return NO_STOP_SECS
    return max(tiny.secs, 1.3 * tiny.frame_ms / 1000)


def _is_rest_behind_stop(known: Circumstances, one: Heard) -> bool:
    """Whether it is what a resampler held of speech that counts as stopped without its end.

    It comes with what ends the speech after all, or before a sound amid it, and starts none.
    """
    say = known.step_of_word[one.cell.word]
    assert isinstance(say, Say)
    heard = known.heard_of[say]
    if say.rate == 16_000 or not (known.is_rest(say, one) or known.is_rest_amid(say, one)):
        return False
    came_at, at = known.audio_at(say)[-1], heard[0].at
    is_cut = any(came_at <= cut <= at for cut in known.interruptions)
    if known.may_miss and (is_cut or at - came_at > NO_STOP_SECS):
        return True  # Nobody heard what came before it, which was refused, or seemed to be said.
    return any(
        0 <= one.at - next_one.at <= HELD_SECS
        and (
            next_one.at - before.until > NO_STOP_SECS - TEXT_SECS
            or any(before.at <= cut <= next_one.at for cut in known.interruptions)
        )
        for before, next_one in pairwise(heard)
    )


def _waits_for_slow_frame(known: Circumstances, one: Heard) -> bool:
    """Whether what came amid the speech before it keeps the transport busy.

    Speech does not wait for that, but the frames that say so do.
    """
    return any(at <= one.at <= until for at, until in known.held_up)


def _sounds_from(known: Circumstances, start: float) -> float:
    """From when on speech may sound whose beginning is told of at a moment.

    What came amid the speech before it, and keeps the transport busy, holds up that, too.
    """
    waited_from = (at for at, until in merged(known.held_up) if abs(until - start) <= PASS_SECS)
    return min([start - BOT_SECS, *waited_from])


def _begins_unread(known: Circumstances, at: float) -> bool:
    """Whether it begins with so little sound that nobody can read it.

    So little may be left of uninterruptible speech, too, when the speech behind it is cut.
    """
    is_rest = any(say.kept for say in known.says) and bool(known.interruptions)
    may_be = is_rest or any(say.is_tiny for say in known.says)
    return may_be and known.sounds_about(at, BOT_SECS)


def _spans(seen: list[Seen]) -> list[tuple[float, float]]:
    """From when to when the bot is said to speak; for ever, if nobody says that it stopped."""
    spans: list[tuple[float, float]] = []
    start: float | None = None
    for one in seen:
        if isinstance(one.frame, BotStartedSpeakingFrame):
            start = one.at
        elif isinstance(one.frame, BotStoppedSpeakingFrame):
            if start is not None:
                spans.append((start, one.at))
            start = None
    if start is not None:
        spans.append((start, math.inf))
    return spans


def _pairs(known: Circumstances, seen: list[Seen], where: str) -> Iterator[Finding]:
    start: float | None = None
    for one in seen:
        if isinstance(one.frame, BotStartedSpeakingFrame):
            if start is not None:
                yield Finding("bot pairs", where, f"started twice, at {known.rel(one.at)}")
            start = one.at
        elif isinstance(one.frame, BotStoppedSpeakingFrame):
            if start is None:
                yield Finding("bot pairs", where, f"stopped twice, at {known.rel(one.at)}")
            start = None
    if start is not None and known.cancelled_at == math.inf:
        yield Finding("bot pairs", where, f"started at {known.rel(start)}, and never stopped")


def _stop_before_text(known: Circumstances, spans: list[tuple[float, float]]) -> Iterator[Finding]:
    if known.left_unseen:
        return
    order = {seen.frame.id: at for at, seen in enumerate(known.call.behind)}
    stops = [
        (order[s.frame.id], s.at)
        for s in known.call.behind
        if isinstance(s.frame, BotStoppedSpeakingFrame) and not s.up
    ]
    for say in known.says:
        if say.texts in ("sentence first", "sentence last") or say.is_tiny:
            continue
        if known.cut_at(say) != math.inf:
            continue
        heard = known.heard_of.get(say)
        if not heard:
            continue
        begins = [
            order.get(s.frame.id, -1)
            for s in known.gate_of[say]
            if isinstance(s.frame, TTSStartedFrame)
        ]
        for text in known.gate_of[say]:
            if not isinstance(text.frame, TTSTextFrame) or text.frame.id not in order:
                continue
            for position, at in stops:
                if begins and position < begins[0]:
                    continue  # It is that of the speech before, and this one has not begun yet.
                if known.is_deaf and _silent_secs(known, at) > NO_STOP_SECS - TEXT_SECS:
                    continue  # It is no end: what comes next is not known yet.
                if any(abs(at - until) <= PASS_SECS for _, until in known.held_up):
                    continue  # It is that of the speech before, which waited for a slow frame.
                if _overtakes(known, at, known.behind_at[text.frame.id]):
                    continue
                if _goes_on(known, say, text, at):
                    continue
                # A stop at its very beginning is that of the speech before.
                within = heard[0].at + READING_SECS < at and text.at < at - PASS_SECS
                until = heard[-1].until - READING_SECS
                if within and at > until and position < order[text.frame.id]:
                    word = text.frame.text.split()[0]
                    yield Finding("text after stop", word, f"the stop came at {known.rel(at)}")
                    return


def _overtakes(known: Circumstances, stop: float, text_at: float) -> bool:
    """Whether it is an interruption's stop, and the transport had the text already.

    An interruption waits for nothing, and what it does not drop comes out with the next chunk.
    """
    chunk_secs = known.setup.chunks / 100
    is_cut = any(abs(stop - cut) <= PASS_SECS for cut in known.interruptions)
    return is_cut and text_at <= stop + chunk_secs + PASS_SECS


def _goes_on(known: Circumstances, say: Say, text: Seen, stop: float) -> bool:
    """Whether a word had just begun when speech was silent for too long, and more came of it.

    Then the stop is no end of the word, which nobody knew yet.
    """
    if not say.texts.startswith("words"):
        return False
    more_came_at = known.more_came_at(int(text.frame.text[1:]))
    if more_came_at is None:
        return False
    return stop <= more_came_at and _silent_secs(known, stop) > NO_STOP_SECS - TEXT_SECS


def _silent_secs(known: Circumstances, at: float) -> float:
    """How long it has been silent at a moment."""
    return at - max((one.until for one in known.heard if one.at < at), default=0.0)
