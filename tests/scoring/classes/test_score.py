"""Rows with the answers of several heads: figures are means over the heads, nothing else moves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from harness_bench.scoring.classes.score import score_classes
from harness_bench.scoring.systems import compare_pair
from tests.scoring.conftest import class_rows

if TYPE_CHECKING:
    from harness_bench.results.predictions import ClassPrediction


def merged(heads: list[list[ClassPrediction]]) -> list[ClassPrediction]:
    """Put the answers of all heads into the rows of the first."""
    first, *others = heads
    return [
        row.model_copy(update={"others": tuple(head[number].pred for head in others)})
        for number, row in enumerate(first)
    ]


def heads(right: tuple[float, ...]) -> list[list[ClassPrediction]]:
    """Make the rows of heads of different quality on the same utterances."""
    made = [class_rows(count=90, seed=seed, groups=9, right=r) for seed, r in enumerate(right)]
    truths = [row.truth for row in made[0]]
    return [
        [row.model_copy(update={"truth": truth}) for row, truth in zip(rows, truths, strict=True)]
        for rows in made
    ]


@pytest.mark.parametrize("metric", ["accuracy", "uar"])
def test_value_and_spread(metric: str) -> None:
    """Accuracy and UAR of the merged rows are the heads' means; spread is theirs by numpy."""
    each = heads((0.4, 0.6, 0.9))
    singles = [score_classes(rows, resamples=50)[metric].value for rows in each]
    found = score_classes(merged(each), resamples=50)[metric]
    assert found.value == pytest.approx(np.mean(singles))
    assert found.spread == pytest.approx(np.std(singles, ddof=1))
    assert score_classes(each[0], resamples=50)[metric].spread is None


def test_equal_heads_change_nothing_but_the_spread() -> None:
    """Three times the same head is that head: value and intervals, spread 0."""
    (rows,) = heads((0.6,))
    one, three = (score_classes(made, resamples=200) for made in (rows, merged([rows] * 3)))
    for name, metric in one.items():
        assert three[name].value == pytest.approx(metric.value, abs=1e-9)
        assert three[name].figures == pytest.approx(metric.figures, abs=1e-9)
        assert three[name].spread == pytest.approx(0, abs=1e-9)


def test_systems_of_different_numbers_of_heads_are_compared() -> None:
    """Three seeds here and one there: utterances are the unit, not answers."""
    each = heads((0.4, 0.6, 0.9))
    found = compare_pair(merged(each), each[0], resamples=200, metric="accuracy")
    singles = [score_classes(rows, resamples=50)["accuracy"].value for rows in each]
    assert found.difference == pytest.approx(np.mean(singles) - singles[0])


def test_a_row_without_its_answers_is_refused() -> None:
    """A mean over fewer heads in some rows would be no head's figure."""
    rows = merged(heads((0.4, 0.6)))
    rows[5] = rows[5].model_copy(update={"others": ()})
    with pytest.raises(ValueError, match="another number of answers"):
        score_classes(rows)
