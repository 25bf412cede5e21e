"""Plots of measured results: bars with intervals, and figures against model size.

Each plot is drawn once and written twice: a PNG file for papers and posts, and an SVG for the
page, whose colours are CSS variables so that it follows the reader's light or dark setting.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from io import BytesIO, StringIO
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from harness_bench.untrusted import shorten

from .text import figure, interval, parameters

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .board import Cell, Column, Row, Table

# Okabe and Ito's colours, told apart by every kind of colour vision.
COLOURS = {"pretrained": "#0072b2", "random": "#d55e00", "baseline": "#7f7f7f", "other": "#cc79a7"}
MARKERS = {"pretrained": "o", "random": "s", "baseline": "D", "other": "^"}
INK, MUTED, LINE = "#1b2224", "#5b6669", "#d4d9da"
_VARIABLES = {
    **{colour: f"--{kind}" for kind, colour in COLOURS.items()},
    INK: "--ink", MUTED: "--muted", LINE: "--line",
}  # fmt: skip
_STYLE = {
    "font.size": 10, "font.family": "sans-serif", "font.sans-serif": ["DejaVu Sans"],
    "svg.fonttype": "none", "svg.hashsalt": "harness-bench",
    "axes.edgecolor": LINE, "axes.labelcolor": MUTED, "text.color": INK,
    "xtick.color": MUTED, "ytick.color": MUTED, "axes.spines.top": False,
    "axes.spines.right": False, "axes.axisbelow": True, "grid.color": LINE,
    "grid.linewidth": 0.8,
}  # fmt: skip
_LABEL = 22  # longest model name in a plot
_WIDTH = 5.2  # inches
_Entry = tuple["Row", "Cell"]


@dataclass(frozen=True)
class Plot:
    """One drawn plot."""

    name: str  # file name without suffix
    title: str
    text: str  # what it shows, for readers who do not see it
    png: bytes
    svg: str  # one <svg> element, colours as CSS variables, no outside reference


def draw_plots(table: Table) -> dict[Column, list[Plot]]:
    """Draw each column's bar plot and, where sizes are known, its figure-against-size plot."""
    drawn: dict[Column, list[Plot]] = {}
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # Any script may come.
        for number, column in enumerate(table.columns, start=1):
            entries = [(row, row.cells[column]) for row in table.rows if column in row.cells]
            entries.sort(key=lambda entry: entry[1].place)
            drawn[column] = [_bars(column, entries, number)]
            if any(row.parameters for row, _ in entries):
                drawn[column].append(_sizes(column, entries, number))
    return drawn


def _bars(column: Column, entries: Sequence[_Entry], number: int) -> Plot:
    """Draw one horizontal bar a model, best on top, with its interval and figure."""
    canvas = Figure(figsize=(_WIDTH, 1.1 + 0.36 * len(entries)), layout="constrained")
    axes = canvas.add_subplot()
    reach = max(_high(cell) for _, cell in entries)
    for place, (row, cell) in enumerate(entries):
        value = cell.metric.value
        axes.barh(place, value, height=0.62, color=COLOURS[row.kind])
        if span := cell.metric.interval:
            axes.plot([span.low, span.high], [place, place], color=INK, linewidth=1.3)
            axes.plot([span.low, span.high], [place, place], "|", color=INK, markersize=6)
        end = max(_high(cell), 0) + 0.015 * reach
        axes.text(end, place, figure(cell.metric, 1), va="center", fontsize=9)
    names = [shorten(row.model, _LABEL) for row, _ in entries]
    axes.set_yticks(range(len(entries)), names, color=INK, parse_math=False)
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.set_xlim(min(0, *(_low(cell) for _, cell in entries)), (reach or 1) * 1.1)
    axes.grid(axis="x")
    _label(axes, column, "x")
    return _plot(canvas, f"{number:02}-{_slug(column)}-bars", _title(column), _describe(entries))


def _sizes(column: Column, entries: Sequence[_Entry], number: int) -> Plot:
    """Draw each model's figure against its size; models without parameters are dashed lines."""
    canvas = Figure(figsize=(_WIDTH, 3.5), layout="constrained")
    axes = canvas.add_subplot()
    sized = [(row, cell) for row, cell in entries if row.parameters]
    for row, cell in sized:
        size = row.parameters or 0
        if span := cell.metric.interval:
            axes.vlines(size, span.low, span.high, color=MUTED, linewidth=1.2)
        colour, marker = COLOURS[row.kind], MARKERS[row.kind]
        axes.scatter(size, cell.metric.value, s=48, color=colour, marker=marker, zorder=3)
    for row, cell in entries:
        if row.parameters == 0:
            axes.axhline(cell.metric.value, color=COLOURS[row.kind], linestyle="--", linewidth=1.2)
    axes.set_xscale("log")
    sizes = sorted({int(row.parameters or 0) for row, _ in sized})
    axes.set_xlim(sizes[0] / 1.5, sizes[-1] * 1.5)
    _size_ticks(axes, sizes)
    axes.grid(axis="y")
    axes.set_xlabel("parameters of the upstream (log scale)")
    _label(axes, column, "y")
    _name_points(axes, [entry for entry in entries if entry[0].parameters is not None])
    title = f"{_title(column)} against parameters"
    return _plot(canvas, f"{number:02}-{_slug(column)}-parameters", title, _describe(entries))


def _size_ticks(axes: Any, sizes: Sequence[int]) -> None:
    """Put ticks at the models' own sizes, leaving out those whose labels would overlap."""
    low, high = axes.get_xlim()
    gap = (high / low) ** 0.15  # a label's width as a factor on the log axis
    ticks: list[int] = []
    for size in sizes:
        if not ticks or size > ticks[-1] * gap:
            ticks.append(size)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: parameters(round(value))))
    axes.xaxis.set_minor_locator(NullLocator())


def _name_points(axes: Any, entries: Sequence[_Entry]) -> None:
    """Write the names at the right, moved apart where they would overlap, lines to the points."""
    low, high = axes.get_ylim()
    ordered = sorted(entries, key=lambda entry: entry[1].metric.value)
    heights = spread([cell.metric.value for _, cell in ordered], (high - low) / 14)
    axes.set_ylim(min(low, heights[0] - (high - low) / 28), max(high, heights[-1]))
    left, edge = axes.get_xlim()
    bend = edge * (edge / left) ** 0.04
    for (row, cell), height in zip(ordered, heights, strict=True):
        start, value = row.parameters or edge, cell.metric.value
        # Outside the axes the line bends to the name; plain lines draw faster than annotations.
        reach = [start, edge, bend], [value, value, height]
        axes.plot(*reach, ":", color=MUTED, linewidth=0.9, clip_on=False, zorder=1)
        label = shorten(row.model, _LABEL)
        axes.text(1.05, height, label, transform=axes.get_yaxis_transform(), va="center",
                  fontsize=9, parse_math=False)  # fmt: skip


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Move sorted values apart to at least `gap`, keeping each crowd centred where it was."""
    crowds: list[tuple[float, int]] = []  # (centre, members)
    for value in values:
        centre, members = value, 1
        while crowds and centre - crowds[-1][0] < gap * (members + crowds[-1][1]) / 2:
            other, count = crowds.pop()
            centre = (centre * members + other * count) / (members + count)
            members += count
        crowds.append((centre, members))
    return [
        centre + gap * (index - (members - 1) / 2)
        for centre, members in crowds
        for index in range(members)
    ]


def _label(axes: Any, column: Column, side: str) -> None:
    """Name the figure's axis, its unit and the direction of better."""
    better = "higher is better" if column.higher_is_better else "lower is better"
    axes.set(**{f"{side}label": f"{column.metric} ({column.unit}), {better}"})
    axes.set_title(_title(column), loc="left", fontsize=11, fontweight="bold", parse_math=False)
    for text in (axes.xaxis.label, axes.yaxis.label):
        text.set_parse_math(False)


def _title(column: Column) -> str:
    made = " (synthetic)" if column.synthetic else ""
    return shorten(f"{column.task.upper()} on {column.corpus}, {column.split}{made}", 70)


def _describe(entries: Iterable[_Entry]) -> str:
    """Say in words what a plot shows."""
    return "; ".join(
        f"{row.model} {figure(cell.metric, 1)} {interval(cell.metric.interval, 1)}".strip()
        for row, cell in entries
    )


def _low(cell: Cell) -> float:
    return cell.metric.interval.low if cell.metric.interval else cell.metric.value


def _high(cell: Cell) -> float:
    return cell.metric.interval.high if cell.metric.interval else cell.metric.value


def _slug(column: Column) -> str:
    """Make a file name of task and corpus; a number before it keeps names apart."""
    return re.sub(r"[^A-Za-z0-9_]+", "-", f"{column.task}-{column.corpus}")[:60].strip("-")


def _plot(canvas: Figure, name: str, title: str, text: str) -> Plot:
    """Write a figure as PNG and as SVG for the page."""
    png, svg = BytesIO(), StringIO()
    canvas.savefig(png, format="png", dpi=160, facecolor="white")
    canvas.set_layout_engine("none")  # keep the layout that the first drawing found
    nothing: dict[str, None] = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    canvas.savefig(svg, format="svg", transparent=True, metadata=nothing)
    return Plot(name, title, text, png.getvalue(), _inline(svg.getvalue(), name))


def _inline(svg: str, name: str) -> str:
    """Cut the <svg> element out of a file; ids get a prefix, colours become CSS variables."""
    body = svg[svg.index("<svg") :]
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    body = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>plot-{name}-", body)
    for colour, variable in _VARIABLES.items():
        body = body.replace(f": {colour}", f": var({variable})")
    return re.sub(r"'DejaVu Sans'[^;\"]*", "var(--font)", body)
