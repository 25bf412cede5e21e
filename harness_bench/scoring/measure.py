"""From sufficient statistics to metrics with intervals: what all kinds of scoring share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from harness_bench.result_parts import Metric
from harness_bench.scoring.bootstrap import intervals
from harness_bench.scoring.registry import Kind, get_metric, metric_names

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.scoring.statistics import Array


def measure(
    kind: Kind, statistics: Array, groups: Sequence[str], *, seed: int, resamples: int
) -> dict[str, Metric]:
    """Return every metric of `kind` with its default interval and the others.

    Args:
        kind: which metrics.
        statistics: per utterance (N, ...), laid out as `kind` says.
        groups: the cluster of each utterance (N,).
        seed: of the bootstrap.
        resamples: of the bootstrap.

    Raises:
        ValueError: no utterance, or nothing to divide by (every reference empty).
    """
    if not len(statistics):
        raise ValueError("There is no prediction to score; is the prediction file empty?")
    plugins = [get_metric(name) for name in metric_names(kind)]
    values = {plugin.name: float(plugin.value(statistics.sum(axis=0))) for plugin in plugins}
    if undefined := [name for name, value in values.items() if np.isnan(value)]:
        raise ValueError(
            f"{', '.join(undefined)} cannot be computed: all {len(statistics)} references are "
            "empty after normalisation. Check the transcripts or choose another text profile."
        )
    functions = {plugin.name: plugin.value for plugin in plugins}
    found = intervals(statistics, groups, functions, seed=seed, resamples=resamples)
    return {
        plugin.name: Metric(
            value=values[plugin.name],
            higher_is_better=plugin.higher_is_better,
            unit=plugin.unit,
            interval=found[plugin.name][0],
            other_intervals=found[plugin.name][1:],
        )
        for plugin in plugins
    }
