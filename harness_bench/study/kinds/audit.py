"""Hold what models, heads and recipes are trained on against each split that is scored."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

from harness_bench.cuts.fields import field_of
from harness_bench.cuts.shar import CUTS, is_sharded, open_shards
from harness_bench.cuts.store import cuts_path, read_rows
from harness_bench.scoring.publish import leakage
from harness_bench.study.outcomes import scored_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from harness_bench.cuts.fields import Row
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Return what each scored split shares with the training sets, as results have it."""
    settings, found = place.job.settings, {}
    for scored in settings["scored"]:
        cuts = _rows(place.out / scored["cuts"], scored["split"])
        if scored["part"] is not None:
            field, value = scored["part"]
            cuts = (cut for cut in cuts if field_of(cut, field) == value)
        training = (
            (name, _rows(place.out / folder, split)) for name, folder, split in settings["training"]
        )
        shared = leakage(training, cuts, scored["split"])
        found[scored_key(scored)] = shared.model_dump(mode="json")
    return found


def _rows(folder: Path, split: str) -> Iterator[Row]:
    """Read a split of prepared cuts, or all shards of a folder, one by one."""
    if not is_sharded(folder):
        return read_rows(cuts_path(folder, split))
    return chain.from_iterable(read_rows(shard.field(CUTS)) for shard in open_shards(folder))
