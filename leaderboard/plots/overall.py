"""Plots over all columns: a radar of the best models, and the loss curves of pretraining."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness_bench.core.plotting import INK, MUTED
from harness_bench.core.sanitize import clean

from ..tables import figure
from .drawing import DASHES, DOTS, SERIES, Plot, brief, finish, made_of, prefix, sheet
from .spots import Spot, tag, tell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.figure import Figure

    from ..board import BoardColumn, BoardTable, ModelRow, ResultCell
    from ..curves import Curves

_FEWEST, _MOST = 3, 12  # axes: two make a line, more than 12 cannot be read
_MODELS = len(SERIES)
_HOLE = 0.25  # radius of the ring of the worst, where the ring of the best has 1 more
_PANELS = (("loss_bits", "bits per frame"), ("share_of_entropy", "share of the labels' entropy"))
_DOTS = 8  # marks on a line, so that lines of one colour in print stay apart


@dataclass(frozen=True)
class RadarAxis:
    """One column as an axis of the radar: its worst and its best figure in the table."""

    column: BoardColumn
    worst: ResultCell
    best: ResultCell

    def share(self, value: float) -> float:
        """Return where a figure lies: 0 at the column's worst, 1 at its best, linear between."""
        worst, best = self.worst.metric.value, self.best.metric.value
        return abs(value - worst) / abs(best - worst)

    def of(self, row: ModelRow) -> float:
        """Return where a model lies."""
        return self.share(row.cells[self.column].metric.value)


def radar(table: BoardTable, links: Mapping[str, str]) -> Plot | None:
    """Draw the best models that have a figure in every column, at most 6.

    A column in which all models are equal is no axis. None of fewer than 3 axes or 2 models.
    """
    known = [axis for column in table.columns if (axis := axis_of(table, column))]
    axes = known[:_MOST]
    whole = [row for row in table.rows if all(axis.column in row.cells for axis in axes)]
    rows = whole[:_MODELS]
    if len(axes) < _FEWEST or len(rows) < 2:  # noqa: PLR2004 - one alone compares nothing
        return None
    which = f"{len(axes)} columns"
    if len(axes) < len(known):
        which = f"The first {len(axes)} of {len(known)} columns"
    title = f"{which} together{made_of([axis.column for axis in axes])}"
    if len(rows) < len(whole):
        title += f", best {len(rows)} of the {len(whole)} models with a figure in all"
    canvas = sheet(4.3 + 0.2 * ((len(rows) + 1) // 2), title)
    spots = _draw(canvas, axes, rows, links)
    shares = "; ".join(
        f"{clean(row.model)}: {', '.join(f'{100 * axis.of(row):.0f} %' for axis in axes)}"
        for row in rows
    )
    heads = ", ".join(axis.column.head for axis in axes)
    caption = (
        f"{title}. Each axis runs from the worst figure of the table's models (inner ring) to the "
        "best one (outer ring)"
    )
    name, text = f"{prefix(table.source)}00-radar", f"Columns: {heads}. {shares}"
    return finish(canvas, name, caption, text, spots)


def axis_of(table: BoardTable, column: BoardColumn) -> RadarAxis | None:
    """Return a column's axis over all of the table's models, or None where all are equal."""
    cells = [cell for _, cell in table.entries(column)]
    sign = 1 if column.higher_is_better else -1
    cells.sort(key=lambda cell: sign * cell.metric.value)
    span = cells[-1].metric.value - cells[0].metric.value
    # The width of the tiniest spans is 0 or no number to divide by.
    return RadarAxis(column, cells[0], cells[-1]) if abs(span) > 1e-12 else None  # noqa: PLR2004


def _draw(
    canvas: Figure, columns: Sequence[RadarAxis], rows: Sequence[ModelRow], links: Mapping[str, str]
) -> list[Spot]:
    axes: Any = canvas.add_subplot(projection="polar")
    angles = [2 * math.pi * number / len(columns) for number in range(len(columns))]
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_ylim(0, 1 + _HOLE)
    axes.set_yticks([_HOLE, _HOLE + 0.5, _HOLE + 1], ["", "", ""])
    axes.set_xticks(angles, [""] * len(angles))
    axes.spines["polar"].set_visible(False)
    spots = []
    for number, row in enumerate(rows):
        shares = [axis.of(row) + _HOLE for axis in columns]
        (line,) = axes.plot([*angles, angles[0]], [*shares, shares[0]], color=SERIES[number],
                            linestyle=DASHES[number], marker=DOTS[number], markersize=5,
                            linewidth=1.7, label=brief(row.model), clip_on=False,
                            zorder=4 - 0.1 * number)  # fmt: skip
        tag(line, number)
        for place, axis in zip(zip(angles, shares, strict=True), columns, strict=True):
            column = f"{clean(axis.column.task.upper())} on {clean(axis.column.corpus)}"
            words = tell(row, axis.column, row.cells[axis.column])
            words.insert(1, column)
            spots.append(Spot(axes, place, words, links.get(row.model, ""), number=number))
    for angle, axis in zip(angles, columns, strict=True):
        axes.text(angle, 1.08 + _HOLE, _label(axis), fontsize=8.5, color=INK,
                  ha=_side(math.sin(angle), ("right", "center", "left")),
                  va=_side(math.cos(angle), ("top", "center", "bottom")))  # fmt: skip
    axes.text(0, 0, "worst", fontsize=7, color=MUTED, ha="center", va="center")
    axes.text(angles[1] / 2, 1 + _HOLE, "best", fontsize=8, color=MUTED, ha="center", va="center")
    canvas.legend(loc="outside lower center", ncols=2)
    return spots


def _label(axis: RadarAxis) -> str:
    column = axis.column
    span = f"{figure(axis.worst.metric, 1)} to {figure(axis.best.metric, 1)}"
    names = f"{brief(column.task.upper(), 12)} {brief(column.corpus, 14)}"
    return f"{names}\n{brief(column.metric, 16)} {column.arrow}\n{span}"


def _side(offset: float, sides: tuple[str, str, str]) -> str:
    """Choose an alignment that keeps a label outside of the rings."""
    return sides[1] if abs(offset) < 0.25 else sides[0] if offset < 0 else sides[2]  # noqa: PLR2004


def curves_plot(curves: Curves, number: int) -> Plot:
    """Draw one line a variant, in bits and as a share of the labels' entropy: Figure 2's."""
    title = f"Pretraining loss of {clean(curves.student)}, taught by {clean(curves.teacher)}"
    canvas = sheet(5.4 + 0.18 * len(curves.variants), title)
    panels: Any = canvas.subplots(2, 1, sharex=True)
    last = max(variant.curve.updates[-1] for variant in curves.variants)
    spots = []
    for axes, (field, label) in zip(panels, _PANELS, strict=True):
        for place, variant in enumerate(curves.variants):
            updates, values = variant.curve.updates, getattr(variant.curve, field)
            again, style = divmod(place, len(SERIES))
            every = max(1, len(updates) // _DOTS)
            axes.plot(updates, values, color=SERIES[style], linewidth=1.7,
                      linestyle=DASHES[(style + again) % len(DASHES)], marker=DOTS[style],
                      markersize=4.5, markevery=every,
                      label=brief(variant.title, 52))  # fmt: skip
            for at in zip(updates[::every], values[::every], strict=True):
                told = clean(variant.title), f"{at[1]:.3g} {label}", f"after {at[0]:,} updates"
                spots.append(Spot(axes, at, told, number=place))
        axes.set_ylabel(label)
        axes.grid(axis="y")
        axes.set_xlim(0, 1.02 * last or 1)
    panels[1].set_xlabel("updates (losses smoothed)")
    handles, names = panels[0].get_legend_handles_labels()
    canvas.legend(handles, names, loc="outside lower left", ncols=1)
    words = "; ".join(
        f"{clean(variant.title)}: {variant.curve.loss_bits[-1]:.3g} bits, "
        f"{variant.curve.share_of_entropy[-1]:.3g} of the entropy, "
        f"after {variant.curve.updates[-1]:,} updates"
        for variant in curves.variants
    )
    caption = " ".join([f"{title}.", *map(clean, curves.caveats)]).removesuffix(".")
    return finish(canvas, f"00-curves-{number}", caption, words, spots)
