"""Series of models that differ in one thing: a panel a column, a line through the models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.plotting import BLUE, INK, MUTED
from harness_bench.core.sanitize import clean

from ..ranking import plain
from .drawing import CARD, Plot, brief, finish, made_of, prefix, sheet
from .spots import Spot, tag, tell, written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..board import BoardColumn, BoardTable, ModelRow, ResultCell
    from ..curves import Series

_MOST, _BESIDE, _PANEL = 8, 2, 1.75  # columns, panels beside each other, inches of a panel


def series_plot(
    table: BoardTable, series: Series, number: int, links: Mapping[str, str]
) -> Plot | None:
    """Draw the series in each column that has two of its models, at most 8; None of no column.

    Models are found by their names as a paper and a config may both write them.
    """
    rows = {plain(row.model): row for row in table.rows}
    known = [(place, row) for place, point in enumerate(series.points)
             if (row := rows.get(plain(point.model)))]  # fmt: skip
    entries = {
        column: [(place, row, row.cells[column]) for place, row in known if column in row.cells]
        for column in table.columns
    }
    drawn = {column: each for column, each in entries.items() if len(each) > 1}
    columns = [*drawn][:_MOST]
    if not columns:
        return None
    title = f"{clean(series.title)}{made_of(columns)}"
    beside = min(_BESIDE, len(columns))
    lines = -(-len(columns) // beside)
    canvas = sheet(_PANEL * lines + 0.25, title)
    panels: Any = canvas.subplots(lines, beside, squeeze=False)
    spots: list[Spot] = []
    for axes, column in zip(panels.flat, columns, strict=False):
        spots += _panel(axes, column, drawn[column], links)
        axes.set_xticks(range(len(series.points)), [brief(p.label, 16) for p in series.points])
        axes.set_xlim(-0.4, len(series.points) - 0.6)
    for axes in panels.flat[len(columns) :]:
        axes.set_axis_off()
    canvas.supxlabel(clean(series.axis), fontsize=9, color=MUTED)
    words = "; ".join(", ".join(spot.words) for spot in spots)
    papers = any(cell.paper for column in columns for _, _, cell in drawn[column])
    caption = title + ". Dashed: the paper's figures" * papers
    return finish(canvas, f"{prefix(table.source)}00-series-{number}", caption, words, spots)


def _panel(
    axes: Any,
    column: BoardColumn,
    entries: Sequence[tuple[int, ModelRow, ResultCell]],
    links: Mapping[str, str],
) -> list[Spot]:
    places = [place for place, _, _ in entries]
    cells = [cell for _, _, cell in entries]
    values = [cell.metric.value for cell in cells]
    axes.plot(places, values, "o-", color=BLUE, linewidth=1.7, markersize=6, zorder=3)
    axes.vlines(places, [cell.low for cell in cells], [cell.high for cell in cells], color=BLUE)
    papers = [(place, cell.paper.main.value) for place, _, cell in entries if cell.paper]
    if papers:
        axes.plot(*zip(*papers, strict=True), "o--", color=MUTED, markerfacecolor=CARD,
                  linewidth=1, markersize=5)  # fmt: skip
    spots = []
    for place, row, cell in entries:
        text = axes.annotate(written(cell), (place, cell.high), (0, 6), ha="center", fontsize=8.5,
                             textcoords="offset points", color=INK, zorder=4,
                             bbox={"facecolor": CARD, "edgecolor": "none", "pad": 0.6})  # fmt: skip
        tag(text, place)
        told = tell(row, column, cell)
        spots.append(Spot(axes, (place, cell.metric.value), told, links.get(row.model, ""),
                          number=place))  # fmt: skip
    axes.margins(y=0.28)
    axes.grid(axis="y")
    name = f"{brief(column.task.upper(), 10)} {brief(column.corpus, 14)}"
    metric = f"{brief(column.metric, 14)} ({brief(column.unit, 6)}) {column.arrow}"
    axes.set_title(f"{name}, {metric}", fontsize=8.5, loc="left", color=INK)
    axes.tick_params(labelsize=8)
    return spots
