"""How long an interruption takes to the wire, and what is said all the same."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
from pipecat.frames.frames import TTSAudioRawFrame

from benchmarks.measures.measure import Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import RATE, Bot, Stage
from benchmarks.stage.breakage import SLOW_SENDING, UNFLUSHED
from benchmarks.stage.dialects import Kind, Said
from benchmarks.stage.network import Network
from tests.support.sounds import noise

_FAR = Network(round_trip_secs=0.2)
_OLD_HZ, _NEW_HZ = 1_000.0, 3_000.0
_WINDOW_SECS = 0.01


async def to_wire(stage: Stage, queued_secs: float, times: int) -> Samples:
    """Interrupt while so much waits behind a message that is not confirmed yet."""
    found: list[float] = []
    with stage.wire.watched():
        async with stage.bot(_FAR) as bot:
            for number in range(times):
                stage.wire.clear()
                pieces = noise(0.3 + queued_secs, rate=RATE, frame_secs=0.1)
                before = len(bot.speech_at)
                await bot.say(pieces, speed=None, context_id=f"context {number}")
                await stage.wire.saw(Kind.SPEECH)
                await bot.took(before + len(pieces))
                await bot.interrupt()
                wired_at = await stage.wire.saw(Kind.INTERRUPTION)
                found.append((wired_at - bot.cut_at[-1]) * 1e3)
                await asyncio.sleep(0.5)
    return {"ms": found}


def _tone(hz: float, secs: float) -> list[TTSAudioRawFrame]:
    samples = 8_000 * np.sin(2 * np.pi * hz * np.arange(round(secs * RATE)) / RATE)
    pcm, step = samples.astype("<i2").tobytes(), round(0.04 * RATE) * 2
    return [TTSAudioRawFrame(pcm[at : at + step], RATE, 1) for at in range(0, len(pcm), step)]


def _old_ms(said: list[Said]) -> float:
    """How much of the old tone is in what was said."""
    if not said:
        return 0.0
    rate = said[0].rate
    samples = np.frombuffer(b"".join(one.audio for one in said), "<i2").astype(float)
    window = round(_WINDOW_SECS * rate)
    pieces = samples[: len(samples) // window * window].reshape(-1, window)
    at = 2 * np.pi * np.arange(window) / rate

    def strength(hz: float) -> Any:
        return np.abs(pieces @ np.exp(-1j * hz * at))

    is_old = (strength(_OLD_HZ) > strength(_NEW_HZ)) & (np.abs(pieces).max(axis=1) > 100)
    return float(is_old.sum() * _WINDOW_SECS * 1e3)


async def _cut_and_go_on(bot: Bot, number: int, late_secs: float) -> float:
    bot.wire.clear()
    before = len(bot.speech_at)
    old, new = _tone(_OLD_HZ, 2.0), _tone(_NEW_HZ, 1.0)
    speaking = asyncio.create_task(bot.say(old, speed=1.5, context_id=f"old {number}"))
    await bot.took(before + len(old) // 2)
    speaking.cancel()
    await bot.wire.saw(Kind.SPEECH)
    await bot.interrupt()
    await bot.wire.saw(Kind.INTERRUPTION)
    late = _tone(_OLD_HZ, late_secs)
    await bot.feed(
        *(TTSAudioRawFrame(one.audio, RATE, 1, context_id=f"old {number}") for one in late)
    )
    await bot.say(new, speed=1.5, context_id=f"new {number}")
    await asyncio.sleep(1.5)
    said = list(bot.wire.said())
    cut = max(index for index, (_, one) in enumerate(said) if one.kind is Kind.INTERRUPTION)
    return _old_ms([one for _, one in said[cut + 1 :] if one.kind is Kind.SPEECH])


async def leftover(stage: Stage, late_secs: float, times: int) -> Samples:
    """Interrupt a tone, say another, and look for the first one in it."""
    with stage.wire.watched():
        async with stage.bot(Network(round_trip_secs=0.05)) as bot:
            found = [await _cut_and_go_on(bot, number, late_secs) for number in range(times)]
    return {"ms": found}


TO_WIRE = Measure(
    "interrupt",
    "Interruption to the wire",
    "From the interruption's entering the pipeline to its message being given to the socket, "
    "while speech waits behind a message that is not confirmed (200 ms away).",
    to_wire,
    (Row("ms", "interruption to the wire", "ms"),),
    tuple(
        Course(
            f"{secs}s",
            f"{secs} s of speech queued",
            {"queued_secs": secs, "times": 7},
            {"times": 3},
            in_quick=secs == 10,
            aims={"ms": 1.0},
        )
        for secs in (0, 10, 60)
    ),
    Check(SLOW_SENDING, "0s", "ms", by=20.0),
)

LEFTOVER = Measure(
    "leftover",
    "Old speech in the next utterance",
    "What was said of the interrupted utterance behind the interruption. Late frames are those "
    "that a TTS service had under way when it was interrupted, and bear the old context.",
    leftover,
    (Row("ms", "old speech", "ms", shows="worst"),),
    tuple(
        Course(
            f"late{late}",
            "nothing late" if not late else f"{late} ms of late frames",
            {"late_secs": late / 1e3, "times": 3},
            {"times": 1},
            in_quick=late > 0,
            aims={"ms": 0.0},
        )
        for late in (0, 200)
    ),
    Check(UNFLUSHED, "late200", "ms", by=100.0),
    rounds=1,
    together=True,
)
