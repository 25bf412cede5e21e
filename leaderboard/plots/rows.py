"""Plots of a row a model: bars with intervals, and strips of the weights that heads learned."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, Any

from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator, NullLocator
from matplotlib.transforms import Affine2D

from harness_bench.core.plotting import INK
from harness_bench.core.sanitize import clean

from .drawing import (
    CARD,
    COLOURS,
    HEAT,
    HOLLOW,
    KINDS,
    Entry,
    Plot,
    PlotSubject,
    best_of,
    brief,
    finish,
    heat_ink,
    metric_label,
    sheet,
)
from .spots import sure, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..board import ResultCell

_MOST = 30  # models
# Where the scale's steps meet: weights as multiples of an equal share of all layers, so that
# models with different numbers of layers can be read together.
EDGES = (0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 2.0, 4.0)
_NUMBERED = 14  # most layers whose cells have room for a number
_DECIMAL = 8  # most layers whose cells have room for a decimal
_TOLD = 4  # layers of a tooltip
_OUTLINED = 40  # most layers whose cells are set apart by a line


def bars(subject: PlotSubject) -> Plot:
    """Draw one horizontal bar a model with its interval, its figure and the paper's."""
    entries, column = subject.entries, subject.column
    shown = entries[:_MOST]
    title = subject.title + best_of(shown, entries)
    canvas = sheet(1.0 + 0.31 * len(shown), title)
    axes = canvas.add_subplot()
    cells = [cell for _, cell in shown]
    papers = {place: cell.paper.main.value for place, cell in enumerate(cells) if cell.paper}
    left = min(0, *(cell.low for cell in cells), *papers.values())
    right = max(0, *(cell.high for cell in cells), *papers.values())
    width = (right - left) or 1
    for kind, label in KINDS.items():
        places = [place for place, (row, _) in enumerate(shown) if row.kind == kind]
        values = [cells[place].metric.value for place in places]
        if places:
            axes.barh(places, values, height=0.64, color=COLOURS[kind], label=label)
    _intervals(axes, cells)
    for place, cell in enumerate(cells):
        right_of = max(cell.high, papers.get(place, 0), 0) + 0.015 * width
        axes.text(right_of, place, written(cell), va="center", fontsize=9)
    if papers:
        axes.plot([*papers.values()], [*papers], linestyle="none", label="the paper's", **HOLLOW)
    axes.set_yticks(range(len(shown)), [brief(row.model) for row, _ in shown], color=INK)
    axes.tick_params(axis="y", length=0)
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(left, right + 0.14 * width))
    axes.grid(axis="x")
    axes.set_xlabel(metric_label(column))
    if papers or len({row.kind for row, _ in shown}) > 1:
        canvas.legend(loc="outside lower center", ncols=5, handletextpad=0.5, columnspacing=1.2)
    spots = [subject.stripe(axes, place, entry) for place, entry in enumerate(shown)]
    return finish(canvas, subject.file("bars"), title, describe(shown, len(entries)), spots)


def _intervals(axes: Any, cells: Sequence[ResultCell]) -> None:
    measured = [place for place, cell in enumerate(cells) if cell.metric.interval]
    if not measured:
        return
    ends = [cells[place].low for place in measured], [cells[place].high for place in measured]
    axes.hlines(measured, *ends, color=INK, linewidth=1.3)
    for marks in ends:
        axes.plot(marks, measured, "|", color=INK, markersize=6)


def describe(shown: Sequence[Entry], count: int) -> str:
    """Say in words what a plot shows of `count` models."""
    words = "; ".join(f"{row.model} {written(cell)} {sure(cell)}".strip() for row, cell in shown)
    return f"{words}; and {count - len(shown)} more" if count > len(shown) else words


def layers(subject: PlotSubject) -> Plot | None:
    """Draw layer weights as strips of cells; None where no result has any."""
    weighed = [entry for entry in subject.entries if entry[1].result.layer_weights]
    if not weighed:
        return None
    shown = weighed[:_MOST]
    strips = [cell.result.layer_weights for _, cell in shown]
    longest = max(map(len, strips))
    title = f"{subject.title}: weights of the layers{best_of(shown, weighed)}"
    canvas = sheet(1.45 + 0.31 * len(shown), title)
    grid = canvas.add_gridspec(2, 1, height_ratios=[0.31 * len(shown), 0.16])
    axes = canvas.add_subplot(grid[0])
    _cells(axes, strips, edge=0.8 if longest <= _OUTLINED else 0)
    if longest <= _NUMBERED:
        _numbers(axes, strips, decimals=int(longest <= _DECIMAL))
    axes.set_yticks(range(len(shown)), [brief(row.model) for row, _ in shown], color=INK)
    axes.set(xlim=(-0.5, longest - 0.5), ylim=(len(shown) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    numbers = "; numbers: weight in %" if longest <= _NUMBERED else ""
    axes.set_xlabel(f"layer (0: what goes into the first one){numbers}", fontsize=9)
    _scale(canvas.add_subplot(grid[1]))
    words = "; ".join(
        f"{clean(row.model)}: most on layer {strip.index(max(strip))} of 0 to {len(strip) - 1} "
        f"({100 * max(strip):.0f} %)"
        for (row, _), strip in zip(shown, strips, strict=True)
    )
    spots = [
        subject.stripe(axes, place, entry, *_largest(entry[1].result.layer_weights))
        for place, entry in enumerate(shown)
    ]
    return finish(canvas, subject.file("layers"), title, words, spots)


def _largest(weights: Sequence[float]) -> list[str]:
    """Write the layers of the largest weights, for a tooltip of a few lines."""
    ordered = sorted(range(len(weights)), key=lambda layer: -weights[layer])
    return [f"layer {layer}: {100 * weights[layer]:.1f} %" for layer in ordered[:_TOLD]]


def step_of(weight: float, count: int) -> int:
    """Return the step of the colour scale of one of `count` layers' weights."""
    return bisect(EDGES, weight * count)


def _cells(axes: Any, strips: Sequence[Sequence[float]], edge: float) -> None:
    """Draw the cells, those of one colour as one shape: a strip may have 500."""
    found: dict[int, list[Outline]] = {}
    for place, strip in enumerate(strips):
        for layer, weight in enumerate(strip):
            cell = _rectangle(layer - 0.5, place - 0.41, height=0.82)
            found.setdefault(step_of(weight, len(strip)), []).append(cell)
    for step, outlines in found.items():
        _fill(axes, Outline.make_compound_path(*outlines), step, edge)


def _rectangle(left: float, bottom: float, height: float = 1.0) -> Outline:
    return Outline.unit_rectangle().transformed(Affine2D().scale(1, height).translate(left, bottom))


def _fill(axes: Any, outline: Outline, step: int, edge: float) -> None:
    # As a plain artist: the limits are known, and to find a patch's is slow.
    axes.add_artist(PathPatch(outline, facecolor=HEAT[step], edgecolor=CARD, linewidth=edge))


def _numbers(axes: Any, strips: Sequence[Sequence[float]], decimals: int) -> None:
    for place, strip in enumerate(strips):
        for layer, weight in enumerate(strip):
            ink = heat_ink(step_of(weight, len(strip)))
            axes.text(layer, place, f"{100 * weight:.{decimals}f}", color=ink, fontsize=8,
                      ha="center", va="center")  # fmt: skip


def _scale(axes: Any) -> None:
    """Draw the steps of the colour scale, which is the same in all of these plots."""
    for step in range(len(HEAT)):
        _fill(axes, _rectangle(step, 0), step, 0.8)
    axes.set(xlim=(0, len(HEAT)), ylim=(0, 1))
    axes.set_xticks(range(1, len(HEAT)), [f"{edge:g}" for edge in EDGES], fontsize=8)
    axes.yaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("colour: weight, 1 = an equal share", fontsize=9)
