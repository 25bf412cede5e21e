"""Intervals: how often they hold the truth, and how long they take."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import bootstrap

from benchmarks.measure import Rows, higher_is_better, in_turn, lower_is_better, versus
from harness_bench.scoring.bootstrap import RESAMPLES, cluster_sums, intervals, paired
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.statistics import HITS, INSERTIONS, SUBSTITUTIONS, WORDS, Array

WER = 30.0  # the true error rate of the simulated recogniser, in percent
SPREAD = 12.0  # standard deviation between programmes, in points (18 on MGB-3's 24 programmes)
WORDS_EACH = 10  # mean words of an utterance
UTTERANCES, PROGRAMMES = 5000, 24  # of the timed set
SIGNIFICANT = 0.05
METRIC = {"wer": get_metric("wer")}


class Shares(NamedTuple):
    """Percent of simulated test sets, by what is resampled."""

    clusters: float
    utterances: float


def measure(*, tiny: bool = False) -> Rows:
    """Yield coverage and false alarms by clusters (ours) and by utterances (peer); CPU seconds."""
    yield from _coverage(tiny=tiny)
    yield from _speed(tiny=tiny)


def _coverage(*, tiny: bool) -> Rows:
    how: Any = {"each": 10, "trials": 60 if tiny else 1000}
    told = f"{how['trials']} simulated sets, 10 utterances a programme (peer: over utterances)"
    for clusters in (10, 24, 100):
        yield higher_is_better(
            f"interval_coverage_{clusters}_programmes", *coverage(clusters=clusters, **how),
            "% (95 is right)", note=f"95 % intervals that hold the true WER, {told}",
        )  # fmt: skip
    yield lower_is_better(
        "paired_test_false_alarms_100_programmes", *false_alarms(clusters=100, **how),
        "% (5 is right)", note=f"p < 0.05 for two equally good systems, {told}",
    )  # fmt: skip


def _speed(*, tiny: bool) -> Rows:
    """Time the interval of one WER, over as many units as utterances and as programmes."""
    each, resamples = (5, 100) if tiny else (UTTERANCES // PROGRAMMES + 1, RESAMPLES)
    (counts,), groups = draw(np.random.default_rng(0), clusters=PROGRAMMES, each=each)
    for name, units in (
        (f"interval_{UTTERANCES}_utterances_vs_scipy", counts[:UTTERANCES]),
        (f"interval_{PROGRAMMES}_programmes_vs_scipy", cluster_sums(counts, groups)),
    ):
        times = in_turn(
            partial(own_interval, units), partial(scipy_interval, units, resamples),
            repeats=1 if tiny else 3,
        )  # fmt: skip
        what = f"95 % interval of WER, {len(units)} units; scipy: {resamples} resamples, percentile"
        yield lower_is_better(name, *times, "CPU s", note=versus(what, "scipy"))


def own_interval(units: Array) -> tuple[float, float]:
    """Return the ends of the interval of counts (N, 2, 4), each a unit by itself."""
    names = [str(place) for place in range(len(units))]
    (found,) = intervals(units, names, METRIC)["wer"]
    return found.low, found.high


def scipy_interval(units: Array, resamples: int) -> tuple[float, float]:
    """Return the ends of scipy's percentile bootstrap, in blocks that fit the memory."""
    words = units[:, WORDS]
    errors, spoken = words.sum(axis=-1) - words[:, HITS], words.sum(axis=-1) - words[:, INSERTIONS]
    found = bootstrap(
        (errors, spoken), lambda e, n, axis: 100 * e.sum(axis=axis) / n.sum(axis=axis),
        paired=True, vectorized=True, n_resamples=resamples, batch=100, method="percentile",
        rng=np.random.default_rng(0),
    )  # fmt: skip
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def draw(
    generator: np.random.Generator, *, clusters: int, each: int, systems: int = 1
) -> tuple[Array, list[str]]:
    """Draw counts of words of a test set -> (systems, clusters * each, 2, 4), and its groups.

    A programme has an error rate of its own (beta distribution of mean WER and deviation SPREAD),
    for each system another; its utterances err at that rate, word by word.
    """
    mean, deviation = WER / 100, SPREAD / 100
    size = mean * (1 - mean) / deviation**2 - 1
    rates = generator.beta(mean * size, (1 - mean) * size, size=(systems, clusters))
    words = 1 + generator.poisson(WORDS_EACH - 1, size=clusters * each)
    errors = generator.binomial(words, np.repeat(rates, each, axis=1))
    counts = np.zeros((systems, clusters * each, 2, 4))
    counts[..., WORDS, SUBSTITUTIONS] = errors
    counts[..., WORDS, HITS] = words - errors
    return counts, [f"programme{place // each}" for place in range(clusters * each)]


def coverage(*, clusters: int, each: int, trials: int, seed: int = 0) -> Shares:
    """Simulate test sets and count the intervals that hold the true error rate, of both kinds."""
    generator = np.random.default_rng(seed)
    hits = np.zeros(2)
    for _ in range(trials):
        (counts,), groups = draw(generator, clusters=clusters, each=each)
        found = intervals(counts, groups, METRIC)["wer"]
        hits += [one.low <= WER <= one.high for one in found]
    return Shares(*(100 * hits / trials))


def false_alarms(*, clusters: int, each: int, trials: int, seed: int = 0) -> Shares:
    """Compare equally good systems; return the percent of p-values below 0.05 by either unit."""
    generator = np.random.default_rng(seed)
    alarms = np.zeros(2)
    for trial in range(trials):
        (one, other), groups = draw(generator, clusters=clusters, each=each, systems=2)
        units = groups, [str(place) for place in range(len(groups))]
        tests = [
            paired(one, other, u, METRIC["wer"].value, seed=trial, resamples=500) for u in units
        ]
        alarms += [test.p_value < SIGNIFICANT for test in tests]
    return Shares(*(100 * alarms / trials))
