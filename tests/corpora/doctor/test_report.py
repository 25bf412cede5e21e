"""Plots of corpora: drawn for whatever there is, and what they show is what was counted."""

from pathlib import Path
from typing import Any

import pytest

from harness_bench.corpora.doctor import report
from harness_bench.corpora.doctor.tally import Tally
from tests.cut_files import row

SETS: dict[str, dict[str, Tally]] = {
    "usual": {
        "train": Tally(row(str(n), 1 + n / 10, dialect="EGY", gender="male") for n in range(90)),
        "dev": Tally(row(str(n), 2.0, dialect="LEV") for n in range(5)),
    },
    "one cut": {"train": Tally([row("a", 3.0)])},
    "no cut": {"train": Tally([])},
    "very brief": {"train": Tally([row("a", 0.004)])},
    "brief and long": {"train": Tally([row("a", 0.1), row("b", 0.2), row("c", 900.0)])},
    "many classes, one in Arabic": {
        "train": Tally(row(str(n), 1.0, label="مصر" if n < 3 else f"{n}" * 30) for n in range(60))
    },
    "a split of a strange name": {"$x_{1" * 9: Tally([row("a", 1.0, label="$\\frac{")])},
}


@pytest.mark.parametrize("case", sorted(SETS))
def test_anything_can_be_drawn_and_no_cut_is_missing(case: str, tmp_path: Path) -> None:
    """A report must not fail at its last step; a bar too few would hide what one looks for."""
    report.draw(SETS[case], tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {report.DURATIONS, report.CLASSES}
    assert {path.read_bytes()[:4] for path in tmp_path.iterdir()} == {b"\x89PNG"}
    figure = report.plot_lengths(SETS[case])
    for axis, tally in zip(figure.axes, SETS[case].values(), strict=True):
        assert sum(bar.get_height() for bar in axis.patches) == tally.whole.utterances


def test_bars_are_hours_by_class() -> None:
    figure = report.plot_classes(SETS["usual"])
    axis: Any = next(axis for axis in figure.axes if axis.get_title(loc="left") == "dialect")
    assert [label.get_text() for label in axis.get_yticklabels()] == ["EGY", "LEV"]
    hours = SETS["usual"]["train"].whole.hours
    widths = [[bar.get_width() for bar in bars] for bars in axis.containers]
    assert widths == [pytest.approx([hours, 0]), pytest.approx([0, 10 / 3600])]
