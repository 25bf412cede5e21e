"""Score classified utterances: accuracy, macro F1, UAR, with intervals; confusion matrix."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from harness_bench.scoring.bootstrap import RESAMPLES
from harness_bench.scoring.measure import measure
from harness_bench.scoring.statistics import class_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from harness_bench.predictions import ClassPrediction
    from harness_bench.result_parts import Metric


@dataclass(frozen=True)
class Confusion:
    """Counts of true (rows) against predicted (columns) classes."""

    labels: tuple[str, ...]
    counts: NDArray[np.int64]  # (classes, classes)


def score_classes(
    rows: Sequence[ClassPrediction], *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Metric]:
    """Return every `class` metric with its intervals; the order of rows does not matter.

    Raises:
        ValueError: no rows.
    """
    ordered = sorted(rows, key=lambda row: row.id)
    statistics = class_statistics(
        [row.truth for row in ordered], [row.pred for row in ordered], classes_of(ordered)
    )
    groups = [row.group for row in ordered]
    return measure("class", statistics, groups, seed=seed, resamples=resamples)


def classes_of(rows: Sequence[ClassPrediction]) -> list[str]:
    """List the classes that occur as truth, prediction or output of the head, sorted."""
    return sorted({label for row in rows for label in (row.truth, row.pred, *row.probs)})


def confusion(rows: Sequence[ClassPrediction]) -> Confusion:
    """Count true against predicted classes."""
    labels = classes_of(rows)
    column = {label: index for index, label in enumerate(labels)}
    counts = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for row in rows:
        counts[column[row.truth], column[row.pred]] += 1
    return Confusion(tuple(labels), counts)
