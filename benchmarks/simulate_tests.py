"""Simulate test sets of few clusters: false alarms and power of the tests, coverage of intervals.

python -m benchmarks.simulate_tests [--repetitions 10000] [--old 1000] [--out FILE]

Clusters (speakers, programmes) have unequal sizes and difficulties of their own, and each system
its own strengths among them, so that errors are correlated within clusters. `--old` repetitions
are also done by what this replaced: the percentile bootstrap of clusters, and twice the share of
draws on the other side of 0 as p-value.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy.special import stdtrit

from harness_bench.core.files import write_text
from harness_bench.core.tables import columns
from harness_bench.scoring.bootstrap import (
    SeedSpread,
    contributions,
    degrees_of_freedom,
    holm,
    left_out,
    metric_interval,
    sign_flip,
    sizes_of,
    standard_error,
    with_seeds,
)
from harness_bench.scoring.registry import MetricPlugin, get_metric
from harness_bench.scoring.statistics import (
    CORRECT,
    HITS,
    PREDICTED,
    SUBSTITUTIONS,
    TRUE,
    WORDS,
    Array,
)

CLUSTERS = (2, 3, 4, 5, 6, 7, 8, 10, 16, 24, 50)
LEVEL, ALPHA, REPETITIONS, OLD, RESAMPLES = 0.95, 0.05, 10_000, 1000, 1000
UNEQUAL = 0.7  # standard deviation of the logarithm of sizes: of 8 clusters the largest is 8 times
PRIOR = np.array([0.35, 0.25, 0.2, 0.12, 0.08])  # of classes
BETTER = 0.08  # share of right answers more of the better system; of errors twice as much less
SWAPPED = 8  # clusters from which on systems are not exchanged one by one

type Draw = Callable[[Generator, int, int, float], Array]  # clusters, sets, better -> (U, S, 2, ..)


@dataclass(frozen=True)
class Scenario:
    """A kind of test set and the metrics that are measured on it."""

    title: str
    metrics: tuple[str, ...]
    draw: Draw


def _sizes(generator: Generator, shape: tuple[int, ...], mean: int) -> NDArray[np.int64]:
    return np.maximum(8, np.exp(generator.normal(np.log(mean), UNEQUAL, shape))).astype(np.int64)


def _rates(generator: Generator, mean: Array, size: float) -> Array:
    """Draw rates around a mean, by a beta distribution; a larger size is a smaller spread."""
    return generator.beta(
        np.clip(mean, 0.005, 0.995) * size, np.clip(1 - mean, 0.005, 0.995) * size
    )


def words(mean: float, size: float, own: float = 40) -> Draw:
    """Draw counts of words; programmes have an error rate, each system its own around that."""

    def draw(generator: Generator, clusters: int, sets: int, better: float) -> Array:
        length = _sizes(generator, (clusters, sets), 200)
        hard = _rates(generator, np.full((clusters, sets), mean), size)
        counts = np.zeros((clusters, sets, 2, 2, 4))
        for system in range(2):
            rates = _rates(generator, hard * (1 - 2 * better * system), own)
            wrong = generator.binomial(length, rates)
            counts[:, :, system, WORDS, SUBSTITUTIONS] = wrong
            counts[:, :, system, WORDS, HITS] = length - wrong
        return counts

    return draw


def labels(mean: float, *, one_class: bool = False, steady: bool = False) -> Draw:
    """Draw counts of classes; each cluster has its own mixture of them, or one class alone.

    `steady`: the second system is as good on the average, but equally good everywhere.
    """

    def draw(generator: Generator, clusters: int, sets: int, better: float) -> Array:
        size, many = _sizes(generator, (clusters, sets), 40), len(PRIOR)
        mixture = generator.dirichlet(PRIOR * 8, (clusters, sets))
        if one_class:
            mixture = generator.multinomial(1, PRIOR, (clusters, sets)).astype(float)
        true = generator.multinomial(size, mixture)
        middle = np.broadcast_to(mean + np.linspace(0.1, -0.1, many), true.shape)
        hard = _rates(generator, middle, 8)
        counts = np.zeros((clusters, sets, 2, 3, many))
        for system in range(2):
            right = middle if steady and system else _rates(generator, hard, 20)
            right = np.clip(right + better * system, 0, 1)
            correct = generator.binomial(true, right)
            counts[:, :, system, CORRECT], counts[:, :, system, TRUE] = correct, true
            predicted = correct.copy()
            for label in range(many):
                others = (np.arange(many) != label) / (many - 1)
                predicted += generator.multinomial(true[..., label] - correct[..., label], others)
            counts[:, :, system, PREDICTED] = predicted
        return counts

    return draw


SCENARIOS = (
    Scenario("WER 30 %", ("wer",), words(0.3, 14)),
    Scenario("WER 10 %", ("wer",), words(0.1, 17)),
    Scenario("classes, 73 % right", ("accuracy", "macro_f1", "uar"), labels(0.7)),
    Scenario("classes, 90 % right", ("accuracy", "macro_f1", "uar"), labels(0.87)),
    Scenario("not exchangeable", ("accuracy", "macro_f1"), labels(0.7, steady=True)),
    Scenario("a class per speaker", ("accuracy", "macro_f1", "uar"), labels(0.7, one_class=True)),
)


def swap_test(units: Array, plugin: MetricPlugin) -> Array:
    """Return p-values by the metric itself, systems exchanged in some clusters (U, S, 2, ...)."""
    many = len(units)
    total, hits = units.sum(axis=0), np.zeros(units.shape[1])
    seen = np.abs(_difference(total, plugin)) - 1e-9
    turned = units[:, :, ::-1]
    for number in range(2 ** (many - 1)):
        swap = (number >> np.arange(many) & 1).astype(bool)
        sums = total + (turned[swap] - units[swap]).sum(axis=0)
        hits += np.abs(_difference(sums, plugin)) >= seen
    return np.asarray(hits / 2 ** (many - 1))


def _difference(totals: Array, plugin: MetricPlugin) -> Array:
    values = plugin.value(totals)
    return values[..., 0] - values[..., 1]


def own_p(units: Array, plugin: MetricPlugin) -> Array:
    """Return the sign-flip test's p-value of each set; units (U, S, 2, ...)."""
    return sign_flip(contributions(units[:, :, 0], units[:, :, 1], plugin.value))


def covers(units: Array, plugin: MetricPlugin, truth: float) -> float:
    """Return the percent of intervals that hold the true value; units (U, S, ...)."""
    left, estimates = left_out(units, plugin.value), plugin.value(units.sum(axis=0))
    errors = standard_error(left)
    freedom = degrees_of_freedom(sizes_of(units, plugin))
    held = [
        low <= truth <= high
        for low, high in (
            metric_interval(*each, plugin) for each in zip(estimates, errors, freedom, strict=True)
        )
    ]
    return 100 * float(np.mean(held))


def covers_difference(units: Array, plugin: MetricPlugin) -> float:
    """Return the percent of intervals of the difference of equal systems that hold 0."""
    left = left_out(units, plugin.value)
    errors = standard_error(left[..., 0] - left[..., 1])
    freedom = degrees_of_freedom(units.reshape(*units.shape[:2], -1).sum(axis=-1))
    seen = np.abs(_difference(units.sum(axis=0), plugin))
    return 100 * float(np.mean(seen <= stdtrit(freedom, (1 + LEVEL) / 2) * errors))


def old(
    units: Array, plugin: MetricPlugin, truth: float, generator: Generator
) -> tuple[float, float]:
    """Return the percentile bootstrap's false alarms and the coverage of its interval, in %."""
    many, alarms, held = len(units), [], []
    weights = generator.multinomial(many, np.full(many, 1 / many), RESAMPLES).astype(float)
    for number in range(units.shape[1]):
        flat = units[:, number].reshape(many, -1)
        values = plugin.value((weights @ flat).reshape(RESAMPLES, *units.shape[2:]))
        low, high = np.nanpercentile(values[:, 0], [2.5, 97.5])
        held.append(low <= truth <= high)
        draws = (values[:, 0] - values[:, 1]).round(9)
        side = min((draws <= 0).sum(), (draws >= 0).sum())
        alarms.append(min(1.0, 2 * (side + 1) / (RESAMPLES + 1)) < ALPHA)
    return 100 * float(np.mean(alarms)), 100 * float(np.mean(held))


def seeds_table(repetitions: int) -> Iterator[list[str]]:
    """Three seeds of a model: coverage of the interval without and with their spread."""
    plugin, wanted = get_metric("accuracy"), 70.0
    yield ["clusters", "seeds", "over clusters alone", "with the spread of seeds"]
    for clusters in (8, 24, 50):
        generator = np.random.default_rng(clusters)
        size = _sizes(generator, (clusters, repetitions), 40)
        hard = _rates(generator, np.full(size.shape, wanted / 100), 12)
        units = np.zeros((3, clusters, repetitions, 3, 1))
        for run in units:
            shift = generator.normal(0, 0.04, repetitions)  # between seeds, everywhere
            run[..., TRUE, 0] = size
            run[..., CORRECT, 0] = generator.binomial(size, np.clip(hard + shift, 0, 1))
        counts, each = units.mean(axis=0), plugin.value(units.sum(axis=1))
        errors = standard_error(left_out(counts, plugin.value))
        freedom = degrees_of_freedom(size.astype(float))
        held = np.zeros(2)
        for number in range(repetitions):
            estimate = float(plugin.value(counts[:, number].sum(axis=0)))
            spread = SeedSpread.of(each[:, number].tolist())
            for way, runs in enumerate((None, spread)):
                found = with_seeds(float(errors[number]), float(freedom[number]), runs)
                low, high = metric_interval(estimate, *found, plugin)
                held[way] += low <= wanted <= high
        yield [str(clusters), "3", *(f"{100 * one / repetitions:.1f}" for one in held)]


def family_table(repetitions: int) -> Iterator[list[str]]:
    """Ten equal systems: tables with any false claim, by plain p-values and by Holm's."""
    plugin, systems = get_metric("wer"), 10
    yield ["clusters", "p < 0.05", "p by Holm < 0.05"]
    one, other = np.triu_indices(systems, 1)
    for clusters in (8, 12, 24):
        generator = np.random.default_rng(clusters)
        each = [words(0.3, 14)(generator, clusters, repetitions, 0.0) for _ in range(2)]
        hard = each[0][:, :, 0]  # sizes and difficulty of these sets
        length = hard[..., WORDS, :].sum(axis=-1).astype(np.int64)
        rate = hard[..., WORDS, SUBSTITUTIONS] / length
        counts = np.zeros((clusters, repetitions, systems, 2, 4))
        for system in range(systems):
            wrong = generator.binomial(length, _rates(generator, rate, 40))
            counts[:, :, system, WORDS, SUBSTITUTIONS] = wrong
            counts[:, :, system, WORDS, HITS] = length - wrong
        p_values = np.stack(
            [own_p(counts[:, :, [i, j]], plugin) for i, j in zip(one, other, strict=True)]
        )
        corrected = np.stack([holm(column) for column in p_values.T], axis=1)
        shares = [100 * (each < ALPHA).any(axis=0).mean() for each in (p_values, corrected)]
        yield [str(clusters), *(f"{share:.1f}" for share in shares)]


def scenario_table(
    scenario: Scenario, name: str, repetitions: int, few: int
) -> Iterator[list[str]]:
    """Yield a line per number of clusters: false alarms, coverage and power, new beside old."""
    plugin, generator = get_metric(name), np.random.default_rng(0)
    many = [scenario.draw(generator, 50, 2000, 0.0).sum(axis=(0, 1)) for _ in range(20)]
    truth = float(plugin.value(np.sum(many, axis=0))[0])
    yield ["clusters", "alarms old", "alarms", "swapped", "covers old", "covers", "difference",
           "power old", "power"]  # fmt: skip
    for clusters in CLUSTERS:
        generator = np.random.default_rng(clusters)
        units = scenario.draw(generator, clusters, repetitions, 0.0)
        before = old(units[:, :few], plugin, truth, generator)
        alarms = 100 * float(np.mean(own_p(units, plugin) < ALPHA))
        swapped = (
            f"{100 * np.mean(swap_test(units, plugin) < ALPHA):.1f}" if clusters < SWAPPED else ""
        )
        covered = covers(units[:, :, 0], plugin, truth), covers_difference(units, plugin)
        better = scenario.draw(generator, clusters, min(repetitions, 2000), BETTER)
        power = 100 * float(np.mean(own_p(better, plugin) < ALPHA))
        power_before, _ = old(better[:, :few], plugin, truth, generator)
        figures = [before[0], alarms, swapped, before[1], *covered, power_before, power]
        yield [str(clusters), *(one if isinstance(one, str) else f"{one:.1f}" for one in figures)]


def main() -> None:
    """Simulate, print, and write the tables if a file is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=REPETITIONS)
    parser.add_argument(
        "--old", type=int, default=OLD, help="repetitions by the percentile bootstrap"
    )
    parser.add_argument("--only", default="", help="scenarios whose title holds this")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    parts: list[str] = []
    tables = [
        (f"{one.title}: {name}", scenario_table(one, name, options.repetitions, options.old))
        for one in SCENARIOS
        for name in one.metrics
    ]
    tables.append(("ten equal systems: WER", family_table(max(1, options.repetitions // 5))))
    tables.append(("three seeds: accuracy", seeds_table(options.repetitions)))
    for title, rows in tables:
        if options.only in title:
            parts.append("\n".join([f"{title} (%)", *columns(list(rows)), ""]))
            print(parts[-1], flush=True)
    if options.out:
        write_text(options.out, "\n".join(parts))


if __name__ == "__main__":
    main()
