"""What was found is kept, compared, and put into a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.figures import Figures
from benchmarks.measures.catalogue import MEASURES
from benchmarks.stage.subjects import OURS

pytest.importorskip("rich")

CUT = MEASURES["interrupt"]


def figures(ours: list[float], heygen: list[float]) -> Figures:
    found = Figures(surroundings={"commit": "abc"})
    found.add(CUT.name, "0s", OURS, {"ms": ours})
    found.add(CUT.name, "0s", "heygen", {"ms": heygen})
    return found


def test_figures_are_kept(tmp_path: Path) -> None:
    kept = figures([1.0, 2.0, 4.0], [3.0])
    kept.missing[CUT.name, "simli"] = "not installed"
    kept.write(tmp_path / "figures.json")
    assert Figures.read(tmp_path / "figures.json") == kept


def test_a_line_tells_median_spread_ratio_and_whether_the_aim_is_reached() -> None:
    (line,) = report.lines(figures([0.5, 0.8, 2.0], [1.6, 1.6]), CUT)
    assert line.cells == ("0.8 (0.5 to 2)", "1.6 (1.6 to 1.6) [2x]")
    assert line.aim == "≤ 1: reached"
    (line,) = report.lines(figures([3.0], [1.0]), CUT)
    assert line.aim == "≤ 1: missed"


def test_the_tables_of_a_page_are_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Title\n{report.BEGINS}\nold\n{report.ENDS}\nThe end.\n")
    report.put_into(page, report.markdown(figures([0.5], [1.0]), [CUT]))
    text = page.read_text()
    assert text.startswith("# Title\n")
    assert text.endswith("The end.\n")
    assert "old" not in text
    assert "| 0.5 | 1 [2x] |" in text
    page.write_text("nothing")
    with pytest.raises(ValueError, match="between"):
        report.put_into(page, "tables")


def test_only_what_does_not_even_touch_has_changed(capsys: pytest.CaptureFixture[str]) -> None:
    before = figures([1.0, 2.0], [1.0, 2.0])
    report.print_changes(before, figures([3.0, 4.0], [1.5, 3.0]), [CUT])
    told = capsys.readouterr().out
    assert told.count("WORSE") == 1
    assert "better" not in told


def test_pictures_are_drawn_of_what_was_found(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="the dependency group bench is not installed")
    from benchmarks import plots

    found = Figures()
    found.add("cost", "rtt50", OURS, {"cpu": [2.0]})
    plots.draw(found, tmp_path)
    (picture,) = tmp_path.iterdir()
    assert "Agent Human" in picture.read_text(encoding="utf-8")
