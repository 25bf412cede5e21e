"""A picture of labels: use of clusters, length of runs, and what clusters stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from harness_bench.files import atomic_path
from harness_bench.plot_style import BLUE, INK, STYLE

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.labels.quality import Tally

GREY = "#b5bcbe"
MOST_UNITS = 40  # rows of the heat map: the most frequent units
FRAME_MS = 20


def draw_quality(tally: Tally, target: Path) -> None:
    """Write one PNG: clusters by frequency, runs by length and, with units, P(unit | cluster)."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    names, _ = tally.joint()
    style = STYLE | {"text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY}
    rows = min(len(names), MOST_UNITS)
    heights = [2.8, max(1.6, 0.17 * rows)] if rows else [2.8]
    with mpl.rc_context(style):
        figure = Figure(figsize=(9.0, sum(heights) + 0.9), layout="constrained")
        grid = figure.add_gridspec(len(heights), 2, height_ratios=heights)
        _draw_use(figure.add_subplot(grid[0, 0]), tally)
        _draw_runs(figure.add_subplot(grid[0, 1]), tally)
        if rows:
            _draw_units(figure, figure.add_subplot(grid[1, :]), tally)
        figure.suptitle(
            f"{len(tally.frames)} clusters over {int(tally.frames.sum()):,} frames of "
            f"{tally.utterances:,} utterances", x=0.01, ha="left", fontweight="bold",
        )  # fmt: skip
        with atomic_path(target) as partial:
            figure.savefig(partial, dpi=110)


def _draw_use(axis: Any, tally: Tally) -> None:
    """Draw the clusters' shares, most frequent first, beside equal use."""
    shares = np.sort(tally.frames.numpy())[::-1] / max(int(tally.frames.sum()), 1)
    used = int((shares > 0).sum())
    axis.plot(np.arange(1, used + 1), shares[:used], color=BLUE)
    axis.axhline(1 / len(shares), color=GREY, linestyle="--", zorder=0)
    axis.annotate(
        "equal use", (1, 1 / len(shares)), xytext=(2, 3), textcoords="offset points",
        color=INK, fontsize=8,
    )  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="rank of cluster", ylabel="share of frames")
    axis.set_title(f"Use: {used} of {len(shares)} clusters", loc="left", fontsize=10)


def _draw_runs(axis: Any, tally: Tally) -> None:
    """Draw how long a label lasts."""
    runs = tally.runs.numpy()
    total = max(int(runs.sum()), 1)
    longest = int(np.flatnonzero(runs)[-1]) if runs.any() else 1
    axis.bar(np.arange(1, longest + 1), runs[1 : longest + 1] / total, color=BLUE, width=0.8)
    axis.set(yscale="log", xlabel=f"frames of {FRAME_MS} ms", ylabel="share of runs")
    mean = int(tally.frames.sum()) / total
    more = f" (the last bar: {longest} and more)" if longest == len(runs) - 1 else ""
    axis.set_title(
        f"Runs of one label: {mean:.2f} frames on average{more}", loc="left", fontsize=10
    )


def _draw_units(figure: Any, axis: Any, tally: Tally) -> None:
    """Draw P(unit | cluster), clusters in the order of their likeliest unit."""
    names, joint = tally.joint()
    order = joint.sum(1).argsort(descending=True, stable=True)[:MOST_UNITS].tolist()
    chosen = joint[order][:, joint.sum(0) > 0].double()
    given = (chosen / joint.sum(0)[joint.sum(0) > 0]).numpy()
    likeliest = given.argmax(0)
    by_unit = np.lexsort((-given.max(0), likeliest))
    image = axis.imshow(
        given[:, by_unit], aspect="auto", cmap="viridis", vmin=0, interpolation="nearest"
    )
    axis.set_yticks(range(len(order)), [names[index] for index in order], fontsize=8)
    axis.set_xlabel("cluster, in the order of its likeliest unit")
    left_out = len(names) - len(order)
    rest = f"; {left_out} rarer units are not shown" if left_out else ""
    note = "" if tally.reader is None else tally.reader.note
    axis.set_title(f"P(unit | cluster){rest}\n{note}", loc="left", fontsize=9)
    figure.colorbar(image, ax=axis, shrink=0.8, aspect=30, pad=0.01)
