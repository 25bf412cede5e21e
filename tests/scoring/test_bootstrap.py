"""Bootstrap intervals: properties that must hold, and the clusters that make them honest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.bench_coverage import coverage, draw, false_alarms, own_interval, scipy_interval
from harness_bench.scoring.bootstrap import cluster_sums, intervals, paired_test
from harness_bench.scoring.classes import score_classes
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.texts.score import score_texts
from tests.scoring.conftest import class_rows, compare_pair, text_rows

if TYPE_CHECKING:
    import random


@given(st.integers(1, 60), st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_interval_contains_estimate(count: int, seed: int, groups: int, right: float) -> None:
    """A percentile interval of a biased metric can miss its own estimate; ours must not."""
    rows = class_rows(count=count, seed=seed, groups=groups, right=right)
    for metric in score_classes(rows, resamples=40).values():
        for interval in (metric.interval, *metric.other_intervals):
            assert interval is not None
            assert interval.low <= metric.value <= interval.high


@given(seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_order_of_rows_changes_nothing(seed: int, shuffle: random.Random) -> None:
    """Predictions are joined by id: their order in a file must not move any figure."""
    rows, texts = class_rows(count=40, seed=seed), text_rows(count=15, seed=seed)
    mixed, words = shuffle.sample(rows, len(rows)), shuffle.sample(texts, len(texts))
    assert score_classes(rows, resamples=60) == score_classes(mixed, resamples=60)
    assert score_texts(texts, resamples=60) == score_texts(words, resamples=60)


def test_clusters_widen_the_interval() -> None:
    """Speakers that are all right or all wrong: utterances pretend to a precision not there."""
    rows = [
        row.model_copy(update={"pred": row.truth if row.group < "speaker5" else "MSA"})
        for row in class_rows(count=400, seed=1, groups=10)
    ]
    metric = score_classes(rows, resamples=2000)["accuracy"]
    assert metric.interval is not None
    assert "cluster bootstrap over 10 clusters" in metric.interval.method
    (by_utterance,) = metric.other_intervals
    assert "over 400 utterances" in by_utterance.method
    by_cluster = metric.interval.high - metric.interval.low
    assert by_cluster > 2 * (by_utterance.high - by_utterance.low)


@pytest.mark.parametrize(
    ("groups", "said"),
    [(1, "one cluster only"), (3, "so few clusters"), (30, "over 30 clusters, 100 resamples")],
)
def test_method_warns_of_few_clusters(groups: int, said: str) -> None:
    """A reader must see when an interval rests on two or three speakers."""
    rows = class_rows(count=600, seed=3, groups=groups)
    interval = score_classes(rows, resamples=100)["accuracy"].interval
    assert interval is not None
    assert said in interval.method
    assert ("few" in interval.method) == (groups == 3)


def test_coverage_on_a_known_truth() -> None:
    """95 % intervals must hold the true value about 95 times in 100, or they are decoration."""
    value = {"accuracy": get_metric("accuracy").value}
    names = [str(index) for index in range(300)]
    generator = np.random.default_rng(5)
    hits = 0
    for seed in range(200):
        counts = np.zeros((300, 3, 1))
        counts[:, 1, 0] = 1
        counts[:, 0, 0] = generator.random(300) < 0.7
        (interval,) = intervals(counts, names, value, seed=seed, resamples=300)["accuracy"]
        hits += interval.low <= 70 <= interval.high
    assert 180 <= hits <= 199


def test_paired_test_separates_what_single_intervals_cannot() -> None:
    """Two systems a few points apart on the same utterances: intervals overlap, pairs differ."""
    first = class_rows(count=300, seed=4, groups=30)
    better = [
        row.model_copy(update={"pred": row.truth}) if index % 12 == 0 else row
        for index, row in enumerate(first)
    ]
    found = compare_pair(better, first, metric="accuracy", resamples=2000)
    assert found.p_value < 0.01
    assert found.interval.low > 0
    single = [score_classes(rows, resamples=500)["accuracy"].figures for rows in (better, first)]
    assert single[0]["interval.low"] < single[1]["interval.high"]


def test_paired_test_of_a_system_with_itself() -> None:
    """No difference must give p = 1, whatever the metric and kind."""
    rows, texts = class_rows(count=50, seed=6), text_rows(count=50, seed=6)
    assert compare_pair(rows, rows, resamples=100, metric="accuracy").p_value == 1
    found = compare_pair(texts, texts[::-1], metric="wer", resamples=100)
    assert (found.difference, found.p_value) == (0, 1)


def test_rounding_errors_are_no_difference() -> None:
    """Sums of thirds in another order differ by 1e-14: equal systems must stay equal."""
    found = paired_test(np.full(1000, -1e-14), 1e-14, "by hand")
    assert (found.difference, found.interval.low, found.p_value) == (0, 0, 1)


def test_groups_must_match() -> None:
    """One group per utterance, or clusters would be shifted."""
    with pytest.raises(ValueError, match="2 groups for 3 utterances"):
        cluster_sums(np.zeros((3, 2)), ["a", "b"])


def test_one_long_group_name_does_not_cost_its_length_for_every_row() -> None:
    """A name of a million letters took 4 MB a row; names that end in NUL stay two groups."""
    groups = ["x" * 1_000_000, *["a", "a\0", "b"] * 5000]
    sums = cluster_sums(np.ones((len(groups), 1)), groups)
    assert sums.ravel().tolist() == [5000, 5000, 5000, 1]


def test_cluster_intervals_hold_the_truth_and_utterance_intervals_do_not() -> None:
    """Programmes that differ by 12 points: 95 % by clusters, far fewer by utterances."""
    found = coverage(clusters=100, each=6, trials=800, resamples=300)
    assert 92 <= found.clusters <= 97
    assert found.utterances < 80


def test_p_values_by_clusters_are_no_false_alarms() -> None:
    """Two equally good systems: 5 % of p-values below 0.05, several times as many by utterance."""
    found = false_alarms(clusters=80, each=6, trials=400, resamples=200)
    assert 3 <= found.clusters <= 8
    assert found.utterances > 20


@pytest.mark.parametrize("by", ["programme", "utterance"])
def test_intervals_are_scipys(by: str) -> None:
    """An independent bootstrap of the same ratio has the same ends, but for the chance of draws."""
    (counts,), groups = draw(np.random.default_rng(0), clusters=24, each=20)
    units = cluster_sums(counts, groups) if by == "programme" else counts
    ours, theirs = own_interval(units, 10_000), scipy_interval(units, 10_000)
    assert ours == pytest.approx(theirs, abs=0.03 * (theirs[1] - theirs[0]))
