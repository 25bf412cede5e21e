"""Rows of a plot: layer weights on one scale for models of any number of layers."""

from pathlib import Path

import pytest
from harness_bench.leaderboard.plots import draw_plots
from harness_bench.leaderboard.plots.rows import EDGES, figure_at, step_of

from tests.leaderboard.conftest import result, table


@pytest.mark.parametrize("count", [2, 13, 25])
def test_an_equal_share_is_the_middle_of_the_scale(count: int) -> None:
    """0.5 of two layers and 0.04 of 25 say the same, and must look the same."""
    assert step_of(1 / count, count) == len(EDGES) // 2
    assert step_of(0, count) == 0
    assert step_of(5 / count, count) == len(EDGES)
    assert step_of(1.1 / count, count) > step_of(0.9 / count, count)


def test_numbers_as_far_as_they_have_room(tmp_path: Path) -> None:
    """Few layers: per cent in the cells; 500 of them: colours alone, in a file of bounded size."""
    few = [result("few", 50, layer_weights=(0.25, 0.75)), result("none", 60)]
    (plots,) = draw_plots(table(tmp_path / "few", *few)).values()
    assert ">25.0<" in plots[-1].svg
    assert "few: most on layer 1 of 0 to 1 (75 %)" in plots[-1].text
    assert "none" not in plots[-1].text
    many = [result(f"m{n}", 50, layer_weights=(1 / 500,) * 500) for n in range(5)]
    (plots,) = draw_plots(table(tmp_path / "many", *many)).values()
    assert ">0.2<" not in plots[-1].svg
    assert len(plots[-1].svg) < 400_000


@pytest.mark.parametrize(
    ("high", "paper", "at"),
    [(50, None, 50), (50, 40, 50), (50, 52, 52), (50, 69.8, 50), (-5, None, 0)],
)
def test_a_figure_stands_at_its_bar(high: float, paper: float | None, at: float) -> None:
    """Behind the paper's mark far away it would read as the paper's; in front it would hide it."""
    assert figure_at(high, paper, 10) == at
