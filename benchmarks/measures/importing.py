"""What it costs to import and to make the service, beside what a bot has imported anyway."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measures.measure import PEERS, Check, Course, Measure, Row, Samples
from benchmarks.stage.bot import Stage
from benchmarks.stage.breakage import HEAVY
from benchmarks.stage.subjects import OURS

_ANYWAY = """
import asyncio, time, gc
import aiohttp, numpy, websockets.asyncio.client
import pipecat.pipeline.pipeline, pipecat.pipeline.worker, pipecat.workers.runner
import pipecat.processors.aggregators.llm_response_universal, pipecat.services.tts_service
import pipecat.audio.utils, pipecat.transports.daily.transport
async def make():
{make}
used = time.process_time()
{burn}
made = asyncio.run(make())
print(time.process_time() - used)
"""

_MAKE = {
    OURS: """
    from pipecat_agenthuman import AgentHumanVideoService, DailyRoom
    return AgentHumanVideoService(
        api_key="ah_live_key",
        room=DailyRoom("https://example.daily.co/room", "token"),
        settings=AgentHumanVideoService.Settings(avatar="avat_demo"),
    )
""",
    "heygen": """
    from pipecat.services.heygen.video import HeyGenVideoService
    async with aiohttp.ClientSession() as session:
        return HeyGenVideoService(api_key="key", session=session)
""",
    "tavus": """
    from pipecat.services.tavus.video import TavusVideoService
    async with aiohttp.ClientSession() as session:
        return TavusVideoService(api_key="key", replica_id="replica", session=session)
""",
    "simli": """
    from pipecat.services.simli.video import SimliVideoService
    return SimliVideoService(api_key="key", face_id="face")
""",
}


_BYTECODE = Path(tempfile.gettempdir()) / "pipecat-agenthuman-benchmarks-bytecode"
"""Kept between runs: compiling all of Pipecat takes seconds."""


def _cpu_ms(code: str) -> float:
    """Run it in a process that finds bytecode and writes what it does not find, as a bot's does."""
    environment = {**os.environ, "PYTHONPYCACHEPREFIX": str(_BYTECODE)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) * 1e3


async def importing(stage: Stage, times: int) -> Samples:
    """Import and make it in fresh processes, which were started once before."""
    burns_secs = 0.0 if stage.broken is None else stage.broken.burns_secs
    burn = f"while time.process_time() - used < {burns_secs}: pass"
    code = _ANYWAY.format(make=_MAKE[stage.subject.name], burn=burn)
    found = [await asyncio.to_thread(_cpu_ms, code) for _ in range(1 + times)]
    return {"ms": found[1:]}


IMPORTING = Measure(
    "import",
    "Import, beside Pipecat",
    "CPU time to import the service and to make one, in a fresh process that has already "
    "imported what a bot in a Daily room needs anyway. Bytecode is there, as it is wherever a bot "
    "was started before.",
    importing,
    (Row("ms", "import and make", "ms"),),
    (Course("used", "import", {"times": 3}, {"times": 1}, aims={"ms": 25.0}),),
    Check(HEAVY, "used", "ms", by=300.0),
    subjects=(OURS, *PEERS),
)
