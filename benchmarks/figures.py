"""Figures: what was found, kept as JSON, and compared with what was found before."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = ("pipecat-ai", "websockets", "numpy", "soxr", "livekit", "daily-python", "simli-ai")

Key = tuple[str, str, str, str]
"""Measure, course, row, subject."""


@dataclass
class Figures:
    """All samples of a run of the benchmarks.

    Attributes:
        samples: By measure, course, row and subject.
        missing: Why there are none, by measure and subject.
        surroundings: Machine, versions, moment.
    """

    samples: dict[Key, list[float]] = field(default_factory=dict)
    missing: dict[tuple[str, str], str] = field(default_factory=dict)
    surroundings: dict[str, str] = field(default_factory=dict)

    def add(self, measure: str, course: str, subject: str, found: dict[str, list[float]]) -> None:
        for row, samples in found.items():
            self.samples.setdefault((measure, course, row, subject), []).extend(samples)

    def shown(self, key: Key, shows: str, *, more_is_better: bool) -> float | None:
        """What stands for all samples: their median, or the worst."""
        samples = self.samples.get(key)
        if not samples:
            return None
        if shows == "worst":
            return min(samples) if more_is_better else max(samples)
        return statistics.median(samples)

    def spread(self, key: Key) -> tuple[float, float]:
        """The least and the most."""
        samples = self.samples[key]
        return min(samples), max(samples)

    def write(self, path: Path) -> None:
        told = {
            "surroundings": self.surroundings,
            "missing": [[*key, why] for key, why in self.missing.items()],
            "figures": [[*key, samples] for key, samples in self.samples.items()],
        }
        path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Figures:
        told: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(
            {tuple(entry[:4]): entry[4] for entry in told["figures"]},
            {tuple(entry[:2]): entry[2] for entry in told["missing"]},
            told["surroundings"],
        )


def surroundings() -> dict[str, str]:
    """The machine, the versions, and when."""
    told = {
        "when": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "commit": _commit(),
    }
    for package in _PACKAGES:
        try:
            told[package] = version(package)
        except PackageNotFoundError:
            told[package] = "not installed"
    return told


def _commit() -> str:
    asked = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"
