"""Models that a training leaves: checkpoint folders that everything downstream opens."""

from __future__ import annotations

import math
import shutil
from typing import TYPE_CHECKING, Any

from harness_bench.core.config import resolved
from harness_bench.core.log import say
from harness_bench.models.checkpoint import read_facts, save_checkpoint
from harness_bench.models.readme import write_readme
from harness_bench.pretrain.state import EXPORTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from harness_bench.pretrain.config import PretrainConfig
    from harness_bench.pretrain.state import Run

BEST = "best"  # in EXPORTS: a link to the best export, best-UPDATE


def export(run: Run, folder: Path, **more: Any) -> None:
    """Write the model as it is; `more` goes into harness.json."""
    facts = {
        "key": run.key,
        "name": run.step.name,
        "update": run.progress.update,
        "hours": run.hours,
        "config": resolved(run.step),
        **more,
    }
    save_checkpoint(folder, run.objective.hubert, head=run.objective.head_tensors(), facts=facts)
    write_readme(folder, run.step.name)


def keep_best(run: Run, row: Mapping[str, float]) -> None:
    """Export the model if a validation finds it better than the best so far, and drop that one.

    The figure to beat stands in the best export itself: a model that is gone is beaten by any.
    """
    config, link = run.config, run.out / EXPORTS / BEST
    metric = config.best_checkpoint_metric
    if metric is None or not _is_better(row, read_facts(link).get("validation", {}), config):
        return
    folder = link.with_name(f"{BEST}-{run.progress.update:08d}")
    export(run, folder, validation=dict(row))
    partial = link.with_name(f".partial-{BEST}")
    partial.unlink(missing_ok=True)
    partial.symlink_to(folder.name)
    if link.is_dir() and not link.is_symlink():  # copied as a folder, with what it led to
        shutil.rmtree(link)
    partial.replace(link)
    for old in link.parent.glob(f"{BEST}-*"):
        if old != folder:
            shutil.rmtree(old)
    say(f"Update {run.progress.update}: best {metric} so far, {row[metric]:.4g}")


def _is_better(
    row: Mapping[str, float], before: Mapping[str, float], config: PretrainConfig
) -> bool:
    metric, largest = config.best_checkpoint_metric or "", config.maximize_best_checkpoint_metric
    value = row.get(metric, math.nan)
    if not math.isfinite(value):
        return False
    if metric not in before or before["hours"] != row["hours"]:  # of another dev set
        return True
    if largest is None:
        largest = not metric.startswith("loss")
    return value > before[metric] if largest else value < before[metric]
