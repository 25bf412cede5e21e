"""Where a system errs: its metric within each class, group, tag and script."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness_bench.results.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring.bootstrap import cluster_sums
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.systems import system_statistics
from harness_bench.scoring.texts.groups import CODE_SWITCHED, NONE, code_switched

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from harness_bench.scoring.registry import MetricPlugin
    from harness_bench.scoring.statistics import Array

CLASS, GROUP = "class", "group"
_RECALL = "uar"  # within one true class it is that class's recall


@dataclass(frozen=True)
class Slice:
    """The utterances that share one value of a dimension."""

    value: str
    utterances: int
    figure: float  # in the metric's unit; NaN where there is nothing to divide by


def breakdown(
    rows: Sequence[ClassPrediction] | Sequence[TextPrediction],
    *,
    metric: str,
    profile: str | None = None,
    known: Array | None = None,
) -> dict[str, list[Slice]]:
    """Return dimension -> its slices, most utterances first; the order of rows does not matter.

    Dimensions: `class`, the recall of each true class (class predictions); `group`, the cluster,
    unless each utterance is its own; every name among the rows' tags; `code-switched` (texts),
    `yes` where a reference has Latin letters. Rows without a tag have the value `(none)`.

    Args:
        rows: of one system.
        metric: of the rows' kind.
        profile: the text profile of a text metric; default `mgb2`.
        known: the rows' `system_statistics`, where they were made before.

    Raises:
        ValueError: rows of another kind than the metric's, a profile for classes, a tag with the
            name of a dimension above, no row.
    """
    plugin = get_metric(metric)
    counts = system_statistics(rows, metric=metric, profile=profile) if known is None else known
    ordered: list[ClassPrediction | TextPrediction] = [*rows]
    ordered.sort(key=lambda row: row.id)  # as the counts are
    dimensions = _dimensions(ordered)
    tags = sorted({name for row in ordered for name in row.tags})
    if taken := [name for name in tags if name in (CLASS, GROUP, CODE_SWITCHED)]:
        raise ValueError(
            f"The tag {taken[0]!r} has the name of a breakdown that is always made; rename it."
        )
    dimensions |= {name: [row.tags.get(name, NONE) for row in ordered] for name in tags}
    recall = get_metric(_RECALL)
    return {
        name: _slices(counts, values, recall if name == CLASS else plugin)
        for name, values in dimensions.items()
    }


def _dimensions(rows: Iterable[ClassPrediction | TextPrediction]) -> dict[str, list[str]]:
    """Return the value of each row (N,) in the dimensions that need no tag."""
    classes, scripts, groups = [], [], []
    for row in rows:
        groups.append(row.group)
        if isinstance(row, ClassPrediction):
            classes.append(row.truth)
        else:
            scripts.append(code_switched(" ".join(row.written)))
    found = {CLASS: classes, CODE_SWITCHED: scripts, GROUP: groups}
    if len(set(groups)) == len(groups):
        del found[GROUP]
    return {name: values for name, values in found.items() if values}


def _slices(counts: Array, values: Sequence[str], plugin: MetricPlugin) -> list[Slice]:
    """Measure the utterances of each value; most utterances first, then by value."""
    sizes = Counter(values)
    figures = plugin.value(cluster_sums(counts, values)).tolist()
    found = [
        Slice(value, sizes[value], figure)
        for value, figure in zip(sorted(sizes), figures, strict=True)
    ]
    return sorted(found, key=lambda one: -one.utterances)
