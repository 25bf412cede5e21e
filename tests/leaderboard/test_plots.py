"""Plots: real PNG files, names kept apart, no name that breaks the drawing."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from harness_bench.leaderboard.plots import spread
from harness_bench.leaderboard.text import parameters
from hypothesis import given
from hypothesis import strategies as st

from harness_bench.untrusted import clean, shorten

if TYPE_CHECKING:
    from harness_bench.leaderboard.build import LeaderboardFiles


def test_plots_are_images(built: LeaderboardFiles) -> None:
    """A bar plot and a size plot for each of the two columns."""
    for path in built.plots:
        assert path.read_bytes().startswith(b"\x89PNG\r\n")
    kinds = [path.stem.rpartition("-")[2] for path in built.plots]
    assert kinds == ["bars", "parameters"] * 2


@given(
    values=st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted), gap=st.floats(0.1, 20)
)
def test_names_are_moved_apart_in_order(values: list[float], gap: float) -> None:
    """Labels must neither overlap nor swap places, and stay centred where they were."""
    moved = spread(values, gap)
    assert len(moved) == len(values)
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(moved))
    assert sum(moved) == pytest.approx(sum(values), abs=1e-6)


@pytest.mark.parametrize(
    ("count", "written"),
    [(None, "–"), (0, "0"), (999, "999"), (712_345, "712 k"), (4_812_345, "4.81 M"),
     (28_478_336, "28.5 M"), (316_000_000, "316 M"), (2_000_000, "2 M"), (10**13, "10,000,000 M")],
)  # fmt: skip
def test_parameters_are_written(count: int | None, written: str) -> None:
    """Three digits are what a table needs; the exact count stands in the page's tooltip."""
    assert parameters(count) == written


@given(text=st.text())
def test_cleaned_text_is_one_visible_line(text: str) -> None:
    """Line breaks and direction marks in names could forge rows or reverse figures."""
    line = clean(text)
    assert clean(line) == line
    assert line.isprintable()
    assert len(shorten(text, 10)) <= 10
