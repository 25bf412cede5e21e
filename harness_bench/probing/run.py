"""One call from an upstream's name to a result: grid, picture of the layers, result file."""

import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, override

from harness_bench.audio.batching import total_hours
from harness_bench.core.config import build, read_toml
from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import BLUE, INK, STYLE
from harness_bench.core.tables import columns
from harness_bench.cuts.store import read_cuts
from harness_bench.models.layers import parse_layers
from harness_bench.probing.grid import GridConfig, GridOutcome, run_grid
from harness_bench.probing.probe import Subject
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import Result
from harness_bench.scoring.publish import class_result, leakage, publish, upstream_fields

PLOT = "layer_weights.png"
_EVERY = 500  # steps between evaluations, unless fewer are trained
type Kind = Literal["baseline", "random", "pretrained", "other"]


@dataclass(frozen=True)
class ProbeReport:
    """What a grid of probes found, and where it stands."""

    outcome: GridOutcome
    result: Path  # result file, for the leaderboard
    plot: Path | None  # shares of the hidden states, where they were learned

    @override
    def __str__(self) -> str:
        """Return the trials as a table, and what was chosen."""
        outcome, names = self.outcome, list(self.outcome.test_mean)
        lines = [
            ("learning rate", "seed", *(f"{s} {name}" for s in ("dev", "test") for name in names))
        ]
        for trial in outcome.trials:
            dev = (f"{trial.dev[name]:.2f}" for name in names)
            test = (f"{trial.test[name]:.2f}" if trial.test else "-" for name in names)
            lines.append((f"{trial.learning_rate:g}", str(trial.seed), *dev, *test))
        spread = {name: f" ± {value:.2f}" for name, value in outcome.test_deviation.items()}
        chosen = (f"{name} {outcome.test_mean[name]:.2f}{spread.get(name, '')}" for name in names)
        seeds = len(outcome.test_predictions)
        over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
        summary = f"learning rate {outcome.learning_rate:g}, test ({over}, %): {', '.join(chosen)}"
        return "\n".join([*columns(lines), "", summary])


def probe(  # noqa: PLR0913 - public: one keyword per setting
    upstream: str,
    task: str,
    cuts: str | Path,
    out: str | Path,
    *,
    checkpoint: str | Path | None = None,
    config: str | Path | None = None,
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    layers: str | int | None = None,
    label_field: str | None = None,
    results: str | Path | None = None,
    model: str | None = None,
    corpus: str | None = None,
    kind: Kind = "pretrained",
    synthetic: bool = False,
    pretraining_data: str = "",
    threads: int = 1,
    jobs: int = 1,
) -> ProbeReport:
    """Train heads on a frozen upstream over learning rates and seeds; test the best on dev.

    Errors as in `probing.probe.run_probe`.

    Args:
        upstream: any name that `-u` takes, such as harness_local or fbank_cached.
        task: a folder of `downstream/`, such as ser or did.
        cuts: prepared folder with train, dev and test.
        out: folder of the trials; a grid that was killed resumes there.
        checkpoint: the upstream's, where it takes one.
        config: TOML of the grid with a table [probe]; keywords win over it.
        learning_rates: to try; default 1e-3.
        seeds: of the heads; default 1337 alone.
        steps: training steps; default 10000.
        layers: weighted (learned sum, the default), mean, or the number of a hidden state.
        label_field: default: the task's own.
        results: folder of result files; default OUT/results.
        model: row of the leaderboard; default: from the checkpoint or the upstream.
        corpus: default: the name of the cuts' folder.
        kind: what the row is.
        synthetic: mark the corpus as computer-made.
        pretraining_data: declaration, in words.
        threads: CPU threads of a trial.
        jobs: trials at a time.
    """
    cuts, out = Path(cuts), Path(out)
    given = None if checkpoint is None else Path(checkpoint)
    grid = grid_config(
        config, learning_rates=learning_rates, seeds=seeds, steps=steps, layers=layers
    )
    subject = Subject(
        upstream=upstream, checkpoint=given, task=task, cuts=cuts, label_field=label_field
    )
    row = {
        "model": model or (given.name if given else upstream),
        "model_kind": kind,
        "corpus": corpus or cuts.name,
        "synthetic": synthetic,
        "pretraining_data": pretraining_data,
    }
    outcome = run_grid(subject, out, grid, threads=threads, jobs=jobs)
    plot = out / PLOT if outcome.layer_weights else None
    if plot is not None:
        draw_layers(outcome.layer_weights, plot, f"{row['model']}: layers for {task}")
    result = publish_grid(subject, outcome, grid, row, Path(results or out / "results"))
    return ProbeReport(outcome, result, plot)


def publish_grid(
    subject: Subject,
    outcome: GridOutcome,
    config: GridConfig,
    row: Mapping[str, Any],
    folder: Path,
) -> Path:
    """Write the test result of a grid into a folder of results, predictions of all seeds beside it.

    The figures are means over the seeds; their spread stands in `Metric.spread`. `row` holds the
    fields of `Result` that say how the leaderboard names what was probed.
    """
    heads = [read_predictions(path, ClassPrediction) for path in outcome.test_predictions]
    others = [{each.id: each.pred for each in head} for head in heads[1:]]
    rows = [
        each.model_copy(update={"others": tuple(found[each.id] for found in others)})
        for each in heads[0]
    ]
    train, test = (read_cuts(subject.cuts, split) for split in ("train", "test"))
    weights = subject.checkpoint if subject.checkpoint and subject.checkpoint.is_dir() else None
    template = partial(
        Result,
        task=subject.task,
        split="test",
        layer_weights=outcome.layer_weights,
        hours=round(total_hours(test), 4),
        seed=config.seeds[0],
        seeds=config.seeds,
        learning_rates={
            f"{trial.learning_rate:g}": trial.dev[config.metric]
            for trial in outcome.trials
            if trial.seed == config.seeds[0]
        },
        leakage=leakage([(f"{row['corpus']} train", train)], test, f"{row['corpus']} test"),
        command=shlex.join(["harness-bench", *sys.argv[1:]]),
        seconds=sum(trial.seconds for trial in outcome.trials),
        **row,
        **({} if weights is None else upstream_fields(weights)),
    )
    return publish(class_result(rows, template, main_metric=config.metric), rows, folder)


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


def grid_config(
    file: str | Path | None = None,
    *,
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    layers: str | int | None = None,
) -> GridConfig:
    """Build a grid from a TOML file and keywords, which win; a wrong value is a ValueError."""
    values: dict[str, Any] = {} if file is None else read_toml(Path(file))
    settings = values.setdefault("probe", {})
    if isinstance(settings, dict):  # `build` refuses anything else
        # One learning rate or seed may stand among the other settings, as in a demo's file.
        for many, one in (("learning_rates", "learning_rate"), ("seeds", "seed")):
            if one in settings:
                values.setdefault(many, [settings[one]])
        if steps is not None:
            every = min(settings.get("eval_step", _EVERY), steps)
            settings |= {"total_steps": steps, "eval_step": every}
        if layers is not None:
            settings["layers"] = parse_layers(str(layers))
    values |= {} if learning_rates is None else {"learning_rates": [*learning_rates]}
    values |= {} if seeds is None else {"seeds": [*seeds]}
    return build(GridConfig, values, source="probe" if file is None else str(file))
