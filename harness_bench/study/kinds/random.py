"""Export a model that has learned nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build
from harness_bench.models.checkpoint import save_random
from harness_bench.models.config import HubertConfig

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Write the checkpoint into the job's folder."""
    settings = place.job.settings
    shape = build(HubertConfig, settings["shape"], source=place.job.name)
    save_random(place.folder, shape, seed=settings["seed"])
    return {"checkpoint": place.job.folder}
