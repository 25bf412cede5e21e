"""Learning curves of the heads of a grid: accuracy on dev and loss in training against steps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import atomic_path, read_json, read_jsonl
from harness_bench.core.plotting import INK, PALETTE, STYLE
from harness_bench.probing.grid import GRID
from harness_bench.probing.head.config import METRICS
from harness_bench.probing.probe import RUN

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

PANELS = {("dev", "accuracy"): "accuracy on dev (%)", ("train", "loss"): "loss in training"}


@dataclass(frozen=True)
class HeadCurve:
    """What one head logged."""

    learning_rate: float
    seed: int
    best_step: int
    # (split, figure) -> steps and values at them
    points: dict[tuple[str, str], tuple[list[int], list[float]]]


def is_grid(folder: Path) -> bool:
    """Whether a folder holds a finished grid of heads."""
    return (folder / GRID).is_file()


def read_heads(grid: Path) -> list[HeadCurve]:
    """Read the curves of a finished grid."""
    heads = []
    for trial in read_json(grid / GRID)["trials"]:
        # By its name: the grid may have been moved.
        folder = grid / str(trial["folder"]).rpartition("/")[2]
        rows = [row for row in read_jsonl(folder / RUN / METRICS) if row["step"]]
        points = {
            (split, figure): (
                [int(row["step"]) for row in rows if row["split"] == split],
                [float(row[figure]) for row in rows if row["split"] == split],
            )
            for split, figure in PANELS
        }
        heads.append(HeadCurve(trial["learning_rate"], trial["seed"], trial["best_step"], points))
    return heads


def draw_heads(grids: Sequence[Path], target: Path, title: str) -> None:
    """Draw a row of panels for each grid: a colour for each learning rate, a line for each head.

    The first seed's line is solid, those of the others are thin; a ring marks the step that dev
    chose. The suffix of `target` chooses the format.
    """
    from matplotlib import rc_context  # noqa: PLC0415 - slow to import
    from matplotlib.figure import Figure  # noqa: PLC0415

    found = [(grid.name, read_heads(grid)) for grid in grids]
    with rc_context(STYLE | {"axes.grid": True, "text.color": INK}):
        canvas = Figure(figsize=(10.4, 3.8 * len(found)), layout="constrained")
        canvas.suptitle(title, fontsize=10, fontweight="bold", parse_math=False)
        rows: Any = canvas.subplots(len(found), len(PANELS), squeeze=False)
        for row, (name, heads) in zip(rows, found, strict=True):
            for axes, (what, label) in zip(row, PANELS.items(), strict=True):
                _panel(axes, heads, what)
                axes.set(xlabel="step", ylabel=label)
            if len(found) > 1:
                row[0].set_title(name, loc="left", fontsize=9, parse_math=False)
            row[0].legend(frameon=False, fontsize=8, title="learning rate", title_fontsize=8)
        with atomic_path(target) as partial:
            canvas.savefig(partial, dpi=110, format=target.suffix[1:])


def _panel(axes: Any, heads: Sequence[HeadCurve], what: tuple[str, str]) -> None:
    rates = list(dict.fromkeys(head.learning_rate for head in heads))
    first = heads[0].seed
    for head in heads:
        steps, values = head.points[what]
        colour = PALETTE[rates.index(head.learning_rate) % len(PALETTE)]
        alone = head.seed == first
        axes.plot(
            steps, values, color=colour, marker=".", linewidth=1.8 if alone else 0.8,
            alpha=1 if alone else 0.6, label=f"{head.learning_rate:g}" if alone else None,
        )  # fmt: skip
        if head.best_step in steps and what[0] == "dev":
            at = head.best_step, values[steps.index(head.best_step)]
            axes.plot(*at, marker="o", markersize=8, fillstyle="none", color=colour)
