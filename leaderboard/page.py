"""The board as one static page that asks nothing of the network and opens from disk."""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.untrusted import clean, shorten

from .tables import LEGEND, SYNTHETIC
from .text import NONE, figure, interval, parameters

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Template

    from harness_bench.result_parts import Leakage, Metric

    from .board import Board, Cell, Column, Table
    from .plots import Plot

_HERE = Path(__file__).parent
_LONGEST = 2000  # characters of one provenance entry, such as a command
_KINDS = {
    "pretrained": "pretrained", "random": "not trained (random weights)",
    "baseline": "baseline without a model", "other": "other",
}  # fmt: skip


def render_page(board: Board, plots: Mapping[Column, Sequence[Plot]]) -> str:
    """Write the page; every string from a result file is escaped by the template."""
    script = _read("page.js")
    tables = [_table(board.measured, "measured"), _table(board.reported, "reported")]
    return _template().render(
        board=board,
        title=clean(board.title),
        tables=[table for table in tables if table["rows"]],
        plots=plots,
        left_out=_left_out(len(board.problems)),
        synthetic=SYNTHETIC if board.measured.synthetic else "",
        legend=LEGEND,
        style=_read("page.css"),
        script=script,
        # The page may run this one script and load nothing, whatever a result file contains.
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _left_out(count: int) -> str:
    """Say how many files are not shown."""
    return (
        f"{count} result file is left out" if count == 1 else f"{count} result files are left out"
    )


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, StrictUndefined  # noqa: PLC0415 - loaded for pages only.

    rules = {"trim_blocks": True, "lstrip_blocks": True, "undefined": StrictUndefined}
    environment = Environment(autoescape=True, **rules)  # type: ignore[arg-type]
    return environment.from_string(_read("page.html.j2"))


def _table(table: Table, anchor: str) -> dict[str, Any]:
    """Prepare one table for the template."""
    scales = {column: _scale(table, column) for column in table.columns}
    rows = [
        {
            "model": row.model,
            "kind": row.kind,
            "anchor": f"{anchor}-{number}",
            "parameters": parameters(row.parameters),
            "exact": row.parameters,
            "cells": [
                _cell(row.cells.get(column), table.decimals, scales[column])
                for column in table.columns
            ],
            "results": [
                (column, provenance(row.cells[column]))
                for column in table.columns
                if column in row.cells
            ],
        }
        for number, row in enumerate(table.rows, start=1)
    ]
    kinds = {kind: text for kind, text in _KINDS.items() if kind in {r.kind for r in table.rows}}
    return {
        "source": anchor, "columns": table.columns, "rows": rows, "kinds": kinds,
        "notes": table.notes,
    }  # fmt: skip


def _scale(table: Table, column: Column) -> tuple[float, float]:
    """Return the lowest and highest figure of a column, intervals included."""
    metrics = [row.cells[column].metric for row in table.rows if column in row.cells]
    lows = [metric.interval.low if metric.interval else metric.value for metric in metrics]
    highs = [metric.interval.high if metric.interval else metric.value for metric in metrics]
    return min(lows), max(highs)


def _cell(cell: Cell | None, decimals: int, scale: tuple[float, float]) -> dict[str, Any]:
    """Prepare one cell; positions on its small scale are percentages of the cell's width."""
    if cell is None:
        return {"empty": True, "value": NONE, "sort": ""}
    metric, (low, high) = cell.metric, scale

    def position(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.1f}" if high > low else "50"

    span = metric.interval
    return {
        "empty": False,
        "value": figure(metric, decimals),
        "sort": metric.value,
        "interval": interval(span, decimals),
        "method": clean(span.method) if span else "",
        "place": cell.place,
        "tied": cell.tied,
        "dot": position(metric.value),
        "from": position(span.low) if span else None,
        "to": position(span.high) if span else None,
    }


def provenance(cell: Cell) -> list[tuple[str, str]]:
    """List what a reader needs to trust or repeat a figure, absent entries left out."""
    result = cell.result
    entries: list[tuple[str, object]] = [
        ("source", f"reported: {result.citation}" if result.source == "reported" else "measured"),
        *((name, _metric(metric)) for name, metric in result.metrics.items()),
        ("text profile", result.normaliser),
        ("utterances", f"{result.utterances:,}" if result.utterances else None),
        ("hours", None if result.hours is None else f"{result.hours:.2f}"),
        ("compared with the best", None if cell.p_value is None else f"p = {cell.p_value:.4f}"),
        ("pretraining data", result.pretraining_data),
        ("leakage", _leakage(result.leakage)),
        ("learning rates tried", _pairs(result.learning_rates, ": dev ")),
        ("seed", result.seed),
        ("seeds", ", ".join(map(str, result.seeds))),
        ("seconds", None if result.seconds is None else f"{result.seconds:.1f}"),
        ("seconds by stage", _pairs(result.stage_seconds, " ")),
        ("hardware", result.hardware),
        ("command", result.command),
        ("checkpoint digest", result.checkpoint_digest),
        ("split digest", result.split_digest),
        ("predictions", result.predictions),
        ("versions", _pairs(result.versions, " ")),
        ("created", result.created.strftime("%Y-%m-%d %H:%M %Z")),
        ("file", cell.file.name),
    ]
    return [
        (name, shorten(str(value), _LONGEST)) for name, value in entries if value not in (None, "")
    ]


def _metric(metric: Metric) -> str:
    """Write a metric with every interval and how it was made."""
    spans = [span for span in (metric.interval, *metric.other_intervals) if span]
    written = "; ".join(f"{interval(span, 1)} {span.method}" for span in spans)
    return f"{figure(metric, 2)} {metric.unit} {written}".strip()


def _leakage(leakage: Leakage | None) -> str | None:
    """Write the verdict on what training and scoring share."""
    if leakage is None:
        return None
    compared = f"compared with {', '.join(leakage.compared_with)}" if leakage.compared_with else ""
    return "; ".join(filter(None, [leakage.verdict, compared, leakage.detail]))


def _pairs(values: Mapping[str, object], between: str) -> str:
    return ", ".join(f"{key}{between}{value}" for key, value in values.items())
