"""Which job goes first: the one behind which the longest chain waits."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from harness_bench.study.job import StudyJob

# Seconds of jobs of which nobody knows how long they take, by kind: only their order matters.
_UNKNOWN = {
    "pretrain": 100.0, "labels": 100.0, "asr": 100.0, "broadcast": 100.0, "asr_data": 100.0,
    "probe": 50.0, "trial": 50.0,
}  # fmt: skip
_OTHERS = 5.0
_SOON = ("audit", "costs")  # results wait for them
_FIRST = -1_000_000
_STEPS = 8  # ranks by which an estimate that doubles differs: those that are alike share one


def by_critical_path(jobs: Mapping[str, StudyJob]) -> dict[str, StudyJob]:
    """Return the jobs with ranks; `jobs` stand in order, with the hours that are known of them.

    What shows results goes first of all: it is short, and somebody waits for it.
    """
    behind: dict[str, float] = defaultdict(float)  # seconds of the longest chain behind a job
    ranked: dict[str, StudyJob] = {}
    for name, job in reversed(list(jobs.items())):
        known = None if job.needs.hours is None else 3600 * job.needs.hours
        chain = behind[name] + (_UNKNOWN.get(job.kind, _OTHERS) if known is None else known)
        for before in (*job.after, *job.wants):
            behind[before] = max(behind[before], chain)
        soon = job.late or job.kind in _SOON
        rank = _FIRST if soon else -round(_STEPS * math.log2(1 + chain))
        ranked[name] = replace(job, rank=rank)
    return dict(reversed(ranked.items()))
