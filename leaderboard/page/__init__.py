"""The board as one static page that asks nothing of the network and opens from disk."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from harness_bench.core.html import render
from harness_bench.core.sanitize import clean, shorten

from .. import tables
from .site import KINDS, Names, site_data

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..board import Board, BoardColumn, BoardTable, ModelRow
    from ..plots import Plot

_HERE = Path(__file__).parent
_SCRIPTS = ("page.js", "page_table.js", "page_views.js", "page_compare.js", "page_start.js")


def render_page(
    board: Board, plots: Mapping[BoardColumn, Sequence[Plot]], overall: Sequence[Plot] = ()
) -> str:
    """Write the page; every string from a result file is escaped by the template."""
    names = Names(board)
    shown = [table for table in (board.measured, board.reported) if table.rows]
    present = {row.kind for table in shown for row in table.rows}
    return render(
        _read("page.html.j2"),
        board=board,
        title=clean(board.title),
        tables=shown,
        names=names,
        kinds={kind: text for kind, text in KINDS.items() if kind in present},
        plots=plots,
        overall=overall,
        data=site_data(board, names),
        write=tables,  # how figures are written everywhere
        **{each.__name__: each for each in (clean, shorten, sort_score, scales, position)},
        style=_read("page.css"),
        # The page may run this one script and load nothing, whatever a result file contains.
        script="".join(map(_read, _SCRIPTS)),
    )


@cache
def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def sort_score(row: ModelRow) -> float | str:
    """Sort scores over all columns before those over some: they are not comparable."""
    if row.score is None:
        return ""
    return row.score.value if row.score.whole else row.score.value - 1e12


def scales(table: BoardTable) -> dict[BoardColumn, tuple[float, float]]:
    """Return the lowest and highest figure of each column, intervals included."""
    found: dict[BoardColumn, tuple[float, float]] = {}
    for column in table.columns:
        cells = [row.cells[column] for row in table.rows if column in row.cells]
        found[column] = min(cell.low for cell in cells), max(cell.high for cell in cells)
    return found


def position(value: float, scale: tuple[float, float]) -> str:
    """Return a figure's place on the small scale of its cell, in percent of the width."""
    low, high = scale
    return f"{100 * (value - low) / (high - low):.1f}" if high > low else "50"
