"""The measured part of a board as a table in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from .text import NONE, figure, interval, parameters

if TYPE_CHECKING:
    from .board import Board, Cell

_STYLES = {1: "bold green", 2: "underline"}


def render_terminal(board: Board) -> RichTable:
    """Make a rich table; names are `Text`, so that no markup in them is obeyed."""
    table = board.measured
    made = RichTable(title=Text(board.title), caption=_caption(synthetic=table.synthetic))
    made.add_column("model")
    made.add_column("parameters", justify="right")
    for column in table.columns:
        made.add_column(
            Text(f"{column.task}\n{column.corpus}\n{column.metric} {column.unit} {column.arrow}"),
            justify="right",
        )
    for row in table.rows:
        cells = [_cell(row.cells.get(column), table.decimals) for column in table.columns]
        made.add_row(Text(row.model), parameters(row.parameters), *cells)
    return made


def _caption(*, synthetic: bool) -> str:
    """Explain the marks, and say first when the data are synthetic."""
    marks = "bold: best, underlined: second, ≈: not told apart from the best; 95 % intervals"
    return f"synthetic data: says nothing about real speech\n{marks}" if synthetic else marks


def _cell(cell: Cell | None, decimals: int) -> Text:
    """Write one cell."""
    if cell is None:
        return Text(NONE, style="dim")
    made = Text(figure(cell.metric, decimals), style=_STYLES.get(cell.place, ""))
    made.append("≈" if cell.tied else " ", style="not bold not underline")
    made.append(interval(cell.metric.interval, decimals), style="dim not bold not underline")
    return made
