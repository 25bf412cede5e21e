"""How long a study will take: no shorter than a running job says itself."""

from __future__ import annotations

from harness_bench.study.estimate import Durations, time_left
from harness_bench.study.job import StudyJob
from harness_bench.study.status import JobStatus, Stand


def status(name: str, stand: Stand, seconds: float = 0.0, *after: str) -> JobStatus:
    job = StudyJob(name=name, kind=name.split(maxsplit=1)[0], after=after)
    return JobStatus(job=job, stand=stand, seconds=seconds, begun=1.0)


def left(*statuses: JobStatus, told: dict[str, float] | None = None) -> tuple[float | None, bool]:
    return time_left(statuses, Durations.measured(statuses), 2, told or {})


DONE = status("probe a", "done", 100.0)


def test_equal_kinds_say_how_long() -> None:
    """The work over the workers, or the longest chain."""
    assert left(DONE, status("probe b", "running", 40.0)) == (60.0, True)
    assert left(DONE, *(status(f"probe {n}", "waiting") for n in "bcde")) == (200.0, True)
    chain = (status("probe b", "waiting"), status("probe c", "waiting", 0.0, "probe b"))
    assert left(DONE, *chain) == (200.0, True)
    unknown = (status("asr x", "waiting"), status("asr y", "waiting"))
    assert left(DONE, status("probe b", "waiting"), *unknown) == (None, False)


def test_a_slow_job_is_believed() -> None:
    """On a busy machine it outlives the estimate, and said "5 minutes" below "46 s left"."""
    slow = status("probe b", "running", 90.0)
    assert left(DONE, slow, told={"probe b": 300.0}) == (300.0, True)
    assert left(DONE, slow, told={"probe b": 1.0}) == (10.0, True), "its bar may be of one split"
    first = status("asr x", "running", 5.0)
    assert left(first, told={"asr x": 30.0}) == (30.0, True)
