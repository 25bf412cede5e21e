"""Figures against what a model costs, with the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from harness_bench.core.plotting import INK, MUTED
from harness_bench.core.sanitize import clean

from ..tables import parameters
from .drawing import (
    ACCENT,
    COLOURS,
    KINDS,
    MARKERS,
    Entry,
    Plot,
    brief,
    finish,
    metric_label,
    plot_name,
    sheet,
    title_of,
)
from .rows import describe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..board import BoardColumn, ModelRow, ResultCell

NAMED = 12  # best models that get a name, beside those of the front
_MOST_NAMES = 28
_LEAST = 1e-9  # of a cost above 0: no real one is less, and a logarithmic axis needs an end
_NAME_HEIGHT = 0.165  # inches


@dataclass(frozen=True)
class Cost:
    """One kind of cost that figures are drawn against."""

    kind: str  # of the plot, for its file name
    title: str
    label: str
    of: Callable[[ModelRow, ResultCell], float | None]
    written: Callable[[float], str]


def _real_time(_: ModelRow, cell: ResultCell) -> float | None:
    return cell.result.costs.real_time_factor if cell.result.costs else None


PARAMETERS = Cost(
    "parameters", "parameters", "parameters of the upstream (log scale)",
    lambda row, _: row.parameters, lambda value: parameters(round(value)),
)  # fmt: skip
REAL_TIME = Cost(
    "real-time", "real-time factor on CPU", "real-time factor, one CPU thread (log scale)",
    _real_time, "{:.2g}".format,
)  # fmt: skip


def pareto(costs: Sequence[float], values: Sequence[float], *, higher_is_better: bool) -> list[int]:
    """Return the indices of the Pareto front, cheapest first; equal points are all on it.

    On the front is what no other point beats: costs no more and is no worse, and one of the two
    strictly.
    """
    sign = -1 if higher_is_better else 1
    points = [(cost, sign * value) for cost, value in zip(costs, values, strict=True)]
    front: list[int] = []
    for index in sorted(range(len(points)), key=points.__getitem__):
        last = points[front[-1]] if front else None
        if last is None or points[index][1] < last[1] or points[index] == last:
            front.append(index)
    return front


def scatter(column: BoardColumn, entries: Sequence[Entry], number: int, cost: Cost) -> Plot | None:
    """Draw each model's figure against a cost; models that cost nothing are dashed lines.

    All points are drawn; names stand at the front's and at the best ones alone. None where fewer
    than 2 costs are known, or none is above 0.
    """
    priced = [(entry, each) for entry in entries if (each := cost.of(*entry)) is not None]
    known = [entry for entry, _ in priced]
    costs = [max(float(each), _LEAST) if each else 0.0 for _, each in priced]
    if len(known) < 2 or not any(costs):  # noqa: PLR2004 - one alone compares nothing
        return None
    values = [cell.metric.value for _, cell in known]
    front = pareto(costs, values, higher_is_better=column.higher_is_better)
    named = sorted({*range(min(NAMED, len(known))), *front})[:_MOST_NAMES]
    title = f"{title_of(column)}: {column.metric} against {cost.title}"
    canvas = sheet(max(3.4, 1.4 + _NAME_HEIGHT * len(named)), title)
    axes = canvas.add_subplot()
    _points(axes, known, costs, named)
    _cost_axis(axes, sorted({*costs} - {0.0}), cost)
    axes.set_xlabel(_label(cost, known))
    axes.set_ylabel(metric_label(column))
    _front(axes, [(costs[index], values[index]) for index in front])
    _name_points(axes, [(known[i][0].model, costs[i], values[i]) for i in named])
    canvas.legend(handles=_marks(known, costs), loc="outside lower center", ncols=4,
                  handletextpad=0.4, columnspacing=1.2)  # fmt: skip
    best = ", ".join(clean(known[index][0].model) for index in front[:_MOST_NAMES])
    words = describe([known[i] for i in named], len(known))
    caption = f"{title}. Line: the Pareto front, what no model beats in both"
    if missing := len(entries) - len(known):
        caption += f". Not drawn, cost not known: {missing} of {len(entries)} models"
    text = f"Pareto front, cheapest first: {best}. {words}"
    return finish(canvas, plot_name(number, column, cost.kind), caption, text)


def _marks(known: Sequence[Entry], costs: Sequence[float]) -> list[Line2D]:
    """Return the legend's marks: points and dashed lines of each kind, and the front."""
    found = {(row.kind, cost > 0) for (row, _), cost in zip(known, costs, strict=True)}
    points = [
        Line2D([], [], color=COLOURS[kind], marker=MARKERS[kind], linestyle="none", label=label)
        for kind, label in KINDS.items()
        if (kind, True) in found
    ]
    lines = [
        Line2D([], [], color=COLOURS[kind], linestyle="--", label=f"{label} at no cost")
        for kind, label in KINDS.items()
        if (kind, False) in found
    ]
    return [*points, *lines, Line2D([], [], color=ACCENT, linewidth=1.4, label="Pareto front")]


def _points(
    axes: Any, known: Sequence[Entry], costs: Sequence[float], named: Sequence[int]
) -> None:
    """Draw points of each kind, those without a name fainter and without their interval."""
    spans = [(costs[i], known[i][1].metric.interval) for i in named]
    drawn = [(at, span.low, span.high) for at, span in spans if at and span]
    if drawn:
        axes.vlines(*zip(*drawn, strict=True), color=MUTED, linewidth=1.1)
    for kind, colour in COLOURS.items():
        for shown, size, opacity in ((False, 22, 0.55), (True, 44, 1.0)):
            points = [
                (costs[i], cell.metric.value)
                for i, (row, cell) in enumerate(known)
                if row.kind == kind and costs[i] and (i in named) == shown
            ]
            if points:
                axes.scatter(*zip(*points, strict=True), s=size, color=colour, alpha=opacity,
                             marker=MARKERS[kind], linewidths=0, zorder=2 + shown)  # fmt: skip
    for (row, cell), cost in zip(known, costs, strict=True):
        if not cost:
            axes.axhline(cell.metric.value, color=COLOURS[row.kind], linestyle="--", linewidth=1.2)


def _cost_axis(axes: Any, costs: Sequence[float], cost: Cost) -> None:
    """Scale the axis of costs (rising); ticks at the models' own, as far as they have room."""
    left, right = costs[0] / 1.5, costs[-1] * 1.5
    axes.set(xscale="log", xlim=(left, right))
    gap = (right / left) ** 0.21  # a label's width as a factor on the log axis
    ticks: list[float] = []
    for each in costs:
        if not ticks or each > ticks[-1] * gap:
            ticks.append(each)
    axes.set_xticks(ticks)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: cost.written(value)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")


def _label(cost: Cost, known: Sequence[Entry]) -> str:
    """Name the axis of costs; times of different machines must not be compared unawares."""
    if cost is not REAL_TIME:
        return cost.label
    machines = {cell.result.costs.hardware for _, cell in known if cell.result.costs}
    return cost.label + (f"\nmeasured on {len(machines)} machines" if len(machines) > 1 else "")


def _front(axes: Any, points: Sequence[tuple[float, float]]) -> None:
    """Draw the best figure that each cost can buy; what costs nothing begins at the left edge."""
    left, right = axes.get_xlim()
    steps = [*((max(cost, left), value) for cost, value in points), (right, points[-1][1])]
    axes.step(*zip(*steps, strict=True), where="post", color=ACCENT, linewidth=1.4, zorder=1.5)
    axes.set_xlim(left, right)


def _name_points(axes: Any, points: Sequence[tuple[str, float, float]]) -> None:
    """Write the names at the right, moved apart where they would overlap, lines to the points."""
    low, high = axes.get_ylim()
    ordered = sorted(points, key=lambda point: point[2])
    inches = axes.figure.get_size_inches()[1] - 1.25  # the axes' height, about
    gap = _NAME_HEIGHT * (high - low) / inches
    heights = within(spread([value for _, _, value in ordered], gap), gap, low, high)
    axes.set_ylim(low, high)  # else the lines to the names would widen it
    left, edge = axes.get_xlim()
    bend = edge * (edge / left) ** 0.04
    for (model, cost, value), height in zip(ordered, heights, strict=True):
        # Outside the axes the line bends to the name; plain lines draw faster than annotations.
        reach = [cost or edge, edge, bend], [value, value, height]
        axes.plot(*reach, ":", color=MUTED, linewidth=0.8, clip_on=False, zorder=1)
        axes.text(1.05, height, brief(model), transform=axes.get_yaxis_transform(), va="center",
                  fontsize=8.5, color=INK)  # fmt: skip


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


def within(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move places, rising by at least `gap`, into a range; what has no room sticks out on top."""
    last = len(places) - 1
    capped = [min(place, high - gap * (last - number)) for number, place in enumerate(places)]
    return [max(place, low + gap * number) for number, place in enumerate(capped)]
