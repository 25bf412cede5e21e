"""Make the labels that several models of a family learn from, before any of them is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from harness_bench.core.process import run_logged
from harness_bench.study.kinds import pretrain

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> dict[str, Any]:
    """Label in a process of its own; labels that are whole are kept."""
    run_logged(command(place), place.log, threads=place.job.needs.cpus)
    return outcome(place)


def command(place: Place) -> list[str]:
    """Return the command line; `torchrun` starts the same for several ranks."""
    return [*pretrain.command(place), "--labels-only"]


def outcome(_: Place) -> dict[str, Any]:
    """Return what jobs behind it ask for: nothing."""
    return {}
