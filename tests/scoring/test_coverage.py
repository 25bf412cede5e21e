"""Coverage on simulated test sets whose truth is known: what a 95 % interval has to keep."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bench_coverage import coverage, draw, false_alarms, own_interval, scipy_interval
from harness_bench.scoring.bootstrap import cluster_sums


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
