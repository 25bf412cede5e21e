"""Figure 2 of the paper, of students that the study has trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.core.files import write_json
from harness_bench.pretrain.config import load_family
from harness_bench.pretrain.figure2 import compare_trained, draw_figure
from harness_bench.study.job import FILES
from harness_bench.study.task_base import CURVES, RESULTS

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Draw the loss curves, and leave them beside the results, where the board finds them.

    Settings: `variants`, iterations that differ in PCA and start alone. Paths: `family`, its TOML.
    """
    settings = place.job.settings
    found = compare_trained(load_family(Path(place.job.paths["family"])), settings["variants"])
    report = draw_figure(found, place.out / "pretrain", place.folder)
    shown = place.out / RESULTS / CURVES / f"{place.job.slug}.json"
    write_json(shown, report)
    return {
        "share_of_entropy": report["common_share_of_entropy"],
        FILES: [str(shown.relative_to(place.folder, walk_up=True))],
    }
