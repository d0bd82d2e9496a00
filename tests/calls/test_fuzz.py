"""Random whole calls, and every event at every moment of a fixed one, judged by what was heard.

``AGENTHUMAN_FUZZ=20000`` plays so many calls, on all processors, and every moment;
``AGENTHUMAN_FUZZ_PROFILE=faults`` only those of one profile. A call that fails prints its script:
``python -m tests.support.fuzz --script FILE --shrink`` plays that again and makes it small.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import pytest

from tests.support.fuzz.call import Call, play
from tests.support.fuzz.generator import PROFILES, make
from tests.support.fuzz.oracle import Finding, examine
from tests.support.fuzz.script import (
    Break,
    End,
    Expire,
    Halt,
    Interrupt,
    Leave,
    Lose,
    Mark,
    Message,
    Passer,
    Say,
    Script,
    Setup,
    Sound,
    Tone,
)
from tests.support.fuzz.sweep import CALLS, EVENTS, STEP_MS, sweep

IN_CI = 105
"""Calls of all profiles together: a few seconds' work; the moments below are some hundred more."""

IN_CI_EVERY_MS = 53 * STEP_MS

ASKED = int(os.environ.get("AGENTHUMAN_FUZZ", "0"))
ONLY = os.environ.get("AGENTHUMAN_FUZZ_PROFILE")
SHOWN = 3


FOUND = {
    "an interruption's stop overtakes what the transport is just about to let out": Script(
        962896,
        Setup(mixer=True, latency_secs=0.0),
        (
            Say(
                1.54,
                ((0, 7), (1, 8), (2, 6), (3, 10), (4, 3), (5, 11), (6, 3), (7, 11)),
                16_000,
                frame_ms=20,
                delivery="stalled",
                texts="sentence",
                turn=False,
                kept=True,
            ),
            Interrupt(3.15),
            End(5.88),
        ),
    ),
    "the avatar stays a bit longer if a server that answers late looks like a slow network": Script(
        962083,
        Setup(),
        (
            Break(1.94, on="ping", kind="delay", delay_secs=1.5),
            Break(1.96, kind="silent", nth=2),
            Say(2.15, ((15, 4),), 44_100, delivery="slow", texts="none", turn=False),
            Break(2.25, kind="delay", nth=2, delay_secs=1.5),
            Say(2.87, ((29, 7),), 44_100, texts="none", turn=False),
            End(5.7),
        ),
    ),
    "a session that expires while the network is cut leaves nobody to say so": Script(
        952066,
        Setup(latency_secs=0.5),
        (
            Break(0.0, kind="cut", nth=2),
            Say(0.1, ((28, 6), (29, 6), (30, 10), (31, 6)), 16_000, texts="none", turn=False),
            Say(0.8, ((33, 6),), 16_000, texts="none", turn=False),
            Expire(1.01),
            End(1.28),
        ),
    ),
    "the last of what must be said is said anew if an interrupt was on its way to it": Script(
        950047,
        Setup(latency_secs=0.5, round_trip_secs=0.02),
        (
            Say(
                0.1,
                ((12, 4), (13, 8), (14, 8), (15, 9)),
                16_000,
                texts="sentence",
                turn=False,
                kept=True,
            ),
            Say(1.0, ((35, 11),), 16_000, texts="none", turn=False),
            Interrupt(1.188, up=True),
            End(1.4, cancel=True),
        ),
    ),
    "a stop at the first sound of speech is that of the speech before": Script(
        951057,
        Setup(drop=True, latency_secs=0.5, round_trip_secs=0.1),
        (
            Say(
                1.09,
                ((0, 4), (1, 4), (2, 4), (3, 8), (4, 3)),
                frame_ms=20,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Say(1.3, ((20, 4),), turn=False),
            Lose(2.35, code=1000),
            End(4.76),
        ),
    ),
    "what is too short to be read begins and ends also where the transport says it": Script(
        953081,
        Setup(session_secs=4.0),
        (
            Say(
                67.71,
                ((6, 10),),
                16_000,
                frame_ms=200,
                delivery="slow",
                texts="none",
                turn=False,
                cut_ms=3,
            ),
            End(72.74),
        ),
    ),
    "speech that has neither a start nor a name may go on behind an interruption": Script(
        960010,
        Setup(),
        (
            Say(
                0.63,
                ((0, 7), (1, 8), (2, 6)),
                16_000,
                frame_ms=100,
                delivery="real time",
                texts="none",
                started=False,
                turn=False,
            ),
            Interrupt(1.03, up=True),
            End(2.49),
        ),
    ),
    "what comes late of the other context that was interrupted is not said": Script(
        951077,
        Setup(),
        (
            Say(
                0.1,
                ((0, 3), (1, 8), (2, 7), (3, 3), (4, 6), (5, 4), (6, 5), (7, 11)),
                16_000,
                delivery="stalled",
                texts="none",
                context="a",
                other="b",
                turn=False,
            ),
            Interrupt(1.1, up=True),
            End(2.61),
        ),
    ),
    "the text of what nobody said is not told of, also if another began meanwhile": Script(
        910111,
        Setup(drop=True),
        (
            Break(0.0, on="create", kind="refuse", times=None, status=500),
            Say(
                0.26,
                ((12, 3), (13, 7)),
                16_000,
                texts="sentence",
                context="a",
                other="b",
                turn=False,
            ),
            End(0.49),
        ),
    ),
    "what nobody announced and nobody said is not told of, for it has a name": Script(
        600332,
        Setup(drop=True),
        (
            Say(1.02, ((12, 3),), 16_000, texts="none", context="a", stopped=False, turn=False),
            Break(2.12, nth=3),
            Say(
                2.2,
                ((21, 6), (22, 8)),
                16_000,
                delivery="real time",
                texts="sentence",
                context="b",
                started=False,
                turn=False,
            ),
            End(2.32),
        ),
    ),
    "a word that was to come behind a pause, when nobody knew that the avatar had gone": Script(
        600261,
        Setup(latency_secs=0.25, round_trip_secs=0.25),
        (
            Say(
                0.1,
                ((0, 5), (1, 6), (2, 4), (3, 10), (4, 5), (5, 9), (6, 5)),
                48_000,
                delivery="slow",
                texts="words late",
                turn=False,
            ),
            Break(0.19, nth=3),
            End(1.89),
        ),
    ),
    "a word of which nothing could be said before a tone is not told of": Script(
        230,
        Setup(drop=True, await_ready=False),
        (
            Break(0.0, on="create", kind="refuse", times=3),
            Say(
                0.1,
                ((0, 7), (1, 7), (2, 11)),
                16_000,
                frame_ms=10,
                delivery="slow",
                turn=False,
            ),
            Tone(0.47, amid=True),
            End(6.41),
        ),
    ),
    "what is said of a context that nobody announced is told of under its name": Script(
        400197,
        Setup(drop=True),
        (
            Break(0.0, on="create", kind="refuse", status=500),
            Say(0.53, ((12, 6),), 16_000, texts="none", context="a", stopped=False, turn=False),
            Say(
                2.02,
                ((24, 10),),
                16_000,
                texts="sentence",
                context="b",
                started=False,
                turn=False,
            ),
            End(3.78),
        ),
    ),
    "a transport that is busy between two words has not said the second": Script(
        400862,
        Setup(),
        (
            Break(0.0, on="create", kind="refuse", times=2, status=500),
            Say(
                0.1,
                ((0, 4), (1, 3), (2, 11), (3, 6), (4, 5), (5, 4), (6, 10)),
                8_000,
                delivery="slow",
                texts="none",
                stopped=False,
                turn=False,
            ),
            Mark(0.17, secs=0.3),
            Say(1.64, ((10, 8),), 16_000, turn=False),
            End(6.06),
        ),
    ),
    "the text of what a resampler holds comes with it, at the end of the call": Script(
        400448,
        Setup(latency_secs=0.5),
        (
            Say(0.66, ((4, 8),), delivery="stalled", texts="sentence", stopped=False, turn=False),
            End(2.18),
        ),
    ),
    "speech that has no end is over when a tone is": Script(
        401182,
        Setup(),
        (
            Say(0.14, ((0, 8), (1, 11)), 16_000, texts="none", stopped=False, turn=False),
            Tone(3.4),
            End(6.5),
        ),
    ),
    "what a resampler holds comes long after nobody heard the rest": Script(
        500102,
        Setup(session_secs=12.0),
        (
            Leave(1.83),
            Say(1.95, ((5, 10),), 8_000, texts="none", started=False, stopped=False, turn=False),
            End(10.69),
        ),
    ),
    "ten milliseconds of a word are not yet the word": Script(
        500212,
        Setup(),
        (
            Say(
                0.31,
                ((45, 8), (46, 3), (47, 6)),
                16_000,
                frame_ms=10,
                delivery="stalled",
                texts="words ahead",
                turn=False,
            ),
            End(0.72, cancel=True),
        ),
    ),
    "speech that goes on before the silence is its end is cut later": Script(
        500442,
        Setup(latency_secs=0.5),
        (
            Say(
                0.21,
                ((0, 9), (1, 4), (2, 8), (3, 9), (4, 3)),
                44_100,
                frame_ms=1000,
                delivery="real time",
                texts="none",
                stopped=False,
                turn=False,
            ),
            Say(
                0.28,
                ((5, 7), (6, 11), (7, 8)),
                44_100,
                frame_ms=1000,
                delivery="stalled",
                texts="none",
                turn=False,
            ),
            Interrupt(5.0),
            End(6.95),
        ),
    ),
    "what a resampler held of interrupted speech goes with it, not with what must be said": Script(
        887,
        Setup(),
        (
            Say(5.86, ((22, 7),), 8_000, texts="none", stopped=False, turn=False),
            Say(
                7.84,
                ((25, 6),),
                8_000,
                texts="none",
                started=False,
                stopped=False,
                turn=False,
                kept=True,
            ),
            Interrupt(7.87, up=True),
            End(8.12),
        ),
    ),
    "the turn of speech of milliseconds ends before the next begins": Script(
        0,
        Setup(),
        (
            Break(0.0, on="create", kind="refuse", times=None, status=429),
            Say(0.93, ((14, 7),), 16_000, stopped=False, cut_ms=10),
            Say(1.03, ((15, 6),), 16_000, turn=False),
            End(1.08),
        ),
    ),
    "what goes up passes a stop that waits for the last word": Script(
        38,
        Setup(latency_secs=0.5),
        (
            Say(0.1, ((0, 8), (1, 9)), 16_000, texts="none", turn=False),
            Halt(0.2),
            Passer(0.4, up=True),
            Passer(0.5, up=True, user=True),
            End(2.0),
        ),
    ),
    "what a resampler held through a stall starts no speech": Script(
        33,
        Setup(),
        (
            Say(
                7.08,
                ((50, 4), (51, 4), (52, 4)),
                48_000,
                texts="none",
                stopped=False,
                turn=False,
            ),
            End(21.43),
        ),
    ),
    "words of what nobody announced are none of what was heard before its stop": Script(
        33,
        Setup(),
        (
            Say(
                3.42,
                ((8, 9),),
                16_000,
                frame_ms=1000,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Say(
                3.78,
                ((15, 9), (16, 6)),
                16_000,
                texts="words ahead",
                started=False,
                turn=False,
            ),
            End(9.78),
        ),
    ),
    "what is heard at the drain's limit is not begun anew": Script(
        57,
        Setup(),
        (
            Say(
                0.61,
                ((12, 10), (13, 7), (14, 11), (15, 5), (16, 11), (17, 11)),
                16_000,
                delivery="stalled",
                texts="none",
                turn=False,
            ),
            Break(0.7, kind="abort"),
            Break(1.81, on="agent.interrupt", kind="delay", delay_secs=1.5),
            Say(1.82, ((20, 8), (21, 6)), 16_000, texts="none", turn=False),
            Break(4.41, kind="silent", nth=3),
            Mark(4.46),
            Say(
                4.53,
                ((26, 6), (27, 9), (28, 11), (29, 3), (30, 10), (31, 8)),
                16_000,
                texts="none",
                turn=False,
            ),
            Say(
                4.56,
                ((32, 8), (33, 4), (34, 7), (35, 8), (36, 11), (37, 5)),
                16_000,
                texts="none",
                turn=False,
            ),
            Say(4.64, ((39, 4), (40, 6)), 16_000, texts="none", kept=True),
            End(6.04),
        ),
    ),
    "the last sample is too little for the transport": Script(
        2329,
        Setup(out_rate=8_000),
        (
            Say(1.78, ((5, 5), (6, 9), (7, 7)), 16_000, delivery="real time", texts="sentence"),
            Lose(2.06),
            End(5.7),
        ),
    ),
    "a slow frame behind an utterance that nobody ends": Script(
        2259,
        Setup(),
        (
            Say(1.03, ((8, 9),), 16_000, texts="none", stopped=False),
            Mark(1.13, secs=0.3),
            Say(1.23, ((31, 11),), 16_000, texts="none"),
            End(1.54),
        ),
    ),
    "words of speech that nobody announces, most of them ahead of it": Script(
        48,
        Setup(),
        (
            Say(
                4.04,
                ((10, 8), (11, 8), (12, 4), (13, 7), (14, 10), (15, 9), (16, 3), (17, 3), (18, 10)),
                16_000,
                frame_ms=1000,
                started=False,
            ),
            End(11.25),
        ),
    ),
    "words of interrupted speech go before those of another": Script(
        10437,
        Setup(),
        (
            Say(
                0.1,
                ((0, 11), (1, 4), (2, 10), (3, 11), (4, 3)),
                16_000,
                delivery="real time",
                texts="words ahead",
            ),
            Interrupt(0.1, up=True),
            Say(0.63, ((19, 7), (20, 7)), 16_000, texts="words ahead"),
            End(4.65),
        ),
    ),
    "a stop waits for a slow frame and for what is left of a sound": Script(
        954122,
        Setup(),
        (
            Say(0.55, ((2, 3), (3, 5), (4, 7)), 16_000, delivery="stalled", texts="none"),
            Sound(2.33, word=(11, 9), rate=16_000, amid=True),
            Mark(3.78, secs=0.3, amid=True),
            End(6.58),
        ),
    ),
    "a stop waits for a tone and for a slow message behind it": Script(
        950097,
        Setup(),
        (
            Say(
                0.1,
                ((0, 11), (1, 11), (2, 11), (3, 11)),
                16_000,
                frame_ms=1000,
                delivery="real time",
                texts="none",
            ),
            Tone(0.3, amid=True),
            Message(0.35, secs=0.3, amid=True),
            End(2.5),
        ),
    ),
    "a frame behind milliseconds of speech is as late as the avatar that says them": Script(
        951006,
        Setup(latency_secs=0.5, round_trip_secs=0.25, await_ready=False),
        (Say(0.1, ((0, 4),), 22_050, cut_ms=7), Mark(0.18), End(0.33)),
    ),
    "what a resampler held comes when a sound does, and is not over before that": Script(
        954089,
        Setup(),
        (
            Say(0.1, ((0, 9), (1, 10)), 22_050, texts="none", stopped=False),
            Sound(2.5, word=(11, 5), rate=22_050),
            End(8.0),
        ),
    ),
    "an interruption passes the transport at the moment at which the avatar goes": Script(
        970010,
        Setup(announced=True),
        (
            Say(0.1, ((0, 11), (1, 11), (2, 11), (3, 11)), 16_000, texts="none"),
            Leave(0.6),
            Interrupt(0.6, up=True),
            End(2.0),
        ),
    ),
    "an answer that nobody says is over before the next begins": Script(
        971353,
        Setup(drop=True, round_trip_secs=0.1, await_ready=False),
        (
            Break(0.0, on="connect", kind="refuse", status=429),
            Say(0.1, ((0, 6), (1, 4), (2, 8), (3, 4)), 16_000, texts="words late", turn=False),
            Say(
                0.27,
                ((11, 3), (12, 7), (13, 7), (14, 3)),
                16_000,
                delivery="real time",
                texts="words late",
            ),
            Say(0.67, ((22, 10),), 16_000, texts="words late", turn=False),
            End(2.39),
        ),
    ),
    "a cell that breaks off in a pause can be read": Script(
        1001143,
        Setup(round_trip_secs=0.25, max_unconfirmed=3),
        (
            Say(
                2.55,
                (
                    (7, 6),
                    (8, 8),
                    (9, 3),
                    (10, 8),
                    (11, 4),
                    (12, 7),
                    (13, 7),
                    (14, 5),
                    (15, 6),
                ),
                delivery="slow",
                texts="none",
                turn=False,
            ),
            End(5.3),
        ),
    ),
    "a word is due behind a pause in the word before it, when nobody knew of the loss": Script(
        1000137,
        Setup(drop=True, latency_secs=0.25, round_trip_secs=0.25),
        (
            Say(0.18, ((0, 3), (1, 9)), 44_100, delivery="slow", texts="none", turn=False),
            Say(0.2, ((2, 9),), 8_000, frame_ms=1000, delivery="slow", texts="none", turn=False),
            Say(
                0.45,
                ((7, 6), (8, 7), (9, 9), (10, 5), (11, 3), (12, 9)),
                16_000,
                delivery="slow",
                texts="words late",
                turn=False,
            ),
            Lose(2.52, code=1000),
            End(3.03),
        ),
    ),
    "the avatar goes amid the first milliseconds of a sentence of one word": Script(
        1001345,
        Setup(mixer=True, drop=True),
        (
            Say(
                0.1,
                (
                    (0, 3),
                    (1, 11),
                    (2, 11),
                    (3, 6),
                    (4, 6),
                    (5, 10),
                    (6, 3),
                    (7, 6),
                    (8, 5),
                    (9, 3),
                    (10, 11),
                    (11, 7),
                ),
                22_050,
                frame_ms=20,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Say(
                0.65,
                ((12, 11), (13, 10), (14, 5), (15, 7), (16, 3)),
                22_050,
                frame_ms=10,
                delivery="slow",
                texts="sentence",
                turn=False,
            ),
            Say(3.29, ((17, 3),), 22_050, texts="sentence", turn=False),
            Lose(3.4, code=1001),
            End(3.59),
        ),
    ),
    "what waits for a tone amid its speech is cut before it is heard": Script(
        1000639,
        Setup(),
        (
            Say(1.77, ((3, 9),), 16_000, delivery="real time", texts="none", turn=False),
            Say(
                1.8,
                ((5, 8), (6, 11), (7, 6)),
                16_000,
                delivery="real time",
                texts="none",
                turn=False,
            ),
            Tone(2.42, amid=True),
            Interrupt(3.14),
            End(3.16),
        ),
    ),
    "what waits for a sound and a tone is cut, and another tone came behind it": Script(
        1010004,
        Setup(),
        (
            Say(
                0.1,
                (
                    (0, 8),
                    (1, 7),
                    (2, 7),
                    (3, 10),
                    (4, 4),
                    (5, 11),
                    (6, 5),
                    (7, 10),
                    (8, 6),
                    (9, 8),
                    (10, 9),
                ),
                16_000,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Sound(2.1, word=(22, 10), rate=16_000, amid=True),
            Tone(2.11, amid=True),
            Tone(2.9, amid=True),
            End(3.01, cancel=True),
        ),
    ),
    "a word passes the start of its speech, which waits for a background, and is cut": Script(
        1001094,
        Setup(mixer=True, latency_secs=0.5),
        (
            Say(
                0.12,
                ((0, 4), (1, 3), (2, 4), (3, 3), (4, 5)),
                48_000,
                frame_ms=10,
                delivery="slow",
                texts="none",
                started=False,
                stopped=False,
                turn=False,
            ),
            Say(0.14, ((5, 8),), 48_000, turn=False),
            Interrupt(1.18),
            End(2.65),
        ),
    ),
    "a late word of interrupted speech that has no name": Script(
        1001114,
        Setup(),
        (
            Say(
                1.65,
                ((5, 10), (6, 10), (7, 5)),
                16_000,
                delivery="stalled",
                texts="none",
                turn=False,
            ),
            Say(3.28, ((11, 9), (12, 10)), 16_000, delivery="real time", turn=False),
            Interrupt(5.31, up=True),
            End(6.81),
        ),
    ),
    "an answer that nobody announced, behind an interruption, ends before the next": Script(
        1100225,
        Setup(),
        (
            Say(6.28, ((0, 8),), 16_000, delivery="stalled", texts="none", turn=False),
            Interrupt(6.37),
            Say(7.87, ((1, 7), (2, 6)), 16_000, texts="words ahead", started=False),
            Say(7.87, ((6, 7), (7, 10)), 16_000, texts="words ahead", turn=False),
            End(9.71),
        ),
    ),
    "a word begins before a long stall, and nobody says the rest of it": Script(
        1100350,
        Setup(drop=True, latency_secs=0.0),
        (
            Say(
                0.22,
                (
                    (0, 7),
                    (1, 6),
                    (2, 11),
                    (3, 4),
                    (4, 10),
                    (5, 5),
                    (6, 3),
                    (7, 6),
                    (8, 3),
                ),
                22_050,
                frame_ms=100,
                delivery="stalled",
                texts="words ahead",
                turn=False,
            ),
            Break(1.85, nth=2),
            Say(1.95, ((9, 6), (10, 7), (11, 10)), 22_050, texts="none", turn=False),
            End(7.8),
        ),
    ),
    "a word that nobody announced is none of other speech before it, which nobody said": Script(
        1200611,
        Setup(drop=True, latency_secs=0.5),
        (
            Say(
                0.13,
                ((4, 11), (5, 7), (6, 6)),
                44_100,
                delivery="stalled",
                texts="none",
                context="a",
                turn=False,
            ),
            Say(
                0.89,
                ((10, 6),),
                frame_ms=30,
                delivery="real time",
                context="b",
                started=False,
                turn=False,
            ),
            Lose(2.71),
            End(3.35),
        ),
    ),
    "the avatar goes when it was to say the last word anew, and nobody does": Script(
        1201919,
        Setup(drop=True, latency_secs=0.25, round_trip_secs=0.25, await_ready=False),
        (
            Say(
                0.25,
                ((0, 10), (1, 6), (2, 10), (3, 10), (4, 3)),
                16_000,
                turn=False,
                kept=True,
            ),
            Say(0.56, ((6, 5),), 16_000, texts="none", turn=False),
            Interrupt(1.81),
            Lose(1.92, abort=True, code=4000),
            End(4.61),
        ),
    ),
    "behind a background a stop comes when the next speech is heard, before its start": Script(
        1202795,
        Setup(mixer=True),
        (
            Say(6.05, ((34, 3),), 16_000, delivery="stalled", texts="sentence", turn=False),
            Say(6.77, ((36, 10),), 16_000, texts="sentence", turn=False, cut_ms=10),
            Say(6.78, ((37, 4),), 16_000, texts="sentence", turn=False),
            End(6.96),
        ),
    ),
    "a start that waits for a slow frame amid its speech is not that of what follows": Script(
        1100359,
        Setup(),
        (
            Say(
                0.1,
                ((12, 3),),
                16_000,
                frame_ms=20,
                delivery="real time",
                texts="none",
                turn=False,
            ),
            Say(
                0.12,
                ((21, 11),),
                frame_ms=20,
                delivery="real time",
                texts="none",
                turn=False,
            ),
            Mark(0.18, secs=0.3, amid=True),
            Sound(0.29, word=(29, 9), amid=True),
            End(5.0),
        ),
    ),
    "a word that hardly began before a pause waits for what the transport does first": Script(
        1100434,
        Setup(),
        (
            Break(0.0, on="create", kind="refuse", times=None, status=429),
            Say(
                0.29,
                (
                    (4, 9),
                    (5, 4),
                    (6, 6),
                    (7, 5),
                    (8, 11),
                    (9, 3),
                    (10, 7),
                    (11, 7),
                    (12, 4),
                    (13, 7),
                    (14, 10),
                    (15, 8),
                ),
                delivery="stalled",
                turn=False,
            ),
            Mark(1.95, secs=0.3, amid=True),
            End(5.51),
        ),
    ),
    "what is too short to be read is heard right before what is read": Script(
        1100047,
        Setup(round_trip_secs=0.25, await_ready=False),
        (
            Say(0.1, ((0, 8),), 16_000, texts="none", turn=False, cut_ms=9),
            Halt(0.19),
            Say(0.28, ((1, 8),), 16_000, texts="none", turn=False),
            End(4.2),
        ),
    ),
    "a text that came behind two sounds comes when both are over": Script(
        1201711,
        Setup(),
        (
            Say(
                3.07,
                ((1, 8), (2, 5), (3, 3)),
                16_000,
                frame_ms=100,
                delivery="slow",
                texts="sentence",
                turn=False,
            ),
            Sound(3.48, word=(4, 9), rate=16_000, amid=True),
            Sound(3.51, word=(5, 9), rate=16_000, amid=True),
            End(4.98),
        ),
    ),
    "a word that hardly began before a tone comes with what is said behind that": Script(
        1201754,
        Setup(round_trip_secs=0.25),
        (
            Say(
                0.1,
                ((0, 6), (1, 7)),
                22_050,
                frame_ms=30,
                delivery="real time",
                turn=False,
            ),
            Tone(0.2, amid=True),
            End(8.52),
        ),
    ),
    "a text that came behind a tone is cut before that is over": Script(
        1222449,
        Setup(latency_secs=0.0),
        (
            Say(
                0.1,
                ((0, 10), (1, 10)),
                16_000,
                frame_ms=100,
                delivery="real time",
                texts="sentence",
                turn=False,
            ),
            Tone(0.5, amid=True),
            Interrupt(0.65),
            End(3.0),
        ),
    ),
    "an interruption cuts what opens a turn, and a word of it had passed that": Script(
        1222653,
        Setup(out_rate=48_000, mixer=True),
        (
            Say(0.1, ((25, 3), (26, 11), (27, 10)), 16_000, context="a", stopped=False),
            Say(0.12, ((35, 7), (36, 4), (37, 8)), 16_000, frame_ms=20, context="b"),
            Interrupt(0.715, up=True),
            End(3.0),
        ),
    ),
    "what waits for a sound is cut, and a tone came behind it before that began": Script(
        1226839,
        Setup(latency_secs=0.5, round_trip_secs=0.02),
        (
            Say(
                0.17,
                ((0, 10), (1, 11), (2, 5)),
                44_100,
                frame_ms=20,
                delivery="slow",
                texts="none",
            ),
            Sound(0.77, word=(3, 9), rate=44_100, amid=True),
            Tone(1.0, amid=True),
            Mark(1.11, secs=0.3, amid=True),
            Interrupt(1.84),
            End(3.0),
        ),
    ),
    "so little of speech comes behind a stall that the resampler holds back all of it": Script(
        70000,
        Setup(),
        (
            Say(
                0.7,
                ((5, 10), (6, 6), (7, 3)),
                8000,
                frame_ms=30,
                delivery="stalled",
                texts="none",
                turn=False,
                other="c3",
            ),
            End(0.99),
        ),
    ),
    "the call ends while a slow message holds up the last of the stand-in voice": Script(
        1401033,
        Setup(),
        (
            Break(0.0, "connect", "refuse", times=None, status=429),
            Say(
                0.21,
                ((0, 3), (1, 8), (2, 8), (3, 11), (4, 5), (5, 9), (6, 7), (7, 3), (8, 8)),
                16_000,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Say(
                0.27,
                ((9, 6), (10, 3), (11, 10)),
                16_000,
                delivery="slow",
                texts="none",
                stopped=False,
                turn=False,
            ),
            Message(2.06, 0.5, amid=True),
            End(2.15),
        ),
    ),
    "a frame behind the first 10 ms of a word waits for no more of the word": Script(
        1700954,
        Setup(),
        (
            Say(
                0.1,
                ((0, 5), (1, 5), (2, 3), (3, 5), (4, 7), (5, 3)),
                16_000,
                frame_ms=30,
                delivery="stalled",
                turn=False,
            ),
            Mark(1.06, amid=True),
            End(6.91),
        ),
    ),
    "what sounds behind the end of speech is not recorded as the end of it": Script(
        1700429,
        Setup(mixer=True, latency_secs=0.5, recorded=True),
        (
            Say(
                0.23,
                ((0, 6), (1, 4), (2, 11), (3, 10), (4, 3), (5, 3), (6, 5)),
                8_000,
                delivery="stalled",
                texts="sentence",
                turn=False,
            ),
            Say(
                1.75,
                ((10, 7), (11, 7), (12, 5), (13, 4), (14, 3)),
                8_000,
                texts="sentence",
                turn=False,
            ),
            Say(2.28, ((15, 11),), 8_000, texts="none", turn=False),
            End(4.0),
        ),
    ),
    "a server that answers an interrupt late may have stopped at once what must be said": Script(
        1700496,
        Setup(round_trip_secs=0.1),
        (
            Break(2.25, on="agent.interrupt", kind="delay", delay_secs=1.5),
            Say(
                2.53,
                ((8, 5), (9, 5), (10, 11), (11, 11), (12, 5), (13, 7), (14, 7)),
                16_000,
                delivery="stalled",
                texts="none",
                turn=False,
            ),
            Say(3.6, ((15, 10),), 16_000, texts="none", turn=False, kept=True),
            Interrupt(4.18),
            End(5.64),
        ),
    ),
    "a word comes at the very moment at which an interruption from the end is on its way": Script(
        1840397,
        Setup(chunks=2, mixer=True),
        (
            Say(
                0.1,
                ((0, 11), (1, 10), (2, 4), (3, 10), (4, 8)),
                16_000,
                texts="none",
                turn=False,
            ),
            Say(
                0.19,
                ((5, 4), (6, 9), (7, 8), (8, 3), (9, 5), (10, 8), (11, 7)),
                16_000,
                texts="words ahead",
                turn=False,
            ),
            Interrupt(1.82, up=True),
            End(2.3),
        ),
    ),
    "what a resampler held of stalled speech comes before a tone, behind an interruption": Script(
        1901043,
        Setup(),
        (
            Say(
                0.1,
                ((0, 3), (1, 6), (2, 8)),
                22_050,
                frame_ms=60,
                delivery="stalled",
                texts="none",
                turn=False,
                kept=True,
            ),
            Interrupt(0.88, up=True),
            Tone(0.92, amid=True),
            End(2.87),
        ),
    ),
    "a tone that a stop waits for begins when a piece of the background is over": Script(
        1900385,
        Setup(mixer=True, announced=True, join_secs=4.0, await_ready=False),
        (
            Tone(0.1, amid=True),
            Say(
                0.19,
                ((0, 9), (1, 5), (2, 3)),
                16_000,
                frame_ms=1000,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Tone(0.24, amid=True),
            End(6.73),
        ),
    ),
    "what must be said is too short to be read, and is said anew behind what was cut": Script(
        1900038,
        Setup(latency_secs=0.25, round_trip_secs=0.25),
        (
            Say(
                0.1,
                (
                    (0, 10),
                    (1, 6),
                    (2, 11),
                    (3, 9),
                    (4, 3),
                    (5, 8),
                    (6, 9),
                    (7, 11),
                    (8, 8),
                ),
                16_000,
                texts="none",
                turn=False,
            ),
            Say(0.88, ((9, 3),), 16_000, texts="none", turn=False, kept=True, cut_ms=5),
            Interrupt(1.91),
            End(1.94),
        ),
    ),
    "a short word has the size that it had when it was interrupted, once that is answered": Script(
        7800023,
        Setup(round_trip_secs=0.25),
        (
            Say(0.1, ((0, 3),), 16_000, texts="none", turn=False),
            Interrupt(0.179, up=True),
            Say(5.23, ((30, 3),), 16_000, texts="none", turn=False),
            End(6.38),
        ),
    ),
    "a short word as long as one whose answer may come once more goes in two messages": Script(
        7800023,
        Setup(round_trip_secs=0.25),
        (
            Say(0.1, ((0, 3),), 16_000, texts="none", turn=False),
            Interrupt(0.179, up=True),
            Say(1.6, ((30, 3),), 16_000, texts="none", turn=False),
            End(3.0),
        ),
    ),
    "what a short word leaves over because of its size goes with the word behind it": Script(
        1950000,
        Setup(latency_secs=0.25, round_trip_secs=0.25),
        (
            Say(0.7, ((1, 3),), 16_000, texts="none", turn=False),
            Interrupt(0.72, up=True),
            Say(2.22, ((2, 3),), 16_000, texts="none", turn=False),
            Say(2.24, ((3, 3),), 16_000, texts="none", turn=False),
            End(4.0),
        ),
    ),
    "a short word as long as one that is not answered yet goes in two messages": Script(
        1900304,
        Setup(round_trip_secs=0.25, max_unconfirmed=2),
        (
            Say(4.67, ((20, 8),), 16_000, texts="none", turn=False, cut_ms=30),
            Say(4.78, ((21, 8),), 16_000, texts="none", turn=False, cut_ms=30),
            End(12.23),
        ),
    ),
    "of speech without a stop that is shorter than a resampler, all is the rest of it": Script(
        1900179,
        Setup(),
        (
            Say(1.1, ((4, 7), (5, 7)), 44_100, texts="none", stopped=False, turn=False),
            Say(
                1.44,
                ((7, 7), (8, 11), (9, 4), (10, 5), (11, 6), (12, 3)),
                44_100,
                texts="none",
                started=False,
                stopped=False,
                turn=False,
            ),
            Say(
                1.9,
                ((13, 9),),
                44_100,
                texts="none",
                started=False,
                stopped=False,
                turn=False,
                cut_ms=25,
            ),
            End(3.01),
        ),
    ),
    "a frame waits for speech that is cut short within what can be read": Script(
        2000211,
        Setup(announced=True, join_secs=4.0, await_ready=False),
        (
            Say(0.83, ((0, 5),), 16_000, texts="none", stopped=False, turn=False, cut_ms=15),
            Mark(0.86),
            End(0.92),
        ),
    ),
    "the end of an uninterruptible sound is in one piece with the beginning of the next": Script(
        2100425,
        Setup(),
        (
            Say(
                0.1,
                tuple((n, 7) for n in range(10)),
                frame_ms=10,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Sound(0.17, (10, 7), kept=True),
            Tone(1.03),
            Sound(1.11, (12, 8)),
            Interrupt(2.6),
            End(3.39),
        ),
    ),
    "an interruption drops the words that wait for a slow frame amid speech": Script(
        2101263,
        Setup(),
        (
            Say(
                5.77,
                ((14, 11), (15, 11), (16, 11)),
                16_000,
                delivery="slow",
                texts="none",
                turn=False,
            ),
            Mark(6.52, secs=0.3, amid=True),
            Say(6.59, ((19, 9),), 16_000, texts="words ahead", turn=False),
            Interrupt(6.92, up=True),
            End(7.15),
        ),
    ),
    "a word was to begin behind a pause when nobody could know that the avatar had gone": Script(
        2100742,
        Setup(drop=True, latency_secs=0.25, round_trip_secs=0.25),
        (
            Say(
                0.1, ((0, 10), (1, 10), (2, 10)), 16_000, delivery="slow", texts="none", turn=False
            ),
            Say(
                0.42,
                ((4, 11), (5, 10), (6, 10), (7, 5), (8, 11), (9, 4)),
                16_000,
                delivery="slow",
                texts="words late",
                turn=False,
            ),
            Expire(2.01),
            End(5.55),
        ),
    ),
    "uninterruptible speech that the transport has goes on, and is not given to it again": Script(
        2200946,
        Setup(latency_secs=0.5),
        (
            Say(
                0.1,
                ((0, 10), (1, 9), (2, 10), (3, 5), (4, 4), (5, 3), (6, 11), (7, 9), (8, 4)),
                16_000,
                delivery="slow",
                texts="none",
                stopped=False,
                turn=False,
                kept=True,
            ),
            Lose(1.93, abort=True, code=1001),
            Say(2.04, ((9, 11),), 16_000, texts="none", turn=False),
            Interrupt(2.1, up=True),
            End(2.16),
        ),
    ),
    "speech seemed to go on when nobody could know that the avatar had gone": Script(
        2200210,
        Setup(drop=True, latency_secs=0.5, round_trip_secs=0.25),
        (
            Say(1.54, ((0, 8),), 16_000, delivery="stalled", texts="sentence", turn=False),
            Lose(3.08, abort=True, code=4000),
            End(11.59),
        ),
    ),
    "speech is heard from the very moment at which it comes": Script(
        2200725,
        Setup(latency_secs=0.0),
        (
            Say(0.1, ((0, 4),), 16_000, delivery="stalled", texts="none", turn=False, cut_ms=2),
            Say(
                0.12,
                ((1, 7),),
                16_000,
                frame_ms=10,
                delivery="real time",
                texts="none",
                turn=False,
                deaf=True,
                cut_ms=30,
            ),
            Say(0.34, ((2, 5),), 16_000, texts="none", turn=False),
            End(0.63),
        ),
    ),
    "a few milliseconds of uninterruptible speech are said anew behind an interruption": Script(
        2201238,
        Setup(latency_secs=0.25, round_trip_secs=0.25),
        (
            Say(
                2.11,
                ((0, 4), (1, 8), (2, 9)),
                22_050,
                delivery="stalled",
                texts="none",
                turn=False,
            ),
            Say(
                2.59,
                ((3, 3), (4, 6), (5, 8), (6, 5), (7, 8), (8, 4), (9, 5)),
                22_050,
                texts="none",
                turn=False,
                kept=True,
            ),
            Say(4.26, ((28, 7),), 22_050, texts="none", turn=False),
            Interrupt(6.994, up=True),
            End(7.53),
        ),
    ),
    "speech goes to the transport at the moment of an interruption from behind that": Script(
        2500137,
        Setup(announced=True),
        (
            Say(0.19, ((6, 7), (7, 9)), 16_000, texts="none", turn=False),
            Interrupt(0.23, up=True),
            Leave(0.23),
            Say(0.36, ((10, 3), (11, 10), (12, 3)), 16_000, turn=False),
            End(2.65),
        ),
    ),
    "an interruption drops a sentence that waits for a slow frame right behind its speech": Script(
        2501166,
        Setup(),
        (
            Say(
                0.1,
                ((24, 6), (25, 5), (26, 6), (27, 7), (28, 11), (29, 10), (30, 11)),
                16_000,
                texts="none",
                turn=False,
            ),
            Say(
                0.3,
                ((35, 4), (36, 3), (37, 8), (38, 4), (39, 10)),
                16_000,
                frame_ms=1000,
                delivery="real time",
                texts="sentence",
                turn=False,
            ),
            Mark(0.35, secs=0.3, amid=True),
            Interrupt(2.198, up=True),
            End(2.25),
        ),
    ),
    "only the rest of uninterruptible speech is heard, behind an interruption": Script(
        2501106,
        Setup(),
        (
            Break(0.36, kind="error"),
            Say(1.09, ((0, 3),), 22_050, texts="none", stopped=False, turn=False, kept=True),
            Interrupt(1.82),
            End(2.1),
        ),
    ),
    "a start waits for the mixer's piece, and its word not, when all is cancelled": Script(
        2701336,
        Setup(mixer=True, round_trip_secs=0.1, max_unconfirmed=3, await_ready=False),
        (
            Say(
                0.1,
                ((0, 9), (1, 6), (2, 6), (3, 8), (4, 7), (5, 10)),
                frame_ms=30,
                delivery="slow",
                texts="words ahead",
                stopped=False,
            ),
            Say(0.64, ((16, 8),), 44_100, texts="words ahead", turn=False),
            End(1.52, cancel=True),
        ),
    ),
    "the text of uninterruptible speech comes before its end, when what was behind is cut": Script(
        31110,
        Setup(),
        (
            Break(0.0, on="create", kind="refuse", times=None, status=402),
            Say(0.1, ((0, 5),), 16_000, texts="none", turn=False),
            Say(0.11, ((2, 5), (3, 8)), 16_000, texts="none", turn=False),
            Say(
                0.32,
                ((9, 6), (10, 3)),
                16_000,
                texts="sentence",
                stopped=False,
                turn=False,
                kept=True,
            ),
            Say(0.36, ((12, 8),), 16_000, texts="none", turn=False),
            Interrupt(0.62),
            End(0.63),
        ),
    ),
    "an older transport drops the slow frame that it is handling, be it uninterruptible": Script(
        2750003,
        Setup(),
        (
            Say(0.16, ((0, 4), (1, 9), (2, 5), (3, 10), (4, 11)), 16_000, texts="none", turn=False),
            Mark(0.67, secs=0.3, kept=True),
            Interrupt(0.735),
            Interrupt(0.736),
            End(4.42),
        ),
    ),
    "speech is cut behind the last milliseconds of uninterruptible speech": Script(
        2800002,
        Setup(),
        (
            Say(
                0.1,
                (
                    (0, 11),
                    (1, 5),
                    (2, 7),
                    (3, 7),
                    (4, 9),
                    (5, 4),
                    (6, 10),
                    (7, 10),
                    (8, 5),
                    (9, 8),
                    (10, 10),
                ),
                texts="none",
                stopped=False,
                turn=False,
                kept=True,
            ),
            Interrupt(2.511, up=True),
            Say(2.54, ((11, 8),), texts="none", turn=False),
            Interrupt(2.545, up=True),
            Say(5.59, ((20, 11),), texts="none", turn=False),
            End(6.95),
        ),
    ),
    "speech without an end is shorter than what the transport has ahead, and more follows": Script(
        31284,
        Setup(),
        (
            Break(0.0, on="create", kind="refuse", times=None, status=402),
            Say(0.92, ((9, 3),), 16_000, texts="none", stopped=False),
            Say(0.92, ((11, 4), (12, 5)), 16_000, turn=False),
            End(2.72),
        ),
    ),
    "a start waits for a slow frame, and what it starts does not": Script(
        2900277,
        Setup(latency_secs=0.02),
        (
            Say(0.34, ((1, 8),), 48_000, texts="none", stopped=False, turn=False),
            Mark(1.65, secs=0.3),
            Say(1.74, ((9, 8),), 48_000, texts="none", turn=False),
            End(2.16),
        ),
    ),
    "uninterruptible speech is cut amid its last milliseconds, too few to be read": Script(
        2900889,
        Setup(latency_secs=0.5, round_trip_secs=0.1, max_unconfirmed=2),
        (
            Say(
                0.1,
                ((0, 9), (1, 4), (2, 8), (3, 7)),
                delivery="slow",
                texts="none",
                turn=False,
                kept=True,
            ),
            Say(1.21, ((4, 7),), texts="none", turn=False),
            Interrupt(1.394),
            End(2.51),
        ),
    ),
    "words are told of behind those of speech that was taken for late": Script(
        2900040,
        Setup(),
        (
            Say(0.11, ((8, 6),), 16_000, delivery="stalled", texts="none", turn=False),
            Interrupt(0.9, up=True),
            Say(
                2.37,
                ((45, 3), (46, 8), (47, 10), (48, 9)),
                16_000,
                texts="words ahead",
                started=False,
                turn=False,
            ),
            Say(2.45, ((57, 5), (58, 6), (59, 4)), 16_000, texts="words ahead", turn=False),
            End(3.63),
        ),
    ),
    "a frame stands behind the first ten milliseconds of speech": Script(
        2900151,
        Setup(latency_secs=0.5),
        (
            Say(
                4.27,
                ((12, 10),),
                16_000,
                frame_ms=10,
                delivery="real time",
                texts="none",
                turn=False,
            ),
            Mark(4.28, kept=True, amid=True),
            End(7.68),
        ),
    ),
    "speech of ten milliseconds starts and ends with pieces of a mixer": Script(
        3000823,
        Setup(mixer=True),
        (
            Say(0.49, ((9, 5),), 16_000, delivery="stalled", texts="sentence", turn=False),
            Say(0.62, ((10, 10),), 16_000, texts="sentence", turn=False, cut_ms=10),
            Say(0.74, ((18, 11),), 16_000, texts="none", turn=False),
            End(3.52),
        ),
    ),
    "a sentence is refused but for its last sample": Script(
        3000551,
        Setup(round_trip_secs=0.25),
        (
            Break(0.1, kind="delay", nth=2, delay_secs=0.3),
            Say(
                1.56,
                ((0, 11), (1, 9), (2, 5)),
                16_000,
                delivery="stalled",
                texts="none",
                turn=False,
                deaf=True,
            ),
            Say(
                2.09,
                ((3, 7), (4, 4), (5, 10), (6, 10), (7, 5), (8, 10), (9, 5)),
                16_000,
                texts="none",
                turn=False,
            ),
            Say(
                4.22,
                ((10, 9), (11, 11), (12, 6), (13, 10), (14, 7), (15, 3), (16, 3)),
                16_000,
                texts="sentence",
                turn=False,
            ),
            Say(5.18, ((21, 3),), 16_000, texts="none", turn=False),
            Break(5.88, kind="error"),
            End(6.59),
        ),
    ),
}
"""Calls in which a fuzz found something, made small."""


@pytest.mark.parametrize("found", FOUND)
def test_what_was_found_once(found: str):
    assert examine(FOUND[found]) == []


def examine_all(scripts: list[Script]) -> list[tuple[Script, list[Finding]]]:
    """Play scripts, on all processors if many were asked for; returns those that fail."""
    found: Iterable[list[Finding]]
    if ASKED:
        with ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")) as pool:
            found = list(pool.map(examine, scripts, chunksize=16))
    else:
        found = map(examine, scripts)
    return [(script, findings) for script, findings in zip(scripts, found, strict=True) if findings]


def report(failing: list[tuple[Script, list[Finding]]]) -> str:
    """Tell of calls that fail, and how they are played again."""
    shown = ["\n".join([*map(str, findings), str(script)]) for script, findings in failing[:SHOWN]]
    return f"{len(failing)} calls fail; the first:\n\n" + "\n\n".join(shown)


@pytest.mark.parametrize("profile", [ONLY] if ONLY else PROFILES)
def test_random_calls_sound_and_end_as_they_should(profile: str):
    profiles = 1 if ONLY else len(PROFILES)
    scripts = [make(profile, seed) for seed in range((ASKED or IN_CI) // profiles)]
    failing = examine_all(scripts)
    assert not failing, report(failing)


@pytest.mark.parametrize("event", EVENTS)
def test_an_event_at_any_moment_of_a_call(event: str):
    every_ms = STEP_MS if ASKED else IN_CI_EVERY_MS
    first_ms = 0 if ASKED else list(EVENTS).index(event) % (IN_CI_EVERY_MS // STEP_MS) * STEP_MS
    scripts = [
        script
        for call in CALLS
        for script in sweep(call, event, every_ms=every_ms, from_ms=first_ms)
    ]
    failing = examine_all(scripts)
    assert not failing, report(failing)


def course(call: Call) -> list[tuple[object, ...]]:
    """Everything that came by and was heard, and when."""
    frames = [(seen.at, type(seen.frame).__name__, seen.up) for seen in [*call.gate, *call.behind]]
    return [*frames, *((one.at, one.cell) for one in [*call.avatar, *call.transport])]


@pytest.mark.parametrize("profile", PROFILES)
def test_a_call_takes_the_same_course_every_time(profile: str):
    script = make(profile, 1)
    assert course(play(script)) == course(play(script))
