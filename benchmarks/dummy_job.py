"""A kind of job that does nothing: what is left is the cost of running jobs at all."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from harness_bench.study.job import Place


def run(place: Place) -> int:
    """Return how many jobs this one waited for."""
    return len(place.found)
