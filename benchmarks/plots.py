"""Pictures of what was found: CPU, first speech by distance, silence by distance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.figures import Figures
from benchmarks.stage.subjects import OURS, SUBJECTS

_COLOURS = {
    "identity": "#9e9e9e",
    OURS: "#3f51b5",
    "agenthuman-2": "#7986cb",
    "heygen": "#ef6c00",
    "tavus": "#2e7d32",
    "simli": "#ad1457",
}


def draw(figures: Figures, folder: Path) -> None:
    """Draw what there are figures for.

    Args:
        figures: What was found.
        folder: Where pictures go, as ``benchmark-….svg``.
    """
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "benchmarks"
    mpl.rcParams["svg.fonttype"] = "none"
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in (("cpu", _cpu), ("first-speech", _first_speech), ("silence", _silence)):
        drawn = picture(figures)
        if drawn is not None:
            drawn.tight_layout()
            path = folder / f"benchmark-{name}.svg"
            drawn.savefig(path, metadata={"Date": None, "Creator": None})
            lines = path.read_text(encoding="utf-8").splitlines()
            path.write_text("\n".join(line.rstrip() for line in lines) + "\n", encoding="utf-8")


def _axes(title: str, label: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.6))
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=11)
    axes.set_ylabel(label)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _bars(figures: Figures, axes: Any, bars: list[tuple[str, tuple[str, str, str]]]) -> bool:
    """Groups of bars, one for each subject; returns whether there are any."""
    names = [name for name in _COLOURS if any((*key, name) in figures.samples for _, key in bars)]
    width = 0.8 / max(len(names), 1)
    for number, name in enumerate(names):
        values = [
            figures.shown((*key, name), "median", more_is_better=False) or 0.0 for _, key in bars
        ]
        places = [group + (number - (len(names) - 1) / 2) * width for group in range(len(bars))]
        title = SUBJECTS[name].title.replace("`", "")
        axes.bar(places, values, width * 0.9, label=title, color=_COLOURS[name])
    axes.set_xticks(range(len(bars)), [label for label, _ in bars])
    if names:
        axes.legend(
            fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=3
        )
    return bool(names)


def _cpu(figures: Figures) -> Any:
    figure, axes = _axes("CPU of a minute of speech", "ms")
    found = _bars(
        figures,
        axes,
        [
            ("in real time, 50 ms away", ("cost", "rtt50", "cpu")),
            ("three times as fast, 5 ms away", ("fast", "rtt5", "cpu")),
        ],
    )
    return figure if found else None


def _first_speech(figures: Figures) -> Any:
    figure, axes = _axes("First frame to the wire, 20 ms frames in real time", "ms")
    bars = [(f"{rtt} ms away", ("paced", f"20ms-rtt{rtt}", "ms")) for rtt in (5, 50, 150, 300)]
    return figure if _bars(figures, axes, bars) else None


def _silence(figures: Figures) -> Any:
    figure, axes = _axes("Silence inside of an utterance in real time", "ms")
    found = _bars(
        figures,
        axes,
        [
            ("50 ms away", ("gaps", "rtt50", "ms")),
            ("400 ms away", ("gaps", "rtt400", "ms")),
            ("5 ms away, uneven", ("gaps", "jitter", "ms")),
        ],
    )
    return figure if found else None
