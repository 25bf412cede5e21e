"""Train one head of a grid: a learning rate, or a further seed of the rate that dev chose."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build
from harness_bench.core.log import say
from harness_bench.probing.grid import GridConfig, run_trial
from harness_bench.probing.probe import HeadDiverged
from harness_bench.study.outcomes import subject_of

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Return the rate, and the score on dev; None where the training diverged."""
    settings = place.job.settings
    grid = build(GridConfig, settings["grid"], source=place.job.name)
    rate = settings["rate"]
    if rate is None:  # the first of those that are best on dev, as the grid chooses
        tried = [place.found[name] for name in settings["tried"]]
        ended = [each for each in tried if each["dev"] is not None]
        if not ended:
            raise ValueError("All learning rates diverged: there is none to train other seeds of.")
        rate = max(ended, key=lambda each: each["dev"])["rate"]
    try:
        dev = run_trial(
            subject_of(place), place.folder, grid, rate, settings["seed"],
            threads=place.job.needs.cpus,
        )[grid.metric]  # fmt: skip
    except HeadDiverged as error:  # the grid leaves its rate out
        say(str(error))
        dev = None
    return {"rate": rate, "dev": dev}
