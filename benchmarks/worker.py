"""A process that measures one subject, on demand: a line of JSON in, a line out."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback

from loguru import logger

from benchmarks.measures.catalogue import MEASURES
from benchmarks.stage.bot import stage_of
from tests.support.waiting import undisturbed


async def _serve(subject: str, control_port: int) -> None:
    while line := await asyncio.to_thread(sys.stdin.readline):
        asked = json.loads(line)
        measure = MEASURES[asked["measure"]]
        broken = measure.check.broken if asked["broken"] else None
        try:
            stage = stage_of(subject, control_port, broken)
            told = {"found": await measure.once(stage, asked["options"])}
        except Exception as error:  # noqa: BLE001 - told to whoever asked
            traceback.print_exc()
            told = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(told), flush=True)


if __name__ == "__main__":
    logger.remove()
    with undisturbed():
        asyncio.run(_serve(sys.argv[1], int(sys.argv[2])))
