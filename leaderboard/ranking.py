"""Rank results: places by figure, ranks by what the data can tell apart, SUPERB's score."""

from __future__ import annotations

import re
import statistics
from bisect import bisect_right
from itertools import permutations
from typing import TYPE_CHECKING

from harness_bench.core.sanitize import clean
from harness_bench.scoring.systems import SIGNIFICANT

from .board import BoardTable, ModelRow, ResultCell, Source, SuperbScore, by_column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Result

    from .board import BoardColumn, Evidence

BEST = 1000.0  # SUPERB's score of the best model, where FBANK has 0


def make_table(
    results: Mapping[Path, Result],
    source: Source,
    evidence: Mapping[BoardColumn, Evidence] | None = None,
) -> BoardTable:
    """Rank results of one source: one row per model, best mean rank first.

    Reported results among those of the other source serve as the paper's figures.
    """
    known = dict(evidence or {})
    printed = _printed(results) if source == "measured" else {}
    rows: dict[str, dict[BoardColumn, ResultCell]] = {}
    grouped = by_column(results, source)
    for column, files in grouped.items():
        for cell in _cells(results, column, files, known.get(column), printed):
            rows.setdefault(clean(cell.result.model), {})[column] = cell
    scores = superb_scores(rows)
    made = [_row(model, cells, scores.get(model)) for model, cells in rows.items()]
    made.sort(key=lambda row: (*_order(row, grouped), row.model))
    found = [note for each in known.values() for note in each.notes]
    notes = (*found, *_split_notes(grouped, results), *_parameter_notes(made))
    return BoardTable(source, tuple(grouped), tuple(made), notes, known)


def _cells(
    results: Mapping[Path, Result], column: BoardColumn, files: Sequence[Path],
    evidence: Evidence | None, printed: Mapping[tuple[str, ...], Result],
) -> Iterable[ResultCell]:  # fmt: skip
    places = ranks(files, results, column, None)
    ranked = ranks(files, results, column, evidence)
    best = min(files, key=lambda file: (places[file], file))
    for file in files:
        pair = evidence.pair(file, best) if evidence and file != best else None
        paper = printed.get(_question(results[file]))
        yield ResultCell(results[file], file, places[file], ranked[file], pair, paper)


def ranks(
    files: Iterable[Path],
    results: Mapping[Path, Result],
    column: BoardColumn,
    evidence: Evidence | None,
) -> dict[Path, int]:
    """Return 1 + the number of models that are better beyond chance, for each result.

    Better beyond chance: a better figure, and where both have predictions of the same utterances
    p < 0.05 in the paired test too. Models of one rank are a rank group: the column's best ones
    all have rank 1.
    """
    sign = 1 if column.higher_is_better else -1
    worth = {file: sign * results[file].main.value for file in files}
    ordered = sorted(worth.values())
    found = {file: 1 + len(ordered) - bisect_right(ordered, value) for file, value in worth.items()}
    # Of the models with a better figure, those that the test cannot tell from it do not count.
    for compared, systems in evidence.tests if evidence else ():
        for (i, one), (j, other) in permutations(enumerate(compared), 2):
            if worth[one] < worth[other] and systems.p_values[i, j] >= SIGNIFICANT:
                found[one] -= 1
    return found


def superb_scores(rows: Mapping[str, Mapping[BoardColumn, ResultCell]]) -> dict[str, SuperbScore]:
    """Return each model's score as SUPERB defines it (Feng et al., SLT 2022): 0 FBANK, 1000 best.

    Every column counts the same, and only if some model is better than FBANK there. A model
    without a figure in all of them gets the mean over those it has. Of several FBANK rows the one
    with most columns is the floor, of equal ones the first by name.
    """
    floors = [name for name in rows if _is_fbank(name, rows[name])]
    floor = min(floors, key=lambda name: (-len(rows[name]), name), default=None)
    if floor is None:
        return {}
    spans = {
        column: (cell.metric.value, _best(column, rows)) for column, cell in rows[floor].items()
    }
    spans = {column: span for column, span in spans.items() if span[0] != span[1]}
    found: dict[str, SuperbScore] = {}
    for model, cells in rows.items():
        shares = [
            (cells[column].metric.value - low) / (high - low)
            for column, (low, high) in spans.items()
            if column in cells
        ]
        if shares:
            found[model] = SuperbScore(BEST * statistics.mean(shares), len(shares), len(spans))
    return found


def _is_fbank(model: str, cells: Mapping[BoardColumn, ResultCell]) -> bool:
    kind = next(iter(cells.values())).result.model_kind
    return kind == "baseline" and "fbank" in model.casefold()


def _best(column: BoardColumn, rows: Mapping[str, Mapping[BoardColumn, ResultCell]]) -> float:
    values = [cells[column].metric.value for cells in rows.values() if column in cells]
    return max(values) if column.higher_is_better else min(values)


def _printed(results: Mapping[Path, Result]) -> dict[tuple[str, ...], Result]:
    return {_question(result): result for result in results.values() if result.source == "reported"}


def _question(result: Result) -> tuple[str, ...]:
    """Return model, task, corpus, split and metric as both a paper and a config may write them."""
    names = (result.model, result.task, result.corpus, result.split, result.main_metric)
    return tuple(re.sub(r"[\W_]+", "", clean(name).casefold()) for name in names)


def _order(row: ModelRow, grouped: Mapping[BoardColumn, list[Path]]) -> tuple[float, float]:
    """Return what rows are sorted by: mean rank, and where it is equal the figures.

    Of these, the share of its column's entries that are better, averaged: a second place of five
    is more than a second place of two.
    """
    better = ((cell.place - 1) / len(grouped[column]) for column, cell in row.cells.items())
    return row.mean_rank, statistics.mean(better)


def _row(model: str, cells: dict[BoardColumn, ResultCell], score: SuperbScore | None) -> ModelRow:
    """Make a row; kind and parameters come from the first result that knows them."""
    counts = _counts(cells)
    kind = next(iter(cells.values())).result.model_kind
    return ModelRow(model, kind, counts[0] if counts else None, cells, score)


def _counts(cells: Mapping[BoardColumn, ResultCell]) -> list[int]:
    known = (cell.result.parameters for cell in cells.values())
    return sorted({count for count in known if count is not None})


def _split_notes(
    grouped: Mapping[BoardColumn, list[Path]], results: Mapping[Path, Result]
) -> Iterable[str]:
    """Warn of columns whose models did not all see the same utterances."""
    for column, files in grouped.items():
        digests = {results[file].split_digest for file in files} - {None}
        if len(digests) > 1:
            yield (
                f"{column.head}: the models were scored on {len(digests)} different sets of "
                "utterances (split digests differ); their figures cannot be compared."
            )


def _parameter_notes(rows: Iterable[ModelRow]) -> Iterable[str]:
    """Warn of models whose results disagree on their size."""
    for row in rows:
        if len(counts := _counts(row.cells)) > 1:
            written = ", ".join(f"{count:,}" for count in counts)
            yield f"{row.model}: its results name several parameter counts ({written})."
