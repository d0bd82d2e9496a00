"""What the conversion to the wire's rate leaves of the speech."""

from __future__ import annotations

import asyncio
import math

import numpy as np
from pipecat.frames.frames import TTSAudioRawFrame

from benchmarks.measures.measure import Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import Bot, Stage
from benchmarks.stage.breakage import INTERPOLATING
from benchmarks.stage.network import Network

_TONES_HZ = (200.0, 1_000.0, 3_000.0, 6_500.0)
_TONE_SECS = 0.4
_MARGIN_SECS = 0.12
_AMPLITUDE = 30_000.0


async def quality(stage: Stage, rates: list[int], tones: int = len(_TONES_HZ)) -> Samples:
    """Say tones at some rates, and compare what is sent with what it should be."""
    found: dict[str, list[float]] = {"low": [], "high": []}
    with stage.wire.watched():
        async with stage.bot(Network()) as bot:
            for rate in rates:
                for hz in _TONES_HZ[-tones:]:
                    kind = "high" if hz > 6_000 else "low"
                    if hz < 0.45 * rate:
                        found[kind].append(await _tone_db(bot, rate, hz))
    return {name: dbs for name, dbs in found.items() if dbs}


async def _tone_db(bot: Bot, rate: int, hz: float) -> float:
    at = np.arange(round(_TONE_SECS * rate)) / rate
    pcm = np.round(_AMPLITUDE * np.sin(2 * np.pi * hz * at)).astype("<i2").tobytes()
    step = round(0.02 * rate) * 2
    bot.wire.clear()
    await bot.say(
        [TTSAudioRawFrame(pcm[i : i + step], rate, 1) for i in range(0, len(pcm), step)],
        speed=None,
        context_id=f"{rate} {hz}",
    )
    enough_secs, waited = _TONE_SECS - 0.06, 0
    while sum(said.secs for _, said in bot.wire.speech()) < enough_secs and waited < 100:
        await asyncio.sleep(0.02)
        waited += 1
    speech = [said for _, said in bot.wire.speech()]
    await asyncio.sleep(_TONE_SECS + 0.3)
    return _db(b"".join(said.audio for said in speech), speech[0].rate, hz)


def _db(pcm: bytes, rate: int, hz: float) -> float:
    """How far everything lies below the tone that is not that tone at its loudness."""
    samples = np.frombuffer(pcm, "<i2").astype(float)
    margin = round(_MARGIN_SECS * rate)
    samples = samples[margin:-margin]
    at = 2 * np.pi * hz * np.arange(len(samples)) / rate
    waves = np.stack([np.sin(at), np.cos(at), np.ones(len(at))], axis=1)
    fit, *_ = np.linalg.lstsq(waves, samples, rcond=None)
    rest = samples - waves @ fit
    off = math.hypot(fit[0], fit[1]) - _AMPLITUDE
    wrong = float(np.mean(rest**2)) + off**2 / 2 + float(fit[2]) ** 2
    return 10 * math.log10(_AMPLITUDE**2 / 2 / wrong)


RESAMPLING = Measure(
    "resampling",
    "Quality of resampling",
    "Tones in 20 ms frames, compared with what goes over the wire: noise and distortion, and an "
    "error of loudness, below the tone. Rounding to 16 bits before and behind the resampler allows "
    "94.3 dB, a little more where both fall together. HeyGen and Tavus send 24 kHz "
    "(so speech of that rate passes unchanged), the others 16 kHz.",
    quality,
    (
        Row("low", "worst tone up to 3 kHz", "dB", more_is_better=True, shows="worst"),
        Row("high", "a tone at 6.5 kHz", "dB", more_is_better=True, shows="worst"),
    ),
    tuple(
        Course(
            f"{rate}",
            f"speech at {rate / 1000:g} kHz",
            {"rates": [rate]},
            {"tones": 2},
            in_quick=rate in (22_050, 24_000),
            aims={"low": 94.0, "high": 94.0},
        )
        for rate in (8_000, 22_050, 24_000, 44_100, 48_000)
    ),
    Check(INTERPOLATING, "24000", "low", by=20.0),
    rounds=1,
    together=True,
)
