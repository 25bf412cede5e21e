"""Hold what models, heads and recipes are trained on against each split that is scored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.cuts.fields import field_of
from harness_bench.cuts.store import read_cuts
from harness_bench.scoring.publish import leakage
from harness_bench.study.outcomes import scored_key

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Return what each scored split shares with the training sets, as results have it."""
    settings, found = place.job.settings, {}
    for scored in settings["scored"]:
        cuts = read_cuts(place.out / scored["cuts"], scored["split"])
        if scored["part"] is not None:
            field, value = scored["part"]
            cuts = [cut for cut in cuts if field_of(cut, field) == value]
        training = (
            (name, read_cuts(place.out / folder, split))
            for name, folder, split in settings["training"]
        )
        shared = leakage(training, cuts, scored["split"])
        found[scored_key(scored)] = shared.model_dump(mode="json")
    return found
