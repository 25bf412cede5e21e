"""Rank results: columns, rows, ranks, SUPERB's score, and what a reader must be warned of."""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import permutations
from statistics import fmean
from typing import TYPE_CHECKING

from harness_bench.core.sanitize import canonical
from harness_bench.scoring.systems import SIGNIFICANT

from .board import (
    BoardColumn,
    BoardTable,
    Evidence,
    ModelRow,
    ResultCell,
    Source,
    SuperbScore,
    task_and_head,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Result

BEST = 1000.0  # SUPERB's score of the best model, where FBANK has 0
_ALONE = 1  # model of a column, which ranks nobody


def by_column(results: Mapping[Path, Result], source: Source) -> dict[BoardColumn, list[Path]]:
    """Group the files of one source by column, columns in order."""
    grouped: dict[BoardColumn, list[Path]] = {}
    for file, result in results.items():
        if result.source == source:
            column = BoardColumn(
                task=canonical(task_and_head(result)),
                corpus=canonical(result.corpus),
                split=canonical(result.split),
                metric=canonical(result.main_metric),
                normaliser=canonical(result.normaliser or ""),
                unit=canonical(result.main.unit),
                higher_is_better=result.main.higher_is_better,
                synthetic=result.synthetic,
            )
            grouped.setdefault(column, []).append(file)
    return dict(sorted(grouped.items()))


def make_table(
    results: Mapping[Path, Result],
    source: Source,
    evidence: Mapping[BoardColumn, Evidence] | None = None,
) -> BoardTable:
    """Rank results of one source: one row per model, complete ones first, by mean rank.

    Complete is a model with a figure in all `ranking_columns`. Others follow, those with the most
    columns first.

    Reported results among those of the other source serve as the paper's figures.
    """
    known, grouped = dict(evidence or {}), by_column(results, source)
    reported = [each for each in results.values() if each.source == "reported"]
    printed = {_question(each): each for each in reported} if source == "measured" else {}
    cells: dict[str, dict[BoardColumn, ResultCell]] = {}
    for column, files in grouped.items():
        places = ranks(files, results, column, None)
        ranked = ranks(files, results, column, found := known.get(column))
        spans = rank_spans(files, found)
        best = min(files, key=lambda file: (places[file], file))
        for file in files:
            result = results[file]
            pair = found.pair(file, best) if found and file != best else None
            paper = printed.get(_question(result))
            span = spans.get(file)
            cell = ResultCell(
                result, file, places[file], ranked[file], pair, paper, span, len(files)
            )
            cells.setdefault(canonical(result.model), {})[column] = cell
    ranking = ranking_columns(grouped)
    scores = superb_scores(cells, ranking)
    rows = [ModelRow(model, own, scores.get(model), ranking) for model, own in cells.items()]
    rows.sort(key=_order)
    found_notes = [note for each in known.values() for note in each.notes]
    notes = (
        *found_notes, *_split_notes(grouped, results), *_parameter_notes(rows),
        *_rank_notes(rows, grouped, ranking),
    )  # fmt: skip
    return BoardTable(source, tuple(grouped), tuple(rows), notes, known)


def ranking_columns(grouped: Mapping[BoardColumn, Sequence[Path]]) -> tuple[BoardColumn, ...]:
    """Return the columns that count in mean ranks and in the question which models are complete.

    One model alone is ranked nowhere. Of the columns of one task, corpus and split, which differ by
    metric or text profile, a model has one: the column with the most models counts, of equal ones
    the last by name, which has the later version.
    """
    slots: dict[tuple[str, ...], BoardColumn] = {}
    for column, files in sorted(grouped.items(), key=lambda each: len(each[1])):
        if len(files) > _ALONE:
            slots[_slot(column)] = column
    chosen = {*slots.values()}
    return tuple(column for column in grouped if column in chosen)


def _slot(column: BoardColumn) -> tuple[str, ...]:
    return column.task, column.corpus, column.split


def _question(result: Result) -> tuple[str, ...]:
    """Return model, task, corpus, split and metric as both a paper and a config may write them."""
    task = (result.task, result.head)
    names = (result.model, *task, result.corpus, result.split, result.main_metric)
    return tuple(map(plain, names))


def plain(name: str) -> str:
    """Return a name without what a paper and a config may write in two ways: case and signs."""
    return re.sub(r"[\W_]+", "", canonical(name).casefold())


def _order(row: ModelRow) -> tuple[int, float, float, str]:
    """Order rows; of equal mean ranks, a second place of five is more than a second of two."""
    better = fmean((cell.place - 1) / cell.among for cell in row.cells.values())
    return len(row.ranking) - row.ranked_in, row.mean_rank or 0, better, row.model


def ranks(
    files: Iterable[Path],
    results: Mapping[Path, Result],
    column: BoardColumn,
    evidence: Evidence | None,
) -> dict[Path, int]:
    """Return 1 + the number of models that are better beyond chance, for each result.

    Significantly better: a better figure, and where both have predictions of the same utterances
    p by Holm < 0.05 in the paired test too. Models of one rank are a group: the column's best ones
    all have rank 1.
    """
    sign = 1 if column.higher_is_better else -1
    worth = {file: sign * results[file].main.value for file in files}
    ordered = sorted(worth.values())
    found = {file: 1 + len(ordered) - bisect_right(ordered, value) for file, value in worth.items()}
    # Of the models with a better figure, those that the test cannot tell from it do not count.
    for compared, systems in evidence.tests if evidence else ():
        for (i, one), (j, other) in permutations(enumerate(compared), 2):
            if worth[one] < worth[other] and systems.p_holm[i, j] >= SIGNIFICANT:
                found[one] -= 1
    return found


def rank_spans(files: Sequence[Path], evidence: Evidence | None) -> dict[Path, tuple[int, int]]:
    """Return the first and the last rank that the paired tests leave open, for each result.

    Of two models without a test either may be the better. Without any test, nothing is returned.
    """
    tests = evidence.tests if evidence else []
    found = dict.fromkeys(files, (1, len(files))) if tests else {}
    for compared, systems in tests:
        unknown = len(files) - len(compared)
        ends = zip(compared, systems.ranks, systems.last_ranks, strict=True)
        found |= {file: (first, unknown + last) for file, first, last in ends}
    return found


def superb_scores(
    rows: Mapping[str, Mapping[BoardColumn, ResultCell]], ranking: Sequence[BoardColumn]
) -> dict[str, SuperbScore]:
    """Return each model's score as SUPERB defines it (Feng et al., SLT 2022): 0 FBANK, 1000 best.

    Every column counts the same, and only if some model is better than FBANK there. Only a model
    with a figure in every ranking column has a score. Of several FBANK rows the one with most
    columns is the floor, of equal ones the first by name.
    """
    floors = [name for name, cells in rows.items() if _is_fbank(name, cells)]
    floor = min(floors, key=lambda name: (-len(rows[name]), name), default=None)
    if floor is None:
        return {}
    spans = {}
    for column in filter(rows[floor].get, ranking):
        cell = rows[floor][column]
        values = [cells[column].metric.value for cells in rows.values() if column in cells]
        low, high = cell.metric.value, max(values) if column.higher_is_better else min(values)
        if low != high:
            spans[column] = low, high
    return {
        model: SuperbScore(
            BEST * fmean((cells[column].metric.value - low) / (high - low)
                         for column, (low, high) in spans.items()),
            len(spans),
        )
        for model, cells in rows.items()
        if spans and {*ranking} <= cells.keys()
    }  # fmt: skip


def _is_fbank(model: str, cells: Mapping[BoardColumn, ResultCell]) -> bool:
    kind = next(iter(cells.values())).result.model_kind
    return kind == "baseline" and "fbank" in model.casefold()


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
        if len(row.sizes) > 1:
            written = ", ".join(f"{count:,}" for count in row.sizes)
            yield f"{row.model}: its results name several parameter counts ({written})."


def _rank_notes(
    rows: Sequence[ModelRow],
    grouped: Mapping[BoardColumn, Sequence[Path]],
    ranking: Sequence[BoardColumn],
) -> Iterable[str]:
    """Say which columns do not count, and why nobody has a mean rank where several could."""
    counted = {_slot(column): column for column in ranking}
    for column in grouped:
        other = counted.get(_slot(column), column)
        if other != column:
            yield (
                f"{column.head}: does not count in mean ranks, since the models of {other.head} "
                "are scored in another way; score them alike."
            )
    if ranking and not any(row.complete for row in rows):
        yield (
            f"No model has a figure in all {len(ranking)} columns that rank (two models or more), "
            "so none has a mean rank; see the ranks in each column."
        )
