"""All plots of a board: per column, and over all columns with the curves of pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .bars import bars
from .curves import curves_plot
from .drawing import Plot, drawing, entries_of
from .layers import layers
from .radar import radar
from .scatter import PARAMETERS, REAL_TIME, pareto, scatter, spread

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ..board import BoardColumn, BoardTable
    from ..curves import Curves

__all__ = ["Plot", "draw_overall", "draw_plots", "pareto", "spread"]


def draw_plots(table: BoardTable) -> dict[BoardColumn, list[Plot]]:
    """Draw each column's plots: bars always, costs and layer weights where they are known."""
    with drawing():
        return {
            column: list(_of_column(table, column, number))
            for number, column in enumerate(table.columns, start=1)
        }


def _of_column(table: BoardTable, column: BoardColumn, number: int) -> Iterator[Plot]:
    entries = entries_of(table, column)
    yield bars(column, entries, number)
    drawn = (
        scatter(column, entries, number, PARAMETERS),
        scatter(column, entries, number, REAL_TIME),
        layers(column, entries, number),
    )
    yield from filter(None, drawn)


def draw_overall(table: BoardTable, curves: Sequence[Curves]) -> list[Plot]:
    """Draw the radar of all columns, where there are enough, and the curves of pretraining."""
    with drawing():
        over_all = radar(table)
        drawn = [] if over_all is None else [over_all]
        return drawn + [curves_plot(each, number) for number, each in enumerate(curves, start=1)]
