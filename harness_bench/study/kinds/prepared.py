"""Look whether a corpus that was prepared before is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness_bench.audio.batching import total_hours
from harness_bench.cuts.store import read_cuts, splits
from harness_bench.study.outcomes import refuse_absent

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Open the folder; tell what is in it."""
    refuse_absent(place)
    folder = Path(place.job.settings["cuts"])
    return {"hours": {name: total_hours(read_cuts(folder, name)) for name in splits(folder)}}
