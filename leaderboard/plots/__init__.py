"""All plots of a board: per column, and over all columns with the curves of pretraining."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .drawing import Plot, PlotSubject, drawing
from .overall import curves_plot, radar
from .overview import overview
from .rows import bars, layers
from .scatter import PARAMETERS, REAL_TIME, scatter
from .series import series_plot

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..board import BoardColumn, BoardTable
    from ..curves import Curves, Series

__all__ = ["Plot", "TablePlots", "draw_overall", "draw_plots", "draw_table"]


_kept: deque[tuple[Any, TablePlots]] = deque(maxlen=2)  # what was drawn of reported tables


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
    table: BoardTable,
    links: Mapping[str, str],
    curves: Sequence[Curves] = (),
    series: Sequence[Series] = (),
) -> TablePlots:
    """Draw all plots of a table; arguments as of the two functions below.

    Reported figures seldom change: a server that builds again draws them once.
    """
    asked = table, dict(links), tuple(curves), tuple(series)
    if table.source == "reported":
        for before, drawn in _kept:
            if before == asked:
                return drawn
    drawn = TablePlots(draw_overall(table, curves, links, series), draw_plots(table, links))
    if table.source == "reported":
        _kept.appendleft((asked, drawn))
    return drawn


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
    table: BoardTable,
    curves: Sequence[Curves] = (),
    links: Mapping[str, str] | None = None,
    series: Sequence[Series] = (),
) -> list[Plot]:
    """Draw what goes over all columns, where there are enough: overview, radar, series, curves.

    Args:
        table: measured or reported figures.
        curves: of pretraining.
        links: model -> the address that its marks lead to.
        series: of models that differ in one thing; those of which the table has too few go.
    """
    with drawing():
        drawn = [overview(table, links or {}), radar(table, links or {})]
        drawn += [series_plot(table, each, number, links or {})
                  for number, each in enumerate(series, start=1)]  # fmt: skip
        drawn += [curves_plot(each, number) for number, each in enumerate(curves, start=1)]
    return [plot for plot in drawn if plot]
