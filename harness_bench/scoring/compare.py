"""Compare two systems on the same utterances by the paired bootstrap."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring.bootstrap import RESAMPLES, PairedTest, paired
from harness_bench.scoring.classification import classes_of
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.statistics import class_statistics
from harness_bench.scoring.text import profile_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.scoring.statistics import Array


def compare_classes(
    first: Sequence[ClassPrediction],
    second: Sequence[ClassPrediction],
    *,
    metric: str = "accuracy",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedTest:
    """Return the difference of a class metric, first minus second, with its p-value.

    Raises:
        ValueError: the two do not hold the same utterances with the same truth.
    """
    a, b = _joined(first, second)
    classes = classes_of([*a, *b])

    def statistics(rows: Sequence[ClassPrediction]) -> Array:
        return class_statistics([row.truth for row in rows], [row.pred for row in rows], classes)

    groups = [row.group for row in a]
    value = get_metric(metric).value
    return paired(statistics(a), statistics(b), groups, value, seed=seed, resamples=resamples)


def compare_texts(
    first: Sequence[TextPrediction],
    second: Sequence[TextPrediction],
    *,
    profile: str,
    metric: str = "wer",
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairedTest:
    """Return the difference of a text metric, first minus second, with its p-value.

    Raises:
        ValueError: the two do not hold the same utterances with the same references.
    """
    a, b = _joined(first, second)
    groups = [row.group for row in a]
    return paired(
        profile_statistics(a, profile),
        profile_statistics(b, profile),
        groups,
        get_metric(metric).value,
        seed=seed,
        resamples=resamples,
    )


def _joined[P: (ClassPrediction, TextPrediction)](
    first: Sequence[P], second: Sequence[P]
) -> tuple[list[P], list[P]]:
    """Order both by id and check that they answer the same questions."""
    a = sorted(first, key=lambda row: row.id)
    b = sorted(second, key=lambda row: row.id)
    if differing := sorted({_question(row) for row in a} ^ {_question(row) for row in b}):
        names = ", ".join(dict.fromkeys(name for name, _ in differing[:6]))
        raise ValueError(
            f"The two systems differ in {len(differing)} utterances or references, first {names}; "
            "a paired comparison needs the same split for both."
        )
    return a, b


def _question(row: ClassPrediction | TextPrediction) -> tuple[str, str]:
    """Return id and truth: what must be equal for two answers to be comparable."""
    return row.id, row.truth if isinstance(row, ClassPrediction) else row.ref
