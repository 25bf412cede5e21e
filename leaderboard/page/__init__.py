"""The board as one static page that asks nothing of the network and opens from disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.html import render
from harness_bench.core.sanitize import clean, shorten

from ..tables import (
    LEGEND,
    SCORE,
    SYNTHETIC,
    figure,
    interval,
    mean_rank,
    parameters,
    score,
    signed,
)
from .site import KINDS, Names, site_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..board import Board, Cell, Column, Row, Table
    from ..plots import Plot

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "page_table.js", "page_views.js", "page_compare.js", "page_start.js")


def render_page(
    board: Board, plots: Mapping[Column, Sequence[Plot]], overall: Sequence[Plot] = ()
) -> str:
    """Write the page; every string from a result file is escaped by the template.

    Args:
        board: what to show.
        plots: of each column of measured results.
        overall: plots of the whole board.
    """
    names = Names(board)
    tables = [_table(table, names) for table in (board.measured, board.reported) if table.rows]
    measured = board.measured
    return render(
        _read("page.html.j2"),
        board=board,
        title=clean(board.title),
        tables=tables,
        kinds={
            kind: text
            for kind, text in KINDS.items()
            if any(row["kind"] == kind for table in tables for row in table["rows"])
        },
        plots=[(names.column(measured, column), column, each) for column, each in plots.items()],
        overall=overall,
        data=site_data(board, names),
        left_out=_left_out(len(board.problems)),
        synthetic=SYNTHETIC if measured.synthetic else "",
        legend=LEGEND,
        score_legend=SCORE,
        style=_read("page.css"),
        # The page may run this one script and load nothing, whatever a result file contains.
        script="".join(map(_read, _SCRIPTS)),
    )


def _left_out(count: int) -> str:
    """Say how many files are not shown."""
    return (
        f"{count} result file is left out" if count == 1 else f"{count} result files are left out"
    )


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _table(table: Table, names: Names) -> dict[str, Any]:
    """Prepare one table for the template."""
    scales = {column: _scale(table, column) for column in table.columns}
    return {
        "source": table.source,
        "columns": [(names.column(table, column), column) for column in table.columns],
        "timed": any(_factor(row) is not None for row in table.rows),
        "scored": table.scored,
        "rows": [
            {
                "model": row.model,
                "kind": row.kind,
                "id": names.model(table, row),
                "parameters": parameters(row.parameters),
                "exact": row.parameters,
                "factor": _factor(row),
                "rank": mean_rank(row, len(table.columns)),
                "mean_rank": row.mean_rank,
                "score": score(row.score),
                "sort_score": _score_key(row),
                "cells": [
                    _cell(row.cells.get(column), table.decimals, scales[column])
                    for column in table.columns
                ],
            }
            for row in table.rows
        ],
        "notes": table.notes,
        "sources": sorted(
            {clean(cell.result.citation) for row in table.rows for cell in row.cells.values()}
            - {""}
        ),
    }


def _factor(row: Row) -> float | None:
    return row.costs.real_time_factor if row.costs else None


def _score_key(row: Row) -> float | None:
    """Sort scores over all columns before those over some: they are not comparable."""
    if row.score is None:
        return None
    return row.score.value if row.score.whole else row.score.value - 1e12


def _scale(table: Table, column: Column) -> tuple[float, float]:
    """Return the lowest and highest figure of a column, intervals included."""
    metrics = [row.cells[column].metric for row in table.rows if column in row.cells]
    lows = [metric.interval.low if metric.interval else metric.value for metric in metrics]
    highs = [metric.interval.high if metric.interval else metric.value for metric in metrics]
    return min(lows), max(highs)


def _cell(cell: Cell | None, decimals: int, scale: tuple[float, float]) -> dict[str, Any] | None:
    """Prepare one cell; positions on its small scale are percentages of the cell's width."""
    if cell is None:
        return None
    metric, (low, high) = cell.metric, scale

    def position(value: float) -> str:
        return f"{100 * (value - low) / (high - low):.1f}" if high > low else "50"

    span = metric.interval
    return {
        "value": figure(metric, decimals),
        "sort": metric.value,
        "interval": interval(span, decimals),
        "method": clean(span.method) if span else "",
        "place": cell.place,
        "tied": cell.tied,
        "delta": "" if cell.delta is None else signed(cell.delta, 1),
        "reported_by": shorten(cell.paper.citation, 200) if cell.paper else "",
        "dot": position(metric.value),
        "from": position(span.low) if span else None,
        "to": position(span.high) if span else None,
    }
