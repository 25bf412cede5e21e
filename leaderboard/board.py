"""What a leaderboard shows: columns, rows and cells, ranked, before any output format."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from harness_bench.untrusted import clean

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness_bench.result_parts import Metric
    from harness_bench.results import Result

Source = Literal["measured", "reported"]


@dataclass(frozen=True, order=True)
class Column:
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
class Cell:
    """One model's figure in one column."""

    result: Result
    file: Path
    place: int  # 1 = best; equal figures share a place
    # p-value of the paired comparison with the best; None where there is nothing to compare.
    p_value: float | None = None

    @property
    def metric(self) -> Metric:
        """The figure that ranks, with its interval."""
        return self.result.main

    @property
    def tied(self) -> bool:
        """Whether the split cannot tell this model from the best one."""
        return self.p_value is not None and self.p_value >= 0.05  # noqa: PLR2004


@dataclass(frozen=True)
class Row:
    """One model."""

    model: str
    kind: str
    parameters: int | None
    cells: dict[Column, Cell]


@dataclass(frozen=True)
class Table:
    """Ranked rows of one source."""

    source: Source
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def decimals(self) -> int:
        """Measured figures carry intervals wider than a tenth; reported ones stay as printed."""
        return 1 if self.source == "measured" else 2

    @property
    def synthetic(self) -> bool:
        """Whether any column rests on synthetic data."""
        return any(column.synthetic for column in self.columns)


@dataclass(frozen=True)
class Board:
    """Everything that the outputs show."""

    title: str
    split: str | None  # the split shown; None for all
    measured: Table
    reported: Table
    problems: dict[str, str] = field(default_factory=dict)  # file name -> why it is left out
    hidden: int = 0  # results of other splits


def make_table(
    results: Mapping[Path, Result],
    source: Source,
    p_values: Mapping[Path, float] | None = None,
    notes: Iterable[str] = (),
) -> Table:
    """Rank results of one source: one row per model, best mean place first.

    Args:
        results: file -> result; those of the other source are passed over.
        source: which results.
        p_values: file -> p-value of the comparison with the best of its column.
        notes: warnings to carry along.
    """
    known = p_values or {}
    rows: dict[str, dict[Column, Cell]] = {}
    grouped = by_column(results, source)
    for column, files in grouped.items():
        for file, place in _places(files, results, column).items():
            cell = Cell(results[file], file, place, known.get(file))
            rows.setdefault(clean(results[file].model), {})[column] = cell
    made = [_row(model, cells) for model, cells in rows.items()]
    made.sort(key=lambda row: (_mean_place(row, grouped), row.model))
    found = (*notes, *_split_notes(grouped, results), *_parameter_notes(made))
    return Table(source, tuple(grouped), tuple(made), found)


def by_column(results: Mapping[Path, Result], source: Source) -> dict[Column, list[Path]]:
    """Group the files of one source by column, columns in order."""
    grouped: dict[Column, list[Path]] = {}
    for file, result in results.items():
        if result.source == source:
            grouped.setdefault(column_of(result), []).append(file)
    return dict(sorted(grouped.items()))


def column_of(result: Result) -> Column:
    """Return the column that a result belongs to."""
    return Column(
        task=clean(result.task),
        corpus=clean(result.corpus),
        split=clean(result.split),
        metric=clean(result.main_metric),
        normaliser=clean(result.normaliser or ""),
        unit=clean(result.main.unit),
        higher_is_better=result.main.higher_is_better,
        synthetic=result.synthetic,
    )


def _places(
    files: Iterable[Path], results: Mapping[Path, Result], column: Column
) -> dict[Path, int]:
    """Return the place of each file's result; equal values share one."""
    values = {file: results[file].main.value for file in files}
    sign = 1 if column.higher_is_better else -1
    return {
        file: 1 + sum(sign * other > sign * value for other in values.values())
        for file, value in values.items()
    }


def _mean_place(row: Row, grouped: Mapping[Column, list[Path]]) -> float:
    """Average over a row the share of its column's entries that are better: 0 for the best."""
    return statistics.mean(
        (cell.place - 1) / len(grouped[column]) for column, cell in row.cells.items()
    )


def _row(model: str, cells: dict[Column, Cell]) -> Row:
    """Make a row; kind and parameters come from the first result that knows them."""
    counts = _counts(cells)
    kind = next(iter(cells.values())).result.model_kind
    return Row(model, kind, counts[0] if counts else None, cells)


def _counts(cells: Mapping[Column, Cell]) -> list[int]:
    """List the distinct parameter counts that a model's results name."""
    known = (cell.result.parameters for cell in cells.values())
    return sorted({count for count in known if count is not None})


def _split_notes(
    grouped: Mapping[Column, list[Path]], results: Mapping[Path, Result]
) -> Iterable[str]:
    """Warn of columns whose models did not all see the same utterances."""
    for column, files in grouped.items():
        digests = {results[file].split_digest for file in files} - {None}
        if len(digests) > 1:
            yield (
                f"{column.head}: the models were scored on {len(digests)} different sets of "
                "utterances (split digests differ); their figures cannot be compared."
            )


def _parameter_notes(rows: Iterable[Row]) -> Iterable[str]:
    """Warn of models whose results disagree on their size."""
    for row in rows:
        if len(counts := _counts(row.cells)) > 1:
            written = ", ".join(f"{count:,}" for count in counts)
            yield f"{row.model}: its results name several parameter counts ({written})."
