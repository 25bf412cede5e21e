"""All plots of a board: per column, and over all columns with the curves of pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .drawing import Plot, PlotSubject, drawing
from .overall import curves_plot, radar
from .rows import bars, layers
from .scatter import PARAMETERS, REAL_TIME, scatter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..board import BoardColumn, BoardTable
    from ..curves import Curves

__all__ = ["Plot", "TablePlots", "draw_overall", "draw_plots", "draw_table"]


@dataclass(frozen=True)
class TablePlots:
    """The plots of one source's figures."""

    overall: list[Plot]
    columns: dict[BoardColumn, list[Plot]]

    @property
    def all(self) -> list[Plot]:
        """Every plot, in the order of the page."""
        return [*self.overall, *(plot for each in self.columns.values() for plot in each)]


def draw_table(
    table: BoardTable, links: Mapping[str, str], curves: Sequence[Curves] = ()
) -> TablePlots:
    """Draw all plots of a table; arguments as of the two functions below."""
    return TablePlots(draw_overall(table, curves, links), draw_plots(table, links))


def draw_plots(
    table: BoardTable, links: Mapping[str, str] | None = None
) -> dict[BoardColumn, list[Plot]]:
    """Draw each column's plots: bars always, costs and layer weights where they are known.

    Args:
        table: measured or reported figures.
        links: model -> the address that its marks lead to.
    """
    found: dict[BoardColumn, list[Plot]] = {}
    with drawing():
        for number, column in enumerate(table.columns, start=1):
            entries = sorted(table.entries(column), key=lambda entry: entry[1].place)
            subject = PlotSubject(table.source, column, entries, number, links or {})
            drawn = (
                bars(subject),
                scatter(subject, PARAMETERS),
                scatter(subject, REAL_TIME),
                layers(subject),
            )
            found[column] = [plot for plot in drawn if plot]
    return found


def draw_overall(
    table: BoardTable, curves: Sequence[Curves] = (), links: Mapping[str, str] | None = None
) -> list[Plot]:
    """Draw the radar of all columns, where there are enough, and the curves of pretraining."""
    with drawing():
        drawn = [curves_plot(each, number) for number, each in enumerate(curves, start=1)]
        over_all = radar(table, links or {})
    return [over_all, *drawn] if over_all else drawn
