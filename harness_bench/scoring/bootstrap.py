"""Bootstrap intervals and paired comparisons from sums of sufficient statistics.

Utterances of one programme or speaker err together, so resampling utterances as if they were
independent gives intervals that are several times too narrow. The default unit is therefore the
corpus's natural cluster; the utterance interval stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.results.record import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from harness_bench.scoring.statistics import Array

    Value = Callable[[Array], Array]

RESAMPLES = 10_000
LEVEL = 0.95
FEW_CLUSTERS = 20  # Fewer cover less than 92 % instead of 95 (docs/scoring.md): the text says so.
_BLOCK = 1 << 19  # Units whose weights are multiplied at a time.
_DRAWN = 1 << 14  # Units drawn at a time: larger arrays cost twice, they are mapped anew.
_TOTALS = 1 << 21  # Sums held at a time, 16 MB: metrics make several arrays of that size.
_DIGITS = 9  # of a difference in percent: no test set tells finer ones


@dataclass(frozen=True)
class PairedTest:
    """Difference of one metric between two systems on the same utterances, first minus second."""

    difference: float
    interval: Interval
    p_value: float  # two-sided


def cluster_sums(statistics: Array, groups: Sequence[str]) -> Array:
    """Sum statistics (N, ...) within groups -> (clusters, ...), ordered by group name."""
    if len(groups) != len(statistics):
        raise ValueError(f"{len(groups)} groups for {len(statistics)} utterances; give one each.")
    # Not by `np.unique`: an array of texts gives every one of them the room of the longest.
    place = {name: number for number, name in enumerate(sorted(set(groups)))}
    index = np.array([place[name] for name in groups], dtype=np.intp)
    sums = np.zeros((len(place), *statistics.shape[1:]))
    np.add.at(sums, index, statistics)
    return sums


def paired_units(statistics: Array, groups: Sequence[str]) -> Array:
    """Return what a paired comparison resamples: clusters, or utterances where all are of one."""
    clusters = cluster_sums(statistics, groups)
    return statistics if len(clusters) == 1 else clusters


def resampled(
    units: Array, metrics: Mapping[str, Value], *, seed: int, resamples: int
) -> dict[str, Array]:
    """Return each metric on `resamples` draws of the units with replacement -> (resamples, ...).

    Units are sums of sufficient statistics (U, ...). Metrics are functions of totals (R, ...) ->
    (R,), or (R, M) where units are (U, M, ...); all see the same draws.
    """
    flat = units.reshape(len(units), -1)
    parts: dict[str, list[Array]] = {name: [] for name in metrics}
    most = max(1, _TOTALS // flat.shape[1])
    for weights in _weights(len(units), seed, resamples):
        for start in range(0, len(weights), most):
            totals = (weights[start : start + most] @ flat).reshape(-1, *units.shape[1:])
            for name, value in metrics.items():
                parts[name].append(value(totals))
    return {name: np.concatenate(values) for name, values in parts.items()}


def intervals(
    statistics: Array,  # (N, ...) per utterance
    groups: Sequence[str],  # (N,)
    metrics: Mapping[str, Value],
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> dict[str, tuple[Interval, ...]]:
    """Return for each metric its default interval first, then those by other units.

    The default unit is the cluster. With a single cluster nothing is known about how clusters
    differ: then the utterance interval is all there is and its text says so.
    """
    clusters = cluster_sums(statistics, groups)
    units = [statistics] if len(clusters) in (1, len(statistics)) else [clusters, statistics]
    found: dict[str, tuple[Interval, ...]] = dict.fromkeys(metrics, ())
    for unit in units:
        method = method_of(len(unit), groups, resamples)
        samples = resampled(unit, metrics, seed=seed, resamples=resamples)
        for name, value in metrics.items():
            estimate = float(value(statistics.sum(axis=0)))
            found[name] += (_interval(samples[name], estimate, method),)
    return found


def paired(
    first: Array,  # (N, ...) per utterance, same order as second
    second: Array,  # (N, ...)
    groups: Sequence[str],  # (N,)
    value: Value,
    *,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedTest:
    """Compare two systems by resampling the same clusters for both.

    The p-value is the two-sided share of draws on the other side of zero, never below
    1 / (resamples + 1).
    """
    if first.shape != second.shape:
        raise ValueError(
            f"The two systems' statistics have shapes {first.shape} and {second.shape}; give the "
            "same utterances in the same order, and the same classes."
        )
    stacked = np.stack([first, second], axis=1)
    units = paired_units(stacked, groups)

    def difference(totals: Array) -> Array:
        return value(totals[..., 0, :, :]) - value(totals[..., 1, :, :])

    draws = resampled(units, {"d": difference}, seed=seed, resamples=resamples)["d"]
    observed = float(difference(stacked.sum(axis=0)))
    return paired_test(draws, observed, method_of(len(units), groups, resamples))


def paired_test(draws: Array, observed: float, method: str) -> PairedTest:
    """Make interval and two-sided p-value of a difference from its draws (R,).

    Draws are rounded: counts averaged over heads are not integers, so that the sums of equal
    systems differ in their last digits.
    """
    draws, observed = draws.round(_DIGITS) + 0.0, round(observed, _DIGITS) + 0.0  # -0.0 is 0
    known = draws[~np.isnan(draws)]
    side = int(min((known <= 0).sum(), (known >= 0).sum()))
    p_value = min(1.0, 2 * (side + 1) / (len(known) + 1))
    return PairedTest(observed, _interval(draws, observed, f"paired {method}"), p_value)


def _weights(units: int, seed: int, resamples: int) -> Iterator[Array]:
    """Yield blocks (B, U) of how often each unit is drawn; all share one block's memory."""
    generator = np.random.default_rng(seed)
    most, some = max(1, _BLOCK // units), max(1, _DRAWN // units)
    weights = np.empty((min(most, resamples), units))
    rows = np.arange(0, some * units, units, dtype=np.int32)[:, None]
    for start in range(0, resamples, most):
        block = weights[: resamples - start]
        for first in range(0, len(block), some):
            part = block[first : first + some]
            drawn = generator.integers(0, units, size=part.shape, dtype=np.int32)
            drawn += rows[: len(part)]
            part[:] = np.bincount(drawn.ravel(), minlength=part.size).reshape(part.shape)
        yield block


def _interval(samples: Array, estimate: float, method: str) -> Interval:
    """Take the percentile interval; it is widened to the estimate where bias would exclude it."""
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.nanpercentile(samples, [tail, 100 - tail]).tolist()
    return Interval(low=min(low, estimate), high=max(high, estimate), level=LEVEL, method=method)


def method_of(units: int, groups: Sequence[str], resamples: int) -> str:
    """Say how an interval was made and when not to trust it."""
    clusters, tail = len(set(groups)), f", {resamples} resamples"
    if units == len(groups):
        alone = "; one cluster only" if clusters == 1 else ""
        return f"bootstrap over {units} utterances{tail}{alone}"
    few = "; so few clusters give a rough interval" if clusters < FEW_CLUSTERS else ""
    return f"cluster bootstrap over {clusters} clusters{tail}{few}"
