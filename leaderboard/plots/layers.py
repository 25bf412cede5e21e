"""The weights that heads learned for the layers below them: one strip a model."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, Any

from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline
from matplotlib.ticker import MaxNLocator, NullLocator

from harness_bench.core.plotting import INK
from harness_bench.core.sanitize import clean

from .drawing import (
    CARD,
    HEAT,
    MOST,
    Entry,
    Plot,
    best_of,
    brief,
    finish,
    heat_ink,
    plot_name,
    sheet,
    title_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..board import BoardColumn

# Where the scale's steps meet: weights as multiples of an equal share of all layers, so that
# models with different numbers of layers can be read together.
EDGES = (0.25, 0.5, 0.8, 0.95, 1.05, 1.25, 2.0, 4.0)
_NUMBERED = 14  # most layers whose cells have room for a number
_DECIMAL = 8  # most layers whose cells have room for a decimal
_OUTLINED = 40  # most layers whose cells are set apart by a line


def layers(column: BoardColumn, entries: Sequence[Entry], number: int) -> Plot | None:
    """Draw the layer weights of at most the best `MOST` models as strips of cells.

    None where no result has layer weights.
    """
    weighed = [entry for entry in entries if entry[1].result.layer_weights]
    if not weighed:
        return None
    shown = weighed[:MOST]
    strips = [cell.result.layer_weights for _, cell in shown]
    longest = max(map(len, strips))
    title = f"{title_of(column)}: weights of the layers{best_of(shown, weighed)}"
    canvas = sheet(1.45 + 0.31 * len(shown), title)
    grid = canvas.add_gridspec(2, 1, height_ratios=[0.31 * len(shown), 0.16])
    axes = canvas.add_subplot(grid[0])
    _cells(axes, strips)
    if longest <= _NUMBERED:
        _numbers(axes, strips, decimals=int(longest <= _DECIMAL))
    axes.set_yticks(range(len(shown)), [brief(row.model) for row, _ in shown], color=INK,
                    parse_math=False)  # fmt: skip
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
    return finish(canvas, plot_name(number, column, "layers"), title, words)


def step_of(weight: float, count: int) -> int:
    """Return the step of the colour scale of one of `count` layers' weights."""
    return bisect(EDGES, weight * count)


def _cells(axes: Any, strips: Sequence[Sequence[float]]) -> None:
    """Draw the cells, those of one colour as one shape: a strip may have 500."""
    corners: dict[int, list[tuple[float, float]]] = {}
    for place, strip in enumerate(strips):
        for layer, weight in enumerate(strip):
            corners.setdefault(step_of(weight, len(strip)), []).append((layer, place))
    edge = 0.8 if max(map(len, strips)) <= _OUTLINED else 0
    for step, found in corners.items():
        outline = Outline.make_compound_path(*(_rectangle(x, y, height=0.41) for x, y in found))
        # As a plain artist: the limits are known, and to find a patch's is slow.
        axes.add_artist(PathPatch(outline, facecolor=HEAT[step], edgecolor=CARD, linewidth=edge))


def _rectangle(x: float, y: float, width: float = 0.5, height: float = 0.5) -> Outline:
    """Return a rectangle around a point; width and height are halves."""
    left, right, bottom, top = x - width, x + width, y - height, y + height
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    return Outline(corners, closed=True)


def _numbers(axes: Any, strips: Sequence[Sequence[float]], decimals: int) -> None:
    for place, strip in enumerate(strips):
        for layer, weight in enumerate(strip):
            ink = heat_ink(step_of(weight, len(strip)))
            axes.text(layer, place, f"{100 * weight:.{decimals}f}", color=ink, fontsize=8,
                      ha="center", va="center")  # fmt: skip


def _scale(axes: Any) -> None:
    """Draw the steps of the colour scale, which is the same in all of these plots."""
    for step, colour in enumerate(HEAT):
        outline = _rectangle(step + 0.5, 0.5)
        axes.add_artist(PathPatch(outline, facecolor=colour, edgecolor=CARD, linewidth=0.8))
    axes.set(xlim=(0, len(HEAT)), ylim=(0, 1))
    axes.set_xticks(range(1, len(HEAT)), [f"{edge:g}" for edge in EDGES], fontsize=8)
    axes.yaxis.set_major_locator(NullLocator())
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("colour: weight, 1 = an equal share", fontsize=9)
