"""What it costs to import and to make the service, beside what a bot has imported anyway."""

from __future__ import annotations

import asyncio
import subprocess
import sys

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


async def importing(stage: Stage, times: int) -> Samples:
    """Import and make it in fresh processes."""
    burns_secs = 0.0 if stage.broken is None else stage.broken.burns_secs
    burn = f"while time.process_time() - used < {burns_secs}: pass"
    code = _ANYWAY.format(make=_MAKE[stage.subject.name], burn=burn)
    found: list[float] = []
    for _ in range(times):
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code], capture_output=True, text=True, check=True
        )
        found.append(float(done.stdout.split()[-1]) * 1e3)
    return {"ms": found}


IMPORTING = Measure(
    "import",
    "Import, beside Pipecat",
    "CPU time to import the service and to make one, in a fresh process that has already "
    "imported what a bot in a Daily room needs anyway.",
    importing,
    (Row("ms", "import and make", "ms"),),
    (Course("used", "import", {"times": 3}, {"times": 1}, aims={"ms": 25.0}),),
    Check(HEAVY, "used", "ms", by=300.0),
    subjects=(OURS, *PEERS),
)
