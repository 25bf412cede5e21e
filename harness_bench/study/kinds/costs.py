"""Measure what a checkpoint costs to run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.workdir import OldNote, WorkDir, hardware, versions
from harness_bench.models.frozen import checkpoint_digest
from harness_bench.results.efficiency import efficiency
from harness_bench.results.record import Costs
from harness_bench.study.job import slug_of
from harness_bench.study.outcomes import checkpoint_of

if TYPE_CHECKING:
    from pathlib import Path

    from harness_bench.study.job import Place

COSTS = "costs"  # folder of a study


def run(place: Place) -> dict[str, Any]:
    """Return the costs as results have them."""
    settings = place.job.settings
    checkpoint = checkpoint_of(place, settings["made_by"])
    assert checkpoint is not None
    return measure(
        checkpoint, place.out / COSTS / f"{slug_of(settings['model'])}.json"
    ).model_dump()


def measure(checkpoint: Path, kept: Path) -> Costs:
    """Measure a checkpoint, or return what `kept` has of the same one on the same machine."""
    digest = checkpoint_digest(checkpoint)
    inputs = {"checkpoint": digest, "hardware": hardware(), "versions": versions()}
    old = OldNote(kept.name, "decided_by", outcome="costs")
    work = WorkDir(kept.parent, inputs, older=(old,), note=kept.name)
    if not work.finished:
        work.finish(efficiency(checkpoint).costs.model_dump())
    return Costs.model_validate(work.outcome)
