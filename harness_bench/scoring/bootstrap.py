"""Intervals and paired tests from sums of sufficient statistics, by clusters.

Utterances of one programme or speaker err together, so intervals that take utterances for
independent are several times too narrow. The default unit is therefore the corpus's natural
cluster; the utterance interval stands beside it. What follows stays right with few clusters, where
a percentile bootstrap does not (docs/scoring.md has the figures of both):

- Intervals: standard error by leaving out one cluster at a time, Student's t with as many degrees
  of freedom as the unequal sizes of the clusters leave (Bell and McCaffrey, 2002, in spirit),
  shares on the scale of their log odds and error rates on that of their logarithm.
- P-values: the sign-flip test. If two systems are equally good, what a cluster adds to their
  difference could as well have the other sign; exact for any number of clusters.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.special import stdtr, stdtrit

from harness_bench.results.record import Interval
from harness_bench.scoring.statistics import INSERTIONS, TRUE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from harness_bench.scoring.registry import MetricPlugin
    from harness_bench.scoring.statistics import Array

    Value = Callable[[Array], Array]

RESAMPLES = 10_000  # draws of signs where there are too many to try them all
LEVEL = 0.95
FEW_CLUSTERS = (
    8  # With fewer, coverage was not held to 93-97 % (docs/scoring.md); the text says so.
)
_PER_PAIR = 40  # draws at least, so that the smallest p-value survives Holm's correction
_TOTALS = 1 << 21  # numbers held at a time, 16 MB
_DIGITS = 9  # of a difference in percent: no test set tells finer ones
_TIE = 10.0**-_DIGITS
_TIE_BREAK = 1e-6
_FACTOR = 1000.0  # Error rates are not bounded beyond this factor; two clusters would by e^50.


@dataclass(frozen=True)
class PairedTest:
    """Difference of one metric between two systems on the same utterances, first minus second."""

    difference: float
    interval: Interval
    p_value: float  # two-sided


@dataclass(frozen=True)
class SeedSpread:
    """How a metric differs between runs of one system with several seeds."""

    deviation: float  # sample standard deviation, in the metric's unit
    seeds: int  # 2 or more

    @classmethod
    def of(cls, values: Sequence[float]) -> SeedSpread | None:
        """Return the spread of the values of several seeds; None of fewer than two."""
        many = len(values)
        return cls(float(np.std(values, ddof=1)), many) if many > 1 else None

    @property
    def variance(self) -> float:
        """Variance of the mean over the seeds."""
        return self.deviation**2 / self.seeds


@dataclass(frozen=True, eq=False)
class PairTables:
    """Every pair of M systems, first minus second, in the order of `numpy.triu_indices(M, 1)`."""

    differences: Array  # (P,)
    low: Array
    high: Array
    p_values: Array


def cluster_sums(statistics: Array, groups: Sequence[str]) -> Array:
    """Sum statistics (N, ...) within groups -> (clusters, ...), ordered by group name.

    Where each utterance is a cluster, they keep their kind: counts of many classes are large.
    """
    if len(groups) != len(statistics):
        raise ValueError(f"{len(groups)} groups for {len(statistics)} utterances; give one each.")
    # Not by `np.unique`: an array of texts gives every one of them the room of the longest.
    place = {name: number for number, name in enumerate(sorted(set(groups)))}
    index = np.array([place[name] for name in groups], dtype=np.intp)
    if len(place) == len(statistics):
        return np.asarray(statistics[np.argsort(index)])
    sums = np.zeros((len(place), *statistics.shape[1:]))
    np.add.at(sums, index, statistics)
    return sums


def paired_units(statistics: Array, groups: Sequence[str]) -> Array:
    """Return the units of an interval: clusters, or utterances where all are of one."""
    clusters = cluster_sums(statistics, groups)
    return statistics if len(clusters) == 1 else clusters


def left_out(units: Array, value: Value) -> Array:
    """Return the metric without each unit in turn; units (U, ...) -> (U,), or (U, M) of M systems.

    Where a metric is not defined without a unit, that unit does not count.
    """
    total, step = units.sum(axis=0, dtype=np.float64), max(1, _TOTALS // units[0].size)
    starts = range(0, len(units), step)
    found = np.concatenate([value(total - units[at : at + step]) for at in starts])
    return np.where(np.isnan(found), value(total), found)


def standard_error(left: Array) -> Array:
    """Return the jackknife's standard error from the values with one unit left out (U, ...)."""
    return np.asarray(np.sqrt((len(left) - 1) * left.var(axis=0)))


def degrees_of_freedom(sizes: Array) -> Array:
    """Return what units of sizes (U, ...) leave: U - 1 where all are equal, never below 1."""
    effective = sizes.sum(axis=0) ** 2 / np.maximum((sizes**2).sum(axis=0), _TIE)
    return np.asarray(np.maximum(effective - 1, 1))


def sizes_of(units: Array, plugin: MetricPlugin) -> Array:
    """Return how much is asked in each unit (U, ...), whatever is answered: utterances or words."""
    if plugin.kind == "class":
        return np.asarray(units[..., TRUE, :].sum(axis=-1))
    return np.asarray(units[..., :INSERTIONS].sum(axis=(-2, -1)))


def contributions(first: Array, second: Array, value: Value) -> Array:
    """Return what each unit (U, ...) adds to the difference of two systems -> (U, ...).

    It is the difference that remains if both systems gave the mean of their answers in all other
    units. Exchanging the systems in one unit turns that unit's sign and changes no other, so that
    flipping signs is an exact test; of ratios with a common denominator they add up to the
    difference. In few units counts of errors add up to the same sum in many ways: small units then
    weigh a millionth more, so that such ties do not cost power.
    """
    pooled, step = (first.sum(axis=0) + second.sum(axis=0)) / 2, max(1, _TOTALS // first[0].size)
    parts = []
    for at in range(0, len(first), step):
        some = slice(at, at + step)
        half = np.subtract(first[some], second[some], dtype=np.float64) / 2  # counts have no sign
        parts.append(value(pooled + half) - value(pooled - half))
    found = np.concatenate(parts)
    if not is_exact(len(first)):
        return found
    sizes = np.maximum(
        np.add(first, second, dtype=np.float64).reshape(*found.shape, -1).sum(axis=-1), 1
    )
    return np.asarray(found * (1 + _TIE_BREAK * sizes.mean(axis=0) / sizes))


def sign_flip(
    added: Array,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]] | None = None,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Array:
    """Return the two-sided p-value of each column of contributions (U, P) -> (P,).

    With `pairs` (two rows of P columns of `added`) it is that of the columns' differences; so many
    systems need one sum each. All signs are tried where they are no more than `resamples`, but for
    a common turn of all; otherwise as many are drawn, and p is (1 + hits) / (1 + draws) (Phipson
    and Smyth, 2010).
    """

    def of_pairs(sums: Array) -> Array:
        return np.abs(sums if pairs is None else sums[..., pairs[0]] - sums[..., pairs[1]])

    reached = of_pairs(added.sum(axis=0)) - _TIE
    hits, exact = np.zeros(len(reached)), is_exact(len(added), resamples)
    for signs in _signs(len(added), max(len(added), len(reached)), seed, resamples):
        hits += (of_pairs(signs @ added) >= reached).sum(axis=0)
    if exact:
        return np.asarray(hits / 2 ** (len(added) - 1))
    return np.asarray((1 + hits) / (1 + resamples))


def is_exact(units: int, resamples: int = RESAMPLES) -> bool:
    """Tell whether all signs are tried."""
    return units - 1 <= int(np.log2(resamples))


def smallest_p(clusters: int, pairs: int = 1, resamples: int = RESAMPLES) -> float:
    """Return the smallest p-value that so many clusters allow, by Holm's correction for pairs."""
    least = 0.5 ** (clusters - 1)
    draws = draws_of(pairs, resamples)
    return min(1.0, pairs * (least if is_exact(clusters, draws) else max(least, 1 / (1 + draws))))


def draws_of(pairs: int, resamples: int = RESAMPLES) -> int:
    """Return how many signs are drawn, or tried, in a table of so many pairs."""
    return max(resamples, _PER_PAIR * pairs)


def holm(p_values: Array) -> Array:
    """Correct p-values (P,) for their number (Holm, 1979): the chance of any false claim."""
    order = np.argsort(p_values, kind="stable")
    scaled = p_values[order] * np.arange(len(order), 0, -1)
    corrected = np.empty_like(scaled)
    corrected[order] = np.minimum(np.maximum.accumulate(scaled), 1)
    return corrected


def intervals(
    statistics: Array,  # (N, ...) per utterance
    groups: Sequence[str],  # (N,)
    metrics: Mapping[str, MetricPlugin],
    seeds: Mapping[str, SeedSpread | None] | None = None,
) -> dict[str, tuple[Interval, ...]]:
    """Return for each metric its default interval first, then those by other units.

    The default unit is the cluster. With a single cluster nothing is known about how clusters
    differ: then the utterance interval is all there is and its text says so. `seeds` are the
    spreads of metrics that are means over several runs.
    """
    alone = len(set(groups)) in (1, len(statistics))
    units = [statistics] if alone else [cluster_sums(statistics, groups), statistics]
    found: dict[str, tuple[Interval, ...]] = dict.fromkeys(metrics, ())
    for unit in units:
        for name, plugin in metrics.items():
            freedom = float(degrees_of_freedom(sizes_of(unit, plugin)))
            runs = (seeds or {}).get(name)
            own_error = float(standard_error(left_out(unit, plugin.value)))
            error, degrees = with_seeds(own_error, freedom, runs)
            estimate = float(plugin.value(statistics.sum(axis=0, dtype=np.float64)))
            low, high = metric_interval(estimate, error, degrees, plugin)
            method = method_of(len(unit), groups, degrees, runs)
            method += "; all alike: spread unknown" * (own_error < _TIE < len(unit) - 1)
            found[name] += (Interval(low=low, high=high, level=LEVEL, method=method),)
    return found


def metric_interval(
    estimate: float, error: float, degrees: float, plugin: MetricPlugin
) -> tuple[float, float]:
    """Return the ends of an interval: on the log odds of shares, the logarithm of error rates."""
    reach = float(stdtrit(degrees, (1 + LEVEL) / 2)) * error
    share = plugin.unit == "%" and plugin.higher_is_better
    if error == 0 or np.isnan(estimate):
        return estimate, estimate
    if share and _TIE < estimate < 100 - _TIE:
        odds, step = estimate / (100 - estimate), 100 * reach / (estimate * (100 - estimate))
        with np.errstate(over="ignore"):
            ends = [100 / (1 + np.exp(turn * step) / odds) for turn in (1, -1)]
    elif plugin.unit == "%" and not share and estimate > _TIE:
        factor = np.exp(min(reach / estimate, np.log(_FACTOR)))
        ends = [estimate / factor, estimate * factor]
    else:
        ends = [estimate - reach, estimate + reach]
    if plugin.unit == "%":  # a figure of exactly 0 or 100 has no odds
        ends = [max(ends[0], 0), min(ends[1], 100) if share else ends[1]]
    return min(float(ends[0]), estimate), max(float(ends[1]), estimate)


def with_seeds(error: float, degrees: float, seeds: SeedSpread | None) -> tuple[float, float]:
    """Add the variance of a mean over seeds; degrees of freedom by Satterthwaite."""
    if seeds is None or seeds.variance == 0:
        return error, degrees
    total = error**2 + seeds.variance
    below = error**4 / degrees + seeds.variance**2 / (seeds.seeds - 1)
    return total**0.5, max(1.0, total**2 / below)


def paired(
    first: Array,  # (N, ...) per utterance, same order as second
    second: Array,  # (N, ...)
    groups: Sequence[str],  # (N,)
    value: Value,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    seeds: Sequence[SeedSpread | None] = (None, None),
) -> PairedTest:
    """Compare two systems on the same clusters: interval of the difference, sign-flip p-value.

    Where a system is the mean over several seeds, the interval holds their spread, and the p-value
    is the larger of the sign-flip test's and that of t with both variances.
    """
    if first.shape != second.shape:
        raise ValueError(
            f"The two systems' statistics have shapes {first.shape} and {second.shape}; give the "
            "same utterances in the same order, and the same classes."
        )
    units = paired_units(np.stack([first, second], axis=1), groups)
    clusters = len(set(groups))
    found = paired_tests(units, clusters, value, seed=seed, resamples=resamples, seeds=seeds)
    (difference,), (low,), (high,), (p_value,) = (
        each.tolist() for each in (found.differences, found.low, found.high, found.p_values)
    )
    interval = Interval(low=low, high=high, level=LEVEL, method=f"paired {units_of(units, groups)}")
    return PairedTest(difference, interval, p_value)


def paired_tests(
    units: Array,  # (U, M, ...)
    clusters: int,
    value: Value,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
    seeds: Sequence[SeedSpread | None] = (),
) -> PairTables:
    """Test every pair of systems; with a single cluster, whose units are utterances, p is 1."""
    one, other = np.triu_indices(units.shape[1], 1)
    sizes = units.reshape(*units.shape[:2], -1).sum(axis=-1)
    values, left = value(units.sum(axis=0, dtype=np.float64)), left_out(units, value)
    differences = (values[one] - values[other]).round(_DIGITS) + 0.0  # -0.0 is 0
    errors, degrees, p_values = (np.ones(len(one)) for _ in range(3))
    for some in _blocks(len(one), len(units)):
        i, j = one[some], other[some]
        errors[some] = standard_error(left[:, i] - left[:, j])
        degrees[some] = degrees_of_freedom(sizes[:, i] + sizes[:, j])
    if clusters > 1:
        draws = draws_of(len(one), resamples)
        p_values = _flipped(units, value, (one, other), differences, seed=seed, resamples=draws)
    for pair in range(len(one)) if any(seeds) else ():
        runs = seeds[one[pair]], seeds[other[pair]]
        both, errors[pair], degrees[pair] = _seeded(
            differences[pair], errors[pair], degrees[pair], runs
        )
        p_values[pair] = max(p_values[pair], both)
    reach = stdtrit(degrees, (1 + LEVEL) / 2) * errors
    low, high = ((differences + turn * reach).round(_DIGITS) + 0.0 for turn in (-1, 1))
    return PairTables(differences, low, high, p_values)


def _flipped(
    units: Array,
    value: Value,
    pairs: tuple[NDArray[np.intp], NDArray[np.intp]],
    differences: Array,
    *,
    seed: int,
    resamples: int,
) -> Array:
    """Return the sign-flip test's p-value of each pair of systems; units (U, M, ...) -> (P,).

    It is 1 where the contributions add up to the other sign than the difference, as those of macro
    F1 may: whichever system was claimed to be better, one of the two figures would deny it.
    """

    def added(some: slice) -> Array:
        each = zip(pairs[0][some], pairs[1][some], strict=True)
        return np.stack([contributions(units[:, i], units[:, j], value) for i, j in each], axis=1)

    blocks = [*_blocks(len(pairs[0]), len(units))]
    first = [contributions(units[:, m], units[:, 0], value) for m in range(units.shape[1])]
    base = np.stack(first, axis=1)
    # Of ratios with a common denominator, such as WER and accuracy, differences are enough.
    if all(
        np.abs(added(some) - base[:, pairs[0][some]] + base[:, pairs[1][some]]).max() < _TIE
        for some in blocks
    ):
        p_values = sign_flip(base, pairs, seed=seed, resamples=resamples)
        sums = base.sum(axis=0)[pairs[0]] - base.sum(axis=0)[pairs[1]]
    else:
        found = []
        for some in blocks:  # only one block's contributions are held at a time
            own = added(some)
            p_of = sign_flip(own, seed=seed, resamples=resamples)
            found.append((p_of, own.sum(axis=0)))
        p_values, sums = (np.concatenate(each) for each in zip(*found, strict=True))
    return np.where(sums * differences < 0, 1, p_values)


def _blocks(pairs: int, units: int) -> Iterator[slice]:
    step = max(1, _TOTALS // units)
    yield from (slice(at, at + step) for at in range(0, pairs, step))


def _seeded(
    difference: float, error: float, degrees: float, runs: Sequence[SeedSpread | None]
) -> tuple[float, float, float]:
    """Add the spread of either system's seeds -> p-value by t (0: no seeds), error, degrees."""
    for each in runs:
        error, degrees = with_seeds(error, degrees, each)
    if not any(runs) or error <= _TIE:
        return 0.0, error, degrees
    return float(2 * stdtr(degrees, -abs(difference) / error)), error, degrees


def _signs(units: int, widest: int, seed: int, resamples: int) -> Iterator[Array]:
    """Yield blocks (B, U) of signs: all of them but for a common turn, or drawn ones."""
    exact = is_exact(units, resamples)
    many, block = 2 ** (units - 1) if exact else resamples, max(1, _TOTALS // widest)
    generator = np.random.default_rng(seed)
    for start in range(0, many, block):
        rows = min(block, many - start)
        if exact:
            numbers = np.arange(start, start + rows)[:, None]
            bits = (numbers >> np.arange(units) & 1).astype(np.uint8)  # the last unit's is always 0
        else:
            octets = generator.integers(0, 256, size=(rows, -(-units // 8)), dtype=np.uint8)
            bits = np.unpackbits(octets, axis=1, count=units)
        yield np.subtract(1.0, 2.0 * bits, dtype=np.float64)


def method_of(
    units: int, groups: Sequence[str], degrees: float, seeds: SeedSpread | None = None
) -> str:
    """Say how an interval was made and when not to trust it."""
    clusters = len(set(groups))
    if units == 1:
        return "one utterance alone: nothing is known of its spread"
    spread = f", spread of {seeds.seeds} seeds" if seeds else ""
    tail = f", t with {degrees:.1f} df{spread}"  # results allow 120 characters in all
    if units == len(groups):
        few = "; so few: rough" if units < FEW_CLUSTERS else ""
        warning = "; one cluster only" if clusters == 1 else few
        return f"jackknife over {units} utterances{tail}{warning}"
    few = "; so few clusters: rough" if clusters < FEW_CLUSTERS else ""
    return f"jackknife over {clusters} clusters{tail}{few}"


def units_of(units: Array, groups: Sequence[str]) -> str:
    """Say what the intervals of differences rest on."""
    what = "utterances" if len(units) == len(groups) else "clusters"
    return f"jackknife over {len(units)} {what}, t"
