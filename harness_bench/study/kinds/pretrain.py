"""Pretrain one model of a family, in a process of its own: labels, training, export."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from harness_bench.core.process import run_logged
from harness_bench.pretrain.config import checkpoint_folder

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Train into the job's folder; a training cut off goes on, one that is finished is kept."""
    run_logged(command(place), place.log, threads=place.job.needs.cpus)
    return outcome(place)


def command(place: Place) -> list[str]:
    """Return the command line; `torchrun` starts the same for several ranks."""
    settings, family = place.job.settings, place.folder.parent
    words = [sys.executable, "-m", "harness_bench.cli", "family", place.job.paths["family"]]
    if settings["cuts"] is None:
        words += ["--out", str(family)]
    else:
        words += [str(place.out / settings["cuts"]), str(family)]
    words += ["--only", settings["iteration"], "--restart"]
    words += ["--seed", str(settings["seed"])] if settings["seed"] else []
    gpus = place.job.needs.gpus
    return words + (["--devices", str(gpus)] if gpus > 1 and not place.job.needs.nodes else [])


def outcome(place: Place) -> dict[str, Any]:
    """Return what jobs behind it ask for, once it has ended well."""
    name = place.job.settings["iteration"]
    folder = checkpoint_folder(place.folder.parent, name)
    return {"checkpoint": str(folder.relative_to(place.out))}
