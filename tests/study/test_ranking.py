"""The longest chain first: the last job of a study should not begin when all others have ended."""

from __future__ import annotations

import heapq
from dataclasses import replace
from typing import TYPE_CHECKING

from harness_bench.study.guess import with_guesses
from harness_bench.study.job import Needs, StudyJob
from harness_bench.study.opened import open_study
from harness_bench.study.plan import plan
from harness_bench.study.ranking import by_critical_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Seconds of the demo's longer jobs, two at a time on two cores; the others of a kind take as long.
MEASURED = {
    "pretrain harness_it1": 79.6, "pretrain harness_st": 89.7, "asr fbank": 80.0,
    "asr best student": 95.2, "probe ser fbank": 53.6, "probe did fbank": 87.1,
    "probe ser random": 36.6, "probe did random": 54.9, "probe ser harness_it1": 39.9,
    "probe did harness_it1": 57.0, "probe ser harness_st": 38.6, "probe did harness_st": 54.6,
}  # fmt: skip
KINDS = {"synthesise": 5.0, "prepare": 1.0, "costs": 2.5, "board": 4.0}


def seconds(job: StudyJob) -> float:
    return MEASURED.get(job.name, KINDS.get(job.kind, 0.5))


def finished(jobs: Mapping[str, StudyJob], workers: int) -> float:
    """Return when the last job ends where free workers take what could start, lowest rank first."""
    left = {name: {*job.after, *job.wants} for name, job in jobs.items()}
    ready = [name for name in jobs if not left[name]]
    now, running = 0.0, list[tuple[float, str]]()
    while ready or running:
        ready.sort(key=lambda name: jobs[name].rank)
        while ready and len(running) < workers:
            name = ready.pop(0)
            heapq.heappush(running, (now + seconds(jobs[name]), name))
        now, ended = heapq.heappop(running)
        for name, before in left.items():
            if ended in before:
                before.discard(ended)
                ready += [] if before else [name]
    return now


def test_two_cores_are_busy_to_the_end(tmp_path: Path) -> None:
    """By guesses made before anything has run, and closer to it where times are known."""
    study = open_study(None, tmp_path)
    jobs, work = plan(study), sum(map(seconds, plan(study).values()))
    known = {
        name: replace(job, needs=replace(job.needs, hours=seconds(job) / 3600))
        for name, job in jobs.items()
    }
    assert work / (2 * finished(by_critical_path(known), 2)) > 0.985
    guessed, _ = with_guesses(study, jobs)
    assert work / (2 * finished(by_critical_path(guessed), 2)) > 0.97


def test_the_chain_behind_a_job_counts_and_what_shows_goes_first() -> None:
    hour = Needs(hours=1.0)
    jobs = {
        job.name: job
        for job in (
            StudyJob(name="long alone", kind="x", needs=Needs(hours=1.5)),
            StudyJob(name="first", kind="x", needs=hour),
            StudyJob(name="second", kind="x", needs=hour, wants=("first",)),
            StudyJob(name="short", kind="x", needs=Needs(hours=0.01)),
            StudyJob(name="shown", kind="publish", needs=hour, after=("second",), late=True),
            StudyJob(name="audit", kind="audit", needs=hour),
        )
    }
    ranked = by_critical_path(jobs)
    assert [*ranked] == [*jobs]
    order = sorted(ranked, key=lambda name: ranked[name].rank)
    assert order == ["shown", "audit", "first", "second", "long alone", "short"]
    assert {name: replace(job, rank=0) for name, job in ranked.items()} == jobs
