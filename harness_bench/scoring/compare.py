"""Compare two systems on the same utterances by the paired bootstrap."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction
from harness_bench.scoring.bootstrap import RESAMPLES, PairedTest, paired
from harness_bench.scoring.classification import classes_of, row_statistics
from harness_bench.scoring.registry import get_metric
from harness_bench.scoring.text import profile_statistics

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_FIRST = 3  # utterances that a message names


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
        ValueError: the two do not hold the same utterances with the same truth and group.
    """
    a, b = joined_systems({"first": first, "second": second}).values()
    classes = classes_of([*a, *b])
    return paired(
        row_statistics(a, classes),
        row_statistics(b, classes),
        [row.group for row in a],
        get_metric(metric).value,
        seed=seed,
        resamples=resamples,
    )


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
        ValueError: the two do not hold the same utterances with the same references and group.
    """
    a, b = joined_systems({"first": first, "second": second}).values()
    groups = [row.group for row in a]
    return paired(
        profile_statistics(a, profile),
        profile_statistics(b, profile),
        groups,
        get_metric(metric).value,
        seed=seed,
        resamples=resamples,
    )


def joined_systems[P: (ClassPrediction, TextPrediction)](
    systems: Mapping[str, Sequence[P]],
) -> dict[str, list[P]]:
    """Order every system's rows by id; all must answer the same questions, once.

    Raises:
        ValueError: a system that repeats an id, or differs from the first one in utterances,
            references or groups; names the system and the first utterances.
    """
    ordered = {name: sorted(rows, key=lambda row: row.id) for name, rows in systems.items()}
    first, *others = ordered
    for name, rows in ordered.items():
        if repeated := [a.id for a, b in itertools.pairwise(rows) if a.id == b.id]:
            raise ValueError(f"System {name!r} holds {repeated[0]!r} twice; keep one row of it.")
    for name in others:
        pair = f"The systems {first!r} and {name!r} differ in"
        if differing := _differing(ordered[first], ordered[name], _question):
            raise ValueError(
                f"{pair} {len(differing)} utterances or references, first "
                f"{', '.join(differing[:_FIRST])}; a paired comparison needs the same split for "
                "both."
            )
        if differing := _differing(ordered[first], ordered[name], lambda row: (row.id, row.group)):
            raise ValueError(
                f"{pair} the group of {len(differing)} utterances, first "
                f"{', '.join(differing[:_FIRST])}; clusters are resampled, so write the same "
                "`group` into both."
            )
    return ordered


def _differing[P: (ClassPrediction, TextPrediction)](
    first: Sequence[P], second: Sequence[P], part: Callable[[P], tuple[str, str]]
) -> list[str]:
    """List the ids for which a part of the rows is not the same in both."""
    return sorted({key for key, _ in set(map(part, first)) ^ set(map(part, second))})


def all_references(row: TextPrediction) -> str:
    """Return everything that a hypothesis is held against, as one text."""
    named = (f"{name}\t{text}" for name, text in sorted(row.references.items()))
    return "\t".join([row.ref, *named])


def _question(row: ClassPrediction | TextPrediction) -> tuple[str, str]:
    """Return id and truth: what must be equal for two answers to be comparable."""
    return row.id, row.truth if isinstance(row, ClassPrediction) else all_references(row)
