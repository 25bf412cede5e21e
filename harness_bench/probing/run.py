"""One call from an upstream's name to a result: grid, picture of the layers, result file."""

import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, override

from threadpoolctl import threadpool_limits

from harness_bench.audio.batching import total_hours
from harness_bench.core.files import atomic_path
from harness_bench.core.plotting import BLUE, INK, STYLE
from harness_bench.core.tables import columns
from harness_bench.cuts.store import read_cuts
from harness_bench.models.hub import model_name
from harness_bench.probing.curves import draw_heads
from harness_bench.probing.grid import GridConfig, GridOutcome, grid_config, run_grid
from harness_bench.probing.head.config import LinearConfig, UnknownLabels
from harness_bench.probing.linear import LinearOutcome, run_linear
from harness_bench.probing.probe import Subject
from harness_bench.probing.s3prl import hub
from harness_bench.results.predictions import ClassPrediction, read_predictions
from harness_bench.results.record import Metric, Result, load_result
from harness_bench.scoring.publish import Template, class_result, leakage, publish, upstream_fields

PLOT, CURVES = "layer_weights.png", "learning_curves.png"
type Head = Literal["cnn", "linear", "knn"]
type Kind = Literal["baseline", "random", "pretrained", "other"]


@dataclass(frozen=True)
class ProbeReport:
    """What a grid of heads or a linear probe found, and where it stands."""

    outcome: GridOutcome | LinearOutcome
    result: Path  # result file, for the leaderboard
    plot: Path | None  # shares of the hidden states, or what dev says of each
    curves: Path | None = None  # how the heads of a grid learned

    @property
    def checkpoint(self) -> Path | None:
        """The head that `predict` takes; None of a linear probe."""
        return None if isinstance(self.outcome, LinearOutcome) else self.outcome.checkpoint

    @override
    def __str__(self) -> str:
        """Return what was tried as a table, and what was chosen."""
        if isinstance(self.outcome, LinearOutcome):
            return _linear_table(self.outcome, load_result(self.result).metrics)
        return _grid_table(self.outcome)


def _grid_table(outcome: GridOutcome) -> str:
    names = list(outcome.test_mean)
    lines = [("learning rate", "seed", *(f"{name} dev / test" for name in names))]
    for trial in outcome.trials:
        test = {name: f"{value:5.2f}" for name, value in (trial.test or {}).items()}
        figures = (f"{trial.dev[name]:.2f} / {test.get(name, '    -')}" for name in names)
        lines.append((f"{trial.learning_rate:g}", str(trial.seed), *figures))
    spread = {name: f" ± {value:.2f}" for name, value in outcome.test_deviation.items()}
    chosen = (f"{name} {outcome.test_mean[name]:.2f}{spread.get(name, '')}" for name in names)
    seeds = len(outcome.test_predictions)
    over = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    summary = f"learning rate {outcome.learning_rate:g}, test ({over}, %): {', '.join(chosen)}"
    return "\n".join([*columns(lines), "", summary, *outcome.advice])


def _linear_table(outcome: LinearOutcome, metrics: Mapping[str, Metric]) -> str:
    lines = [(str(layer), f"{share:.2f}") for layer, share in outcome.dev.items()]
    figures = (
        f"{name} {each.value:.2f} {each.interval.text(2) if each.interval else ''}".rstrip()
        for name, each in metrics.items()
    )
    chosen = f"hidden state {outcome.layer}, {outcome.name} = {outcome.setting:g}"
    summary = f"{chosen}, test (95 % interval, %): {', '.join(figures)}"
    missing = [n for n, each in metrics.items() if each.interval and not each.interval.is_known]
    why = f"No interval for {', '.join(missing)}: test has one cluster, or all score the same."
    ends = [summary, why] if missing else [summary]
    return "\n".join([*columns([("hidden state", "dev accuracy"), *lines]), "", *ends])


def probe(  # noqa: PLR0913 - public: one keyword per setting
    upstream: str,
    task: str,
    cuts: str | Path,
    out: str | Path,
    *,
    head: Head = "cnn",
    checkpoint: str | Path | None = None,
    config: str | Path | None = None,
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    layers: str | int | None = None,
    label_field: str | None = None,
    unknown_labels: UnknownLabels = "error",
    results: str | Path | None = None,
    model: str | None = None,
    corpus: str | None = None,
    kind: Kind = "pretrained",
    synthetic: bool = False,
    pretraining_data: str = "",
    threads: int = 1,
    jobs: int = 1,
) -> ProbeReport:
    """Train heads on a frozen upstream over learning rates and seeds; test the best one on dev.

    Errors are those of `probing.probe.run_probe`. Settings of the CNN head are rejected for other
    heads.

    Args:
        upstream: name as for s3prl's `-u`, such as harness_local or fbank_cached.
        task: a folder of `downstream/`, such as ser or did.
        cuts: prepared folder with train, dev and test.
        out: folder of the trials; an interrupted grid resumes there.
        head: "cnn", the task's own, as in the paper; "linear" or "knn", classifiers of
            scikit-learn on pooled hidden states, fitted in seconds.
        checkpoint: checkpoint of the upstream, if it needs one: a path, or a name of `hub.locate`.
        config: TOML of the grid with a table [probe] or [linear]; keywords override it.
        learning_rates: learning rates to try; default 1e-3.
        seeds: seeds of the heads; default only 1337.
        steps: training steps of each head; default 10000.
        layers: weighted (learned sum, the default), mean, or the number of a hidden state.
        label_field: field of the cuts with the label; default: that of the task.
        unknown_labels: "skip" skips utterances of dev and test whose label is not in train.
        results: folder for the result file; default OUT/results.
        model: name of the leaderboard row; default: from the checkpoint or the upstream.
        corpus: name of the corpus; default: the name of the folder of cuts.
        kind: kind of model, shown on the leaderboard.
        synthetic: mark the corpus as synthetic speech.
        pretraining_data: free text: what the model was pretrained on.
        threads: CPU threads of each trial.
        jobs: trials to run in parallel.
    """
    cuts, out = Path(cuts), Path(out)
    given = None if checkpoint is None else hub.checkpoint_of(upstream, checkpoint)
    grid: dict[str, Any] = {
        "learning_rates": learning_rates, "seeds": seeds, "steps": steps, "layers": layers
    }  # fmt: skip
    subject = Subject(
        upstream=upstream,
        checkpoint=given,
        task=task,
        cuts=cuts,
        label_field=label_field,
        unknown_labels=unknown_labels,
    )
    row = {
        "model": model or (model_name(given) if given else upstream),
        "model_kind": kind,
        "corpus": corpus or cuts.name,
        "synthetic": synthetic,
        "pretraining_data": pretraining_data,
    }
    title, folder = f"{row['model']}: layers for {task}", Path(results or out / "results")
    if head != "cnn":
        if given_too := [name for name, value in grid.items() if value is not None]:
            raise ValueError(
                f"head = {head!r} has no {', '.join(given_too)}: those are settings of the CNN "
                'head. Leave them out, or take head = "cnn".'
            )
        linear = replace(grid_config(config).linear, classifier=head)
        return _linear(subject, out, linear, row, title, folder, threads)
    settings = grid_config(config, **grid)
    outcome = run_grid(subject, out, settings, threads=threads, jobs=jobs)
    plot = out / PLOT if outcome.layer_weights else None
    if plot is not None:
        draw_layers(outcome.layer_weights, plot, title)
    draw_heads([out], curves := out / CURVES, f"{row['model']}: heads for {task}")
    result = publish_grid(subject, outcome, settings, row, folder)
    return ProbeReport(outcome, result, plot, curves)


def _linear(
    subject: Subject, out: Path, config: LinearConfig, row: Mapping[str, Any], title: str,
    folder: Path, threads: int,
) -> ProbeReport:  # fmt: skip
    with threadpool_limits(threads):
        outcome = run_linear(subject, out, config)
    plot = out / PLOT if len(outcome.dev) > 1 else None
    if plot is not None:
        draw_layers([*outcome.dev.values()], plot, title, "accuracy on dev (%)", line=None)
    return ProbeReport(outcome, publish_linear(subject, outcome, config, row, folder), plot)


def publish_linear(
    subject: Subject,
    outcome: LinearOutcome,
    config: LinearConfig,
    row: Mapping[str, Any],
    folder: Path,
    *,
    ids: Collection[str] | None = None,
) -> Path:
    """Write the test result of a linear probe into a folder; `row` and `ids` as of a grid."""
    rows = _read(outcome.test_predictions, ids)
    template = partial(
        _template(subject, row, rows), head=config.classifier, seconds=outcome.seconds
    )
    return publish(class_result(rows, template), rows, folder)


def publish_grid(
    subject: Subject,
    outcome: GridOutcome,
    config: GridConfig,
    row: Mapping[str, Any],
    folder: Path,
    *,
    ids: Collection[str] | None = None,
) -> Path:
    """Write the test result of a grid into a folder of results, predictions of all seeds beside it.

    The figures are means over the seeds; their spread stands in `Metric.spread`. `row` holds the
    fields of `Result` that say how the leaderboard names what was probed, and may tell `leakage`
    where more was heard than the task's train split. `ids` are those of a part of the test split.
    """
    heads = [_read(path, ids) for path in outcome.test_predictions]
    others = [{each.id: each.pred for each in head} for head in heads[1:]]
    rows = [
        each.model_copy(update={"others": tuple(found[each.id] for found in others)})
        for each in heads[0]
    ]
    template = partial(
        _template(subject, row, rows),
        layer_weights=outcome.layer_weights,
        seed=config.seeds[0],
        seeds=config.seeds,
        learning_rates={
            f"{trial.learning_rate:g}": trial.dev[config.metric]
            for trial in outcome.trials
            if trial.seed == config.seeds[0]
        },
        seconds=sum(trial.seconds for trial in outcome.trials),
    )
    return publish(class_result(rows, template, main_metric=config.metric), rows, folder)


def _read(path: Path, ids: Collection[str] | None) -> list[ClassPrediction]:
    rows = read_predictions(path, ClassPrediction)
    return [row for row in rows if ids is None or row.id in ids]


def _template(
    subject: Subject, row: Mapping[str, Any], scored: Sequence[ClassPrediction]
) -> Template:
    """Say of a result what neither its predictions nor its head tell."""
    ids = {each.id for each in scored}  # what could not be heard is no part of it
    test = [cut for cut in read_cuts(subject.cuts, "test") if cut.id in ids]
    weights = hub.checkpoint_of(subject.upstream, subject.checkpoint)
    known: dict[str, Any] = {"command": shlex.join(["harness-bench", *sys.argv[1:]]), **row}
    if "leakage" not in known:
        sets = [(f"{row['corpus']} train", read_cuts(subject.cuts, "train"))]
        known["leakage"] = leakage(sets, test, f"{row['corpus']} test")
    # Of what s3prl alone opens nothing is known.
    if weights is not None and (weights.is_dir() or subject.upstream in hub.own_names()):
        known |= upstream_fields(weights)
    hours = round(total_hours(test), 4)
    return partial(Result, task=subject.task, split="test", hours=hours, **known)


def draw_layers(
    heights: Sequence[float], target: Path, title: str, label: str = "share of the sum",
    *, line: str | None = "equal shares",
) -> None:  # fmt: skip
    """Write a PNG of one bar a hidden state, input first; `line` names the one at equal shares."""
    import matplotlib as mpl  # noqa: PLC0415 - half a second
    from matplotlib.figure import Figure  # noqa: PLC0415

    with mpl.rc_context(STYLE | {"text.color": INK}):
        figure = Figure(figsize=(max(4.0, 0.32 * len(heights) + 1.2), 2.8), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(len(heights)), heights, color=BLUE)
        if line is not None:
            axes.axhline(1 / len(heights), color=INK, linestyle="--", linewidth=1)
            axes.annotate(line, (len(heights) - 0.5, 1 / len(heights)), xytext=(0, 3),
                          textcoords="offset points", ha="right", fontsize=8)  # fmt: skip
        axes.set(xlabel="hidden state (0: input of the first block)", ylabel=label)
        axes.set_xticks(range(0, len(heights), 1 + len(heights) // 26))
        axes.set_title(title, loc="left", fontsize=10, fontweight="bold", parse_math=False)
        with atomic_path(target) as partial:
            figure.savefig(partial, dpi=110, format="png")
