"""A finished grid as a result for the leaderboard, a plot of the layers and a table."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Literal

from harness_bench.audio.batching import total_hours
from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import BLUE, INK, STYLE
from harness_bench.core.tables import columns
from harness_bench.cuts.store import read_cuts
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import Result
from harness_bench.scoring.publish import class_result, leakage, publish, upstream_fields

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from harness_bench.probing.grid import GridConfig, GridOutcome
    from harness_bench.probing.probe import Subject

PLOT = "layer_weights.png"
type Kind = Literal["baseline", "random", "pretrained", "other"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """How the leaderboard names what was probed."""

    model: str
    corpus: str
    kind: Kind = "pretrained"
    synthetic: bool = False
    pretraining_data: str = ""


def publish_grid(
    subject: Subject, outcome: GridOutcome, config: GridConfig, row: Row, folder: Path
) -> Path:
    """Write the test result of a grid into a folder of results, predictions of all seeds beside it.

    The figures are means over the seeds; their spread stands in `Metric.spread`.
    """
    rows = _with_others(
        [read_predictions(path, ClassPrediction) for path in outcome.test_predictions]
    )
    train, test = (read_cuts(subject.cuts, split) for split in ("train", "test"))
    weights = subject.checkpoint if subject.checkpoint and subject.checkpoint.is_dir() else None
    template = partial(
        Result,
        model=row.model,
        model_kind=row.kind,
        task=subject.task,
        corpus=row.corpus,
        split="test",
        synthetic=row.synthetic,
        layer_weights=outcome.layer_weights,
        hours=round(total_hours(test), 4),
        seed=config.seeds[0],
        seeds=config.seeds,
        learning_rates={
            f"{rate:g}": dev[config.metric] for rate, dev in outcome.dev_by_rate.items()
        },
        pretraining_data=row.pretraining_data,
        leakage=leakage([(f"{row.corpus} train", train)], test, f"{row.corpus} test"),
        command=shlex.join(["harness-bench", *sys.argv[1:]]),
        seconds=sum(trial.seconds for trial in outcome.trials),
        **({} if weights is None else upstream_fields(weights)),
    )
    return publish(class_result(rows, template, main_metric=config.metric), rows, folder)


def _with_others(heads: Sequence[Sequence[ClassPrediction]]) -> list[ClassPrediction]:
    """Put the answers of all heads into the rows of the first."""
    first, *others = heads
    answers = [{row.id: row.pred for row in rows} for rows in others]
    return [
        row.model_copy(update={"others": tuple(found[row.id] for found in answers)})
        for row in first
    ]


def render_grid(outcome: GridOutcome) -> str:
    """Return the trials as a table, and what was chosen."""
    names = list(outcome.test_mean)
    splits = [f"{split} {name}" for split in ("dev", "test") for name in names]
    lines = [("learning rate", "seed", *splits)]
    for trial in outcome.trials:
        dev = (f"{trial.dev[name]:.2f}" for name in names)
        test = (f"{trial.test[name]:.2f}" if trial.test else "-" for name in names)
        lines.append((f"{trial.learning_rate:g}", str(trial.seed), *dev, *test))
    chosen = [
        f"{name} {outcome.test_mean[name]:.2f}"
        + (f" ± {outcome.test_deviation[name]:.2f}" if outcome.test_deviation else "")
        for name in names
    ]
    seeds = len(outcome.test_predictions)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    summary = f"learning rate {outcome.learning_rate:g}, test ({over}, %): {', '.join(chosen)}"
    return "\n".join([*columns(lines), "", summary])


def draw_layers(weights: Sequence[float], target: Path, title: str) -> None:
    """Write a PNG of the weighted sum's shares, one bar a hidden state, input first."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE | {"text.color": INK}):
        figure = Figure(figsize=(max(4.0, 0.32 * len(weights) + 1.2), 2.8), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(weights)), weights, color=BLUE)
        axes.axhline(1 / len(weights), color=INK, linestyle="--", linewidth=1)
        axes.annotate("equal shares", (len(weights) - 0.5, 1 / len(weights)), xytext=(0, 3),
                      textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
        axes.set(xlabel="hidden state (0: input of the first block)", ylabel="share of the sum")
        axes.set_xticks(range(0, len(weights), 1 + len(weights) // 26))
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", parse_math=False)
        with atomic_path(target) as partial:
            figure.savefig(partial, dpi=110, format="png")
