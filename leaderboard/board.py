"""What a leaderboard shows: columns, rows and cells, ranked, before any output format."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness_bench.core.sanitize import clean
from harness_bench.scoring.systems import SIGNIFICANT

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness_bench.results.record import Costs, Metric, Result
    from harness_bench.scoring.breakdown import Slice
    from harness_bench.scoring.systems import Systems

Source = Literal["measured", "reported"]


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
    rank: int  # 1 + the number of models that are better beyond chance; see `ranking.ranks`
    best: PairedDifference | None = None  # paired test: this model minus the best
    paper: Result | None = None  # the paper's result of the same model on the same split

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
        return self.best is not None and self.best.p_value >= SIGNIFICANT

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
    """One model."""

    model: str
    kind: str
    parameters: int | None
    cells: dict[BoardColumn, ResultCell]
    score: SuperbScore | None = None  # None without an FBANK row, or without a column that counts

    @property
    def mean_rank(self) -> float:
        """Mean of the model's ranks over the columns in which it has a figure."""
        return statistics.mean(cell.rank for cell in self.cells.values())

    @property
    def costs(self) -> Costs | None:
        """What running the model costs, from the first result that knows."""
        known = (cell.result.costs for cell in self.cells.values())
        return next(filter(None, known), None)

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


def by_column(results: Mapping[Path, Result], source: Source) -> dict[BoardColumn, list[Path]]:
    """Group the files of one source by column, columns in order."""
    grouped: dict[BoardColumn, list[Path]] = {}
    for file, result in results.items():
        if result.source == source:
            grouped.setdefault(column_of(result), []).append(file)
    return dict(sorted(grouped.items()))


def column_of(result: Result) -> BoardColumn:
    """Return the column that a result belongs to."""
    return BoardColumn(
        task=clean(result.task),
        corpus=clean(result.corpus),
        split=clean(result.split),
        metric=clean(result.main_metric),
        normaliser=clean(result.normaliser or ""),
        unit=clean(result.main.unit),
        higher_is_better=result.main.higher_is_better,
        synthetic=result.synthetic,
    )


@dataclass(frozen=True)
class PairedDifference:
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

    def pair(self, first: Path, second: Path) -> PairedDifference | None:
        """Return the paired test of two results, or None where there is none."""
        for files, found in self.tests:
            if first in files and second in files:
                at = files.index(first), files.index(second)
                values = (found.differences, found.low, found.high, found.p_values)
                return PairedDifference(*(float(matrix[at]) for matrix in values))
        return None

    @property
    def methods(self) -> list[str]:
        """How the tests were made, each way once."""
        return list(dict.fromkeys(found.method for _, found in self.tests))
