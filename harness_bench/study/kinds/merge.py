"""Write one split of several prepared corpora as one, for pretraining."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from harness_bench.audio.batching import total_hours
from harness_bench.core.own_files import replacing
from harness_bench.cuts.store import cuts_path, read_cuts, read_lines, write_lines

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Merge into the job's folder; tell how much it is."""
    split = place.job.settings["split"]
    files = [cuts_path(place.out / folder, split) for folder in place.job.settings["cuts"]]
    merged = cuts_path(place.folder, split)
    with replacing(place.folder, [merged], [merged.name]):
        write_lines(place.folder, split, chain.from_iterable(map(read_lines, files)))
    return {"hours": {split: total_hours(read_cuts(place.folder, split))}}
