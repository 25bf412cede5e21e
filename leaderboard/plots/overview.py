"""All figures of a table in one plot: a row a model, a panel a column."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, NullLocator

from harness_bench.core.plotting import INK, LINE, MUTED
from harness_bench.core.sanitize import clean

from ..tables import parameters
from .drawing import COLOURS, HOLLOW, KINDS, MARKERS, Plot, brief, finish, made_of, prefix, sheet
from .labels import Label, width_of
from .rows import name_rows
from .spots import Spot, tell, written

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..board import BoardColumn, BoardTable, ModelRow, ResultCell

_MOST_ROWS, _MOST_COLUMNS, _BESIDE = 30, 12, 6  # panels beside each other
# Inches: panels, the room for figures in them, rows, heads, ticks, the legend.
_PANEL, _FIGURES, _ROW, _HEAD, _FOOT, _LEGEND = 1.65, 0.58, 0.25, 0.6, 0.3, 0.3

_NAMES = 9  # points, the size of models' names


@dataclass(frozen=True)
class PanelPoint:
    """One model's mark in a panel."""

    value: float
    text: str  # the figure
    told: str  # what it is, in words
    best: bool = False
    span: tuple[float, float] | None = None
    paper: float | None = None


@dataclass(frozen=True)
class Panel:
    """A column, or what else is known of the models."""

    head: tuple[str, str, str]  # lines
    points: Mapping[int, PanelPoint]  # by row
    log: bool = False


def overview(table: BoardTable, links: Mapping[str, str]) -> Plot | None:
    """Draw every figure of the best models, at most 30, and of the first columns, at most 12.

    Reported models stand in the order of their size, measured ones in the order of the board. A
    column of one model compares nothing. None of fewer than 2 models or columns.
    """
    rows, columns = [*table.rows[:_MOST_ROWS]], table.ranking[:_MOST_COLUMNS]
    if len(rows) < 2 or len(columns) < 2:  # noqa: PLR2004 - one alone has its own bars
        return None
    order = "in the order of the table"
    if table.source == "reported":
        order = "largest models first, as reported"
        rows.sort(key=lambda row: -(row.parameters or 0))
    title = ", ".join([
        f"All figures{made_of(columns)}", order,
        *[f"best {len(rows)} of {len(table.rows)} models"] * (len(rows) < len(table.rows)),
        *[f"first {len(columns)} of {len(table.ranking)} columns"]
        * (len(columns) < len(table.ranking)),
    ])  # fmt: skip
    panels = [*_ranks(rows), *_sizes(rows), *(_figures(column, rows) for column in columns)]
    beside = math.ceil(len(panels) / math.ceil(len(panels) / _BESIDE))
    bands = [panels[at : at + beside] for at in range(0, len(panels), beside)]
    left = width_of([brief(row.model) for row in rows], _NAMES) + 0.2
    canvas = sheet(
        (_HEAD + _ROW * len(rows) + _FOOT) * len(bands) + _LEGEND, title,
        left + _PANEL * beside, placed=True,
    )  # fmt: skip
    spots: list[Spot] = []
    labels: list[Label] = []
    for number, band in enumerate(bands):
        below = (_HEAD + _ROW * len(rows) + _FOOT) * (len(bands) - 1 - number)
        drawn = [_draw(canvas, panel, rows, left + _PANEL * at, below)
                 for at, panel in enumerate(band)]  # fmt: skip
        labels += [label for _, each in drawn for label in each]
        labels += name_rows(drawn[0][0], rows, size=_NAMES).labels
        for place, row in enumerate(rows):
            told = [panel.points[place].told for panel in band if place in panel.points]
            words = [clean(row.model), *told]
            link = links.get(row.model, "")
            spots.append(Spot(drawn[0][0], (0, place), words, link, "stripe", number=place))
    papers = any(point.paper is not None for panel in panels for point in panel.points.values())
    canvas.legend(handles=_marks(rows, papers=papers), loc="lower left", ncols=5)
    text = "; ".join(", ".join(spot.words) for spot in spots)
    caption = f"{title}. Bold: best"
    return finish(canvas, f"{prefix(table.source)}00-overview", caption, text, spots,
                  labels=labels)  # fmt: skip


def _ranks(rows: Sequence[ModelRow]) -> list[Panel]:
    """Return the panel of mean ranks, where two models or more have one over some columns."""
    known = {place: row for place, row in enumerate(rows) if row.mean_rank is not None}
    if len(known) < 2 or len(rows[0].ranking) < 2:  # noqa: PLR2004 - else it says nothing new
        return []
    points = {}
    for place, row in known.items():
        rank = row.mean_rank or 0.0
        told = f"mean rank {rank:.3g}"
        if row.rank_span:
            told += " ({:.3g}–{:.3g})".format(*row.rank_span)
        points[place] = PanelPoint(rank, f"{rank:.3g}", told, span=row.rank_span)
    return [Panel(("mean rank", "over all columns", "↓"), points)]


def _sizes(rows: Sequence[ModelRow]) -> list[Panel]:
    """Return the panel of sizes, where two models or more have one above 0."""
    points = {
        place: PanelPoint(float(row.parameters), text := parameters(row.parameters),
                          f"{text} parameters")
        for place, row in enumerate(rows)
        if row.parameters
    }  # fmt: skip
    return [Panel(("parameters", "", "log scale"), points, log=True)] if len(points) > 1 else []


def _figures(column: BoardColumn, rows: Sequence[ModelRow]) -> Panel:
    cells = {place: row.cells[column] for place, row in enumerate(rows) if column in row.cells}
    task = brief(column.task.upper(), 20)
    points = {
        place: PanelPoint(
            cell.metric.value, written(cell),
            f"{clean(column.task.upper())} on {clean(column.corpus)}: "
            f"{tell(rows[place], column, cell)[1]}",
            cell.place == 1 and len(cells) > 1, _span(cell),
            cell.paper.main.value if cell.paper else None,
        )
        for place, cell in cells.items()
    }  # fmt: skip
    metric = f"{brief(column.metric, 14)} ({brief(column.unit, 6)}) {column.arrow}"
    return Panel((task, brief(column.corpus, 20), metric), points)


def _span(cell: ResultCell) -> tuple[float, float] | None:
    return (cell.low, cell.high) if cell.metric.interval else None


def _draw(
    canvas: Any, panel: Panel, rows: Sequence[ModelRow], left: float, below: float
) -> tuple[Any, list[Label]]:
    """Draw one panel: marks with intervals at the left, their figures in a column beside them."""
    width, height = map(float, canvas.get_size_inches())
    wide, high = _PANEL - _FIGURES, _ROW * len(rows)
    box = left / width, (_LEGEND + _FOOT + below) / height, wide / width, high / height
    axes: Any = canvas.add_axes(box)
    axes.set(ylim=(len(rows) - 0.5, -0.5), xscale="log" if panel.log else "linear")
    axes.hlines(range(len(rows)), 0, 1, transform=axes.get_yaxis_transform(), color=LINE,
                linewidth=0.6)  # fmt: skip
    points = panel.points.items()
    spans = [(place, *point.span) for place, point in points if point.span]
    if spans:
        axes.hlines(*zip(*spans, strict=True), color=MUTED, linewidth=1.4)
    for kind, colour in COLOURS.items():
        own = [(point.value, place) for place, point in points if rows[place].kind == kind]
        if own:
            axes.scatter(*zip(*own, strict=True), s=30, color=colour, marker=MARKERS[kind],
                         linewidths=0, zorder=3)  # fmt: skip
    papers = [(point.paper, place) for place, point in points if point.paper is not None]
    if papers:
        axes.plot(*zip(*papers, strict=True), linestyle="none", **HOLLOW | {"markersize": 4.5})
    axes.margins(x=0.08)
    axes.xaxis.set_major_locator(NullLocator() if panel.log else MaxNLocator(3))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    labels = [
        Label(axes, (1.06, place), point.text, bold=point.best, beside=True)
        for place, point in points
    ]
    labels += [
        Label(axes, (0, -0.5), text, size=8, colour=MUTED if line else INK, bold=not line,
              beside=True, shift=(0, 29 - 10 * line))
        for line, text in enumerate(panel.head)
    ]  # fmt: skip
    return axes, labels


def _marks(rows: Sequence[ModelRow], *, papers: bool) -> list[Line2D]:
    kinds = {row.kind for row in rows}
    made = [
        Line2D([], [], color=COLOURS[kind], marker=MARKERS[kind], linestyle="none", label=label)
        for kind, label in KINDS.items()
        if kind in kinds
    ]
    paper = Line2D([], [], linestyle="none", label="the paper's", **HOLLOW)
    return [*made, *[paper] * papers]
