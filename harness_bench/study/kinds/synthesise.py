"""Make one task of the demo's synthetic speech."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.config import build
from harness_bench.demo.plan import DemoCorpusConfig
from harness_bench.demo.synth import make_demo_task

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Write audio and a manifest into the job's folder; one that is whole is kept."""
    settings = place.job.settings
    config = build(DemoCorpusConfig, settings["sizes"], source="[synthesis]")
    return {"made": make_demo_task(place.folder, settings["task"], config)}
