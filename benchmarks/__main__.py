"""Measure this package beside its peers, as ``benchmarks/README.md`` tells.

``uv run --group bench --group peers python -m benchmarks --help``
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import report, rounds
from benchmarks.figures import Figures, surroundings
from benchmarks.measures.catalogue import MEASURES


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure this package beside its peers."
    )
    parser.add_argument("--quick", action="store_true", help="less of everything: two minutes")
    parser.add_argument(
        "--only", nargs="+", choices=MEASURES, metavar="NAME", help=f"of {', '.join(MEASURES)}"
    )
    parser.add_argument("--rounds", type=int, help="how often each, instead of what is usual")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures")
    parser.add_argument("--from-json", type=Path, metavar="FILE", help="show, instead of measure")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare with kept figures")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="put the tables into a page")
    parser.add_argument("--plots", type=Path, metavar="FOLDER", help="draw pictures")
    parser.add_argument(
        "--broken", action="store_true", help="break things on purpose: each figure must move"
    )
    return parser.parse_args()


def _tell(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and tell; returns 1 if something that is broken moves nothing."""
    asked = _arguments()
    measures = [one for name, one in MEASURES.items() if not asked.only or name in asked.only]
    if asked.broken:
        outcome = rounds.checks(measures, tell=_tell)
        for line, moved in outcome:
            print(f"{'moved' if moved else 'DID NOT MOVE'}  {line}")
        return 0 if all(moved for _, moved in outcome) else 1
    if asked.from_json:
        figures = Figures.read(asked.from_json)
    else:
        figures = Figures(surroundings=surroundings())
        how = {"quick": asked.quick, "rounds": asked.rounds}
        for _ in rounds.run(measures, figures, tell=_tell, **how):
            if asked.json:  # So that half an hour is not lost to what goes wrong at its end.
                figures.write(asked.json)
    report.print_tables(figures, measures)
    if asked.markdown:
        report.put_into(asked.markdown, report.markdown(figures, measures))
    if asked.plots:
        from benchmarks import plots

        plots.draw(figures, asked.plots)
    if asked.against:
        report.print_changes(Figures.read(asked.against), figures, measures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
