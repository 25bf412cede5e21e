"""Bars with intervals: one column's figures, best on top."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness_bench.core.plotting import INK

from ..tables import figure, interval
from .drawing import (
    COLOURS,
    KINDS,
    MOST,
    Entry,
    Plot,
    best_of,
    brief,
    finish,
    metric_label,
    plain,
    plot_name,
    sheet,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..board import BoardColumn


def bars(column: BoardColumn, entries: Sequence[Entry], number: int) -> Plot:
    """Draw one horizontal bar a model with its interval and figure, at most the best `MOST`."""
    shown = entries[:MOST]
    title = title_of(column) + best_of(shown, entries)
    canvas = sheet(1.0 + 0.31 * len(shown), title)
    axes = canvas.add_subplot()
    cells = [cell for _, cell in shown]
    left, right = min(0, *(cell.low for cell in cells)), max(0, *(cell.high for cell in cells))
    width = (right - left) or 1
    for kind, label in KINDS.items():
        places = [place for place, (row, _) in enumerate(shown) if row.kind == kind]
        values = [cells[place].metric.value for place in places]
        if places:
            axes.barh(places, values, height=0.64, color=COLOURS[kind], label=label)
    spans = [(p, cell.metric.interval) for p, cell in enumerate(cells) if cell.metric.interval]
    places, lows, highs = ([p for p, _ in spans], [s.low for _, s in spans],
                           [s.high for _, s in spans])  # fmt: skip
    axes.hlines(places, lows, highs, color=INK, linewidth=1.3)
    for ends in (lows, highs):
        axes.plot(ends, places, "|", color=INK, markersize=6)
    for place, cell in enumerate(cells):
        end = max(cell.high, 0) + 0.015 * width
        axes.text(end, place, figure(cell.metric, 1), va="center", fontsize=9, parse_math=False)
    names = [brief(row.model) for row, _ in shown]
    axes.set_yticks(range(len(shown)), names, color=INK, parse_math=False)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlim(left, right + 0.14 * width)
    axes.grid(axis="x")
    axes.set_xlabel(metric_label(column))
    plain(axes)
    if len({row.kind for row, _ in shown}) > 1:
        canvas.legend(loc="outside lower center", ncols=4)
    return finish(canvas, plot_name(number, column, "bars"), title, describe(shown, len(entries)))


def describe(shown: Sequence[Entry], count: int) -> str:
    """Say in words what a plot shows of `count` models."""
    words = "; ".join(
        f"{row.model} {figure(cell.metric, 1)} {interval(cell.metric.interval, 1)}".strip()
        for row, cell in shown
    )
    return f"{words}; and {count - len(shown)} more" if count > len(shown) else words
