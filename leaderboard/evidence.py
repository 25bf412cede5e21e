"""What the predictions beside the results say: which models differ, and where each one errs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from harness_bench.predictions import ClassPrediction, TextPrediction, read_predictions
from harness_bench.scoring.breakdown import breakdown
from harness_bench.scoring.registry import get_metric, get_profile
from harness_bench.scoring.systems import compare_systems

from .board import by_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results import Result
    from harness_bench.scoring.breakdown import Slice
    from harness_bench.scoring.systems import Systems

    from .board import Column

MAX_BYTES = 256 << 20  # Larger prediction files are not opened for a page.
MAX_SYSTEMS = 60  # of one column; pairs grow with the square, and nobody compares the 61st


@dataclass(frozen=True)
class Pair:
    """Paired test of two models on the same utterances: first minus second."""

    difference: float
    low: float
    high: float
    p_value: float


@dataclass
class Evidence:
    """What is known of one column beyond its figures."""

    tests: list[tuple[tuple[Path, ...], Systems]] = field(default_factory=list)
    breakdowns: dict[Path, dict[str, list[Slice]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pair(self, first: Path, second: Path) -> Pair | None:
        """Return the paired test of two results, or None where there is none."""
        for files, found in self.tests:
            if first in files and second in files:
                at = files.index(first), files.index(second)
                values = (found.differences, found.low, found.high, found.p_values)
                return Pair(*(float(matrix[at]) for matrix in values))
        return None

    @property
    def methods(self) -> list[str]:
        """How the tests were made, each way once."""
        return list(dict.fromkeys(found.method for _, found in self.tests))


def gather(results: Mapping[Path, Result], column: Column, files: Iterable[Path]) -> Evidence:
    """Read the predictions of a column's results; compare every two and break all down.

    Only results whose predictions lie where they say take part. Whatever is wrong with some
    predictions costs a note and those results' share of the evidence, nothing else.

    Args:
        results: file -> result.
        column: of which the results are.
        files: the column's results.
    """
    found = Evidence()
    sign = -1 if column.higher_is_better else 1
    ordered = sorted(files, key=lambda file: (sign * results[file].main.value, file))
    there = [file for file in ordered if _has_predictions(file, results[file])]
    try:
        profile = _profile_name(results[there[0]].normaliser) if there else None
        kind = get_metric(results[there[0]].main_metric).kind if there else "class"
    except ValueError as error:
        found.notes.append(f"{column.head}: no two models could be compared: {error}")
        return found
    if kind == "class":
        _examine(found, ClassPrediction, there, results, profile)
    else:
        _examine(found, TextPrediction, there, results, profile)
    if len(there) > MAX_SYSTEMS:
        found.notes.append(f"{column.head}: only the best {MAX_SYSTEMS} models were compared.")
    return found


def _examine[P: (ClassPrediction, TextPrediction)](
    found: Evidence,
    kind: type[P],
    files: Sequence[Path],
    results: Mapping[Path, Result],
    profile: str | None,
) -> None:
    """Read predictions of one kind, break each down, compare those of the same utterances."""
    asked: dict[tuple[str, ...], dict[Path, list[P]]] = {}
    for file in files[:MAX_SYSTEMS]:
        metric = results[file].main_metric
        try:
            rows = read_predictions(file.parent / str(results[file].predictions), kind)
            found.breakdowns[file] = breakdown(rows, metric=metric, profile=profile)
        except (ValueError, OSError, RecursionError) as error:  # deep JSON recurses
            found.notes.append(f"{file.name} could not be compared: {error}")
            continue
        asked.setdefault(_questions(rows), {})[file] = rows
    for alike in asked.values():
        _compare(found, alike, results[next(iter(alike))].main_metric, profile)
    if not asked:
        return
    first, *others = asked.values()
    for file in (file for alike in others for file in alike):
        found.notes.append(
            f"{file.name} could not be compared with {next(iter(first)).name}: their "
            "utterances, references or groups differ."
        )


def _compare[P: (ClassPrediction, TextPrediction)](
    found: Evidence, alike: Mapping[Path, list[P]], metric: str, profile: str | None
) -> None:
    """Compare every two of some results with the same utterances."""
    if len(alike) < 2:  # noqa: PLR2004
        return
    files = {str(file): file for file in alike}
    rows = {name: alike[file] for name, file in files.items()}
    try:
        systems = compare_systems(rows, metric=metric, profile=profile)
    except ValueError as error:
        found.notes.append(f"{', '.join(file.name for file in alike)}: no comparison: {error}")
        return
    found.tests.append((tuple(files[name] for name in systems.names), systems))


def _has_predictions(file: Path, result: Result) -> bool:
    """Tell whether a result's predictions lie where it says, in a size worth opening."""
    if result.source != "measured" or not result.predictions:
        return False
    path = file.parent / result.predictions
    return path.is_file() and path.stat().st_size <= MAX_BYTES


def _questions(rows: Iterable[ClassPrediction | TextPrediction]) -> tuple[str, ...]:
    """Return what must be equal for two answers to be comparable, in the order of ids."""
    return tuple(
        f"{row.id}\t{row.group}\t{row.truth if isinstance(row, ClassPrediction) else row.ref}"
        for row in sorted(rows, key=lambda row: row.id)
    )


def _profile_name(label: str | None) -> str | None:
    """Return the profile that a result names, in the version that is installed."""
    if label is None:
        return None
    name = label.partition(" v")[0]
    if get_profile(name).label != label:
        raise ValueError(
            f"they were scored with {label!r} and {get_profile(name).label!r} is installed; "
            "score again."
        )
    return name


def gather_all(results: Mapping[Path, Result]) -> dict[Column, Evidence]:
    """Gather the evidence of every column of measured results."""
    grouped = by_column(results, "measured")
    return {column: gather(results, column, files) for column, files in grouped.items()}
