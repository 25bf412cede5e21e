"""Every benchmark must run and give whole rows; their speed is no test's business."""

from __future__ import annotations

import math
import sys
from typing import TYPE_CHECKING

import pytest

from benchmarks import run
from benchmarks.measure import in_turn, lower_is_better
from harness_bench.files import read_json

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("name", run.names())
def test_rows_are_whole(name: str) -> None:
    """The keys are what readers of build/bench.json rely on; a nameless peer proves nothing."""
    made = list(run.rows([name], tiny=True))
    assert made
    for row in made:
        assert list(row) == ["name", "ours", "peer", "ratio", "unit"]
        assert "(peer: " in str(row["name"])
        figures = [float(row[key]) for key in ("ours", "peer", "ratio")]
        assert all(math.isfinite(figure) and figure > 0 for figure in figures)


def test_the_file_is_a_list_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "build" / "bench.json"
    argv = ["run.py", "--tiny", "--only", "kmeans", "--out", str(path)]
    monkeypatch.setattr(sys, "argv", argv)
    run.main()
    assert [row["unit"] for row in read_json(path)] == ["CPU s", "mean squared distance"]


def test_the_ratio_says_how_much_better_ours_is() -> None:
    """Turned round it would praise what is slow."""
    assert lower_is_better("x", ours=2.0, peer=6.0, unit="s").ratio == 3.0


def test_calls_are_made_by_turns_and_the_median_taken() -> None:
    """All of one and then all of the other would compare two states of the machine."""
    calls: list[str] = []
    ticks = iter([0, 9, 10, 11, 20, 21, 30, 34, 40, 42, 50, 55])  # ours 9, 1, 2; peer 1, 4, 5
    medians = in_turn(
        lambda: calls.append("ours"), lambda: calls.append("peer"), repeats=3,
        clock=lambda: float(next(ticks)),
    )  # fmt: skip
    assert calls == ["ours", "peer"] * 4
    assert medians == (2.0, 4.0)
