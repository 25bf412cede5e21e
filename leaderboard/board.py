"""What a leaderboard shows: columns, rows and cells, ranked, before any output format."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from statistics import fmean
from typing import TYPE_CHECKING, Literal

from harness_bench.core.sanitize import clean
from harness_bench.scoring.systems import SIGNIFICANT, Slice, Systems

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from harness_bench.results.record import Costs, Metric, Result

Source = Literal["measured", "reported"]
Verdict = Literal["shared", "clean", "not checked"]
Word = Literal["better", "worse", "equal"]
SECOND = 2  # the last place with a mark of its own


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


def task_and_head(result: Result) -> str:
    """Return the task of a result's column, with the head if it is not the task's own."""
    return f"{result.task} ({result.head})" if result.head else result.task


@dataclass(frozen=True)
class ResultCell:
    """One model's figure in one column."""

    result: Result
    file: Path
    place: int  # 1 = best; equal figures share a place
    rank: int  # 1 + the number of models that are significantly better; see `ranks`
    best: PairedDifference | None = None  # paired test: this model minus the best
    paper: Result | None = None  # the paper's result of the same model on the same split
    rank_span: tuple[int, int] | None = None  # the ranks that tests leave open; see `rank_spans`
    among: int = 1  # models with a figure in the column

    @property
    def medal(self) -> int:
        """1 for the best figure and 2 for the second of two models or more, 0 for any other."""
        return self.place if self.among > 1 and self.place <= SECOND else 0

    @property
    def leakage(self) -> Verdict:
        """What was found of training data in the split; "not checked" where nothing says so."""
        return self.result.leakage.verdict if self.result.leakage else "not checked"

    @property
    def leaking(self) -> bool:
        """Whether the model was trained on some of what it is scored on."""
        return self.result.leaks

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

    @property
    def against_paper(self) -> Word | None:
        """Whether this figure is better or worse than the paper's, to the one digit shown."""
        if self.delta is None:
            return None
        change = round(self.delta, 1) * (1 if self.metric.higher_is_better else -1)
        return "equal" if change == 0 else "better" if change > 0 else "worse"


@dataclass(frozen=True)
class SuperbScore:
    """SUPERB's score: 0 for FBANK, 1000 for the best model of each column, linear between."""

    value: float
    columns: int  # in which some model is better than FBANK


@dataclass(frozen=True)
class ModelRow:
    """One model; what its results disagree on is told by the first one that knows."""

    model: str
    cells: dict[BoardColumn, ResultCell]
    # Of complete models; None also without an FBANK row, or a column in which any is better.
    score: SuperbScore | None = None
    ranking: tuple[BoardColumn, ...] = ()  # the table's columns that count in mean ranks

    @property
    def ranked_in(self) -> int:
        """The number of ranking columns in which the model has a figure."""
        return sum(column in self.cells for column in self.ranking)

    @property
    def complete(self) -> bool:
        """Whether the model has a figure in every ranking column: others have no mean rank."""
        return self.ranked_in == len(self.ranking)

    @property
    def leakage(self) -> Verdict:
        """The worst verdict of the model's figures."""
        found = {cell.leakage for cell in self.cells.values()}
        verdicts: tuple[Verdict, ...] = ("shared", "not checked", "clean")
        return next(verdict for verdict in verdicts if verdict in found)

    @property
    def leaking(self) -> bool:
        """Whether any of the model's figures leaks."""
        return self.leakage == "shared"

    @property
    def licence(self) -> str:
        """The licence of the weights, "" where it is not known."""
        return next(filter(None, (clean(each.result.licence) for each in self.cells.values())), "")

    @property
    def links(self) -> dict[str, str]:
        """The addresses of paper, weights and homepage, of those that are known; all https."""
        results = [cell.result for cell in self.cells.values()]
        first = {
            name: next(filter(None, (getattr(result, f"{name}_url") for result in results)), None)
            for name in ("paper", "weights", "homepage")
        }
        return {name: link for name, link in first.items() if link}

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
    def mean_rank(self) -> float | None:
        """Mean of the model's ranks over the ranking columns; None where it lacks one of them."""
        return self.mean_rank_in(self.ranking)

    def mean_rank_in(self, columns: tuple[BoardColumn, ...]) -> float | None:
        """Mean of the model's ranks over some columns; None of none, or where it lacks one."""
        if not columns or not all(column in self.cells for column in columns):
            return None
        return fmean(self.cells[column].rank for column in columns)

    @property
    def rank_span(self) -> tuple[float, float] | None:
        """Means over the ranking columns of the first and last ranks that tests leave open."""
        spans = [self.cells[column].rank_span for column in self.ranking if column in self.cells]
        if not self.complete or not spans or None in spans:
            return None
        first, last = zip(*filter(None, spans), strict=True)
        return fmean(first), fmean(last)

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

    @property
    def complete(self) -> tuple[ModelRow, ...]:
        """The models with a figure in every ranking column, by mean rank."""
        return tuple(row for row in self.rows if row.complete)

    @property
    def partial(self) -> tuple[ModelRow, ...]:
        """The models that lack a ranking column: no mean rank or score compares them to others."""
        return tuple(row for row in self.rows if not row.complete)

    @property
    def ranking(self) -> tuple[BoardColumn, ...]:
        """The columns that count in mean ranks; see `ranking.ranking_columns`."""
        return self.rows[0].ranking if self.rows else ()

    @cached_property
    def groups(self) -> dict[str, tuple[BoardColumn, ...]]:
        """The ranking columns of each task that has several, where there are other tasks too.

        `ModelRow.mean_rank_in` gives the mean rank of a model within one.
        """
        found: dict[str, tuple[BoardColumn, ...]] = {}
        for column in self.ranking:
            found[column.task] = (*found.get(column.task, ()), column)
        return {task: each for task, each in found.items() if 1 < len(each) < len(self.ranking)}

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
    hidden: Mapping[str, int] = field(default_factory=dict)  # another split -> its results
    hidden_leaking: tuple[str, ...] = ()  # models left out of tables and ranks, if asked for
    built: datetime | None = field(default_factory=lambda: datetime.now(UTC))

    @property
    def scored(self) -> bool:
        """Whether any table shows SUPERB's score."""
        return self.measured.scored or self.reported.scored

    @property
    def not_shown(self) -> str:
        """What of other splits is left out, in words; empty where nothing is."""
        if not self.hidden:
            return ""
        counts = ", ".join(f"{clean(name)} {count}" for name, count in sorted(self.hidden.items()))
        return f"Shown: split {self.split}. Not shown: results of other splits ({counts})."


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
    # Results whose predictions give another figure -> which.
    contradicted: dict[Path, str] = field(default_factory=dict)

    def pair(self, first: Path, second: Path) -> PairedDifference | None:
        """Return the paired test of two results, or None where there is none."""
        for files, found in self.tests:
            if first in files and second in files:
                at = files.index(first), files.index(second)
                values = (found.differences, found.low, found.high, found.p_values, found.p_holm)
                return PairedDifference(*(float(matrix[at]) for matrix in values))
        return None
