"""Which models a split cannot tell from its best one: paired bootstrap on the predictions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.compare import compare_classes, compare_texts
from harness_bench.scoring.registry import get_metric, get_profile

from .board import by_column

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.results import Result

MAX_BYTES = 256 << 20  # Larger prediction files are not opened for a mark in a table.


def against_best(results: Mapping[Path, Result]) -> tuple[dict[Path, float], list[str]]:
    """Compare every measured result with the best of its column.

    Returns:
        file -> two-sided p-value, for results whose predictions (and the best one's) are there,
        and a note for each comparison that failed although both were.
    """
    found: dict[Path, float] = {}
    notes: list[str] = []
    for column, files in by_column(results, "measured").items():
        sign = -1 if column.higher_is_better else 1
        best, *others = sorted(files, key=lambda file: sign * results[file].main.value)
        for file in others if _has_predictions(best, results[best]) else ():
            if not _has_predictions(file, results[file]):
                continue
            try:
                found[file] = _p_value(file, best, results)
            except (ValueError, OSError, RecursionError) as error:  # deep JSON recurses
                notes.append(f"{file.name} could not be compared with {best.name}: {error}")
    return found, notes


def _has_predictions(file: Path, result: Result) -> bool:
    """Tell whether a result's predictions lie where it says, in a size worth opening."""
    if not result.predictions:
        return False
    path = file.parent / result.predictions
    return path.is_file() and path.stat().st_size <= MAX_BYTES


def _p_value(file: Path, best: Path, results: Mapping[Path, Result]) -> float:
    """Compare two results of one column by their main metric."""
    metric = get_metric(results[file].main_metric)
    paths = [each.parent / str(results[each].predictions) for each in (file, best)]
    if metric.kind == "class":
        first, second = (read_predictions(path, ClassPrediction) for path in paths)
        return compare_classes(first, second, metric=metric.name).p_value
    profile = _profile_name(results[file].normaliser)
    texts = [read_predictions(path, TextPrediction) for path in paths]
    return compare_texts(texts[0], texts[1], profile=profile, metric=metric.name).p_value


def _profile_name(label: str | None) -> str:
    """Return the profile that a result names, in the version that is installed."""
    name = (label or "").partition(" v")[0]
    if get_profile(name).label != label:
        raise ValueError(
            f"it was scored with {label!r} and {get_profile(name).label!r} is installed; "
            "score again."
        )
    return name
