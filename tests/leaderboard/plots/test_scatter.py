"""The Pareto front against its definition, and names that keep apart."""

import itertools

import pytest
from harness_bench.leaderboard.plots.scatter import pareto, spread, within
from hypothesis import given
from hypothesis import strategies as st

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=20)


@given(points=POINTS, higher=st.booleans())
def test_front_is_what_no_point_beats(points: list[tuple[int, int]], higher: bool) -> None:  # noqa: FBT001
    """By the definition, point against point; equal points are on it together."""
    sign = 1 if higher else -1

    def beats(one: tuple[int, int], other: tuple[int, int]) -> bool:
        gains = (other[0] - one[0], sign * (one[1] - other[1]))
        return min(gains) >= 0 and max(gains) > 0

    expected = {
        index
        for index, point in enumerate(points)
        if not any(beats(other, point) for other in points)
    }
    front = pareto([p[0] for p in points], [p[1] for p in points], higher_is_better=higher)
    assert set(front) == expected
    assert len(front) == len(expected)
    assert [points[i][0] for i in front] == sorted(points[i][0] for i in front)


def test_front_of_models_and_sizes() -> None:
    """The case of a board: the cheapest, the small student that pays off, the large teacher."""
    sizes, rates = [0, 28, 28, 95, 316], [48.0, 30.0, 33.0, 31.0, 22.0]
    assert pareto(sizes, rates, higher_is_better=False) == [0, 1, 4]
    assert pareto(sizes, [-rate for rate in rates], higher_is_better=True) == [0, 1, 4]


@given(
    values=st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted), gap=st.floats(0.1, 20)
)
def test_names_are_moved_apart_in_order(values: list[float], gap: float) -> None:
    """Labels must neither overlap nor swap places, and stay centred where they were."""
    moved = spread(values, gap)
    assert len(moved) == len(values)
    assert all(b - a >= gap - 1e-6 for a, b in itertools.pairwise(moved))
    assert sum(moved) == pytest.approx(sum(values), abs=1e-6)


@given(values=st.lists(st.floats(0, 100), min_size=1, max_size=12).map(sorted))
def test_names_stay_beside_the_axes(values: list[float]) -> None:
    """Where there is room for all of them, none leaves the range or comes too near another."""
    placed = within(spread(values, 8), 8, 0, 100)
    assert all(b - a >= 8 - 1e-6 for a, b in itertools.pairwise(placed))
    assert placed[0] >= -1e-6
    assert placed[-1] <= 100 + 1e-6
