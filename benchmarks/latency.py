"""How exact the latency is that is heard, how sure, and what listening costs.

In simulated rooms of every kind an avatar speaks with a latency of 0.2 to 1.5 s. Printed is in
how many of its utterances it was found, how far off, and how far off the clock was from the
fourth utterance on; then how often it was found in what is something else; then how much of a
core an ear takes. The voices are synthetic, and those of eSpeak NG if the extra ``demo`` is
installed::

    python -m benchmarks.latency
    python -m benchmarks.latency --quick
"""

import argparse
import sys
import time
from collections.abc import Iterator

import numpy as np
import soxr

from pipecat_agenthuman.demo.espeak import EspeakError, EspeakSynthesizer
from pipecat_agenthuman.playout.hearing import Finding, Hearing
from pipecat_agenthuman.playout.passages import Verdict
from tests.support.heard_room import PIECE_SECS, WAYS, calls, judge_in
from tests.support.voices import (
    EAR_RATE,
    LOUDNESS,
    NO_SPEECH,
    RATE,
    Sound,
    sayings,
    to_ear,
    to_pcm,
    unrelated,
)

MEDIAN_TARGET_MS = 10.0
P95_TARGET_MS = 30.0
COST_TARGET = 0.05
"""Of a core, while it listens."""

LENGTHS_SECS = (0.8, 1.0, 1.5, 2.0, 3.0)
VOICES = ("en-gb", "en-us+f3", "en-us+m3", "de", "fr", "es")
SENTENCES = (
    "Of course, I can help you with that. What is the number of your order?",
    "It was shipped on Tuesday, and it should arrive tomorrow morning, or in the afternoon.",
    "One moment please, I am looking that up for you. Here it is: there are three rooms free.",
    "I'm sorry, I did not quite understand. Could you say the last word again?",
    "The weather is cloudy with light rain, and the wind comes from the west.",
    "Well, that depends. How many people are coming, and do you need a projector?",
    "That is a very good question, and the answer may surprise you: nobody knows.",
    "Press the button on the left, wait for the light, and then turn the handle slowly.",
)


def spoken() -> tuple[Sound, ...]:
    """Things to say, in the voices of eSpeak NG; none if it is not there."""
    said: list[Sound] = []
    try:
        for number, sentence in enumerate(SENTENCES):
            for voice in VOICES:
                pace = 150 + 25 * (number % 3)
                speech = EspeakSynthesizer(voice=voice, words_per_minute=pace).synthesize(sentence)
                sound = np.frombuffer(speech.audio, "<i2").astype(np.float32)
                sound = soxr.resample(sound, speech.sample_rate, RATE)
                said.append(sound * np.float32(LOUDNESS / np.abs(sound).max()))
    except EspeakError as error:
        print(f"Without eSpeak NG: {error}")
        return ()
    return tuple(said)


def measure(things: tuple[Sound, ...], count: int) -> bool:
    """Print how exact it is; returns whether that is exact enough."""
    print(f"{'':28}found    median    p95  worst   from the 4th utterance on: median    p95")
    met = True
    for name, room in WAYS.items():
        made = calls(count, things=things, **room)
        said = [one for call in made for one in call]
        errors = np.abs([one.error_secs for one in said if one.error_secs is not None]) * 1e3
        clock = np.abs([one.believed_secs - one.latency_secs for call in made for one in call[3:]])
        median, p95 = np.percentile(errors, (50, 95))
        met &= bool(median <= MEDIAN_TARGET_MS and p95 <= P95_TARGET_MS)
        print(
            f"{name:27}{len(errors) / len(said):6.0%}  {median:8.1f}{p95:7.1f}{errors.max():7.1f}"
            f"{np.median(clock) * 1e3:35.1f}{np.percentile(clock, 95) * 1e3:7.1f}",
            flush=True,
        )
    return met


def mistake(things: tuple[Sound, ...], count: int) -> bool:
    """Print how often something else is taken for what was said; returns whether it never is."""
    taken = 0
    for other in ("speech", *NO_SPEECH):
        answers = 0
        for seed in range(count):
            chance = np.random.default_rng(seed)
            said, heard = unrelated(chance, things)
            if other != "speech":
                heard = NO_SPEECH[other](chance)
            said = said[: round(chance.choice(LENGTHS_SECS) * RATE)]
            answers += judge_in(said, heard) is Verdict.MEASURED
        taken += answers
        print(f"{other:28}{answers} answers in {count}", flush=True)
    return not taken


def cost(secs: float) -> bool:
    """Print what an ear costs; returns whether it is little."""
    hearing, found = Hearing(), 0
    hearing.open(0.0)
    pieces = list(_pieces(secs))
    began = time.process_time()
    for number, (audio, message) in enumerate(pieces):
        now = (number + 1) * PIECE_SECS
        if message is not None:
            hearing.begin_anew()
            hearing.confirmed(message, now, begins=True)
        hearing.hear(audio, EAR_RATE, now)
        found += isinstance(hearing.poll(now), Finding)
    share = (time.process_time() - began) / secs
    print(
        f"An ear that never closes, {found} utterances in {secs:g} s: {share:.2%} of a core, "
        "without what the transport takes."
    )
    return share < COST_TARGET


def _pieces(secs: float) -> Iterator[tuple[bytes, bytes | None]]:
    """What is heard, piece by piece, and what is confirmed with it."""
    size = round(PIECE_SECS * EAR_RATE) * 2
    while secs > 0.0:
        for saying in sayings():
            heard = to_ear(np.concatenate([np.zeros(RATE // 2, np.float32), saying]))
            for first in range(0, len(heard) - size, size):
                yield heard[first : first + size], to_pcm(saying) if first == 0 else None
                secs -= PIECE_SECS
                if secs <= 0.0:
                    return


def main() -> int:
    """Measure and print; returns 1 if a target was missed."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--quick", action="store_true", help="fewer calls, fewer other sounds")
    chosen = options.parse_args()
    met = True
    for name, things in (("Synthetic voices", sayings()), ("Voices of eSpeak NG", spoken())):
        if things:
            print(f"{name}. Milliseconds:")
            met &= measure(things, 6 if chosen.quick else 40)
            met &= mistake(things, 200 if chosen.quick else 2000)
    met &= cost(120.0 if chosen.quick else 600.0)
    print(
        f"Target (median {MEDIAN_TARGET_MS:g} ms, p95 {P95_TARGET_MS:g} ms, no answer to something "
        f"else, less than {COST_TARGET:.0%} of a core): {'met' if met else 'MISSED'}"
    )
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
