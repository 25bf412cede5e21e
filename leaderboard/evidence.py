"""What the predictions beside the results say: which models differ, and where each one errs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.results.predictions import (
    MAX_PREDICTIONS,
    ClassPrediction,
    TextPrediction,
    read_predictions,
)
from harness_bench.scoring.classes import classes_of
from harness_bench.scoring.registry import get_metric, get_profile
from harness_bench.scoring.systems import breakdown, compare_systems, question, system_statistics

from .board import BoardColumn, Evidence, task_and_head
from .ranking import by_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Result
    from harness_bench.scoring.statistics import Array


_ROUNDING = 0.051  # A result may write its figure with one digit after the point.
MAX_SYSTEMS = 60  # of one column; the number of pairs grows with the square
MAX_TAGS = 50  # names, each of which is a breakdown
MAX_COUNTS = 1 << 26  # numbers of one table, 512 MiB; 8,000 utterances of 1,000 classes are 2.4e7
MAX_STEPS = 5 * 10**10  # of aligning letters, about 8 s; 10 h in half-hour texts are 1.5e10


def check_file(rows: Sequence[ClassPrediction] | Sequence[TextPrediction]) -> None:
    """Refuse the predictions of one model that would take too long or too much memory.

    Raises:
        ValueError: too many names of tags, too many classes for the number of utterances, or
            texts too long to align; names the number and the limit.
    """
    tags = len({name for row in rows for name in row.tags})
    if tags > MAX_TAGS:
        raise ValueError(f"they have tags of {tags} names; at most {MAX_TAGS} are shown")
    _check_counts(len(rows), _width(rows))
    texts = (row for row in rows if not isinstance(row, ClassPrediction))
    steps = sum(len(text) * len(row.hyp) for row in texts for text in row.written)
    if steps > MAX_STEPS:
        raise ValueError(
            f"their texts take {steps:.1e} steps to align, at most {MAX_STEPS:.0e} are made; write "
            "shorter utterances"
        )


def check_systems(
    alike: Mapping[Path, Sequence[ClassPrediction]] | Mapping[Path, Sequence[TextPrediction]],
) -> None:
    """Refuse a comparison of models on the same utterances that would take too much memory.

    Raises:
        ValueError: too many models for their clusters and classes.
    """
    every = [row for rows in alike.values() for row in rows]
    width, utterances = _width(every), len(every) // len(alike)
    clusters = len({row.group for row in every})
    _check_counts(utterances, width)
    _check_counts(utterances if clusters == 1 else clusters, width * len(alike))


def _width(rows: Sequence[ClassPrediction | TextPrediction]) -> int:
    """Return how many counts an utterance adds: 3 a class, 4 a reference and unit or for MR-WER."""
    classes = [row for row in rows if isinstance(row, ClassPrediction)]
    if classes:
        return 3 * len(classes_of(classes))
    several = [len(row.references) for row in rows if isinstance(row, TextPrediction)]
    most = max(several, default=0)
    return 8 * most + 4 if most else 8


def _check_counts(many: int, width: int) -> None:
    if many * width > MAX_COUNTS:
        raise ValueError(
            f"a table of {many} x {width} counts is needed, more than {MAX_COUNTS}; there are too "
            "many classes or models for so many utterances"
        )


def gather_all(results: Mapping[Path, Result]) -> dict[BoardColumn, Evidence]:
    """Read the predictions of measured results; in each column compare every two, break all down.

    Only results whose predictions lie where they say take part. Broken predictions cost a note and
    those results' share of the evidence, nothing else.
    """
    grouped = by_column(results, "measured")
    return {column: _gather(results, column, files) for column, files in grouped.items()}


def _gather(results: Mapping[Path, Result], column: BoardColumn, files: Iterable[Path]) -> Evidence:
    found = Evidence()
    sign = -1 if column.higher_is_better else 1
    ordered = sorted(files, key=lambda file: (sign * results[file].main.value, file))
    there = [file for file in ordered if _has_predictions(file, results[file])]
    try:
        profile = _profile_name(column.normaliser) if there else None
        kind = get_metric(column.metric).kind if there else "class"
    except ValueError as error:
        found.notes.append(f"{column.head}: no two models could be compared: {error}")
        return found
    examined = {file: results[file] for file in there[:MAX_SYSTEMS]}
    if kind == "class":
        _examine(found, ClassPrediction, examined, column.metric, profile)
    else:
        _examine(found, TextPrediction, examined, column.metric, profile)
    if len(there) > MAX_SYSTEMS:
        found.notes.append(f"{column.head}: only the best {MAX_SYSTEMS} models were compared.")
    return found


def _examine[P: (ClassPrediction, TextPrediction)](
    found: Evidence, kind: type[P], results: Mapping[Path, Result], metric: str, profile: str | None
) -> None:
    """Read predictions of one kind, break each down, compare those of the same utterances.

    Predictions that do not reproduce their result's figure belong to another run: they are left
    out.
    """
    asked: dict[tuple[tuple[str, ...], ...], dict[Path, list[P]]] = {}
    # Texts are aligned once a file; counts of classes depend on the other files, and are cheap.
    known: dict[str, Array] = {}
    for file, result in results.items():
        try:
            rows = read_predictions(file.parent / str(result.predictions), kind)
            check_file(rows)
            counts = system_statistics(rows, metric=metric, profile=profile)
            value = float(get_metric(metric).value(counts.sum(axis=0, dtype=float)))
            if not abs(value - result.main.value) <= _ROUNDING:
                found.contradicted[file] = (
                    f"it says {metric} {result.main.value:.2f} and its predictions give "
                    f"{value:.2f}; score them again."
                )
                continue
            found.breakdowns[file] = breakdown(rows, metric=metric, profile=profile, known=counts)
        except (ValueError, OSError) as error:
            why = str(error).replace(f"{file.parent}/", "")  # no local folders on a public page
            found.notes.append(f"{file.name} could not be compared: {why}")
            continue
        key = tuple(map(question, sorted(rows, key=lambda row: row.id)))
        asked.setdefault(key, {})[file] = rows
        if kind is TextPrediction:
            known[str(file)] = counts
    for alike in asked.values():
        _compare(found, alike, results, metric, profile, known)
    groups = iter(asked.values())
    first = next(iter(next(groups, {})), None)
    found.notes += [
        f"{file.name} could not be compared with {first.name}: their utterances, references or "
        "groups differ."
        for alike in groups
        for file in alike
        if first
    ]
    found.notes += [
        f"{file.name} could not be compared: {why}" for file, why in found.contradicted.items()
    ]


def _compare[P: (ClassPrediction, TextPrediction)](
    found: Evidence,
    alike: Mapping[Path, list[P]],
    results: Mapping[Path, Result],
    metric: str,
    profile: str | None,
    known: Mapping[str, Array],
) -> None:
    """Compare every two of some results with the same utterances."""
    if len(alike) < 2:  # noqa: PLR2004
        return
    files = {str(file): file for file in alike}
    rows = {name: alike[file] for name, file in files.items()}
    try:
        check_systems(alike)
        systems = compare_systems(rows, metric=metric, profile=profile, known=known)
    except ValueError as error:
        found.notes.append(f"{', '.join(file.name for file in alike)}: no comparison: {error}")
        return
    ordered = tuple(files[name] for name in systems.names)
    found.tests.append((ordered, systems))
    if not systems.decidable:
        each, clusters = results[ordered[0]], systems.clusters
        task = task_and_head(each).upper()
        found.notes.append(
            f"{task}, {each.corpus}: no difference in {metric} between these "
            f"{len(ordered)} models can be significant: over {clusters} "
            f"cluster{'s' * (clusters > 1)} p by Holm is never below {systems.smallest_p:.3g}."
        )


def _has_predictions(file: Path, result: Result) -> bool:
    if result.source != "measured" or not result.predictions:
        return False
    path = file.parent / result.predictions
    return path.is_file() and path.stat().st_size <= MAX_PREDICTIONS


def _profile_name(label: str) -> str | None:
    if not label:
        return None
    name = label.partition(" v")[0]
    if get_profile(name).label != label:
        raise ValueError(
            f"they were scored with {label!r} and {get_profile(name).label!r} is installed; "
            "score again."
        )
    return name
