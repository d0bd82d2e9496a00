"""The oracle of the fuzz finds what it is there for: in a good call something is falsified."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from pipecat.frames.frames import (
    BotStartedSpeakingFrame,
    BotStoppedSpeakingFrame,
    InterruptionFrame,
    LLMFullResponseStartFrame,
    StopFrame,
    TTSTextFrame,
)

from tests.support.fuzz import shrinking, tones
from tests.support.fuzz.call import Call, play
from tests.support.fuzz.generator import PROFILES, make
from tests.support.fuzz.oracle import Finding, judge
from tests.support.fuzz.parts import MarkFrame, PasserFrame, UpFrame
from tests.support.fuzz.script import (
    Break,
    End,
    Halt,
    Interrupt,
    Leave,
    Mark,
    Message,
    Passer,
    Return,
    Say,
    Script,
    Setup,
    Sound,
    Tone,
    parse,
)
from tests.support.fuzz.shrinking import shrink

SCRIPT = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 8), (1, 9), (2, 7)), 16_000, context="a"),
        Passer(0.3),
        Passer(0.4, up=True),
        Mark(1.0),
        Say(2.0, ((3, 8), (4, 10)), 16_000, context="b"),
        End(3.0),
    ),
)
SAME_SIZE = Script(
    0,
    Setup(round_trip_secs=0.25, max_unconfirmed=2),
    (
        Say(0.5, ((0, 4),), 16_000, texts="none"),
        Say(0.6, ((1, 4),), 16_000, texts="none"),
        End(3.0),
    ),
)
CUT = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 8), (1, 9), (2, 7)), 16_000, context="a"),
        Interrupt(0.4),
        Say(1.0, ((3, 8), (4, 10)), 16_000, context="b"),
        End(2.0),
    ),
)


TONE = Script(
    0,
    Setup(),
    (
        Say(
            0.1,
            ((0, 11), (1, 11), (2, 11), (3, 11)),
            16_000,
            frame_ms=1000,
            delivery="real time",
            context="a",
        ),
        Tone(0.3, amid=True),
        End(3.0),
    ),
)
KEPT = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 8), (1, 9), (2, 7)), 16_000, context="a", kept=True),
        Say(0.2, ((3, 8),), 16_000, context="b", texts="none"),
        Interrupt(0.5),
        End(3.0),
    ),
)
SLOW_TO_STOP = replace(
    KEPT,
    steps=(Break(0.05, on="agent.interrupt", kind="delay", delay_secs=0.5), *KEPT.steps),
)
HALTED = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 8), (1, 9), (2, 7)), 16_000, context="a", other="b", texts="none"),
        Halt(0.2),
        Passer(0.3, up=True, user=True),
        Say(1.0, ((3, 3),), 16_000, context="c", cut_ms=7, texts="sentence last"),
        Say(1.5, ((4, 8),), 16_000, context="d"),
        End(2.0),
    ),
)
AMID = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 8), (1, 9), (2, 7)), 16_000, delivery="real time", context="a"),
        Mark(0.2, secs=0.05, amid=True),
        Sound(0.3, (3, 8), amid=True),
        Say(2.0, ((4, 8), (5, 10)), 16_000, context="b"),
        End(3.0),
    ),
)
SLOW_FRAME = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 3),), frame_ms=20, delivery="real time", texts="none"),
        Say(0.12, ((1, 11),), frame_ms=20, delivery="real time", texts="none"),
        Mark(0.18, secs=0.3, amid=True),
        Sound(0.29, (2, 9), amid=True),
        End(3.0),
    ),
)
CRUMB = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 3),), 16_000, texts="none", cut_ms=9),
        Halt(0.1),
        Say(0.1, ((1, 8),), 16_000, texts="none"),
        End(3.0),
    ),
)
BEHIND_SOUND = Script(
    0,
    Setup(),
    (
        Say(0.1, ((0, 10),), 16_000, frame_ms=100, delivery="slow", texts="sentence"),
        Sound(0.3, (1, 9), 16_000, amid=True),
        Sound(0.31, (2, 9), 16_000, amid=True),
        End(3.0),
    ),
)
REST_BEFORE_TONE = Script(
    0,
    Setup(),
    (
        Say(
            0.1,
            ((0, 3), (1, 6), (2, 8)),
            22_050,
            frame_ms=60,
            delivery="stalled",
            texts="none",
            kept=True,
        ),
        Interrupt(0.88),
        Tone(0.92, amid=True),
        End(2.87),
    ),
)
TONE_OVER_BACKGROUND = replace(TONE, setup=Setup(mixer=True))
CRUMB_SAID_ANEW = Script(
    0,
    Setup(latency_secs=0.25, round_trip_secs=0.25),
    (
        Say(0.1, tuple((word, 9) for word in range(8)), 16_000, texts="none"),
        Say(0.88, ((8, 3),), 16_000, texts="none", kept=True, cut_ms=5),
        Interrupt(1.4),
        End(3.0),
    ),
)
RECORDED = replace(SCRIPT, setup=Setup(recorded=True))
ABSENT = Script(
    0,
    Setup(announced=True, session_secs=90.0),
    (
        Say(0.1, ((0, 8), (1, 9), (2, 7)), 16_000, context="a"),
        Leave(0.4),
        Return(0.6),
        Say(2.0, ((3, 8), (4, 10)), 16_000, context="b"),
        Say(80.0, ((5, 8), (6, 10)), 16_000, context="c"),
        End(95.0),
    ),
)


CUT_AT_ITS_START = Script(
    0,
    Setup(mixer=True),
    (
        Say(0.125, ((0, 8), (1, 3)), 16_000, delivery="real time"),
        Interrupt(0.14),
        End(1.5),
    ),
)


@pytest.mark.parametrize(
    "script",
    [
        SCRIPT, CUT, KEPT, SLOW_TO_STOP, HALTED, AMID, SLOW_FRAME, CRUMB, BEHIND_SOUND, RECORDED,
        ABSENT, REST_BEFORE_TONE, TONE_OVER_BACKGROUND, CRUMB_SAID_ANEW, SAME_SIZE,
    ],
)  # fmt: skip
def test_nothing_is_found_in_a_good_call(script: Script):
    assert judge(play(script)) == []
    assert of_transport(script) == []


def of_transport(script: Script) -> list[Finding]:
    """What is found of a transport, but for Pipecat's own timestamps."""
    return [one for one in judge(play(script, plain=True)) if one.rule != "text early"]


def by_avatar(call: Call, word: int) -> list[int]:
    return [at for at, one in enumerate(call.avatar) if one.cell.word == word]


def lose_word(call: Call) -> None:
    call.avatar = [one for one in call.avatar if one.cell.word != 1]


def lose_bit_of_word(call: Call) -> None:
    call.avatar = [one for one in call.avatar if one.cell != tones.Cell(1, 4)]


def lose_sample(call: Call) -> None:
    at, samples = call.avatar_pcm[0]
    call.avatar_pcm[0] = (at, samples[1:])


def repeat_word(call: Call) -> None:
    call.avatar += [
        replace(call.avatar[at], at=call.avatar[at].at + 1.2, until=call.avatar[at].until + 1.2)
        for at in by_avatar(call, 1)
    ]


def repeat_bit_of_word(call: Call) -> None:
    (one,) = [one for one in call.avatar if one.cell == tones.Cell(1, 4)]
    call.avatar.append(replace(one, at=one.at + 1.2, until=one.until + 1.2))


def swap_words(call: Call) -> None:
    numbers = {3: 4, 4: 3}
    call.avatar = [
        replace(one, cell=replace(one.cell, word=numbers.get(one.cell.word, one.cell.word)))
        for one in call.avatar
    ]


def pause_in_a_word(call: Call) -> None:
    call.avatar = [
        replace(one, at=one.at + 0.2, until=one.until + 0.2) if one.cell > tones.Cell(4, 4) else one
        for one in call.avatar
    ]


def share_no_size(call: Call) -> None:
    message = next(one for one in call.sandbox_log if one["what"] == "agent.speak")
    message["samples"] += 1


def say_it_twice_at_a_time(call: Call) -> None:
    call.transport = [call.avatar[at] for at in by_avatar(call, 1)]


def go_on_after_interruption(call: Call) -> None:
    last = call.avatar[by_avatar(call, 1)[-1]]
    call.avatar.append(replace(last, at=last.at + 0.3, until=last.until + 0.3))


def without(kind: type, nth: int = 0) -> Callable[[Call], None]:
    def falsify(call: Call) -> None:
        found = [seen for seen in call.behind if isinstance(seen.frame, kind) and not seen.up]
        call.behind.remove(found[nth])

    return falsify


def moved(kind: type, secs: float, nth: int = 0) -> Callable[[Call], None]:
    def falsify(call: Call) -> None:
        found = [seen for seen in call.behind if isinstance(seen.frame, kind) and not seen.up]
        call.behind.remove(found[nth])
        call.behind.append(replace(found[nth], at=found[nth].at + secs))
        call.behind.sort(key=lambda seen: seen.at)

    return falsify


def delay_up(call: Call) -> None:
    (seen,) = [seen for seen in call.gate if isinstance(seen.frame, UpFrame)]
    call.gate[call.gate.index(seen)] = replace(seen, at=seen.at + 0.2)


def forget_a_word(call: Call) -> None:
    call.context.remove("w1")


def remember_too_much(call: Call) -> None:
    call.context.append("w99")


def put(name: str, value: Any) -> Callable[[Call], None]:
    return lambda call: setattr(call, name, value)


def leave_session(call: Call) -> None:
    call.sessions = [replace(session, status="started") for session in call.sessions]


def keep_more_than_was_heard(call: Call) -> None:
    call.passed.append(call.passed[0])


def keep_less_than_was_heard(call: Call) -> None:
    del call.passed[0]


def keep_it_early(call: Call) -> None:
    call.passed = [(at - 0.5, frame) for at, frame in call.passed]


FALSIFIED: dict[str, tuple[Script, Callable[[Call], None], str]] = {
    "a word is missing": (SCRIPT, lose_word, "heard missing"),
    "20 ms are missing": (SCRIPT, lose_bit_of_word, "heard missing"),
    "a sample is missing": (SCRIPT, lose_sample, "samples"),
    "a word comes again": (SCRIPT, repeat_word, "heard twice"),
    "a bit of a word that must be said comes again": (KEPT, repeat_bit_of_word, "heard twice"),
    "a word that must be said comes again": (SLOW_TO_STOP, repeat_word, "heard twice"),
    "two words are swapped": (SCRIPT, swap_words, "heard order"),
    "a word has a pause": (SCRIPT, pause_in_a_word, "gap"),
    "a word goes in two messages whose size means no other": (SAME_SIZE, share_no_size, "gap"),
    "two mouths speak": (SCRIPT, say_it_twice_at_a_time, "two voices"),
    "the avatar goes on": (CUT, go_on_after_interruption, "tail"),
    "a text is early": (SCRIPT, moved(TTSTextFrame, -0.15, 1), "text early"),
    "a text is late": (SCRIPT, moved(TTSTextFrame, 0.4, 1), "text late"),
    "a text is lost": (SCRIPT, without(TTSTextFrame, 1), "text lost"),
    "the last text comes after the stop": (SCRIPT, moved(TTSTextFrame, 0.25, 2), "text after stop"),
    "the context lacks a word": (SCRIPT, forget_a_word, "context"),
    "the context has a word too many": (SCRIPT, remember_too_much, "context"),
    "a stop is missing": (SCRIPT, without(BotStoppedSpeakingFrame), "bot pairs"),
    "a start is missing": (SCRIPT, without(BotStartedSpeakingFrame, 1), "bot pairs"),
    "a start is early": (SCRIPT, moved(BotStartedSpeakingFrame, -0.2), "bot early"),
    "a start is late": (SCRIPT, moved(BotStartedSpeakingFrame, 0.2), "speech unannounced"),
    "a start is late behind a slow frame": (
        SLOW_FRAME,
        moved(BotStartedSpeakingFrame, 0.12, 1),
        "bot early",
    ),
    "a text is late behind sounds": (BEHIND_SOUND, moved(TTSTextFrame, 0.4), "text late"),
    "a stop frame is late behind what is too short to be read": (
        CRUMB,
        moved(StopFrame, 0.45),
        "frame late",
    ),
    "a stop is late": (SCRIPT, moved(BotStoppedSpeakingFrame, 0.5), "bot late"),
    "a stop is late behind a tone": (TONE, moved(BotStoppedSpeakingFrame, 0.3), "bot late"),
    "a stop is late behind a tone over a background": (
        TONE_OVER_BACKGROUND,
        moved(BotStoppedSpeakingFrame, 0.3),
        "bot late",
    ),
    "a stop is late behind what is too short to be read and said anew": (
        CRUMB_SAID_ANEW,
        moved(BotStoppedSpeakingFrame, 0.6),
        "bot late",
    ),
    "a start is late behind what came before a tone": (
        REST_BEFORE_TONE,
        moved(BotStartedSpeakingFrame, 0.2, 1),
        "speech unannounced",
    ),
    "a mark is early": (SCRIPT, moved(MarkFrame, -0.6), "frame order"),
    "a mark is late": (SCRIPT, moved(MarkFrame, 0.5), "frame late"),
    "a mark is lost": (SCRIPT, without(MarkFrame), "frame lost"),
    "a response starts late": (SCRIPT, moved(LLMFullResponseStartFrame, 0.5), "frame order"),
    "a system frame waits": (SCRIPT, moved(PasserFrame, 0.1), "passer late"),
    "a frame that goes up waits": (SCRIPT, delay_up, "passer late"),
    "a session is left": (SCRIPT, leave_session, "session left"),
    "two sessions": (SCRIPT, put("most_sessions", 2), "two sessions"),
    "a task is left": (SCRIPT, put("tasks", ["driver: <coroutine>"]), "task left"),
    "an exception": (SCRIPT, put("complaints", ["Traceback"]), "log"),
    "a stop frame comes before the speech": (HALTED, moved(StopFrame, -0.6), "frame early"),
    "a recorder is given more": (RECORDED, keep_more_than_was_heard, "recorded"),
    "a recorder is given less": (RECORDED, keep_less_than_was_heard, "recorded"),
    "a recorder is given it early": (RECORDED, keep_it_early, "recorded early"),
    "no end": (SCRIPT, put("ended_at", None), "never ends"),
    "a late end": (SCRIPT, put("ended_at", 1_100.0), "ends late"),
}


@pytest.mark.parametrize("name", FALSIFIED)
def test_it_finds(name: str):
    script, falsify, rule = FALSIFIED[name]
    call = play(script)
    falsify(call)
    assert rule in {finding.rule for finding in judge(call)}


def test_it_finds_speech_in_front_of_a_slow_message():
    script = Script(
        0,
        Setup(),
        (Message(0.1, secs=0.5), Say(0.2, ((0, 8),), 16_000, context="a"), End(2.0)),
    )
    assert of_transport(script) == []
    call = play(script, plain=True)
    call.busy_with = {step: (at, until + 0.5) for step, (at, until) in call.busy_with.items()}
    assert "busy floor" in {finding.rule for finding in judge(call)}


@pytest.mark.parametrize("profile", PROFILES)
def test_a_script_is_read_as_it_was_printed(profile: str):
    script = make(profile, 5)
    assert parse(str(script)) == script


@pytest.mark.parametrize(
    ("rate", "played_at"), [(16_000, 16_000), (8_000, 16_000), (44_100, 8_000)]
)
def test_words_are_read_after_resampling(rate: int, played_at: int):
    soxr = pytest.importorskip("soxr")
    words = [(number, 3 + number % 9) for number in range(tones.MOST_WORDS)]
    sound = tones.np.concatenate([tones.word(*word, rate) for word in words])
    heard = soxr.resample(sound, rate, played_at)[37:]
    wanted = [tones.Cell(number, index) for number, cells in words for index in range(cells)]
    assert [one.cell for one in tones.read([(0.0, heard)], played_at)] == wanted


@pytest.mark.parametrize("crumb_ms", range(1, 10))
def test_a_crumb_in_front_of_a_word_is_not_read_as_a_third(crumb_ms: int):
    misread: list[tones.Cell] = []
    for number in range(tones.MOST_WORDS - 1):
        crumb = tones.word(number, 1, 16_000)[: 16 * crumb_ms]
        sound = tones.np.concatenate([crumb, tones.word(number + 1, 1, 16_000)])
        there = {tones.Cell(number, 0), tones.Cell(number + 1, 0)}
        misread += [one.cell for one in tones.read([(0.0, sound)], 16_000) if one.cell not in there]
    assert misread == []


def test_shrinking_keeps_what_fails(monkeypatch: pytest.MonkeyPatch):
    def examine(script: Script) -> list[Finding]:
        loud = any(isinstance(step, Sound) for step in script.steps)
        return [Finding("a rule", "a sound")] if loud else []

    monkeypatch.setattr(shrinking, "examine", examine)
    script = next(
        script
        for script in (make("sounds", seed) for seed in range(50))
        if any(isinstance(step, Sound) for step in script.steps)
    )
    small = shrink(script, "a rule")
    assert [type(step) for step in small.steps] == [Sound, End]
    assert small.setup == Setup()


def test_an_interruption_is_seen_by_the_service():
    call = play(CUT)
    assert any(isinstance(seen.frame, InterruptionFrame) for seen in call.gate)
    assert math.isfinite(call.ended_at or math.inf)


@pytest.mark.parametrize("until_secs", [0.0504, 0.0525, 0.0549])
def test_a_cell_that_breaks_off_is_read_if_half_of_it_is_there(until_secs: float):
    samples = tones.word(5, 3, 16_000)[: round(16_000 * until_secs)]
    last = tones.read([(1.0, samples)], 16_000)[-1]
    assert last.cell == tones.Cell(5, 2)
    assert last.until == pytest.approx(1.0 + until_secs, abs=1e-4)


def test_a_transport_lets_words_pass_their_start_too():
    call = play(CUT_AT_ITS_START, plain=True)
    assert [seen.frame.text for seen in call.behind if isinstance(seen.frame, TTSTextFrame)]
    assert not any(isinstance(seen.frame, LLMFullResponseStartFrame) for seen in call.behind)
    assert call.context == []
    assert judge(call) == []
