"""Find a model that was made elsewhere; one of the Hub is downloaded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.models import hub
from harness_bench.models.frozen import checkpoint_digest, shape_of
from harness_bench.probing.s3prl.hub import own_names

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Return where the checkpoint is; one that cannot be opened is a ValueError."""
    name, upstream = place.job.settings["model"], place.job.settings["upstream"]
    path = hub.locate(name)
    if upstream in own_names():  # of what s3prl alone opens nothing is known
        shape_of(path)
    return {"checkpoint": str(path.absolute()), "digest": checkpoint_digest(path)}
