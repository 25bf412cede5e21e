"""What a leaderboard shows: columns, rows and cells, ranked, before any output format."""

from __future__ import annotations

import re
import statistics
from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import permutations
from typing import TYPE_CHECKING, Literal

from harness_bench.core.sanitize import clean
from harness_bench.scoring.systems import SIGNIFICANT, Slice, Systems

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from harness_bench.results.record import Costs, Metric, Result

Source = Literal["measured", "reported"]
BEST = 1000.0  # SUPERB's score of the best model, where FBANK has 0


@dataclass(frozen=True, order=True)
class BoardColumn:
    """Results that may be compared: one task, corpus, split, metric and text profile."""

    task: str
    corpus: str
    split: str
    metric: str
    normaliser: str
    unit: str
    higher_is_better: bool
    synthetic: bool

    @property
    def arrow(self) -> str:
        """The direction of better."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def head(self) -> str:
        """The column's title in one line of text."""
        made = ", synthetic" if self.synthetic else ""
        profile = f", {self.normaliser}" if self.normaliser else ""
        return (
            f"{self.task.upper()}: {self.corpus} {self.split}, "
            f"{self.metric} ({self.unit}){profile}{made} {self.arrow}"
        )


@dataclass(frozen=True)
class ResultCell:
    """One model's figure in one column."""

    result: Result
    file: Path
    place: int  # 1 = best; equal figures share a place
    rank: int  # 1 + the number of models that are better beyond chance; see `ranks`
    best: PairedDifference | None = None  # paired test: this model minus the best
    paper: Result | None = None  # the paper's result of the same model on the same split
    rank_span: tuple[int, int] | None = None  # the ranks that tests leave open; see `rank_spans`

    @property
    def metric(self) -> Metric:
        """The figure that ranks, with its interval."""
        return self.result.main

    @property
    def low(self) -> float:
        """The low end of the interval, or the figure."""
        return self.metric.interval.low if self.metric.interval else self.metric.value

    @property
    def high(self) -> float:
        """The high end of the interval, or the figure."""
        return self.metric.interval.high if self.metric.interval else self.metric.value

    @property
    def tied(self) -> bool:
        """Whether the split cannot tell this model from the best one."""
        return self.best is not None and self.best.p_holm >= SIGNIFICANT

    @property
    def delta(self) -> float | None:
        """This figure minus the paper's, in the metric's unit."""
        return None if self.paper is None else self.metric.value - self.paper.main.value


@dataclass(frozen=True)
class SuperbScore:
    """SUPERB's score: 0 for FBANK, 1000 for the best model of each column, linear between."""

    value: float
    columns: int  # with a figure of this model
    of: int  # columns in which some model is better than FBANK

    @property
    def whole(self) -> bool:
        """Whether the model has a figure in every column that counts."""
        return self.columns == self.of


@dataclass(frozen=True)
class ModelRow:
    """One model; what its results disagree on is told by the first one that knows."""

    model: str
    cells: dict[BoardColumn, ResultCell]
    score: SuperbScore | None = None  # None without an FBANK row, or without a column that counts

    @property
    def kind(self) -> str:
        """What the model is: pretrained, random, baseline or other."""
        return next(iter(self.cells.values())).result.model_kind

    @property
    def sizes(self) -> list[int]:
        """The parameter counts that its results name, rising: one, where they agree."""
        known = {cell.result.parameters for cell in self.cells.values()}
        return sorted(count for count in known if count is not None)

    @property
    def parameters(self) -> int | None:
        """Parameters of the upstream."""
        return next(iter(self.sizes), None)

    @property
    def mean_rank(self) -> float:
        """Mean of the model's ranks over the columns in which it has a figure."""
        return statistics.mean(cell.rank for cell in self.cells.values())

    @property
    def rank_span(self) -> tuple[float, float] | None:
        """Means over the columns of the first and last ranks that tests leave open, if all have."""
        spans = [cell.rank_span for cell in self.cells.values()]
        if None in spans:
            return None
        first, last = zip(*filter(None, spans), strict=True)
        return statistics.mean(first), statistics.mean(last)

    @property
    def costs(self) -> Costs | None:
        """What running the model costs."""
        return next(filter(None, (cell.result.costs for cell in self.cells.values())), None)

    @property
    def real_time_factor(self) -> float | None:
        """CPU seconds per second of audio, where they are known."""
        return self.costs.real_time_factor if self.costs else None


@dataclass(frozen=True)
class BoardTable:
    """Ranked rows of one source."""

    source: Source
    columns: tuple[BoardColumn, ...]
    rows: tuple[ModelRow, ...]
    notes: tuple[str, ...] = ()
    evidence: dict[BoardColumn, Evidence] = field(default_factory=dict)

    @property
    def cells(self) -> Iterator[ResultCell]:
        """The cells row by row."""
        for row in self.rows:
            yield from (row.cells[column] for column in self.columns if column in row.cells)

    def entries(self, column: BoardColumn) -> list[tuple[ModelRow, ResultCell]]:
        """Return the models with a figure in a column, row by row."""
        return [(row, row.cells[column]) for row in self.rows if column in row.cells]

    @property
    def decimals(self) -> int:
        """Measured figures carry intervals wider than a tenth; reported ones stay as printed."""
        return 1 if self.source == "measured" else 2

    @property
    def scored(self) -> bool:
        """Whether the models have SUPERB's score."""
        return any(row.score for row in self.rows)

    @property
    def timed(self) -> bool:
        """Whether any model's real-time factor is known."""
        return any(row.real_time_factor is not None for row in self.rows)

    @property
    def sources(self) -> list[str]:
        """Where reported figures stand."""
        return sorted({clean(cell.result.citation) for cell in self.cells} - {""})

    @property
    def synthetic(self) -> bool:
        """Whether any column rests on synthetic data."""
        return any(column.synthetic for column in self.columns)


@dataclass(frozen=True)
class Board:
    """Everything that the outputs show."""

    title: str
    split: str | None  # the split shown; None for all
    measured: BoardTable
    reported: BoardTable
    problems: dict[str, str] = field(default_factory=dict)  # file name -> why it is left out
    hidden: int = 0  # results of other splits

    @property
    def scored(self) -> bool:
        """Whether any table shows SUPERB's score."""
        return self.measured.scored or self.reported.scored


@dataclass(frozen=True)
class PairedDifference:
    """Paired test of two models on the same utterances: first minus second."""

    difference: float
    low: float
    high: float
    p_value: float
    p_holm: float  # corrected for all pairs of the column; claims follow it


@dataclass
class Evidence:
    """What is known of one column beyond its figures."""

    tests: list[tuple[tuple[Path, ...], Systems]] = field(default_factory=list)
    breakdowns: dict[Path, dict[str, list[Slice]]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def pair(self, first: Path, second: Path) -> PairedDifference | None:
        """Return the paired test of two results, or None where there is none."""
        for files, found in self.tests:
            if first in files and second in files:
                at = files.index(first), files.index(second)
                values = (found.differences, found.low, found.high, found.p_values, found.p_holm)
                return PairedDifference(*(float(matrix[at]) for matrix in values))
        return None


def by_column(results: Mapping[Path, Result], source: Source) -> dict[BoardColumn, list[Path]]:
    """Group the files of one source by column, columns in order."""
    grouped: dict[BoardColumn, list[Path]] = {}
    for file, result in results.items():
        if result.source == source:
            column = BoardColumn(
                task=clean(f"{result.task} ({result.head})" if result.head else result.task),
                corpus=clean(result.corpus),
                split=clean(result.split),
                metric=clean(result.main_metric),
                normaliser=clean(result.normaliser or ""),
                unit=clean(result.main.unit),
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
    """Rank results of one source: one row per model, complete ones first, then by mean rank.

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
            cell = ResultCell(result, file, places[file], ranked[file], pair, paper, span)
            cells.setdefault(clean(result.model), {})[column] = cell
    scores = superb_scores(cells)
    rows = [ModelRow(model, own, scores.get(model)) for model, own in cells.items()]
    # A mean over some columns is no mean over all: such rows stand behind the complete ones.
    rows.sort(key=lambda row: (len(row.cells) < len(grouped), row.mean_rank,
                               _share_better(row, grouped), row.model))  # fmt: skip
    found_notes = [note for each in known.values() for note in each.notes]
    notes = (*found_notes, *_split_notes(grouped, results), *_parameter_notes(rows))
    return BoardTable(source, tuple(grouped), tuple(rows), notes, known)


def _question(result: Result) -> tuple[str, ...]:
    """Return model, task, corpus, split and metric as both a paper and a config may write them."""
    task = (result.task, result.head)
    names = (result.model, *task, result.corpus, result.split, result.main_metric)
    return tuple(re.sub(r"[\W_]+", "", clean(name).casefold()) for name in names)


def _share_better(row: ModelRow, grouped: Mapping[BoardColumn, list[Path]]) -> float:
    """Order rows of equal mean rank: a second place of five is more than a second of two."""
    shares = ((cell.place - 1) / len(grouped[column]) for column, cell in row.cells.items())
    return statistics.mean(shares)


def ranks(
    files: Iterable[Path],
    results: Mapping[Path, Result],
    column: BoardColumn,
    evidence: Evidence | None,
) -> dict[Path, int]:
    """Return 1 + the number of models that are better beyond chance, for each result.

    Better beyond chance: a better figure, and where both have predictions of the same utterances
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


def superb_scores(rows: Mapping[str, Mapping[BoardColumn, ResultCell]]) -> dict[str, SuperbScore]:
    """Return each model's score as SUPERB defines it (Feng et al., SLT 2022): 0 FBANK, 1000 best.

    Every column counts the same, and only if some model is better than FBANK there. A model
    without a figure in all of them gets the mean over those it has. Of several FBANK rows the one
    with most columns is the floor, of equal ones the first by name.
    """
    floors = [name for name, cells in rows.items() if _is_fbank(name, cells)]
    floor = min(floors, key=lambda name: (-len(rows[name]), name), default=None)
    if floor is None:
        return {}
    spans = {}
    for column, cell in rows[floor].items():
        values = [cells[column].metric.value for cells in rows.values() if column in cells]
        low, high = cell.metric.value, max(values) if column.higher_is_better else min(values)
        if low != high:
            spans[column] = low, high
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
