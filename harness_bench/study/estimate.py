"""How long jobs will take, from what equal kinds took here; else from what the plan says."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import fmean
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from harness_bench.study.job import StudyJob
    from harness_bench.study.status import JobStatus

_HOUR = 3600.0


@dataclass(frozen=True)
class Durations:
    """Seconds that jobs take, by what was measured of their kind."""

    means: Mapping[str, float]  # kind -> mean seconds of those that ended
    ratios: Mapping[str, float]  # kind -> measured by planned, where the plan says something

    @classmethod
    def measured(cls, statuses: Iterable[JobStatus]) -> Durations:
        """Take the times of jobs that ended well."""
        seconds: dict[str, list[float]] = {}
        planned: dict[str, list[tuple[float, float]]] = {}
        for status in statuses:
            if status.stand != "done" or not status.begun:
                continue
            seconds.setdefault(status.job.kind, []).append(status.seconds)
            if hours := status.job.needs.hours:
                pair = status.seconds, hours * _HOUR
                planned.setdefault(status.job.kind, []).append(pair)
        ratios = {
            kind: sum(took for took, _ in pairs) / sum(said for _, said in pairs)
            for kind, pairs in planned.items()
        }
        return cls({kind: fmean(took) for kind, took in seconds.items()}, ratios)

    def seconds(self, job: StudyJob) -> float | None:
        """Return what a job will take; None where neither plan nor equal kinds say it."""
        if job.needs.hours is not None:
            return job.needs.hours * _HOUR * self.ratios.get(job.kind, 1.0)
        return self.means.get(job.kind)

    def source(self, job: StudyJob) -> str:
        """Say where the figure is from."""
        if job.needs.hours is not None:
            return "measured here" if job.kind in self.ratios else "plan"
        return "measured here" if job.kind in self.means else "unknown"


def time_left(
    statuses: Sequence[JobStatus], durations: Durations, workers: int,
    told: Mapping[str, float] = MappingProxyType({}),
) -> tuple[float | None, bool]:  # fmt: skip
    """Return the seconds that are left, and whether all jobs that are left were counted.

    Whichever is longer: the work over the workers, or the longest chain of jobs. None where nothing
    is known of most jobs that are left. `told` are seconds that running jobs say are left of what
    they are at; no estimate is below them.
    """
    ends: dict[str, float] = {}
    work, known, unknown = 0.0, 0, 0
    for status in statuses:
        job = status.job
        before = max((ends.get(name, 0.0) for name in (*job.after, *job.wants)), default=0.0)
        ends[job.name] = before
        if status.stand not in ("running", "waiting", "cut off"):
            continue
        seconds = durations.seconds(job)
        if seconds is None and job.name not in told:
            unknown += 1
            continue
        known += 1
        left = seconds or 0.0
        if status.stand == "running":
            left = max(0.0, left - status.seconds, told.get(job.name, 0.0))
        work += left
        ends[job.name] += left
    if known <= unknown:
        return None, not unknown
    return max(work / max(workers, 1), *ends.values()), not unknown
