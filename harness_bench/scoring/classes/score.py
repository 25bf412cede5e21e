"""Score classified utterances: accuracy, macro F1, UAR, with intervals; confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.results.record import Metric
from harness_bench.scoring.bootstrap import RESAMPLES, intervals
from harness_bench.scoring.registry import get_metric, metric_names
from harness_bench.scoring.statistics import class_statistics

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from harness_bench.results.predictions import ClassPrediction
    from harness_bench.scoring.statistics import Array


@dataclass(frozen=True)
class Confusion:
    """Counts of true (rows) against predicted (columns) classes."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]  # (classes, classes)


def score_classes(
    rows: Sequence[ClassPrediction], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Metric]:
    """Return every `class` metric with its intervals; the order of rows does not matter.

    Where rows hold the answers of several heads, accuracy and UAR are the means of the heads'
    figures, macro F1 is that of their mean counts, and `spread` tells how the heads differ.

    Raises:
        ValueError: no rows, or not as many answers in all of them.
    """
    if not rows:
        raise ValueError("There is no prediction to score; is the prediction file empty?")
    ordered = sorted(rows, key=lambda row: row.id)
    heads = list(head_statistics(ordered, classes_of(ordered)))
    counts = np.mean(heads, axis=0)
    plugins = [get_metric(name) for name in metric_names("class")]
    spans = intervals(
        counts,
        [row.group for row in ordered],
        {plugin.name: plugin.value for plugin in plugins},
        seed=seed,
        resamples=resamples,
    )
    return {
        plugin.name: Metric(
            value=float(plugin.value(counts.sum(axis=0))),
            higher_is_better=plugin.higher_is_better,
            unit=plugin.unit,
            interval=spans[plugin.name][0],
            other_intervals=spans[plugin.name][1:],
            spread=_spread(heads, plugin.name) if len(heads) > 1 else None,
        )
        for plugin in plugins
    }


def row_statistics(rows: Sequence[ClassPrediction], classes: Sequence[str]) -> Array:
    """Count what each row adds to the sums, the mean over its heads -> float64 (N, 3, classes)."""
    heads = head_statistics(rows, classes)
    total, count = next(heads), 1
    for each in heads:  # summed one by one: a hundred heads need the room of two
        total += each
        count += 1
    return total / count


def head_statistics(rows: Sequence[ClassPrediction], classes: Sequence[str]) -> Iterator[Array]:
    """Yield the counts of each head (N, 3, classes); see `ClassPrediction.others`.

    Raises:
        ValueError: not as many answers in all rows.
    """
    answers = [(row.pred, *row.others) for row in rows] or [("",)]
    if odd := [
        row.id for row, own in zip(rows, answers, strict=False) if len(own) != len(answers[0])
    ]:
        raise ValueError(
            f"{odd[0]!r} has another number of answers in `others` than {rows[0].id!r}; give those "
            "of the same heads in every row."
        )
    truths = [row.truth for row in rows]
    for number in range(len(answers[0])):
        yield class_statistics(truths, [own[number] for own in answers[: len(rows)]], classes)


def _spread(heads: Sequence[Array], metric: str) -> float:
    value = get_metric(metric).value
    return float(np.std([value(counts.sum(axis=0)) for counts in heads], ddof=1))


def classes_of(rows: Sequence[ClassPrediction]) -> list[str]:
    """List the classes that occur as truth, prediction or output of the head, sorted."""
    found = ((row.truth, row.pred, *row.others, *row.probs) for row in rows)
    return sorted({label for labels in found for label in labels})


def confusion(rows: Sequence[ClassPrediction]) -> Confusion:
    """Count true against predicted classes, of several heads those of the first."""
    labels = classes_of(rows)
    column = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for row in rows:
        counts[column[row.truth], column[row.pred]] += 1
    return Confusion(tuple(labels), counts)
