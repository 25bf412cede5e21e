"""What the page's script shows beyond the tables: models, tasks, breakdowns, paired tests."""

from __future__ import annotations

import re
from math import isnan
from typing import TYPE_CHECKING, Any

from harness_bench.core.sanitize import clean, shorten

from ..tables import costs, figure, interval, parameters, signed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from harness_bench.results.record import Leakage, Metric
    from harness_bench.scoring.breakdown import Slice

    from ..board import Board, BoardColumn, BoardTable, Evidence, ModelRow, ResultCell

_LONGEST = 2000  # characters of one provenance entry, such as a command
_MOST_VALUES = 60  # of one breakdown, such as programmes; the largest ones
KINDS = {
    "pretrained": "pretrained", "random": "not trained (random weights)",
    "baseline": "baseline without a model", "other": "other",
}  # fmt: skip


class Names:
    """Addresses on the page: short, stable from build to build, one for each thing."""

    def __init__(self, board: Board) -> None:
        """Name every column and model of a board."""
        self._given: dict[str, object] = {}
        tables = (board.measured, board.reported)
        self._columns = {
            (table.source, column): self._name(
                table.source, column.task, column.corpus, column.metric, column.normaliser
            )
            for table in tables
            for column in table.columns
        }
        self._models = {
            (table.source, row.model): self._name(table.source, row.model)
            for table in tables
            for row in table.rows
        }

    def column(self, table: BoardTable, column: BoardColumn) -> str:
        """Return a column's address."""
        return self._columns[table.source, column]

    def model(self, table: BoardTable, row: ModelRow) -> str:
        """Return a model's address."""
        return self._models[table.source, row.model]

    def _name(self, *parts: str) -> str:
        stem = re.sub(r"[^\w.]+", "-", "-".join(filter(None, parts))).strip("-")[:80]
        name, number = stem, 1
        while name in self._given:
            number += 1
            name = f"{stem}-{number}"
        self._given[name] = None
        return name


def site_data(board: Board, names: Names) -> dict[str, Any]:
    """Return everything that the script shows, as plain lists and dictionaries for JSON."""
    tables = [table for table in (board.measured, board.reported) if table.rows]
    return {
        "columns": [_column(table, column, names) for table in tables for column in table.columns],
        "models": [_model(table, row, names) for table in tables for row in table.rows],
    }


def _column(table: BoardTable, column: BoardColumn, names: Names) -> dict[str, Any]:
    evidence = table.evidence.get(column)
    owner = {
        row.cells[column].file: names.model(table, row) for row in table.rows if column in row.cells
    }
    return {
        "id": names.column(table, column),
        "source": table.source,
        "head": column.head,
        "task": column.task,
        "corpus": column.corpus,
        "split": column.split,
        "metric": column.metric,
        "unit": column.unit,
        "profile": column.normaliser,
        "synthetic": column.synthetic,
        "up": column.higher_is_better,
        "tests": _tests(evidence, owner) if evidence else [],
        "breakdowns": _breakdowns(evidence, owner) if evidence else [],
    }


def _tests(evidence: Evidence, owner: Mapping[Path, str]) -> list[dict[str, Any]]:
    """Write the paired tests: models, and one [difference, low, high, p] for every two of them."""
    return [
        {
            "models": [owner[file] for file in files],
            "method": found.method,
            "pairs": [
                [
                    [round(float(matrix[i, j]), 4) for matrix in
                     (found.differences, found.low, found.high, found.p_values)]
                    for j in range(i)
                ]
                for i in range(len(files))
            ],
        }
        for files, found in evidence.tests
    ]  # fmt: skip


def _breakdowns(evidence: Evidence, owner: Mapping[Path, str]) -> list[dict[str, Any]]:
    """Write for each dimension its values and each model's [figure, utterances] in them."""
    dimensions = dict.fromkeys(name for found in evidence.breakdowns.values() for name in found)
    made = []
    for dimension in dimensions:
        slices = {
            owner[file]: {part.value: part for part in found.get(dimension, ())}
            for file, found in evidence.breakdowns.items()
        }
        values = _largest(slices.values())
        made.append(
            {
                "by": clean(dimension),
                "values": [shorten(value, 60) for value in values[:_MOST_VALUES]],
                "more": max(0, len(values) - _MOST_VALUES),
                "models": {
                    model: [
                        [round(parts[value].figure, 2), parts[value].utterances]
                        if value in parts and not isnan(parts[value].figure) else None
                        for value in values[:_MOST_VALUES]
                    ]
                    for model, parts in slices.items()
                },
            }
        )  # fmt: skip
    return made


def _largest(slices: Iterable[Mapping[str, Slice]]) -> list[str]:
    sizes: dict[str, int] = {}
    for parts in slices:
        for value, part in parts.items():
            sizes[value] = max(sizes.get(value, 0), part.utterances)
    return sorted(sizes, key=lambda value: (-sizes[value], value))


def _model(table: BoardTable, row: ModelRow, names: Names) -> dict[str, Any]:
    return {
        "id": names.model(table, row),
        "source": table.source,
        "name": row.model,
        "kind": KINDS[row.kind],
        "mark": row.kind,
        "parameters": parameters(row.parameters),
        "exact": row.parameters,
        "costs": costs(row.costs),
        "results": {
            names.column(table, column): _result(row.cells[column], table.decimals)
            for column in table.columns
            if column in row.cells
        },
    }


def _result(cell: ResultCell, decimals: int) -> dict[str, Any]:
    span = cell.metric.interval
    made: dict[str, Any] = {
        "value": cell.metric.value,
        "text": figure(cell.metric, decimals),
        "interval": interval(span, decimals),
        "method": clean(span.method) if span else "",
        "low": span.low if span else None,
        "high": span.high if span else None,
        "place": cell.place,
        "rank": cell.rank,
        "weights": [round(weight, 4) for weight in cell.result.layer_weights],
        "entries": provenance(cell),
    }
    if cell.paper and cell.delta is not None:
        made["paper"] = [
            figure(cell.paper.main, 2), signed(cell.delta, 1), clean(cell.paper.citation)
        ]  # fmt: skip
    return made


def provenance(cell: ResultCell) -> list[tuple[str, str]]:
    """List what a reader needs to trust or repeat a figure, absent entries left out."""
    result = cell.result
    entries: list[tuple[str, object]] = [
        ("source", f"reported: {result.citation}" if result.source == "reported" else "measured"),
        *((name, _metric(metric)) for name, metric in result.metrics.items()),
        ("text profile", result.normaliser),
        ("utterances", f"{result.utterances:,}" if result.utterances else None),
        ("hours", None if result.hours is None else f"{result.hours:.2f}"),
        ("compared with the best", None if cell.best is None else f"p = {cell.best.p_value:.4f}"),
        ("pretraining data", result.pretraining_data),
        ("leakage", _leakage(result.leakage)),
        ("learning rates tried", _pairs(result.learning_rates, ": dev ")),
        ("seed", result.seed),
        ("seeds", ", ".join(map(str, result.seeds))),
        ("seconds", None if result.seconds is None else f"{result.seconds:.1f}"),
        ("seconds by stage", _pairs(result.stage_seconds, " ")),
        ("hardware", result.hardware),
        ("command", result.command),
        ("training config", result.training_config),
        ("checkpoint digest", result.checkpoint_digest),
        ("split digest", result.split_digest),
        ("predictions", result.predictions),
        ("versions", _pairs(result.versions, " ")),
        ("created", result.created.strftime("%Y-%m-%d %H:%M %Z")),
        ("file", cell.file.name),
    ]
    return [
        (clean(name), shorten(str(value), _LONGEST))
        for name, value in entries
        if value not in (None, "")
    ]


def _metric(metric: Metric) -> str:
    spans = [span for span in (metric.interval, *metric.other_intervals) if span]
    written = "; ".join(f"{interval(span, 1)} {span.method}" for span in spans)
    varied = None if metric.spread is None else f"standard deviation over seeds {metric.spread:.2f}"
    texts = [f"{figure(metric, 2)} {metric.unit} {written}".strip(), varied]
    return "; ".join(filter(None, texts))


def _leakage(leakage: Leakage | None) -> str | None:
    if leakage is None:
        return None
    compared = f"compared with {', '.join(leakage.compared_with)}" if leakage.compared_with else ""
    return "; ".join(filter(None, [leakage.verdict, compared, leakage.detail]))


def _pairs(values: Mapping[str, object], between: str) -> str:
    return ", ".join(f"{key}{between}{value}" for key, value in values.items())
