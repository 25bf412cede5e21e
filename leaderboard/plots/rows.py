"""Plots of a row a model: bars with intervals, and strips of the weights that heads learned."""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
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
    settle,
    sheet,
)
from .labels import Label, width_of
from .spots import sure, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..board import ModelRow, ResultCell

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
    canvas = sheet(1.0 + 0.31 * len(shown), title, placed=True)
    axes = canvas.add_subplot()
    cells = [cell for _, cell in shown]
    papers = {place: cell.paper.main.value for place, cell in enumerate(cells) if cell.paper}
    left = min(0, *(cell.low for cell in cells), *papers.values())
    right = max(0, *(cell.high for cell in cells), *papers.values())
    width = (right - left) or 1
    marks: list[Any] = []
    for kind, label in KINDS.items():
        values = {n: cells[n].metric.value for n, (row, _) in enumerate(shown) if row.kind == kind}
        if values:
            whole = [_rectangle(0, n - 0.32, 0.64, value) for n, value in values.items()]
            marks.append(_fill(axes, Outline.make_compound_path(*whole), COLOURS[kind]))
            marks[-1].set_label(label)
    _intervals(axes, cells)
    if papers:
        marks += axes.plot([*papers.values()], [*papers], linestyle="none", label="the paper's",
                           **HOLLOW)  # fmt: skip
    room = 0.14 * width  # of a figure behind its bar
    axes.set(ylim=(len(shown) - 0.4, -0.6), xlim=(left, right + room))
    axes.grid(axis="x")
    axes.set_xlabel(metric_label(column))
    figures = [
        Label(axes, (figure_at(cell.high, papers.get(place), room), place), written(cell), size=9,
              shift=(4, 0))
        for place, cell in enumerate(cells)
    ]  # fmt: skip
    key = len(marks) > 1
    if key:
        canvas.legend(handles=marks, loc="lower center", ncols=5, handletextpad=0.5,
                      columnspacing=1.2)  # fmt: skip
    names = name_rows(axes, [row for row, _ in shown])
    settle(canvas, axes, names.room, 0.15, 0.52 + 0.25 * key)
    spots = [subject.stripe(axes, place, entry) for place, entry in enumerate(shown)]
    words = describe(shown, len(entries))
    return finish(canvas, subject.file("bars"), title, words, spots,
                  labels=[*names.labels, *figures])  # fmt: skip


def figure_at(high: float, paper: float | None, room: float) -> float:
    """Return where a bar's figure stands: behind it, or behind a mark of the paper's that is there.

    Behind a mark farther away it would be taken for the paper's.
    """
    end = max(high, 0.0)
    return paper if paper is not None and end <= paper < end + room else end


@dataclass(frozen=True)
class RowNames:
    """Names at the left of rows."""

    labels: list[Label]
    room: float  # inches that they take


def name_rows(axes: Any, rows: Sequence[ModelRow], size: float = 10) -> RowNames:
    """Write models' names at the left of rows 1 high, which begin at 0."""
    axes.yaxis.set_major_locator(NullLocator())
    names = [brief(row.model) for row in rows]
    labels = [
        Label(axes, (0, place), name, "right", size=size, beside=True, shift=(-6, 0))
        for place, name in enumerate(names)
    ]
    return RowNames(labels, width_of(names, size) + 0.2)


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
    canvas = sheet(1.45 + 0.31 * len(shown), title, placed=True)
    axes, scale = canvas.add_subplot(), canvas.add_subplot(label="scale")
    _cells(axes, strips, edge=0.8 if longest <= _OUTLINED else 0)
    labels = _numbers(axes, strips, int(longest <= _DECIMAL)) if longest <= _NUMBERED else []
    axes.set(xlim=(-0.5, longest - 0.5), ylim=(len(shown) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    numbers = "; numbers in %" if labels else ""
    axes.set_xlabel(f"layer (0: input of the first){numbers}", fontsize=9, loc="right")
    _scale(scale)
    names = name_rows(axes, [row for row, _ in shown])
    settle(canvas, axes, names.room, 0.1, 1.15)
    width, height = canvas.get_size_inches()
    beside = 1 - (names.room + 0.1) / width
    scale.set_position((names.room / width, 0.45 / height, beside, 0.16 / height))
    words = "; ".join(
        f"{clean(row.model)}: most on layer {strip.index(max(strip))} of 0 to {len(strip) - 1} "
        f"({100 * max(strip):.0f} %)"
        for (row, _), strip in zip(shown, strips, strict=True)
    )
    spots = [
        subject.stripe(axes, place, entry, *_largest(entry[1].result.layer_weights))
        for place, entry in enumerate(shown)
    ]
    return finish(canvas, subject.file("layers"), title, words, spots,
                  labels=[*names.labels, *labels])  # fmt: skip


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
        _fill(axes, Outline.make_compound_path(*outlines), HEAT[step], edge)


def _rectangle(left: float, bottom: float, height: float, width: float = 1.0) -> Outline:
    move = Affine2D().scale(width, height).translate(left, bottom)
    return Outline.unit_rectangle().transformed(move)


def _fill(axes: Any, outline: Outline, colour: str, edge: float = 0.0) -> PathPatch:
    # As a plain artist: the limits are known, and to find a patch's is slow.
    patch = PathPatch(outline, facecolor=colour, edgecolor=CARD, linewidth=edge)
    axes.add_artist(patch)
    return patch


def _numbers(axes: Any, strips: Sequence[Sequence[float]], decimals: int) -> list[Label]:
    return [
        Label(axes, (layer, place), f"{100 * weight:.{decimals}f}", "center", size=8,
              colour=heat_ink(step_of(weight, len(strip))))
        for place, strip in enumerate(strips)
        for layer, weight in enumerate(strip)
    ]  # fmt: skip


def _scale(axes: Any) -> None:
    """Draw the steps of the colour scale, which is the same in all of these plots."""
    for step in range(len(HEAT)):
        _fill(axes, _rectangle(step, 0, 1.0), HEAT[step], 0.8)
    axes.set(xlim=(0, len(HEAT)), ylim=(0, 1))
    axes.set_xticks(range(1, len(HEAT)), [f"{edge:g}" for edge in EDGES], fontsize=8)
    axes.yaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("colour: weight, 1 = an equal share", fontsize=9)
