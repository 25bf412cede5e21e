"""Prepare QASR and what it is tested on by the recipe's stages 1 to 10, once for all models."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.study.broadcast import run_stages

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Run the stages that all models share in the job's folder."""
    settings = place.job.settings
    if absent := settings.get("get"):
        lines = (f"There is no {name}. {way}".strip() for name, way in absent.items())
        raise ValueError(" ".join(lines))
    run_stages(place, place.folder, settings["given"], 1, 10, **settings["sources"])
    return {}
