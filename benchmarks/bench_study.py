"""What a study of 10,000 jobs costs its driver, beside a plain `submit` of Dask for each.

CPU seconds of the driver's process alone; two workers run jobs that do nothing.
"""

import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Rows, lower_is_better, versus
from harness_bench.study.clusters import EngineConfig
from harness_bench.study.engine import run
from harness_bench.study.job import Needs, StudyJob, keys

JOBS, TINY = 10_000, 40
WORKERS = 2
PLANNED = 2.0  # seconds that a plan may take
_WIDE = 100  # heads of each model


def measure(*, tiny: bool = False) -> Rows:
    """Yield a row of planning, one of running, one of finding all finished."""
    count, workers = (TINY, 1) if tiny else (JOBS, WORKERS)
    start = time.process_time()
    jobs = dummies(count)
    keys(jobs)
    yield lower_is_better(
        "study_plan", time.process_time() - start, PLANNED, "CPU s",
        note=f"{count:,} jobs with their keys (peer: the bound of {PLANNED:g} s)",
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        ours = _spent(lambda: _run(out, jobs, workers, "done"))
        kept = _spent(lambda: _run(out, jobs, workers, "kept"))
    peer = _spent(lambda: _submitted(jobs, workers)) / count * 1e3
    yield lower_is_better(
        "study_driver", ours / count * 1e3, peer, "CPU ms / job",
        note=versus(f"{count:,} jobs on {workers} workers, start and end included", "distributed"),
    )  # fmt: skip
    yield lower_is_better(
        "study_driver_kept", kept / count * 1e3, peer, "CPU ms / job",
        note=versus("the same once all are finished; the peer knows no such thing", "distributed"),
    )  # fmt: skip


def dummies(count: int) -> dict[str, StudyJob]:
    """Return jobs of a study's shape: models wait for one job, and many heads for each of them."""
    found = {"data": _job("data")}
    for number in range(1, count):
        model = f"model {number // _WIDE}"
        if number % _WIDE in (0, 1) and model not in found:
            found[model] = _job(model, "data")
        else:
            found[f"head {number}"] = _job(f"head {number}", model)
    return found


def _job(name: str, *after: str) -> StudyJob:
    return StudyJob(
        name=name, kind="benchmarks.dummy_job", after=after, settings={"seed": len(name)},
        needs=Needs(hours=0.1),
    )  # fmt: skip


def _spent(call: Callable[[], Any]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def _run(out: Path, jobs: dict[str, StudyJob], workers: int, state: str) -> None:
    ended = run(out, jobs, EngineConfig(workers=workers))
    assert {each.state for each in ended.values()} == {state}


def _submitted(jobs: dict[str, StudyJob], workers: int) -> None:
    from distributed import Client, LocalCluster, as_completed  # noqa: PLC0415 - a second

    options = {"threads_per_worker": 1, "dashboard_address": ":0", "silence_logs": logging.ERROR}
    with LocalCluster(n_workers=workers, **options) as cluster, Client(cluster) as client:
        found: dict[str, Any] = {}
        for name, job in jobs.items():
            found[name] = client.submit(_nothing, name, *(found[each] for each in job.after))
        for _ in as_completed(found.values(), with_results=True).batches():
            pass


def _nothing(_name: str, *before: int) -> int:
    return len(before)
