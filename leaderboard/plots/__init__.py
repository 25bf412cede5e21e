"""All plots of a board: per column, and over all columns with the curves of pretraining."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .drawing import Plot, drawing
from .overall import curves_plot, radar
from .rows import bars, layers
from .scatter import PARAMETERS, REAL_TIME, scatter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..board import BoardColumn, BoardTable
    from ..curves import Curves

__all__ = ["Plot", "draw_overall", "draw_plots"]


def draw_plots(table: BoardTable) -> dict[BoardColumn, list[Plot]]:
    """Draw each column's plots: bars always, costs and layer weights where they are known."""
    found: dict[BoardColumn, list[Plot]] = {}
    with drawing():
        for number, column in enumerate(table.columns, start=1):
            entries = sorted(table.entries(column), key=lambda entry: entry[1].place)
            drawn = (
                bars(column, entries, number),
                scatter(column, entries, number, PARAMETERS),
                scatter(column, entries, number, REAL_TIME),
                layers(column, entries, number),
            )
            found[column] = [plot for plot in drawn if plot]
    return found


def draw_overall(table: BoardTable, curves: Sequence[Curves]) -> list[Plot]:
    """Draw the radar of all columns, where there are enough, and the curves of pretraining."""
    with drawing():
        drawn = [curves_plot(each, number) for number, each in enumerate(curves, start=1)]
        over_all = radar(table)
    return [over_all, *drawn] if over_all else drawn
