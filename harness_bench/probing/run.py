"""One call from an upstream's name to a result: grid, picture of the layers, result file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, override

from harness_bench.core.config import build, read_toml
from harness_bench.models.layers import parse_layers
from harness_bench.probing.grid import GridConfig, run_grid
from harness_bench.probing.probe import Subject
from harness_bench.probing.report import PLOT, Kind, Row, draw_layers, publish_grid, render_grid

if TYPE_CHECKING:
    from collections.abc import Sequence

    from harness_bench.probing.grid import GridOutcome

_EVERY = 500  # steps between evaluations, unless fewer are trained


@dataclass(frozen=True)
class ProbeReport:
    """What a grid of probes found, and where it stands."""

    outcome: GridOutcome
    result: Path  # result file, for the leaderboard
    plot: Path | None  # shares of the hidden states, where they were learned

    @override
    def __str__(self) -> str:
        """Return the table of trials and what was chosen."""
        return render_grid(self.outcome)


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

    Raises:
        ValueError, RuntimeError: as `probing.probe.run_probe`.
    """
    cuts, out = Path(cuts), Path(out)
    given = None if checkpoint is None else Path(checkpoint)
    grid = grid_config(
        config, learning_rates=learning_rates, seeds=seeds, steps=steps, layers=layers
    )
    subject = Subject(
        upstream=upstream, checkpoint=given, task=task, cuts=cuts, label_field=label_field
    )
    row = Row(
        model=model or (given.name if given else upstream),
        corpus=corpus or cuts.name,
        kind=kind,
        synthetic=synthetic,
        pretraining_data=pretraining_data,
    )
    outcome = run_grid(subject, out, grid, threads=threads, jobs=jobs)
    plot = out / PLOT if outcome.layer_weights else None
    if plot is not None:
        draw_layers(outcome.layer_weights, plot, f"{row.model}: layers for {task}")
    result = publish_grid(subject, outcome, grid, row, Path(results or out / "results"))
    return ProbeReport(outcome, result, plot)


def grid_config(
    file: str | Path | None = None,
    *,
    learning_rates: Sequence[float] | None = None,
    seeds: Sequence[int] | None = None,
    steps: int | None = None,
    layers: str | int | None = None,
) -> GridConfig:
    """Build a grid from a TOML file and keywords; keywords win.

    Raises:
        ValueError: an unknown key or an impossible value; names it and where it stands.
    """
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
