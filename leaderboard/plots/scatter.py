"""Figures against what a model costs, with the Pareto front."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from harness_bench.core.plotting import LINE, MUTED
from harness_bench.core.sanitize import clean

from ..tables import parameters
from .drawing import (
    ACCENT,
    CARD,
    COLOURS,
    KINDS,
    MARKERS,
    Entry,
    Plot,
    PlotSubject,
    brief,
    finish,
    metric_label,
    settle,
    sheet,
)
from .labels import Label, width_of
from .rows import describe
from .spots import LARGE, SMALL, Spot, tag, tell

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..board import ModelRow, ResultCell

NAMED = 12  # best models that get a name, beside those of the front
_MOST_NAMES = 28
_LEAST = 1e-9  # of a cost above 0: no real one is less, and a logarithmic axis needs an end
_NAME_HEIGHT = 0.165  # inches, as all below but for the size of the names, in points
_LEFT, _GAP, _BELOW, _TWO_LINES, _KEY, _SIZE = 0.68, 0.3, 0.52, 0.2, 0.2, 8.5
_KEYS = 3  # of the legend beside each other


@dataclass(frozen=True)
class Cost:
    """One kind of cost that figures are drawn against."""

    kind: str  # of the plot, for its file name
    title: str
    label: str
    of: Callable[[ModelRow, ResultCell], float | None]
    written: Callable[[float], str]

    def known(self, row: ModelRow, cell: ResultCell) -> float | None:
        """Return a model's cost, None where it is not known; 0 is no cost."""
        found = self.of(row, cell)
        return None if found is None else max(float(found), _LEAST) if found else 0.0


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


@dataclass(frozen=True)
class Frame:
    """The axis of costs: its ends, and where what has no known cost stands."""

    left: float
    right: float  # of the known costs
    apart: float  # 0 where nothing stands apart

    @classmethod
    def around(cls, costs: Sequence[float], *, apart: bool) -> Frame:
        """Leave room beside costs above 0, and for those that stand apart."""
        left, right = min(costs) / 1.5, max(costs) * 1.5
        return cls(left, right, right * (right / left) ** 0.16 if apart else 0.0)

    @property
    def end(self) -> float:
        """The right end of the axes."""
        return self.apart**2 / self.right if self.apart else self.right

    def place(self, cost: float | None) -> float:
        """Return where a cost lies; 0, which has no place on a logarithmic axis, at the left."""
        return self.apart if cost is None else cost or self.left


@dataclass(frozen=True)
class Priced:
    """A model with its figure and cost; 0 is no cost, None is not known."""

    entry: Entry
    cost: float | None
    named: bool

    @property
    def value(self) -> float:
        """The figure."""
        return self.entry[1].metric.value


def scatter(subject: PlotSubject, cost: Cost) -> Plot | None:
    """Draw each model's figure against a cost; models that cost nothing are dashed lines.

    All points are drawn; names stand at the front's and at the best ones alone. None where fewer
    than 2 costs are known, or none is above 0. Reported models of unknown size stand apart.
    """
    column = subject.column
    costs = [cost.known(*entry) for entry in subject.entries]
    known = [each for each in costs if each is not None]
    if len(known) < 2 or not any(known):  # noqa: PLR2004 - one alone compares nothing
        return None
    apart = subject.source == "reported" and len(known) < len(costs)
    frame = Frame.around([each for each in known if each], apart=apart)
    drawn, front = _priced(subject, costs, apart=apart)
    title = f"{subject.title}: {column.metric} against {cost.title}"
    named = [each.entry for each in drawn if each.named]
    canvas = sheet(max(3.4, 1.4 + _NAME_HEIGHT * len(named)), title, placed=True)
    axes = canvas.add_subplot()
    _cost_axis(axes, frame, sorted({*known} - {0.0}), cost)
    axes.set_xlabel(_label(cost, [each.entry for each in drawn]))
    axes.set_ylabel(metric_label(column))
    spots = [_spot(axes, subject, cost, each, frame, n) for n, each in enumerate(drawn)]
    marks = _draw(axes, drawn, spots)
    steps = [(frame.place(each.cost), each.value) for each in front]
    axes.step(*zip(*steps, (frame.right, steps[-1][1]), strict=True), where="post", color=ACCENT,
              linewidth=1.4, zorder=1.5)  # fmt: skip
    marked = _marks(drawn, spots)
    beside = min(len(marked), _KEYS)
    canvas.legend(handles=marked, loc="lower center", ncols=beside, handletextpad=0.4,
                  columnspacing=1.2)  # fmt: skip
    room = width_of([brief(row.model) for row, _ in named], _SIZE) + _GAP
    key = _KEY * -(-len(marked) // beside)
    below = _BELOW + (_TWO_LINES if apart or "\n" in axes.get_xlabel() else 0)
    settle(canvas, axes, _LEFT, room, below + key)
    labels = _name_points(axes, drawn, spots, frame)
    caption = f"{title}. Line: the Pareto front, what no model beats in both"
    if missing := len(costs) - len(drawn):
        caption += f". Not drawn, cost not known: {missing} of {len(costs)} models"
    names = ", ".join(clean(each.entry[0].model) for each in front[:_MOST_NAMES])
    text = f"Pareto front, cheapest first: {names}. {describe(named, len(drawn))}"
    return finish(canvas, subject.file(cost.kind), caption, text, spots, marks, labels=labels)


def _priced(
    subject: PlotSubject, costs: Sequence[float | None], *, apart: bool
) -> tuple[list[Priced], list[Priced]]:
    """Return what is drawn, best first, and the front, cheapest first."""
    shown = [
        (entry, each)
        for entry, each in zip(subject.entries, costs, strict=True)
        if apart or each is not None
    ]
    sized = [(number, each) for number, (_, each) in enumerate(shown) if each is not None]
    found = pareto([each for _, each in sized],
                   [shown[number][0][1].metric.value for number, _ in sized],
                   higher_is_better=subject.column.higher_is_better)  # fmt: skip
    front = [sized[index][0] for index in found]
    named = {*sorted({*range(min(NAMED, len(shown))), *front})[:_MOST_NAMES]}
    drawn = [Priced(*pair, number in named) for number, pair in enumerate(shown)]
    return drawn, [drawn[number] for number in front]


def _spot(
    axes: Any, subject: PlotSubject, cost: Cost, each: Priced, frame: Frame, number: int
) -> Spot:  # fmt: skip
    """Make a model's spot; those without a name are smaller and without their interval."""
    row, cell = each.entry
    span, paper = cell.metric.interval, cell.paper if cost is PARAMETERS else None
    printed = (paper.parameters or each.cost) if paper else None
    time = [] if cost is PARAMETERS or each.cost is None else [f"{cost.title} {each.cost:.2g}"]
    return Spot(
        axes,
        (frame.place(each.cost), each.value),
        tell(row, subject.column, cell, *time),
        subject.link(row),
        look="dot" if each.cost == 0 else row.kind,
        size=LARGE if each.named else SMALL,
        span=(span.low, span.high) if span and each.named and each.cost != 0 else None,
        paper=(float(printed), paper.main.value) if paper and printed and each.cost else None,
        number=number,
    )


def _draw(axes: Any, drawn: Sequence[Priced], spots: Sequence[Spot]) -> list[Any]:
    """Draw points and, at figures that cost nothing, dashed lines; return what spots repeat."""
    made = []
    if spans := [(spot.at[0], *spot.span) for spot in spots if spot.span]:
        made.append(axes.vlines(*zip(*spans, strict=True), color=MUTED, linewidth=1.1))
    groups: dict[tuple[int, str], list[tuple[float, float]]] = {}
    for spot in spots:
        groups.setdefault((spot.size, spot.look), []).append(spot.at)
    made += [
        axes.scatter(*zip(*places, strict=True), s=size, color=COLOURS[kind], marker=MARKERS[kind],
                     alpha=1 if size == LARGE else 0.55, linewidths=0, zorder=2 + size / LARGE)
        for (size, kind), places in sorted(groups.items())
        if kind in COLOURS
    ]  # fmt: skip
    made += [
        axes.scatter(*spot.paper, s=spot.size, facecolors=CARD, edgecolors=COLOURS[spot.look],
                     marker=MARKERS[spot.look], linewidths=1.2, zorder=4)
        for spot in spots
        if spot.paper
    ]  # fmt: skip
    for each, spot in zip(drawn, spots, strict=True):
        if each.cost == 0:
            colour = COLOURS[each.entry[0].kind]
            line = axes.axhline(each.value, color=colour, linestyle="--", linewidth=1.2)
            tag(line, spot.number)
    return made


def _marks(drawn: Sequence[Priced], spots: Sequence[Spot]) -> list[Line2D]:
    """Return the legend's marks: points and dashed lines of each kind, the paper's, the front."""
    found = {(each.entry[0].kind, each.cost != 0) for each in drawn}
    points = [
        Line2D([], [], color=COLOURS[kind], marker=MARKERS[kind], linestyle="none", label=label)
        for kind, label in KINDS.items()
        if (kind, True) in found
    ]
    if any(spot.paper for spot in spots):
        points.append(Line2D([], [], color=MUTED, marker="o", markerfacecolor=CARD,
                             linestyle="none", label="the paper's"))  # fmt: skip
    lines = [
        Line2D([], [], color=COLOURS[kind], linestyle="--", label=f"{label} at no cost")
        for kind, label in KINDS.items()
        if (kind, False) in found
    ]
    return [*points, *lines, Line2D([], [], color=ACCENT, linewidth=1.4, label="Pareto front")]


def _cost_axis(axes: Any, frame: Frame, costs: Sequence[float], cost: Cost) -> None:
    """Scale the axis of costs (rising); ticks at the models' own, as far as they have room."""
    axes.set(xscale="log", xlim=(frame.left, frame.end))
    gap = (frame.end / frame.left) ** 0.18  # a label's width as a factor on the log axis
    ticks: list[float] = []
    for each in costs:
        if not ticks or each > ticks[-1] * gap:
            ticks.append(each)
    labels = [cost.written(each) for each in ticks]
    if frame.apart:
        axes.axvline(frame.right, color=LINE, linewidth=1)
        keep = [each for each in ticks if each * gap < frame.apart]
        ticks, labels = [*keep, frame.apart], [*labels[: len(keep)], "not\nknown"]
    axes.set_xticks(ticks, labels)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")


def _label(cost: Cost, known: Sequence[Entry]) -> str:
    """Name the axis of costs; times of different machines must not be compared unawares."""
    if cost is not REAL_TIME:
        return cost.label
    machines = {cell.result.costs.hardware for _, cell in known if cell.result.costs}
    return cost.label + (f"\nmeasured on {len(machines)} machines" if len(machines) > 1 else "")


def _name_points(
    axes: Any, drawn: Sequence[Priced], spots: Sequence[Spot], frame: Frame
) -> list[Label]:
    """Write the names at the right, moved apart where they would overlap, lines to the points.

    The axes' place in the figure must be settled.
    """
    low, high = axes.get_ylim()
    named = [pair for pair in zip(drawn, spots, strict=True) if pair[0].named]
    named.sort(key=lambda pair: pair[0].value)
    inches = axes.figure.get_figheight() * axes.get_position().height
    gap = _NAME_HEIGHT * (high - low) / inches
    heights = within(spread([each.value for each, _ in named], gap), gap, low, high)
    axes.set_ylim(low, high)  # else the lines to the names would widen it
    bend = frame.end * (frame.end / frame.left) ** 0.04
    labels = []
    for (each, spot), height in zip(named, heights, strict=True):
        # Outside the axes the line bends to the name; plain lines draw faster than annotations.
        x, y = frame.end if each.cost == 0 else spot.at[0], each.value
        (line,) = axes.plot([x, frame.end, bend], [y, y, height], ":", color=MUTED, linewidth=0.8,
                            clip_on=False, zorder=1)  # fmt: skip
        tag(line, spot.number)
        name = brief(each.entry[0].model)
        labels.append(Label(axes, (1.05, height), name, beside=True, number=spot.number))
    return labels


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
