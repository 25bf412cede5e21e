"""Intervals and paired tests: what must hold, and the clusters that make them honest."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import permutation_test, ttest_1samp, ttest_rel

from benchmarks.bench_coverage import coverage
from benchmarks.simulate_tests import words
from harness_bench.scoring.bootstrap import (
    SeedSpread,
    cluster_sums,
    contributions,
    holm,
    intervals,
    metric_interval,
    paired,
    sign_flip,
    smallest_p,
)
from harness_bench.scoring.classes import score_classes
from harness_bench.scoring.registry import get_metric, metric_names
from harness_bench.scoring.statistics import class_statistics
from harness_bench.scoring.systems import SIGNIFICANT, systems_statistics
from harness_bench.scoring.texts.score import score_texts
from tests.scoring.conftest import class_rows, compare_pair, text_rows

if TYPE_CHECKING:
    import random


@given(st.integers(1, 60), st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 1))
@settings(deadline=None, max_examples=50)
def test_interval_contains_estimate(count: int, seed: int, groups: int, right: float) -> None:
    """A figure outside its own interval would be refused by the record."""
    rows = class_rows(count=count, seed=seed, groups=groups, right=right)
    for metric in score_classes(rows).values():
        for interval in (metric.interval, *metric.other_intervals):
            assert interval is not None
            assert interval.low <= metric.value <= interval.high


@given(seed=st.integers(0, 1000), shuffle=st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_order_of_rows_changes_nothing(seed: int, shuffle: random.Random) -> None:
    """Predictions are joined by id: their order in a file must not move any figure."""
    rows, texts = class_rows(count=40, seed=seed), text_rows(count=15, seed=seed)
    mixed, words = shuffle.sample(rows, len(rows)), shuffle.sample(texts, len(texts))
    assert score_classes(rows) == score_classes(mixed)
    assert score_texts(texts) == score_texts(words)


def test_clusters_widen_the_interval() -> None:
    """Speakers that are all right or all wrong: utterances pretend to a precision not there."""
    rows = [
        row.model_copy(update={"pred": row.truth if row.group < "speaker5" else "MSA"})
        for row in class_rows(count=400, seed=1, groups=10)
    ]
    metric = score_classes(rows)["accuracy"]
    assert metric.interval is not None
    assert "jackknife over 10 clusters" in metric.interval.method
    (by_utterance,) = metric.other_intervals
    assert "over 400 utterances" in by_utterance.method
    by_cluster = metric.interval.high - metric.interval.low
    assert by_cluster > 2 * (by_utterance.high - by_utterance.low)


@pytest.mark.parametrize(
    ("groups", "said"),
    [(1, "one cluster only"), (3, "so few clusters"), (30, "over 30 clusters, t with ")],
)
def test_method_warns_of_few_clusters(groups: int, said: str) -> None:
    """A reader must see when an interval rests on two or three speakers."""
    rows = class_rows(count=600, seed=3, groups=groups)
    interval = score_classes(rows)["accuracy"].interval
    assert interval is not None
    assert said in interval.method
    assert ("few" in interval.method) == (groups == 3)


def test_method_warns_of_few_utterances_that_are_clusters() -> None:
    """Three utterances say no more than three speakers."""
    for count in (3, 30):
        rows = [row.model_copy(update={"group": row.id}) for row in class_rows(count=count, seed=3)]
        interval = score_classes(rows)["accuracy"].interval
        assert interval is not None
        assert ("so few" in interval.method) == (count == 3)


def test_no_claim_goes_against_the_figures() -> None:
    """Macro F1 may be higher while nearly all clusters speak for the other system."""
    draw, metric = np.random.default_rng(37886), get_metric("macro_f1")
    clusters, count, many = (int(draw.integers(*ends)) for ends in ((6, 12), (20, 80), (2, 9)))
    groups = [f"s{number}" for number in draw.integers(0, clusters, count)]
    truth = draw.choice(many, count, p=draw.dirichlet(np.ones(many) * 0.5))
    right, liked = draw.random(2), draw.dirichlet(np.ones(many) * 0.3)
    one = np.where(draw.random(count) < right[0], truth, draw.choice(many, count, p=liked))
    other = np.where(draw.random(count) < right[1], truth, draw.choice(many, count))
    first, second = (
        class_statistics([*map(str, truth)], [*map(str, each)], [*map(str, range(many))])
        for each in (one, other)
    )
    added = contributions(cluster_sums(first, groups), cluster_sums(second, groups), metric.value)
    found = paired(first, second, groups, metric.value)
    assert added.sum() < 0 < found.difference
    assert sign_flip(added[:, None])[0] < SIGNIFICANT
    assert found.p_value == 1


def test_a_figure_of_clusters_that_are_all_alike_is_not_sure() -> None:
    """100 % of every speaker: an interval without width is no certainty, and its text says so."""
    rows = [
        row.model_copy(update={"pred": row.truth}) for row in class_rows(count=60, seed=0, groups=4)
    ]
    rows = [row.model_copy(update={"others": (row.pred,) * 99}) for row in rows]
    interval = score_classes(rows)["accuracy"].interval
    assert interval is not None
    assert interval.method.endswith("all alike: spread unknown")


def test_one_utterance_has_no_spread_to_tell_of() -> None:
    (row,) = class_rows(count=1, seed=0)
    interval = score_classes([row])["accuracy"].interval
    assert interval is not None
    assert "one utterance alone" in interval.method


def test_paired_test_separates_what_single_intervals_cannot() -> None:
    """Two systems a few points apart on the same utterances: intervals overlap, pairs differ."""
    first = class_rows(count=300, seed=4, groups=30)
    better = [
        row.model_copy(update={"pred": row.truth}) if index % 6 == 0 else row
        for index, row in enumerate(first)
    ]
    found = compare_pair(better, first, metric="accuracy")
    assert found.p_value < 0.01
    assert found.interval.low > 0
    single = [score_classes(rows)["accuracy"].figures for rows in (better, first)]
    assert single[0]["interval.low"] < single[1]["interval.high"]


def test_paired_test_of_a_system_with_itself() -> None:
    """No difference must give p = 1, whatever the metric and kind."""
    rows, texts = class_rows(count=50, seed=6), text_rows(count=50, seed=6)
    assert compare_pair(rows, rows, metric="accuracy").p_value == 1
    found = compare_pair(texts, texts[::-1], metric="wer")
    assert (found.difference, found.p_value) == (0, 1)


def test_rounding_errors_are_no_difference() -> None:
    """Sums of thirds in another order differ by 1e-14: equal systems must stay equal."""
    units = np.zeros((7, 2, 3, 1))
    units[:, :, 1] = 3
    units[:, 0, 0], units[:, 1, 0] = 0.1 + 0.2, 0.3
    found = paired(units[:, 0], units[:, 1], [*"abcdefg"], get_metric("accuracy").value)
    assert (found.difference, found.p_value) == (0, 1)
    assert (found.interval.low, found.interval.high) == (0, 0)


def counts_of(errors: Any, words: Any) -> Any:
    """Make counts of words (U, 2, 4) of errors and words per cluster."""
    counts = np.zeros((len(errors), 2, 4))
    counts[:, 0, 1], counts[:, 0, 0] = errors, np.subtract(words, errors)
    return counts


@pytest.mark.parametrize("clusters", [2, 5, 6, 9])
def test_the_p_value_is_scipys_exact_permutation_test(clusters: int) -> None:
    """An independent sign-flip test of the differences of errors, all signs tried."""
    generator = np.random.default_rng(clusters)
    words = generator.integers(50, 900, clusters)
    one, other = (generator.binomial(words, rate) for rate in (0.3, 0.25))
    names = [str(number) for number in range(clusters)]
    found = paired(counts_of(one, words), counts_of(other, words), names, get_metric("wer").value)
    theirs = permutation_test(
        (one - other,), lambda d, axis: np.abs(d.sum(axis=axis)), permutation_type="samples",
        alternative="greater", n_resamples=np.inf,
    )  # fmt: skip
    assert found.p_value == pytest.approx(theirs.pvalue)
    assert found.p_value >= 2 / 2**clusters


@pytest.mark.parametrize("metric", metric_names("class"))
def test_the_p_value_of_classes_is_exact_under_exchange(metric: str) -> None:
    """Over all exchanges of systems in some clusters, each p-value is as frequent as it says."""
    first, second = (class_rows(count=120, seed=3, groups=7, right=r) for r in (0.4, 0.6))
    plugin = get_metric(metric)
    groups, (one, other) = systems_statistics({"a": first, "b": second}, plugin, None)
    units = np.stack([cluster_sums(each, groups) for each in (one, other)], axis=1)
    found = []
    for number in range(2**7):
        swapped = units.copy()
        turn = (number >> np.arange(7) & 1).astype(bool)
        swapped[turn] = swapped[turn][:, ::-1]
        p_values = sign_flip(contributions(swapped[:, :1], swapped[:, 1:], plugin.value))
        found.append(float(p_values[0]))
    for p_value in set(found):
        assert np.mean(np.array(found) <= p_value) == pytest.approx(p_value)


def test_drawn_signs_are_near_the_exact_ones() -> None:
    """Where there are too many signs to try, the draws tell the same but for their chance."""
    added = np.random.default_rng(0).normal(0.3, 1, (12, 40))
    exact, drawn = sign_flip(added), sign_flip(added, resamples=2000)
    assert np.abs(exact - drawn).max() < 0.05
    assert drawn.min() >= 1 / 2001


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_by_its_definition(p_values: list[float]) -> None:
    """The k-th smallest of m, times m - k + 1, never below an earlier one, at most 1."""
    found = holm(np.array(p_values))
    ordered, last = sorted(range(len(p_values)), key=lambda place: (p_values[place], place)), 0.0
    for step, place in enumerate(ordered):
        last = max(last, min(1.0, (len(p_values) - step) * p_values[place]))
        assert found[place] == pytest.approx(last)


def test_the_smallest_p_that_is_possible_is_told() -> None:
    """6 clusters tell two systems apart and not three; drawn signs never stand in the way."""
    assert [smallest_p(clusters) for clusters in (1, 2, 5, 6)] == [1, 0.5, 1 / 16, 1 / 32]
    assert smallest_p(6, pairs=3) == 3 / 32
    assert smallest_p(1000, pairs=1770) < SIGNIFICANT


def test_intervals_of_equal_clusters_are_students() -> None:
    """Of equally large clusters the plain interval is that of a mean, by scipy; so is a pair's."""
    words = np.full(9, 100)
    one, other = (np.random.default_rng(seed).integers(10, 60, 9) for seed in (0, 1))
    plain = replace(get_metric("wer"), unit="errors per hundred")
    names = [*"abcdefghi"]
    (found,) = intervals(counts_of(one, words), names, {"wer": plain})["wer"]
    theirs = ttest_1samp(one, 0).confidence_interval()
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))
    pair = paired(counts_of(one, words), counts_of(other, words), names, plain.value)
    theirs = ttest_rel(one, other).confidence_interval()
    assert (pair.interval.low, pair.interval.high) == pytest.approx((theirs.low, theirs.high))


@given(
    estimate=st.floats(0, 100), error=st.floats(0, 60), freedom=st.floats(1, 50),
    metric=st.sampled_from(["wer", "accuracy"]),
)  # fmt: skip
def test_ends_stay_in_range(estimate: float, error: float, freedom: float, metric: str) -> None:
    """A share ends at 0 and 100, an error rate at 0 and is a number a result may hold."""
    low, high = metric_interval(estimate, error, freedom, get_metric(metric))
    if metric == "accuracy":
        assert 0 <= low <= estimate <= high <= 100
    if metric == "wer" and estimate > 1e-6:
        assert 0 <= low <= estimate <= high <= 1001 * estimate


def test_seeds_that_differ_widen_the_interval() -> None:
    """Three runs whose figures differ by more than the clusters tell of the seed's chance."""
    alike, apart = (SeedSpread(deviation, 3) for deviation in (0.0, 5.0))
    counts = counts_of(np.random.default_rng(0).integers(25, 35, 20), np.full(20, 100))
    names, plugin = [str(number) for number in range(20)], get_metric("wer")
    spans = [
        intervals(counts, names, {"wer": plugin}, {"wer": runs})["wer"][0]
        for runs in (None, alike, apart)
    ]
    assert (spans[0].low, spans[0].high) == (spans[1].low, spans[1].high)
    assert spans[2].high - spans[2].low > 3 * (spans[0].high - spans[0].low)
    assert "spread of 3 seeds" in spans[2].method


def test_seeds_that_differ_raise_the_p_value() -> None:
    """A lead over all clusters that another seed would take away is no lead."""
    words = np.full(10, 100)
    one, other = counts_of(words * 0.3, words), counts_of(words * 0.3 - np.arange(1, 11), words)
    names, value = [*"abcdefghij"], get_metric("wer").value
    sure = paired(one, other, names, value)
    unsure = paired(one, other, names, value, seeds=(SeedSpread(9.0, 3), None))
    assert sure.p_value < SIGNIFICANT < unsure.p_value
    assert unsure.interval.low < 0 < sure.interval.low


def test_groups_must_match() -> None:
    """One group per utterance, or clusters would be shifted."""
    with pytest.raises(ValueError, match="2 groups for 3 utterances"):
        cluster_sums(np.zeros((3, 2)), ["a", "b"])


def test_one_long_group_name_does_not_cost_its_length_for_every_row() -> None:
    """A name of a million letters took 4 MB a row; names that end in NUL stay two groups."""
    groups = ["x" * 1_000_000, *["a", "a\0", "b"] * 5000]
    sums = cluster_sums(np.ones((len(groups), 1)), groups)
    assert sums.ravel().tolist() == [5000, 5000, 5000, 1]


@pytest.mark.parametrize("clusters", [8, 24])
def test_cluster_intervals_hold_the_truth_and_utterance_intervals_do_not(clusters: int) -> None:
    """Programmes that differ by 12 points: 95 % by clusters, far fewer by utterances."""
    found = coverage(clusters=clusters, each=6, trials=600)
    assert 92.5 <= found.clusters <= 97.5
    assert found.utterances < 80


@pytest.mark.parametrize(
    ("clusters", "most", "least"), [(2, 0, 0), (5, 0, 0), (6, 5.5, 1.5), (8, 6.8, 3), (50, 6.8, 3)]
)
def test_p_values_by_clusters_are_no_false_alarms(clusters: int, most: float, least: float) -> None:
    """Two equally good systems: 5 % of p-values below 0.05, with however few clusters."""
    one, other = np.moveaxis(words(0.3, 14)(np.random.default_rng(0), clusters, 1500, 0.0), 2, 0)
    p_values = sign_flip(contributions(one, other, get_metric("wer").value), resamples=2000)
    assert least <= 100 * np.mean(p_values < SIGNIFICANT) <= most
