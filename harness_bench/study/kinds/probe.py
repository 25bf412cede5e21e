"""Train heads on a frozen upstream: the grid of rates and seeds, or a linear probe."""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Any

from threadpoolctl import threadpool_limits

from harness_bench.core.config import build, resolved
from harness_bench.core.log import say
from harness_bench.probing.grid import GridConfig, run_grid
from harness_bench.probing.head.config import LinearConfig
from harness_bench.probing.linear import run_linear
from harness_bench.study.outcomes import subject_of

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Train and test heads, or return what equal runs left; finished trials are kept."""
    settings, threads = place.job.settings, place.job.needs.cpus
    subject = subject_of(place)
    if settings["head"] == "cnn":
        grid = build(GridConfig, settings["grid"], source=place.job.name)
        outcome = run_grid(subject, place.folder, grid, threads=threads, tell=place.progress)
        for line in outcome.advice:
            say(line)
        chosen = [trial for trial in outcome.trials if trial.learning_rate == outcome.learning_rate]
        dev = fmean(trial.dev["accuracy"] for trial in chosen)
        return {"dev": dev, "outcome": resolved(outcome)}
    config = build(LinearConfig, settings["linear"], source=place.job.name)
    with threadpool_limits(threads):
        found = run_linear(subject, place.folder, config)
    return {"dev": max(found.dev.values()), "outcome": resolved(found)}
